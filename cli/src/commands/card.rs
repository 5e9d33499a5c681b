//! `unlade card`: serves a simulated card at a socket, until it is interrupted.

#[cfg(feature = "dpu")]
use std::thread;
#[cfg(feature = "dpu")]
use std::time::Duration;

#[cfg(feature = "dpu")]
use unlade_sim_card::Server;

use crate::args::CardArgs;
use crate::error::Failure;
#[cfg(feature = "dpu")]
use crate::{interrupt, report};

#[cfg(feature = "dpu")]
pub(crate) fn run(args: &CardArgs) -> Result<(), Failure> {
    use std::io::ErrorKind;
    use std::os::unix::ffi::OsStrExt;

    use unlade_sim_card::{Config, FaultPlan, Profile};

    use crate::folders::Folder;

    let known = || Profile::NAMES.join(", ");
    let profile = Profile::by_name(&args.profile.to_lowercase()).ok_or_else(|| {
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
    interrupt::watch()?;
    // Without a path the socket is in a folder that goes with it.
    let folder = match &args.socket {
        Some(_) => None,
        None => Some(Folder::temporary().map_err(|error| {
            let folder = std::env::temp_dir();
            let folder = folder.display();
            Failure::resource(format!(
                "no folder can be made in {folder} (TMPDIR): {error}"
            ))
        })?),
    };
    let socket = match (&args.socket, &folder) {
        (None, Some(folder)) => &folder.path().join("card.sock"),
        (path, _) => path.as_ref().expect("a path or a folder"),
    };
    let shown = socket.display();
    let failed = |error: std::io::Error| {
        Failure::resource(match error.kind() {
            ErrorKind::AlreadyExists => error.to_string(), // which names it
            _ => format!("{shown}: {error}"),
        })
    };
    // What is too long for the system would be found out by those who connect.
    if let Err(error) = std::os::unix::net::SocketAddr::from_pathname(socket) {
        return Err(match folder {
            None => Failure::usage(format!("--socket: {shown}: {error}")),
            Some(_) => Failure::resource(format!("{shown} (TMPDIR): {error}")),
        });
    }
    unlade::socket::remove_left_behind(socket).map_err(Failure::resource)?;
    let server = Server::bind(socket, config).map_err(failed)?;
    match folder {
        None => report::say(format_args!(
            "a simulated card is served: unlade run INPUT --device dpu:unix:{shown} (Ctrl-C ends \
             it)"
        )),
        Some(_) => {
            stop_with_stdin(&server).map_err(failed)?;
            report::print(&[socket.as_os_str().as_bytes(), b"\0"].concat())?;
        }
    }
    serve(server).map_err(failed)
}

/// Serves until there is a signal, or the server is stopped.
#[cfg(feature = "dpu")]
fn serve(server: Server) -> std::io::Result<()> {
    use std::sync::mpsc::{self, RecvTimeoutError};

    /// Between two looks at whether a signal came.
    const LOOK: Duration = Duration::from_millis(50);

    let stopper = server.stopper();
    interrupt::at_end({
        let stopper = stopper.clone();
        move || stopper.remove_socket()
    });
    thread::scope(|scope| {
        let (ended, has_ended) = mpsc::channel();
        let served = scope.spawn(move || {
            let served = server.run_and_tell(&|error| {
                report::say(format_args!("a connection was ended: {error}"));
            });
            // Nobody waits for it any more where a signal has come.
            let _ = ended.send(());
            served
        });
        while has_ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout)
            && interrupt::check().is_ok()
        {}
        stopper.stop();
        served
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Has a server stop when the standard input ends.
#[cfg(feature = "dpu")]
fn stop_with_stdin(server: &Server) -> std::io::Result<()> {
    let stopper = server.stopper();
    let watch = move || {
        // What comes is of no interest, and neither is how it ends.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        stopper.stop();
    };
    thread::Builder::new().spawn(watch).map(drop)
}

#[cfg(not(feature = "dpu"))]
pub(crate) fn run(_: &CardArgs) -> Result<(), Failure> {
    Err(Failure::usage(
        "card: this build of the command is without feature `dpu`".to_owned(),
    ))
}
