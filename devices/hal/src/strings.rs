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
//! [`Offsets::most`](crate::Offsets::most).

use unlade_program::StringsArg;

use crate::views::Access;

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

/// What a dispatch that compacts strings does with an argument.
pub(crate) fn access(arg: StringsArg) -> Access {
    match arg.is_written() {
        true => Access::Write,
        false => Access::Read,
    }
}
