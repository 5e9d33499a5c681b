//! A forked child is told so, and does not have the pages.
#![cfg(not(miri))]

use unlade_hal::{AllocError, MemoryKind, PageSize, Slab, fork};

/// What the child found, as bits of its exit status.
const CHECK_REFUSED: i32 = 1;
const MAP_REFUSED: i32 = 2;
const PAGES_ABSENT: i32 = 4;

#[test]
fn a_forked_child_is_refused() {
    assert_eq!(fork::check(), Ok(()));
    let slab = Slab::host(MemoryKind::Readback, 1 << 16, PageSize::Base).unwrap();
    let start = slab.pages().unwrap().as_ptr();

    // SAFETY: The child does no more than system calls, loads and a comparison before `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork failed");
    if child == 0 {
        let mut found = 0;
        if fork::check() == Err(fork::Forked) {
            found |= CHECK_REFUSED;
        }
        if let Err(AllocError::Forked(_)) = Slab::host(MemoryKind::Upload, 1, PageSize::Base) {
            found |= MAP_REFUSED;
        }
        // SAFETY: msync of an unmapped range fails and touches nothing.
        if unsafe { libc::msync(start.as_ptr().cast(), 4096, libc::MS_ASYNC) } != 0 {
            found |= PAGES_ABSENT;
        }
        // SAFETY: Ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(found) };
    }

    let mut status = 0;
    // SAFETY: Waits for our own child; `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "child died: status {status}");
    assert_eq!(
        libc::WEXITSTATUS(status),
        CHECK_REFUSED | MAP_REFUSED | PAGES_ABSENT
    );
    assert_eq!(fork::check(), Ok(()), "the parent is no child");
}
