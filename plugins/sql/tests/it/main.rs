//! The command, run as a user runs it.

mod errors;
mod formats;
mod interrupts;
mod queries;
mod shell;
mod support;
