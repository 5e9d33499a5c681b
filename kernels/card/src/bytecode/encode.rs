//! Bytecode to bytes.

use unlade_program::Ty;

use super::{
    ALIGNMENT, Bytecode, CHECKSUM, CONSTANT, DECLARATION, FLAG_EMIT_MASK, FLAG_KEEP, HEADER, MAGIC,
    MAJOR, MINOR, NO_REGISTER, Operation, Register, WORD, Word, ty_number,
};

/// How many bytes there are of so many declarations, constants and words.
pub(super) const fn length(declarations: u64, constants: u64, words: u64) -> u64 {
    HEADER as u64
        + (DECLARATION as u64 * declarations).next_multiple_of(ALIGNMENT as u64)
        + CONSTANT as u64 * constants
        + WORD as u64 * words
}

/// The bytes.
///
/// # Panics
/// Where a count is beyond the format; whoever makes bytecode has limits below that.
pub(crate) fn encode(bytecode: &Bytecode) -> Vec<u8> {
    let mut bytes = header(bytecode);
    let flag = |set: bool| u8::from(set);
    for column in &bytecode.columns {
        bytes.extend(declaration(column.ty, flag(column.nullable)));
    }
    for types in [&bytecode.params, &bytecode.tables, &bytecode.sets] {
        bytes.extend(types.iter().flat_map(|&ty| declaration(ty, 0)));
    }
    for output in &bytecode.outputs {
        bytes.extend(declaration(output.ty, flag(output.valid)));
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes.extend(bytecode.constants.iter().flatten());
    bytes.extend(bytecode.words.iter().flat_map(word));

    let length = count_u32(bytes.len());
    bytes[8..CHECKSUM].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes);
    bytes[CHECKSUM..CHECKSUM + 4].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The header, length and checksum being zero.
fn header(bytecode: &Bytecode) -> Vec<u8> {
    let mut flags = 0;
    if bytecode.has(Operation::Keep) {
        flags |= FLAG_KEEP;
    }
    if bytecode.has(Operation::EmitMask) {
        flags |= FLAG_EMIT_MASK;
    }
    let mut bytes = Vec::with_capacity(HEADER);
    bytes.extend(MAGIC.to_le_bytes());
    bytes.extend(MAJOR.to_le_bytes());
    bytes.extend(MINOR.to_le_bytes());
    bytes.extend([0; 8]);
    for field in [
        flags,
        count_u32(bytecode.words.len()),
        count_u32(bytecode.constants.len()),
    ] {
        bytes.extend(field.to_le_bytes());
    }
    for field in [
        count_u16(bytecode.columns.len()),
        count_u16(bytecode.params.len()),
        count_u16(bytecode.tables.len()),
        count_u16(bytecode.sets.len()),
        count_u16(bytecode.outputs.len()),
        bytecode.value_registers,
        bytecode.mask_registers,
    ] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend([0; 6]);
    bytes.extend(bytecode.label.to_le_bytes());
    bytes.extend([0; 8]);
    bytes
}

fn declaration(ty: Ty, flags: u8) -> [u8; DECLARATION] {
    [ty_number(ty), flags, 0, 0]
}

fn word(word: &Word) -> [u8; WORD] {
    let number = |register: Option<Register>| register.map_or(NO_REGISTER, |found| found.number);
    let operation = word.operation.number().to_le_bytes();
    let index = word.index.to_le_bytes();
    let immediate = word.immediate.to_le_bytes();
    [
        operation[0],
        operation[1],
        ty_number(word.operand),
        ty_number(word.result),
        word.variant,
        number(word.dst),
        number(word.sources[0]),
        number(word.sources[1]),
        number(word.sources[2]),
        0,
        index[0],
        index[1],
        immediate[0],
        immediate[1],
        immediate[2],
        immediate[3],
    ]
}

fn count_u32(count: usize) -> u32 {
    u32::try_from(count).expect("counts are limited before there is bytecode")
}

fn count_u16(count: usize) -> u16 {
    u16::try_from(count).expect("counts are limited before there is bytecode")
}
