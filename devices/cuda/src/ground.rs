//! A GPU's context with all that was made in it: memory, code, pinned pages.
//!
//! A device has one of these until an error spoils the context. Then it leaves it, which voids all
//! of it, and makes a new one.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use unlade_hal::{DomainId, Slab, WeakSlab};

use crate::context::{Context, Entered, Gpu};
use crate::driver::Fault;
use crate::memory::Memory;
use crate::modules::Modules;
use crate::returns::Returns;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) memory: Memory,
    pub(crate) modules: Modules,
    pub(crate) returns: Returns,
    /// The domain of memory that was allocated here: memory of another GPU, or from before a reset,
    /// has no address in it, though its address in [`domain`] may be one that is in use here.
    pub(crate) home: DomainId,
    gpu: Gpu,
    context: Context,
    /// Pages that were pinned here for whoever asks, and for all GPUs.
    pinned: Mutex<Vec<WeakSlab>>,
}

/// The domain of all GPUs: the driver registers host memory once for all of them.
pub(crate) fn domain() -> DomainId {
    static DOMAIN: OnceLock<DomainId> = OnceLock::new();
    *DOMAIN.get_or_init(DomainId::unique)
}

/// A context cannot be left: another GPU uses pages that are pinned by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PinsForOthers;

/// All that there are.
fn all() -> MutexGuard<'static, Vec<Weak<Ground>>> {
    static ALL: Mutex<Vec<Weak<Ground>>> = Mutex::new(Vec::new());
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ground {
    /// Retains the GPU's context, and sees whether it works.
    pub(crate) fn new(gpu: Gpu, has_pools: bool, architecture: &str) -> Result<Arc<Self>, Fault> {
        let context = gpu.context()?;
        let memory = context.enter().and_then(|entered| {
            entered.free_memory()?;
            Memory::new(&gpu, &entered, has_pools)
        });
        let memory = match memory {
            Ok(memory) => memory,
            Err(fault) => {
                context.leave();
                return Err(fault);
            }
        };
        let ground = Arc::new(Ground {
            memory,
            modules: Modules::new(architecture),
            returns: Returns::default(),
            home: DomainId::unique(),
            gpu,
            context,
            pinned: Mutex::default(),
        });
        let mut all = all();
        all.retain(|each| each.strong_count() > 0);
        all.push(Arc::downgrade(&ground));
        Ok(ground)
    }

    pub(crate) fn enter(&self) -> Result<Entered<'_>, Fault> {
        self.context.enter()
    }

    /// Whether the context works.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        self.enter()?.free_memory().map(drop)
    }

    /// Notes pages that were pinned for whoever asks.
    pub(crate) fn note_pinned(&self, slab: &Slab) {
        let mut pinned = self.pinned();
        pinned.retain(|each| each.upgrade().is_some());
        pinned.push(slab.downgrade());
    }

    /// Leaves the context, once all threads are outside, and voids what was made in it. May be
    /// called again after an error.
    pub(crate) fn leave(&self) -> Result<(), PinsForOthers> {
        // No other GPU begins to use what is pinned here meanwhile.
        let all = all();
        let pins = self.pinned().iter().any(|each| each.upgrade().is_some());
        let beside = |other: Arc<Ground>| other.gpu.ordinal() != self.gpu.ordinal();
        if pins && all.iter().filter_map(Weak::upgrade).any(beside) {
            return Err(PinsForOthers);
        }
        let gone = self.context.leave();
        let pinned = std::mem::take(&mut *self.pinned());
        for slab in pinned.iter().filter_map(WeakSlab::upgrade) {
            slab.clear_address(domain());
        }
        self.returns.end(gone);
        if gone {
            self.memory.forget();
        }
        Ok(())
    }

    fn pinned(&self) -> MutexGuard<'_, Vec<WeakSlab>> {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
