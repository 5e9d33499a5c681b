//! Entries of queues, and the operand that they share with descriptors: docs/CARD.md, section 5.

use crate::iova::Iova;
use crate::status::StatusCode;

/// Bytes of a submission entry.
pub(crate) const SUBMISSION: u64 = 64;

/// Bytes of a completion entry.
pub(crate) const COMPLETION: u64 = 16;

/// Where bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    /// Nothing.
    Absent,
    /// One range.
    Memory {
        iova: Iova,
        len: u64,
        bit_offset: u8,
    },
    /// The value itself.
    Scalar([u8; 16]),
}

impl Operand {
    /// Bytes of every operand.
    pub(crate) const LEN: usize = 24;

    pub(crate) fn memory(iova: Iova, len: u64) -> Self {
        Operand::Memory {
            iova,
            len,
            bit_offset: 0,
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; Operand::LEN] {
        let mut bytes = [0; Operand::LEN];
        match self {
            Operand::Absent => {}
            Operand::Memory {
                iova,
                len,
                bit_offset,
            } => {
                bytes[..8].copy_from_slice(&iova.0.to_le_bytes());
                bytes[8..16].copy_from_slice(&len.to_le_bytes());
                bytes[16] = 1;
                bytes[17] = bit_offset;
            }
            Operand::Scalar(value) => {
                bytes[..16].copy_from_slice(&value);
                bytes[16] = 3;
            }
        }
        bytes
    }
}

/// A command of a queue, but for its id, which the queue chooses.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    bytes: [u8; SUBMISSION as usize],
}

impl Submission {
    pub(crate) fn new(opcode: u8) -> Self {
        let mut bytes = [0; SUBMISSION as usize];
        bytes[0] = opcode;
        Submission { bytes }
    }

    pub(crate) fn operand(self, operand: Operand) -> Self {
        self.field(8, operand.to_bytes())
    }

    /// A field, little-endian, at its offset.
    pub(crate) fn field<const N: usize>(mut self, at: usize, value: [u8; N]) -> Self {
        self.bytes[at..at + N].copy_from_slice(&value);
        self
    }

    pub(crate) fn into_bytes(self, id: u16) -> [u8; SUBMISSION as usize] {
        self.field(2, id.to_le_bytes()).bytes
    }
}

/// What the card says of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) dw0: u32,
    pub(crate) dw1: u32,
    pub(crate) submission_head: u16,
    pub(crate) queue: u16,
    pub(crate) id: u16,
    pub(crate) status: StatusCode,
}

impl Answer {
    /// The two halves of an entry, as the little-endian words that they are.
    pub(crate) fn decode(low: u64, high: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = low.to_le_bytes();
        let (dw0, dw1) = (
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        );
        let [a, b, c, d, e, f, g, h] = high.to_le_bytes();
        Answer {
            dw0,
            dw1,
            submission_head: u16::from_le_bytes([a, b]),
            queue: u16::from_le_bytes([c, d]),
            id: u16::from_le_bytes([e, f]),
            status: StatusCode(u16::from_le_bytes([g, h]) >> 1),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dma::DmaMemory;
    use crate::ring::CompletionRing;
    use crate::vectors::Vector;

    /// Taken from a ring in its first pass where the phase is that of one, and only there.
    pub(crate) fn reads(vector: &Vector) {
        let memory = Arc::new(DmaMemory::unmapped(4096));
        let mut ring = CompletionRing::new(Arc::clone(&memory), 0, 16);
        memory.store(0, &vector.hex);
        let new = vector.number("phase") == 1;
        assert_eq!(ring.take().is_some(), new, "{}", vector.name);
        let word = |at| u64::from_le_bytes(vector.hex[at..at + 8].try_into().unwrap());
        let short = |field: &str| u16::try_from(vector.number(field)).unwrap();
        let wanted = Answer {
            dw0: vector.u32("dw0"),
            dw1: vector.u32("dw1"),
            submission_head: short("sq_head"),
            queue: short("queue"),
            id: short("command_id"),
            status: StatusCode(short("status")),
        };
        assert_eq!(Answer::decode(word(0), word(8)), wanted, "{}", vector.name);
    }

    /// The driver makes no lists. An entry of one has what an operand begins with, which names one range.
    pub(crate) fn reads_segments(vector: &Vector) {
        let segments = (0..vector.count("segment", ".iova")).map(|segment| {
            let field = |name: &str| vector.u64(&format!("segment.{segment}.{name}"));
            Operand::memory(Iova(field("iova")), field("length")).to_bytes()
        });
        let list: Vec<u8> = segments
            .flat_map(|range| range.into_iter().take(16))
            .collect();
        assert_eq!(list, vector.hex, "{}", vector.name);
    }

    #[test]
    fn a_submission_is_the_documents_bytes() {
        // docs/CARD.md, section 17: CREATE_QUEUE_PAIR.
        let entry = Submission::new(2)
            .field(8, 0x1001_0000_u64.to_le_bytes())
            .field(16, 0x1001_2000_u64.to_le_bytes())
            .field(32, [1, 0, 1, 0, 128, 0, 0, 1])
            .field(40, 1_u32.to_le_bytes());
        let mut wanted = [0; 64];
        wanted[..4].copy_from_slice(&[2, 0, 2, 0]);
        wanted[8..24].copy_from_slice(&[0, 0, 1, 0x10, 0, 0, 0, 0, 0, 0x20, 1, 0x10, 0, 0, 0, 0]);
        wanted[32..41].copy_from_slice(&[1, 0, 1, 0, 0x80, 0, 0, 1, 1]);
        assert_eq!(entry.into_bytes(2), wanted);
    }

    #[test]
    fn operands_are_the_documents_bytes() {
        let validity = Operand::Memory {
            iova: Iova(0x3000_1000),
            len: 126,
            bit_offset: 3,
        };
        let mut wanted = [0; 24];
        wanted[1..4].copy_from_slice(&[0x10, 0, 0x30]);
        (wanted[8], wanted[16], wanted[17]) = (0x7E, 1, 3);
        assert_eq!(validity.to_bytes(), wanted);
        assert_eq!(Operand::Absent.to_bytes(), [0; 24]);
        let scalar = Operand::Scalar((-7_i128).to_le_bytes()).to_bytes();
        assert_eq!(
            (scalar[0], scalar[15], scalar[16], scalar[17]),
            (0xF9, 0xFF, 3, 0)
        );
    }

    #[test]
    fn an_answer_is_read_from_the_documents_bytes() {
        // docs/CARD.md, section 17: a trap of command 17.
        let low = u64::from_le_bytes([1, 0, 0, 0, 0, 0, 0, 0]);
        let high = u64::from_le_bytes([2, 0, 1, 0, 0x11, 0, 0x13, 4]);
        let wanted = Answer {
            dw0: 1,
            dw1: 0,
            submission_head: 2,
            queue: 1,
            id: 17,
            status: StatusCode::TRAPPED,
        };
        assert_eq!(Answer::decode(low, high), wanted);
    }
}
