//! Queue pairs: rings in host memory, docs/CARD.md, section 5.

use std::collections::VecDeque;

use crate::bytes::put;
use crate::dma::{Dma, DmaError, Iova};
use crate::status::Outcome;

/// Bytes of a submission entry.
pub(crate) const SQE: usize = 64;

/// Bytes of a completion entry.
const CQE: usize = 16;

/// The byte of a completion entry that has the phase.
const PHASE: usize = 14;

/// The number of the admin pair.
pub(crate) const ADMIN: u16 = 0;

/// Where a ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) iova: Iova,
    /// A power of two, 2 at least.
    pub(crate) entries: u16,
}

impl Ring {
    fn slot(self, index: u16, size: usize) -> Iova {
        Iova(self.iova.0 + u64::from(index) * crate::bytes::length(size))
    }

    fn next(self, index: u16) -> u16 {
        if index + 1 == self.entries {
            0
        } else {
            index + 1
        }
    }

    /// How many entries lie from one index up to another.
    fn distance(self, from: u16, to: u16) -> u16 {
        if to >= from {
            to - from
        } else {
            to + (self.entries - from)
        }
    }
}

/// A completion that waits for its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    pub(crate) command_id: u16,
    pub(crate) outcome: Outcome,
    /// What a fault makes of it.
    pub(crate) lie: Lie,
}

/// What may be wrong with a completion entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lie {
    #[default]
    None,
    Phase,
    QueueHead,
}

/// A doorbell with a value that is illegal for its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IllegalDoorbell;

/// A queue pair.
#[derive(Debug)]
pub(crate) struct Pair {
    number: u16,
    sq: Ring,
    cq: Ring,
    sq_head: u16,
    sq_tail: u16,
    cq_head: u16,
    cq_tail: u16,
    /// The phase of the pass that the card is in.
    phase: bool,
    /// None where its interrupts are not enabled.
    pub(crate) vector: Option<u16>,
    /// Completions for which the queue has no room yet.
    waiting: VecDeque<Completion>,
}

impl Pair {
    pub(crate) fn new(number: u16, sq: Ring, cq: Ring, vector: Option<u16>) -> Pair {
        Pair {
            number,
            sq,
            cq,
            sq_head: 0,
            sq_tail: 0,
            cq_head: 0,
            cq_tail: 0,
            phase: true,
            vector,
            waiting: VecDeque::new(),
        }
    }

    /// The submission queue's doorbell.
    pub(crate) fn ring_tail(&mut self, value: u32) -> Result<(), IllegalDoorbell> {
        self.sq_tail = doorbell(value, self.sq)?;
        Ok(())
    }

    /// The completion queue's doorbell.
    pub(crate) fn ring_head(&mut self, value: u32) -> Result<(), IllegalDoorbell> {
        let head = doorbell(value, self.cq)?;
        let passed = self.cq.distance(self.cq_head, head);
        if passed > self.cq.distance(self.cq_head, self.cq_tail) {
            return Err(IllegalDoorbell);
        }
        self.cq_head = head;
        Ok(())
    }

    /// Whether there is an entry to fetch, and the completions of those before have found room.
    pub(crate) fn has_work(&self) -> bool {
        self.sq_head != self.sq_tail && self.waiting.is_empty()
    }

    /// Whether it has posted completions that the head has not passed.
    pub(crate) fn has_news(&self) -> bool {
        self.cq_head != self.cq_tail
    }

    /// Takes the next submission entry.
    pub(crate) fn fetch(&mut self, dma: &Dma) -> Result<[u8; SQE], DmaError> {
        let mut entry = [0; SQE];
        dma.read(self.sq.slot(self.sq_head, SQE), &mut entry)?;
        self.sq_head = self.sq.next(self.sq_head);
        Ok(entry)
    }

    /// Posts a completion as soon as there is room.
    pub(crate) fn complete(&mut self, completion: Completion) {
        self.waiting.push_back(completion);
    }

    /// Whether a completion waits that there is room for.
    pub(crate) fn can_post(&self) -> bool {
        let used = self.cq.distance(self.cq_head, self.cq_tail);
        !self.waiting.is_empty() && used + 1 < self.cq.entries
    }

    /// Posts what there is room for. Gives how many.
    pub(crate) fn post(&mut self, dma: &Dma) -> Result<u32, DmaError> {
        let mut posted = 0;
        while self.can_post() {
            let completion = self
                .waiting
                .pop_front()
                .expect("there is one that can be posted");
            self.write(completion, dma)?;
            self.cq_tail = self.cq.next(self.cq_tail);
            self.phase ^= self.cq_tail == 0;
            posted += 1;
        }
        Ok(posted)
    }

    fn write(&self, completion: Completion, dma: &Dma) -> Result<(), DmaError> {
        let outcome = completion.outcome;
        let sq_head = match completion.lie {
            Lie::QueueHead => self.sq.entries + self.sq_head,
            _ => self.sq_head,
        };
        let phase = self.phase != (completion.lie == Lie::Phase);
        let mut entry = [0; CQE];
        put(&mut entry, 0, &outcome.dw0.to_le_bytes());
        put(&mut entry, 4, &outcome.dw1.to_le_bytes());
        put(&mut entry, 8, &sq_head.to_le_bytes());
        put(&mut entry, 10, &self.number.to_le_bytes());
        put(&mut entry, 12, &completion.command_id.to_le_bytes());
        let status = outcome.status.code() << 1;
        put(
            &mut entry,
            PHASE,
            &(status | u16::from(phase)).to_le_bytes(),
        );
        // The phase of the pass before: that is what the slot has.
        let [old, _] = (status | u16::from(!self.phase)).to_le_bytes();
        dma.publish(self.cq.slot(self.cq_tail, CQE), entry, PHASE, old)
    }
}

fn doorbell(value: u32, ring: Ring) -> Result<u16, IllegalDoorbell> {
    match u16::try_from(value) {
        Ok(index) if index < ring.entries => Ok(index),
        _ => Err(IllegalDoorbell),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::dma::Permissions;
    use crate::status::Status;
    use crate::vectors::Vector;

    /// A pair that is so far along the queue posts the vector's bytes.
    pub(crate) fn writes(vector: &Vector) {
        let short = |field: &str| u16::try_from(vector.number(field)).unwrap();
        let long = |field: &str| u32::try_from(vector.number(field)).unwrap();
        let memory = rustix::fs::memfd_create("queue", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let memory = File::from(memory);
        memory.set_len(4096).unwrap();
        let dma = Dma::default();
        dma.set_bus_master(true);
        let both = Permissions {
            read: true,
            write: true,
        };
        let shared = memory.try_clone().unwrap();
        dma.map(Iova(0x1000), 4096, Some(shared), 0, both).unwrap();
        let ring = Ring {
            iova: Iova(0x1000),
            entries: 128,
        };
        let mut pair = Pair::new(short("queue"), ring, ring, None);
        pair.sq_head = short("sq_head");
        pair.phase = vector.number("phase") == 1;
        let known = [
            Status::Success,
            Status::BadArgument,
            Status::Trapped,
            Status::Unsupported,
        ];
        let status = known
            .into_iter()
            .find(|known| known.code() == short("status"));
        pair.complete(Completion {
            command_id: short("command_id"),
            outcome: Outcome::new(status.expect("it is known"), long("dw0"), long("dw1")),
            lie: Lie::None,
        });
        assert_eq!(pair.post(&dma).unwrap(), 1);
        let mut entry = [0; CQE];
        memory.read_exact_at(&mut entry, 0).unwrap();
        assert_eq!(entry, *vector.hex, "{}", vector.name);
    }
}
