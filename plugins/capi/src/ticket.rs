//! Tickets: results that are still to come.

use std::ffi::{c_int, c_void};
use std::future::Future;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use unlade::{Output, Ticket};
use unlade_cdata::import::Owned;
use unlade_cdata::raw::{ArrowArray, ArrowSchema};

use crate::border::{end, enter, place, put};
use crate::code::unlade_code::{self, UNLADE_CANCELLED, UNLADE_LIMIT, UNLADE_OK, UNLADE_PENDING};
use crate::error::{Error, unlade_error};
use crate::failure::Failure;
use crate::handles::{self, Held};
use crate::kernel::{KernelHeld, unlade_kernel};
use crate::output::{self, unlade_output, unlade_output_release};

/// The result of a batch that was submitted, when it is there.
#[allow(non_camel_case_types)]
#[derive(Debug)]
pub struct unlade_ticket {
    _opaque: [u8; 0],
}

/// Called once, with `user` and what became of the batch: the result where `code` is `UNLADE_OK`,
/// else the error. It runs on a thread of the runtime, or on the one that submits or cancels, and must
/// not keep it for long. Both `output` and `error` are freed when it returns: what it keeps of the
/// result it moves out. It must not throw, nor jump.
#[allow(non_camel_case_types)]
pub type unlade_done = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        code: unlade_code,
        output: *mut unlade_output,
        error: *mut unlade_error,
    ),
>;

/// What is behind a handle.
struct TicketHeld(Arc<Pending>);

impl Held for TicketHeld {
    type Handle = unlade_ticket;
    const KIND: &'static str = "ticket";
}

/// Frees the handle: nobody else will take the result.
impl Drop for TicketHeld {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// Hands a batch over to be computed later, and gives a ticket for its result: to wait for
/// (`unlade_ticket_wait`), or to poll (`unlade_ticket_fd`). The array is handed over as in
/// `unlade_kernel_run`.
///
/// # Safety
/// As `unlade_kernel_run`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_kernel_submit(
    kernel: *const unlade_kernel,
    array: *mut ArrowArray,
    schema: *const ArrowSchema,
    ticket: *mut *mut unlade_ticket,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        let array = Owned::take(array);
        enter(error, || {
            place(ticket, "place for the ticket")?;
            let pending = Pending::submit(kernel, array?, schema, None)?;
            pending.look();
            let handle = handles::give(TicketHeld(pending));
            put(ticket, "place for the ticket", handle)?;
            Ok(UNLADE_OK)
        })
    }
}

/// Hands a batch over to be computed later, and has `done` called with its result, which has what
/// `want` says (`UNLADE_WANT_SCHEMA` and others). Where this does not return `UNLADE_OK` it is not
/// called. `ticket` may be null; else it gets a ticket to cancel by, and to free, before `done` is
/// called, which may be before this returns.
///
/// # Safety
/// As `unlade_kernel_run`; `user` may be used by another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_kernel_submit_then(
    kernel: *const unlade_kernel,
    array: *mut ArrowArray,
    schema: *const ArrowSchema,
    want: u32,
    done: unlade_done,
    user: *mut c_void,
    ticket: *mut *mut unlade_ticket,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        let array = Owned::take(array);
        enter(error, || {
            if !ticket.is_null() {
                ticket.write(std::ptr::null_mut());
            }
            output::check_want(want)?;
            let done = done.ok_or_else(|| Failure::null("callback"))?;
            let callback = Callback { done, user, want };
            let pending = Pending::submit(kernel, array?, schema, Some(callback))?;
            if !ticket.is_null() {
                ticket.write(handles::give(TicketHeld(Arc::clone(&pending))));
            }
            // The callback may be called from here on, and find the ticket.
            pending.look();
            Ok(UNLADE_OK)
        })
    }
}

/// Waits for a result, no longer than so many milliseconds; without end where that is negative.
/// `UNLADE_PENDING`, which is no error, says that it is not there yet. Any other answer is the last
/// one: a result is given once. Inside of a function, a reader or a callback that the runtime has called,
/// which may have the thread that is to do the work, it is `UNLADE_INVALID_ARGUMENT`, unless the result is
/// there or `within_ms` is 0.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_ticket_wait(
    ticket: *const unlade_ticket,
    within_ms: i64,
    output: *mut unlade_output,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        let begun = output::begin(output);
        enter(error, || {
            begun?;
            let held = handles::get::<TicketHeld>(ticket)?;
            let within = u64::try_from(within_ms).ok().map(Duration::from_millis);
            let Some(result) = held.0.wait(within)? else {
                return Ok(UNLADE_PENDING);
            };
            output::fill(&mut *output, result?, held.0.realigned)?;
            Ok(UNLADE_OK)
        })
    }
}

/// A descriptor that becomes readable when the result is there, and stays so: for `poll`, `epoll` and
/// the like. It belongs to the ticket, and is closed with it; do not read from it.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_ticket_fd(
    ticket: *const unlade_ticket,
    fd: *mut c_int,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            put(fd, "place for the descriptor", -1)?;
            let known = handles::get::<TicketHeld>(ticket)?.0.descriptor()?;
            put(fd, "place for the descriptor", known)?;
            Ok(UNLADE_OK)
        })
    }
}

/// Gives up a result: work that has not begun never will, and the result is `UNLADE_CANCELLED`, for
/// the callback, too, which is called by this call, unless it was before.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_ticket_cancel(
    ticket: *const unlade_ticket,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches.
    unsafe {
        enter(error, || {
            handles::get::<TicketHeld>(ticket)?.0.cancel();
            Ok(UNLADE_OK)
        })
    }
}

/// Frees a ticket. Without a callback its result is given up; with one, that is still called. Null is
/// allowed.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_ticket_free(ticket: *mut unlade_ticket) -> unlade_code {
    end(|| handles::free::<TicketHeld>(ticket))
}

/// A batch on its way, and who waits for it.
struct Pending {
    state: Mutex<State>,
    done: Condvar,
    /// Bytes of the batch that were copied as it came in.
    realigned: u64,
}

struct State {
    stage: Stage,
    callback: Option<Callback>,
    /// Readable once the result is there.
    readable: Option<OwnedFd>,
}

enum Stage {
    /// The result is to come.
    Waiting(Ticket),
    /// It is there.
    Done(Box<Result<Output, Failure>>),
    /// It was given.
    Over,
}

impl Pending {
    /// What is on its way, to be [looked](Self::look) at.
    ///
    /// # Safety
    /// Pointers are null or as the header says.
    unsafe fn submit(
        kernel: *const unlade_kernel,
        array: Owned,
        schema: *const ArrowSchema,
        callback: Option<Callback>,
    ) -> Result<Arc<Self>, Failure> {
        let held = handles::get::<KernelHeld>(kernel)?;
        // SAFETY: As the caller vouches.
        let imported = unsafe { held.import(array, schema)? };
        let ticket = held.kernel.submit(imported.batch)?;
        let pending = Arc::new(Pending {
            state: Mutex::new(State {
                stage: Stage::Waiting(ticket),
                callback,
                readable: None,
            }),
            done: Condvar::new(),
            realigned: imported.realigned,
        });
        Ok(pending)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether the result is there; if it is not, this is done again when it is.
    fn look(self: &Arc<Self>) {
        let mut state = self.lock();
        let Stage::Waiting(ticket) = &mut state.stage else {
            return;
        };
        let waker = Waker::from(Arc::clone(self));
        let polled = Pin::new(ticket).poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(outcome) = polled {
            self.end(state, outcome.map_err(Failure::from));
        }
    }

    /// Tells whoever waits how it ended.
    fn end(&self, mut state: MutexGuard<'_, State>, outcome: Result<Output, Failure>) {
        if let Some(callback) = state.callback.take() {
            let before = std::mem::replace(&mut state.stage, Stage::Over);
            drop(state);
            // On whichever thread: whether it may wait is no matter of timing.
            let _inside = match &before {
                Stage::Waiting(ticket) => Some(ticket.enter_callback()),
                Stage::Done(_) | Stage::Over => None,
            };
            drop(before);
            return callback.call(outcome, self.realigned);
        }
        let before = std::mem::replace(&mut state.stage, Stage::Done(Box::new(outcome)));
        if let Some(readable) = &state.readable {
            tell(readable);
        }
        drop(state);
        drop(before);
        self.done.notify_all();
    }

    /// The result; `None` where it is not there in time.
    fn wait(&self, within: Option<Duration>) -> Result<Option<Result<Output, Failure>>, Failure> {
        let deadline = within.and_then(|within| Instant::now().checked_add(within));
        let mut state = self.lock();
        loop {
            if state.callback.is_some() {
                return Err(Failure::argument(
                    "the result goes to a callback, and is not waited for",
                ));
            }
            match std::mem::replace(&mut state.stage, Stage::Over) {
                Stage::Done(outcome) => return Ok(Some(*outcome)),
                Stage::Over => {
                    return Err(Failure::argument(
                        "the result of the ticket was given before",
                    ));
                }
                waiting => state.stage = waiting,
            }
            if within.is_none_or(|within| !within.is_zero())
                && let Stage::Waiting(ticket) = &state.stage
            {
                ticket.may_wait()?;
            }
            state = match deadline {
                None => self
                    .done
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    let waited = self.done.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn descriptor(&self) -> Result<c_int, Failure> {
        let mut state = self.lock();
        if state.readable.is_none() {
            let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
            let made = made.map_err(|error| {
                Failure::new(UNLADE_LIMIT, format!("no descriptor to poll: {error}"))
            })?;
            if !matches!(state.stage, Stage::Waiting(_)) {
                tell(&made);
            }
            state.readable = Some(made);
        }
        let readable = state.readable.as_ref().expect("it was made");
        Ok(readable.as_raw_fd())
    }

    fn cancel(&self) {
        let state = self.lock();
        if matches!(state.stage, Stage::Waiting(_)) {
            // What is dropped there is the ticket, which ends the work.
            self.end(state, Err(Failure::new(UNLADE_CANCELLED, "cancelled")));
        }
    }

    /// Nobody waits any more; a callback still does.
    fn give_up(&self) {
        let mut state = self.lock();
        if state.callback.is_none() {
            let before = std::mem::replace(&mut state.stage, Stage::Over);
            drop(state);
            drop(before);
        }
    }
}

impl Wake for Pending {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

/// Makes a descriptor readable.
fn tell(readable: &impl AsFd) {
    // It has room for more than one: this cannot fail.
    let _told = rustix::io::write(readable, &1_u64.to_ne_bytes());
}

/// A function of C's, and what it is called with.
struct Callback {
    done: unsafe extern "C" fn(*mut c_void, unlade_code, *mut unlade_output, *mut unlade_error),
    user: *mut c_void,
    want: u32,
}

// SAFETY: docs/C.md says that callbacks are called by other threads, and who hands one over vouches
// that it may be.
unsafe impl Send for Callback {}

impl Callback {
    fn call(self, outcome: Result<Output, Failure>, realigned: u64) {
        let mut output = unlade_output::wanting(self.want);
        let filled = outcome.and_then(|result| output::fill(&mut output, result, realigned));
        let (code, error) = match filled {
            Ok(()) => (UNLADE_OK, std::ptr::null_mut()),
            Err(failure) => (failure.code, handles::give(Error::new(failure))),
        };
        // SAFETY: Who handed it over vouches that it may be called once, with that, on any thread.
        unsafe { (self.done)(self.user, code, &mut output, error) };
        // SAFETY: It was set here; what was moved out is marked so.
        unsafe { unlade_output_release(&mut output) };
        // It may have been freed by the callback.
        let _freed = handles::free::<Error>(error);
    }
}
