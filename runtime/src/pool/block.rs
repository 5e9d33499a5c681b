//! What the pool hands out, as far as its own bookkeeping cares.

use unlade_hal::Lease;

/// A range that is split and joined. The pool deals in [`Lease`]s; its models under Loom in bare
/// ranges.
pub(super) trait Block: Sized {
    /// First byte, counted from the start of the reserve.
    fn start(&self) -> u64;
    /// Length in bytes.
    fn len(&self) -> u64;
    /// Keeps `at` bytes and returns the rest.
    fn split_off(&mut self, at: u64) -> Self;
    /// One block of two neighbours.
    fn join(self, next: Self) -> Self;
}

impl Block for Lease {
    fn start(&self) -> u64 {
        self.range().start
    }

    fn len(&self) -> u64 {
        self.len()
    }

    fn split_off(&mut self, at: u64) -> Self {
        Lease::split_off(self, at)
    }

    fn join(self, next: Self) -> Self {
        Lease::join(self, next).expect("only neighbours of the one reserve are joined")
    }
}

/// A range without memory behind it.
#[cfg(test)]
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range(pub(super) u64, pub(super) u64);

#[cfg(test)]
impl Block for Range {
    fn start(&self) -> u64 {
        self.0
    }

    fn len(&self) -> u64 {
        self.1 - self.0
    }

    fn split_off(&mut self, at: u64) -> Self {
        let rest = Range(self.0 + at, self.1);
        self.1 = rest.0;
        rest
    }

    fn join(self, next: Self) -> Self {
        assert_eq!(self.1, next.0, "not neighbours");
        Range(self.0, next.1)
    }
}
