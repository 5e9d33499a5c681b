//! Kernels: compiled queries.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arrow_array::{RecordBatchIterator, RecordBatchReader};
use pyo3::prelude::*;

use crate::argument::Number;
use crate::batch::Schema;
use crate::capsule::{Imported, Incoming};
use crate::failure::{Failure, caught, config, with_rows_before};
use crate::given::{Given, Pieces, unlade_input};
use crate::interpreter::{awaited, inside, outside};
use crate::output::Output;
use crate::own::{Own, shown};
use crate::resident::Resident;
use crate::status::dictionary;
use crate::stream::Stream;
use crate::ticket::Ticket;
use crate::time::SIGNALS;

/// Rows of the pieces in which `run` takes tables, on one thread and on several: few enough that the
/// threads end together and signals are handled soon, many enough that what a piece costs by itself,
/// some ten microseconds with its way to others, hardly counts.
const PIECE_ROWS: (usize, usize) = (1 << 20, 1 << 18);

/// A query compiled for data of one schema. It runs from any thread, on several at once, and without
/// the interpreter.
#[pyclass(frozen, module = "unlade")]
#[derive(Debug)]
pub(crate) struct Kernel {
    inner: Own<unlade::Kernel>,
    /// Threads of its runtime.
    threads: usize,
    /// Whether values of its data are looked at.
    checks_values: bool,
}

impl Kernel {
    pub(crate) fn new(inner: unlade::Kernel, threads: usize, checks_values: bool) -> Self {
        Kernel {
            inner: Own::new(inner),
            threads,
            checks_values,
        }
    }

    /// Data, looked at as far as the kernel is to. Its columns have names, by which Python goes.
    fn looked_at(&self, py: Python<'_>, data: Given) -> Result<Given, Failure> {
        self.inner.get()?.check_names(&data.schema())?;
        match self.checks_values {
            true => Ok(data.with_values_checked(py)?),
            false => Ok(data),
        }
    }

    fn run_table(&self, py: Python<'_>, incoming: Incoming) -> Result<Output, Failure> {
        let realigned = incoming.realigned();
        let (alone, spread) = PIECE_ROWS;
        let kernel = self.inner.get()?;
        let outputs = outside(py, || match self.threads {
            1 => collected(
                Pieces::new(incoming, alone).map(|batch| kernel.run(&batch.map_err(unlade_input)?)),
            ),
            _ => collected(kernel.stream(Pieces::new(incoming, spread))),
        })??;
        let realigned = realigned.load(Ordering::Relaxed);
        Ok(Output::new(kernel.schema(), outputs, realigned))
    }
}

#[pymethods]
impl Kernel {
    /// Runs the query on data with the Arrow PyCapsule interface.
    fn run(&self, py: Python<'_>, data: Given) -> Result<Output, Failure> {
        match self.looked_at(py, data)? {
            Given::Batch(Imported { batch, realigned }) => {
                let kernel = self.inner.get()?;
                let output = outside(py, || kernel.run(&batch))??;
                Ok(Output::new(kernel.schema(), [output], realigned))
            }
            Given::Stream(incoming) => self.run_table(py, incoming),
        }
    }

    fn __call__(&self, py: Python<'_>, data: Given) -> Result<Output, Failure> {
        self.run(py, data)
    }

    /// Hands a batch over, to be computed by the runtime's threads.
    fn submit(&self, py: Python<'_>, data: Given) -> Result<Ticket, Failure> {
        let Imported { batch, realigned } = self.looked_at(py, data)?.one(py)?;
        let kernel = self.inner.get()?;
        let ticket = outside(py, || kernel.submit(batch))??;
        Ok(Ticket::new(ticket, kernel.schema(), realigned))
    }

    /// Runs the query on a batch, to be awaited.
    async fn run_async(&self, data: Given) -> Result<Output, Failure> {
        let Imported { batch, realigned } = Python::attach(|py| self.looked_at(py, data)?.one(py))?;
        let kernel = self.inner.get()?;
        let submitted = caught(|| kernel.submit(batch))??;
        submitted.may_wait()?;
        let output = awaited(submitted).await?;
        Ok(Output::new(kernel.schema(), [output], realigned))
    }

    /// Runs the query on every batch of a table or reader, as results are asked for.
    #[pyo3(signature = (data, *, batch_rows=None))]
    fn stream(
        &self,
        py: Python<'_>,
        data: Given,
        batch_rows: Option<Number>,
    ) -> Result<Stream, Failure> {
        let (reader, realigned): (Box<dyn RecordBatchReader + Send>, _) =
            match self.looked_at(py, data)? {
                Given::Batch(Imported { batch, realigned }) => {
                    let schema = batch.schema();
                    let reader = RecordBatchIterator::new([Ok(batch)], schema);
                    (Box::new(reader), Arc::new(realigned.into()))
                }
                Given::Stream(incoming) => {
                    let realigned = incoming.realigned();
                    (Box::new(incoming), realigned)
                }
            };
        let rows = batch_rows
            .map(|rows| rows.named("batch_rows"))
            .transpose()?;
        let rows = match rows {
            Some(0) => return Err(config("batch_rows is at least 1, not 0")),
            rows => rows.unwrap_or(usize::MAX),
        };
        let stream = self.inner.get()?.stream(Pieces::new(reader, rows));
        Ok(Stream::new(stream, realigned))
    }

    /// Runs the query on every batch that was pinned, where they lie.
    fn run_resident(&self, py: Python<'_>, resident: &Resident) -> Result<Output, Failure> {
        let (kernel, resident) = (self.inner.get()?, resident.inner.get()?);
        if let Some(first) = resident.batches().first() {
            kernel.check_names(first.schema_ref())?;
        }
        let outputs = outside(py, || kernel.run_resident(resident))??;
        Ok(Output::new(kernel.schema(), outputs, 0))
    }

    /// What runs where, and why; nothing is run.
    fn explain(&self) -> Result<Explain, Failure> {
        let inner = self.inner.get()?.explain();
        Ok(Explain { inner })
    }

    /// Names and types of the columns that it makes.
    #[getter]
    fn schema(&self) -> Result<Schema, Failure> {
        let inner = Arc::clone(self.inner.get()?.schema());
        Ok(Schema { inner })
    }

    /// Names and types of the columns that it takes.
    #[getter]
    fn input_schema(&self) -> Result<Schema, Failure> {
        let inner = Arc::clone(self.inner.get()?.input_schema());
        Ok(Schema { inner })
    }

    /// Names of the columns that it reads: a reader need not decode the others.
    #[getter]
    fn input_columns(&self) -> Result<Vec<String>, Failure> {
        let kernel = self.inner.get()?;
        let fields = kernel.input_schema().fields();
        let columns = kernel.input_columns().into_iter();
        Ok(columns.map(|index| fields[index].name().clone()).collect())
    }

    /// Names the program, whatever its literals are.
    #[getter]
    fn shape(&self) -> Result<String, Failure> {
        Ok(self.inner.get()?.shape().to_string())
    }

    fn __repr__(&self) -> Result<String, Failure> {
        shown("Kernel", || Ok(format!("Kernel({})", self.shape()?)))
    }
}

/// What a kernel does, and why there.
#[pyclass(frozen, module = "unlade")]
#[derive(Debug)]
pub(crate) struct Explain {
    inner: unlade::Explain,
}

#[pymethods]
impl Explain {
    /// All of it, by the names of its JSON form.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        dictionary(py, &self.inner)
    }

    fn __str__(&self) -> String {
        self.inner.to_string()
    }

    fn __repr__(&self) -> String {
        self.inner.to_string()
    }
}

/// All results, rows of errors counted from the first batch on. Signals are handled now and then.
fn collected(
    results: impl Iterator<Item = Result<unlade::Output, unlade::Error>>,
) -> Result<Vec<unlade::Output>, Failure> {
    let mut outputs: Vec<unlade::Output> = Vec::new();
    let (mut before, mut looked) = (0, Instant::now());
    for result in results {
        let output = result.map_err(|error| with_rows_before(error, before))?;
        before += output.receipt.rows_in;
        outputs.push(output);
        if looked.elapsed() > SIGNALS {
            inside(|py| py.check_signals())?;
            looked = Instant::now();
        }
    }
    Ok(outputs)
}
