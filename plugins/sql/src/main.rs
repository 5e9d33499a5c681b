//! The `unlade-sql` command: DataFusion's SQL over files, on Unlade's devices.
//!
//! | module | what it is |
//! |---|---|
//! | [`args`] | the command line and its help |
//! | [`session`] | devices, options and tables, as the arguments want them |
//! | [`statements`] | SQL, run: printed as it comes, ended by Ctrl-C |
//! | [`output`] | rows as a table, CSV, TSV or JSON |
//! | [`receipts`] | what of a plan ran where |
//! | [`shell`], [`commands`], [`completion`] | at a terminal: lines, `\d` and the like, the Tab key |
//! | [`files`] | which file an error is about |
//! | [`error`] | errors and exit codes |

#![forbid(unsafe_code)]

mod args;
mod commands;
mod completion;
mod error;
mod files;
mod output;
mod receipts;
mod session;
mod shell;
mod statements;

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use clap::Parser;

use crate::args::Arguments;
use crate::error::Failure;
use crate::session::Session;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    start_log()?;
    // All are read before there is a session: until then Ctrl-C ends the process, and nothing is run
    // of a script of which the rest does not come.
    let scripts = scripts(arguments)?;
    let mut session = Session::open(arguments)?;
    match scripts {
        Some(scripts) => scripts.iter().try_for_each(|sql| session.execute(sql)),
        None => shell::run(&mut session, arguments.history.as_deref()),
    }
}

/// What is to be run, in its order; none where somebody at a terminal is to be asked.
fn scripts(arguments: &Arguments) -> Result<Option<Vec<String>>, Failure> {
    let mut scripts = Vec::new();
    for file in &arguments.files {
        let script = std::fs::read_to_string(file);
        let script =
            script.map_err(|error| Failure::file(format!("{}: {error}", file.display())))?;
        scripts.push(script);
    }
    scripts.extend_from_slice(&arguments.commands);
    match std::io::stdin() {
        _ if !scripts.is_empty() => Ok(Some(scripts)),
        stdin if stdin.is_terminal() => Ok(None),
        mut stdin => {
            let mut script = String::new();
            let read = stdin.read_to_string(&mut script);
            read.map_err(|error| Failure::file(format!("standard input: {error}")))?;
            Ok(Some(vec![script]))
        }
    }
}

/// Warnings go to standard error; `UNLADE_LOG` takes a filter of its own.
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
