//! The command, run as a user runs it.

mod bus;
mod queries;
mod receipts;
mod reports;
mod run;
mod settings;
mod sim_dpu;
mod sim_gpu;
mod support;
