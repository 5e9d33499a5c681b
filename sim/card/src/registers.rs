//! The registers in BAR0, docs/CARD.md, sections 3 and 4.

use crate::bytes::put;
use crate::dma::Iova;
use crate::profile::Profile;
use crate::queues::{ADMIN, Pair, Ring};
use crate::state::State;

/// "UNLD".
const MAGIC: u32 = 0x444C_4E55;

/// Where the doorbells begin.
const DOORBELLS: u64 = 0x1000;

/// Bytes of OWNER_NAME.
const NAME: usize = 32;

/// What the registers hold that can change.
#[derive(Debug, Default)]
pub(crate) struct Registers {
    /// CC.EN.
    pub(crate) enabled: bool,
    /// CSTS.RDY.
    pub(crate) ready: bool,
    /// CSTS.REASON; FATAL where it is not 0.
    pub(crate) reason: u8,
    pub(crate) interrupt_mask: u32,
    pub(crate) aqa: u32,
    pub(crate) asq: u64,
    pub(crate) acq: u64,
    pub(crate) owner: u32,
    pub(crate) owner_name: [u8; NAME],
}

impl Registers {
    fn off(&self) -> bool {
        !self.enabled && !self.ready
    }

    /// The admin pair that AQA, ASQ and ACQ describe; none where they are illegal.
    fn admin_pair(&self, profile: &Profile) -> Option<Pair> {
        let ring = |iova: u64, entries: u32, entry_bytes: u64| {
            let legal = entries.is_power_of_two()
                && (2..=4096).contains(&entries)
                && iova.is_multiple_of(4096)
                && profile
                    .address_bits()
                    .reach(iova, entry_bytes * u64::from(entries));
            let entries = u16::try_from(entries).ok()?;
            legal.then_some(Ring {
                iova: Iova(iova),
                entries,
            })
        };
        let sq = ring(self.asq, self.aqa & 0xFFFF, 64)?;
        let cq = ring(self.acq, self.aqa >> 16, 16)?;
        Some(Pair::new(ADMIN, sq, cq, Some(0)))
    }
}

impl State {
    /// Reads the 4 bytes at an offset of BAR0.
    pub(crate) fn read_register(&self, offset: u64) -> u32 {
        let registers = &self.registers;
        let low = |value: u64| u32::try_from(value & 0xFFFF_FFFF).expect("32 bits");
        let high = |value: u64| low(value >> 32);
        match offset {
            0x00 => MAGIC,
            0x04 => self.profile.version(),
            0x08 => low(self.profile.cap()),
            0x0C => high(self.profile.cap()),
            0x10 => low(self.profile.features.bits()),
            0x14 => high(self.profile.features.bits()),
            0x18 | 0x1C => registers.interrupt_mask,
            0x20 => u32::from(registers.enabled),
            0x24 => {
                let fatal = u32::from(registers.reason != 0);
                u32::from(registers.ready) | fatal << 1 | u32::from(registers.reason) << 8
            }
            0x28 => registers.aqa,
            0x2C => self.news(),
            0x30 => low(registers.asq),
            0x34 => high(registers.asq),
            0x38 => low(registers.acq),
            0x3C => high(registers.acq),
            0x40 => registers.owner,
            0x48 => low(self.clock.0),
            0x4C => high(self.clock.0),
            0x50..0x70 => {
                let at = crate::bytes::index(offset - 0x50);
                crate::bytes::u32_at(&registers.owner_name, at)
            }
            _ => 0,
        }
    }

    /// Writes the 4 bytes at an offset of BAR0.
    pub(crate) fn write_register(&mut self, offset: u64, value: u32) {
        let set_low = |old: u64| old & !0xFFFF_FFFF | u64::from(value);
        let set_high = |old: u64| old & 0xFFFF_FFFF | u64::from(value) << 32;
        let registers = &mut self.registers;
        match offset {
            0x18 => {
                registers.interrupt_mask |= value;
                self.update_line();
            }
            0x1C => self.unmask(value),
            0x20 if value & 1 == 1 => self.enable(),
            0x20 => self.begin_reset(),
            0x28 if registers.off() => registers.aqa = value,
            0x30 if registers.off() => registers.asq = set_low(registers.asq),
            0x34 if registers.off() => registers.asq = set_high(registers.asq),
            0x38 if registers.off() => registers.acq = set_low(registers.acq),
            0x3C if registers.off() => registers.acq = set_high(registers.acq),
            0x40 if value == 0 => {
                registers.owner = 0;
                registers.owner_name = [0; NAME];
            }
            0x40 if registers.owner == 0 => registers.owner = value,
            0x50..0x70 if registers.owner != 0 => {
                let at = crate::bytes::index(offset - 0x50);
                put(&mut registers.owner_name, at, &value.to_le_bytes());
            }
            DOORBELLS.. => self.doorbell(offset - DOORBELLS, value),
            _ => {}
        }
    }

    /// INTMC. An MSI that the mask held back is sent now.
    fn unmask(&mut self, bits: u32) {
        let unmasked = self.registers.interrupt_mask & bits;
        self.registers.interrupt_mask &= !bits;
        let by_message = self.config.msi_enabled() && !self.config.msix_enabled();
        if by_message && self.config.bus_master() && self.news() & unmasked != 0 {
            self.interrupts.raise_msi();
        }
        self.update_line();
    }

    fn doorbell(&mut self, offset: u64, value: u32) {
        let stride = 4 << self.profile.doorbell_stride;
        if !self.registers.ready || !self.registers.enabled || !offset.is_multiple_of(stride) {
            return;
        }
        let number = offset / stride;
        let Some((queue, pair)) = u16::try_from(number / 2)
            .ok()
            .and_then(|queue| Some((queue, self.queues.get_mut(&queue)?)))
        else {
            self.logs.doorbells_ignored += 1;
            self.find(format!(
                "doorbell {number} was rung, of a queue that does not exist"
            ));
            return;
        };
        if self.stuck && queue != ADMIN {
            return;
        }
        let rung = if number.is_multiple_of(2) {
            pair.ring_tail(value)
        } else {
            pair.ring_head(value)
        };
        if rung.is_err() {
            self.find(format!(
                "doorbell {number} was rung with the illegal value {value:#x}"
            ));
            self.fatal(3);
        }
        self.update_line();
    }

    /// EN is written as 1.
    fn enable(&mut self) {
        if !self.registers.off() || self.registers.reason != 0 || self.running {
            return;
        }
        self.registers.enabled = true;
        match self.registers.admin_pair(&self.profile) {
            Some(pair) => {
                self.queues.insert(ADMIN, pair);
                self.registers.ready = true;
            }
            None => self.fatal(2),
        }
    }

    /// EN is written as 0: nothing more begins, and what runs is abandoned. RDY and FATAL go when
    /// that has ended.
    fn begin_reset(&mut self) {
        if self.registers.off() && self.registers.reason == 0 {
            return;
        }
        self.logs.resets += u64::from(self.registers.enabled);
        self.registers.enabled = false;
        self.abandon();
        if !self.running {
            self.end_reset();
        }
    }

    /// Stops all work; a job that runs ends at its next transfer.
    pub(crate) fn abandon(&mut self) {
        self.epoch += 1;
        self.dma.abandon(self.running);
        self.functions.wake();
        self.queues.clear();
        self.pending.clear();
        self.awaits_engine = None;
        self.drops.clear();
        self.held.clear();
        self.interrupts.clear_pending();
    }

    /// A controller reset has ended: memory is quiet.
    pub(crate) fn end_reset(&mut self) {
        self.dma.abandon(false);
        self.programs = crate::state::Programs::default();
        self.settings = crate::state::Settings::default();
        self.stuck = false;
        self.huge_lengths = false;
        self.huge_lists = false;
        let registers = &mut self.registers;
        registers.enabled = false;
        registers.ready = false;
        registers.reason = 0;
        registers.interrupt_mask = 0;
        self.update_line();
    }

    /// The second half of a function level reset, when nothing runs any more.
    pub(crate) fn end_function_reset(&mut self) {
        self.end_reset();
        self.registers = Registers::default();
        self.config = crate::config_space::ConfigSpace::new(&self.profile, self.function);
        self.interrupts.reset_table();
        self.follow_config();
    }
}
