//! What belongs to the process that made it, and not to its forked children.

use std::fmt;
use std::mem;

use unlade_hal::fork;

use crate::failure::Failure;

/// Something that has to do with a runtime: a part of it, or memory of it. In a forked child it is out of
/// reach ([`Forked`](unlade::Error::Forked)): the memory is not there, and a lock of it may have been held
/// by a thread that is not there either. So it is left as it is when it is dropped there.
#[derive(Clone)]
pub(crate) struct Own<T> {
    /// Until it is dropped.
    inner: Option<T>,
}

/// That this is no forked child.
pub(crate) fn check() -> Result<(), Failure> {
    Ok(fork::check().map_err(unlade::Error::from)?)
}

/// What stands for something of the parent's where it is shown: who looks into a child may not be refused.
pub(crate) fn shown(
    what: &str,
    text: impl FnOnce() -> Result<String, Failure>,
) -> Result<String, Failure> {
    match check() {
        Ok(()) => text(),
        Err(_) => Ok(format!("{what}(of the process that was forked)")),
    }
}

impl<T> Own<T> {
    pub(crate) fn new(inner: T) -> Self {
        Own { inner: Some(inner) }
    }

    pub(crate) fn get(&self) -> Result<&T, Failure> {
        check()?;
        Ok(self.inner.as_ref().expect("it is taken as it is dropped"))
    }
}

impl<T> Drop for Own<T> {
    fn drop(&mut self) {
        if check().is_err() {
            mem::forget(self.inner.take());
        }
    }
}

impl<T> fmt::Debug for Own<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Own")
    }
}
