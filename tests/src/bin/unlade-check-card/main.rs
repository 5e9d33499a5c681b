//! Checks cards that a kernel's VFIO hands over, in a virtual machine, and serves them outside of
//! it: `cargo xtask qemu` boots the machine, and reads what both sides print.
//!
//! Each card has a role: `sound`, `pair`, or the name of a fault that strikes its second job.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // what it finds is what it prints

mod checks;
mod serve;
mod verdicts;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Checks cards, or serves them.
#[derive(Debug, Parser)]
#[command(name = "unlade-check-card")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Check the cards of this machine that are bound to vfio-pci
    Check(checks::Options),
    /// Open a card, and say what comes of it
    Open {
        /// The card's PCI address
        address: String,
    },
    /// Serve a simulated card until the standard input ends, and say what it has seen
    Serve(serve::Options),
}

fn main() -> ExitCode {
    match Arguments::parse().task {
        Task::Check(options) => checks::run(&options),
        Task::Open { address } => checks::open_once(&address),
        Task::Serve(options) => serve::run(&options),
    }
}
