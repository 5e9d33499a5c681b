//! The command, run as a user runs it.

mod errors;
mod formats;
mod queries;
mod shell;
mod support;
