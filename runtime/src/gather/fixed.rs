//! Compaction of values of fixed width, and of bits.

use arrow_buffer::{BooleanBuffer, Buffer};

use super::Selection;
use crate::block::Memory;
use crate::error::Error;

/// The kept ones of values of `width` bytes each.
pub(super) fn compact_values(
    values: &[u8],
    width: usize,
    selection: &Selection<'_>,
    memory: &Memory,
) -> Result<Buffer, Error> {
    let len = selection.kept() * width;
    let mut block = memory.block(len)?;
    let out = &mut block.bytes_mut()[..len];
    match width {
        1 => compact_chunks::<1>(values, selection, out),
        2 => compact_chunks::<2>(values, selection, out),
        4 => compact_chunks::<4>(values, selection, out),
        8 => compact_chunks::<8>(values, selection, out),
        16 => compact_chunks::<16>(values, selection, out),
        32 => compact_chunks::<32>(values, selection, out),
        _ => {
            let mut at = 0;
            selection.for_each_run(|start, rows| {
                let run = &values[start * width..(start + rows) * width];
                out[at..at + run.len()].copy_from_slice(run);
                at += run.len();
            });
        }
    }
    Ok(block.freeze(len))
}

fn compact_chunks<const WIDTH: usize>(values: &[u8], selection: &Selection<'_>, out: &mut [u8]) {
    let (values, _) = values.as_chunks::<WIDTH>();
    let (out, _) = out.as_chunks_mut::<WIDTH>();
    let mut at = 0;
    for (tile, word) in values[..selection.rows()].chunks(64).zip(selection.words()) {
        if word == u64::MAX {
            out[at..at + 64].copy_from_slice(tile);
            at += 64;
        } else {
            let mut word = word;
            while word != 0 {
                out[at] = tile[word.trailing_zeros() as usize];
                at += 1;
                word &= word - 1;
            }
        }
    }
    debug_assert_eq!(at, selection.kept());
}

/// The kept ones of bits.
pub(super) fn compact_bits(
    bits: &BooleanBuffer,
    selection: &Selection<'_>,
    memory: &Memory,
) -> Result<Buffer, Error> {
    let len = selection.kept().div_ceil(8);
    let mut block = memory.block(len)?;
    let mut writer = BitWriter {
        out: &mut block.bytes_mut()[..len],
        at: 0,
        word: 0,
        filled: 0,
    };
    let chunks = bits.bit_chunks();
    for (bits, word) in chunks.iter_padded().zip(selection.words()) {
        writer.push_selected(bits, word);
    }
    writer.finish();
    Ok(block.freeze(len))
}

/// Packs bits, least significant first.
struct BitWriter<'a> {
    out: &'a mut [u8],
    /// Bytes written.
    at: usize,
    /// Bits not yet written, the first `filled` of it.
    word: u64,
    filled: u32,
}

impl BitWriter<'_> {
    fn push_selected(&mut self, bits: u64, selected: u64) {
        if selected == u64::MAX {
            return self.push(bits, 64);
        }
        let mut packed = 0;
        let mut count = 0;
        let mut rest = selected;
        while rest != 0 {
            packed |= (bits >> rest.trailing_zeros() & 1) << count;
            count += 1;
            rest &= rest - 1;
        }
        self.push(packed, count);
    }

    /// Appends the first `count` bits; those above them must be clear.
    fn push(&mut self, bits: u64, count: u32) {
        if count == 0 {
            return;
        }
        self.word |= bits << self.filled;
        let total = self.filled + count;
        if total < 64 {
            self.filled = total;
            return;
        }
        self.out[self.at..self.at + 8].copy_from_slice(&self.word.to_le_bytes());
        self.at += 8;
        self.word = if self.filled == 0 {
            0
        } else {
            bits >> (64 - self.filled)
        };
        self.filled = total - 64;
    }

    fn finish(self) {
        let len = self.filled.div_ceil(8) as usize;
        self.out[self.at..self.at + len].copy_from_slice(&self.word.to_le_bytes()[..len]);
    }
}
