//! Compaction: moving the rows that a mask keeps together, in order.
//!
//! The evaluator's own outputs and a host gather of payload go through the same routines. Each
//! copies a value once, into its final place.

mod bytes;

pub use bytes::{BadOffsets, Offset, bytes, bytes_len};

use crate::level::Routine;
use crate::mask::{self, WORD, low_bits};
use crate::{BitsRef, Level, isa::Isa};

/// Words of a mask that are brought into line at a time.
const BLOCK: usize = 64;

/// Writes those of the first `rows` values that the mask keeps to the start of `out` and returns
/// their number. A value takes `width` bytes; any width from 1 on is legal, 1, 2, 4, 8 and 16 are
/// fast.
///
/// ```
/// use unlade_eval::{BitsRef, Level, compact};
///
/// let values = [1u8, 2, 3, 4, 5];
/// let keep = BitsRef { bytes: &[0b10110], offset: 0 };
/// let mut out = [0; 3];
/// assert_eq!(compact::fixed(Level::detect(), 1, &values, keep, 5, &mut out), 3);
/// assert_eq!(out, [2, 3, 5]);
/// ```
///
/// # Panics
/// Where `values` or the mask hold fewer than `rows` rows, or `out` has no room for those kept. It
/// is fastest where `out` has 64 values of room more than that.
pub fn fixed(
    level: Level,
    width: usize,
    values: &[u8],
    keep: BitsRef<'_>,
    rows: usize,
    out: &mut [u8],
) -> usize {
    let values = &values[..width * rows];
    match width {
        1 => level.call(Fixed::<1> {
            values,
            keep,
            rows,
            out,
        }),
        2 => level.call(Fixed::<2> {
            values,
            keep,
            rows,
            out,
        }),
        4 => level.call(Fixed::<4> {
            values,
            keep,
            rows,
            out,
        }),
        8 => level.call(Fixed::<8> {
            values,
            keep,
            rows,
            out,
        }),
        16 => level.call(Fixed::<16> {
            values,
            keep,
            rows,
            out,
        }),
        _ => runs_of_any_width(width, values, keep, rows, out),
    }
}

/// Writes those of the first `rows` bits of `values` that the mask keeps to the start of `out` and
/// returns their number. The bits behind them in the last byte are cleared.
///
/// # Panics
/// Where `values` or the mask hold fewer than `rows` rows, or `out` has no room for those kept.
pub fn bits(
    level: Level,
    values: BitsRef<'_>,
    keep: BitsRef<'_>,
    rows: usize,
    out: &mut [u8],
) -> usize {
    level.call(Bits {
        values,
        keep,
        rows,
        out,
    })
}

struct Fixed<'a, const WIDTH: usize> {
    values: &'a [u8],
    keep: BitsRef<'a>,
    rows: usize,
    out: &'a mut [u8],
}

impl<const WIDTH: usize> Routine for Fixed<'_, WIDTH> {
    type Output = usize;

    #[inline(always)]
    fn run<I: Isa>(self) -> usize {
        let mut words = [0; BLOCK];
        let mut kept = 0;
        for row in (0..self.rows).step_by(BLOCK * WORD) {
            let rows = (self.rows - row).min(BLOCK * WORD);
            let words = &mut words[..rows.div_ceil(WORD)];
            mask::copy_words(self.keep, row, rows, words);
            let values = &self.values[row * WIDTH..][..rows * WIDTH];
            kept += compress::<I, WIDTH>(values, words, &mut self.out[kept * WIDTH..]);
        }
        kept
    }
}

struct Bits<'a> {
    values: BitsRef<'a>,
    keep: BitsRef<'a>,
    rows: usize,
    out: &'a mut [u8],
}

impl Routine for Bits<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<I: Isa>(self) -> usize {
        let mut at = 0;
        for row in (0..self.rows).step_by(WORD) {
            let keep = mask::word(self.keep, row, self.rows - row);
            let values = mask::word(self.values, row, self.rows - row);
            let kept = keep.count_ones() as usize;
            mask::append(self.out, at, kept, |_| I::extract(values, keep));
            at += kept;
        }
        at
    }
}

/// [`fixed`] over words of a mask whose bits beyond the values are clear.
#[inline(always)]
pub(crate) fn compress<I: Isa, const WIDTH: usize>(
    values: &[u8],
    keep: &[u64],
    out: &mut [u8],
) -> usize {
    let values = values.as_chunks::<WIDTH>().0;
    let out = out.as_chunks_mut::<WIDTH>().0;
    let mut at = 0;
    for (index, &word) in keep.iter().enumerate() {
        if word == 0 {
            continue;
        }
        let from = index * WORD;
        let kept = word.count_ones() as usize;
        match (values[from..].first_chunk(), out[at..].first_chunk_mut()) {
            (Some(values), Some(out)) => I::compress(values, word, out),
            // Near the end of either slice: exactly the rows kept are touched.
            _ => {
                let mut rest = word;
                for value in &mut out[at..][..kept] {
                    *value = values[from + rest.trailing_zeros() as usize];
                    rest &= rest - 1;
                }
            }
        }
        at += kept;
    }
    at
}

/// The `kept` rows that a mask keeps, as their numbers: where few are, that is faster to walk than
/// words.
#[inline(always)]
pub(crate) fn list_rows(keep: &[u64], kept: usize, rows: &mut Vec<u16>) {
    if kept <= keep.len() / SPARSE {
        return list_sparse(keep, rows);
    }
    rows.resize(kept + mask::LIST_SLACK, 0);
    let listed = mask::list(keep.iter().copied(), rows);
    debug_assert_eq!(listed, kept, "the bits were counted");
    rows.truncate(kept);
}

/// Words to a row kept from which on empty ones are passed over, rather than something written for each:
/// seen to be faster at sixteen, one row in a thousand.
const SPARSE: usize = 8;

/// [`list_rows`] of so few rows that most stretches of words have none.
#[inline(always)]
fn list_sparse(keep: &[u64], rows: &mut Vec<u16>) {
    const STRETCH: usize = 8;
    rows.clear();
    for (stretch, words) in keep.chunks(STRETCH).enumerate() {
        if words.iter().fold(0, |any, word| any | word) == 0 {
            continue;
        }
        for (index, &word) in words.iter().enumerate() {
            let first_row = (stretch * STRETCH + index) * WORD;
            let mut rest = word;
            while rest != 0 {
                rows.push(first_row as u16 + rest.trailing_zeros() as u16);
                rest &= rest - 1;
            }
        }
    }
}

/// [`compress`] of rows that are listed.
#[inline(always)]
pub(crate) fn gather<const WIDTH: usize>(values: &[u8], rows: &[u16], out: &mut [u8]) {
    let values = values.as_chunks::<WIDTH>().0;
    let out = &mut out.as_chunks_mut::<WIDTH>().0[..rows.len()];
    for (out, row) in out.iter_mut().zip(rows) {
        *out = values[usize::from(*row)];
    }
}

/// [`bits`] over words, whose bits beyond the rows are clear in `keep`, into words. Returns the
/// number of bits kept; those beyond them are clear up to the end of `out`.
#[inline(always)]
pub(crate) fn compress_words<I: Isa>(values: &[u64], keep: &[u64], out: &mut [u64]) -> usize {
    out.fill(0);
    let mut at = 0;
    for (&value, &keep) in values.iter().zip(keep) {
        let kept = keep.count_ones() as usize;
        let bits = I::extract(value, keep);
        let shift = at % WORD;
        if kept > 0 {
            out[at / WORD] |= bits << shift;
        }
        if shift + kept > WORD {
            out[at / WORD + 1] = bits >> (WORD - shift);
        }
        at += kept;
    }
    debug_assert!(
        out.get(at / WORD)
            .is_none_or(|word| *word & !low_bits(at % WORD) == 0)
    );
    at
}

fn runs_of_any_width(
    width: usize,
    values: &[u8],
    keep: BitsRef<'_>,
    rows: usize,
    out: &mut [u8],
) -> usize {
    let mut kept = 0;
    for run in mask::runs(keep, rows) {
        let bytes = run.len() * width;
        out[kept * width..][..bytes].copy_from_slice(&values[run.start * width..][..bytes]);
        kept += run.len();
    }
    kept
}

#[cfg(test)]
mod tests;
