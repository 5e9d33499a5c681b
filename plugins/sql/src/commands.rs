//! What a shell's lines that begin with a backslash do.

use clap::ValueEnum;

use crate::error::{Failure, say};
use crate::output::Format;
use crate::session::Session;

/// What comes after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next line.
    Read,
    /// The end of the shell.
    End,
}

/// Every command, as it is written, and what it does.
pub(crate) const COMMANDS: [(&str, &str); 9] = [
    ("\\d", "lists tables"),
    ("\\d NAME", "lists a table's columns"),
    ("\\h", "lists functions"),
    ("\\h NAME", "tells of a function"),
    ("\\i FILE.sql", "runs the statements of a file"),
    (
        "\\format NAME",
        "prints rows as table, csv, tsv, json, nd-json or automatic",
    ),
    (
        "\\receipts on|off",
        "whether what ran where is told after each statement",
    ),
    (
        "\\quiet on|off",
        "whether the number of rows and their time are not told",
    ),
    (
        "\\q",
        "ends the shell, as Ctrl-D does; Ctrl-C ends a statement",
    ),
];

/// Runs a command, given without its backslash.
///
/// # Errors
/// One that is not there, and those of the statement that it stands for.
pub(crate) fn run(session: &mut Session, command: &str) -> Result<Next, Failure> {
    let (name, argument) = match command.split_once(char::is_whitespace) {
        Some((name, argument)) => (name, Some(argument.trim())),
        None => (command, None),
    };
    match (name, argument) {
        ("q", None) => return Ok(Next::End),
        ("?", None) => {
            for (command, what) in COMMANDS {
                say(&format!("{command:<18} {what}"));
            }
        }
        ("d", None) => session.execute("SHOW TABLES")?,
        ("d", Some(table)) => session.execute(&format!("DESCRIBE {table}"))?,
        ("h", None) => session.execute(
            "SELECT DISTINCT routine_name AS function, function_type AS kind \
             FROM information_schema.routines ORDER BY function",
        )?,
        ("h", Some(name)) => session.execute(&format!(
            "SELECT DISTINCT routine_name AS function, syntax_example AS example, description \
             FROM information_schema.routines WHERE routine_name = lower('{}')",
            name.replace('\'', "''")
        ))?,
        ("i", Some(file)) => {
            let script = std::fs::read_to_string(file);
            let script = script.map_err(|error| Failure::file(format!("{file}: {error}")))?;
            session.execute(&script)?;
        }
        ("format", Some(name)) => {
            session.printing.format = Format::from_str(name, true)
                .map_err(|_| Failure::usage(format!("there is no format `{name}`")))?;
            say(&format!("rows are printed as {}", session.printing.format));
        }
        ("receipts", Some(choice)) => {
            session.printing.receipts = is_on(choice)?;
            say(&format!("receipts are {choice}"));
        }
        ("quiet", Some(choice)) => {
            session.printing.quiet = is_on(choice)?;
            say(&format!("quiet is {choice}"));
        }
        _ => {
            return Err(Failure::usage(format!(
                "there is no command `\\{command}`; \\? lists those there are"
            )));
        }
    }
    Ok(Next::Read)
}

fn is_on(choice: &str) -> Result<bool, Failure> {
    match choice {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(Failure::usage(format!("on or off, not `{other}`"))),
    }
}
