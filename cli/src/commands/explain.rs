//! `unlade explain`: what run would do, and why.

use crate::args::QueryArgs;
use crate::commands::plan::Plan;
use crate::error::Failure;
use crate::report;
use crate::session;

pub(crate) fn run(args: QueryArgs) -> Result<(), Failure> {
    let runtime = session::runtime(&args.resources, session::Recording::default())?;
    let plan = Plan::make(&args, &runtime)?;
    report::print(format!("{}\n", plan.kernel.explain()).as_bytes())
}
