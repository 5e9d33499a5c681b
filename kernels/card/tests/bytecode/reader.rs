//! Bytecode taken apart by the tables of docs/CARD.md, section 9, every rule of a program's form
//! being asserted.

use unlade_program::Ty;

/// A program's bytes as numbers.
#[derive(Debug)]
pub(crate) struct Bytecode {
    pub(crate) keep: bool,
    pub(crate) emit_mask: bool,
    /// Type and flags of columns, parameters, tables, sets and outputs.
    pub(crate) declarations: [Vec<(u8, u8)>; 5],
    pub(crate) constants: Vec<[u8; 16]>,
    pub(crate) words: Vec<Word>,
    /// How many V and M registers the header counts.
    pub(crate) registers: [u16; 2],
}

/// A word's fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) operation: u16,
    pub(crate) operand: u8,
    pub(crate) result: u8,
    pub(crate) variant: u8,
    pub(crate) dst: u8,
    pub(crate) sources: [u8; 3],
    pub(crate) index: u16,
    pub(crate) immediate: i32,
}

/// No register.
pub(crate) const NONE: u8 = 0xff;

/// The number of a type: section 8 lists them in the order of [`Ty::ALL`].
pub(crate) fn ty_number(ty: Ty) -> u8 {
    let position = Ty::ALL.iter().position(|each| *each == ty).unwrap();
    u8::try_from(position + 1).unwrap()
}

/// Takes bytes apart.
pub(crate) fn read(bytes: &[u8]) -> Bytecode {
    assert_eq!(&bytes[..4], b"UNLB");
    assert_eq!(u16_at(bytes, 4), 1, "major version");
    assert_eq!(u16_at(bytes, 6), 0, "minor version");
    assert_eq!(u32_at(bytes, 8) as usize, bytes.len(), "length");
    let mut unsigned = bytes.to_vec();
    unsigned[12..16].fill(0);
    assert_eq!(u32_at(bytes, 12), crc32c::crc32c(&unsigned), "checksum");
    let flags = u32_at(bytes, 16);
    assert!(flags <= 3 && flags != 2, "flags {flags}");
    let (words, constants) = (u32_at(bytes, 20) as usize, u32_at(bytes, 24) as usize);
    assert!(
        bytes[42..48]
            .iter()
            .chain(&bytes[56..64])
            .all(|&byte| byte == 0)
    );

    let mut at = 64;
    let declarations = [28, 30, 32, 34, 36].map(|count| {
        let count = usize::from(u16_at(bytes, count));
        let start = at;
        at += 4 * count;
        let list = bytes[start..at].chunks_exact(4);
        list.map(|each| {
            assert_eq!(each[2..], [0, 0], "reserved");
            (each[0], each[1])
        })
        .collect()
    });
    let aligned = at.next_multiple_of(16);
    assert!(bytes[at..aligned].iter().all(|&byte| byte == 0), "padding");
    let (head, body) = bytes[aligned..].split_at(16 * constants);
    assert_eq!(body.len(), 16 * words, "the counts add up to the length");
    Bytecode {
        keep: flags & 1 == 1,
        emit_mask: flags & 2 == 2,
        declarations,
        constants: head.as_chunks().0.to_vec(),
        words: body.chunks_exact(16).map(word).collect(),
        registers: [u16_at(bytes, 38), u16_at(bytes, 40)],
    }
}

fn word(bytes: &[u8]) -> Word {
    assert_eq!(bytes[9], 0, "reserved byte of a word");
    Word {
        operation: u16_at(bytes, 0),
        operand: bytes[2],
        result: bytes[3],
        variant: bytes[4],
        dst: bytes[5],
        sources: [bytes[6], bytes[7], bytes[8]],
        index: u16_at(bytes, 10),
        immediate: u32_at(bytes, 12).cast_signed(),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}
