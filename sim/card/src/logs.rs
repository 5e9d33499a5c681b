//! What the card tells of itself: IDENTIFY and the log pages, docs/CARD.md, section 6.

use std::collections::VecDeque;

use crate::bytes::put;
use crate::config_space::{DEVICE, VENDOR};
use crate::dma::Traffic;
use crate::profile::{Nanos, Profile};
use crate::status::{Outcome, Status};

/// Most entries of the error log.
const MAX_ERRORS: usize = 64;

const FIRMWARE: &[u8] = b"sim 1.0";

/// Millidegrees Celsius and milliwatts of a card that is a program: always the same.
const TEMPERATURE: i32 = 45_000;
const CRITICAL: i32 = 100_000;
const POWER: u32 = 20_000;
const POWER_LIMIT: u32 = 75_000;

/// Counters and the error log.
#[derive(Debug)]
pub(crate) struct Logs {
    serial: String,
    pub(crate) succeeded: u64,
    pub(crate) trapped: u64,
    pub(crate) failed: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    pub(crate) doorbells_ignored: u64,
    pub(crate) programs_refused: u64,
    pub(crate) resets: u64,
    pub(crate) fatal_states: u64,
    errors: VecDeque<[u8; 32]>,
    error_count: u64,
}

impl Logs {
    pub(crate) fn new(seed: u64) -> Logs {
        Logs {
            serial: format!("{seed:020}"),
            succeeded: 0,
            trapped: 0,
            failed: 0,
            bytes_read: 0,
            bytes_written: 0,
            doorbells_ignored: 0,
            programs_refused: 0,
            resets: 0,
            fatal_states: 0,
            errors: VecDeque::new(),
            error_count: 0,
        }
    }

    /// Counts a job by how it ended.
    pub(crate) fn job(&mut self, status: Status) {
        match status {
            Status::Success => self.succeeded += 1,
            Status::Trapped => self.trapped += 1,
            _ => self.failed += 1,
        }
    }

    pub(crate) fn error(&mut self, queue: u16, command_id: u16, outcome: Outcome, time: Nanos) {
        let status = outcome.status.code();
        self.record(
            queue,
            command_id,
            (status, 0),
            (outcome.dw0, outcome.dw1),
            time,
        );
    }

    pub(crate) fn fatal(&mut self, reason: u8, time: Nanos) {
        self.fatal_states += 1;
        self.record(u16::MAX, 0, (0, reason.into()), (0, 0), time);
    }

    fn record(
        &mut self,
        queue: u16,
        command_id: u16,
        (status, reason): (u16, u16),
        (dw0, dw1): (u32, u32),
        time: Nanos,
    ) {
        self.error_count += 1;
        let mut entry = [0; 32];
        put(&mut entry, 0, &self.error_count.to_le_bytes());
        put(&mut entry, 8, &time.0.to_le_bytes());
        put(&mut entry, 16, &queue.to_le_bytes());
        put(&mut entry, 18, &command_id.to_le_bytes());
        put(&mut entry, 20, &status.to_le_bytes());
        put(&mut entry, 22, &reason.to_le_bytes());
        put(&mut entry, 24, &dw0.to_le_bytes());
        put(&mut entry, 28, &dw1.to_le_bytes());
        self.errors.push_front(entry);
        self.errors.truncate(MAX_ERRORS);
    }

    /// Log page 1.
    pub(crate) fn health(&self, warning: i32, traffic: &Traffic, time: Nanos) -> Vec<u8> {
        let mut page = vec![0; 144];
        let above = TEMPERATURE > warning;
        put(&mut page, 0, &(0b111 | u32::from(above) << 3).to_le_bytes());
        put(&mut page, 4, &TEMPERATURE.to_le_bytes());
        put(&mut page, 8, &warning.to_le_bytes());
        put(&mut page, 12, &CRITICAL.to_le_bytes());
        put(&mut page, 16, &POWER.to_le_bytes());
        put(&mut page, 20, &POWER_LIMIT.to_le_bytes());
        let counters = [
            time.0,
            self.succeeded,
            self.trapped,
            self.failed,
            self.bytes_read,
            self.bytes_written,
            traffic.refused,
            0,
            0,
            self.doorbells_ignored,
            self.programs_refused,
            self.resets,
            self.fatal_states,
        ];
        for (number, counter) in counters.into_iter().enumerate() {
            put(&mut page, 24 + 8 * number, &counter.to_le_bytes());
        }
        put(&mut page, 128, FIRMWARE);
        page
    }

    /// Log page 3.
    pub(crate) fn errors(&self) -> Vec<u8> {
        let count = u32::try_from(self.errors.len()).expect("64 at most");
        let mut page = Vec::new();
        page.extend(count.to_le_bytes());
        page.extend(32u32.to_le_bytes());
        page.extend([0; 8]);
        page.extend(self.errors.iter().flatten());
        page
    }

    /// What IDENTIFY writes.
    pub(crate) fn identify(&self, profile: &Profile, function: u16) -> Vec<u8> {
        let mut page = vec![0; 4096];
        put(&mut page, 0, b"UNLI");
        put(&mut page, 4, &profile.version().to_le_bytes());
        put(&mut page, 8, &VENDOR.to_le_bytes());
        put(&mut page, 10, &DEVICE.to_le_bytes());
        put(&mut page, 12, &function.to_le_bytes());
        put(&mut page, 16, self.serial.as_bytes());
        let model = profile.model.as_bytes();
        put(&mut page, 36, &model[..model.len().min(40)]);
        put(&mut page, 76, FIRMWARE);
        put(&mut page, 96, &profile.features.bits().to_le_bytes());
        for (offset, value) in [
            (104, u32::from(profile.queue_pairs)),
            (108, u32::from(profile.queue_entries)),
            (112, profile.programs),
            (116, profile.program_bytes),
            (120, profile.program_words),
            (128, profile.tile_rows),
            (132, profile.operand_alignment),
            (136, profile.write_slack),
            (140, profile.segments),
            (144, profile.steps),
            (148, profile.descriptor_bytes),
            (160, profile.columns),
            (164, profile.params),
            (168, profile.tables),
            (172, profile.sets),
            (176, profile.outputs),
            (180, profile.constants),
            (
                188,
                u32::try_from(profile.capabilities.len()).expect("577 at most"),
            ),
            (208, profile.jobs_in_flight),
        ] {
            put(&mut page, offset, &value.to_le_bytes());
        }
        put(&mut page, 124, &profile.v_registers.to_le_bytes());
        put(&mut page, 126, &profile.m_registers.to_le_bytes());
        put(&mut page, 152, &profile.rows.to_le_bytes());
        put(&mut page, 184, &[profile.address_bits, 1, 0]);
        put(&mut page, 192, &profile.table_bytes.to_le_bytes());
        put(&mut page, 200, &profile.set_bytes.to_le_bytes());
        put(&mut page, 212, &profile.vectors.to_le_bytes());
        put(&mut page, 214, &profile.virtual_functions.to_le_bytes());
        page
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::vectors::Vector;

    fn number(vector: &Vector, field: &str) -> u64 {
        vector.number(field).try_into().unwrap()
    }

    /// The oldest entry was recorded first.
    pub(crate) fn errors(vector: &Vector) {
        let mut logs = Logs::new(1);
        let count = vector.count("entry", ".number");
        for entry in (0..count).rev() {
            let field = |name: &str| number(vector, &format!("entry.{entry}.{name}"));
            let short = |name: &str| u16::try_from(field(name)).unwrap();
            let long = |name: &str| u32::try_from(field(name)).unwrap();
            logs.error_count = field("number") - 1;
            logs.record(
                short("queue"),
                short("command_id"),
                (short("status_code"), short("reason")),
                (long("dw0"), long("dw1")),
                Nanos(field("time")),
            );
        }
        assert_eq!(logs.errors(), vector.hex, "{}", vector.name);
    }

    /// But for what is always the same of a card that is a program: its temperature and power, its
    /// firmware, and memory that makes no errors.
    pub(crate) fn health(vector: &Vector) {
        let field = |name: &str| number(vector, name);
        let mut logs = Logs::new(1);
        logs.succeeded = field("jobs_succeeded");
        logs.trapped = field("jobs_trapped");
        logs.failed = field("jobs_failed");
        logs.bytes_read = field("bytes_read");
        logs.bytes_written = field("bytes_written");
        logs.doorbells_ignored = field("doorbells_ignored");
        logs.programs_refused = field("programs_refused");
        logs.resets = field("controller_resets");
        logs.fatal_states = field("fatal_states");
        let traffic = Traffic {
            refused: field("dma_errors"),
            ..Traffic::default()
        };
        let warning = field("warning_temperature").try_into().unwrap();
        let page = logs.health(warning, &traffic, Nanos(field("time")));
        assert_eq!(page.len(), vector.hex.len());
        for part in [0..4, 8..16, 20..80, 96..128, 135..144] {
            assert_eq!(
                page[part.clone()],
                vector.hex[part.clone()],
                "bytes {part:?}"
            );
        }
    }
}
