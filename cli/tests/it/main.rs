//! The command, run as a user runs it.

mod bus;
mod card_details;
mod card_process;
mod metrics;
mod queries;
mod receipts;
mod replay;
mod reports;
mod run;
mod second_opener;
mod settings;
mod sim_dpu;
mod sim_gpu;
mod support;
mod top;
