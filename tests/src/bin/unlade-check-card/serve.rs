//! A simulated card at a socket, for a virtual machine.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::Args;
use unlade_sim_card::{Config, Counters, FaultPlan, Server};

use unlade_tests::cards::{STRUCK, names};

/// Which card, and where.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The socket, which must not be there yet
    #[arg(long)]
    socket: PathBuf,
    /// A fault's name, where one is to strike the second job
    #[arg(long, value_parser = fault)]
    fault: Option<unlade_sim_card::Fault>,
    /// What is in the serial number
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn fault(name: &str) -> Result<unlade_sim_card::Fault, String> {
    names::named(name).ok_or_else(|| "no such fault".to_owned())
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let plan = FaultPlan::none();
    let config = Config {
        seed: options.seed,
        faults: match options.fault {
            Some(fault) => plan.at(STRUCK, fault),
            None => plan,
        },
        ..Config::default()
    };
    match serve(options, config) {
        Ok(counters) => {
            report(&counters);
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{}: {error}", options.socket.display());
            ExitCode::FAILURE
        }
    }
}

/// Serves until whoever started this closes its standard input, or ends.
fn serve(options: &Options, config: Config) -> io::Result<Counters> {
    let server = Server::bind(&options.socket, config)?;
    let stopper = server.stopper();
    thread::scope(|scope| {
        let served = scope.spawn(|| server.run());
        let waited = io::copy(&mut io::stdin(), &mut io::sink());
        stopper.stop();
        let served = served.join();
        served.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        waited
    })?;
    Ok(server.card().counters())
}

/// What the card has seen, for `cargo xtask qemu`.
fn report(counters: &Counters) {
    println!("jobs {}", counters.jobs_succeeded);
    println!("refused {}", counters.dma_refused);
    for refused in &counters.first_refused {
        println!("refused: {refused:?}");
    }
    for (job, fault) in &counters.faults {
        println!("fault {fault:?} in job {job}");
    }
    // Refused accesses come last among them, and were reported above.
    let others = counters.findings.len() - counters.first_refused.len();
    for finding in &counters.findings[..others] {
        println!("finding: {finding}");
    }
}
