//! The batches of a Parquet row group.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::basic::{Encoding, Type};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::ChunkReader;

use crate::error::{IngestError, Place};
use crate::fit::{BatchLimits, Fitted, row_bytes};
use crate::source::UnitBatches;

const FORMAT: &str = "Parquet";
/// Bytes of an offset, and of the timestamp that an INT96 becomes.
const OFFSET_BYTES: u64 = 4;
const TIMESTAMP_BYTES: u64 = 8;

/// Where pages are read from. Of a file, through its descriptor anew each time, since a cloned
/// descriptor shares its position.
pub(crate) enum Pages {
    File(File),
    Mapped(Bytes),
}

/// A row group whose columns are to be decoded.
pub(crate) struct RowGroup {
    pub(crate) place: Place,
    pub(crate) pages: Pages,
    pub(crate) metadata: ArrowReaderMetadata,
    pub(crate) index: usize,
    pub(crate) mask: ProjectionMask,
    pub(crate) seen: SeenRows,
}

/// What rows took that were decoded before in the same scan, for row groups that do not tell: to
/// find it out anew costs a page of each column.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeenRows {
    /// Bytes of a row; 0 before there was any.
    bytes: Arc<AtomicU64>,
}

impl SeenRows {
    fn bytes(&self) -> Option<u64> {
        Some(self.bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    fn note(&self, batch: &RecordBatch) {
        let rows = batch.num_rows().max(1) as u64;
        let bytes = row_bytes(batch).div_ceil(rows).max(1);
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

impl RowGroup {
    pub(crate) fn batches(self, limits: BatchLimits) -> UnitBatches {
        let place = self.place.clone();
        let told = decoded_row_bytes(self.group(), &self.mask);
        let seen = self.seen.clone();
        let row_bytes = told.or_else(|| seen.bytes());
        let open = move |from, rows| self.open(from, rows);
        let batches = Fitted::new(place, FORMAT, limits, row_bytes, open);
        match told {
            Some(_) => Box::new(batches),
            None => Box::new(batches.inspect(move |batch| {
                if let Ok(batch) = batch {
                    seen.note(batch);
                }
            })),
        }
    }

    fn group(&self) -> &RowGroupMetaData {
        self.metadata.metadata().row_group(self.index)
    }

    /// Decodes from a row of the group on.
    fn open(&self, from: usize, batch_rows: usize) -> Result<UnitBatches, IngestError> {
        let reader = match &self.pages {
            Pages::File(file) => {
                let file = reopened(file).map_err(|e| IngestError::io(&self.place, "open", e))?;
                self.reader(file, from, batch_rows)?
            }
            Pages::Mapped(bytes) => self.reader(bytes.clone(), from, batch_rows)?,
        };
        let place = self.place.clone();
        Ok(Box::new(reader.map(move |batch| {
            batch.map_err(|e| IngestError::arrow(&place, FORMAT, "read", e))
        })))
    }

    fn reader<R: ChunkReader + 'static>(
        &self,
        pages: R,
        from: usize,
        batch_rows: usize,
    ) -> Result<ParquetRecordBatchReader, IngestError> {
        let metadata = self.metadata.clone();
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(pages, metadata)
            .with_projection(self.mask.clone())
            .with_row_groups(vec![self.index])
            .with_batch_size(batch_rows);
        if from > 0 {
            let rows = usize::try_from(self.group().num_rows()).unwrap_or(0);
            builder = builder.with_row_selection(RowSelection::from(vec![
                RowSelector::skip(from),
                RowSelector::select(rows.saturating_sub(from)),
            ]));
        }
        builder
            .build()
            .map_err(|e| IngestError::parquet(&self.place, "read", e))
    }
}

/// Bytes of a row, decoded, as far as the file's directory tells. It tells nothing where repeated
/// texts are stored once and nobody noted how long they are in all.
fn decoded_row_bytes(group: &RowGroupMetaData, mask: &ProjectionMask) -> Option<u64> {
    let rows = u64::try_from(group.num_rows()).ok()?.max(1);
    let columns = group.columns().iter().enumerate();
    let read = columns.filter(|(leaf, _)| mask.leaf_included(*leaf));
    let mut sizes = read.map(|(_, column)| decoded_bytes(column));
    let bytes = sizes.try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(bytes?)))?;
    Some(bytes / rows)
}

fn decoded_bytes(column: &ColumnChunkMetaData) -> Option<u64> {
    let values = u64::try_from(column.num_values()).ok()?;
    let of_width = |width: u64| Some(values.saturating_mul(width));
    match column.column_type() {
        Type::BOOLEAN => Some(values / 8),
        Type::INT32 | Type::FLOAT => of_width(4),
        Type::INT64 | Type::DOUBLE => of_width(8),
        Type::INT96 => of_width(TIMESTAMP_BYTES),
        Type::FIXED_LEN_BYTE_ARRAY => {
            of_width(u64::try_from(column.column_descr().type_length()).ok()?)
        }
        Type::BYTE_ARRAY => {
            let noted = column.unencoded_byte_array_data_bytes();
            let is_repeated = column.encodings().any(|encoding| {
                matches!(
                    encoding,
                    Encoding::RLE_DICTIONARY
                        | Encoding::PLAIN_DICTIONARY
                        | Encoding::DELTA_BYTE_ARRAY
                )
            });
            let texts = match noted {
                Some(bytes) => u64::try_from(bytes).ok()?,
                None if is_repeated => return None,
                None => u64::try_from(column.uncompressed_size()).ok()?,
            };
            texts.checked_add(values.checked_mul(OFFSET_BYTES)?)
        }
    }
}

/// The same file with a position of its own.
fn reopened(file: &File) -> std::io::Result<File> {
    use std::os::fd::AsRawFd;
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
