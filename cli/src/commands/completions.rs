//! `unlade completions`: a shell's completion script.

use clap::CommandFactory;

use crate::args::{Arguments, CompletionsArgs};
use crate::error::Failure;

pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "unlade", &mut script);
    crate::report::print(&script)
}
