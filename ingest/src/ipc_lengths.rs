//! What a message claims about the lengths of its compressed buffers, before memory is taken.
//!
//! The decoders make room for what is claimed, and a claim that no memory could hold would end the
//! process. So a claim beyond what the codec can reach is an error.

use arrow_ipc::{CompressionType, Message, RecordBatch};

/// Bytes that one compressed byte can stand for, at most: an LZ4 match is lengthened by 255 with
/// each byte of its length; a Zstandard block of 128 KiB takes at least a header of 3 bytes and 1.
const LZ4_RATIO: i64 = 255;
const ZSTD_RATIO: i64 = (128 << 10) / 4;
/// Stands before each compressed buffer.
const LENGTH_BYTES: usize = 8;

/// Whether the buffers can be as long as they claim.
///
/// # Errors
/// What is claimed of how many bytes.
pub(crate) fn check(message: &Message<'_>, body: &[u8]) -> Result<(), String> {
    let dictionary = || message.header_as_dictionary_batch()?.data();
    match message.header_as_record_batch().or_else(dictionary) {
        Some(batch) => check_batch(&batch, body),
        None => Ok(()),
    }
}

fn check_batch(batch: &RecordBatch<'_>, body: &[u8]) -> Result<(), String> {
    let Some(compression) = batch.compression() else {
        return Ok(());
    };
    let ratio = match compression.codec() {
        CompressionType::LZ4_FRAME => LZ4_RATIO,
        _ => ZSTD_RATIO,
    };
    for buffer in batch.buffers().iter().flatten() {
        let place = usize::try_from(buffer.offset())
            .ok()
            .zip(usize::try_from(buffer.length()).ok());
        let bytes = place.and_then(|(start, length)| body.get(start..)?.get(..length));
        let Some(bytes) = bytes else {
            let (start, length) = (buffer.offset(), buffer.length());
            return Err(format!(
                "a buffer of {length} bytes at {start} lies outside"
            ));
        };
        // Shorter ones are empty, and -1 says that a buffer is not compressed.
        if let Some((claimed, compressed)) = bytes.split_first_chunk::<LENGTH_BYTES>() {
            let claimed = i64::from_le_bytes(*claimed);
            let reach = i64::try_from(compressed.len()).unwrap_or(i64::MAX);
            if claimed > reach.saturating_mul(ratio) {
                return Err(format!(
                    "{} compressed bytes cannot be {claimed}",
                    compressed.len()
                ));
            }
        }
    }
    Ok(())
}
