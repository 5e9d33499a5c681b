//! A way to a card on which things go wrong that neither the driver nor the card would do.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use unlade_dpu::{BarOffset, CardAccess, Iova, Transport, TransportError};
use unlade_hal::{HostPages, PageSize};

// Registers of docs/CARD.md, section 3.
const CAP: BarOffset = BarOffset(0x08);
const CC: BarOffset = BarOffset(0x20);

/// CAP.TO, and one unit of it, half a second: what is waited for in vain is waited for no longer.
const TIMEOUT: u64 = 0xFF << 24;
const SHORTEST: u64 = 1 << 24;

/// EOPNOTSUPP of Linux.
const NOT_SUPPORTED: u32 = 95;

/// A way to a card, and who meddles with it.
#[derive(Debug)]
pub struct Meddler {
    inner: Arc<dyn Transport>,
    node: Option<u32>,
    maps: Mutex<Maps>,
    deaf: AtomicBool,
    held: Mutex<Held>,
    held_changed: Condvar,
    refuses_resets: AtomicBool,
    refuses_to_unmap: AtomicBool,
    refuses_huge_pages: AtomicBool,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Maps {
    last: Option<(Iova, u64)>,
    /// What the driver takes for mapped and is not.
    withdrawn: BTreeMap<Iova, u64>,
}

/// Controller resets that do not come back.
#[derive(Debug, Default)]
struct Held {
    holds: bool,
    now: usize,
}

impl Meddler {
    /// Leaves things as they are, to begin with.
    pub fn new(inner: Arc<dyn Transport>) -> Self {
        Meddler {
            node: inner.numa_node(),
            inner,
            maps: Mutex::default(),
            deaf: AtomicBool::new(false),
            held: Mutex::default(),
            held_changed: Condvar::new(),
            refuses_resets: AtomicBool::new(false),
            refuses_to_unmap: AtomicBool::new(false),
            refuses_huge_pages: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        }
    }

    /// Has the card be nearest to this node of memory.
    pub fn at_node(self, node: Option<u32>) -> Self {
        Meddler { node, ..self }
    }

    /// Takes from the card what was mapped last, behind the driver's back. Says where that was.
    ///
    /// # Errors
    /// The inner way's.
    ///
    /// # Panics
    /// Where nothing was mapped.
    pub fn withdraw_last(&self) -> Result<Iova, TransportError> {
        let mut maps = self.maps();
        let (iova, len) = maps.last.take().expect("something was mapped");
        self.inner.unmap(iova, len)?;
        maps.withdrawn.insert(iova, len);
        Ok(iova)
    }

    /// From now on a controller reset is not heard, or it is again.
    pub fn deafen(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::SeqCst);
    }

    /// Who begins a controller reset is held up until the answer is dropped.
    pub fn hold_resets(&self) -> HeldResets<'_> {
        lock(&self.held).holds = true;
        HeldResets(self)
    }

    /// Returns once somebody is held up in a controller reset; how many are.
    pub fn wait_until_held(&self) -> usize {
        let held = self
            .held_changed
            .wait_while(lock(&self.held), |held| held.now == 0);
        held.unwrap_or_else(PoisonError::into_inner).now
    }

    fn begin_reset(&self) {
        let mut held = lock(&self.held);
        held.now += 1;
        self.held_changed.notify_all();
        let held = self.held_changed.wait_while(held, |held| held.holds);
        held.unwrap_or_else(PoisonError::into_inner).now -= 1;
    }

    /// From now on there are no function level resets, or they are again.
    pub fn refuse_resets(&self, refuse: bool) {
        self.refuses_resets.store(refuse, Ordering::SeqCst);
    }

    /// From now on memory is not taken from the card.
    pub fn refuse_to_unmap(&self) {
        self.refuses_to_unmap.store(true, Ordering::SeqCst);
    }

    /// From now on huge pages are not mapped, as by a server that cannot.
    pub fn refuse_huge_pages(&self) {
        self.refuses_huge_pages.store(true, Ordering::SeqCst);
    }

    /// How often they were not.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    fn maps(&self) -> MutexGuard<'_, Maps> {
        lock(&self.maps)
    }
}

/// Lets go of all [resets](Meddler::hold_resets) when it is dropped.
#[must_use]
#[derive(Debug)]
pub struct HeldResets<'a>(&'a Meddler);

impl Drop for HeldResets<'_> {
    fn drop(&mut self) {
        lock(&self.0.held).holds = false;
        self.0.held_changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Transport for Meddler {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn bar_len(&self) -> u64 {
        self.inner.bar_len()
    }

    fn read32(&self, at: BarOffset) -> Result<u32, TransportError> {
        self.inner.read32(at)
    }

    fn read64(&self, at: BarOffset) -> Result<u64, TransportError> {
        let value = self.inner.read64(at)?;
        match at == CAP {
            true => Ok(value & !TIMEOUT | SHORTEST),
            false => Ok(value),
        }
    }

    fn write32(&self, at: BarOffset, value: u32) -> Result<(), TransportError> {
        if at == CC && value == 0 {
            self.begin_reset();
            if self.deaf.load(Ordering::SeqCst) {
                return Ok(());
            }
        }
        self.inner.write32(at, value)
    }

    fn write64(&self, at: BarOffset, value: u64) -> Result<(), TransportError> {
        self.inner.write64(at, value)
    }

    fn read_config(&self, at: u16, bytes: &mut [u8]) -> Result<(), TransportError> {
        self.inner.read_config(at, bytes)
    }

    fn write_config(&self, at: u16, bytes: &[u8]) -> Result<(), TransportError> {
        self.inner.write_config(at, bytes)
    }

    fn reserved(&self) -> Result<Vec<Range<Iova>>, TransportError> {
        self.inner.reserved()
    }

    fn map(&self, iova: Iova, pages: &HostPages, access: CardAccess) -> Result<(), TransportError> {
        let huge = pages.page_size() == PageSize::Huge;
        if huge && self.refuses_huge_pages.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(refused("DMA_MAP"));
        }
        self.inner.map(iova, pages, access)?;
        self.maps().last = Some((iova, pages.len()));
        Ok(())
    }

    fn unmap(&self, iova: Iova, len: u64) -> Result<(), TransportError> {
        if self.refuses_to_unmap.load(Ordering::SeqCst) {
            return Err(refused("DMA_UNMAP"));
        }
        match self.maps().withdrawn.remove(&iova) {
            Some(_) => Ok(()),
            None => self.inner.unmap(iova, len),
        }
    }

    fn vectors(&self) -> u32 {
        self.inner.vectors()
    }

    fn set_interrupts(&self, events: &[BorrowedFd<'_>]) -> Result<(), TransportError> {
        self.inner.set_interrupts(events)
    }

    fn reset(&self) -> Result<(), TransportError> {
        match self.refuses_resets.load(Ordering::SeqCst) {
            true => Err(refused("DEVICE_RESET")),
            false => self.inner.reset(),
        }
    }

    /// Nobody meddles with the new way.
    fn renew(&self) -> Result<Arc<dyn Transport>, TransportError> {
        self.inner.renew()
    }

    fn numa_node(&self) -> Option<u32> {
        self.node
    }

    fn close(&self) {
        self.inner.close();
    }
}

fn refused(what: &'static str) -> TransportError {
    let number = NOT_SUPPORTED;
    TransportError::Refused { what, number }
}
