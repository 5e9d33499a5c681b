//! Tickets: results that are still to come.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::error::{Error, Within};
use crate::kernel::Output;
use crate::runtime::Core;
use crate::session::{SessionCore, Waits};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard};
use crate::within::{self, Inside, RuntimeId};

type Outcome = Result<Output, Error>;
type Callback = Box<dyn FnOnce(Outcome) + Send>;

/// A callback with its result.
pub(crate) type Call = Box<dyn FnOnce() + Send>;

/// The result of a submitted batch, when it is there.
///
/// Wait for it ([`wait`](Ticket::wait)), await it (a ticket is a [`Future`]), have a callback
/// called ([`on_complete`](Ticket::on_complete)), or [`cancel`](Ticket::cancel) it. A ticket that
/// is dropped is cancelled: what runs on a device ends there, its memory comes back with its
/// completion, and nobody sees the result.
#[must_use = "dropping a ticket cancels it"]
pub struct Ticket {
    shared: Arc<Shared>,
    /// Whether nobody else takes the result.
    cancels: bool,
}

/// The other end of a ticket, held by whoever computes the result. Dropped without a result it
/// ends the ticket with [`Error::Shutdown`].
pub(crate) struct Completer {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    runtime: RuntimeId,
    state: Mutex<State>,
    done: Condvar,
    /// Whether nobody waits for the result any more.
    given_up: AtomicBool,
}

enum State {
    Pending(Waiter),
    Done(Box<Outcome>),
    Taken,
}

enum Waiter {
    None,
    Waker(Waker),
    Callback(Callback),
}

/// A ticket and its other end. The ticket ends at once when the session is cancelled.
pub(crate) fn ticket(session: &SessionCore, runtime: RuntimeId) -> (Ticket, Completer) {
    let shared = Arc::new(Shared {
        runtime,
        state: Mutex::new(State::Pending(Waiter::None)),
        done: Condvar::new(),
        given_up: AtomicBool::new(false),
    });
    session.owes(&shared);
    let completer = Completer {
        shared: Some(Arc::clone(&shared)),
    };
    (
        Ticket {
            shared,
            cancels: true,
        },
        completer,
    )
}

impl Ticket {
    /// Blocks until the result is there.
    ///
    /// # Errors
    /// Those of the batch, [`Error::Cancelled`], and [`Error::WaitWithin`], as
    /// [`may_wait`](Ticket::may_wait) says.
    pub fn wait(self) -> Result<Output, Error> {
        self.may_wait()?;
        let mut state = self.shared.lock();
        loop {
            if let Some(outcome) = state.take() {
                return outcome;
            }
            state = self
                .shared
                .done
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks until the result is there, but no longer than this; the ticket comes back where it
    /// is not.
    ///
    /// # Errors
    /// The ticket, to wait for again; inside, the errors of [`wait`](Ticket::wait), of which
    /// [`Error::WaitWithin`] does not come where there is no time to wait.
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<Output, Error>, Ticket> {
        if !timeout.is_zero()
            && let Err(within) = self.may_wait()
        {
            return Ok(Err(within));
        }
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.shared.lock();
        loop {
            if let Some(outcome) = state.take() {
                return Ok(outcome);
            }
            let left = match deadline {
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                None => Duration::MAX,
            };
            if left.is_zero() {
                drop(state);
                return Err(self);
            }
            let waited = self.shared.done.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether this thread may wait for the result, if it is not there yet: not in the midst of a
    /// function, a reader or a callback that the ticket's runtime has called, since the thread is then
    /// perhaps the one that is to do the work. Who awaits a ticket there, and blocks until it is done, asks
    /// this first. To poll one is not refused: it blocks nothing, and an executor that runs there polls
    /// whatever tasks it has, also those for which nobody there waits.
    ///
    /// # Errors
    /// [`Error::WaitWithin`] where not.
    pub fn may_wait(&self) -> Result<(), Error> {
        match self.is_done() {
            true => Ok(()),
            false => within::may_wait(self.shared.runtime),
        }
    }

    /// Has this thread be in the midst of a callback until what is returned is dropped, for who tells
    /// others of the ticket's result in a way of his own: what is called then
    /// [may not wait](Ticket::may_wait) for tickets of the runtime, on whichever thread.
    pub fn enter_callback(&self) -> impl Drop + use<> {
        let inside = Inside::of(self.shared.runtime, Within::Callback);
        inside.expect("callbacks may be in each other")
    }

    /// Whether the result is there.
    pub fn is_done(&self) -> bool {
        matches!(*self.shared.lock(), State::Done(_))
    }

    /// Has the result handed to `callback`, once: at once and on this thread if it is there, else
    /// by the thread that completes it, which must not be kept.
    pub fn on_complete(mut self, callback: impl FnOnce(Result<Output, Error>) + Send + 'static) {
        let mut state = self.shared.lock();
        match state.take() {
            Some(outcome) => {
                drop(state);
                let _inside = self.enter_callback();
                callback(outcome);
            }
            None => {
                *state = State::Pending(Waiter::Callback(Box::new(callback)));
                drop(state);
                self.cancels = false;
            }
        }
    }

    /// Gives up the result: work that has not begun never will.
    pub fn cancel(self) {
        drop(self);
    }
}

impl Future for Ticket {
    type Output = Result<Output, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.lock();
        match state.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                *state = State::Pending(Waiter::Waker(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.cancels {
            self.shared.given_up.store(true, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("done", &self.is_done())
            .finish()
    }
}

impl Completer {
    /// Set once nobody waits for the result any more.
    pub(crate) fn given_up(&self) -> &AtomicBool {
        let shared = self.shared.as_ref().expect("it completes once, at its end");
        &shared.given_up
    }

    /// Delivers the result; a callback is left to `call`.
    pub(crate) fn complete(mut self, outcome: Outcome, call: impl FnOnce(Call)) {
        if let Some(shared) = self.shared.take() {
            shared.complete(outcome, call);
        }
    }
}

impl Drop for Completer {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.complete(Err(Error::Shutdown), |callback| callback());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complete(&self, outcome: Outcome, call: impl FnOnce(Call)) {
        let mut state = self.lock();
        let waiter = match std::mem::replace(&mut *state, State::Taken) {
            State::Pending(waiter) => waiter,
            // It has ended already, with its session.
            ended => {
                *state = ended;
                return;
            }
        };
        let runtime = self.runtime;
        if let Waiter::Callback(callback) = waiter {
            drop(state);
            return call(Box::new(move || {
                let _inside = Inside::of(runtime, Within::Callback);
                callback(outcome);
            }));
        }
        let _inside = Inside::of(runtime, Within::Callback);
        *state = State::Done(Box::new(outcome));
        drop(state);
        self.done.notify_all();
        if let Waiter::Waker(waker) = waiter {
            waker.wake();
        }
    }
}

impl Waits for Shared {
    fn end(&self, error: Error) {
        self.given_up.store(true, Ordering::Relaxed);
        self.complete(Err(error), |callback| callback());
    }
}

impl State {
    fn take(&mut self) -> Option<Outcome> {
        match std::mem::replace(self, State::Taken) {
            State::Done(outcome) => Some(*outcome),
            pending @ State::Pending(_) => {
                *self = pending;
                None
            }
            State::Taken => panic!("a ticket was polled after it had given its result"),
        }
    }
}

/// One of the tickets that may be outstanding.
pub(crate) struct TicketPlace {
    runtime: Arc<Core>,
}

impl TicketPlace {
    pub(crate) fn take(runtime: &Arc<Core>) -> Result<Self, Error> {
        let limit = runtime.options.max_tickets as u64;
        let place = TicketPlace {
            runtime: Arc::clone(runtime),
        };
        let outstanding = runtime.tickets.begin(1);
        if outstanding >= limit {
            return Err(Error::Limit {
                what: "tickets not yet done; wait for one first",
                asked: outstanding + 1,
                limit,
            });
        }
        Ok(place)
    }
}

impl Drop for TicketPlace {
    fn drop(&mut self) {
        self.runtime.tickets.end(1);
    }
}
