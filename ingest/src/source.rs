//! One opened input: what it holds, and the units that can be decoded independently.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use crate::error::{IngestError, Place};
use crate::fit::BatchLimits;
use crate::format::Format;
use crate::guard::guarded;
use crate::ipc_file::{IpcDecoder, IpcFile};
use crate::ipc_stream::IpcStream;
use crate::mapped::MappedInput;
use crate::parallel::Location;
use crate::prune::Pruning;
use crate::row_group::{Pages, RowGroup, SeenRows};
use crate::scan::Input;

const READ_BUFFER_BYTES: usize = 1 << 20;

/// The batches of one unit, in order.
pub(crate) type UnitBatches = Box<dyn Iterator<Item = Result<RecordBatch, IngestError>> + Send>;

/// One opened input.
#[derive(Debug)]
pub(crate) struct Source {
    place: Place,
    schema: SchemaRef,
    content: Content,
}

enum Content {
    Parquet {
        bytes: ParquetBytes,
        metadata: ArrowReaderMetadata,
    },
    IpcFile(Arc<IpcFile>),
    /// Taken by the one unit that reads it.
    IpcStream(Mutex<Option<IpcStream>>),
}

/// Where Parquet pages are read from.
enum ParquetBytes {
    File(File),
    Mapped(MappedInput),
}

/// Part of a source that can be decoded by itself.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    source: Arc<Source>,
    part: Part,
    seen: SeenRows,
}

#[derive(Clone, Debug)]
enum Part {
    RowGroup(usize),
    IpcBatch(IpcDecoder, usize),
    Stream,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Content::Parquet { .. } => "Parquet",
            Content::IpcFile(_) => "IpcFile",
            Content::IpcStream(_) => "IpcStream",
        })
    }
}

impl Source {
    /// Opens an input, tells its format and reads its schema.
    pub(crate) fn open(input: &Input, mmap: bool) -> Result<Source, IngestError> {
        match input {
            Input::File(path) => {
                let place = Place::File(path.clone());
                let file = File::open(path).map_err(|e| IngestError::io(&place, "open", e))?;
                let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
                if is_file {
                    Self::from_file(place, file, mmap.then_some(path.as_path()))
                } else {
                    // A named pipe or a device cannot be sought in.
                    Self::from_stream(place, Box::new(file))
                }
            }
            Input::Stdin => Self::from_stream(Place::Stdin, Box::new(std::io::stdin())),
        }
    }

    /// `mapped` is the file's path if it is to be mapped.
    fn from_file(
        place: Place,
        mut file: File,
        mapped: Option<&Path>,
    ) -> Result<Source, IngestError> {
        let mut head = Vec::with_capacity(Format::SNIFF_BYTES);
        Read::by_ref(&mut file)
            .take(Format::SNIFF_BYTES as u64)
            .read_to_end(&mut head)
            .and_then(|_| file.seek(SeekFrom::Start(0)))
            .map_err(|e| IngestError::io(&place, "read", e))?;
        let Some(format) = Format::sniff(&head) else {
            return Err(unknown_format(place, &head));
        };
        guarded(&place.clone(), format.name(), || match format {
            Format::Parquet => Self::parquet(place, file, mapped),
            Format::ArrowFile => Self::ipc_file(place, file, mapped),
            Format::ArrowStream => Self::ipc_stream(place, Box::new(file)),
            Format::Csv => unreachable!("CSV is never recognised"),
        })
    }

    /// From a source that cannot be sought in: a stream is read as it comes, the other formats
    /// have their directory at the end and go through a temporary file.
    fn from_stream(place: Place, mut stream: Box<dyn Read + Send>) -> Result<Source, IngestError> {
        let mut head = Vec::with_capacity(Format::SNIFF_BYTES);
        Read::by_ref(&mut stream)
            .take(Format::SNIFF_BYTES as u64)
            .read_to_end(&mut head)
            .map_err(|e| IngestError::io(&place, "read", e))?;
        let format = Format::sniff(&head);
        let mut whole = std::io::Cursor::new(head.clone()).chain(stream);
        match format {
            Some(Format::ArrowStream) => {
                guarded(&place.clone(), Format::ArrowStream.name(), || {
                    Self::ipc_stream(place, Box::new(whole))
                })
            }
            Some(Format::Parquet | Format::ArrowFile) => {
                let file = tempfile::tempfile()
                    .and_then(|mut file| {
                        std::io::copy(&mut whole, &mut file)?;
                        file.seek(SeekFrom::Start(0))?;
                        Ok(file)
                    })
                    .map_err(|e| IngestError::io(&place, "keep a temporary copy of", e))?;
                Self::from_file(place, file, None)
            }
            Some(Format::Csv) | None => Err(unknown_format(place, &head)),
        }
    }

    fn parquet(place: Place, file: File, mapped: Option<&Path>) -> Result<Source, IngestError> {
        let (bytes, metadata) = if let Some(path) = mapped {
            let mapped = MappedInput::open(path)?;
            let metadata =
                ArrowReaderMetadata::load(&mapped.bytes(), ArrowReaderOptions::default());
            (ParquetBytes::Mapped(mapped), metadata)
        } else {
            let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default());
            (ParquetBytes::File(file), metadata)
        };
        let metadata = metadata.map_err(|e| IngestError::parquet(&place, "read", e))?;
        let schema = metadata.schema().clone();
        Ok(Source {
            place,
            schema,
            content: Content::Parquet { bytes, metadata },
        })
    }

    fn ipc_file(place: Place, file: File, mapped: Option<&Path>) -> Result<Source, IngestError> {
        let file = match mapped {
            Some(path) => IpcFile::map(path)?,
            None => IpcFile::read(place.clone(), file)?,
        };
        Ok(Source {
            place,
            schema: file.schema(),
            content: Content::IpcFile(Arc::new(file)),
        })
    }

    fn ipc_stream(place: Place, stream: Box<dyn Read + Send>) -> Result<Source, IngestError> {
        let buffered: Box<dyn Read + Send> =
            Box::new(BufReader::with_capacity(READ_BUFFER_BYTES, stream));
        let stream = IpcStream::open(place.clone(), buffered)?;
        Ok(Source {
            place,
            schema: stream.schema(),
            content: Content::IpcStream(Mutex::new(Some(stream))),
        })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The file, if it is mapped.
    pub(crate) fn mapped(&self) -> Option<&MappedInput> {
        match &self.content {
            Content::Parquet {
                bytes: ParquetBytes::Mapped(mapped),
                ..
            } => Some(mapped),
            Content::IpcFile(file) => file.mapped(),
            _ => None,
        }
    }

    /// Rows in the file, where its directory says so.
    pub(crate) fn rows(&self) -> Option<u64> {
        match &self.content {
            Content::Parquet { metadata, .. } => {
                u64::try_from(metadata.metadata().file_metadata().num_rows()).ok()
            }
            _ => None,
        }
    }

    /// The units in order, to be decoded of the columns named, less the row groups that the
    /// predicate rules out, and how many were.
    pub(crate) fn units(
        self: &Arc<Self>,
        columns: &[usize],
        pruning: Option<&Pruning>,
        seen: &SeenRows,
    ) -> Result<(Vec<Unit>, usize), IngestError> {
        let (parts, pruned): (Vec<Part>, usize) = match &self.content {
            Content::Parquet { metadata, .. } => {
                let all = metadata.metadata().num_row_groups();
                let wanted = match pruning {
                    Some(pruning) => pruning.row_groups(&self.schema, metadata.metadata()),
                    None => (0..all).collect(),
                };
                let pruned = all - wanted.len();
                (wanted.into_iter().map(Part::RowGroup).collect(), pruned)
            }
            Content::IpcFile(file) => {
                let decoder = file.decoder(columns)?;
                let part = |batch| Part::IpcBatch(Arc::clone(&decoder), batch);
                ((0..file.batches()).map(part).collect(), 0)
            }
            Content::IpcStream(_) => (vec![Part::Stream], 0),
        };
        let unit = |part| Unit {
            source: Arc::clone(self),
            part,
            seen: seen.clone(),
        };
        Ok((parts.into_iter().map(unit).collect(), pruned))
    }

    fn format(&self) -> Format {
        match self.content {
            Content::Parquet { .. } => Format::Parquet,
            Content::IpcFile(_) => Format::ArrowFile,
            Content::IpcStream(_) => Format::ArrowStream,
        }
    }

    /// Runs a step of the source's decoder; a panic becomes an error.
    pub(crate) fn guarded<T>(
        &self,
        step: impl FnOnce() -> Result<T, IngestError>,
    ) -> Result<T, IngestError> {
        guarded(&self.place, self.format().name(), step)
    }
}

impl Unit {
    /// Runs a step of the unit's decoder; a panic becomes an error.
    pub(crate) fn guarded<T>(
        &self,
        step: impl FnOnce() -> Result<T, IngestError>,
    ) -> Result<T, IngestError> {
        self.source.guarded(step)
    }

    /// Where the unit's rows begin, given where those of the unit before it ended.
    pub(crate) fn location(&self, before: Option<&Location>) -> Location {
        let place = self.source.place.clone();
        let first_row = match (&self.source.content, &self.part) {
            (Content::Parquet { metadata, .. }, Part::RowGroup(group)) => {
                let groups = &metadata.metadata().row_groups()[..*group];
                groups
                    .iter()
                    .map(|group| group.num_rows().max(0) as u64)
                    .sum()
            }
            (_, Part::IpcBatch(_, index)) if *index > 0 => {
                before.map_or(0, |before| before.first_row)
            }
            _ => 0,
        };
        Location { place, first_row }
    }

    /// Rows in the unit, where the file's directory says so.
    pub(crate) fn rows(&self) -> Option<u64> {
        match (&self.source.content, &self.part) {
            (Content::Parquet { metadata, .. }, Part::RowGroup(group)) => {
                u64::try_from(metadata.metadata().row_group(*group).num_rows()).ok()
            }
            _ => None,
        }
    }

    /// Bytes that decoding the unit takes at once, where no cut makes them fewer: those of a record
    /// batch that is read as a whole.
    pub(crate) fn indivisible_bytes(&self) -> u64 {
        match (&self.source.content, &self.part) {
            (Content::IpcFile(file), Part::IpcBatch(_, index)) => file.bytes_read(*index),
            _ => 0,
        }
    }

    /// Decodes the unit's batches of the named columns, which ascend.
    pub(crate) fn open(
        &self,
        columns: &[usize],
        limits: BatchLimits,
    ) -> Result<UnitBatches, IngestError> {
        let place = self.source.place.clone();
        match (&self.source.content, &self.part) {
            (Content::Parquet { bytes, metadata }, Part::RowGroup(index)) => {
                let pages = match bytes {
                    ParquetBytes::File(file) => Pages::File(
                        file.try_clone()
                            .map_err(|e| IngestError::io(&place, "open", e))?,
                    ),
                    ParquetBytes::Mapped(mapped) => {
                        mapped.check()?;
                        Pages::Mapped(mapped.bytes())
                    }
                };
                let roots = columns.iter().copied();
                let group = RowGroup {
                    place,
                    pages,
                    metadata: metadata.clone(),
                    index: *index,
                    mask: ProjectionMask::roots(metadata.parquet_schema(), roots),
                    seen: self.seen.clone(),
                };
                Ok(group.batches(limits))
            }
            (Content::IpcFile(file), Part::IpcBatch(decoder, index)) => {
                let (file, decoder, index) = (Arc::clone(file), Arc::clone(decoder), *index);
                let batch = move || file.batch(&decoder, index).transpose();
                Ok(Box::new(std::iter::once_with(batch).flatten()))
            }
            (Content::IpcStream(stream), _) => {
                let stream = stream.lock().expect("no holder of this lock panics").take();
                let mut stream = stream.expect("a stream is one unit, and a unit is opened once");
                let columns = columns.to_vec();
                let batches = std::iter::from_fn(move || stream.next(&columns).transpose());
                Ok(Box::new(batches))
            }
            (content, part) => unreachable!("{content:?} has no unit {part:?}"),
        }
    }
}

fn unknown_format(place: Place, head: &[u8]) -> IngestError {
    let found = if head.is_empty() {
        "nothing: it is empty".to_owned()
    } else {
        format!("\"{}\"", head.escape_ascii())
    };
    IngestError::UnknownFormat { place, found }
}
