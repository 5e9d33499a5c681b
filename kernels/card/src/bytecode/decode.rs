//! Bytes to bytecode, checked as every card checks them.

use unlade_program::{Column, Ty};

use super::check::{Checker, Missing};
use super::encode::length;
use super::{
    ALIGNMENT, Bytecode, CHECKSUM, CONSTANT, DECLARATION, FLAG_EMIT_MASK, FLAG_KEEP, HEADER, MAGIC,
    MAJOR, MINOR, OutputType, WORD, ty_of,
};
use crate::limits::Limits;
use crate::malformed::{Fault, Malformed};

/// Offset of the header's flags.
const FLAGS: usize = 16;

/// The bytecode that bytes are.
///
/// # Errors
/// The first of the load errors of docs/CARD.md, section 9, in its order: what a card says that has
/// every operation and no limits but the format's.
pub(crate) fn decode(bytes: &[u8]) -> Result<Bytecode, Malformed> {
    let header = Header::decode(bytes)?;
    let mut declarations = Declarations { bytes, at: HEADER };
    let columns = declarations.take(header.columns, Declared::Column)?;
    let params = declarations.take(header.params, Declared::Other)?;
    let tables = declarations.take(header.tables, Declared::Other)?;
    let sets = declarations.take(header.sets, Declared::Set)?;
    let first_output = declarations.at;
    let outputs = declarations.take(header.outputs, Declared::Output)?;
    let padding = declarations.at;
    let constants_at = padding.next_multiple_of(ALIGNMENT);
    if bytes[padding..constants_at].iter().any(|&byte| byte != 0) {
        return Err(wrong(Fault::ReservedNotZero, padding));
    }
    let words_at = constants_at + CONSTANT * header.constants as usize;

    let types = |list: Vec<(Ty, bool)>| list.into_iter().map(|(ty, _)| ty).collect();
    let mut bytecode = Bytecode {
        label: header.label,
        value_registers: header.value_registers,
        mask_registers: header.mask_registers,
        columns: columns
            .into_iter()
            .map(|(ty, nullable)| Column { ty, nullable })
            .collect(),
        params: types(params),
        tables: types(tables),
        sets: types(sets),
        outputs: outputs
            .into_iter()
            .map(|(ty, valid)| OutputType { ty, valid })
            .collect(),
        constants: bytes[constants_at..words_at].as_chunks().0.to_vec(),
        words: Vec::new(),
    };
    let mut words = Vec::with_capacity(header.words as usize);
    let mut checker = Checker::new(&bytecode, header.keep(), header.emit_mask());
    for (index, raw) in (0u32..).zip(bytes[words_at..].as_chunks().0) {
        let word = checker.word(raw).map_err(|fault| Malformed::Bytecode {
            fault,
            word: Some(index),
            offset: offset(words_at + WORD * index as usize),
        })?;
        words.push(word);
    }
    match checker.missing() {
        None => {}
        Some(Missing::Flagged) => return Err(wrong(Fault::Incomplete, FLAGS)),
        Some(Missing::Output(index)) => {
            let declaration = first_output + DECLARATION * index;
            return Err(wrong(Fault::Incomplete, declaration));
        }
    }
    bytecode.words = words;
    Ok(bytecode)
}

/// A fault outside the words.
fn wrong(fault: Fault, at: usize) -> Malformed {
    Malformed::Bytecode {
        fault,
        word: None,
        offset: offset(at),
    }
}

/// An offset in bytes whose number is a `u32`.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// A header that is right by itself, and whose counts add up to the bytes there are.
struct Header {
    flags: u32,
    words: u32,
    constants: u32,
    columns: u16,
    params: u16,
    tables: u16,
    sets: u16,
    outputs: u16,
    value_registers: u16,
    mask_registers: u16,
    label: u64,
}

impl Header {
    fn decode(bytes: &[u8]) -> Result<Header, Malformed> {
        let Some(raw) = bytes.first_chunk::<HEADER>() else {
            return Err(wrong(Fault::Length, 8));
        };
        let header = Header {
            flags: u32_at(raw, FLAGS),
            words: u32_at(raw, 20),
            constants: u32_at(raw, 24),
            columns: u16_at(raw, 28),
            params: u16_at(raw, 30),
            tables: u16_at(raw, 32),
            sets: u16_at(raw, 34),
            outputs: u16_at(raw, 36),
            value_registers: u16_at(raw, 38),
            mask_registers: u16_at(raw, 40),
            label: u64::from(u32_at(raw, 48)) | u64::from(u32_at(raw, 52)) << 32,
        };
        let found = bytes.len() as u64;
        if u32_at(raw, 0) != MAGIC {
            return Err(wrong(Fault::Magic, 0));
        }
        if (u16_at(raw, 4), u16_at(raw, 6)) != (MAJOR, MINOR) {
            return Err(wrong(Fault::Version, 4));
        }
        if u64::from(u32_at(raw, 8)) != found {
            return Err(wrong(Fault::Length, 8));
        }
        if checksum(raw, bytes) != u32_at(raw, CHECKSUM) {
            return Err(wrong(Fault::Checksum, CHECKSUM));
        }
        if header.flags & !(FLAG_KEEP | FLAG_EMIT_MASK) != 0 {
            return Err(wrong(Fault::ReservedNotZero, FLAGS));
        }
        for reserved in [42..48, 56..HEADER] {
            if raw[reserved.clone()].iter().any(|&byte| byte != 0) {
                return Err(wrong(Fault::ReservedNotZero, reserved.start));
            }
        }
        if header.emit_mask() && !header.keep() {
            return Err(wrong(Fault::BadOrder, FLAGS));
        }
        header.within_format()?;
        if header.length() != found {
            return Err(wrong(Fault::Length, 8));
        }
        Ok(header)
    }

    const fn keep(&self) -> bool {
        self.flags & FLAG_KEEP != 0
    }

    const fn emit_mask(&self) -> bool {
        self.flags & FLAG_EMIT_MASK != 0
    }

    fn within_format(&self) -> Result<(), Malformed> {
        let format = Limits::FORMAT;
        for (at, count, most) in [
            (24, self.constants, format.constants),
            (28, self.columns.into(), format.columns),
            (30, self.params.into(), format.params),
            (32, self.tables.into(), format.tables),
            (34, self.sets.into(), format.sets),
            (36, self.outputs.into(), format.outputs),
            (
                38,
                self.value_registers.into(),
                format.value_registers.into(),
            ),
            (40, self.mask_registers.into(), format.mask_registers.into()),
        ] {
            if count > most {
                return Err(wrong(Fault::LimitExceeded, at));
            }
        }
        Ok(())
    }

    /// The bytes that the counts add up to.
    fn length(&self) -> u64 {
        let declarations = [
            self.columns,
            self.params,
            self.tables,
            self.sets,
            self.outputs,
        ];
        length(
            declarations.into_iter().map(u64::from).sum(),
            self.constants.into(),
            self.words.into(),
        )
    }
}

/// The checksum of bytes that begin with this header: its own four bytes count as zero.
fn checksum(header: &[u8; HEADER], bytes: &[u8]) -> u32 {
    let mut unsigned = *header;
    unsigned[CHECKSUM..CHECKSUM + 4].fill(0);
    crc32c::crc32c_append(crc32c::crc32c(&unsigned), &bytes[HEADER..])
}

/// The declarations, one kind after the other.
struct Declarations<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What is declared, where that decides what may be said of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Declared {
    Column,
    Output,
    Set,
    Other,
}

impl Declarations<'_> {
    /// The next declarations: types, and of columns and outputs whether there is a validity.
    fn take(&mut self, count: u16, declared: Declared) -> Result<Vec<(Ty, bool)>, Malformed> {
        let flags = match declared {
            Declared::Column | Declared::Output => 1,
            Declared::Set | Declared::Other => 0,
        };
        let start = self.at;
        self.at += DECLARATION * usize::from(count);
        let (raw, _) = self.bytes[start..self.at].as_chunks::<DECLARATION>();
        let mut types = Vec::with_capacity(raw.len());
        for (index, &[number, flag, low, high]) in raw.iter().enumerate() {
            let at = start + DECLARATION * index;
            if flag & !flags != 0 || low != 0 || high != 0 {
                return Err(wrong(Fault::ReservedNotZero, at));
            }
            let ty = ty_of(number)
                .filter(|&ty| declared != Declared::Set || ty != Ty::Mask)
                .ok_or_else(|| wrong(Fault::BadDeclaration, at))?;
            types.push((ty, flag != 0));
        }
        Ok(types)
    }
}

fn u16_at(header: &[u8; HEADER], at: usize) -> u16 {
    u16::from_le_bytes([header[at], header[at + 1]])
}

fn u32_at(header: &[u8; HEADER], at: usize) -> u32 {
    u32::from(u16_at(header, at)) | u32::from(u16_at(header, at + 2)) << 16
}
