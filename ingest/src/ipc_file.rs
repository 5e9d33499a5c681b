//! Arrow IPC files: the directory at their end, and the batches by their places in it.
//!
//! The directory and the dictionaries are read once, however many batches there are. Of a mapped
//! file, uncompressed buffers are used in place.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block, MetadataVersion, root_as_footer, root_as_message};
use arrow_schema::SchemaRef;

use crate::error::{IngestError, Place};
use crate::ipc_lengths;
use crate::mapped::MappedInput;
use crate::room::check_room;

const FORMAT: &str = "Arrow IPC file";
/// The footer's length and the closing magic.
const TRAILER_BYTES: u64 = 10;

/// An opened Arrow IPC file.
#[derive(Debug)]
pub(crate) struct IpcFile {
    place: Place,
    bytes: IpcBytes,
    schema: SchemaRef,
    dictionaries: Vec<Block>,
    batches: Vec<Block>,
}

/// What decodes the batches of one choice of columns, with the file's dictionaries.
pub(crate) type IpcDecoder = Arc<FileDecoder>;

#[derive(Debug)]
enum IpcBytes {
    Read(File),
    Mapped(MappedInput, Buffer),
}

impl IpcFile {
    /// Opens a file to be mapped.
    pub(crate) fn map(path: &Path) -> Result<Self, IngestError> {
        let input = MappedInput::open(path)?;
        let content = input.buffer();
        let place = Place::File(path.to_owned());
        Self::from_bytes(place, IpcBytes::Mapped(input, content))
    }

    /// Opens a file to be read. Its position does not matter.
    pub(crate) fn read(place: Place, file: File) -> Result<Self, IngestError> {
        Self::from_bytes(place, IpcBytes::Read(file))
    }

    fn from_bytes(place: Place, bytes: IpcBytes) -> Result<Self, IngestError> {
        let corrupt = |message: &str| IngestError::corrupt(&place, FORMAT, message);
        let length = bytes
            .length()
            .map_err(|e| IngestError::io(&place, "read", e))?;
        let trailer_at = length
            .checked_sub(TRAILER_BYTES)
            .ok_or_else(|| corrupt("shorter than a footer"))?;
        let trailer = bytes.section(&place, trailer_at, TRAILER_BYTES)?;
        let trailer = trailer.as_slice().try_into().expect("ten bytes");
        let footer_length =
            read_footer_length(trailer).map_err(|e| IngestError::corrupt(&place, FORMAT, e))?;
        let footer_at = trailer_at
            .checked_sub(footer_length as u64)
            .ok_or_else(|| corrupt("its footer is longer than the file"))?;
        let footer = bytes.section(&place, footer_at, footer_length as u64)?;
        let footer = root_as_footer(&footer)
            .map_err(|e| IngestError::corrupt(&place, FORMAT, format!("footer: {e:?}")))?;
        let schema = footer
            .schema()
            .ok_or_else(|| corrupt("its footer has no schema"))?;
        if !schema.endianness().equals_to_target_endianness() {
            return Err(corrupt("its numbers are in another byte order"));
        }
        Ok(IpcFile {
            schema: Arc::new(arrow_ipc::convert::fb_to_schema(schema)),
            dictionaries: footer.dictionaries().iter().flatten().copied().collect(),
            batches: footer.recordBatches().iter().flatten().copied().collect(),
            place,
            bytes,
        })
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    pub(crate) fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Bytes that reading a batch takes, besides what it is decompressed to; none of a mapped file.
    pub(crate) fn bytes_read(&self, index: usize) -> u64 {
        match &self.bytes {
            IpcBytes::Read(_) => u64::try_from(self.batches[index].bodyLength()).unwrap_or(0),
            IpcBytes::Mapped(..) => 0,
        }
    }

    /// The file, if it is mapped.
    pub(crate) fn mapped(&self) -> Option<&MappedInput> {
        match &self.bytes {
            IpcBytes::Mapped(input, _) => Some(input),
            IpcBytes::Read(_) => None,
        }
    }

    /// Reads the dictionaries.
    pub(crate) fn decoder(&self, columns: &[usize]) -> Result<IpcDecoder, IngestError> {
        // What each message says of its version counts: pyarrow, asked for version 4, puts a footer
        // of version 5 behind them. Version 1 stands for a footer that says nothing.
        let mut decoder =
            FileDecoder::new(self.schema(), MetadataVersion::V1).with_projection(columns.to_vec());
        for block in &self.dictionaries {
            let block_bytes = self.block(block)?;
            decoder
                .read_dictionary(block, &block_bytes)
                .map_err(|e| IngestError::corrupt(&self.place, FORMAT, e))?;
        }
        Ok(Arc::new(decoder))
    }

    /// One batch, of the decoder's columns; none where the file has an empty message.
    pub(crate) fn batch(
        &self,
        decoder: &IpcDecoder,
        index: usize,
    ) -> Result<Option<RecordBatch>, IngestError> {
        let block = &self.batches[index];
        let block_bytes = self.block(block)?;
        decoder
            .read_record_batch(block, &block_bytes)
            .map_err(|e| IngestError::corrupt(&self.place, FORMAT, e))
    }

    fn block(&self, block: &Block) -> Result<Buffer, IngestError> {
        let length = |length: i64| u64::try_from(length).ok();
        let section = length(block.offset())
            .zip(length(block.metaDataLength().into()))
            .zip(length(block.bodyLength()))
            .and_then(|((start, metadata), body)| Some((start, metadata.checked_add(body)?)));
        let Some((start, length)) = section else {
            let message = "a block has no possible place";
            return Err(IngestError::corrupt(&self.place, FORMAT, message));
        };
        let section = self.bytes.section(&self.place, start, length)?;
        check_lengths(block, &section).map_err(|e| IngestError::corrupt(&self.place, FORMAT, e))?;
        Ok(section)
    }
}

impl IpcBytes {
    fn length(&self) -> std::io::Result<u64> {
        match self {
            IpcBytes::Read(file) => Ok(file.metadata()?.len()),
            IpcBytes::Mapped(_, content) => Ok(content.len() as u64),
        }
    }

    /// Part of the file, if it lies inside.
    fn section(&self, place: &Place, start: u64, length: u64) -> Result<Buffer, IngestError> {
        let failed = |e| IngestError::io(place, "read", e);
        if let IpcBytes::Mapped(input, _) = self {
            input.check()?;
        }
        let whole = self.length().map_err(failed)?;
        if start.checked_add(length).is_none_or(|end| end > whole) {
            let message = format!("{length} bytes at {start} lie outside its {whole} bytes");
            return Err(IngestError::corrupt(place, FORMAT, message));
        }
        let bytes = usize::try_from(length).expect("a part of a file fits the address space");
        match self {
            IpcBytes::Read(file) => {
                check_room(place, bytes)?;
                let mut section = MutableBuffer::from_len_zeroed(bytes);
                file.read_exact_at(&mut section, start).map_err(failed)?;
                Ok(section.into())
            }
            IpcBytes::Mapped(_, content) => {
                let start = usize::try_from(start).expect("a mapped file fits the address space");
                Ok(content.slice_with_length(start, bytes))
            }
        }
    }
}

fn check_lengths(block: &Block, section: &[u8]) -> Result<(), String> {
    let metadata = usize::try_from(block.metaDataLength()).ok();
    let parts = metadata.and_then(|metadata| section.split_at_checked(metadata));
    let (metadata, body) = parts.ok_or("a block without metadata")?;
    // The metadata's length stands before it, since 2019 behind a mark of four bytes.
    let (mark, lengthless) = metadata
        .split_at_checked(4)
        .ok_or("a block without a message")?;
    let metadata = match mark {
        [0xff, 0xff, 0xff, 0xff] => lengthless.get(4..).ok_or("a block without a message")?,
        _ => lengthless,
    };
    let message = root_as_message(metadata).map_err(|e| format!("message: {e:?}"))?;
    ipc_lengths::check(&message, body)
}
