//! Tickets: results that are still to come.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arrow_schema::SchemaRef;
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use unlade::Error;

use crate::failure::{Failure, config};
use crate::interpreter::outside;
use crate::output::Output;
use crate::own::{Own, shown};
use crate::time::{SIGNALS, seconds};

/// The result of a batch that was submitted. A ticket that is dropped is cancelled.
#[pyclass(frozen, module = "unlade")]
#[derive(Debug)]
pub(crate) struct Ticket {
    place: Own<Mutex<Place>>,
    schema: SchemaRef,
    realigned: u64,
}

/// Where the runtime's ticket is.
#[derive(Debug)]
enum Place {
    Here(unlade::Ticket),
    /// A thread waits with it.
    Waited {
        /// Whether that is to give it up when it next looks.
        cancelled: bool,
    },
    /// Somebody has the result.
    Given,
    Cancelled,
}

impl Ticket {
    pub(crate) fn new(inner: unlade::Ticket, schema: &SchemaRef, realigned: u64) -> Self {
        Ticket {
            place: Own::new(Mutex::new(Place::Here(inner))),
            schema: Arc::clone(schema),
            realigned,
        }
    }

    fn place(&self) -> Result<MutexGuard<'_, Place>, Failure> {
        let place = self.place.get()?;
        Ok(place.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The ticket, to wait with.
    fn take(&self) -> Result<unlade::Ticket, Failure> {
        let mut place = self.place()?;
        match std::mem::replace(&mut *place, Place::Waited { cancelled: false }) {
            Place::Here(ticket) => Ok(ticket),
            other => {
                let why = match other {
                    Place::Cancelled => Error::Cancelled.into(),
                    Place::Given => config("the ticket has given its result, which it does once"),
                    _ => config("another thread waits for the ticket"),
                };
                *place = other;
                Err(why)
            }
        }
    }

    /// Puts the ticket back for later, unless it was cancelled meanwhile.
    fn put_back(&self, ticket: unlade::Ticket) -> Result<(), Failure> {
        let mut place = self.place()?;
        *place = match *place {
            Place::Waited { cancelled: true } => Place::Cancelled,
            _ => Place::Here(ticket),
        };
        Ok(())
    }

    /// Whether the ticket was cancelled while it was waited with; then it is gone.
    fn is_given_up(&self) -> Result<bool, Failure> {
        let mut place = self.place()?;
        let is = matches!(*place, Place::Waited { cancelled: true });
        if is {
            *place = Place::Cancelled;
        }
        Ok(is)
    }
}

#[pymethods]
impl Ticket {
    /// Waits for the result, which is given once.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> Result<Output, Failure> {
        let deadline = timeout.map(|after| seconds("timeout", after)).transpose()?;
        let deadline = deadline.and_then(|after| Instant::now().checked_add(after));
        let mut ticket = self.take()?;
        if deadline.is_none_or(|at| at > Instant::now())
            && let Err(within) = ticket.may_wait()
        {
            self.put_back(ticket)?;
            return Err(within.into());
        }
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let now = left.map_or(SIGNALS, |left| left.min(SIGNALS));
            match outside(py, || ticket.wait_timeout(now))? {
                Ok(outcome) => {
                    *self.place()? = Place::Given;
                    return Ok(Output::new(&self.schema, [outcome?], self.realigned));
                }
                Err(pending) => ticket = pending,
            }
            if self.is_given_up()? {
                return Err(Error::Cancelled.into());
            }
            let over = left.is_some_and(|left| left <= now);
            if let Err(interrupted) = py.check_signals() {
                self.put_back(ticket)?;
                return Err(interrupted.into());
            }
            if over {
                self.put_back(ticket)?;
                let error = PyTimeoutError::new_err("the result is not there yet; wait again");
                return Err(error.into());
            }
        }
    }

    /// Whether the result is there, was given, or will not come.
    fn done(&self) -> Result<bool, Failure> {
        Ok(match &*self.place()? {
            Place::Here(ticket) => ticket.is_done(),
            Place::Waited { .. } => false,
            Place::Given | Place::Cancelled => true,
        })
    }

    /// Gives the result up: work that has not begun never will, and who waits is told within a
    /// moment.
    fn cancel(&self) -> Result<(), Failure> {
        let mut place = self.place()?;
        match &mut *place {
            Place::Waited { cancelled } => *cancelled = true,
            Place::Here(_) => *place = Place::Cancelled,
            Place::Given | Place::Cancelled => {}
        }
        Ok(())
    }

    fn __repr__(&self) -> Result<String, Failure> {
        shown("Ticket", || {
            Ok(match self.done()? {
                true => "Ticket(done)".to_owned(),
                false => "Ticket(pending)".to_owned(),
            })
        })
    }
}
