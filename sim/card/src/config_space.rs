//! Configuration space, docs/CARD.md, section 2: identity, BARs and the list of capabilities.

use crate::bytes::{put, u16_at, u32_at};
use crate::functions::{Enabled, PHYSICAL};
use crate::profile::Profile;

/// Bytes of the configuration space of a PCI Express function.
pub(crate) const SIZE: usize = 4096;

pub(crate) const VENDOR: u16 = 0x1AF4;
pub(crate) const DEVICE: u16 = 0x10F5;

const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;

// The capabilities, in the order of their list.
const PCI_EXPRESS: usize = 0x40;
const MSI: usize = 0x80;
const MSIX: usize = 0x90;
const SIGNATURE: usize = 0xA0;

/// Memory space enable, bus master, parity error response, SERR enable, interrupt disable.
const COMMAND_BITS: u16 = 0x0546;
const MEMORY_SPACE: u16 = 1 << 1;
const BUS_MASTER: u16 = 1 << 2;
const INTERRUPT_DISABLE: u16 = 1 << 10;

const MSI_ENABLE: u16 = 1;
const MSIX_FUNCTION_MASK: u16 = 1 << 14;
const MSIX_ENABLE: u16 = 1 << 15;

/// The SR-IOV capability, and what of it is written.
const SR_IOV: usize = 0x100;
const SR_IOV_CONTROL: usize = SR_IOV + 8;
const NUM_VFS: usize = SR_IOV + 16;
const NUM_VFS_HIGH: usize = NUM_VFS + 1;
const PAGE_SIZE: usize = SR_IOV + 32;
const VF_BARS: usize = SR_IOV + 36;

const VF_ENABLE: u16 = 1 << 0;
const VF_MEMORY: u16 = 1 << 3;

/// Sizes of a system's pages in units of 4 KiB, a bit each: those that PCI Express demands.
const PAGE_SIZES: u32 = 0x553;

/// Device control: initiate function level reset.
const INITIATE_RESET: u16 = 1 << 15;

/// Where things are in the BARs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) bar0: u64,
    pub(crate) bar4: u64,
    /// Offset of the pending bits in BAR4.
    pub(crate) pending: u32,
}

impl Layout {
    pub(crate) fn new(profile: &Profile) -> Layout {
        let doorbells = 2 * (u64::from(profile.queue_pairs) + 1) * (4 << profile.doorbell_stride);
        let pending = (16 * u32::from(profile.vectors)).next_multiple_of(4096);
        Layout {
            bar0: (0x1000 + doorbells).next_power_of_two().max(8192),
            bar4: (u64::from(pending) + 4096).next_power_of_two(),
            pending,
        }
    }
}

/// Configuration space.
#[derive(Debug)]
pub(crate) struct ConfigSpace {
    bytes: Vec<u8>,
    /// The bits that a write changes.
    writable: Vec<u8>,
    /// Of a function with SR-IOV, how large the BARs of its virtual ones are where pages are no larger.
    virtual_layout: Option<Layout>,
}

impl ConfigSpace {
    /// Of the function with this number, as it is after a reset.
    pub(crate) fn new(profile: &Profile, function: u16) -> ConfigSpace {
        let layout = Layout::new(profile);
        let mut space = ConfigSpace {
            bytes: vec![0; SIZE],
            writable: vec![0; SIZE],
            virtual_layout: None,
        };
        space.header();
        match function {
            PHYSICAL => space.physical(&layout),
            _ => space.without_ids(),
        }
        if profile.virtual_functions > 0 {
            space.sr_iov(profile.virtual_functions, &layout);
        }
        space.pci_express();
        space.msi();
        space.msix(profile.vectors, layout.pending);
        space.signature();
        space
    }

    fn header(&mut self) {
        self.set(STATUS, &0x0010u16.to_le_bytes());
        // Revision 1; processing accelerator, 0x12, of no further class.
        self.set(0x08, &[0x01, 0x00, 0x00, 0x12]);
        self.set(0x2C, &VENDOR.to_le_bytes());
        self.set(0x2E, &DEVICE.to_le_bytes());
        self.set(0x34, &[0x40]);
        self.allow(COMMAND, &BUS_MASTER.to_le_bytes());
    }

    /// What virtual functions have not.
    fn physical(&mut self, layout: &Layout) {
        self.set(0x00, &VENDOR.to_le_bytes());
        self.set(0x02, &DEVICE.to_le_bytes());
        self.set(0x3D, &[1]);
        self.allow(COMMAND, &COMMAND_BITS.to_le_bytes());
        self.allow(0x0C, &[0xFF]);
        self.allow(0x3C, &[0xFF]);
        self.bars(0x10, layout, 0);
    }

    fn without_ids(&mut self) {
        self.set(0x00, &[0xFF; 4]);
    }

    /// BAR0 and BAR4 of at least so many bytes: memory, 64-bit, not prefetchable.
    fn bars(&mut self, first: usize, layout: &Layout, least: u64) {
        for (bar, size) in [(first, layout.bar0), (first + 16, layout.bar4)] {
            let mask = (!(size.max(least) - 1)).to_le_bytes();
            self.allow(bar, &mask);
            // Of an address that was there, what is left.
            for (byte, mask) in self.bytes[bar..].iter_mut().zip(mask) {
                *byte &= mask;
            }
            self.bytes[bar] |= 0x04;
        }
    }

    /// As many virtual functions as that; the next ones by requester id, of which each has BARs as large
    /// as the physical function's.
    fn sr_iov(&mut self, most: u16, layout: &Layout) {
        self.set(SR_IOV, &0x0001_0010u32.to_le_bytes());
        self.allow(SR_IOV_CONTROL, &(VF_ENABLE | VF_MEMORY).to_le_bytes());
        self.set(SR_IOV + 12, &most.to_le_bytes());
        self.set(SR_IOV + 14, &most.to_le_bytes());
        self.allow(NUM_VFS, &[0xFF; 2]);
        self.set(SR_IOV + 20, &1u16.to_le_bytes());
        self.set(SR_IOV + 22, &1u16.to_le_bytes());
        self.set(SR_IOV + 26, &DEVICE.to_le_bytes());
        self.set(SR_IOV + 28, &PAGE_SIZES.to_le_bytes());
        self.set(PAGE_SIZE, &1u32.to_le_bytes());
        // Which of its values are taken is seen as it is written.
        self.allow(PAGE_SIZE, &[0xFF; 4]);
        self.bars(VF_BARS, layout, 0);
        self.virtual_layout = Some(*layout);
    }

    fn pci_express(&mut self) {
        self.set(PCI_EXPRESS, &[0x10, 0x80, 0x02, 0x00]);
        // Function level reset; role-based error reporting, as every function has it.
        self.set(PCI_EXPRESS + 4, &(1u32 << 28 | 1 << 15).to_le_bytes());
        self.allow(PCI_EXPRESS + 8, &(!INITIATE_RESET).to_le_bytes());
        // A link of one lane at 2.5 GT/s.
        self.set(PCI_EXPRESS + 12, &0x11u32.to_le_bytes());
        self.set(PCI_EXPRESS + 18, &0x11u16.to_le_bytes());
    }

    fn msi(&mut self) {
        self.set(MSI, &[0x05, 0x90, 0x80, 0x00]);
        self.allow(MSI + 2, &0x0071u16.to_le_bytes());
        self.allow(MSI + 4, &0xFFFF_FFFF_FFFF_FFFCu64.to_le_bytes());
        self.allow(MSI + 12, &[0xFF, 0xFF]);
    }

    fn msix(&mut self, vectors: u16, pending: u32) {
        self.set(MSIX, &[0x11, 0xA0]);
        self.set(MSIX + 2, &(vectors - 1).to_le_bytes());
        self.allow(MSIX + 2, &(MSIX_ENABLE | MSIX_FUNCTION_MASK).to_le_bytes());
        // Both in BAR 4.
        self.set(MSIX + 4, &4u32.to_le_bytes());
        self.set(MSIX + 8, &(pending | 4).to_le_bytes());
    }

    fn signature(&mut self) {
        self.set(SIGNATURE, &[0x09, 0x00, 16, 1]);
        self.set(SIGNATURE + 4, b"UNLD");
        self.set(SIGNATURE + 8, &[1, 0]);
    }

    fn set(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.bytes, offset, bytes);
    }

    fn allow(&mut self, offset: usize, bits: &[u8]) {
        put(&mut self.writable, offset, bits);
    }

    /// Reads bytes inside of the space. `interrupt` is the interrupt status.
    pub(crate) fn read(&self, offset: usize, bytes: &mut [u8], interrupt: bool) {
        for (at, byte) in (offset..).zip(bytes) {
            *byte = self.bytes[at];
            if at == STATUS && interrupt {
                *byte |= 1 << 3;
            }
        }
    }

    /// Writes bytes inside of the space. Gives whether they ask for a function level reset.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) -> bool {
        let mut reset = false;
        // While there are virtual functions, neither how many nor how large their pieces are changes.
        let are_enabled = self.sr_iov_control() & VF_ENABLE != 0;
        let page_size = u32_at(&self.bytes, PAGE_SIZE);
        for (at, &byte) in (offset..).zip(bytes) {
            let writable = match at {
                NUM_VFS | NUM_VFS_HIGH if are_enabled => 0,
                PAGE_SIZE..VF_BARS if are_enabled => 0,
                _ => self.writable[at],
            };
            self.bytes[at] = self.bytes[at] & !writable | byte & writable;
            reset |= at == PCI_EXPRESS + 9 && byte & 0x80 != 0;
        }
        if let Some(layout) = self.virtual_layout {
            let mut units = u32_at(&self.bytes, PAGE_SIZE);
            if !units.is_power_of_two() || units & PAGE_SIZES == 0 {
                units = page_size;
                self.set(PAGE_SIZE, &units.to_le_bytes());
            }
            self.bars(VF_BARS, &layout, u64::from(units) << 12);
        }
        reset
    }

    fn sr_iov_control(&self) -> u16 {
        u16_at(&self.bytes, SR_IOV_CONTROL)
    }

    /// Which virtual functions there are.
    pub(crate) fn virtual_functions(&self) -> Enabled {
        let control = self.sr_iov_control();
        let most = u16_at(&self.bytes, SR_IOV + 14);
        let count = match control & VF_ENABLE {
            0 => 0,
            _ => u16_at(&self.bytes, NUM_VFS).min(most),
        };
        Enabled {
            count,
            memory: control & VF_MEMORY != 0,
        }
    }

    fn command(&self) -> u16 {
        u16_at(&self.bytes, COMMAND)
    }

    pub(crate) fn bus_master(&self) -> bool {
        self.command() & BUS_MASTER != 0
    }

    pub(crate) fn memory_space(&self) -> bool {
        self.command() & MEMORY_SPACE != 0
    }

    pub(crate) fn interrupt_disable(&self) -> bool {
        self.command() & INTERRUPT_DISABLE != 0
    }

    pub(crate) fn msi_enabled(&self) -> bool {
        u16_at(&self.bytes, MSI + 2) & MSI_ENABLE != 0
    }

    pub(crate) fn msix_enabled(&self) -> bool {
        u16_at(&self.bytes, MSIX + 2) & MSIX_ENABLE != 0
    }

    pub(crate) fn msix_masked(&self) -> bool {
        u16_at(&self.bytes, MSIX + 2) & MSIX_FUNCTION_MASK != 0
    }

    /// Turns MSI on or off, as a host's kernel does where its driver asks for the interrupts.
    pub(crate) fn enable_msi(&mut self, on: bool) {
        let control = u16_at(&self.bytes, MSI + 2) & !MSI_ENABLE;
        self.set(
            MSI + 2,
            &(control | if on { MSI_ENABLE } else { 0 }).to_le_bytes(),
        );
    }

    /// Turns MSI-X on or off, likewise.
    pub(crate) fn enable_msix(&mut self, on: bool) {
        let control = u16_at(&self.bytes, MSIX + 2) & !(MSIX_ENABLE | MSIX_FUNCTION_MASK);
        self.set(
            MSIX + 2,
            &(control | if on { MSIX_ENABLE } else { 0 }).to_le_bytes(),
        );
    }
}
