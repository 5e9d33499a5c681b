//! The `unlade` command.
//!
//! | module | what it is |
//! |---|---|
//! | [`args`] | the command line: commands, flags, their help |
//! | [`config`] | `unlade.toml`, under the variables and the flags |
//! | [`cards`] | DMA-capable cards, which are opened by name |
//! | [`commands`] | one module per command |
//! | [`error`] | errors and exit codes |
//! | [`folders`] | folders that a command makes, and that are gone when it ends |
//! | [`report`] | what is printed or written about a run: tables, receipts, trace, timeline |
//! | [`interrupt`] | Ctrl-C and the other signals that ask a process to end |

#![forbid(unsafe_code)]

mod args;
mod cards;
mod commands;
mod config;
mod error;
mod folders;
mod interrupt;
mod patterns;
mod report;
mod session;

use std::process::ExitCode;

use clap::ArgMatches;

use crate::args::{Arguments, Command};
use crate::error::Failure;

fn main() -> ExitCode {
    let (arguments, matches) = match Arguments::read() {
        Ok(read) => read,
        Err(refused) => return refused.report(),
    };
    report::style::choose(arguments.color);
    quiet_decoders();
    let code = match run(arguments, &matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    };
    cards::end();
    code
}

fn run(arguments: Arguments, matches: &ArgMatches) -> Result<(), Failure> {
    start_log(arguments.verbose)?;
    let (_, matches) = matches.subcommand().expect("clap wants a command");
    interrupt::survive_large_files()?;
    let settings = config::Settings::load(arguments.config.as_deref())?;
    let verbosity = report::Verbosity::new(arguments.quiet, arguments.verbose);
    match arguments.command {
        Command::Run(run) => commands::run::run(run.merged(&settings, matches)?, verbosity),
        Command::Replay(replay) => commands::replay::run(&replay),
        Command::Explain(mut explain) => {
            explain.query = explain.query.merged(&settings, matches)?;
            commands::explain::run(explain)
        }
        Command::Devices(devices) => commands::devices::run(&devices),
        Command::Functions(functions) => commands::functions::run(&functions),
        Command::Doctor(doctor) => commands::doctor::run(&doctor),
        Command::Card(card) => commands::card::run(&card),
        Command::Top(top) => commands::top::run(&top),
        Command::Demo(demo) => commands::demo::run(&demo, verbosity),
        Command::Completions(completions) => commands::completions::run(&completions),
    }
}

/// `-v` shows what the runtime decides, `-vv` each step; `UNLADE_LOG` takes a filter of its own.
fn start_log(verbose: u8) -> Result<(), Failure> {
    use tracing_subscriber::EnvFilter;
    use tracing_subscriber::fmt::format::FmtSpan;
    let level = match verbose {
        0 => "warn",
        1 => "unlade=info,unlade_runtime=info,warn",
        _ => "unlade=trace,unlade_runtime=trace,info",
    };
    // A step is a span of the runtime's: shown as it ends, with the time it took.
    let chosen = std::env::var_os("UNLADE_LOG");
    let steps = match verbose {
        0 | 1 if chosen.is_none() => FmtSpan::NONE,
        _ => FmtSpan::CLOSE,
    };
    let filter = match chosen {
        Some(_) => EnvFilter::try_from_env("UNLADE_LOG")
            .map_err(|error| Failure::usage(format!("UNLADE_LOG: {error}")))?,
        None => EnvFilter::new(level),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(steps)
        .with_writer(std::io::stderr)
        .with_ansi(report::style::is_coloured())
        // A standard error that is closed or full is no reason to fail.
        .log_internal_errors(false)
        .init();
    Ok(())
}

/// Panics of decoders become errors that name the file; the default hook would print them first.
fn quiet_decoders() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !unlade_ingest::is_decoding() {
            default(panic);
        }
    }));
}
