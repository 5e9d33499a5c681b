//! Compaction of values of fixed width, and of bits.

use arrow_buffer::{BooleanBuffer, Buffer};
use unlade_eval::{BitsRef, Level, compact};

use super::Selection;
use crate::block::Memory;
use crate::error::Error;

/// Values of room behind those kept, so that whole vectors can be stored.
const ROOM: usize = 64;

/// The kept ones of values of `width` bytes each.
pub(super) fn compact_values(
    values: &[u8],
    width: usize,
    selection: &Selection<'_>,
    memory: &Memory,
) -> Result<Buffer, Error> {
    if width == 0 {
        return Ok(Buffer::default());
    }
    let len = selection.kept() * width;
    let mut block = memory.block(len + ROOM * width)?;
    let out = &mut block.bytes_mut()[..len + ROOM * width];
    let kept = compact::fixed(
        level(),
        width,
        values,
        selection.keep(),
        selection.rows(),
        out,
    );
    debug_assert_eq!(kept, selection.kept());
    Ok(block.freeze(len))
}

/// The kept ones of bits.
pub(super) fn compact_bits(
    bits: &BooleanBuffer,
    selection: &Selection<'_>,
    memory: &Memory,
) -> Result<Buffer, Error> {
    let len = selection.kept().div_ceil(8);
    let mut block = memory.block(len)?;
    let values = BitsRef {
        bytes: bits.values(),
        offset: bits.offset(),
    };
    let out = &mut block.bytes_mut()[..len];
    let kept = compact::bits(level(), values, selection.keep(), selection.rows(), out);
    debug_assert_eq!(kept, selection.kept());
    Ok(block.freeze(len))
}

/// What the processor has; asked once.
fn level() -> Level {
    static LEVEL: std::sync::LazyLock<Level> = std::sync::LazyLock::new(Level::detect);
    *LEVEL
}
