//! The plugin in DataFusion: what it takes, what it answers, and what it says of both.

mod answers;
mod changing;
mod common;
mod ends;
mod one_for_one;
mod plans;
mod resident;
mod statements;
mod tables;
mod taken;
mod tpch;
mod tpch_data;
mod travels;
