//! Locks: the standard library's, or Loom's where a model checks them.

#[cfg(loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

use std::sync::{Mutex as StdMutex, MutexGuard as StdMutexGuard, PoisonError};

/// Locks, whether or not another thread panicked with the lock held: what our locks guard is
/// consistent at every point where a panic could leave it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], for what no model checks.
pub(crate) fn lock_unmodelled<T>(mutex: &StdMutex<T>) -> StdMutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
