//! Tasks of the workspace: `cargo xtask test`, `cargo xtask bench`, `cargo xtask gpu`,
//! `cargo xtask qemu`, `cargo xtask simulate`, `cargo xtask soak`, `cargo xtask sanitize`,
//! `cargo xtask fuzz`, `cargo xtask wheel`, `cargo xtask tpcds`, `cargo xtask mutants`,
//! `cargo xtask header`, `cargo xtask install-c`.
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@bench`] | measurements beside the peers and the machine's floors |
//! | [`gpu`] | a folder that checks and measures an NVIDIA GPU where there is no Rust |
//! | [`qemu`] | cards behind the kernel's VFIO, in a virtual machine |
//! | [`simulate`] | random runs of the runtime with its devices, on a clock of their own |
//! | [`soak`] | the runtime under load for long, while nothing may grow |
//! | [`sanitize`] | the runtime under load, built with sanitizers |
//! | [`fuzz`] | bytes of strangers, made up by cargo-fuzz |
//! | [`wheel`] | the Python package, built, installed and tested or measured |
//! | [`tpcds`] | TPC-DS in DataFusion, with the plugin and without |
//! | [`mutants`] | planted mistakes, each with the test that must notice it |
//! | [`header`] | the C interface's header, made of its sources |
//! | [`install_c`] | the C interface, installed for C programs |
//! | [`mod@test`] | every check that a change must pass |
//! | [`example`] | the example outside of the workspace, as a user builds it |
//! | [`card_document`] | the card's document against its examples |
//! | [`flagged`] | a crate's own tests, built with a flag for the compiler |
//! | [`step`] | one command, its outcome and its time |
//! | [`tools`] | tools that are installed when they are missing |

#![forbid(unsafe_code)]
// A task's output is what it prints.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod card_document;
mod example;
mod flagged;
mod fuzz;
mod gpu;
mod header;
mod install_c;
mod mutants;
mod qemu;
mod sanitize;
mod simulate;
mod soak;
mod step;
mod test;
mod tools;
mod tpcds;
mod wheel;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run every check: format, lints, tests, documentation, models, other targets, licences
    Test(test::Options),
    /// Measure beside arrow-rs, Polars, DuckDB and the machine's own floors
    Bench(bench::Options),
    /// Make a folder that checks and measures an NVIDIA GPU where there is no Rust
    Gpu(gpu::Options),
    /// Check cards behind a kernel's VFIO, in a virtual machine with an emulated IOMMU
    Qemu(qemu::Options),
    /// Run the runtime with its devices at random, on one thread and a clock of their own
    Simulate(simulate::Options),
    /// Put the runtime under load with failing devices for long: nothing it holds may grow
    Soak(soak::Options),
    /// Runs the stress test with the thread sanitizer and the address sanitizer
    Sanitize(sanitize::Options),
    /// Fuzz what reads the bytes of cards, of servers and of hosts, each target for a while
    Fuzz(fuzz::Options),
    /// Build the Python package, and test or measure it in an environment of its own
    Wheel(wheel::Options),
    /// Run TPC-DS in DataFusion, with the plugin and without
    Tpcds(tpcds::Options),
    /// Plant mistakes in the lowering, the passes and the evaluator, which the tests must notice
    Mutants(mutants::Options),
    /// Check that the C interface's header is what its sources say, or write it
    Header(header::Options),
    /// Install the C interface: header, libraries, and what pkg-config and CMake look for
    InstallC(install_c::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let passed = match arguments.task {
        Task::Test(options) => test::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Gpu(options) => gpu::run(&options),
        Task::Qemu(options) => qemu::run(&options),
        Task::Simulate(options) => simulate::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::Sanitize(options) => sanitize::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Wheel(options) => wheel::run(&options),
        Task::Tpcds(options) => tpcds::run(&options),
        Task::Mutants(options) => mutants::run(&options),
        Task::Header(options) => header::run(&options),
        Task::InstallC(options) => install_c::run(&options),
    };
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("xtask lies in the workspace")
        .to_owned()
}
