//! The driver's commands as entries, but for their ids: docs/CARD.md, sections 6 and 7.

use crate::admin::Handle;
use crate::entry::{Operand, Submission};
use crate::iova::Iova;

/// Has the card say what it is.
pub(crate) fn identify(to: Operand) -> Submission {
    Submission::new(0x01).operand(to)
}

/// A queue pair that interrupts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewPair {
    pub(crate) number: u16,
    pub(crate) vector: u16,
    /// Where a ring is, and its entries.
    pub(crate) submissions: (Iova, u16),
    pub(crate) completions: (Iova, u16),
}

pub(crate) fn create_queue_pair(pair: &NewPair) -> Submission {
    Submission::new(0x02)
        .field(8, pair.submissions.0.0.to_le_bytes())
        .field(16, pair.completions.0.0.to_le_bytes())
        .field(32, pair.number.to_le_bytes())
        .field(34, pair.vector.to_le_bytes())
        .field(36, pair.submissions.1.to_le_bytes())
        .field(38, pair.completions.1.to_le_bytes())
        .field(40, 1_u32.to_le_bytes())
}

pub(crate) fn delete_queue_pair(number: u16) -> Submission {
    Submission::new(0x03).field(32, number.to_le_bytes())
}

pub(crate) fn load_program(bytecode: Operand) -> Submission {
    Submission::new(0x04).operand(bytecode)
}

pub(crate) fn drop_program(handle: Handle) -> Submission {
    Submission::new(0x05).field(32, handle.0.to_le_bytes())
}

/// A page of the log, from its beginning.
pub(crate) fn get_log(page: u16, to: Operand) -> Submission {
    Submission::new(0x08)
        .operand(to)
        .field(32, page.to_le_bytes())
}

/// A job, by its descriptor.
pub(crate) fn job(descriptor: Operand) -> Submission {
    Submission::new(0x80).operand(descriptor)
}

pub(crate) fn nop() -> Submission {
    Submission::new(0x81)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::vectors::Vector;

    /// What the driver does not send - features, ABORT, a page of the log from its middle - is built here
    /// by what builds its entries.
    pub(crate) fn reads(vector: &Vector) {
        let short = |field: &str| u16::try_from(vector.number(field)).unwrap();
        let iova = |field: &str| Iova(vector.number(field).try_into().unwrap());
        let operand = || vector.operand("operand");
        let command = match vector.number("opcode") {
            0x01 => identify(operand()),
            0x02 => create_queue_pair(&NewPair {
                number: short("queue"),
                vector: short("vector"),
                submissions: (iova("submission_queue_iova"), short("submission_entries")),
                completions: (iova("completion_queue_iova"), short("completion_entries")),
            }),
            0x03 => delete_queue_pair(short("queue")),
            0x04 => load_program(operand()),
            0x05 => drop_program(Handle(vector.number("handle").try_into().unwrap())),
            0x06 => Submission::new(0x06)
                .field(32, short("feature").to_le_bytes())
                .field(40, vector.u64("value").to_le_bytes()),
            0x07 => Submission::new(0x07).field(32, short("feature").to_le_bytes()),
            0x08 => get_log(short("page"), operand()).field(36, vector.u32("offset").to_le_bytes()),
            0x09 => Submission::new(0x09)
                .field(32, short("queue").to_le_bytes())
                .field(34, short("target_command_id").to_le_bytes()),
            0x80 => job(operand()),
            0x81 => nop(),
            other => panic!("{}: there is no command for opcode {other:#x}", vector.name),
        };
        let entry = command.into_bytes(short("command_id"));
        assert_eq!(
            vector.with_lists(entry.into()),
            vector.hex,
            "{}",
            vector.name
        );
    }
}
