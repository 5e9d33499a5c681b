//! What a simulated device is like: its speeds, its size, what it can do.

use std::time::Duration;

use unlade_hal::{Capabilities, EntryLimits};
use unlade_program::{CellSet, Cost, Op, Program};

/// What a simulated device is like. Start from one of the three and change what matters:
///
/// ```
/// use unlade_sim_device::Profile;
///
/// let slow_bus = Profile { host_to_device: 2_000_000_000, ..Profile::gpu() };
/// assert!(slow_bus.compaction);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// In words, and part of the key of executables.
    pub name: String,
    /// From the moment a dispatch could begin until it does, whatever its size.
    pub launch_latency: Duration,
    /// Bytes per second from the host.
    pub host_to_device: u64,
    /// Bytes per second to the host.
    pub device_to_host: u64,
    /// Bytes per second of the device's own memory.
    pub memory_bandwidth: u64,
    /// How fast operations are.
    pub rates: Rates,
    /// Memory of its own, in bytes.
    pub memory: u64,
    /// How long a compile takes.
    pub compile_time: Duration,
    /// Most lists in one queue.
    pub queue_depth: u32,
    /// Most queues open at once.
    pub max_queues: u32,
    /// Most rows of one dispatch.
    pub max_rows: u64,
    /// Most bytes of the tables and sets of one dispatch.
    pub entries: EntryLimits,
    /// Most instructions of a program.
    pub max_insts: u32,
    /// Alignment of spans, in bytes.
    pub alignment: u64,
    /// The operations that it has.
    pub cells: CellSet,
    /// Whether it reads foreign host memory in place.
    pub foreign_read: bool,
    /// Whether dispatches work on host memory, at the speed of the bus.
    pub coherent: bool,
    /// Whether it filters columns, or makes masks only.
    pub compaction: bool,
    /// Whether it takes counted copies.
    pub copy_counted: bool,
    /// Whether it compacts strings.
    pub strings: bool,
}

/// Rows per second of one operation, by class of cost. Sources cost nothing: their bytes do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Of [`Cost::Simple`].
    pub simple: f64,
    /// Of [`Cost::Multiply`].
    pub multiply: f64,
    /// Of [`Cost::Divide`].
    pub divide: f64,
    /// Of [`Cost::Gather`].
    pub gather: f64,
}

impl Profile {
    /// A large GPU on a PCIe 5.0 x16 bus, as its makers and users report it.
    pub fn gpu() -> Self {
        Profile {
            name: "gpu".to_owned(),
            launch_latency: Duration::from_micros(6),
            host_to_device: 55_000_000_000,
            device_to_host: 55_000_000_000,
            memory_bandwidth: 4_300_000_000_000,
            rates: Rates {
                simple: 8e12,
                multiply: 4e12,
                divide: 4e11,
                gather: 4e11,
            },
            memory: 8 << 30,
            compile_time: Duration::from_millis(10),
            queue_depth: 64,
            max_queues: 16,
            max_rows: 1 << 31,
            entries: EntryLimits::NONE,
            max_insts: 4096,
            alignment: 16,
            cells: CellSet::full(),
            foreign_read: false,
            coherent: false,
            compaction: true,
            copy_counted: true,
            strings: true,
        }
    }

    /// A GPU that shares its memory with the host, so that nothing is staged.
    pub fn coherent_gpu() -> Self {
        Profile {
            name: "coherent-gpu".to_owned(),
            host_to_device: 200_000_000_000,
            device_to_host: 200_000_000_000,
            memory_bandwidth: 270_000_000_000,
            rates: Rates {
                simple: 2e12,
                multiply: 1e12,
                divide: 1e11,
                gather: 1e11,
            },
            foreign_read: true,
            coherent: true,
            ..Profile::gpu()
        }
    }

    /// A card with a small engine close to the bus: cheap to start, no division, no decimals, no
    /// filtering of columns.
    pub fn card() -> Self {
        let lacks = |cell: &unlade_program::Cell| {
            cell.op.row().cost == Cost::Divide
                || cell.operand == unlade_program::Ty::I128
                || cell.result == unlade_program::Ty::I128
        };
        Profile {
            name: "card".to_owned(),
            launch_latency: Duration::from_micros(2),
            host_to_device: 12_000_000_000,
            device_to_host: 12_000_000_000,
            memory_bandwidth: 40_000_000_000,
            rates: Rates {
                simple: 4e9,
                multiply: 2e9,
                divide: 1e9,
                gather: 5e8,
            },
            memory: 256 << 20,
            compile_time: Duration::from_micros(50),
            queue_depth: 32,
            max_queues: 4,
            max_rows: 1 << 20,
            max_insts: 256,
            alignment: 64,
            cells: CellSet::full().without(lacks),
            compaction: false,
            copy_counted: false,
            strings: false,
            ..Profile::gpu()
        }
    }

    /// What the device says of itself.
    pub(crate) fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::none();
        capabilities.cells = self.cells.clone();
        capabilities.max_insts = self.max_insts;
        capabilities.max_rows = self.max_rows;
        capabilities.entries = self.entries;
        capabilities.max_queues = self.max_queues;
        capabilities.alignment = self.alignment;
        capabilities.foreign_read = self.foreign_read;
        capabilities.coherent = self.coherent;
        capabilities.compaction = self.compaction;
        capabilities.copy_counted = self.copy_counted;
        capabilities.strings = self.strings;
        capabilities
    }

    /// Time that a dispatch takes: launch, then whatever is slowest of the device's memory, the
    /// bus (for host memory used in place) and the operations.
    pub fn dispatch_time(&self, program: &Program, rows: u64, traffic: Traffic) -> Duration {
        let memory = seconds(traffic.device_bytes, self.memory_bandwidth);
        let bus = seconds(traffic.host_bytes, self.host_to_device);
        let operations: f64 = program
            .insts
            .iter()
            .map(|inst| match Op::of(inst).row().cost {
                Cost::Source => 0.0,
                Cost::Simple => rows as f64 / self.rates.simple,
                Cost::Multiply => rows as f64 / self.rates.multiply,
                Cost::Divide => rows as f64 / self.rates.divide,
                Cost::Gather => rows as f64 / self.rates.gather,
            })
            .sum();
        self.launch_latency + whole_nanos(memory.max(bus).max(operations))
    }

    /// Time that compacting strings takes: a launch, and what it reads and writes.
    pub fn strings_time(&self, traffic: Traffic) -> Duration {
        let memory = seconds(traffic.device_bytes, self.memory_bandwidth);
        let bus = seconds(traffic.host_bytes, self.host_to_device);
        self.launch_latency + whole_nanos(memory.max(bus))
    }

    /// Time that bytes take from the host.
    pub fn copy_in_time(&self, bytes: u64) -> Duration {
        whole_nanos(seconds(bytes, self.host_to_device))
    }

    /// Time that bytes take to the host.
    pub fn copy_out_time(&self, bytes: u64) -> Duration {
        whole_nanos(seconds(bytes, self.device_to_host))
    }

    /// Time that bytes take from one place of the device to another: each is read and written.
    pub fn copy_within_time(&self, bytes: u64) -> Duration {
        whole_nanos(2.0 * seconds(bytes, self.memory_bandwidth))
    }
}

/// Bytes that a dispatch reads and writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// In the device's own memory.
    pub device_bytes: u64,
    /// In host memory used in place.
    pub host_bytes: u64,
}

fn seconds(bytes: u64, per_second: u64) -> f64 {
    if bytes == 0 {
        0.0
    } else {
        bytes as f64 / per_second as f64
    }
}

/// Rounded to whole nanoseconds, because clocks count those, but never to nothing. A speed of zero
/// takes 30 years.
fn whole_nanos(seconds: f64) -> Duration {
    let nanos = (seconds * 1e9)
        .round()
        .max(if seconds > 0.0 { 1.0 } else { 0.0 });
    if nanos.is_finite() && nanos < 1e18 {
        Duration::from_nanos(nanos as u64)
    } else {
        Duration::from_nanos(1_000_000_000_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_part_decides() {
        let profile = Profile {
            launch_latency: Duration::from_nanos(100),
            host_to_device: 1_000_000_000,
            memory_bandwidth: 10_000_000_000,
            rates: Rates {
                simple: 1e9,
                multiply: 1e9,
                divide: 1e6,
                gather: 1e9,
            },
            ..Profile::gpu()
        };
        let program: Program =
            "columns c0: i32\n%0 = load c0\n%1 = div %0, %0\n%2 = add %0, %1\noutput %2"
                .parse()
                .unwrap();
        let time = |rows, device_bytes, host_bytes| {
            profile
                .dispatch_time(
                    &program,
                    rows,
                    Traffic {
                        device_bytes,
                        host_bytes,
                    },
                )
                .as_nanos()
        };
        assert_eq!(time(0, 10_000, 0), 1_100);
        assert_eq!(time(0, 10_000, 10_000), 10_100);
        assert_eq!(time(10, 10_000, 10_000), 10_110); // 10 us of division, 10 ns of addition
        assert_eq!(profile.copy_in_time(5), Duration::from_nanos(5));
        assert_eq!(profile.copy_within_time(50), Duration::from_nanos(10));
    }

    #[test]
    fn a_bus_without_speed_takes_long_but_not_for_ever() {
        let stuck = Profile {
            device_to_host: 0,
            ..Profile::card()
        };
        assert_eq!(stuck.copy_out_time(1).as_secs(), 1_000_000_000);
        assert_eq!(stuck.copy_out_time(0), Duration::ZERO);
    }
}
