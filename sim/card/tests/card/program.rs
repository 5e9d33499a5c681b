//! Bytecode, put together by hand.

pub(crate) const MASK: u8 = 1;
pub(crate) const I32: u8 = 4;
pub(crate) const I128: u8 = 6;
pub(crate) const U8: u8 = 7;

/// A program to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bytecode {
    pub(crate) flags: u32,
    /// Type and flags, as declarations have them.
    pub(crate) columns: Vec<(u8, u8)>,
    pub(crate) params: Vec<u8>,
    pub(crate) tables: Vec<u8>,
    pub(crate) sets: Vec<u8>,
    pub(crate) outputs: Vec<(u8, u8)>,
    pub(crate) constants: Vec<u128>,
    pub(crate) words: Vec<[u8; 16]>,
}

impl Bytecode {
    /// The bytes, with 16 registers of each kind, length and checksum.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"UNLB".to_vec();
        bytes.extend([1, 0, 0, 0]);
        bytes.extend([0; 8]);
        bytes.extend(self.flags.to_le_bytes());
        let count = |count: usize| u32::try_from(count).unwrap().to_le_bytes();
        bytes.extend(count(self.words.len()));
        bytes.extend(count(self.constants.len()));
        let declared = [
            self.columns.len(),
            self.params.len(),
            self.tables.len(),
            self.sets.len(),
            self.outputs.len(),
        ];
        for count in declared {
            bytes.extend(u16::try_from(count).unwrap().to_le_bytes());
        }
        bytes.extend([16, 0, 16, 0]);
        bytes.resize(64, 0);
        let plain = |&ty: &u8| [ty, 0, 0, 0];
        let flagged = |&(ty, flags): &(u8, u8)| [ty, flags, 0, 0];
        bytes.extend(self.columns.iter().flat_map(flagged));
        bytes.extend(self.params.iter().flat_map(plain));
        bytes.extend(self.tables.iter().flat_map(plain));
        bytes.extend(self.sets.iter().flat_map(plain));
        bytes.extend(self.outputs.iter().flat_map(flagged));
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        bytes.extend(
            self.constants
                .iter()
                .flat_map(|constant| constant.to_le_bytes()),
        );
        bytes.extend(self.words.iter().flatten());
        seal(bytes)
    }
}

/// Sets length and checksum right.
pub(crate) fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    reseal(bytes)
}

/// Sets the checksum right.
pub(crate) fn reseal(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[12..16].fill(0);
    let checksum = crc32c::crc32c(&bytes);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// A word without index and immediate. `registers` are dst and the sources; the rest is `0xFF`.
pub(crate) fn word(operation: u16, operand: u8, result: u8, registers: &[u8]) -> [u8; 16] {
    let mut word = [0; 16];
    word[..2].copy_from_slice(&operation.to_le_bytes());
    word[2] = operand;
    word[3] = result;
    word[5..9].fill(0xFF);
    word[5..5 + registers.len()].copy_from_slice(registers);
    word
}

/// A word with an index.
pub(crate) fn indexed(mut word: [u8; 16], index: u16) -> [u8; 16] {
    word[10..12].copy_from_slice(&index.to_le_bytes());
    word
}

/// A word with an immediate.
pub(crate) fn immediate(mut word: [u8; 16], immediate: i32) -> [u8; 16] {
    word[12..].copy_from_slice(&immediate.to_le_bytes());
    word
}

pub(crate) fn load(ty: u8, dst: u8, column: u16) -> [u8; 16] {
    indexed(word(1, ty, ty, &[dst]), column)
}

pub(crate) fn validity(dst: u8, column: u16) -> [u8; 16] {
    indexed(word(2, MASK, MASK, &[dst]), column)
}

pub(crate) fn trap(when: u8, ordinal: i32) -> [u8; 16] {
    immediate(word(110, MASK, MASK, &[0xFF, when]), ordinal)
}

pub(crate) fn keep(mask: u8) -> [u8; 16] {
    word(0x8001, MASK, MASK, &[0xFF, mask])
}

pub(crate) fn emit_mask() -> [u8; 16] {
    word(0x8002, MASK, MASK, &[])
}

/// A STORE without validity.
pub(crate) fn store(ty: u8, value: u8, output: u16) -> [u8; 16] {
    indexed(word(0x8003, ty, ty, &[0xFF, value]), output)
}

/// Bytes of a value of a type that is no mask.
pub(crate) fn width(ty: u8) -> usize {
    match ty {
        2 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 => 4,
        5 | 10 | 12 => 8,
        _ => 16,
    }
}

/// Values one after the other, as a buffer has them.
pub(crate) fn buffer(ty: u8, values: &[u128]) -> Vec<u8> {
    if ty != MASK {
        let bytes = |value: &u128| value.to_le_bytes().into_iter().take(width(ty));
        return values.iter().flat_map(bytes).collect();
    }
    let byte = |bits: &[u128]| {
        let bit = |(at, &bit): (usize, &u128)| u8::from(bit == 1) << at;
        bits.iter().enumerate().map(bit).sum()
    };
    values.chunks(8).map(byte).collect()
}

/// A program that adds 1 to an i32 column.
pub(crate) fn increment() -> Vec<u8> {
    Bytecode {
        columns: vec![(I32, 0)],
        outputs: vec![(I32, 0)],
        constants: vec![1],
        words: vec![
            load(I32, 0, 0),
            indexed(word(4, I32, I32, &[1]), 0),
            word(20, I32, I32, &[0, 0, 1]),
            store(I32, 0, 0),
        ],
        ..Bytecode::default()
    }
    .bytes()
}

/// A program that keeps the rows of a nullable i32 column that are valid and not negative, and
/// stores them and the keep mask; it traps where a row is -1, kept or not.
pub(crate) fn filter() -> Vec<u8> {
    Bytecode {
        flags: 3,
        columns: vec![(I32, 1)],
        outputs: vec![(I32, 0), (MASK, 1)],
        constants: vec![0, u128::from(u32::MAX)],
        words: vec![
            load(I32, 0, 0),
            indexed(word(4, I32, I32, &[1]), 0),
            word(45, I32, MASK, &[0, 0, 1]),
            validity(1, 0),
            word(90, MASK, MASK, &[2, 0, 1]),
            keep(2),
            emit_mask(),
            indexed(word(4, I32, I32, &[1]), 1),
            word(40, I32, MASK, &[3, 0, 1]),
            trap(3, 7),
            trap(3, 5),
            store(I32, 0, 0),
            indexed(word(0x8003, MASK, MASK, &[0xFF, 2, 1]), 1),
        ],
        ..Bytecode::default()
    }
    .bytes()
}
