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
    let server = Server::bind(&args.socket, config).map_err(failed)?;
    interrupt::watch()?;
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

#[cfg(not(feature = "dpu"))]
pub(crate) fn run(_: &CardArgs) -> Result<(), Failure> {
    Err(Failure::usage(
        "card: this build of the command is without feature `dpu`".to_owned(),
    ))
}
