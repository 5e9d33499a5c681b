//! Admin commands, docs/CARD.md, section 6.

use std::sync::Arc;

use crate::bytecode::Program;
use crate::bytes::{index, length, u16_at, u32_at, u64_at, zero};
use crate::dma::{Bus, Iova};
use crate::operand::{BadList, Kind, OPERAND, Operand, Span};
use crate::queues::{ADMIN, Pair, Ring, SQE};
use crate::state::{PendingDrop, State};
use crate::status::{NONE, Outcome, Status};

/// Where the operand of an entry is.
const OPERAND_AT: usize = 8;

/// How a command ends; the error is a status too.
type Ended = Result<Outcome, Outcome>;

impl State {
    /// Does an admin command. None where it completes later.
    pub(crate) fn admin(&mut self, entry: &[u8; SQE]) -> Option<Outcome> {
        let ended = match entry[0] {
            0x01 => self.identify(entry),
            0x02 => self.create_queue_pair(entry),
            0x03 => self.delete_queue_pair(entry),
            0x04 => self.load_program(entry),
            0x05 => return self.drop_program(entry).unwrap_or_else(Some),
            0x06 => self.set_features(entry),
            0x07 => self.get_features(entry),
            0x08 => self.get_log(entry),
            0x09 if self.profile.features.abort => self.abort(entry),
            _ => Err(Outcome::plain(Status::InvalidOpcode)),
        };
        Some(ended.unwrap_or_else(|refused| refused))
    }

    fn identify(&mut self, entry: &[u8; SQE]) -> Ended {
        check_head(entry)?;
        let to = self.bytes_operand(entry)?;
        require(to.length == 4096, 16)?;
        reserved(entry, 32)?;
        let mut page = self.logs.identify(&self.profile, self.function);
        if std::mem::take(&mut self.huge_identity) {
            // From the queue pairs to the constants.
            page[104..184].fill(0xFF);
        }
        self.write(&to, &page)?;
        Ok(Outcome::success(0, 0))
    }

    fn create_queue_pair(&mut self, entry: &[u8; SQE]) -> Ended {
        check_head(entry)?;
        let profile = &self.profile;
        let ring = |iova_at: usize, entries_at: usize, entry_bytes: u64| {
            let (iova, entries) = (u64_at(entry, iova_at), u16_at(entry, entries_at));
            let bytes = entry_bytes * u64::from(entries);
            let reached = profile.address_bits().reach(iova, bytes);
            require(iova.is_multiple_of(4096) && reached, field(iova_at))?;
            let legal = entries.is_power_of_two() && entries >= 2;
            require(legal && entries <= profile.queue_entries, field(entries_at))?;
            Ok::<Ring, Outcome>(Ring {
                iova: Iova(iova),
                entries,
            })
        };
        let (sq, cq) = (ring(8, 36, 64)?, ring(16, 38, 16)?);
        require(u64_at(entry, 24) == 0, 24)?;
        let number = u16_at(entry, 32);
        require((1..=profile.queue_pairs).contains(&number), 32)?;
        let (flags, vector) = (u32_at(entry, 40), u16_at(entry, 34));
        require(flags <= 1, 40)?;
        let vector = (flags == 1).then_some(vector);
        require(vector.is_none_or(|vector| vector < profile.vectors), 34)?;
        reserved(entry, 44)?;
        if self.queues.contains_key(&number) {
            return Err(Outcome::plain(Status::QueueExists));
        }
        self.queues
            .insert(number, Pair::new(number, sq, cq, vector));
        Ok(Outcome::success(0, 0))
    }

    fn delete_queue_pair(&mut self, entry: &[u8; SQE]) -> Ended {
        check_head(entry)?;
        check_absent(entry)?;
        reserved(entry, 34)?;
        let number = u16_at(entry, 32);
        require((1..=self.profile.queue_pairs).contains(&number), 32)?;
        if !self.queues.contains_key(&number) {
            return Err(Outcome::plain(Status::NoSuchQueue));
        }
        let abandoned: Vec<u16> = self
            .pending
            .iter()
            .filter(|job| job.queue == number)
            .map(|job| job.command_id())
            .collect();
        self.pending.retain(|job| job.queue != number);
        for command_id in abandoned {
            self.logs.job(Status::AbortedQueueDeleted);
            self.complete(
                number,
                command_id,
                Outcome::plain(Status::AbortedQueueDeleted),
            );
        }
        self.held.retain(|held| held.queue != number);
        self.queues.remove(&number);
        self.finish_drops();
        Ok(Outcome::success(0, 0))
    }

    fn load_program(&mut self, entry: &[u8; SQE]) -> Ended {
        check_head(entry)?;
        let from = self.bytes_operand(entry)?;
        reserved(entry, 32)?;
        let loaded = self.read_program(&from);
        self.logs.programs_refused += u64::from(loaded.is_err());
        let program = loaded?;
        let handle = self.next_handle;
        // Handles of programs that are gone are not used again, so that a stale one is seen.
        self.next_handle += 1;
        Arc::make_mut(&mut self.programs).insert(handle, Arc::new(program));
        Ok(Outcome::success(handle, 0))
    }

    fn read_program(&self, from: &Operand) -> Result<Program, Outcome> {
        if from.length > self.profile.program_bytes.into() {
            return Err(Outcome::new(Status::LimitExceeded, NONE, 8));
        }
        if from.length < length(crate::bytecode::HEADER) {
            return Err(Outcome::new(Status::ProgramLength, NONE, 8));
        }
        let mut bytes = vec![0; index(from.length)];
        let span = self.resolve(from)?;
        span.read(Bus::of(&self.dma), 0, &mut bytes)
            .map_err(|_| Outcome::plain(Status::DmaError))?;
        let program = Program::load(&bytes, &self.profile.load_limits())?;
        if length(self.programs.len()) >= self.profile.programs.into()
            || self.next_handle == u32::MAX
        {
            return Err(Outcome::plain(Status::TooManyPrograms));
        }
        Ok(program)
    }

    fn drop_program(&mut self, entry: &[u8; SQE]) -> Result<Option<Outcome>, Outcome> {
        check_head(entry)?;
        check_absent(entry)?;
        reserved(entry, 36)?;
        let dropped = Arc::make_mut(&mut self.programs).remove(&u32_at(entry, 32));
        if dropped.is_none() {
            return Err(Outcome::plain(Status::UnknownProgram));
        }
        if self.pending.is_empty() {
            return Ok(Some(Outcome::success(0, 0)));
        }
        self.drops.push(PendingDrop {
            command_id: u16_at(entry, 2),
            after_job: self.job,
        });
        Ok(None)
    }

    fn set_features(&mut self, entry: &[u8; SQE]) -> Ended {
        check_head(entry)?;
        check_absent(entry)?;
        require(zero(&entry[34..40]), 34)?;
        reserved(entry, 48)?;
        let value = u64_at(entry, 40);
        let known = self.feature(u16_at(entry, 32)).is_some();
        let value = u32::try_from(value);
        match (u16_at(entry, 32), value) {
            (2, Ok(value)) => self.settings.temperature_warning = value.cast_signed(),
            (3, Ok(value)) if known => self.settings.job_time_limit_ms = value,
            (_, Err(_)) if known => return Err(Outcome::invalid_field(40)),
            _ => return Err(Outcome::plain(Status::UnknownFeature)),
        }
        Ok(Outcome::success(0, 0))
    }

    fn get_features(&mut self, entry: &[u8; SQE]) -> Ended {
        check_head(entry)?;
        check_absent(entry)?;
        require(zero(&entry[34..40]), 34)?;
        reserved(entry, 40)?;
        match self.feature(u16_at(entry, 32)) {
            Some(value) => Ok(Outcome::success(value, 0)),
            None => Err(Outcome::plain(Status::UnknownFeature)),
        }
    }

    fn feature(&self, number: u16) -> Option<u32> {
        match number {
            2 => Some(self.settings.temperature_warning.cast_unsigned()),
            3 if self.profile.features.job_time_limit => Some(self.settings.job_time_limit_ms),
            _ => None,
        }
    }

    fn get_log(&mut self, entry: &[u8; SQE]) -> Ended {
        check_head(entry)?;
        let to = self.bytes_operand(entry)?;
        require(to.length.is_multiple_of(8) && to.length > 0, 16)?;
        require(u16_at(entry, 34) == 0, 34)?;
        reserved(entry, 40)?;
        let mut page = match u16_at(entry, 32) {
            1 => {
                let warning = self.settings.temperature_warning;
                self.logs.health(warning, &self.dma.traffic(), self.clock)
            }
            2 => self.profile.capability_page(),
            3 => self.logs.errors(),
            _ => return Err(Outcome::plain(Status::UnknownLog)),
        };
        let is_list = u16_at(entry, 32) != 1;
        if self.huge_lists && is_list {
            page[..8].fill(0xFF);
        }
        let offset = u32_at(entry, 36);
        let start = index(offset.into());
        require(offset.is_multiple_of(8) && start <= page.len(), 36)?;
        let room = length(page.len() - start).min(to.length);
        self.write(&to, &page[start..start + index(room)])?;
        if self.huge_lengths {
            return Ok(Outcome::success(u32::MAX, u32::MAX));
        }
        let small = |count: u64| u32::try_from(count).expect("a page has a few kilobytes");
        Ok(Outcome::success(small(length(page.len())), small(room)))
    }

    fn abort(&mut self, entry: &[u8; SQE]) -> Ended {
        check_head(entry)?;
        check_absent(entry)?;
        reserved(entry, 36)?;
        let (queue, command_id) = (u16_at(entry, 32), u16_at(entry, 34));
        require(queue != ADMIN && queue <= self.profile.queue_pairs, 32)?;
        let found = self
            .pending
            .iter()
            .position(|job| job.queue == queue && job.command_id() == command_id);
        let Some(found) = found else {
            return Ok(Outcome::success(1, 0));
        };
        self.pending.remove(found);
        self.logs.job(Status::Aborted);
        self.complete(queue, command_id, Outcome::plain(Status::Aborted));
        self.finish_drops();
        Ok(Outcome::success(0, 0))
    }

    /// The operand of a command that reads or writes bytes.
    fn bytes_operand(&self, entry: &[u8; SQE]) -> Result<Operand, Outcome> {
        let bytes = &entry[OPERAND_AT..OPERAND_AT + OPERAND];
        let profile = &self.profile;
        let operand = Operand::decode(bytes, profile.address_bits(), profile.segments)
            .map_err(|bad| Outcome::invalid_field(8 + bad.offset()))?;
        require(matches!(operand.kind, Kind::Memory | Kind::List), 24)?;
        require(operand.bit_offset == 0, 25)?;
        Ok(operand)
    }

    fn resolve(&self, operand: &Operand) -> Result<Span, Outcome> {
        Span::resolve(operand, self.profile.address_bits(), Bus::of(&self.dma)).map_err(|bad| {
            match bad {
                BadList::Segment(segment) => Outcome::new(Status::BadList, segment, 0),
                BadList::Dma(_) => Outcome::plain(Status::DmaError),
            }
        })
    }

    fn write(&self, to: &Operand, bytes: &[u8]) -> Result<(), Outcome> {
        let span = self.resolve(to)?;
        span.write(Bus::of(&self.dma), 0, bytes)
            .map_err(|_| Outcome::plain(Status::DmaError))
    }
}

/// Whether a command waits for jobs, or ends them: DELETE_QUEUE_PAIR, DROP_PROGRAM, ABORT.
pub(crate) fn awaits_jobs(entry: &[u8; SQE]) -> bool {
    matches!(entry[0], 0x03 | 0x05 | 0x09)
}

/// Flags and the reserved field that every entry begins with.
pub(crate) fn check_head(entry: &[u8; SQE]) -> Result<(), Outcome> {
    require(entry[1] == 0, 1)?;
    require(u32_at(entry, 4) == 0, 4)
}

/// An operand that is to be ABSENT; the fault is at the first of its fields that is not zero, or at
/// its kind.
pub(crate) fn check_absent(entry: &[u8; SQE]) -> Result<(), Outcome> {
    let bytes = &entry[OPERAND_AT..OPERAND_AT + OPERAND];
    require(bytes[16] == 0, 24)?;
    for (start, end) in [(0, 8), (8, 16), (17, 18), (18, 20), (20, 24)] {
        require(zero(&bytes[start..end]), field(OPERAND_AT + start))?;
    }
    Ok(())
}

/// The bytes from an offset to the entry's end are reserved.
pub(crate) fn reserved(entry: &[u8; SQE], from: usize) -> Result<(), Outcome> {
    require(zero(&entry[from..]), field(from))
}

/// Refuses the command unless it holds; the fault is the field at this offset.
pub(crate) fn require(holds: bool, offset: u32) -> Result<(), Outcome> {
    if holds {
        Ok(())
    } else {
        Err(Outcome::invalid_field(offset))
    }
}

fn field(offset: usize) -> u32 {
    u32::try_from(offset).expect("an entry has 64 bytes")
}
