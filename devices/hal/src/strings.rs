//! Strings: a dispatch that compacts what a mask keeps of a column of them.
//!
//! Programs have columns of fixed width. A device that compacts strings, too
//! ([`Capabilities::strings`](crate::Capabilities::strings)), makes an executable for it that is of
//! no program ([`Device::compile_strings`](crate::Device::compile_strings)). Its dispatches have the
//! arguments of [`StringsArg`], and write [`StringsStatus`] in the place of a status.
//!
//! The result has the strings of the rows kept, in order: their offsets, from 0 on, one more than
//! there are rows, and their bytes without a gap. Validity is a bitmap like any other: what is null
//! has offsets, too.
//!
//! Offsets ascend from the first one on, and span no more than the bytes that are handed over. Where
//! they do not, the result is of no use, but it is the same on every device, and no other memory is
//! read or written: an offset, a number without a sign, that is outside the bytes stands for their
//! nearer end, a string that ends before it begins is empty, and of what is kept, once it is as long
//! as what was handed over, the rest is cut off. Of the bytes handed over only as many count as
//! [`Offsets::most`].

use crate::views::Access;

/// The width of the offsets of a column of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offsets {
    /// 32 bits: Arrow's `Utf8` and `Binary`.
    I32,
    /// 64 bits: Arrow's `LargeUtf8` and `LargeBinary`.
    I64,
}

impl Offsets {
    /// Both.
    pub const ALL: [Offsets; 2] = [Offsets::I32, Offsets::I64];

    /// Bytes of one offset.
    pub const fn bytes(self) -> u64 {
        match self {
            Offsets::I32 => 4,
            Offsets::I64 => 8,
        }
    }

    /// The largest offset of Arrow's, and so the most bytes of a column.
    pub const fn most(self) -> u64 {
        match self {
            Offsets::I32 => i32::MAX as u64,
            Offsets::I64 => i64::MAX as u64,
        }
    }
}

/// The arguments of a dispatch that compacts strings, by their position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum StringsArg {
    /// Which rows are kept: a bit per row, from any bit of the first byte on.
    Mask = 0,
    /// The offsets, one more than there are rows; the first may be any.
    Offsets = 1,
    /// What the first offset refers to, and all that is behind it up to the last.
    Bytes = 2,
    /// The first offset: a scalar, the first eight bytes of which are a `u64`.
    First = 3,
    /// Offsets of the strings kept: room for one more than there are rows.
    KeptOffsets = 4,
    /// Their bytes: room for as many as are handed over.
    KeptBytes = 5,
}

impl StringsArg {
    /// All of them, in order.
    pub const ALL: [StringsArg; 6] = [
        StringsArg::Mask,
        StringsArg::Offsets,
        StringsArg::Bytes,
        StringsArg::First,
        StringsArg::KeptOffsets,
        StringsArg::KeptBytes,
    ];

    /// What a dispatch does with it.
    pub fn access(self) -> Access {
        match self {
            StringsArg::KeptOffsets | StringsArg::KeptBytes => Access::Write,
            _ => Access::Read,
        }
    }
}

/// The block that a dispatch writes which compacts strings: how much is kept.
///
/// Layout, little-endian: `u64` rows, `u64` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringsStatus {
    /// Rows kept.
    pub kept: u64,
    /// Bytes of their strings, all together.
    pub bytes: u64,
}

impl StringsStatus {
    /// Length of the block.
    pub const BYTES: u64 = 16;

    /// The block.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.kept.to_le_bytes());
        bytes[8..].copy_from_slice(&self.bytes.to_le_bytes());
        bytes
    }

    /// The block's meaning.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        StringsStatus {
            kept: word(0),
            bytes: word(8),
        }
    }
}
