//! The host's memory, as kernels reach it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::finding::{Fault, FindingKind};
use crate::host::HostRange;

/// The host's memory, as kernels reach it: what the driver knows, to load and to store; on a
/// coherent device everything else that is mapped, to load.
#[derive(Debug)]
pub(crate) struct HostWindow {
    /// By where they begin; none overlap.
    known: Vec<HostRange>,
    /// The process's own memory, which tells what is not mapped by an error; none where the device
    /// does not reach it.
    mapped: Option<File>,
}

impl HostWindow {
    /// What a coherent device reaches. Known ranges come sorted by where they begin, and do not
    /// overlap.
    pub(crate) fn coherent(known: Vec<HostRange>) -> Self {
        HostWindow {
            known,
            mapped: File::open("/proc/self/mem").ok(),
        }
    }

    /// What any device reaches across the bus: ranges that are mapped into its address space, in
    /// the same order (CUDA Driver API, "Unified Addressing").
    pub(crate) fn mapped(known: Vec<HostRange>) -> Self {
        HostWindow {
            known,
            mapped: None,
        }
    }

    fn known(&self, at: u64, bytes: usize) -> Option<HostRange> {
        let above = self
            .known
            .partition_point(|range| range.start() as u64 <= at);
        self.known[..above].last()?.part(at as usize, bytes)
    }

    /// A value of up to eight bytes.
    pub(crate) fn load(&self, at: u64, bytes: usize) -> Result<u64, Fault> {
        let mut value = [0; 8];
        if let Some(range) = self.known(at, bytes) {
            value[..bytes].copy_from_slice(&range.read());
            return Ok(u64::from_le_bytes(value));
        }
        let read = self
            .mapped
            .as_ref()
            .map(|memory| memory.read_exact_at(&mut value[..bytes], at));
        match read {
            Some(Ok(())) => Ok(u64::from_le_bytes(value)),
            _ => {
                let detail = format!("{bytes} bytes at {at:#x}, where the host has no memory");
                Err(Fault::new(FindingKind::OutOfBounds, detail))
            }
        }
    }

    /// Stores the lower bytes of a value.
    pub(crate) fn store(&self, at: u64, bytes: usize, value: u64) -> Result<(), Fault> {
        let Some(range) = self.known(at, bytes) else {
            let detail =
                format!("{bytes} bytes at {at:#x}, memory of the host that is not registered");
            return Err(Fault::new(FindingKind::OutOfBounds, detail));
        };
        range.write(&value.to_le_bytes()[..bytes]);
        Ok(())
    }
}
