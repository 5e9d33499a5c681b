//! The `unlade-executor` command: an executor of Ballista's with Unlade's devices.
//!
//! | module | what it is |
//! |---|---|
//! | [`args`] | the command line and its help |
//! | [`devices`] | the runtime with its devices, and what tasks may ask for |
//! | [`process`] | the executor, from its start to its end |
//! | [`reports`] | receipts and metrics, written to files |
//! | [`error`] | errors and exit codes |

#![forbid(unsafe_code)]

mod args;
mod devices;
mod error;
mod process;
mod reports;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

use crate::args::Arguments;
use crate::error::Failure;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match start_log().and_then(|()| process::run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Warnings go to standard error, Ballista's too; `UNLADE_LOG` takes a filter of its own.
fn start_log() -> Result<(), Failure> {
    use tracing_subscriber::EnvFilter;
    let filter = match std::env::var_os("UNLADE_LOG") {
        Some(_) => EnvFilter::try_from_env("UNLADE_LOG")
            .map_err(|error| Failure::usage(format!("UNLADE_LOG: {error}")))?,
        None => EnvFilter::new("warn"),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}
