//! Room for a large block, asked for before it is taken: Arrow's buffers end the process where there
//! is none.

use crate::error::{IngestError, Place};

/// Whether there is memory for so many bytes of a record batch, in one piece.
///
/// # Errors
/// [`IngestError::OutOfMemory`].
pub(crate) fn check_room(place: &Place, bytes: usize) -> Result<(), IngestError> {
    let mut room = Vec::<u8>::new();
    room.try_reserve_exact(bytes)
        .map_err(|_| IngestError::OutOfMemory {
            place: place.clone(),
            bytes,
            what: "a record batch",
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_memory_can_hold_is_an_error() {
        assert!(check_room(&Place::Stdin, 1 << 20).is_ok());
        let error = check_room(&Place::Stdin, usize::MAX).unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("standard input: no memory"),
            "{message}"
        );
    }
}
