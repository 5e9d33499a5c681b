//! Decoders that panic on damage they did not expect.
//!
//! The Parquet and Arrow decoders return errors for most damaged files and panic on some. Here a
//! panic becomes an error like the others: an input must never take the process with it, nor end
//! early without a word.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{IngestError, Place};

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a decoder whose panics become errors. A program's panic hook may
/// ask, to stay silent about them.
pub fn is_decoding() -> bool {
    DECODING.get()
}

/// Runs a step of a decoder; a panic becomes [`IngestError::Corrupt`].
pub(crate) fn guarded<T>(
    place: &Place,
    format: &'static str,
    step: impl FnOnce() -> Result<T, IngestError>,
) -> Result<T, IngestError> {
    let outer = DECODING.replace(true);
    // What the step leaves behind is never looked at again: its owner ends with the error.
    let result = catch_unwind(AssertUnwindSafe(step));
    DECODING.set(outer);
    result.unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|message| (*message).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no reason given".to_owned());
        Err(IngestError::corrupt(
            place,
            format,
            format!("the decoder gave up: {message}"),
        ))
    })
}
