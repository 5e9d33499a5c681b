//! A transport that counts the time which is spent in it.

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use unlade_dpu::{BarOffset, CardAccess, Iova, Transport, TransportError};
use unlade_hal::HostPages;

/// Calls that tell what timing costs.
const CALLS: u32 = 10_000;

/// Another transport, timed.
#[derive(Debug)]
pub(crate) struct Timed<T> {
    inner: T,
    nanos: AtomicU64,
    /// What timing itself adds to a call, beyond what it counts.
    overhead: u64,
}

impl<T: Transport> Timed<T> {
    pub(crate) fn new(inner: T) -> Self {
        let mut timed = Timed {
            inner,
            nanos: AtomicU64::new(0),
            overhead: 0,
        };
        let start = Instant::now();
        (0..CALLS).for_each(|_| timed.time(|_| ()));
        let whole = start.elapsed();
        timed.overhead = whole.saturating_sub(timed.spent()).as_nanos() as u64 / u64::from(CALLS);
        timed.restart();
        timed
    }

    /// Time spent in calls since the last restart.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    pub(crate) fn restart(&self) {
        self.nanos.store(0, Ordering::Relaxed);
    }

    fn time<R>(&self, act: impl FnOnce(&T) -> R) -> R {
        let start = Instant::now();
        let result = act(&self.inner);
        let nanos = start.elapsed().as_nanos() as u64 + self.overhead;
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        result
    }
}

impl<T: Transport> Transport for Timed<T> {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn bar_len(&self) -> u64 {
        self.inner.bar_len()
    }

    fn read32(&self, at: BarOffset) -> Result<u32, TransportError> {
        self.time(|inner| inner.read32(at))
    }

    fn read64(&self, at: BarOffset) -> Result<u64, TransportError> {
        self.time(|inner| inner.read64(at))
    }

    fn write32(&self, at: BarOffset, value: u32) -> Result<(), TransportError> {
        self.time(|inner| inner.write32(at, value))
    }

    fn ring(&self, at: BarOffset, value: u32) -> Result<(), TransportError> {
        self.time(|inner| inner.ring(at, value))
    }

    fn write64(&self, at: BarOffset, value: u64) -> Result<(), TransportError> {
        self.time(|inner| inner.write64(at, value))
    }

    fn read_config(&self, at: u16, bytes: &mut [u8]) -> Result<(), TransportError> {
        self.time(|inner| inner.read_config(at, bytes))
    }

    fn write_config(&self, at: u16, bytes: &[u8]) -> Result<(), TransportError> {
        self.time(|inner| inner.write_config(at, bytes))
    }

    fn reserved(&self) -> Result<Vec<Range<Iova>>, TransportError> {
        self.inner.reserved()
    }

    fn map(&self, iova: Iova, pages: &HostPages, access: CardAccess) -> Result<(), TransportError> {
        self.time(|inner| inner.map(iova, pages, access))
    }

    fn unmap(&self, iova: Iova, len: u64) -> Result<(), TransportError> {
        self.time(|inner| inner.unmap(iova, len))
    }

    fn vectors(&self) -> u32 {
        self.inner.vectors()
    }

    fn set_interrupts(&self, events: &[BorrowedFd<'_>]) -> Result<(), TransportError> {
        self.time(|inner| inner.set_interrupts(events))
    }

    fn reset(&self) -> Result<(), TransportError> {
        self.time(|inner| inner.reset())
    }

    fn renew(&self) -> Result<Arc<dyn Transport>, TransportError> {
        self.inner.renew()
    }

    fn close(&self) {
        self.inner.close();
    }
}
