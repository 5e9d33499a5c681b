//! Compaction of values of variable length: strings and binaries with offsets.

use std::fmt;

use crate::{BitsRef, mask};

/// An offset of a variable-length column: `i32`, or `i64` for the large types.
pub trait Offset: Copy + fmt::Debug + private::Sealed {
    /// As a position, or `None` where it is negative.
    fn position(self) -> Option<usize>;

    /// From a position, or `None` where it does not fit.
    fn from_position(position: usize) -> Option<Self>;
}

mod private {
    pub trait Sealed {}
    impl Sealed for i32 {}
    impl Sealed for i64 {}
}

impl Offset for i32 {
    #[inline(always)]
    fn position(self) -> Option<usize> {
        usize::try_from(self).ok()
    }

    #[inline(always)]
    fn from_position(position: usize) -> Option<Self> {
        i32::try_from(position).ok()
    }
}

impl Offset for i64 {
    #[inline(always)]
    fn position(self) -> Option<usize> {
        usize::try_from(self).ok()
    }

    #[inline(always)]
    fn from_position(position: usize) -> Option<Self> {
        i64::try_from(position).ok()
    }
}

/// Offsets that descend, are negative, or point beyond the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the offsets of row {row} descend or point outside the data: the array is malformed")]
pub struct BadOffsets {
    /// The first row of the run of kept rows in which the offsets are wrong.
    pub row: usize,
}

/// Bytes of data that [`bytes`] writes: those of the rows kept.
///
/// `offsets` has one entry more than there are rows, and `data` is what they point into.
///
/// # Errors
/// Where the offsets of a row kept are malformed.
///
/// # Panics
/// Where there are no `rows + 1` offsets, or the mask holds fewer than `rows` bits.
pub fn bytes_len<O: Offset>(
    offsets: &[O],
    data_len: usize,
    keep: BitsRef<'_>,
    rows: usize,
) -> Result<usize, BadOffsets> {
    let mut length = 0usize;
    for run in mask::runs(keep, rows) {
        let (start, end) = run_bounds(offsets, data_len, run.start, run.end)?;
        // Overlapping rows can repeat bytes without end; the sum then exceeds any data there is.
        length = length
            .checked_add(end - start)
            .ok_or(BadOffsets { row: run.start })?;
    }
    Ok(length)
}

/// Writes the offsets and the data of those of the first `rows` rows that the mask keeps; the
/// first offset written is zero, and there is one more than rows kept. Returns the rows kept. A
/// run of rows kept is copied in one piece.
///
/// ```
/// use unlade_eval::{BitsRef, compact};
///
/// let (offsets, data) = ([0i32, 3, 3, 8], b"fooworld");
/// let keep = BitsRef { bytes: &[0b101], offset: 0 };
/// let length = compact::bytes_len(&offsets, data.len(), keep, 3)?;
/// let (mut out_offsets, mut out_data) = ([0; 3], vec![0; length]);
/// let kept = compact::bytes(&offsets, data, keep, 3, &mut out_offsets, &mut out_data)?;
/// assert_eq!((kept, out_offsets, &out_data[..]), (2, [0, 3, 8], &b"fooworld"[..]));
/// # Ok::<(), compact::BadOffsets>(())
/// ```
///
/// # Errors
/// Where the offsets of a row kept are malformed, or those written do not fit their type.
///
/// # Panics
/// Where there are no `rows + 1` offsets, the mask holds fewer than `rows` bits, or the room for
/// offsets or data does not suffice: [`bytes_len`] says how much data there is.
pub fn bytes<O: Offset>(
    offsets: &[O],
    data: &[u8],
    keep: BitsRef<'_>,
    rows: usize,
    out_offsets: &mut [O],
    out_data: &mut [u8],
) -> Result<usize, BadOffsets> {
    let mut kept = 0;
    let mut length = 0;
    out_offsets[0] = O::from_position(0).ok_or(BadOffsets { row: 0 })?;
    for run in mask::runs(keep, rows) {
        let malformed = BadOffsets { row: run.start };
        let (start, end) = run_bounds(offsets, data.len(), run.start, run.end)?;
        let ends = &offsets[run.start + 1..][..run.len()];
        let mut previous = start;
        for (to, from) in out_offsets[kept + 1..][..run.len()].iter_mut().zip(ends) {
            let position = from.position().ok_or(malformed)?;
            if position < previous {
                return Err(malformed);
            }
            previous = position;
            *to = O::from_position(length + (position - start)).ok_or(malformed)?;
        }
        copy(&mut out_data[length..][..end - start], &data[start..end]);
        length += end - start;
        kept += run.len();
    }
    Ok(kept)
}

/// Where the data of rows `first..end` lies.
#[inline(always)]
fn run_bounds<O: Offset>(
    offsets: &[O],
    data_len: usize,
    first: usize,
    end: usize,
) -> Result<(usize, usize), BadOffsets> {
    let malformed = BadOffsets { row: first };
    let start = offsets[first].position().ok_or(malformed)?;
    let end = offsets[end].position().ok_or(malformed)?;
    if start <= end && end <= data_len {
        Ok((start, end))
    } else {
        Err(malformed)
    }
}

/// Copies between slices of one length; short ones, as single strings are, without a call.
#[inline(always)]
fn copy(to: &mut [u8], from: &[u8]) {
    match (to.len(), from.len()) {
        (8..=16, 8..=16) => {
            let (last_to, last_from) = (to.len() - 8, from.len() - 8);
            let head: [u8; 8] = from[..8].try_into().expect("cut to size");
            let tail: [u8; 8] = from[last_from..].try_into().expect("cut to size");
            to[..8].copy_from_slice(&head);
            to[last_to..].copy_from_slice(&tail);
        }
        _ => to.copy_from_slice(from),
    }
}
