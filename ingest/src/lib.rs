//! Files in and out.
//!
//! [`Scan`] reads Parquet and Arrow IPC, from files and from standard input, as record batches in
//! the order of the inputs: only the columns that are asked for, without the Parquet row groups
//! that a predicate's statistics rule out, decoded by several threads. [`Sink`] writes Arrow IPC,
//! Parquet and CSV; a file appears under its name only when it is whole.
//!
//! ```
//! use std::sync::Arc;
//! use arrow_array::{Int32Array, RecordBatch};
//! use unlade_ingest::{Format, Input, Scan, ScanOptions, Sink, Target};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("numbers.parquet");
//! let batch = RecordBatch::try_from_iter([("a", Arc::new(Int32Array::from(vec![1, 2, 3])) as _)])?;
//!
//! let mut sink = Sink::create(Target::File(path.clone()), Format::Parquet, &batch.schema())?;
//! sink.write(&batch)?;
//! sink.finish()?;
//!
//! let scan = Scan::open(&[Input::File(path)], ScanOptions::default())?;
//! let read: Vec<RecordBatch> = scan.into_reader(&[0], None)?.collect::<Result<_, _>>()?;
//! assert_eq!(read, [batch]);
//! # Ok(())
//! # }
//! ```
//!
//! - [`Scan`], [`ScanOptions`], [`Input`]: what is read, and how
//! - [`MappedFiles`]: whether mapped inputs stayed what they were
//! - [`BatchReader`]: the batches, each with its [`Location`]
//! - [`Pruning`]: which row groups a predicate rules out
//! - [`Sink`], [`Target`], [`WholeFile`], [`abandon_unfinished`]: what is written
//! - [`Cells`]: values as text, in CSV and for reading
//! - [`Format`]: formats and how they are recognised
//! - [`IngestError`], [`Place`]: every error names its file
//! - [`is_decoding`]: for panic hooks, since decoders that panic on damage are caught

#![forbid(unsafe_code)]

mod bitmaps;
mod cells;
mod csv;
mod dictionaries;
mod error;
mod fit;
mod format;
mod guard;
mod ipc_file;
mod ipc_lengths;
mod ipc_stream;
mod mapped;
mod parallel;
mod prune;
mod room;
mod row_group;
mod scan;
mod sink;
mod source;
mod whole_file;

pub use cells::Cells;
pub use error::{IngestError, Place};
pub use format::Format;
pub use guard::is_decoding;
pub use mapped::MappedFiles;
pub use parallel::{BatchReader, Location};
pub use prune::Pruning;
pub use scan::{Input, Scan, ScanOptions, ScanStats};
pub use sink::{Sink, Target};
pub use whole_file::{WholeFile, abandon_unfinished};
