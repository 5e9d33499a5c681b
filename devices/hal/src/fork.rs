//! Whether this process is a forked child.
//!
//! Device memory does not survive a fork: slabs are not mapped in the child, a CUDA context is
//! void there, a card's container belongs to the parent. [`check`] turns what would be a crash
//! into an error; whatever is about to touch a device asks it first. It costs one load.
//!
//! ```
//! # fn main() -> Result<(), unlade_hal::fork::Forked> {
//! unlade_hal::fork::check()?; // we are no child
//! # Ok(())
//! # }
//! ```

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set in a child by the handler, never cleared.
static FORKED: AtomicBool = AtomicBool::new(false);

/// The process was forked after device memory had been used in its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process was forked after Unlade had been used in its parent, and device memory does not \
     survive a fork; start workers with exec (Python: the `spawn` start method) or fork before \
     the first use"
)]
pub struct Forked;

/// An error if this process was forked from one that had already called [`watch`].
#[inline]
pub fn check() -> Result<(), Forked> {
    if FORKED.load(Ordering::Relaxed) {
        Err(Forked)
    } else {
        Ok(())
    }
}

/// Begins to watch for forks. Mapping host pages does so by itself; whatever holds device state
/// without pages calls it once at the start. Cheap to repeat.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if cfg!(miri) {
            return;
        }
        // SAFETY: The handler is a function without captures that lives as long as the process. In
        // a child of a threaded process only async-signal-safe work is allowed: it does one store.
        let result = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        assert_eq!(
            result, 0,
            "no memory left for a fork handler of a few bytes"
        );
    });
}

unsafe extern "C" fn in_child() {
    FORKED.store(true, Ordering::Relaxed);
}
