//! Receipts as Python objects.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use unlade::ClockKind;

use crate::status::dictionary;
use crate::time::nanos;

/// What became of one batch: what ran where, why, and what it cost.
///
/// Times are in nanoseconds, each by the clock that is named beside it: ``wall``, or ``virtual`` for
/// the time of a simulated device. Times of different clocks must not be compared.
#[pyclass(frozen, module = "unlade")]
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    pub(crate) inner: Arc<unlade::Receipt>,
}

/// What one device did for a batch.
#[pyclass(frozen, module = "unlade")]
#[derive(Clone, Debug)]
pub(crate) struct Part {
    receipt: Arc<unlade::Receipt>,
    index: usize,
}

#[pymethods]
impl Receipt {
    /// Number of the batch among those that its kernel has taken, from 0.
    #[getter]
    fn batch(&self) -> u64 {
        self.inner.batch
    }

    /// Batches that were done at once, this one included.
    #[getter]
    fn together(&self) -> u64 {
        self.inner.together
    }

    /// Rows handed over.
    #[getter]
    fn rows_in(&self) -> u64 {
        self.inner.rows_in
    }

    /// Rows given back.
    #[getter]
    fn rows_out(&self) -> u64 {
        self.inner.rows_out
    }

    /// Calls of registered functions, in order: ``function``, ``rows`` and ``taken_ns`` of each.
    #[getter]
    fn calls<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        dictionary(py, &self.inner.calls)
    }

    /// Which device ran what; one unless the query was split or work repeated.
    #[getter]
    fn parts(&self) -> Vec<Part> {
        let parts = 0..self.inner.parts.len();
        let part = |index| Part {
            receipt: Arc::clone(&self.inner),
            index,
        };
        parts.map(part).collect()
    }

    /// Bytes of the columns that were read.
    #[getter]
    fn bytes_in(&self) -> u64 {
        self.inner.bytes_in
    }

    /// Bytes of the output columns.
    #[getter]
    fn bytes_out(&self) -> u64 {
        self.inner.bytes_out
    }

    /// Bytes of payload written while compacting it; 0 where the input's memory is handed on.
    #[getter]
    fn bytes_copied(&self) -> u64 {
        self.inner.bytes_copied
    }

    /// Bytes copied to devices.
    #[getter]
    fn bytes_to_device(&self) -> u64 {
        self.inner.bytes_to_device
    }

    /// Bytes copied from devices.
    #[getter]
    fn bytes_from_device(&self) -> u64 {
        self.inner.bytes_from_device
    }

    /// Of what it took, the host's copying of columns to where devices read them.
    #[getter]
    fn staged_ns(&self) -> u64 {
        nanos(self.inner.staged)
    }

    /// Of what it took, the host's making the output of what devices gave back.
    #[getter]
    fn gathered_ns(&self) -> u64 {
        nanos(self.inner.gathered)
    }

    /// What it was expected to take, where there was a choice, by ``predicted_clock``.
    #[getter]
    fn predicted_ns(&self) -> Option<u64> {
        self.inner.predicted.map(nanos)
    }

    /// The clock of ``predicted_ns``.
    #[getter]
    fn predicted_clock(&self) -> Option<&'static str> {
        self.inner.predicted_clock.map(clock)
    }

    /// What it took from hand-over to result, by ``taken_clock``.
    #[getter]
    fn taken_ns(&self) -> u64 {
        nanos(self.inner.taken)
    }

    /// The clock of ``taken_ns``.
    #[getter]
    fn taken_clock(&self) -> &'static str {
        clock(self.inner.taken_clock)
    }

    /// CPU time of the thread that ran it, of a runtime with ``host_cpu=True``.
    #[getter]
    fn host_cpu_ns(&self) -> Option<u64> {
        self.inner.host_cpu.map(nanos)
    }

    /// How often work was repeated.
    #[getter]
    fn retries(&self) -> u32 {
        self.inner.retries
    }

    /// ``reference`` where the CPU computed the result, ``unverified`` where it is a device's word.
    #[getter]
    fn verified(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(dictionary(py, &self.inner.verified)?.unbind())
    }

    /// All of it, by the names of its JSON form.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        dictionary(py, &*self.inner)
    }

    fn __repr__(&self) -> String {
        let receipt = &self.inner;
        let devices: Vec<&str> = receipt.parts.iter().map(|part| &*part.device).collect();
        format!(
            "Receipt(batch {}: {} of {} rows, {} us on {})",
            receipt.batch,
            receipt.rows_out,
            receipt.rows_in,
            receipt.taken.as_micros(),
            devices.join(", then "),
        )
    }

    fn _repr_html_(&self) -> String {
        self.html()
    }
}

impl Receipt {
    /// As a notebook shows it.
    pub(crate) fn html(&self) -> String {
        let receipt = &self.inner;
        let micros = |time: Duration| format!("{:.1} &micro;s", time.as_secs_f64() * 1e6);
        let mut rows = vec![
            (
                "rows",
                format!("{} of {}", receipt.rows_out, receipt.rows_in),
            ),
            (
                "taken",
                format!("{} ({})", micros(receipt.taken), clock(receipt.taken_clock)),
            ),
        ];
        if let (Some(time), Some(by)) = (receipt.predicted, receipt.predicted_clock) {
            rows.push(("predicted", format!("{} ({})", micros(time), clock(by))));
        }
        rows.push((
            "bytes in, out",
            format!("{}, {}", receipt.bytes_in, receipt.bytes_out),
        ));
        rows.push(("bytes copied", receipt.bytes_copied.to_string()));
        for part in &receipt.parts {
            let text = format!("{} rows: {}", part.rows, part.reason);
            rows.push((&part.device, escaped(&text)));
        }
        let body: String = rows
            .iter()
            .map(|(name, value)| {
                format!(
                    "<tr><th style=\"text-align:left\">{}</th><td>{value}</td></tr>",
                    escaped(name)
                )
            })
            .collect();
        format!(
            "<table><caption>batch {}</caption>{body}</table>",
            receipt.batch
        )
    }
}

impl Part {
    fn inner(&self) -> &unlade::PartReceipt {
        &self.receipt.parts[self.index]
    }

    fn time(&self, time: Duration) -> Option<u64> {
        self.inner().is_timed().then(|| nanos(time))
    }
}

#[pymethods]
impl Part {
    /// The device's name.
    #[getter]
    fn device(&self) -> &str {
        &self.inner().device
    }

    /// ``inline``, ``queued`` or ``fallback``.
    #[getter]
    fn path(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(dictionary(py, &self.inner().path)?.unbind())
    }

    /// Why this device, in words.
    #[getter]
    fn reason(&self) -> String {
        self.inner().reason.to_string()
    }

    /// Rows it took.
    #[getter]
    fn rows(&self) -> u64 {
        self.inner().rows
    }

    /// Whether it ended in a result.
    #[getter]
    fn completed(&self) -> bool {
        self.inner().completed
    }

    /// Time waiting for the device; ``None`` where it does not say.
    #[getter]
    fn queued_ns(&self) -> Option<u64> {
        self.time(self.inner().queued)
    }

    /// Time copying to the device.
    #[getter]
    fn copy_in_ns(&self) -> Option<u64> {
        self.time(self.inner().copy_in)
    }

    /// Time computing.
    #[getter]
    fn compute_ns(&self) -> Option<u64> {
        self.time(self.inner().compute)
    }

    /// Time copying from the device.
    #[getter]
    fn copy_out_ns(&self) -> Option<u64> {
        self.time(self.inner().copy_out)
    }

    /// Bytes of payload that the device compacted.
    #[getter]
    fn bytes_compacted(&self) -> u64 {
        self.inner().bytes_compacted
    }

    /// The clock of its times.
    #[getter]
    fn clock(&self) -> &'static str {
        clock(self.inner().clock)
    }

    fn __repr__(&self) -> String {
        let part = self.inner();
        format!(
            "Part({} rows on {}: {})",
            part.rows, part.device, part.reason
        )
    }
}

fn clock(kind: ClockKind) -> &'static str {
    match kind {
        ClockKind::Wall => "wall",
        ClockKind::Virtual => "virtual",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
