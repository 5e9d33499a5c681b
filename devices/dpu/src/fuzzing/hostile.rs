//! A card that does what a script says.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use unlade_card::entries;
use unlade_hal::HostPages;
use unlade_program::{Cell, CellSet, Ty};

use crate::entry::{COMPLETION, SUBMISSION};
use crate::fields::Fields;
use crate::iova::Iova;
use crate::registers::{
    ACQ, AQA, ASQ, BarOffset, CAP, CC, CSTS, MAGIC, MAGIC_VALUE, OWNER, VERSION,
};
use crate::transport::{CardAccess, Transport, TransportError};

/// MQES 256, TO 1, DAB 47, MQP 1.
const CAP_VALUE: u64 = 1 << 48 | 47 << 32 | 1 << 24 | 256;

/// The doorbells of admin queue and first queue.
const DOORBELLS: [BarOffset; 4] = [
    BarOffset(0x1000),
    BarOffset(0x1004),
    BarOffset(0x1008),
    BarOffset(0x100C),
];

/// What the card does, taken from bytes one after the other; zeros behind their end.
#[derive(Debug)]
pub(super) struct Script {
    bytes: Vec<u8>,
    at: usize,
}

impl Script {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let bytes = bytes.to_vec();
        Script { bytes, at: 0 }
    }

    pub(super) fn is_over(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let bytes = std::array::from_fn(|byte| self.bytes.get(self.at + byte).copied());
        self.at += N;
        bytes.map(Option::unwrap_or_default)
    }

    pub(super) fn byte(&mut self) -> u8 {
        let [byte] = self.take();
        byte
    }

    /// Bytes with some changed, as a script has it that begins with how many.
    fn change(&mut self, bytes: &mut [u8]) {
        for _ in 0..self.byte() % 8 {
            let [low, high, with] = self.take();
            let at = usize::from(u16::from_le_bytes([low, high])) % bytes.len();
            bytes[at] ^= with;
        }
    }
}

/// A card that keeps to the document as far as its script lets it.
#[derive(Debug)]
pub(super) struct HostileCard {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    script: Script,
    mapped: Vec<(Iova, u64, OwnedFd)>,
    config: [u8; 256],
    /// What was written to registers below the doorbells.
    registers: [u64; 16],
    enabled: bool,
    /// The admin queue and the first queue.
    queues: [Ring; 2],
}

/// Where a queue pair is, and how far the card is.
#[derive(Clone, Copy, Debug, Default)]
struct Ring {
    submissions: u64,
    completions: u64,
    entries: u64,
    fetched: u64,
    posted: u64,
    tail: u64,
}

impl HostileCard {
    pub(super) fn new(script: Script) -> Self {
        let mut config = [0; 256];
        // Status: there is a list of capabilities, which begins with MSI-X and ends there.
        (config[6], config[0x34], config[0x40]) = (1 << 4, 0x40, 0x11);
        HostileCard {
            state: Mutex::new(State {
                script,
                mapped: Vec::new(),
                config,
                registers: [0; 16],
                enabled: false,
                queues: [Ring::default(); 2],
            }),
        }
    }

    /// Whether all of the script has been played.
    pub(super) fn is_over(&self) -> bool {
        self.state().script.is_over()
    }

    /// Goes on with the script, on the first queue.
    pub(super) fn go_on(&self) {
        self.state().work();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads memory; what is not mapped stays as it is.
    fn read(&self, iova: u64, bytes: &mut [u8]) {
        if let Some((file, at)) = self.find(iova) {
            let _short = rustix::io::pread(file, bytes, at);
        }
    }

    /// Writes memory that is mapped.
    fn write(&self, iova: u64, bytes: &[u8]) {
        if let Some((file, at)) = self.find(iova) {
            // Beyond its end memory does not grow: the host has sealed it.
            let _refused = rustix::io::pwrite(file, bytes, at);
        }
    }

    fn find(&self, iova: u64) -> Option<(&OwnedFd, u64)> {
        let mut mapped = self.mapped.iter();
        mapped.find_map(|(start, len, file)| {
            let at = iova.checked_sub(start.0)?;
            (at < *len).then_some((file, at))
        })
    }

    /// The next submission entry of a queue.
    fn fetch(&mut self, queue: usize) -> [u8; SUBMISSION as usize] {
        let ring = self.queues[queue];
        let mut entry = [0; SUBMISSION as usize];
        let at = ring.submissions + ring.fetched % ring.entries * SUBMISSION;
        self.read(at, &mut entry);
        self.queues[queue].fetched += 1;
        entry
    }

    /// Whether the host has submitted what the card has not fetched.
    fn has_more(&self, queue: usize) -> bool {
        let ring = self.queues[queue];
        ring.entries > 0 && ring.fetched % ring.entries != ring.tail
    }

    /// Posts a completion of a command; the script may change all of it, and of admin commands not
    /// the phase: the host would wait.
    fn post(&mut self, queue: usize, id: [u8; 2], status: u16, dw: [u32; 2]) {
        let ring = self.queues[queue];
        if ring.entries == 0 {
            return;
        }
        let phase = u16::from((ring.posted / ring.entries).is_multiple_of(2));
        let head = u16::try_from(ring.fetched % ring.entries).expect("rings are short");
        let mut entry = [0; COMPLETION as usize];
        entry[..4].copy_from_slice(&dw[0].to_le_bytes());
        entry[4..8].copy_from_slice(&dw[1].to_le_bytes());
        entry[8..10].copy_from_slice(&head.to_le_bytes());
        entry[10] = u8::try_from(queue).expect("there are two");
        entry[12..14].copy_from_slice(&id);
        entry[14..].copy_from_slice(&(status << 1 | phase).to_le_bytes());
        self.script.change(&mut entry);
        if queue == 0 {
            entry[14] = entry[14] & !1 | u8::from(phase == 1);
        }
        self.write(
            ring.completions + ring.posted % ring.entries * COMPLETION,
            &entry,
        );
        self.queues[queue].posted += 1;
    }

    /// Does the admin commands that have come.
    fn administer(&mut self) {
        while self.has_more(0) {
            let entry = self.fetch(0);
            let fields = Fields(&entry);
            let (operand, page) = (fields.u64(8), fields.u16(32));
            let answer = match (entry[0], page) {
                (0x01, _) => Some((identity(), 0)),
                (0x08, 0x02) => Some((capabilities(), 1)),
                (0x08, _) => Some((vec![0; 144], 1)),
                _ => None,
            };
            let mut dw = [u32::from(entry[0] == 0x04), 0];
            if let Some((mut bytes, says_length)) = answer {
                self.script.change(&mut bytes);
                self.write(operand, &bytes);
                let length = u32::try_from(bytes.len()).expect("logs are short");
                dw = [length * says_length; 2];
            }
            if entry[0] == 0x02 {
                self.queues[1] = Ring {
                    submissions: fields.u64(8),
                    completions: fields.u64(16),
                    entries: u64::from(fields.u16(36)),
                    ..Ring::default()
                };
            }
            self.post(0, [entry[2], entry[3]], 0, dw);
        }
    }

    /// Plays some of the script on the first queue.
    fn work(&mut self) {
        match self.script.byte() % 6 {
            // As it should be done: result block, report, completion.
            0 | 1 => self.job(),
            // A completion of what the script says.
            2 => {
                let [id, id_high, status, dw0] = self.script.take();
                let status = [0, 0x0209, 0x0007, 0x0201][usize::from(status) % 4];
                self.post(1, [id, id_high], status, [u32::from(dw0), 0]);
            }
            // Noise in the completion ring.
            3 => {
                let [slot] = self.script.take();
                let bytes: [u8; 16] = self.script.take();
                let ring = self.queues[1];
                if let Some(slot) = u64::from(slot).checked_rem(ring.entries) {
                    self.write(ring.completions + slot * COMPLETION, &bytes);
                }
            }
            // Fetched, and not completed.
            4 if self.has_more(1) => {
                self.fetch(1);
            }
            // Noise in some memory.
            _ => {
                let [which, low, high] = self.script.take();
                let bytes: [u8; 8] = self.script.take();
                if let Some(at) = usize::from(which).checked_rem(self.mapped.len()) {
                    let (start, len, _) = &self.mapped[at];
                    let at = start.0 + u64::from(u16::from_le_bytes([low, high])) % len;
                    self.write(at, &bytes);
                }
            }
        }
    }

    fn job(&mut self) {
        if !self.has_more(1) {
            return;
        }
        let entry = self.fetch(1);
        let mut descriptor = [0; 72];
        self.read(Fields(&entry).u64(8), &mut descriptor);
        let fields = Fields(&descriptor);
        let (report, rows, result) = (fields.u64(16), fields.u64(40), fields.u64(56));
        let mut block = [0; 24];
        block[..8].copy_from_slice(&(rows / 2).to_le_bytes());
        block[8..16].fill(0xFF);
        let traps = self.script.byte() % 2 == 1;
        if traps {
            block[..16].fill(0);
            block[16] = 5;
        }
        self.script.change(&mut block);
        self.write(result, &block);
        let mut bytes = [0; 64];
        self.script.change(&mut bytes);
        self.write(report, &bytes);
        let (status, dw0) = match traps {
            true => (0x0209, 0),
            false => (0, fields.u32(12)),
        };
        self.post(1, [entry[2], entry[3]], status, [dw0, 0]);
    }
}

impl Transport for HostileCard {
    fn address(&self) -> String {
        "fuzzing".to_owned()
    }

    fn bar_len(&self) -> u64 {
        8192
    }

    fn read32(&self, at: BarOffset) -> Result<u32, TransportError> {
        let state = self.state();
        Ok(match at {
            MAGIC => MAGIC_VALUE,
            VERSION => 0x0001_0000,
            CSTS => u32::from(state.enabled),
            BarOffset(at) => match state.registers.get((at / 8) as usize) {
                Some(value) if at % 8 == 0 => (*value & u64::from(u32::MAX)) as u32,
                _ => 0,
            },
        })
    }

    fn read64(&self, at: BarOffset) -> Result<u64, TransportError> {
        Ok(if at == CAP { CAP_VALUE } else { 0 })
    }

    fn write32(&self, at: BarOffset, value: u32) -> Result<(), TransportError> {
        let mut state = self.state();
        match at {
            CC => {
                state.enabled = value & 1 != 0;
                let [asq, acq] = [ASQ, ACQ].map(|at| state.registers[(at.0 / 8) as usize]);
                let entries = state.registers[(AQA.0 / 8) as usize] & 0xFFFF;
                state.queues[0] = Ring {
                    submissions: asq,
                    completions: acq,
                    entries,
                    ..Ring::default()
                };
            }
            OWNER | AQA => state.registers[(at.0 / 8) as usize] = value.into(),
            _ if at == DOORBELLS[0] => {
                state.queues[0].tail = value.into();
                state.administer();
            }
            _ if at == DOORBELLS[2] => state.queues[1].tail = value.into(),
            _ => {}
        }
        Ok(())
    }

    fn write64(&self, at: BarOffset, value: u64) -> Result<(), TransportError> {
        self.state().registers[(at.0 / 8) as usize] = value;
        Ok(())
    }

    fn read_config(&self, at: u16, bytes: &mut [u8]) -> Result<(), TransportError> {
        let at = usize::from(at);
        bytes.copy_from_slice(&self.state().config[at..at + bytes.len()]);
        Ok(())
    }

    fn write_config(&self, at: u16, bytes: &[u8]) -> Result<(), TransportError> {
        let at = usize::from(at);
        self.state().config[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn map(&self, iova: Iova, pages: &HostPages, _: CardAccess) -> Result<(), TransportError> {
        let file = pages.file().expect("pages of a slab have a file");
        let file = file.try_clone_to_owned().expect("a descriptor is free");
        self.state().mapped.push((iova, pages.len(), file));
        Ok(())
    }

    fn unmap(&self, iova: Iova, _: u64) -> Result<(), TransportError> {
        self.state().mapped.retain(|(start, ..)| *start != iova);
        Ok(())
    }

    fn vectors(&self) -> u32 {
        2
    }

    fn set_interrupts(&self, _: &[BorrowedFd<'_>]) -> Result<(), TransportError> {
        Ok(())
    }

    fn reset(&self) -> Result<(), TransportError> {
        self.state().enabled = false;
        Ok(())
    }

    fn renew(&self) -> Result<Arc<dyn Transport>, TransportError> {
        Err(TransportError::Unsupported("opening a hostile card twice"))
    }

    fn close(&self) {
        self.state().mapped.clear();
    }
}

/// The least that IDENTIFY may say, with compaction and reports.
fn identity() -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    let listed = Fields(&capabilities()).u32(0);
    for (at, value) in [
        (0, 0x494C_4E55),
        (4, 0x0001_0000),
        (96, 1 | 1 << 3 | 1 << 6),
        (104, 1),
        (108, 256),
        (112, 16),
        (116, 262_144),
        (120, 4096),
        (124, 16 | 16 << 16),
        (128, 64),
        (132, 64),
        (140, 256),
        (144, 256),
        (148, 65_536),
        (152, 1 << 20),
        (160, 64),
        (164, 256),
        (168, 16),
        (172, 16),
        (176, 64),
        (180, 1024),
        (184, 48 | 1 << 8),
        (188, listed),
        (192, 65_536),
        (200, 65_536),
        (208, 1),
        (212, 2),
    ] {
        put(at, value);
    }
    bytes
}

/// The log page of a card with the operations of few types, which is soon read.
fn capabilities() -> Vec<u8> {
    static PAGE: OnceLock<Vec<u8>> = OnceLock::new();
    let page = || {
        let few = |ty| matches!(ty, Ty::I32 | Ty::Mask);
        let lacks = |cell: &Cell| !few(cell.operand) || !few(cell.result);
        let entries = entries(&CellSet::full().without(lacks));
        let count = u32::try_from(entries.len() / 8).expect("there are some hundred");
        let mut page = count.to_le_bytes().to_vec();
        page.extend(8_u32.to_le_bytes());
        page.extend([0; 8]);
        page.extend(entries);
        page
    };
    PAGE.get_or_init(page).clone()
}
