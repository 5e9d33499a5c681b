//! `unlade card`: serves a simulated card at a socket, until it is interrupted.

#[cfg(feature = "dpu")]
mod log;

#[cfg(feature = "dpu")]
use std::path::{Path, PathBuf};
#[cfg(feature = "dpu")]
use std::thread;
#[cfg(feature = "dpu")]
use std::time::Duration;

#[cfg(feature = "dpu")]
use unlade_sim_card::{Card, Config, FaultPlan, Profile, Server};

#[cfg(feature = "dpu")]
use self::log::Log;
use crate::args::CardArgs;
use crate::error::Failure;
#[cfg(feature = "dpu")]
use crate::{interrupt, report};

#[cfg(feature = "dpu")]
pub(crate) fn run(args: &CardArgs) -> Result<(), Failure> {
    use std::os::unix::ffi::OsStrExt;

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
    let sockets = sockets(socket, args.functions);
    let shown = |socket: &Path| socket.display().to_string();
    for socket in &sockets {
        unlade::socket::check_path(socket).map_err(|why| match folder {
            None => Failure::usage(format!("--socket: {why}")),
            Some(_) => Failure::resource(format!("TMPDIR: {why}")),
        })?;
        unlade::socket::remove_left_behind(socket).map_err(Failure::resource)?;
    }
    // The physical function lives as long as those that are served.
    let (_physical, cards) = cards(config, args.functions);
    let servers = sockets.iter().zip(cards).map(|(socket, card)| {
        let server = Server::bind_card(socket, card);
        server.map_err(|error| Failure::resource(unlade::socket::not_made(socket, &error)))
    });
    let servers = servers.collect::<Result<Vec<Server>, Failure>>()?;
    let failed = |error: std::io::Error| Failure::resource(format!("{}: {error}", shown(socket)));
    match (&folder, &sockets[..]) {
        (None, [socket]) => {
            let device = device(socket);
            report::say(format_args!(
                "a simulated card is served: unlade run INPUT --device {device} (Ctrl-C ends it)"
            ));
        }
        (None, sockets) => {
            let count = sockets.len();
            let (first, last) = (device(&sockets[0]), shown(&sockets[count - 1]));
            report::say(format_args!(
                "{count} virtual functions of a simulated card are served: unlade run INPUT --device \
                 {first}, and so on to {last} (Ctrl-C ends it)"
            ));
        }
        (Some(_), _) => {
            stop_with_stdin(&servers).map_err(failed)?;
            report::print(&[socket.as_os_str().as_bytes(), b"\0"].concat())?;
        }
    }
    let logs = servers.iter().zip(&sockets);
    let logs: Vec<Log<'_>> = logs
        .map(|(server, socket)| Log::new(server, socket))
        .collect();
    let served = serve(&servers, &logs);
    logs.iter().for_each(Log::tell_all);
    served.map_err(failed)
}

/// The device that is served at a socket, as it is named to another command.
#[cfg(feature = "dpu")]
fn device(socket: &Path) -> String {
    unlade::shell_word(&format!("dpu:unix:{}", socket.display())).into_owned()
}

/// The socket of each function that is served: the card's own, or those of its virtual ones.
#[cfg(feature = "dpu")]
fn sockets(socket: &Path, functions: Option<u16>) -> Vec<PathBuf> {
    let Some(functions) = functions else {
        return vec![socket.to_owned()];
    };
    let numbered = (1..=functions).map(|number| {
        let mut socket = socket.as_os_str().to_owned();
        socket.push(format!(".{number}"));
        socket.into()
    });
    numbered.collect()
}

/// What is served: the card, or its virtual functions, with the physical one, by which they were made.
#[cfg(feature = "dpu")]
fn cards(mut config: Config, functions: Option<u16>) -> (Option<Card>, Vec<Card>) {
    let Some(functions) = functions else {
        return (None, vec![Card::start(config)]);
    };
    config.profile.virtual_functions = functions;
    let (profile, faults) = (config.profile.clone(), config.faults.clone());
    let physical = Card::start(config);
    physical
        .enable_virtual_functions(functions)
        .expect("a card with virtual functions has the capability");
    let function = |number| {
        let function = physical.virtual_function(number, profile.clone(), faults.clone());
        function.expect("it has as many")
    };
    let virtual_ones = (1..=functions).map(function).collect();
    (Some(physical), virtual_ones)
}

/// Serves until there is a signal, or one of the servers is stopped; each has its log.
#[cfg(feature = "dpu")]
fn serve(servers: &[Server], logs: &[Log<'_>]) -> std::io::Result<()> {
    use std::sync::mpsc::{self, RecvTimeoutError};

    /// Between two looks at whether a signal came.
    const LOOK: Duration = Duration::from_millis(50);

    let stoppers: Vec<_> = servers.iter().map(Server::stopper).collect();
    interrupt::at_end({
        let stoppers = stoppers.clone();
        move || stoppers.iter().for_each(|stopper| stopper.remove_socket())
    });
    thread::scope(|scope| {
        let (ended, has_ended) = mpsc::channel();
        let served = servers.iter().zip(logs).map(|(server, log)| {
            let ended = ended.clone();
            scope.spawn(move || {
                let served = server.run_and_tell(&|event| log.tell(event));
                // Nobody waits for it any more where a signal has come.
                let _ = ended.send(());
                served
            })
        });
        let served: Vec<_> = served.collect();
        while has_ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout)
            && interrupt::check().is_ok()
        {
            logs.iter().for_each(Log::tell_faults);
        }
        stoppers.iter().for_each(|stopper| stopper.stop());
        let results = served.into_iter().map(|served| {
            served
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        results.collect()
    })
}

/// Has servers stop when the standard input ends.
#[cfg(feature = "dpu")]
fn stop_with_stdin(servers: &[Server]) -> std::io::Result<()> {
    let stoppers: Vec<_> = servers.iter().map(Server::stopper).collect();
    let watch = move || {
        // What comes is of no interest, and neither is how it ends.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        stoppers.iter().for_each(|stopper| stopper.stop());
    };
    thread::Builder::new().spawn(watch).map(drop)
}

#[cfg(not(feature = "dpu"))]
pub(crate) fn run(_: &CardArgs) -> Result<(), Failure> {
    Err(Failure::usage(
        "card: this build of the command is without feature `dpu`".to_owned(),
    ))
}
