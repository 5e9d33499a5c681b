//! Batches on their way into a stream, with the file and row that each came from.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use unlade::Error;
use unlade_ingest::{BatchReader, IngestError, Location};

use crate::error::{self, Failure};

/// Batches for the stream; where they came from is kept for errors.
pub(super) struct Located {
    reader: BatchReader,
    origins: Origins,
}

/// Where the batches that are on their way came from, and why there are no more.
#[derive(Clone, Default)]
pub(super) struct Origins(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    /// Number of the first of `locations`.
    first: u64,
    locations: VecDeque<Location>,
    failure: Option<IngestError>,
}

impl Record {
    fn forget_before(&mut self, batch: u64) {
        while self.first < batch && self.locations.pop_front().is_some() {
            self.first += 1;
        }
    }

    fn location(&self, batch: u64) -> Option<&Location> {
        self.locations
            .get(usize::try_from(batch.checked_sub(self.first)?).ok()?)
    }
}

impl Iterator for Located {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.reader.next_located()? {
            Ok((location, batch)) => {
                self.origins.lock().locations.push_back(location);
                Some(Ok(batch))
            }
            Err(error) => {
                let message = error.to_string();
                self.origins.lock().failure = Some(error);
                Some(Err(ArrowError::ExternalError(message.into())))
            }
        }
    }
}

impl RecordBatchReader for Located {
    fn schema(&self) -> SchemaRef {
        self.reader.schema()
    }
}

impl Located {
    /// The reader's batches, and where they come from.
    pub(super) fn new(reader: BatchReader) -> (Self, Origins) {
        let origins = Origins::default();
        let located = Located {
            reader,
            origins: origins.clone(),
        };
        (located, origins)
    }
}

impl Origins {
    /// Batches before this one have arrived.
    pub(super) fn forget_before(&self, batch: u64) {
        self.lock().forget_before(batch);
    }

    /// The error of a batch in terms of the files.
    pub(super) fn explain(&self, error: Error, batch: u64) -> Failure {
        let mut record = self.lock();
        match error {
            Error::Data(error) => match record.location(batch) {
                Some(location) => error::in_file(&error, location),
                None => Failure::data(error.to_string()),
            },
            // Only where the reader itself is what failed: it may have failed ahead of another
            // error, which then comes first.
            Error::Input(error) => match record.failure.take() {
                Some(failure) => failure.into(),
                None => Error::Input(error).into(),
            },
            other => other.into(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
