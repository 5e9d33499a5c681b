//! Arrow IPC streams: messages one after the other, from anything that can be read.
//!
//! A message says how long it is before it comes. Memory is taken as bytes arrive, so that a
//! damaged length ends in an error and not in the end of the process.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::reader::{RecordBatchDecoder, read_dictionary};
use arrow_ipc::{Message, MessageHeader, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};

use crate::error::{IngestError, Place};
use crate::ipc_lengths;
use crate::room::check_room;

const FORMAT: &str = "Arrow IPC stream";
/// Stands before a message's length in streams written since 2019.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Most bytes that are made room for before any of a part's bytes have come.
const FIRST_BYTES: usize = 16 << 20;

/// A stream whose schema has been read.
pub(crate) struct IpcStream {
    place: Place,
    reader: Box<dyn Read + Send>,
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl IpcStream {
    /// Reads up to and including the schema.
    pub(crate) fn open(
        place: Place,
        mut reader: Box<dyn Read + Send>,
    ) -> Result<Self, IngestError> {
        let corrupt = |message: &str| IngestError::corrupt(&place, FORMAT, message);
        let metadata = metadata(&mut reader, &place)?.ok_or_else(|| corrupt("it has no schema"))?;
        let message = message(&metadata, &place)?;
        let schema = message
            .header_as_schema()
            .ok_or_else(|| corrupt("it does not begin with a schema"))?;
        if !schema.endianness().equals_to_target_endianness() {
            return Err(corrupt("its numbers are in another byte order"));
        }
        body(&mut reader, &message, &place)?;
        Ok(IpcStream {
            schema: Arc::new(arrow_ipc::convert::fb_to_schema(schema)),
            dictionaries: HashMap::new(),
            reader,
            place,
        })
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next batch, of these columns.
    pub(crate) fn next(&mut self, columns: &[usize]) -> Result<Option<RecordBatch>, IngestError> {
        while let Some(metadata) = metadata(&mut self.reader, &self.place)? {
            let message = message(&metadata, &self.place)?;
            let body = body(&mut self.reader, &message, &self.place)?;
            ipc_lengths::check(&message, &body)
                .map_err(|e| IngestError::corrupt(&self.place, FORMAT, e))?;
            let batch = self
                .decode(&message, &body, columns)
                .map_err(|e| IngestError::corrupt(&self.place, FORMAT, e))?;
            if batch.is_some() {
                return Ok(batch);
            }
        }
        Ok(None)
    }

    /// A batch comes back; a dictionary is kept for the batches to come.
    fn decode(
        &mut self,
        message: &Message<'_>,
        body: &Buffer,
        columns: &[usize],
    ) -> Result<Option<RecordBatch>, ArrowError> {
        let version = message.version();
        if let Some(batch) = message.header_as_record_batch() {
            let schema = Arc::clone(&self.schema);
            RecordBatchDecoder::try_new(body, batch, schema, &self.dictionaries, &version)?
                .with_projection(Some(columns))
                .read_record_batch()
                .map(Some)
        } else if let Some(batch) = message.header_as_dictionary_batch() {
            let dictionaries = &mut self.dictionaries;
            read_dictionary(body, batch, &self.schema, dictionaries, &version)?;
            Ok(None)
        } else if message.header_type() == MessageHeader::NONE {
            Ok(None)
        } else {
            let message = format!("a message of kind {:?}", message.header_type());
            Err(ArrowError::IpcError(message))
        }
    }
}

/// The metadata of the next message; none at the end of the stream.
fn metadata(reader: &mut impl Read, place: &Place) -> Result<Option<Buffer>, IngestError> {
    let mut length = Vec::with_capacity(4);
    reader
        .take(4)
        .read_to_end(&mut length)
        .map_err(|e| failed(place, e))?;
    // A stream may end without its closing mark, but only between messages.
    if length.is_empty() {
        return Ok(None);
    }
    if length == CONTINUATION {
        reader
            .read_exact(&mut length)
            .map_err(|e| failed(place, e))?;
    }
    let length = <[u8; 4]>::try_from(length)
        .map_err(|_| failed(place, ErrorKind::UnexpectedEof.into()))
        .map(i32::from_le_bytes)?;
    match length {
        0 => Ok(None),
        _ => read_part(reader, length.into(), place).map(Some),
    }
}

fn message<'a>(metadata: &'a [u8], place: &Place) -> Result<Message<'a>, IngestError> {
    root_as_message(metadata)
        .map_err(|e| IngestError::corrupt(place, FORMAT, format!("message: {e:?}")))
}

fn body(
    reader: &mut impl Read,
    message: &Message<'_>,
    place: &Place,
) -> Result<Buffer, IngestError> {
    read_part(reader, message.bodyLength(), place)
}

fn read_part(reader: &mut impl Read, length: i64, place: &Place) -> Result<Buffer, IngestError> {
    let length = usize::try_from(length)
        .map_err(|_| IngestError::corrupt(place, FORMAT, format!("a length of {length} bytes")))?;
    let mut bytes = MutableBuffer::from_len_zeroed(length.min(FIRST_BYTES));
    let mut filled = 0;
    loop {
        reader
            .read_exact(&mut bytes[filled..])
            .map_err(|e| failed(place, e))?;
        filled = bytes.len();
        if filled == length {
            return Ok(bytes.into());
        }
        check_room(place, filled + filled.min(length - filled))?;
        bytes.resize(filled + filled.min(length - filled), 0);
    }
}

fn failed(place: &Place, error: std::io::Error) -> IngestError {
    if error.kind() == ErrorKind::UnexpectedEof {
        return IngestError::corrupt(place, FORMAT, "it ends inside a message");
    }
    IngestError::io(place, "read", error)
}
