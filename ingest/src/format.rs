//! File formats and how they are told apart.

use std::fmt;
use std::path::Path;

/// A format of files and streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// The Arrow IPC file format, also called Feather V2.
    ArrowFile,
    /// The Arrow IPC stream format.
    ArrowStream,
    /// Comma-separated values with a header line; output only.
    Csv,
}

impl Format {
    /// How many bytes [`Format::sniff`] wants to see.
    pub const SNIFF_BYTES: usize = 8;

    /// The format whose content begins like this; CSV is never recognised.
    pub fn sniff(head: &[u8]) -> Option<Format> {
        if head.starts_with(b"PAR1") {
            Some(Format::Parquet)
        } else if head.starts_with(b"ARROW1") {
            Some(Format::ArrowFile)
        } else if head.starts_with(&[0xff; 4]) {
            // The continuation marker that precedes each message of a stream.
            Some(Format::ArrowStream)
        } else {
            None
        }
    }

    /// The format that a file of this name should be written in: `.parquet`/`.pq`,
    /// `.arrow`/`.feather`/`.ipc`, `.arrows`/`.stream`, `.csv`.
    pub fn from_extension(path: &Path) -> Option<Format> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "parquet" | "pq" => Format::Parquet,
            "arrow" | "feather" | "ipc" => Format::ArrowFile,
            "arrows" | "stream" => Format::ArrowStream,
            "csv" => Format::Csv,
            _ => return None,
        })
    }

    /// The format's name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Parquet => "Parquet",
            Format::ArrowFile => "Arrow IPC file",
            Format::ArrowStream => "Arrow IPC stream",
            Format::Csv => "CSV",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
