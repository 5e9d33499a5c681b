//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Parser, value_parser};
use unlade::DeviceRequest;

/// An executor of Ballista's that computes on GPU, DPU card or CPU
#[derive(Clone, Debug, Parser)]
#[command(name = "unlade-executor", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The scheduler to take tasks from
    #[arg(long, value_name = "HOST:PORT", value_parser = scheduler)]
    pub(crate) scheduler: (String, u16),
    /// How long to wait for the scheduler to be there, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) wait: u16,
    /// Address to listen at; neither encrypted nor authenticated, so for a network that is trusted
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) bind: IpAddr,
    /// Name or address by which the scheduler, clients and other executors reach this one [default:
    /// that of --bind, or for 0.0.0.0 the one that the scheduler sees]
    #[arg(long, value_name = "HOST")]
    pub(crate) advertise: Option<String>,
    /// Port at which results are fetched
    #[arg(long, value_name = "PORT", default_value_t = 50051, value_parser = value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// Port at which tasks come in
    #[arg(long, value_name = "PORT", default_value_t = 50052, value_parser = value_parser!(u16).range(1..))]
    pub(crate) grpc_port: u16,
    /// How often the scheduler is told that this executor is alive, in seconds; it gives up those that it
    /// has not heard of for three minutes
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = value_parser!(u64).range(1..=3600))]
    pub(crate) heartbeat: u64,
    /// Where to keep what stages hand on [default: a folder of its own, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(crate) work_dir: Option<PathBuf>,
    /// Devices, separated by commas: cpu, cuda:0, sim, sim-gpu, sim-dpu, dpu:...; all that is taken runs
    /// on one that is named alone, or of several on the one that is predicted to be the fastest, which
    /// is never a simulated one [default: those present]
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        help_heading = "Resources"
    )]
    pub(crate) devices: Vec<String>,
    /// What each task asks of devices while it runs, as gpu=0.5 for two tasks at a time on each GPU, or
    /// cuda:0=1 for one; may be given several times [default: nothing, devices are shared by turns]
    #[arg(
        long = "task-device",
        value_name = "REQUEST",
        help_heading = "Resources"
    )]
    pub(crate) task_devices: Vec<DeviceRequest>,
    /// How long a task waits for these where others have them, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        help_heading = "Resources"
    )]
    pub(crate) patience: u32,
    /// Tasks at a time, counted by the partitions that they have [default: one for each core]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024), help_heading = "Resources")]
    pub(crate) task_slots: Option<u16>,
    /// Set an option as SQL's SET does, where a client's session says nothing of it; may be given several
    /// times
    #[arg(long = "set", value_name = "OPTION=VALUE", value_parser = option)]
    pub(crate) options: Vec<(String, String)>,
    /// Add a line of JSON for each task that has ended, with what was computed where
    #[arg(long, value_name = "FILE.jsonl", help_heading = "Reports")]
    pub(crate) receipts: Option<PathBuf>,
    /// Write metrics in Prometheus' text form, every ten seconds and at the end; docs/METRICS.md says
    /// what each is
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub(crate) metrics: Option<PathBuf>,
}

const EXAMPLES: &str = "\
It runs until Ctrl-C or SIGTERM, and then ends the tasks that it has begun; a second one ends it at once.

Examples:
  unlade-executor --scheduler 10.0.0.1:50050 --bind 0.0.0.0
  unlade-executor --scheduler 10.0.0.1:50050 --bind 0.0.0.0 --devices cuda:0 --task-device cuda:0=0.5
  unlade-executor --scheduler localhost:50050 --devices cpu --receipts tasks.jsonl

docs/DISTRIBUTED.md says how schedulers, executors and clients go together, and docs/DATAFUSION.md what is
taken by devices and what the options of `unlade` are.";

fn scheduler(text: &str) -> Result<(String, u16), String> {
    let parts = text.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parts {
        Some((host, port)) if !host.is_empty() && port != 0 => Ok((host.to_owned(), port)),
        _ => Err("HOST:PORT, as in localhost:50050".to_owned()),
    }
}

fn option(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() && !value.is_empty() => {
            Ok((name.trim().to_owned(), value.to_owned()))
        }
        _ => Err("OPTION=VALUE, as in unlade.min_rows=100000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_scheduler_has_a_host_and_a_port() {
        assert_eq!(scheduler("a.b:1"), Ok(("a.b".to_owned(), 1)));
        assert_eq!(scheduler("[::1]:50050"), Ok(("[::1]".to_owned(), 50050)));
        for wrong in ["a.b", "a.b:", ":1", "a.b:0", "a.b:99999"] {
            scheduler(wrong).expect_err(wrong);
        }
    }
}
