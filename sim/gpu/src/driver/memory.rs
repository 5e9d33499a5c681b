//! Memory of devices and of the host, and copies between them.

use std::time::Duration;

use super::code::{Answer, Code};
use super::state::State;
use super::stream::StreamId;
use super::work::{Place, Work};
use crate::finding::Fault;
use crate::host::HostRange;

/// Memory of the host that the driver knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostMemory {
    range: HostRange,
    /// In whose context it was made known, to all devices.
    device: usize,
    /// The driver's own, to be freed by it.
    allocated: bool,
    /// Whether devices have it in their address space.
    mapped: bool,
}

/// An end of a copy as a call names it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// An address of a device, or one of the host that the driver knows.
    Unified(u64),
    /// Memory of the host that need not be known.
    Host(HostRange),
}

impl State {
    // Device memory.

    pub(crate) fn allocate(&mut self, bytes: u64) -> Answer<u64> {
        let device = self.enter_to_allocate()?;
        if bytes == 0 {
            return Err(Code::INVALID_VALUE);
        }
        if let Ok(at) = self.devices[device].memory.allocate(bytes) {
            return Ok(at.0);
        }
        // What is to be freed in some stream may be enough.
        self.drain_device(device)?;
        let memory = &mut self.devices[device].memory;
        memory
            .allocate(bytes)
            .map(|at| at.0)
            .map_err(|_| Code::OUT_OF_MEMORY)
    }

    /// Waits for everything first, as `cuMemFree` does.
    pub(crate) fn free(&mut self, at: u64) -> Answer {
        let device = self.enter()?;
        if at == 0 {
            return Ok(());
        }
        self.drain_device(device)?;
        let memory = &mut self.devices[device].memory;
        memory
            .free(crate::DevicePointer(at))
            .map_err(|_| Code::INVALID_VALUE)
    }

    pub(crate) fn free_async(&mut self, at: u64, stream: StreamId) -> Answer {
        if self.devices[stream.device]
            .memory
            .allocation(at)
            .is_none_or(|(start, _)| start.0 != at)
        {
            return Err(Code::INVALID_VALUE);
        }
        self.push(stream, Work::Free(at))
    }

    pub(super) fn free_now(&mut self, device: usize, at: u64) -> Answer {
        let freed = self.devices[device].memory.free(crate::DevicePointer(at));
        freed.map_err(|error| {
            self.explain(Code::ILLEGAL_ADDRESS, &error.to_string());
            self.spoil(device, Code::ILLEGAL_ADDRESS)
        })
    }

    /// Free and total bytes.
    pub(crate) fn memory_info(&mut self) -> Answer<(u64, u64)> {
        let device = self.enter()?;
        let device = &self.devices[device];
        Ok((device.memory.free_bytes(), device.profile.memory))
    }

    /// Where the allocation around an address begins, and its size.
    pub(crate) fn address_range(&mut self, at: u64) -> Answer<(u64, u64)> {
        self.enter()?;
        let found = self
            .devices
            .iter()
            .find_map(|device| device.memory.allocation(at));
        let (start, bytes) = found.ok_or(Code::NOT_FOUND)?;
        Ok((start.0, bytes))
    }

    /// The ordinal of the device whose allocation is around an address, where that begins, and its size.
    pub(crate) fn holder(&mut self, at: u64) -> Answer<(usize, u64, u64)> {
        let found = self
            .devices
            .iter()
            .enumerate()
            .find_map(|(ordinal, device)| {
                let (start, bytes) = device.memory.allocation(at)?;
                Some((ordinal, start.0, bytes))
            });
        found.ok_or(Code::INVALID_VALUE)
    }

    pub(crate) fn set_release_threshold(&mut self, device: usize, bytes: u64) {
        self.devices[device].release_threshold = bytes;
    }

    pub(crate) fn release_threshold(&self, device: usize) -> u64 {
        self.devices[device].release_threshold
    }

    pub(crate) fn used_bytes(&self, device: usize) -> u64 {
        let device = &self.devices[device];
        device.profile.memory - device.memory.free_bytes()
    }

    /// Bytes of all devices that are allocated and that no stream is to free.
    pub(super) fn bytes_in_use(&self) -> u64 {
        let used: u64 = (0..self.devices.len())
            .map(|device| self.used_bytes(device))
            .sum();
        let leaving = self.streams.iter().flat_map(|(id, stream)| {
            let memory = &self.devices[id.device].memory;
            stream.frees().filter_map(|at| memory.allocation(at))
        });
        used - leaving.map(|(_, bytes)| bytes).sum::<u64>()
    }

    // Host memory.

    /// Makes memory of the host known. Overlapping what is known is an error, whichever GPU it
    /// was made known to.
    pub(crate) fn register(&mut self, range: HostRange, allocated: bool, mapped: bool) -> Answer {
        let device = self.enter_to_allocate()?;
        if range.start() == 0 || range.len() == 0 {
            return Err(Code::INVALID_VALUE);
        }
        let end = range
            .start()
            .checked_add(range.len())
            .ok_or(Code::INVALID_VALUE)?;
        let below = self.host.range(..end).next_back();
        if below.is_some_and(|(start, known)| start + known.range.len() > range.start()) {
            return Err(Code::ALREADY_REGISTERED);
        }
        let memory = HostMemory {
            range,
            device,
            allocated,
            mapped,
        };
        self.host.insert(range.start(), memory);
        Ok(())
    }

    /// Waits for everything first, and forgets the range that begins there.
    pub(crate) fn unregister(&mut self, start: usize, allocated: bool) -> Answer<HostRange> {
        self.enter()?;
        let unknown = if allocated {
            Code::INVALID_VALUE
        } else {
            Code::NOT_REGISTERED
        };
        let known = self.host.get(&start).copied();
        let known = known
            .filter(|known| known.allocated == allocated)
            .ok_or(unknown)?;
        for device in 0..self.devices.len() {
            // An error sticks to its own context.
            let _error = self.drain_device(device);
        }
        self.host.remove(&start);
        Ok(known.range)
    }

    /// What was made known in a context that is destroyed. What the driver allocated is leaked, as
    /// it may be in use.
    pub(super) fn forget_host(&mut self, device: usize) {
        self.host.retain(|_, known| known.device != device);
    }

    /// Where devices see an address of known host memory: addresses are unified.
    pub(crate) fn host_device_pointer(&mut self, at: usize) -> Answer<u64> {
        self.enter()?;
        self.known_host(at, 1)
            .map(|range| range.start() as u64)
            .ok_or(Code::INVALID_VALUE)
    }

    fn known_host(&self, at: usize, len: usize) -> Option<HostRange> {
        let (_, known) = self.host.range(..=at).next_back()?;
        known.range.part(at, len)
    }

    /// Memory of the host that devices reach by its own addresses.
    pub(super) fn known_ranges(&self) -> Vec<HostRange> {
        self.host.values().map(|known| known.range).collect()
    }

    /// Memory of the host that is mapped into the devices' address space.
    pub(super) fn mapped_ranges(&self) -> Vec<HostRange> {
        let mapped = self.host.values().filter(|known| known.mapped);
        mapped.map(|known| known.range).collect()
    }

    // Copies.

    /// A copy in a stream. Host memory that is not known is read during the call, and written
    /// before it returns.
    pub(crate) fn copy_async(&mut self, to: End, from: End, len: u64, stream: StreamId) -> Answer {
        if len == 0 {
            return Ok(());
        }
        let (from, from_pageable) = self.place(from, len)?;
        let (to, to_pageable) = self.place(to, len)?;
        let from = match from {
            Place::Host(range) if from_pageable => Place::Staged(range.read()),
            place => place,
        };
        self.push(stream, Work::Copy { to, from, len })?;
        if to_pageable {
            self.drain(stream)
        } else {
            Ok(())
        }
    }

    /// A copy that is done when the call returns: on the legacy stream.
    pub(crate) fn copy_now(&mut self, to: End, from: End, len: u64) -> Answer {
        let stream = self.stream(0)?;
        self.copy_async(to, from, len, stream)?;
        self.drain(stream)
    }

    pub(crate) fn fill_async(
        &mut self,
        to: u64,
        len: u64,
        pattern: &[u8],
        stream: StreamId,
    ) -> Answer {
        if !to.is_multiple_of(pattern.len() as u64) {
            return Err(Code::INVALID_VALUE);
        }
        if len == 0 {
            return Ok(());
        }
        let (to, _) = self.place(End::Unified(to), len)?;
        self.push(
            stream,
            Work::Fill {
                to,
                len,
                pattern: pattern.to_vec(),
            },
        )
    }

    /// What an end is, and whether the driver does not know it.
    fn place(&self, end: End, len: u64) -> Answer<(Place, bool)> {
        let len = usize::try_from(len).map_err(|_| Code::INVALID_VALUE)?;
        Ok(match end {
            End::Host(range) => (
                Place::Host(range),
                self.known_host(range.start(), len).is_none(),
            ),
            End::Unified(at) => match self.known_host(at as usize, len) {
                Some(range) => (Place::Host(range), false),
                None => (Place::Device(at), false),
            },
        })
    }

    pub(super) fn copy_time(&self, device: usize, to: &Place, from: &Place, len: u64) -> Duration {
        let profile = &self.devices[device].profile;
        match (from.is_host(), to.is_host()) {
            (true, false) => profile.upload_time(len),
            (false, true) => profile.download_time(len),
            (false, false) => profile.copy_time(len),
            (true, true) => profile.upload_time(len).max(profile.download_time(len)),
        }
    }

    pub(super) fn copy(&mut self, device: usize, to: &Place, from: Place, len: u64) -> Answer {
        if let (Place::Device(to), Place::Device(from)) = (to, &from) {
            let copied = self.devices[device].memory.copy(*to, *from, len);
            return copied.map_err(|fault| self.strayed(device, &fault));
        }
        let bytes = match from {
            Place::Staged(bytes) => bytes,
            Place::Host(range) => range.read(),
            Place::Device(from) => {
                let mut bytes = vec![0; len as usize];
                let read = self.devices[device].memory.read(from, &mut bytes);
                read.map_err(|fault| self.strayed(device, &fault))?;
                bytes
            }
        };
        match to {
            Place::Host(range) => range.write(&bytes),
            Place::Staged(_) => return Err(Code::UNKNOWN),
            Place::Device(to) => {
                let written = self.devices[device].memory.write(*to, &bytes);
                written.map_err(|fault| self.strayed(device, &fault))?;
            }
        }
        Ok(())
    }

    pub(super) fn fill(&mut self, device: usize, to: &Place, len: u64, pattern: &[u8]) -> Answer {
        match to {
            Place::Host(range) => {
                let bytes: Vec<u8> = pattern.iter().copied().cycle().take(len as usize).collect();
                range.write(&bytes);
                Ok(())
            }
            Place::Staged(_) => Err(Code::UNKNOWN),
            Place::Device(to) => {
                let filled = self.devices[device].memory.fill(*to, len, pattern);
                filled.map_err(|fault| self.strayed(device, &fault))
            }
        }
    }

    /// A copy or a fill left its memory.
    fn strayed(&mut self, device: usize, fault: &Fault) -> Code {
        self.explain(Code::ILLEGAL_ADDRESS, &fault.detail);
        self.spoil(device, Code::ILLEGAL_ADDRESS)
    }
}
