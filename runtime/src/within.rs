//! What a thread is in the midst of: functions, readers and callbacks that runtimes have called.
//!
//! Who waits there for a ticket of the same runtime may have the thread that is to do its work, and then
//! waits for good. So that is refused.

use std::cell::RefCell;

use crate::error::{Error, Within};
use crate::sync::thread_local;

/// Functions that one thread is in, each called by a kernel that the one before has run: there is an
/// end to the stack.
pub(crate) const MOST_DEEP: usize = 16;

/// A runtime, as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RuntimeId(pub(crate) usize);

thread_local! {
    static STACK: RefCell<Vec<(RuntimeId, Within)>> = const { RefCell::new(Vec::new()) };
}

/// Code of somebody else's that a runtime has called on this thread.
#[derive(Debug)]
pub(crate) struct Inside(());

impl Inside {
    /// `None` for one function more than may be.
    pub(crate) fn of(runtime: RuntimeId, what: Within) -> Option<Self> {
        let entered = STACK.try_with(|stack| {
            let mut stack = stack.borrow_mut();
            let functions = stack.iter().filter(|(_, what)| *what == Within::Function);
            let may = what != Within::Function || functions.count() < MOST_DEEP;
            if may {
                stack.push((runtime, what));
            }
            may
        });
        // A thread that is at its end calls nothing that waits.
        entered.unwrap_or(true).then_some(Inside(()))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _at_its_end = STACK.try_with(|stack| stack.borrow_mut().pop());
    }
}

/// Whether this thread may wait for work of a runtime.
///
/// # Errors
/// [`Error::WaitWithin`] where it is in the midst of what that has called.
pub(crate) fn may_wait(runtime: RuntimeId) -> Result<(), Error> {
    STACK.with(|stack| {
        let stack = stack.borrow();
        let within = stack.iter().find(|(inside, _)| *inside == runtime);
        within.map_or(Ok(()), |(_, what)| Err(Error::WaitWithin(*what)))
    })
}
