//! Jobs: descriptors, their checks, and their execution; docs/CARD.md, section 7.
//!
//! [`Job::check`] reads the descriptor and every segment list once and checks them whole;
//! [`execute`] acts on what was checked and on nothing else.

mod arguments;
mod descriptor;
mod run;
mod steps;
mod streams;
mod transfers;

pub(crate) use descriptor::{Checker, Job, Stop};
#[cfg(test)]
pub(crate) use steps::tests::reports;
pub(crate) use steps::{Execution, Progress, execute, report};
pub(crate) use transfers::Tamper;
