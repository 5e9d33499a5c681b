//! Errors of reading and writing, each naming its file.

use std::fmt;
use std::path::PathBuf;

use arrow_schema::ArrowError;
use parquet::errors::ParquetError;

/// Where bytes come from or go to, as an error names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Stdin => f.write_str("standard input"),
            Place::Stdout => f.write_str("standard output"),
        }
    }
}

/// Why something cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The operating system refused.
    #[error("{place}: cannot {action}: {source}")]
    Io {
        /// The file.
        place: Place,
        /// What was tried: `open`, `read`, `write` ...
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are none of the formats known.
    #[error(
        "{place}: neither Parquet nor Arrow IPC (it begins with {found}); \
         convert it to one of these first"
    )]
    UnknownFormat {
        /// The file.
        place: Place,
        /// Its first bytes, printable.
        found: String,
    },
    /// The bytes break the rules of their format.
    #[error("{place}: damaged or truncated {format}: {message}")]
    Corrupt {
        /// The file.
        place: Place,
        /// The format it seems to have.
        format: &'static str,
        /// What the decoder found.
        message: String,
    },
    /// A part that can only be read as a whole finds no memory.
    #[error("{place}: no memory for {bytes} bytes that have to be read at once, {what}")]
    OutOfMemory {
        /// The file.
        place: Place,
        /// Bytes that there is no memory for.
        bytes: usize,
        /// What it is: `a record batch`.
        what: &'static str,
    },
    /// Two inputs that do not have the same columns.
    #[error(
        "{place}: its schema differs from that of {first}: {difference}; \
         run on files of one schema at a time"
    )]
    SchemaDiffers {
        /// The file that differs.
        place: Place,
        /// The first file.
        first: Place,
        /// The first difference.
        difference: String,
    },
    /// A mapped file became shorter than it was when it was mapped.
    #[error("{place}: shrank from {mapped} to {now} bytes while it was mapped; run without --mmap")]
    Shrank {
        /// The file.
        place: Place,
        /// Bytes mapped.
        mapped: u64,
        /// Bytes now.
        now: u64,
    },
    /// A part of a mapped file was not there when it was touched.
    #[error("{place}: a part could not be read while it was mapped; run without --mmap")]
    Torn {
        /// The file.
        place: Place,
    },
    /// A column of a type that the output format cannot hold.
    #[error("{place}: {format} cannot hold {message}")]
    Unwritable {
        /// The file.
        place: Place,
        /// The format.
        format: &'static str,
        /// Which column, of which type.
        message: String,
    },
    /// The reader of the output went away.
    #[error("{place}: closed by its reader")]
    Closed {
        /// Where the output went.
        place: Place,
    },
    /// No input was named.
    #[error("no input files")]
    NoInput,
}

impl IngestError {
    /// An error of the operating system; a closed pipe is told apart from the rest.
    pub fn io(place: &Place, action: &'static str, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::BrokenPipe {
            return IngestError::Closed {
                place: place.clone(),
            };
        }
        IngestError::Io {
            place: place.clone(),
            action,
            source,
        }
    }

    pub(crate) fn arrow(
        place: &Place,
        format: &'static str,
        action: &'static str,
        error: ArrowError,
    ) -> Self {
        match error {
            ArrowError::IoError(_, source)
                if source.kind() != std::io::ErrorKind::UnexpectedEof =>
            {
                IngestError::io(place, action, source)
            }
            other => Self::corrupt(place, format, other),
        }
    }

    pub(crate) fn parquet(place: &Place, action: &'static str, error: ParquetError) -> Self {
        match error {
            ParquetError::External(source) => match source.downcast::<std::io::Error>() {
                Ok(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
                    IngestError::io(place, action, *source)
                }
                Ok(source) => Self::corrupt(place, "Parquet", source),
                Err(other) => Self::corrupt(place, "Parquet", other),
            },
            other => Self::corrupt(place, "Parquet", other),
        }
    }

    pub(crate) fn corrupt(place: &Place, format: &'static str, error: impl fmt::Display) -> Self {
        IngestError::Corrupt {
            place: place.clone(),
            format,
            message: error.to_string(),
        }
    }
}
