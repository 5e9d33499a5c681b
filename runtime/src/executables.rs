//! Compiled programs, shared by all kernels of a runtime.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use crate::metrics::COMPILE_SECONDS;
use crate::sync::{Mutex, MutexGuard};
use serde::Serialize;
use unlade_hal::{Clock, ClockKind, CompileError, Device, Executable};
use unlade_program::{Program, ShapeHash};

/// Programs kept compiled; the least recently used go first.
const CAPACITY: usize = 1024;

/// What was compiled, and the name of the device that it is for. Devices of one architecture need
/// not take each other's programs: code is loaded into one device, and a reset voids it there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// With the version of the lowering in it.
    shape: ShapeHash,
    device: Arc<str>,
}

type Slot = Arc<OnceLock<Result<Executable, CompileError>>>;

/// A cache in which each program is compiled once, however many ask for it at the same time.
#[derive(Debug, Default)]
pub(crate) struct Executables {
    entries: Mutex<HashMap<Key, Entry>>,
    clock: AtomicU64,
    hits: AtomicU64,
    compiles: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    slot: Slot,
    used: u64,
}

/// A compiled program.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) executable: Executable,
    /// How long compiling took, where that was done just now.
    pub(crate) took: Option<Duration>,
}

/// How the cache of compiled programs fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CacheStatus {
    /// Programs kept.
    pub entries: usize,
    /// How often a program was found compiled, or being compiled.
    pub hits: u64,
    /// How often a program was compiled.
    pub compiles: u64,
}

impl Executables {
    /// The program compiled for the device of this name; waits for another thread that is compiling
    /// it already.
    pub(crate) fn get(
        &self,
        device: &dyn Device,
        name: &Arc<str>,
        shape: ShapeHash,
        program: &Program,
        clock: &dyn Clock,
    ) -> Result<Compiled, CompileError> {
        let key = Key {
            shape,
            device: Arc::clone(name),
        };
        let slot = self.slot(&key);
        let mut took = None;
        let result = slot.get_or_init(|| {
            let start = clock.now();
            let result = device.compile(&Arc::new(program.clone()));
            let time = clock.now().since(start);
            took = Some(time);
            // Virtual seconds are no seconds.
            if clock.kind() == ClockKind::Wall {
                COMPILE_SECONDS
                    .histogram(&[name])
                    .record(time.as_secs_f64());
            }
            result
        });
        let counter = match took {
            Some(_) => &self.compiles,
            None => &self.hits,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if matches!(result, Err(CompileError::Failed(_) | CompileError::Lost(_))) {
            // Another attempt may fare better; what is unsupported stays so.
            self.forget(&key, &slot);
        }
        let executable = result.clone()?;
        Ok(Compiled { executable, took })
    }

    /// Whether the program is there, compiled for the device of this name.
    pub(crate) fn has(&self, name: &Arc<str>, shape: ShapeHash) -> bool {
        let key = Key {
            shape,
            device: Arc::clone(name),
        };
        let entries = self.lock();
        let slot = entries.get(&key).and_then(|entry| entry.slot.get());
        slot.is_some_and(Result::is_ok)
    }

    /// Forgets what was compiled for a device: a reset has voided it.
    pub(crate) fn forget_device(&self, name: &str) {
        self.lock().retain(|key, _| &*key.device != name);
    }

    pub(crate) fn status(&self) -> CacheStatus {
        CacheStatus {
            entries: self.lock().len(),
            hits: self.hits.load(Ordering::Relaxed),
            compiles: self.compiles.load(Ordering::Relaxed),
        }
    }

    fn slot(&self, key: &Key) -> Slot {
        let used = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(key) {
            entry.used = used;
            return Arc::clone(&entry.slot);
        }
        if entries.len() == CAPACITY {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                entries.remove(&oldest);
            }
        }
        let slot = Slot::default();
        entries.insert(
            key.clone(),
            Entry {
                slot: Arc::clone(&slot),
                used,
            },
        );
        slot
    }

    fn forget(&self, key: &Key, slot: &Slot) {
        let mut entries = self.lock();
        if entries
            .get(key)
            .is_some_and(|entry| Arc::ptr_eq(&entry.slot, slot))
        {
            entries.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
