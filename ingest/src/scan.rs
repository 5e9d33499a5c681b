//! A scan over inputs of one schema.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};

use crate::error::IngestError;
use crate::fit::BatchLimits;
use crate::mapped::MappedFiles;
use crate::parallel::{self, BatchReader};
use crate::prune::Pruning;
use crate::row_group::SeenRows;
use crate::source::Source;

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

/// How to read.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// Most rows of a batch. Parquet is decoded in batches of this size; larger Arrow batches are
    /// sliced, smaller ones stay.
    pub batch_rows: usize,
    /// Bytes of a batch, about. Parquet is decoded in batches of fewer rows where rows take more,
    /// by what the file says of them and what is seen of those before; a batch may be twice as
    /// large, and larger where rows suddenly are. Larger Arrow batches are sliced, but each is read
    /// as a whole.
    pub batch_bytes: u64,
    /// Threads that decode. One decodes on the thread that asks for batches.
    pub threads: usize,
    /// Whether files are mapped rather than read: uncompressed Arrow files are then used in place.
    /// Trusts the files not to change; see [`MappedFiles`].
    pub mmap: bool,
}

/// What a scan found in the files' directories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanStats {
    /// Units to decode: Parquet row groups, Arrow batches, whole streams.
    pub units: usize,
    /// Parquet row groups ruled out by their statistics.
    pub pruned: usize,
    /// Rows to decode, if every file says how many it has.
    pub rows: Option<u64>,
}

/// Inputs of one schema, opened.
#[derive(Debug)]
pub struct Scan {
    sources: Vec<Arc<Source>>,
    options: ScanOptions,
}

impl Default for ScanOptions {
    fn default() -> Self {
        ScanOptions {
            batch_rows: 65_536,
            batch_bytes: 256 << 20,
            threads: 1,
            mmap: false,
        }
    }
}

impl ScanOptions {
    /// Most batches that a scan with so many threads holds at once, decoded and not yet taken or
    /// about to be.
    pub fn batches_held(threads: usize) -> usize {
        parallel::batches_held(threads)
    }

    pub(crate) fn limits(&self) -> BatchLimits {
        BatchLimits {
            rows: self.batch_rows.max(1),
            bytes: self.batch_bytes.max(1),
        }
    }
}

impl Scan {
    /// Opens every input.
    ///
    /// # Errors
    /// An input that is missing, damaged or of an unknown format, each by name.
    pub fn open(inputs: &[Input], options: ScanOptions) -> Result<Scan, IngestError> {
        let sources = inputs
            .iter()
            .map(|input| Source::open(input, options.mmap).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        if sources.is_empty() {
            return Err(IngestError::NoInput);
        }
        Ok(Scan { sources, options })
    }

    /// The schema of the first input, which the others have as far as they are read.
    pub fn schema(&self) -> &SchemaRef {
        self.sources[0].schema()
    }

    /// Rows of all inputs, if every one says how many it has.
    pub fn rows(&self) -> Option<u64> {
        self.sources.iter().map(|source| source.rows()).sum()
    }

    /// Those of the inputs that are mapped.
    pub fn mapped_files(&self) -> MappedFiles {
        MappedFiles::new(
            self.sources
                .iter()
                .filter_map(|source| source.mapped().cloned()),
        )
    }

    fn check_schemas(&self, columns: &[usize]) -> Result<(), IngestError> {
        let (first, rest) = self.sources.split_first().expect("there is an input");
        for other in rest {
            if let Some(difference) = first_difference(first.schema(), other.schema(), columns) {
                return Err(IngestError::SchemaDiffers {
                    place: other.place().clone(),
                    first: first.place().clone(),
                    difference,
                });
            }
        }
        Ok(())
    }

    /// Reads these columns, which ascend, of every row that `pruning` does not rule out, in the
    /// order of the inputs. All inputs have these columns at the same places, by one name and of one
    /// type; where all columns are read, they have the same number of columns.
    ///
    /// # Errors
    /// An input of another schema than the first, as far as it is read, by name; a column that does
    /// not exist, or threads that cannot be started. What is wrong inside the
    /// files comes as an item.
    pub fn into_reader(
        self,
        columns: &[usize],
        pruning: Option<&Pruning>,
    ) -> Result<BatchReader, IngestError> {
        debug_assert!(columns.is_sorted(), "columns ascend");
        let schema = self
            .schema()
            .project(columns)
            .map_err(|e| IngestError::corrupt(self.sources[0].place(), "schema", e))?;
        self.check_schemas(columns)?;
        let mut stats = ScanStats {
            rows: Some(0),
            ..ScanStats::default()
        };
        let mut units = Vec::new();
        let seen = SeenRows::default();
        for source in &self.sources {
            let (mut of_source, pruned) =
                source.guarded(|| source.units(columns, pruning, &seen))?;
            stats.pruned += pruned;
            stats.units += of_source.len();
            for unit in &of_source {
                stats.rows = stats.rows.zip(unit.rows()).map(|(sum, rows)| sum + rows);
            }
            units.append(&mut of_source);
        }
        Ok(BatchReader::start(
            Arc::new(schema),
            units,
            columns,
            &self.options,
            stats,
        ))
    }
}

/// The first difference in names, types or nullability of the columns read; metadata may differ.
fn first_difference(first: &Schema, other: &Schema, columns: &[usize]) -> Option<String> {
    let (wanted, found) = (first.fields().len(), other.fields().len());
    for &index in columns {
        let a = first.field(index);
        let Some(b) = other.fields().get(index) else {
            return Some(format!(
                "it has no column `{}` at place {index}: it has {found} columns",
                a.name()
            ));
        };
        if a.name() != b.name() {
            return Some(format!(
                "column {index} is `{}`, not `{}`",
                b.name(),
                a.name()
            ));
        }
        if a.data_type() != b.data_type() {
            return Some(format!(
                "column `{}` is {}, not {}",
                a.name(),
                b.data_type(),
                a.data_type()
            ));
        }
        if b.is_nullable() && !a.is_nullable() {
            return Some(format!(
                "column `{}` may be null, which the first file rules out (name this one first)",
                a.name()
            ));
        }
    }
    // Whoever reads all columns means those of every file.
    let all_are_read = columns.len() == wanted;
    (all_are_read && wanted != found).then(|| format!("it has {found} columns, not {wanted}"))
}
