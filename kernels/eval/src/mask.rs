//! Bitmaps: counting, runs, and moving them between memory and words.
//!
//! Inside the evaluator a mask is a slice of `u64`, row 0 in bit 0 of word 0, with the bits beyond
//! the last row clear. In memory it is a [`BitsRef`], which begins at any bit.

use std::ops::Range;

use crate::BitsRef;
use crate::frame::Extent;

/// Rows of one word.
pub(crate) const WORD: usize = 64;

/// How many of the first `rows` bits are set.
///
/// # Panics
/// Where the bytes hold fewer bits than that.
pub fn count(mask: BitsRef<'_>, rows: usize) -> usize {
    words(mask, rows)
        .map(|word| word.count_ones() as usize)
        .sum()
}

/// The row of the `nth` set bit, counted from zero, among the first `rows` bits.
///
/// # Panics
/// Where the bytes hold fewer bits than that.
pub fn nth_set(mask: BitsRef<'_>, rows: usize, nth: usize) -> Option<usize> {
    let mut left = nth;
    for (index, word) in words(mask, rows).enumerate() {
        let here = word.count_ones() as usize;
        if left < here {
            return Some(index * WORD + nth_set_in_word(word, left));
        }
        left -= here;
    }
    None
}

/// The maximal runs of set bits among the first `rows` bits, in ascending order.
///
/// ```
/// use unlade_eval::{BitsRef, mask};
///
/// let bits = BitsRef { bytes: &[0b1100_1110], offset: 1 };
/// let runs: Vec<_> = mask::runs(bits, 7).collect();
/// assert_eq!(runs, [0..3, 5..7]);
/// ```
///
/// # Panics
/// While iterating, where the bytes hold fewer bits than that.
pub fn runs(mask: BitsRef<'_>, rows: usize) -> Runs<'_> {
    Runs {
        mask,
        rows,
        at: 0,
        word: 0,
    }
}

/// See [`runs`].
#[derive(Clone, Debug)]
pub struct Runs<'a> {
    mask: BitsRef<'a>,
    rows: usize,
    /// The row that comes after what `word` still holds.
    at: usize,
    /// Bits of the 64 rows up to `at` that are not yet reported, in place.
    word: u64,
}

impl Iterator for Runs<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        while self.word == 0 {
            if self.at >= self.rows {
                return None;
            }
            self.advance();
        }
        let base = self.at - WORD;
        let first = self.word.trailing_zeros();
        let ones = (self.word >> first).trailing_ones();
        let start = base + first as usize;
        let mut end = start + ones as usize;
        self.word &= !(low_bits(ones as usize) << first);
        // A run that touches the end of its word may go on in the next.
        while end == self.at && self.at < self.rows {
            self.advance();
            let ones = self.word.trailing_ones() as usize;
            self.word &= !low_bits(ones);
            end += ones;
        }
        Some(start..end)
    }
}

impl Runs<'_> {
    fn advance(&mut self) {
        self.word = word(self.mask, self.at, self.rows - self.at);
        self.at += WORD;
    }
}

/// Room that [`list`] needs beyond the rows that are set.
pub const LIST_SLACK: usize = 4;

/// Writes the rows that words set, as their numbers from the first word's first on, and returns how
/// many they are. What lies behind them is arbitrary.
///
/// How many bits a word has is as good as random, so nothing branches on it where there are few:
/// four numbers are written for every word, and the next word begins behind those that count.
///
/// ```
/// use unlade_eval::mask;
///
/// let mut rows = [0; 3 + mask::LIST_SLACK];
/// assert_eq!(mask::list([0b1001, 1], &mut rows), 3);
/// assert_eq!(rows[..3], [0, 3, 64]);
/// ```
///
/// # Panics
/// Where there is no room for the rows and [`LIST_SLACK`] more.
#[inline(always)]
pub fn list(words: impl IntoIterator<Item = u64>, rows: &mut [u16]) -> usize {
    let mut at = 0;
    for (index, word) in words.into_iter().enumerate() {
        let first_row = (index * WORD) as u16;
        let end = at + word.count_ones() as usize;
        let (mut rest, mut next) = (word, at);
        loop {
            for row in &mut rows[next..][..LIST_SLACK] {
                // Beyond the last bit 64 is added, which after the last word of all is too much; what
                // that makes is overwritten.
                *row = first_row.wrapping_add(rest.trailing_zeros() as u16);
                rest &= rest.wrapping_sub(1);
            }
            next += LIST_SLACK;
            if next >= end {
                break;
            }
        }
        at = end;
    }
    at
}

/// The first `rows` bits, 64 at a time, zeros beyond.
pub(crate) fn words(mask: BitsRef<'_>, rows: usize) -> impl Iterator<Item = u64> {
    (0..rows.div_ceil(WORD)).map(move |index| word(mask, index * WORD, rows - index * WORD))
}

/// Up to 64 bits from row `row` on; `left` rows remain there, bits beyond them are clear.
#[inline(always)]
pub(crate) fn word(mask: BitsRef<'_>, row: usize, left: usize) -> u64 {
    let bit = mask.offset + row;
    let wanted = left.min(WORD);
    let shift = bit % 8;
    let tail = &mask.bytes[bit / 8..];
    let low = match tail.first_chunk::<8>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes[..tail.len()].copy_from_slice(tail);
            u64::from_le_bytes(bytes)
        }
    };
    let mut word = low >> shift;
    if shift + wanted > WORD {
        word |= u64::from(tail[8]) << (WORD - shift);
    }
    assert!(bit + wanted <= mask.bytes.len() * 8, "mask is too short");
    word & low_bits(wanted)
}

/// Brings `rows` bits from row `first` on into words, clear beyond.
///
/// # Panics
/// Where the bytes hold fewer bits than that.
#[inline(always)]
pub(crate) fn copy_words(mask: BitsRef<'_>, first: usize, rows: usize, words: &mut [u64]) {
    let bit = mask.offset + first;
    let (start, shift) = (bit / 8, bit % 8);
    let (full, tail) = words.split_at_mut(rows / WORD);
    let bytes = &mask.bytes[start..];
    let eights = bytes[..full.len() * 8].as_chunks::<8>().0;
    if shift == 0 {
        for (word, eight) in full.iter_mut().zip(eights) {
            *word = u64::from_le_bytes(*eight);
        }
    } else {
        // Each word takes its last bits from the byte behind its eight.
        let behind = bytes[..full.len() * 8 + usize::from(!full.is_empty())]
            .iter()
            .skip(8);
        for ((word, eight), next) in full.iter_mut().zip(eights).zip(behind.step_by(8)) {
            *word = u64::from_le_bytes(*eight) >> shift | u64::from(*next) << (WORD - shift);
        }
    }
    if let Some(last) = tail.first_mut() {
        let done = rows / WORD * WORD;
        *last = word(mask, first + done, rows - done);
    }
}

/// What is known of all of the rows of a mask, whose bits beyond them are clear.
#[inline(always)]
pub(crate) fn extent(rows: usize, words: &[u64]) -> Extent {
    let set = words.iter().map(|word| word.count_ones() as usize).sum();
    Extent::of(set, rows)
}

/// Clears the bits of a word beyond its first `rows` and returns how many of them were set.
#[inline(always)]
pub(crate) fn clear_beyond(word: &mut u64, rows: usize) -> usize {
    let beyond = *word & !low_bits(rows);
    *word ^= beyond;
    beyond.count_ones() as usize
}

/// A word whose lowest `bits` bits are set.
#[inline(always)]
pub(crate) const fn low_bits(bits: usize) -> u64 {
    if bits >= WORD {
        u64::MAX
    } else {
        (1 << bits) - 1
    }
}

/// The position of the `nth` set bit of a word that has so many.
pub(crate) fn nth_set_in_word(word: u64, nth: usize) -> usize {
    let mut rest = word;
    for _ in 0..nth {
        rest &= rest - 1;
    }
    rest.trailing_zeros() as usize
}

/// The row of the first set bit.
pub(crate) fn first_set(words: &[u64]) -> Option<usize> {
    let index = words.iter().position(|word| *word != 0)?;
    Some(index * WORD + words[index].trailing_zeros() as usize)
}

/// Writes `rows` bits, given as words with clear bits beyond, from bit `at` of `out` on. Bits of
/// `out` before `at` stay; those after the last one written are cleared up to the byte's end.
///
/// # Panics
/// Where `out` is too short for the bits.
#[inline(always)]
pub(crate) fn append(out: &mut [u8], at: usize, rows: usize, mut next: impl FnMut(usize) -> u64) {
    if rows == 0 {
        return;
    }
    let shift = at % 8;
    let end = (at + rows).div_ceil(8);
    let out = &mut out[..];
    assert!(end <= out.len(), "bitmap is too short");
    let mut byte = at / 8;
    let mut carry = u64::from(out[byte]) & low_bits(shift);
    for index in 0..rows.div_ceil(WORD) {
        let word = next(index);
        let bytes = (carry | word << shift).to_le_bytes();
        match out[byte..].first_chunk_mut::<8>() {
            Some(place) => *place = bytes,
            None => {
                let room = out.len() - byte;
                out[byte..].copy_from_slice(&bytes[..room]);
            }
        }
        carry = if shift == 0 {
            0
        } else {
            word >> (WORD - shift)
        };
        byte += 8;
    }
    if byte < end {
        out[byte] = carry as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn counting_runs_and_nth_agree_with_single_bits() {
        let mut random = Random::new(1);
        for rows in [0, 1, 7, 63, 64, 65, 130, 300] {
            for offset in [0, 1, 7, 8, 13] {
                for density in [0, 5, 50, 95, 100] {
                    let bytes = random.bits(rows + offset, density);
                    let mask = BitsRef {
                        bytes: &bytes,
                        offset,
                    };
                    let set: Vec<usize> = (0..rows)
                        .filter(|row| bytes[(row + offset) / 8] >> ((row + offset) % 8) & 1 == 1)
                        .collect();
                    assert_eq!(count(mask, rows), set.len());
                    let from_runs: Vec<usize> = runs(mask, rows).flatten().collect();
                    assert_eq!(from_runs, set);
                    let maximal: Vec<Range<usize>> = runs(mask, rows).collect();
                    assert!(maximal.windows(2).all(|pair| pair[0].end < pair[1].start));
                    for (nth, row) in set.iter().enumerate() {
                        assert_eq!(nth_set(mask, rows, nth), Some(*row));
                    }
                    assert_eq!(nth_set(mask, rows, set.len()), None);
                }
            }
        }
    }

    #[test]
    fn appending_in_pieces_equals_the_whole() {
        let mut random = Random::new(2);
        for _ in 0..50 {
            let rows = random.below(400);
            let bytes = random.bits(rows, 50);
            let mask = BitsRef {
                bytes: &bytes,
                offset: 0,
            };
            let mut out = vec![0xff; rows.div_ceil(8)];
            let mut at = 0;
            while at < rows {
                let piece = (1 + random.below(100)).min(rows - at);
                append(&mut out, at, piece, |index| {
                    word(mask, at + index * WORD, piece - index * WORD)
                });
                at += piece;
            }
            assert_eq!(out, &bytes[..rows.div_ceil(8)]);
        }
    }
}
