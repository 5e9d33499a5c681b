//! Which rows to keep.

use arrow_array::BooleanArray;
use arrow_buffer::{BooleanBuffer, Buffer, bit_util};
use unlade_eval::{BitsRef, mask};

/// Rows to keep, as a bitmap that begins with row 0's bit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selection<'a> {
    bits: &'a [u8],
    rows: usize,
    kept: usize,
}

impl<'a> Selection<'a> {
    /// The rows whose bit is set; bits past the last row are ignored.
    ///
    /// # Panics
    /// Where there are fewer bits than rows.
    pub(crate) fn new(bits: &'a [u8], rows: usize) -> Self {
        let mut selection = Selection {
            bits: &bits[..rows.div_ceil(8)],
            rows,
            kept: 0,
        };
        selection.kept = selection
            .words()
            .map(|word| word.count_ones() as usize)
            .sum();
        selection
    }

    /// The bits, for the evaluator's routines.
    pub(crate) fn keep(&self) -> BitsRef<'a> {
        BitsRef {
            bytes: self.bits,
            offset: 0,
        }
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// How many of them are kept.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// Whether every row is kept.
    pub(crate) fn is_all(&self) -> bool {
        self.kept == self.rows
    }

    /// The bits, 64 rows to a word; those past the last row are clear.
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> + use<'a> {
        let (whole, tail) = self.bits.as_chunks::<8>();
        let tail_rows = self.rows % 64;
        let full = self.rows / 64;
        let mut last = [0; 8];
        // `whole` is one word longer than `full` where the last word lacks a few bits only.
        let rest = if whole.len() > full {
            &whole[full][..]
        } else {
            tail
        };
        last[..rest.len()].copy_from_slice(rest);
        let last = u64::from_le_bytes(last) & ((1u64 << tail_rows) - 1);
        whole[..full]
            .iter()
            .map(|bytes| u64::from_le_bytes(*bytes))
            .chain((tail_rows > 0).then_some(last))
    }

    /// The same selection for Arrow's kernels.
    pub(crate) fn to_boolean_array(self) -> BooleanArray {
        let bits = Buffer::from(self.bits);
        BooleanArray::new(BooleanBuffer::new(bits, 0, self.rows), None)
    }

    /// Calls `visit` with the first row and the length of each run of kept rows.
    pub(crate) fn for_each_run(&self, mut visit: impl FnMut(usize, usize)) {
        let mut run: Option<usize> = None;
        let mut base = 0;
        for word in self.words() {
            if word == u64::MAX {
                run.get_or_insert(base);
            } else if word == 0 {
                if let Some(start) = run.take() {
                    visit(start, base - start);
                }
            } else {
                let mut at = 0;
                while at < 64 {
                    let rest = word >> at;
                    if run.is_some() {
                        let ones = (!rest).trailing_zeros().min(64 - at);
                        at += ones;
                        if at < 64
                            && let Some(start) = run.take()
                        {
                            visit(start, base + at as usize - start);
                        }
                    } else if rest == 0 {
                        break;
                    } else {
                        at += rest.trailing_zeros();
                        run = Some(base + at as usize);
                    }
                }
            }
            base += 64;
        }
        if let Some(start) = run {
            visit(start, self.rows - start);
        }
    }

    /// Calls `visit` with each kept row.
    pub(crate) fn for_each_row(&self, mut visit: impl FnMut(usize)) {
        const BLOCK: usize = 16;
        let mut listed = [0; BLOCK * 64 + mask::LIST_SLACK];
        let mut words = self.words();
        for first_row in (0..self.rows).step_by(BLOCK * 64) {
            let count = mask::list(words.by_ref().take(BLOCK), &mut listed);
            for row in &listed[..count] {
                visit(first_row + usize::from(*row));
            }
        }
    }
}

/// Sets a range of bits.
pub(crate) fn set_bits(bits: &mut [u8], start: usize, len: usize) {
    let end = start + len;
    let (first_whole, last_whole) = (start.next_multiple_of(8), end / 8 * 8);
    if first_whole >= last_whole {
        (start..end).for_each(|bit| bit_util::set_bit(bits, bit));
        return;
    }
    (start..first_whole).for_each(|bit| bit_util::set_bit(bits, bit));
    bits[first_whole / 8..last_whole / 8].fill(0xff);
    (last_whole..end).for_each(|bit| bit_util::set_bit(bits, bit));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits made of a few patterns of the lengths at which words begin and end.
    fn patterns() -> Vec<Vec<bool>> {
        let lengths = [0, 1, 7, 8, 9, 63, 64, 65, 127, 128, 130, 200];
        let mut all = Vec::new();
        for rows in lengths {
            all.push(vec![true; rows]);
            all.push(vec![false; rows]);
            all.push((0..rows).map(|row| row % 3 == 0).collect());
            all.push((0..rows).map(|row| row / 5 % 2 == 0).collect());
            all.push((0..rows).map(|row| row >= 60).collect());
            all.push((0..rows).map(|row| row < 70).collect());
        }
        all
    }

    fn pack(bools: &[bool]) -> Vec<u8> {
        // Garbage behind the last row, which must not be seen.
        let mut bits = vec![0u8; bools.len().div_ceil(8)];
        for row in 0..bits.len() * 8 {
            if bools.get(row).copied().unwrap_or(true) {
                bit_util::set_bit(&mut bits, row);
            }
        }
        bits
    }

    #[test]
    fn rows_and_runs_are_those_of_the_bits() {
        for bools in patterns() {
            let bits = pack(&bools);
            let selection = Selection::new(&bits, bools.len());
            let expected: Vec<usize> = (0..bools.len()).filter(|row| bools[*row]).collect();
            assert_eq!(selection.kept(), expected.len());

            let mut rows = Vec::new();
            selection.for_each_row(|row| rows.push(row));
            assert_eq!(rows, expected, "{bools:?}");

            let mut from_runs = Vec::new();
            let mut last_end = None;
            selection.for_each_run(|start, len| {
                assert!(len > 0);
                assert_ne!(last_end, Some(start), "two runs touch");
                last_end = Some(start + len);
                from_runs.extend(start..start + len);
            });
            assert_eq!(from_runs, expected, "{bools:?}");
        }
    }

    #[test]
    fn bits_are_set_at_every_alignment() {
        for start in 0..20 {
            for len in 0..40 {
                let mut bits = vec![0u8; 8];
                set_bits(&mut bits, start, len);
                for bit in 0..64 {
                    let expected = (start..start + len).contains(&bit);
                    assert_eq!(
                        bit_util::get_bit(&bits, bit),
                        expected,
                        "{start} {len} {bit}"
                    );
                }
            }
        }
    }
}
