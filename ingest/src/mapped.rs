//! Mapped inputs: files used in place.
//!
//! Opt-in, since a mapped file is trusted: if it shrinks while it is read, touching what is gone
//! ends the process with SIGBUS. It is checked before each unit, which turns all but the
//! unluckiest of such cases into an error; a program that has called
//! `MappedFile::survive_missing_pages` lives through those, and the next check tells.

use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block, root_as_footer};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use unlade_hal::{FileChanged, MappedFile};

use crate::error::{IngestError, Place};

const FORMAT: &str = "Arrow IPC file";
/// The closing magic and the footer's length.
const TRAILER_BYTES: usize = 10;

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

/// A mapped Arrow IPC file: uncompressed buffers are used in place.
#[derive(Debug)]
pub(crate) struct MappedIpc {
    input: MappedInput,
    schema: SchemaRef,
    content: Buffer,
    decoder: FileDecoder,
    batches: Vec<Block>,
}

impl MappedIpc {
    pub(crate) fn open(path: &Path) -> Result<Self, IngestError> {
        let input = MappedInput::open(path)?;
        let place = &input.place;
        let content = input.file.buffer();
        let corrupt = |message: &str| IngestError::corrupt(place, FORMAT, message);

        let trailer_at = content
            .len()
            .checked_sub(TRAILER_BYTES)
            .ok_or_else(|| corrupt("shorter than a footer"))?;
        let trailer = content[trailer_at..].try_into().expect("ten bytes");
        let footer_length =
            read_footer_length(trailer).map_err(|e| IngestError::corrupt(place, FORMAT, e))?;
        let footer_at = trailer_at
            .checked_sub(footer_length)
            .ok_or_else(|| corrupt("its footer is longer than the file"))?;
        let footer = root_as_footer(&content[footer_at..trailer_at])
            .map_err(|e| IngestError::corrupt(place, FORMAT, format!("footer: {e:?}")))?;
        let schema = footer
            .schema()
            .ok_or_else(|| corrupt("its footer has no schema"))?;
        let schema: SchemaRef = Arc::new(arrow_ipc::convert::fb_to_schema(schema));

        let mut decoder = FileDecoder::new(Arc::clone(&schema), footer.version());
        for block in footer.dictionaries().iter().flatten() {
            let section =
                section(&content, block).ok_or_else(|| corrupt("a dictionary lies outside"))?;
            decoder
                .read_dictionary(block, &section)
                .map_err(|e| IngestError::corrupt(place, FORMAT, e))?;
        }
        let batches = footer.recordBatches().iter().flatten().copied().collect();
        Ok(MappedIpc {
            input,
            schema,
            content,
            decoder,
            batches,
        })
    }

    pub(crate) fn input(&self) -> &MappedInput {
        &self.input
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    pub(crate) fn batches(&self) -> usize {
        self.batches.len()
    }

    pub(crate) fn batch(
        &self,
        index: usize,
        columns: &[usize],
    ) -> Result<RecordBatch, IngestError> {
        self.input.check()?;
        let place = &self.input.place;
        let block = &self.batches[index];
        let section = section(&self.content, block)
            .ok_or_else(|| IngestError::corrupt(place, FORMAT, "a batch lies outside the file"))?;
        self.decoder
            .read_record_batch(block, &section)
            .and_then(|batch| match batch {
                Some(batch) => batch.project(columns),
                None => Ok(RecordBatch::new_empty(Arc::new(
                    self.schema.project(columns)?,
                ))),
            })
            .map_err(|e| IngestError::corrupt(place, FORMAT, e))
    }
}

/// The bytes of a block, if they lie inside the file.
fn section(content: &Buffer, block: &Block) -> Option<Buffer> {
    let start = usize::try_from(block.offset()).ok()?;
    let body = usize::try_from(block.bodyLength()).ok()?;
    let length = usize::try_from(block.metaDataLength())
        .ok()?
        .checked_add(body)?;
    let end = start.checked_add(length)?;
    (end <= content.len()).then(|| content.slice_with_length(start, length))
}
