//! What is printed or written about a run.

pub(crate) mod columns;
pub(crate) mod json;
pub(crate) mod lanes;
pub(crate) mod metrics;
pub(crate) mod paragraph;
pub(crate) mod progress;
pub(crate) mod readings;
pub(crate) mod receipts;
pub(crate) mod sheet;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod timeline;
pub(crate) mod trace;

use std::io::Write;
use std::path::Path;

use unlade_ingest::{IngestError, Place};

use crate::error::Failure;

/// How much is said beside results and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    Quiet,
    Normal,
    Verbose,
}

impl Verbosity {
    pub(crate) fn new(quiet: bool, verbose: u8) -> Self {
        match (quiet, verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, _) => Verbosity::Verbose,
        }
    }
}

/// Writes to standard output; a reader that went away is no error.
pub(crate) fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text)
        .and_then(|()| out.flush())
        .map_err(|error| IngestError::io(&Place::Stdout, "write", error).into())
}

/// Refuses to write a report to a file whose name ends as if it were something else. A name without an
/// ending says nothing of what is in it.
pub(crate) fn refuse_other_endings(
    flag: &str,
    path: Option<&Path>,
    ending: &str,
) -> Result<(), Failure> {
    let found = path.and_then(|path| Some((path, path.extension()?)));
    match found {
        Some((path, found)) if !found.eq_ignore_ascii_case(ending) => {
            let shown = path.display();
            Err(Failure::usage(format!(
                "{flag} {shown}: this flag writes .{ending} alone; name it {}",
                path.with_extension(ending).display()
            )))
        }
        _ => Ok(()),
    }
}

/// Columns of text on the terminal that standard output is; none where it is something else.
pub(crate) fn width() -> Option<usize> {
    rustix::termios::tcgetwinsize(std::io::stdout())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
}

/// Writes a line to standard error; one that is closed or full is no reason to fail.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
