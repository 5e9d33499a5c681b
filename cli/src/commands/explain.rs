//! `unlade explain`: what run would do, and why.

use crate::args::QueryArgs;
use crate::commands::plan::Plan;
use crate::error::Failure;
use crate::report;
use crate::report::style::printable;
use crate::session;

pub(crate) fn run(args: QueryArgs) -> Result<(), Failure> {
    let runtime = session::runtime(&args.resources, session::Recording::default())?;
    let plan = Plan::make(&args, &runtime)?;
    // Names of columns come from files, which nobody has looked through for escapes.
    let explained = format!("{}\n", plan.explain());
    report::print(printable(&explained).as_bytes())
}
