//! One connection of the vfio-user protocol: what each command asks of the card.

use rustix::io::Errno;

use crate::bytes::{index, u16_at, u32_at, u64_at};
use crate::card::{Card, Region};
use crate::dma::{Iova, MapError, Permissions};
use crate::interrupts::InterruptKind;
use crate::wire::{MAX_DATA, Message};

// Commands.
const VERSION: u16 = 1;
const DMA_MAP: u16 = 2;
const DMA_UNMAP: u16 = 3;
const GET_INFO: u16 = 4;
const GET_REGION_INFO: u16 = 5;
const GET_IRQ_INFO: u16 = 7;
const SET_IRQS: u16 = 8;
const REGION_READ: u16 = 9;
const REGION_WRITE: u16 = 10;
const RESET: u16 = 13;

// Regions and interrupts of a PCI function in VFIO.
const REGIONS: u32 = 9;
const INTERRUPTS: u32 = 5;

/// The newest version of the protocol that is served, 0.1.
const MINOR: u16 = 1;

/// Where configuration space has the command register, and what of it is memory space enable.
const COMMAND: u64 = 4;
const MEMORY_SPACE: u8 = 1 << 1;

/// Bytes of a region access before its data.
const ACCESS: usize = 16;

/// What a host has agreed on, and its commands.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    card: &'a Card,
    /// Whether the versions have been exchanged, before which nothing else is served.
    agreed: bool,
    /// What the host of a virtual function has set of memory space enable, which that has not: it is shown
    /// as one that can be set, as systems do that hand a function over.
    memory_space: u8,
}

impl<'a> Session<'a> {
    pub(crate) fn new(card: &'a Card) -> Self {
        Session {
            card,
            agreed: false,
            memory_space: 0,
        }
    }

    /// Does a command; what the card makes of it is seen to by [`Card::attend`]. The error is the errno
    /// of the answer.
    pub(crate) fn handle(&mut self, message: &mut Message) -> Result<Vec<u8>, Errno> {
        let payload = std::mem::take(&mut message.payload);
        if !self.agreed && message.command != VERSION {
            return Err(Errno::PROTO);
        }
        match message.command {
            VERSION => self.version(&payload),
            DMA_MAP => self.map(message, fixed(&payload, 32)?),
            DMA_UNMAP => self.unmap(fixed(&payload, 24)?),
            GET_INFO => Ok(words(&[16, INFO_FLAGS, REGIONS, INTERRUPTS])),
            GET_REGION_INFO => self.region_info(fixed(&payload, 32)?),
            GET_IRQ_INFO => self.interrupt_info(fixed(&payload, 16)?),
            SET_IRQS => self.set_interrupts(message, fixed(&payload, 20)?),
            REGION_READ => self.read(fixed(&payload, ACCESS)?),
            REGION_WRITE => self.write(payload),
            RESET => {
                self.card.reset();
                Ok(Vec::new())
            }
            _ => Err(Errno::OPNOTSUPP),
        }
    }

    fn version(&mut self, payload: &[u8]) -> Result<Vec<u8>, Errno> {
        let asked = fixed(payload, 4)?;
        if u16_at(asked, 0) != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        // A server's minor version is at most the client's; QEMU, which has 0.0, insists on it.
        let minor = u16_at(asked, 2).min(MINOR);
        self.agreed = true;
        let capabilities = format!(
            "{{\"capabilities\":{{\"max_msg_fds\":16,\"max_data_xfer_size\":{MAX_DATA},\
             \"migration\":{{\"pgsize\":4096}}}}}}\0"
        );
        let mut answer = Vec::new();
        answer.extend(0u16.to_le_bytes());
        answer.extend(minor.to_le_bytes());
        answer.extend(capabilities.as_bytes());
        Ok(answer)
    }

    fn map(&self, message: &mut Message, payload: &[u8]) -> Result<Vec<u8>, Errno> {
        let flags = u32_at(payload, 4);
        if message.files.len() > 1 {
            return Err(Errno::INVAL);
        }
        let permissions = Permissions {
            read: flags & 1 != 0,
            write: flags & 2 != 0,
        };
        let (offset, iova, size) = (u64_at(payload, 8), u64_at(payload, 16), u64_at(payload, 24));
        if offset.checked_add(size).is_none() {
            return Err(Errno::INVAL);
        }
        let mapped = self
            .card
            .map(Iova(iova), size, message.files.pop(), offset, permissions);
        mapped.map_err(errno)?;
        Ok(Vec::new())
    }

    fn unmap(&self, payload: &[u8]) -> Result<Vec<u8>, Errno> {
        // VFIO_DMA_UNMAP_FLAG_ALL. The protocol's text has no flags here; QEMU and libvfio-user take
        // those of the kernel's interface, which has nothing in the range then.
        const ALL: u32 = 1 << 1;

        let (iova, size) = (u64_at(payload, 8), u64_at(payload, 16));
        match u32_at(payload, 4) {
            0 => self.card.unmap(Iova(iova), size).map_err(errno)?,
            ALL if iova == 0 && size == 0 => self.card.unmap_all(),
            _ => return Err(Errno::INVAL),
        }
        Ok(payload.to_vec())
    }

    fn region_info(&self, payload: &[u8]) -> Result<Vec<u8>, Errno> {
        const READ_WRITE: u32 = 3;

        let region = u32_at(payload, 8);
        if region >= REGIONS {
            return Err(Errno::INVAL);
        }
        let (flags, size) = match Region::from_index(region) {
            Some(region) => (READ_WRITE, self.card.region_size(region)),
            None => (0, 0),
        };
        let mut info = words(&[32, flags, region, 0]);
        info.extend(size.to_le_bytes());
        info.extend(0u64.to_le_bytes());
        Ok(info)
    }

    fn interrupt_info(&self, payload: &[u8]) -> Result<Vec<u8>, Errno> {
        // VFIO_IRQ_INFO_EVENTFD, _MASKABLE, _AUTOMASKED, _NORESIZE.
        const EVENTFD: u32 = 1;
        const MASKED_BY_HOST: u32 = 2 | 4;
        const NO_RESIZE: u32 = 8;

        let interrupt = u32_at(payload, 8);
        if interrupt >= INTERRUPTS {
            return Err(Errno::INVAL);
        }
        let (flags, count) = match InterruptKind::from_index(interrupt) {
            Some(InterruptKind::Intx) if self.card.is_virtual() => (0, 0),
            Some(InterruptKind::Intx) => (EVENTFD | MASKED_BY_HOST, 1),
            Some(InterruptKind::Msi) => (EVENTFD | NO_RESIZE, 1),
            Some(InterruptKind::Msix) => (EVENTFD | NO_RESIZE, self.card.vectors().into()),
            None => (0, 0),
        };
        Ok(words(&[16, flags, interrupt, count]))
    }

    fn set_interrupts(&self, message: &mut Message, payload: &[u8]) -> Result<Vec<u8>, Errno> {
        const DATA_NONE: u32 = 1;
        const DATA_EVENTFD: u32 = 1 << 2;
        const MASK: u32 = 1 << 3;
        const UNMASK: u32 = 1 << 4;
        const TRIGGER: u32 = 1 << 5;
        const TAKE_BACK: u32 = TRIGGER | DATA_NONE;
        const SET: u32 = TRIGGER | DATA_EVENTFD;

        let (flags, first, count) = (u32_at(payload, 4), u32_at(payload, 12), u32_at(payload, 16));
        let kind = InterruptKind::from_index(u32_at(payload, 8)).ok_or(Errno::INVAL)?;
        let files = std::mem::take(&mut message.files);
        match flags {
            TAKE_BACK if count == 0 => self.card.clear_events(kind),
            SET => {
                if count > self.card.vectors().into() {
                    return Err(Errno::INVAL);
                }
                let count = index(count.into());
                // No file descriptors at all take the vectors' eventfds back.
                let events = if files.is_empty() {
                    (0..count).map(|_| None).collect()
                } else if files.len() == count {
                    files.into_iter().map(Some).collect()
                } else {
                    return Err(Errno::INVAL);
                };
                if !self.card.set_events(kind, index(first.into()), events) {
                    return Err(Errno::INVAL);
                }
            }
            _ if flags & UNMASK != 0 && kind == InterruptKind::Intx => self.card.unmask_intx(),
            // The host masks INTx on its own side: the card has nothing to do.
            _ if flags & MASK != 0 && kind == InterruptKind::Intx => {}
            _ => return Err(Errno::OPNOTSUPP),
        }
        Ok(Vec::new())
    }

    fn read(&self, payload: &[u8]) -> Result<Vec<u8>, Errno> {
        let (offset, region, count) = access(payload)?;
        if count > MAX_DATA {
            return Err(Errno::INVAL);
        }
        let mut answer = payload.to_vec();
        answer.resize(ACCESS + count, 0);
        let read = self.card.read(region, offset, &mut answer[ACCESS..]);
        read.map_err(|_| Errno::INVAL)?;
        if let Some(command) = self.command_of_virtual(region, offset, &mut answer[ACCESS..]) {
            *command |= self.memory_space;
        }
        Ok(answer)
    }

    fn write(&mut self, mut payload: Vec<u8>) -> Result<Vec<u8>, Errno> {
        let (offset, region, count) = access(&payload)?;
        let data = &mut payload[ACCESS..];
        if data.len() != count {
            return Err(Errno::INVAL);
        }
        if let Some(command) = self.command_of_virtual(region, offset, data) {
            self.memory_space = *command & MEMORY_SPACE;
        }
        self.card
            .take_write(region, offset, data)
            .map_err(|_| Errno::INVAL)?;
        payload.truncate(ACCESS);
        Ok(payload)
    }

    /// The low byte of a virtual function's command register, where an access has it.
    fn command_of_virtual<'b>(
        &self,
        region: Region,
        offset: u64,
        bytes: &'b mut [u8],
    ) -> Option<&'b mut u8> {
        let at = COMMAND.checked_sub(offset)?;
        let command = bytes.get_mut(usize::try_from(at).ok()?)?;
        (region == Region::Config && self.card.is_virtual()).then_some(command)
    }
}

/// VFIO_DEVICE_FLAGS_RESET and VFIO_DEVICE_FLAGS_PCI.
const INFO_FLAGS: u32 = 1 | 2;

/// Offset, region and number of bytes of a region access.
fn access(payload: &[u8]) -> Result<(u64, Region, usize), Errno> {
    let payload = fixed(payload, ACCESS)?;
    let region = Region::from_index(u32_at(payload, 8)).ok_or(Errno::INVAL)?;
    Ok((
        u64_at(payload, 0),
        region,
        index(u32_at(payload, 12).into()),
    ))
}

/// The part of a payload that every message of its command has.
fn fixed(payload: &[u8], bytes: usize) -> Result<&[u8], Errno> {
    payload.get(..bytes).ok_or(Errno::INVAL)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn errno(error: MapError) -> Errno {
    match error {
        MapError::NoRange { .. } | MapError::Cut { .. } | MapError::Misaligned { .. } => {
            Errno::INVAL
        }
        MapError::Overlap { .. } => Errno::EXIST,
        MapError::TooMany(_) => Errno::NOSPC,
        MapError::HugePages { .. } => Errno::OPNOTSUPP,
    }
}
