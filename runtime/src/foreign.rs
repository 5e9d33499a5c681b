//! Memory of devices that others have allocated, brought to the host by the device that has it.

use std::sync::Arc;

use arrow_buffer::Buffer;
use unlade_hal::{Command, CommandList, DeviceError, ForeignMemory, Outcome, Slot, SlotId, Span};

use crate::device_slot::DeviceSlot;
use crate::driver::Undone;
use crate::error::Error;
use crate::kernel::Kernel;
use crate::offload::{self, LINE};
use crate::pool;

impl Kernel {
    /// Copies memory that somebody else has allocated on a device of the runtime to the host, in one
    /// go: a buffer for each, aligned to 64 bytes, on pinned memory of the kernel's session.
    ///
    /// # Errors
    /// [`Error::Config`] where there is no such device, where it has no memory that others allocate, and
    /// where a range is not inside of one allocation there or is not written in time;
    /// [`Error::Exhausted`] without memory of the host; [`Error::DeviceFault`] where the device fails.
    pub fn fetch(&self, device: &str, memory: Vec<ForeignMemory>) -> Result<Vec<Buffer>, Error> {
        unlade_hal::fork::check()?;
        let (runtime, session) = (&self.core.runtime, &self.core.session);
        let slot = runtime.devices.iter().find(|slot| &*slot.name == device);
        let slot = slot.ok_or_else(|| Error::Config(format!("there is no device `{device}`")))?;
        let timeout = runtime.options.device_timeout;
        let mut list = CommandList::new();
        let mut placed = Vec::with_capacity(memory.len());
        let mut len = 0;
        for each in memory {
            let bytes = each.len();
            let source = match bytes {
                0 => None,
                _ => {
                    let adopted = slot.device.adopt(each, timeout);
                    let slab = adopted.map_err(|error| refused(slot, error))?;
                    let lease = slab.lease_whole().expect("the slab is new");
                    Some(list.slot(Slot::Resident(Arc::new(lease))))
                }
            };
            placed.push((source, len, bytes));
            len = (len + bytes).next_multiple_of(LINE);
        }
        if len == 0 {
            return Ok(placed.iter().map(|_| Buffer::default()).collect());
        }
        let request = pool::Request {
            sizes: &[len],
            memory: pool::Memory::Pinned,
            wait: Some(offload::MEMORY_WAIT),
        };
        let mut leases = session.memory.within_reach().acquire(&request)?;
        let readback = leases.pop().expect("one was asked for");
        let readback = list.slot(Slot::Owned(readback));
        for (source, at, bytes) in &placed {
            if let Some(source) = source {
                let span = |slot: SlotId, at: u64| Span {
                    slot,
                    bytes: at..at + bytes,
                };
                list.push(Command::Copy {
                    from: span(*source, 0),
                    to: span(readback, *at),
                });
            }
        }
        let fault = |reason: String| Error::DeviceFault(offload::lost(slot, reason));
        let back = slot.driver.run(&*slot.device, list, timeout, || false);
        let completion = match back {
            Ok(back) => back.completion,
            Err(Undone::Lost(lost)) => return Err(Error::DeviceFault(lost)),
            Err(Undone::Invalid(reason)) => return Err(fault(reason)),
            Err(Undone::GivenUp(_)) => unreachable!("it is waited for to its end"),
        };
        if !matches!(completion.outcome, Outcome::Done { .. }) {
            return Err(fault("a copy of memory to the host failed".to_owned()));
        }
        let mut slots = completion.list.slots;
        let Slot::Owned(lease) = slots.swap_remove(usize::from(readback.0)) else {
            unreachable!("what was owned comes back so");
        };
        let whole = lease.freeze(len as usize);
        let whole = whole.map_err(|_| fault("its memory is not the host's".to_owned()))?;
        let part =
            |(_, at, bytes): &(_, u64, u64)| whole.slice_with_length(*at as usize, *bytes as usize);
        Ok(placed.iter().map(part).collect())
    }
}

fn refused(slot: &DeviceSlot, error: DeviceError) -> Error {
    match error {
        DeviceError::Lost(lost) => Error::DeviceFault(lost),
        DeviceError::Foreign(why) => Error::Config(why),
        other => Error::Config(format!("`{}`: {other}", slot.name)),
    }
}
