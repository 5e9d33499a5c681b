//! The header and the declarations: checks 1 to 11 of docs/CARD.md, section 9.

use super::{Declaration, HEADER, LoadLimits, Program, offset};
use crate::bytes::{index, u16_at, u32_at, u128_at, zero};
use crate::status::{NONE, Outcome, Status};
use crate::types::Type;

/// "UNLB".
const MAGIC: u32 = 0x424C_4E55;

/// Bits of the header's flags.
const KEEP: u32 = 1;
const EMIT_MASK: u32 = 2;

/// What the header says, once it is known to be right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    flags: u32,
    pub(super) words: usize,
    constants: usize,
    columns: usize,
    params: usize,
    tables: usize,
    sets: usize,
    outputs: usize,
    v_registers: u16,
    m_registers: u16,
    pub(super) words_at: usize,
    constants_at: usize,
}

impl Header {
    pub(super) fn check(bytes: &[u8], limits: &LoadLimits) -> Result<Header, Outcome> {
        if bytes.len() < HEADER {
            return fault(Status::ProgramLength, 8);
        }
        if u32_at(bytes, 0) != MAGIC {
            return fault(Status::ProgramMagic, 0);
        }
        if u16_at(bytes, 4) != 1 || u16_at(bytes, 6) != 0 {
            return fault(Status::ProgramVersion, 4);
        }
        if usize::try_from(u32_at(bytes, 8)) != Ok(bytes.len()) {
            return fault(Status::ProgramLength, 8);
        }
        let checksum = crc32c::crc32c(&bytes[..12]);
        let checksum = crc32c::crc32c_append(checksum, &[0; 4]);
        if crc32c::crc32c_append(checksum, &bytes[16..]) != u32_at(bytes, 12) {
            return fault(Status::ProgramChecksum, 12);
        }
        let flags = u32_at(bytes, 16);
        if flags & !(KEEP | EMIT_MASK) != 0 {
            return fault(Status::ReservedNotZero, 16);
        }
        for (start, end) in [(42, 48), (56, 64)] {
            if !zero(&bytes[start..end]) {
                return fault(Status::ReservedNotZero, offset(start));
            }
        }
        if flags & EMIT_MASK != 0 && flags & KEEP == 0 {
            return fault(Status::BadOrder, 16);
        }
        Header::check_limits(bytes, limits)?;
        let header = Header::decode(bytes, flags);
        if header.length() != crate::bytes::length(bytes.len()) {
            return fault(Status::ProgramLength, 8);
        }
        Ok(header)
    }

    /// Check 8, by ascending offset.
    fn check_limits(bytes: &[u8], limits: &LoadLimits) -> Result<(), Outcome> {
        let short = |offset| u32::from(u16_at(bytes, offset));
        let counts = [
            (8, u32_at(bytes, 8), limits.bytes),
            (20, u32_at(bytes, 20), limits.words),
            (24, u32_at(bytes, 24), limits.constants),
            (28, short(28), limits.columns),
            (30, short(30), limits.params),
            (32, short(32), limits.tables),
            (34, short(34), limits.sets),
            (36, short(36), limits.outputs),
            (38, short(38), u32::from(limits.v_registers)),
            (40, short(40), u32::from(limits.m_registers)),
        ];
        match counts.into_iter().find(|&(_, count, limit)| count > limit) {
            Some((at, ..)) => fault(Status::LimitExceeded, at),
            None => Ok(()),
        }
    }

    fn decode(bytes: &[u8], flags: u32) -> Header {
        let short = |offset| usize::from(u16_at(bytes, offset));
        let mut header = Header {
            flags,
            words: index(u32_at(bytes, 20).into()),
            constants: index(u32_at(bytes, 24).into()),
            columns: short(28),
            params: short(30),
            tables: short(32),
            sets: short(34),
            outputs: short(36),
            v_registers: u16_at(bytes, 38),
            m_registers: u16_at(bytes, 40),
            words_at: 0,
            constants_at: 0,
        };
        header.constants_at = header.declarations_end().next_multiple_of(16);
        header.words_at = header.constants_at + 16 * header.constants;
        header
    }

    fn declarations_end(&self) -> usize {
        let declarations = self.columns + self.params + self.tables + self.sets + self.outputs;
        HEADER + 4 * declarations
    }

    /// What the counts add up to. They have 32 bits at most, so the sum does not overflow.
    fn length(&self) -> u64 {
        crate::bytes::length(self.words_at) + 16 * crate::bytes::length(self.words)
    }

    /// Where the declaration of an output stands.
    pub(super) fn output_at(&self, output: usize) -> usize {
        self.declarations_end() - 4 * (self.outputs - output)
    }

    /// Checks 10 and 11; gives the program without its words.
    pub(super) fn declarations(&self, bytes: &[u8]) -> Result<Program, Outcome> {
        let mut at = HEADER;
        let mut take = |count: usize, may_have_validity: bool, is_set: bool| {
            let group = at;
            at += 4 * count;
            (0..count)
                .map(|number| declaration(bytes, group + 4 * number, may_have_validity, is_set))
                .collect::<Result<Vec<_>, _>>()
        };
        let columns = take(self.columns, true, false)?;
        let params = take(self.params, false, false)?;
        let tables = take(self.tables, false, false)?;
        let sets = take(self.sets, false, true)?;
        let outputs = take(self.outputs, true, false)?;
        let end = self.declarations_end();
        if !zero(&bytes[end..self.constants_at]) {
            return fault(Status::ReservedNotZero, offset(end));
        }
        let constants = (0..self.constants).map(|n| u128_at(bytes, self.constants_at + 16 * n));
        Ok(Program {
            columns,
            params,
            tables,
            sets,
            outputs,
            constants: constants.collect(),
            words: Vec::new(),
            v_registers: self.v_registers,
            m_registers: self.m_registers,
            keep: self.flags & KEEP != 0,
            emit_mask: self.flags & EMIT_MASK != 0,
        })
    }
}

fn declaration(
    bytes: &[u8],
    at: usize,
    may_have_validity: bool,
    is_set: bool,
) -> Result<Declaration, Outcome> {
    let flags = bytes[at + 1];
    if flags > u8::from(may_have_validity) || u16_at(bytes, at + 2) != 0 {
        return fault(Status::ReservedNotZero, offset(at));
    }
    match Type::from_number(bytes[at]) {
        Some(ty) if !(is_set && ty.is_mask()) => Ok(Declaration {
            ty,
            validity: flags == 1,
        }),
        _ => fault(Status::BadDeclaration, offset(at)),
    }
}

fn fault<T>(status: Status, at: u32) -> Result<T, Outcome> {
    Err(Outcome::new(status, NONE, at))
}
