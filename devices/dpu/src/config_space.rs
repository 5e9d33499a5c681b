//! PCI configuration space, as far as the driver touches it: docs/CARD.md, section 2.

use crate::transport::{Transport, TransportError};

const COMMAND: u16 = 0x04;
const MEMORY_SPACE: u16 = 1 << 1;
const BUS_MASTER: u16 = 1 << 2;

const STATUS: u16 = 0x06;
const HAS_CAPABILITIES: u16 = 1 << 4;
const FIRST_CAPABILITY: u16 = 0x34;

const MSIX: u8 = 0x11;
const MSIX_CONTROL: u16 = 2;
const MSIX_ENABLE: u16 = 1 << 15;
const MSIX_MASK_ALL: u16 = 1 << 14;

/// More capabilities than fit: a list that is longer goes in circles.
const MOST_CAPABILITIES: usize = 48;

/// Lets BARs answer.
pub(crate) fn enable_memory(transport: &dyn Transport) -> Result<(), TransportError> {
    set_command(transport, MEMORY_SPACE)
}

/// Lets the card begin transfers. Without it nothing ever completes, and nothing says why.
pub(crate) fn enable_bus_master(transport: &dyn Transport) -> Result<(), TransportError> {
    set_command(transport, BUS_MASTER)
}

fn set_command(transport: &dyn Transport, bits: u16) -> Result<(), TransportError> {
    let command = read16(transport, COMMAND)?;
    if command & bits == bits {
        return Ok(());
    }
    transport.write_config(COMMAND, &(command | bits).to_le_bytes())?;
    match read16(transport, COMMAND)? {
        found if found & bits == bits => Ok(()),
        found => Err(TransportError::Lacks(format!(
            "does not take bits {bits:#x} of its command register, which is {found:#x}"
        ))),
    }
}

/// Turns MSI-X on. Where a kernel drives the function it has done so already, and this changes
/// nothing.
pub(crate) fn enable_msix(transport: &dyn Transport) -> Result<(), TransportError> {
    let at = find_capability(transport, MSIX)?
        .ok_or_else(|| TransportError::Lacks("has no MSI-X, which every card has".to_owned()))?;
    let control = read16(transport, at + MSIX_CONTROL)?;
    let control = (control | MSIX_ENABLE) & !MSIX_MASK_ALL;
    transport.write_config(at + MSIX_CONTROL, &control.to_le_bytes())
}

/// Whether the function has left its bus: of one that is there, some bits of the status are zero.
pub(crate) fn is_gone(transport: &dyn Transport) -> Result<bool, TransportError> {
    Ok(read16(transport, STATUS)? == u16::MAX)
}

/// Whether MSI-X is on.
pub(crate) fn msix_is_enabled(transport: &dyn Transport) -> Result<bool, TransportError> {
    Ok(match find_capability(transport, MSIX)? {
        Some(at) => read16(transport, at + MSIX_CONTROL)? & MSIX_ENABLE != 0,
        None => false,
    })
}

fn find_capability(transport: &dyn Transport, wanted: u8) -> Result<Option<u16>, TransportError> {
    if read16(transport, STATUS)? & HAS_CAPABILITIES == 0 {
        return Ok(None);
    }
    let [mut at, _] = read16(transport, FIRST_CAPABILITY)?.to_le_bytes();
    for _ in 0..MOST_CAPABILITIES {
        // The two lowest bits are reserved; below 0x40 there are none.
        let place = u16::from(at & !3);
        if place < 0x40 {
            return Ok(None);
        }
        let [id, next] = read16(transport, place)?.to_le_bytes();
        if id == wanted {
            return Ok(Some(place));
        }
        at = next;
    }
    Err(TransportError::Lacks(
        "has a list of capabilities that never ends".to_owned(),
    ))
}

fn read16(transport: &dyn Transport, at: u16) -> Result<u16, TransportError> {
    let mut bytes = [0; 2];
    transport.read_config(at, &mut bytes)?;
    Ok(u16::from_le_bytes(bytes))
}
