//! What a kernel gives back.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchIterator};
use arrow_schema::{DataType, Field, SchemaRef};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::batch::{Batch, Schema};
use crate::capsule::{export_schema, export_stream};
use crate::column::Column;
use crate::failure::{Failure, config};
use crate::own::Own;
use crate::receipt::Receipt;

/// What became of the data: batches, and a receipt for each.
///
/// pyarrow, Polars, DuckDB and others read all of it as a table by the Arrow PyCapsule interface,
/// without a copy: ``pyarrow.table(output)``, ``polars.DataFrame(output)``.
#[pyclass(frozen, module = "unlade")]
#[derive(Debug)]
pub(crate) struct Output {
    schema: SchemaRef,
    pieces: Vec<Piece>,
    realigned: u64,
}

/// What became of one batch.
#[derive(Debug)]
struct Piece {
    rows: usize,
    batch: Own<RecordBatch>,
    mask: Option<Own<BooleanArray>>,
    receipt: Arc<unlade::Receipt>,
}

impl Output {
    /// Of batches of this schema, for which so many bytes were copied to align them.
    pub(crate) fn new(
        schema: &SchemaRef,
        outputs: impl IntoIterator<Item = unlade::Output>,
        realigned: u64,
    ) -> Self {
        let pieces = outputs.into_iter().map(|output| Piece {
            rows: output.batch.num_rows(),
            batch: Own::new(output.batch),
            mask: output.mask.map(Own::new),
            receipt: Arc::new(output.receipt),
        });
        Output {
            schema: Arc::clone(schema),
            pieces: pieces.collect(),
            realigned,
        }
    }

    fn one(&self, plural: &str) -> Result<&Piece, Failure> {
        match &self.pieces[..] {
            [piece] => Ok(piece),
            pieces => Err(config(format!(
                "the output has {} batches: see `{plural}`",
                pieces.len()
            ))),
        }
    }
}

#[pymethods]
impl Output {
    /// The batches, in the order of the data.
    #[getter]
    fn batches(&self) -> Vec<Batch> {
        let batch = |piece: &Piece| Batch {
            inner: piece.batch.clone(),
        };
        self.pieces.iter().map(batch).collect()
    }

    /// The batch, where there is one.
    #[getter]
    fn batch(&self) -> Result<Batch, Failure> {
        let inner = self.one("batches")?.batch.clone();
        Ok(Batch { inner })
    }

    /// One receipt for each batch.
    #[getter]
    fn receipts(&self) -> Vec<Receipt> {
        let receipt = |piece: &Piece| Receipt {
            inner: Arc::clone(&piece.receipt),
        };
        self.pieces.iter().map(receipt).collect()
    }

    /// The receipt, where there is one batch.
    #[getter]
    fn receipt(&self) -> Result<Receipt, Failure> {
        let inner = Arc::clone(&self.one("receipts")?.receipt);
        Ok(Receipt { inner })
    }

    /// Which rows of the input each batch keeps, of a kernel with ``mask=True``.
    #[getter]
    fn masks(&self) -> Result<Vec<Column>, Failure> {
        let field = Arc::new(Field::new("mask", DataType::Boolean, false));
        let masks = self.pieces.iter().filter_map(|piece| piece.mask.as_ref());
        masks
            .map(|mask| {
                let mask = Arc::new(mask.get()?.clone());
                Ok(Column::new(Arc::clone(&field), mask))
            })
            .collect()
    }

    /// Bytes of the input that were copied because they were not aligned for their type.
    #[getter]
    fn bytes_realigned(&self) -> u64 {
        self.realigned
    }

    #[getter]
    fn num_rows(&self) -> usize {
        self.pieces.iter().map(|piece| piece.rows).sum()
    }

    #[getter]
    fn schema(&self) -> Schema {
        Schema {
            inner: Arc::clone(&self.schema),
        }
    }

    fn __len__(&self) -> usize {
        self.num_rows()
    }

    fn __repr__(&self) -> String {
        let (rows, batches) = (self.num_rows(), self.pieces.len());
        format!("Output({rows} rows in {batches} batches)")
    }

    fn _repr_html_(&self) -> String {
        let head = format!(
            "<p>{} rows in {} batches</p>",
            self.num_rows(),
            self.pieces.len()
        );
        let receipts = self.receipts().into_iter().take(SHOWN);
        let tables: String = receipts.map(|receipt| receipt.html()).collect();
        let more = self.pieces.len().saturating_sub(SHOWN);
        let rest = if more > 0 {
            format!("<p>and {more} more</p>")
        } else {
            String::new()
        };
        head + &tables + &rest
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        export_schema(py, &*self.schema)
    }

    /// The requested schema is a wish by the protocol; casting would copy, so it is not granted.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _not_granted = requested_schema;
        let batches = self.pieces.iter().map(|piece| piece.batch.get().cloned());
        let batches: Vec<_> = batches.collect::<Result<_, _>>()?;
        let batches = batches.into_iter().map(Ok);
        export_stream(
            py,
            RecordBatchIterator::new(batches, Arc::clone(&self.schema)),
        )
    }
}

/// Receipts that a notebook shows of one output.
const SHOWN: usize = 4;
