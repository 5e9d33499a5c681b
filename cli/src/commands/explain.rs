//! `unlade explain`: what run would do, and why.

use unlade::printable;

use crate::args::ExplainArgs;
use crate::commands::plan::Plan;
use crate::error::Failure;
use crate::report;
use crate::session;

pub(crate) fn run(args: ExplainArgs) -> Result<(), Failure> {
    let runtime = session::runtime(&args.query.resources, session::Recording::default())?;
    let plan = Plan::make(&args.query, &runtime)?;
    // Names of columns come from files, which nobody has looked through for escapes.
    let explained = match args.why {
        true => format!("{}\n\n{}\n", plan.explain(), plan.kernel.explain().why()),
        false => format!("{}\n", plan.explain()),
    };
    report::print(printable(&explained).as_bytes())
}
