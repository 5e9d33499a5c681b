//! Which GPU is simulated: its size and its speeds.

use std::time::Duration;

use crate::exec::Counters;

/// A GPU: what it says of itself, and how long it takes.
///
/// The figures are those of the makers' data sheets, but for the latency of a launch and the share
/// of the memory's bandwidth that is reached, which are those that users report. Times that come of
/// them are estimates on a virtual clock: they are to be plausible, and the same every time.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// The name that the driver reports. It says that it is simulated.
    pub name: String,
    /// Compute capability: major and minor.
    pub compute_capability: (u32, u32),
    /// Device memory in bytes.
    pub memory: u64,
    /// Bytes per second of device memory.
    pub memory_bandwidth: u64,
    /// Bytes per second from the host, page-locked.
    pub host_to_device: u64,
    /// Bytes per second to the host, page-locked.
    pub device_to_host: u64,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Clock cycles per second.
    pub clock_hz: u64,
    /// Instructions of warps that a multiprocessor begins in a cycle.
    pub issue_per_cycle: u32,
    /// From the moment a kernel could begin until it does.
    pub launch_latency: Duration,
    /// From the moment a copy could begin until it does.
    pub copy_latency: Duration,
    /// Whether the GPU reads and writes the host's pageable memory coherently.
    pub coherent: bool,
}

impl Profile {
    /// NVIDIA H200 SXM: compute capability 9.0, 141 GB.
    pub fn h200() -> Self {
        Profile {
            name: "Simulated H200 (unlade)".to_owned(),
            compute_capability: (9, 0),
            memory: 141_000_000_000,
            memory_bandwidth: 4_300_000_000_000,
            host_to_device: 55_000_000_000,
            device_to_host: 55_000_000_000,
            multiprocessors: 132,
            clock_hz: 1_980_000_000,
            issue_per_cycle: 4,
            launch_latency: Duration::from_micros(4),
            copy_latency: Duration::from_micros(2),
            coherent: false,
        }
    }

    /// NVIDIA L4: compute capability 8.9, 24 GB, on a PCIe 4.0 x16 bus.
    pub fn l4() -> Self {
        Profile {
            name: "Simulated L4 (unlade)".to_owned(),
            compute_capability: (8, 9),
            memory: 24_000_000_000,
            memory_bandwidth: 270_000_000_000,
            host_to_device: 24_000_000_000,
            device_to_host: 24_000_000_000,
            multiprocessors: 58,
            clock_hz: 2_040_000_000,
            ..Profile::h200()
        }
    }

    /// NVIDIA GB10, as in a DGX Spark: compute capability 12.1, 128 GB shared with the host.
    pub fn gb10() -> Self {
        Profile {
            name: "Simulated GB10 (unlade)".to_owned(),
            compute_capability: (12, 1),
            memory: 128_000_000_000,
            memory_bandwidth: 230_000_000_000,
            host_to_device: 115_000_000_000,
            device_to_host: 115_000_000_000,
            multiprocessors: 48,
            clock_hz: 2_420_000_000,
            coherent: true,
            ..Profile::h200()
        }
    }

    /// How long a kernel takes: its launch, then whichever takes longest, the bytes of the memory,
    /// those of the bus or the instructions.
    pub fn kernel_time(&self, counters: &Counters) -> Duration {
        let (mut bytes, mut bus) = (counters.global_loaded + counters.global_stored, 0.0_f64);
        if !self.coherent {
            let (loaded, stored) = (counters.host_loaded, counters.host_stored);
            bytes -= loaded + stored;
            let to_device = loaded as f64 / self.host_to_device as f64;
            bus = to_device.max(stored as f64 / self.device_to_host as f64);
        }
        let memory = bus.max(bytes as f64 / self.memory_bandwidth as f64);
        let blocks = counters.blocks.clamp(1, u64::from(self.multiprocessors));
        let issue = blocks as f64 * self.clock_hz as f64 * f64::from(self.issue_per_cycle);
        let instructions = counters.warp_instructions as f64 / issue;
        self.launch_latency + seconds(memory.max(instructions))
    }

    /// How long a copy from the host takes.
    pub fn upload_time(&self, bytes: u64) -> Duration {
        self.copy_latency + seconds(bytes as f64 / self.host_to_device as f64)
    }

    /// How long a copy to the host takes.
    pub fn download_time(&self, bytes: u64) -> Duration {
        self.copy_latency + seconds(bytes as f64 / self.device_to_host as f64)
    }

    /// How long a copy inside of the device takes: each byte is read and written.
    pub fn copy_time(&self, bytes: u64) -> Duration {
        self.copy_latency + seconds(2.0 * bytes as f64 / self.memory_bandwidth as f64)
    }

    /// How long a fill takes.
    pub fn fill_time(&self, bytes: u64) -> Duration {
        self.copy_latency + seconds(bytes as f64 / self.memory_bandwidth as f64)
    }
}

/// To whole nanoseconds, upwards.
fn seconds(seconds: f64) -> Duration {
    Duration::from_nanos((seconds * 1e9).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_of_bytes_and_instructions_decides() {
        let profile = Profile::h200();
        let mut counters = Counters {
            blocks: 1_000_000,
            ..Counters::default()
        };
        assert_eq!(profile.kernel_time(&counters), profile.launch_latency);
        counters.global_loaded = 4_300_000_000;
        let memory = profile.kernel_time(&counters) - profile.launch_latency;
        assert_eq!(memory, Duration::from_millis(1));
        counters.global_stored = 55_000_000;
        counters.host_stored = 55_000_000;
        assert_eq!(
            profile.kernel_time(&counters),
            profile.launch_latency + memory
        );
        counters.host_stored = 110_000_000;
        counters.global_stored = 110_000_000;
        let bus = profile.kernel_time(&counters) - profile.launch_latency;
        assert_eq!(bus, Duration::from_millis(2));
        counters.warp_instructions = 132 * 4 * 1_980_000_000;
        let issue = profile.kernel_time(&counters) - profile.launch_latency;
        assert_eq!(issue, Duration::from_secs(1));
        counters.blocks = 66;
        assert_eq!(
            profile.kernel_time(&counters) - profile.launch_latency,
            Duration::from_secs(2)
        );
    }
}
