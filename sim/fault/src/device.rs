//! The decorator of a device.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use unlade_hal::{
    AllocError, Capabilities, CompileError, Device, DeviceError, DeviceInfo, DeviceLost,
    Executable, ForeignMemory, Health, MemoryKind, Offsets, Queue, Reading, Slab,
};
use unlade_program::Program;

use crate::kind::{Chance, FaultKind};
use crate::plan::{FaultPlan, Injected};
use crate::queue::FaultQueue;

/// A device with faults. See the [crate's front page](crate).
///
/// A loss that it injects is as sticky as a real one: every call fails until
/// [`reset`](Device::reset), which resets the wrapped device as well.
pub struct FaultDevice {
    inner: Arc<dyn Device>,
    faults: Arc<Faults>,
    /// What a reset waits for.
    before_reset: Box<dyn Fn() + Send + Sync>,
}

/// What the device and its queues share.
#[derive(Debug)]
pub(crate) struct Faults {
    device: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    plan: FaultPlan,
    lost: Option<DeviceLost>,
    /// How often the device was reset; queues of an earlier generation are void.
    generation: u64,
}

impl FaultDevice {
    /// Wraps a device.
    pub fn new(inner: Arc<dyn Device>, plan: FaultPlan) -> Self {
        let state = State {
            plan,
            lost: None,
            generation: 0,
        };
        let faults = Faults {
            device: inner.info().name.clone(),
            state: Mutex::new(state),
        };
        FaultDevice {
            inner,
            faults: Arc::new(faults),
            before_reset: Box::new(|| ()),
        }
    }

    /// Has each reset begin with this, on the thread that resets: what takes time, or does not come back.
    #[must_use]
    pub fn before_reset(self, act: impl Fn() + Send + Sync + 'static) -> Self {
        FaultDevice {
            before_reset: Box::new(act),
            ..self
        }
    }

    /// The faults injected so far, in order.
    pub fn log(&self) -> Vec<Injected> {
        self.faults.state().plan.log().to_vec()
    }

    /// How many operations the device was asked for: where a fault could have struck.
    pub fn operations(&self) -> u64 {
        self.faults.state().plan.operations()
    }

    /// Loses the device now, until it is reset.
    pub fn lose(&self, reason: &str) {
        let _lost = self.faults.lose(reason);
    }
}

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An operation: which fault strikes, if any.
    pub(crate) fn strike(&self, chance: Chance) -> Option<FaultKind> {
        self.state().plan.strike(chance)
    }

    /// An error if the device is lost.
    pub(crate) fn check(&self) -> Result<(), DeviceLost> {
        self.state().lost.clone().map_or(Ok(()), Err)
    }

    /// As [`check`](Self::check), for a queue of this generation.
    pub(crate) fn check_queue(&self, generation: u64) -> Result<(), DeviceLost> {
        self.check()?;
        if self.state().generation == generation {
            return Ok(());
        }
        let reason = "it was reset after this queue was opened".to_owned();
        Err(DeviceLost {
            device: self.device.clone(),
            reason,
        })
    }

    /// Loses the device; the first reason stays.
    pub(crate) fn lose(&self, reason: &str) -> DeviceLost {
        let lost = || DeviceLost {
            device: self.device.clone(),
            reason: reason.to_owned(),
        };
        self.state().lost.get_or_insert_with(lost).clone()
    }

    fn fails(&self, chance: Chance) -> Result<bool, DeviceLost> {
        self.check()?;
        Ok(self.strike(chance).is_some())
    }
}

impl Device for FaultDevice {
    fn info(&self) -> &DeviceInfo {
        self.inner.info()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn health(&self) -> Health {
        match self.faults.check() {
            Ok(()) => self.inner.health(),
            Err(lost) => Health::Lost(lost),
        }
    }

    fn readings(&self) -> Vec<Reading> {
        self.inner.readings()
    }

    fn errors(&self) -> Result<Vec<String>, String> {
        self.inner.errors()
    }

    fn compile(&self, program: &Arc<Program>) -> Result<Executable, CompileError> {
        if self.faults.fails(Chance::Compile)? {
            return Err(CompileError::Failed("injected fault".to_owned()));
        }
        self.inner.compile(program)
    }

    fn compile_strings(&self, offsets: Offsets) -> Result<Executable, CompileError> {
        if self.faults.fails(Chance::Compile)? {
            return Err(CompileError::Failed("injected fault".to_owned()));
        }
        self.inner.compile_strings(offsets)
    }

    fn allocate(&self, kind: MemoryKind, len: u64) -> Result<Slab, AllocError> {
        if self.faults.fails(Chance::Allocate)? {
            return Err(AllocError::OutOfMemory {
                asked: len,
                free: 0,
            });
        }
        self.inner.allocate(kind, len)
    }

    fn register(&self, slab: &Slab) -> Result<(), AllocError> {
        if self.faults.fails(Chance::Register)? {
            let message = "injected fault".to_owned();
            return Err(AllocError::Os {
                call: "register",
                message,
            });
        }
        self.inner.register(slab)
    }

    fn adopt(&self, memory: ForeignMemory, timeout: Duration) -> Result<Slab, DeviceError> {
        self.inner.adopt(memory, timeout)
    }

    fn open_queue(&self, depth: u32) -> Result<Box<dyn Queue>, DeviceError> {
        if self.faults.fails(Chance::OpenQueue)? {
            return Err(DeviceError::Limit("injected fault".to_owned()));
        }
        let inner = self.inner.open_queue(depth)?;
        let generation = self.faults.state().generation;
        Ok(Box::new(FaultQueue::new(
            inner,
            self.faults.clone(),
            generation,
        )))
    }

    fn reset(&self) -> Result<(), DeviceError> {
        (self.before_reset)();
        if self.faults.strike(Chance::Reset).is_some() {
            return Err(DeviceError::Lost(
                self.faults.lose("injected fault: the reset failed"),
            ));
        }
        self.inner.reset()?;
        let mut state = self.faults.state();
        state.lost = None;
        state.generation += 1;
        Ok(())
    }
}

impl fmt::Debug for FaultDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultDevice")
            .field("inner", &self.inner)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}
