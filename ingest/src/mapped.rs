//! Mapped inputs: files used in place.
//!
//! Opt-in, since a mapped file is trusted: if it shrinks while it is read, touching what is gone
//! ends the process with SIGBUS. It is checked before each unit, which turns all but the
//! unluckiest of such cases into an error; a program that has called
//! `MappedFile::survive_missing_pages` lives through those, and the next check tells.

use std::path::Path;

use arrow_buffer::Buffer;
use bytes::Bytes;
use unlade_hal::{FileChanged, MappedFile};

use crate::error::{IngestError, Place};

/// A mapped file.
#[derive(Clone, Debug)]
pub(crate) struct MappedInput {
    place: Place,
    file: MappedFile,
}

impl MappedInput {
    pub(crate) fn open(path: &Path) -> Result<Self, IngestError> {
        let place = Place::File(path.to_owned());
        let file = MappedFile::open(path).map_err(|e| IngestError::io(&place, "map", e))?;
        Ok(MappedInput { place, file })
    }

    /// The content, in place.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::from_owner(self.file.clone())
    }

    /// The content, in place.
    pub(crate) fn buffer(&self) -> Buffer {
        self.file.buffer()
    }

    /// An error where the file is no longer what was mapped.
    pub(crate) fn check(&self) -> Result<(), IngestError> {
        let place = self.place.clone();
        self.file.check().map_err(|changed| match changed {
            FileChanged::Shrank { mapped, now, .. } => IngestError::Shrank { place, mapped, now },
            _ => IngestError::Torn { place },
        })
    }
}

/// The mapped files of a scan, to be checked once what was read of them has been used: a batch of a
/// mapped file is touched long after it was read.
///
/// A program that maps files calls [`survive_missing_pages`](MappedFiles::survive_missing_pages)
/// first, and [`check`](MappedFiles::check) before it believes its result.
#[derive(Clone, Debug, Default)]
pub struct MappedFiles {
    files: Vec<MappedInput>,
}

impl MappedFiles {
    pub(crate) fn new(files: impl Iterator<Item = MappedInput>) -> Self {
        MappedFiles {
            files: files.collect(),
        }
    }

    /// Whether every file is still what was mapped.
    ///
    /// # Errors
    /// [`IngestError::Shrank`] or [`IngestError::Torn`] for the first that is not.
    pub fn check(&self) -> Result<(), IngestError> {
        self.files.iter().try_for_each(MappedInput::check)
    }

    /// Makes this process live through the touch of a page of a mapped file that is gone; see
    /// [`MappedFile::survive_missing_pages`]. For programs, not for libraries.
    ///
    /// # Errors
    /// As the system says.
    pub fn survive_missing_pages() -> std::io::Result<()> {
        MappedFile::survive_missing_pages()
    }
}
