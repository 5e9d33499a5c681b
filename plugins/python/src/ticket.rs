//! Tickets: results that are still to come.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow_schema::SchemaRef;
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;

use crate::failure::{Failure, config};
use crate::output::Output;
use crate::time::{SIGNALS, seconds};

/// The result of a batch that was submitted. A ticket that is dropped is cancelled.
#[pyclass(frozen, module = "unlade")]
#[derive(Debug)]
pub(crate) struct Ticket {
    /// Until somebody has the result.
    inner: Mutex<Option<unlade::Ticket>>,
    schema: SchemaRef,
    realigned: u64,
}

impl Ticket {
    pub(crate) fn new(inner: unlade::Ticket, schema: &SchemaRef, realigned: u64) -> Self {
        Ticket {
            inner: Mutex::new(Some(inner)),
            schema: Arc::clone(schema),
            realigned,
        }
    }

    fn take(&self) -> Option<unlade::Ticket> {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn put_back(&self, ticket: unlade::Ticket) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = Some(ticket);
    }
}

#[pymethods]
impl Ticket {
    /// Waits for the result, which is given once.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> Result<Output, Failure> {
        let deadline = timeout.map(seconds).transpose()?;
        let deadline = deadline.and_then(|after| Instant::now().checked_add(after));
        let mut ticket = self.take().ok_or_else(|| {
            config("the ticket has given its result, was cancelled, or another thread waits for it")
        })?;
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let now = left.map_or(SIGNALS, |left| left.min(SIGNALS));
            match py.detach(|| ticket.wait_timeout(now)) {
                Ok(outcome) => return Ok(Output::new(&self.schema, [outcome?], self.realigned)),
                Err(pending) => ticket = pending,
            }
            let over = left.is_some_and(|left| left <= now);
            if let Err(interrupted) = py.check_signals() {
                self.put_back(ticket);
                return Err(interrupted.into());
            }
            if over {
                self.put_back(ticket);
                let error = PyTimeoutError::new_err("the result is not there yet; wait again");
                return Err(error.into());
            }
        }
    }

    /// Whether the result is there.
    fn done(&self) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.as_ref().is_none_or(unlade::Ticket::is_done)
    }

    /// Gives the result up: work that has not begun never will.
    fn cancel(&self) {
        drop(self.take());
    }

    fn __repr__(&self) -> &'static str {
        match self.done() {
            true => "Ticket(done)",
            false => "Ticket(pending)",
        }
    }
}
