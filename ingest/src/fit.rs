//! Batches that fit: how many rows one has, so that it takes no more bytes than it may.
//!
//! What rows take is known before they are decoded only as far as the file says it, and a mean over
//! many rows at that. So the number of rows is a guess that what is decoded corrects, and where a
//! guess was more than Arrow's 32-bit offsets can address, the same rows are decoded again, fewer at
//! a time: no file is refused for it.

mod row_bytes;

use arrow_array::RecordBatch;

use self::row_bytes::fitting_rows;
pub(crate) use self::row_bytes::row_bytes;
use crate::error::{IngestError, Place};
use crate::guard::guarded;

/// Rows of a first batch whose size nothing tells.
const FIRST_ROWS: usize = 64;
/// How many times larger than wanted a batch may be before those after it are made smaller, and how
/// many times smaller before they are made larger: to begin anew costs about a page.
const TOLERANCE: usize = 2;
const TOO_SMALL: usize = 4;
/// Batches after which rows have shown what they take.
const SETTLED: usize = 16;

/// How large a batch may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// Most rows.
    pub(crate) rows: usize,
    /// Most bytes, unless one row has more.
    pub(crate) bytes: u64,
}

impl BatchLimits {
    /// The rows of each batch that this one is sliced into: all of its rows, where it is not too
    /// large.
    pub(crate) fn rows_sliced(&self, batch: &RecordBatch) -> usize {
        let fitting = fitting_rows(batch, self.bytes);
        if batch.num_rows() <= fitting.saturating_mul(TOLERANCE) {
            return self.rows;
        }
        fitting.min(self.rows)
    }

    /// The rows of so many bytes each that a batch may have.
    fn rows_of(&self, row_bytes: u64) -> usize {
        let fitting = self.bytes / row_bytes.max(1);
        usize::try_from(fitting)
            .unwrap_or(usize::MAX)
            .clamp(1, self.rows)
    }
}

/// The batches of rows that can be decoded from anywhere on, cut to fit.
pub(crate) struct Fitted<O, B> {
    place: Place,
    format: &'static str,
    /// Decodes from a row on, so many rows a batch.
    open: O,
    open_batches: Option<B>,
    limits: BatchLimits,
    /// Rows of a batch, for now.
    rows: usize,
    /// Rows delivered.
    done: usize,
    /// Batches delivered since the decoder began.
    delivered: usize,
    /// Whether nothing has told yet what rows take.
    guessed: bool,
}

impl<O, B> Fitted<O, B>
where
    O: FnMut(usize, usize) -> Result<B, IngestError>,
    B: Iterator<Item = Result<RecordBatch, IngestError>>,
{
    /// `row_bytes` is what a row is expected to take, where something tells.
    pub(crate) fn new(
        place: Place,
        format: &'static str,
        limits: BatchLimits,
        row_bytes: Option<u64>,
        open: O,
    ) -> Self {
        let rows = match row_bytes {
            Some(bytes) => limits.rows_of(bytes),
            None => FIRST_ROWS.min(limits.rows),
        };
        Fitted {
            place,
            format,
            open,
            open_batches: None,
            limits,
            rows,
            done: 0,
            delivered: 0,
            guessed: row_bytes.is_none(),
        }
    }

    fn decoded(&mut self) -> Option<Result<RecordBatch, IngestError>> {
        let Fitted {
            open, open_batches, ..
        } = self;
        let (done, rows) = (self.done, self.rows);
        guarded(&self.place, self.format, || {
            let batches = match open_batches {
                Some(batches) => batches,
                None => open_batches.insert(open(done, rows)?),
            };
            batches.next().transpose()
        })
        .transpose()
    }

    /// Other batches from here on, if those so far were too large or too small.
    fn refit(&mut self, batch: &RecordBatch) {
        if batch.num_rows() == 0 {
            return; // which tells nothing
        }
        self.done += batch.num_rows();
        self.delivered += 1;
        let fitting = fitting_rows(batch, self.limits.bytes).min(self.limits.rows);
        let too_large = fitting < self.rows.div_ceil(TOLERANCE);
        let is_settled = self.guessed || self.delivered >= SETTLED;
        let too_small = is_settled && fitting / TOO_SMALL >= self.rows;
        self.guessed = false;
        if too_large || too_small {
            self.restart(fitting);
        }
    }

    fn restart(&mut self, rows: usize) {
        self.rows = rows.max(1);
        self.delivered = 0;
        self.open_batches = None;
    }
}

impl<O, B> Iterator for Fitted<O, B>
where
    O: FnMut(usize, usize) -> Result<B, IngestError>,
    B: Iterator<Item = Result<RecordBatch, IngestError>>,
{
    type Item = Result<RecordBatch, IngestError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.decoded()? {
                Ok(batch) => {
                    self.refit(&batch);
                    return Some(Ok(batch));
                }
                Err(error) if self.rows > 1 && is_overflow(&error) => self.restart(self.rows / 2),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Whether a batch was larger than its offsets can address. The decoder says so in words only.
fn is_overflow(error: &IngestError) -> bool {
    matches!(error, IngestError::Corrupt { message, .. } if message.contains("overflow"))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use arrow_array::{Array, StringArray};

    use super::*;

    /// The sizes of the batches of these texts, and how often decoding began anew. A batch of more
    /// than `reach` bytes overflows; `panics` says how.
    fn cut(
        texts: &[usize],
        limits: BatchLimits,
        row_bytes: Option<u64>,
        reach: usize,
        panics: bool,
    ) -> (Vec<usize>, usize) {
        let place = Place::Stdin;
        let begun = RefCell::new(0);
        let open = |from: usize, rows: usize| {
            *begun.borrow_mut() += 1;
            let chunks: Vec<&[usize]> = texts[from..].chunks(rows).collect();
            let place = &place;
            Ok(chunks.into_iter().map(move |chunk| {
                if chunk.iter().sum::<usize>() > reach {
                    assert!(!panics, "index overflow decoding byte array");
                    let message = "index overflow decoding byte array";
                    return Err(IngestError::corrupt(place, "test", message));
                }
                let texts = chunk.iter().map(|length| "x".repeat(*length));
                let texts = Arc::new(StringArray::from_iter_values(texts));
                Ok(RecordBatch::try_from_iter([("text", texts as _)]).unwrap())
            }))
        };
        let fitted = Fitted::new(place.clone(), "test", limits, row_bytes, open);
        let batches: Vec<RecordBatch> = fitted.collect::<Result<_, _>>().unwrap();
        let lengths: Vec<usize> = batches
            .iter()
            .flat_map(|batch| {
                let texts = batch.column(0).as_any().downcast_ref::<StringArray>();
                let texts = texts.unwrap().clone();
                (0..texts.len()).map(move |row| texts.value(row).len())
            })
            .collect();
        assert_eq!(lengths, texts, "every row once, in order");
        let sizes = batches.iter().map(RecordBatch::num_rows).collect();
        (sizes, begun.into_inner())
    }

    const LIMITS: BatchLimits = BatchLimits {
        rows: 1000,
        bytes: 10_000,
    };

    #[test]
    fn what_the_file_says_is_kept_to() {
        let (sizes, begun) = cut(&[96; 1000], LIMITS, Some(100), usize::MAX, false);
        assert_eq!((sizes.len(), sizes[0], begun), (10, 100, 1));
        let (sizes, _) = cut(&[20_000; 3], LIMITS, Some(20_000), usize::MAX, false);
        assert_eq!(sizes, [1, 1, 1], "a row is never cut");
        let (sizes, _) = cut(&[1; 3000], LIMITS, Some(5), usize::MAX, false);
        assert_eq!(sizes, [1000, 1000, 1000]);
    }

    #[test]
    fn a_wrong_word_is_corrected_by_what_is_decoded() {
        let (sizes, begun) = cut(&[996; 1000], LIMITS, Some(100), usize::MAX, false);
        assert_eq!((sizes[0], sizes[1], begun), (100, 9, 2));
        let (sizes, begun) = cut(&[6; 2000], LIMITS, Some(1000), usize::MAX, false);
        assert_eq!((sizes[SETTLED - 1], sizes[SETTLED], begun), (10, 961, 2));
        let (sizes, _) = cut(&[96; 1000], LIMITS, None, usize::MAX, false);
        assert_eq!(sizes[..3], [64, 64, 64], "the guess was near enough");
        let (sizes, begun) = cut(&[6; 2000], LIMITS, None, usize::MAX, false);
        assert_eq!((sizes[0], sizes[1], begun), (64, 993, 2));
    }

    #[test]
    fn rows_that_overflow_are_decoded_again_fewer_at_a_time() {
        let limits = BatchLimits {
            rows: 1000,
            bytes: 1 << 40,
        };
        for panics in [false, true] {
            let (sizes, begun) = cut(&[100; 500], limits, Some(100), 13_000, panics);
            assert_eq!((sizes[0], begun), (125, 4), "1000, 500, 250 and 125 rows");
        }
    }

    #[test]
    fn an_overflow_of_one_row_is_an_error() {
        let open = |_: usize, _: usize| {
            let error = IngestError::corrupt(&Place::Stdin, "test", "an overflow of one");
            Ok(std::iter::once(Err(error)))
        };
        let mut fitted = Fitted::new(Place::Stdin, "test", LIMITS, None, open);
        let error = fitted.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("an overflow of one"), "{error}");
    }
}
