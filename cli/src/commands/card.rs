//! `unlade card`: serves a simulated card at a socket, until it is interrupted.

use crate::args::CardArgs;
use crate::error::Failure;

#[cfg(feature = "dpu")]
pub(crate) fn run(args: &CardArgs) -> Result<(), Failure> {
    use std::time::Duration;

    use unlade_sim_card::{Config, FaultPlan, Profile, Server};

    use crate::{interrupt, report};

    /// Between two looks at whether a signal came.
    const LOOK: Duration = Duration::from_millis(50);

    let known = || Profile::NAMES.join(", ");
    let profile = Profile::by_name(&args.profile).ok_or_else(|| {
        let name = &args.profile;
        Failure::usage(format!(
            "--profile: no card `{name}`; there are: {}",
            known()
        ))
    })?;
    let config = Config {
        profile,
        seed: args.faults.unwrap_or_default(),
        faults: args.faults.map_or_else(FaultPlan::none, FaultPlan::seeded),
    };
    let socket = args.socket.display();
    let failed = |error: std::io::Error| Failure::resource(format!("{socket}: {error}"));
    // What is too long for the system would be found out by those who connect.
    if let Err(error) = std::os::unix::net::SocketAddr::from_pathname(&args.socket) {
        return Err(Failure::usage(format!("--socket: {socket}: {error}")));
    }
    interrupt::watch()?;
    remove_left_behind(&args.socket)?;
    let server = Server::bind(&args.socket, config).map_err(failed)?;
    report::say(format_args!(
        "a simulated card is served: unlade run INPUT --device dpu:unix:{socket} (Ctrl-C ends it)"
    ));
    let stopper = server.stopper();
    std::thread::scope(|scope| {
        let served = scope.spawn(|| server.run());
        while !served.is_finished() && interrupt::check().is_ok() {
            std::thread::sleep(LOOK);
        }
        stopper.stop();
        served
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .map_err(failed)
    })
}

/// Removes a socket that a process left which was killed: nobody listens at it any more. Of several
/// who do so at once none removes what another has made meanwhile: it is taken aside first.
#[cfg(feature = "dpu")]
fn remove_left_behind(socket: &std::path::Path) -> Result<(), Failure> {
    use std::io::ErrorKind;
    use std::os::unix::fs::FileTypeExt;

    let is_socket = std::fs::symlink_metadata(socket).is_ok_and(|it| it.file_type().is_socket());
    if !is_socket {
        return Ok(()); // whether there may be anything else is decided where it is made
    }
    let shown = socket.display();
    let in_use = || {
        Failure::resource(format!(
            "{shown} is in use: a process listens there; name another socket"
        ))
    };
    match listens(socket) {
        Ok(true) => return Err(in_use()),
        Ok(false) => {}
        Err(error) => {
            return Err(Failure::resource(format!(
                "{shown} exists and cannot be looked into: {error}; name another socket"
            )));
        }
    }
    let stuck = |error: std::io::Error| {
        Failure::resource(format!(
            "{shown}: a card that was killed left it, and it cannot be removed: {error}"
        ))
    };
    let mut aside = socket.as_os_str().to_owned();
    aside.push(format!(".left-{}", std::process::id()));
    match std::fs::rename(socket, &aside) {
        Ok(()) => {}
        // Another has, and makes its own.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(stuck(error)),
    }
    let came_meanwhile = listens(aside.as_ref()).map_err(stuck)?;
    if came_meanwhile {
        std::fs::hard_link(&aside, socket).map_err(stuck)?;
    }
    std::fs::remove_file(&aside).map_err(stuck)?;
    match came_meanwhile {
        true => Err(in_use()),
        false => Ok(()),
    }
}

/// Whether a process listens at a socket.
#[cfg(feature = "dpu")]
fn listens(socket: &std::path::Path) -> std::io::Result<bool> {
    match std::os::unix::net::UnixStream::connect(socket) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(not(feature = "dpu"))]
pub(crate) fn run(_: &CardArgs) -> Result<(), Failure> {
    Err(Failure::usage(
        "card: this build of the command is without feature `dpu`".to_owned(),
    ))
}
