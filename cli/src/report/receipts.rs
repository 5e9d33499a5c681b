//! `--receipts`: what became of each batch, as JSON. docs/RECEIPTS.md describes every field.

use std::path::Path;

use serde::Serialize;
use unlade::{RECEIPT_VERSION, Receipt};

use crate::error::Failure;
use crate::report::columns::{Column, Columns};
use crate::report::json;

/// The document. `version` is that of the receipts' form.
#[derive(Debug, Serialize)]
pub(crate) struct ReceiptsFile {
    version: u32,
    columns: Vec<Column>,
    totals: Totals,
    receipts: Vec<Receipt>,
}

/// Sums over the receipts.
#[derive(Debug, Default, Serialize)]
struct Totals {
    batches: u64,
    rows_in: u64,
    rows_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    bytes_copied: u64,
    bytes_to_device: u64,
    bytes_from_device: u64,
    retries: u64,
}

impl ReceiptsFile {
    /// Of a query that puts these columns out.
    pub(crate) fn new(columns: &Columns) -> Self {
        ReceiptsFile {
            version: RECEIPT_VERSION,
            columns: columns.list().to_vec(),
            totals: Totals::default(),
            receipts: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, receipt: Receipt) {
        let totals = &mut self.totals;
        totals.batches += 1;
        totals.rows_in += receipt.rows_in;
        totals.rows_out += receipt.rows_out;
        totals.bytes_in += receipt.bytes_in;
        totals.bytes_out += receipt.bytes_out;
        totals.bytes_copied += receipt.bytes_copied;
        totals.bytes_to_device += receipt.bytes_to_device;
        totals.bytes_from_device += receipt.bytes_from_device;
        totals.retries += u64::from(receipt.retries);
        self.receipts.push(receipt);
    }

    pub(crate) fn write(&mut self, path: &Path) -> Result<(), Failure> {
        self.receipts.sort_by_key(|receipt| receipt.batch);
        json::write(path, self)
    }
}
