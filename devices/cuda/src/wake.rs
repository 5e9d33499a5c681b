//! The event by which a queue tells that a list may have ended: a descriptor that the driver signals
//! when a stream comes to the point.
//!
//! The driver calls a function of ours there, on a thread of its own, which may call nothing of
//! CUDA's: it writes to the descriptor, and lets go of it. In a context that an error has spoilt it
//! is never called.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use crate::context::{Entered, Stream};
use crate::driver::Fault;

/// An `eventfd` that does not block.
#[derive(Debug)]
pub(crate) struct Wake {
    event: OwnedFd,
}

impl Wake {
    /// Fails where the process has no descriptor left.
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        // SAFETY: It takes no pointer.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: It was opened above, and belongs to nobody else.
        let event = unsafe { OwnedFd::from_raw_fd(event) };
        Ok(Arc::new(Wake { event }))
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Makes it readable.
    pub(crate) fn signal(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: Eight bytes are read, where it is pointed. It fails only where nobody has reset it
        // since 2^64 signals: it is readable then.
        unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Makes it not be readable until the next signal.
    pub(crate) fn reset(&self) {
        let mut count = [0u8; 8];
        // SAFETY: Eight bytes are written, where it is pointed. It fails where there was no signal.
        unsafe { libc::read(self.event.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
    }

    /// Has it signalled once the stream comes to this point.
    pub(crate) fn behind(self: &Arc<Self>, gpu: &Entered<'_>, stream: Stream) -> Result<(), Fault> {
        let kept = Arc::into_raw(self.clone()).cast_mut();
        // Where the driver fails, whether it still calls the function is not known: what that has
        // been handed is then never given back.
        // SAFETY: `signal_and_let_go` takes what was made above; the driver calls it once, or never.
        unsafe { gpu.call_on(stream, signal_and_let_go, kept.cast()) }
    }
}

/// What the driver calls.
///
/// # Safety
/// It is handed what `Arc::into_raw` made of a [`Wake`], once.
unsafe extern "C" fn signal_and_let_go(wake: *mut c_void) {
    // SAFETY: The caller's.
    let wake = unsafe { Arc::from_raw(wake.cast::<Wake>()) };
    wake.signal();
}
