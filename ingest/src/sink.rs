//! Writing batches, whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_ipc::writer::{DictionaryHandling, FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::bitmaps;
use crate::csv::CsvWriter;
use crate::dictionaries::Dictionaries;
use crate::error::{IngestError, Place};
use crate::format::Format;
use crate::guard::guarded;
use crate::whole_file::WholeFile;

/// How the writer of Arrow files begins to say that a column has a second dictionary.
const REPLACED: &str = "Dictionary replacement detected";
/// Bytes of a Parquet row group, encoded; it is kept in memory until it is whole.
const ROW_GROUP_BYTES: usize = 128 << 20;
const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// Where to write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A file, replaced if there is one.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// Writes batches of one schema.
///
/// A file takes its name in [`Sink::finish`]; a sink that is dropped before leaves nothing behind.
/// See [`WholeFile`].
pub struct Sink {
    place: Place,
    format: Format,
    writer: Writer,
    refusal: Refusal,
    destination: Option<WholeFile>,
    rows: u64,
}

enum Writer {
    Parquet(Box<ArrowWriter<Bytes>>),
    ArrowFile(Box<FileWriter<Bytes>>, Dictionaries),
    ArrowStream(Box<StreamWriter<Bytes>>),
    Csv(Box<CsvWriter<Bytes>>),
}

type Bytes = BufWriter<Watched>;

/// Bytes on their way out. What the system says when it refuses some is kept here, since writers
/// put it into words of their own.
struct Watched {
    inner: Box<dyn Write + Send>,
    refusal: Refusal,
}

type Refusal = Arc<Mutex<Option<std::io::Error>>>;

impl Sink {
    /// Begins to write.
    ///
    /// # Errors
    /// A folder that does not exist or cannot be written, or a column that the format cannot hold.
    pub fn create(target: Target, format: Format, schema: &Schema) -> Result<Sink, IngestError> {
        let place = match &target {
            Target::File(path) => Place::File(path.clone()),
            Target::Stdout => Place::Stdout,
        };
        if format == Format::Csv {
            check_csv(&place, schema)?;
        }
        let (bytes, destination): (Box<dyn Write + Send>, _) = match target {
            Target::Stdout => (Box::new(std::io::stdout()), None),
            Target::File(path) if is_special(&path) => {
                // A device or a pipe cannot be renamed to; it is written as it is.
                let file = File::options().write(true).open(&path);
                (
                    Box::new(file.map_err(|e| IngestError::io(&place, "open", e))?),
                    None,
                )
            }
            Target::File(path) => {
                let created = WholeFile::create(&path).and_then(|file| Ok((file.handle()?, file)));
                let (handle, file) = created.map_err(|e| IngestError::io(&place, "create", e))?;
                (Box::new(handle), Some(file))
            }
        };
        let refusal = Refusal::default();
        let watched = Watched {
            inner: bytes,
            refusal: Arc::clone(&refusal),
        };
        let bytes = BufWriter::with_capacity(WRITE_BUFFER_BYTES, watched);
        if schema.fields().is_empty()
            && format != Format::ArrowFile
            && format != Format::ArrowStream
        {
            return Err(IngestError::Unwritable {
                place,
                format: format.name(),
                message: "rows without columns; write Arrow, or put out a column".to_owned(),
            });
        }
        let writer = guarded(&place, format.name(), || {
            Writer::new(bytes, format, schema)
                .map_err(|failure| failure.into_error(&place, format, &refusal))
        })
        .map_err(unwritable)?;
        Ok(Sink {
            place,
            format,
            writer,
            refusal,
            destination,
            rows: 0,
        })
    }

    /// Writes one batch.
    ///
    /// # Errors
    /// What the operating system says; the reader of a pipe going away is
    /// [`IngestError::Closed`].
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), IngestError> {
        self.rows += batch.num_rows() as u64;
        let (writer, place, format) = (&mut self.writer, &self.place, self.format);
        guarded(place, format.name(), || {
            writer
                .write(batch)
                .map_err(|failure| failure.into_error(place, format, &self.refusal))
        })
        .map_err(unwritable)
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether a process that is killed before [`Sink::finish`] leaves a file behind; see
    /// [`WholeFile`].
    pub fn may_be_left(&self) -> bool {
        self.destination
            .as_ref()
            .is_some_and(WholeFile::may_be_left)
    }

    /// Writes what closes the format and gives the file its name.
    ///
    /// # Errors
    /// As [`Sink::write`]; the file then does not appear.
    pub fn finish(self) -> Result<(), IngestError> {
        let Sink {
            place,
            format,
            writer,
            refusal,
            destination,
            ..
        } = self;
        writer
            .finish()
            .map_err(|failure| failure.into_error(&place, format, &refusal))?;
        match destination {
            Some(file) => file
                .keep()
                .map_err(|e| IngestError::io(&place, "put in place", e)),
            None => Ok(()),
        }
    }
}

impl Writer {
    fn new(bytes: Bytes, format: Format, schema: &Schema) -> Result<Self, Failure> {
        Ok(match format {
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
                    .build();
                let writer = ArrowWriter::try_new(bytes, schema.clone().into(), Some(properties))?;
                Writer::Parquet(Box::new(writer))
            }
            Format::ArrowFile => {
                // A file has one dictionary for a column, to which later batches may add.
                let options =
                    IpcWriteOptions::default().with_dictionary_handling(DictionaryHandling::Delta);
                let writer = FileWriter::try_new_with_options(bytes, schema, options)?;
                Writer::ArrowFile(Box::new(writer), Dictionaries::default())
            }
            Format::ArrowStream => {
                Writer::ArrowStream(Box::new(StreamWriter::try_new(bytes, schema)?))
            }
            Format::Csv => Writer::Csv(Box::new(CsvWriter::new(bytes, schema)?)),
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        match self {
            Writer::Parquet(writer) => Ok(writer.write(batch)?),
            Writer::ArrowFile(writer, dictionaries) => {
                match writer.write(&bitmaps::ended(batch)?) {
                    Err(ArrowError::InvalidArgumentError(words)) if words.starts_with(REPLACED) => {
                        Err(Failure::Unwritable(format!(
                            "{}, dictionary-encoded, where batches have different dictionaries; \
                         write .arrows or .parquet, or leave it out",
                            dictionaries.replaced_by(batch)
                        )))
                    }
                    Err(error) => Err(error.into()),
                    Ok(()) => {
                        dictionaries.follow(batch);
                        Ok(())
                    }
                }
            }
            Writer::ArrowStream(writer) => Ok(writer.write(&bitmaps::ended(batch)?)?),
            Writer::Csv(writer) => Ok(writer.write(batch)?),
        }
    }

    fn finish(self) -> Result<(), Failure> {
        let mut bytes = match self {
            Writer::Parquet(writer) => writer.into_inner()?,
            Writer::ArrowFile(writer, _) => writer.into_inner()?,
            Writer::ArrowStream(writer) => writer.into_inner()?,
            Writer::Csv(writer) => writer.into_inner(),
        };
        Ok(bytes.flush()?)
    }
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes);
        self.noted(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let flushed = self.inner.flush();
        self.noted(flushed)
    }
}

impl Watched {
    fn noted<T>(&self, result: std::io::Result<T>) -> std::io::Result<T> {
        if let Err(error) = &result
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            let copy = error
                .raw_os_error()
                .map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error);
            *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
        }
        result
    }
}

/// What a writer said, in its own words.
enum Failure {
    /// What the format cannot hold, in ours.
    Unwritable(String),
    Arrow(ArrowError),
    Parquet(ParquetError),
    Io(std::io::Error),
}

impl From<ArrowError> for Failure {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, source) => Failure::Io(source),
            other => Failure::Arrow(other),
        }
    }
}

impl From<ParquetError> for Failure {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(source) => match source.downcast::<std::io::Error>() {
                Ok(source) => Failure::Io(*source),
                Err(other) => Failure::Parquet(ParquetError::External(other)),
            },
            other => Failure::Parquet(other),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Io(error)
    }
}

impl Failure {
    fn into_error(self, place: &Place, format: Format, refusal: &Refusal) -> IngestError {
        let mut refusal = refusal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = refusal.take() {
            return IngestError::io(place, "write", source);
        }
        let message = match self {
            Failure::Io(source) => return IngestError::io(place, "write", source),
            Failure::Unwritable(what) => what,
            Failure::Arrow(error) => format!("what was written: {error}"),
            Failure::Parquet(error) => format!("what was written: {error}"),
        };
        IngestError::Unwritable {
            place: place.clone(),
            format: format.name(),
            message,
        }
    }
}

/// A writer that panics has met a type that it does not know: nothing was damaged.
fn unwritable(error: IngestError) -> IngestError {
    match error {
        IngestError::Corrupt {
            place,
            format,
            message,
        } => IngestError::Unwritable {
            place,
            format,
            message: format!("a column of these: {message}"),
        },
        other => other,
    }
}

fn check_csv(place: &Place, schema: &Schema) -> Result<(), IngestError> {
    match schema
        .fields()
        .iter()
        .find(|field| field.data_type().is_nested())
    {
        Some(field) => Err(IngestError::Unwritable {
            place: place.clone(),
            format: Format::Csv.name(),
            message: format!(
                "column `{}` of type {}; leave it out or write Parquet or Arrow",
                field.name(),
                field.data_type()
            ),
        }),
        None => Ok(()),
    }
}

fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink")
            .field("place", &self.place)
            .field("format", &self.format)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}
