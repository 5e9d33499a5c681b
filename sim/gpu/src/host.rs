//! Memory and functions of the host process that the driver was handed.
//!
//! The one place where the simulated GPU touches memory by address. All of its accesses are copies
//! of bytes: no reference to the memory is ever made, so whoever owns it may hold one.

use std::cell::Cell;
use std::ffi::c_void;

/// A range of the host's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostRange {
    start: usize,
    len: usize,
}

impl HostRange {
    /// # Safety
    /// The range is mapped for as long as this value, or one that was made from it, is used; it may
    /// be written if [`write`](Self::write) is called; and nobody else writes at the same time.
    /// This is what CUDA asks of a caller: until the stream is past the copy.
    pub(crate) unsafe fn new(start: *const c_void, len: usize) -> Self {
        HostRange {
            start: start as usize,
            len,
        }
    }

    pub(crate) fn start(self) -> usize {
        self.start
    }

    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// Whether a range of addresses lies inside.
    pub(crate) fn covers(self, at: usize, len: usize) -> bool {
        at >= self.start
            && at
                .checked_add(len)
                .is_some_and(|end| end <= self.start + self.len)
    }

    /// A range inside of this one.
    pub(crate) fn part(self, at: usize, len: usize) -> Option<Self> {
        self.covers(at, len).then_some(HostRange { start: at, len })
    }

    /// A copy of its bytes.
    pub(crate) fn read(self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        // SAFETY: `new` promises that the range is mapped; the target is our own, and as long.
        unsafe {
            std::ptr::copy_nonoverlapping(self.start as *const u8, bytes.as_mut_ptr(), self.len);
        }
        bytes
    }

    /// Copies bytes to its beginning.
    pub(crate) fn write(self, bytes: &[u8]) {
        assert!(bytes.len() <= self.len, "more bytes than the range has");
        // SAFETY: `new` promises that the range is mapped and may be written; it is long enough,
        // and the source is not part of it, as it is borrowed.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start as *mut u8, bytes.len());
        }
    }
}

/// A function of the host's that a stream calls when it comes to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostFunction {
    function: unsafe extern "C" fn(*mut c_void),
    /// Handed through; a number, as it is the host's business alone.
    data: usize,
}

thread_local! {
    /// Whether the thread is inside of a function of the host's.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl HostFunction {
    /// # Safety
    /// The function may be called with this argument, once and on any thread, or never. This is what
    /// CUDA asks of a caller.
    pub(crate) unsafe fn new(
        function: unsafe extern "C" fn(*mut c_void),
        data: *mut c_void,
    ) -> Self {
        HostFunction {
            function,
            data: data as usize,
        }
    }

    /// Whether this thread is inside of one, where nothing of CUDA's may be called.
    pub(crate) fn is_inside() -> bool {
        INSIDE.get()
    }

    pub(crate) fn call(self) {
        INSIDE.set(true);
        // SAFETY: `new` promises it; the stream lets go of it before it comes here.
        unsafe { (self.function)(self.data as *mut c_void) };
        INSIDE.set(false);
    }
}
