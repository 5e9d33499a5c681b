//! A device whose driver does not come back from a call until a test says so.

use std::sync::{Arc, Condvar, Mutex};

use unlade_hal::{
    AllocError, CompileError, Device, DeviceError, DeviceKind, DeviceWrapper, Executable,
    MemoryKind, Queue, Slab,
};
use unlade_program::Program;
use unlade_sim_device::{Profile, SimDevice};

/// What its driver does not come back from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Compile,
    Reset,
    OpenQueue,
    /// Of its own memory.
    Allocate,
}

/// A simulated device of which one kind of call is stuck at first.
#[derive(Debug)]
pub(crate) struct Stuck {
    pub(crate) sim: SimDevice,
    call: Call,
    /// Whether it is stuck, and how many calls are.
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Stuck {
    pub(crate) fn in_each(call: Call) -> Arc<Self> {
        Arc::new(Stuck {
            sim: SimDevice::builder(Profile::gpu())
                .passing_for(DeviceKind::Gpu)
                .build(),
            call,
            state: Mutex::new((true, 0)),
            changed: Condvar::new(),
        })
    }

    /// From now on calls come back, also those that are stuck.
    pub(crate) fn come_back(&self) {
        self.state.lock().unwrap().0 = false;
        self.changed.notify_all();
    }

    /// Returns once a call is stuck.
    pub(crate) fn wait_until_stuck(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |(_, calls)| *calls == 0));
    }

    /// How many calls are stuck.
    pub(crate) fn stuck(&self) -> usize {
        self.state.lock().unwrap().1
    }

    fn pass(&self, call: Call) {
        if call != self.call {
            return;
        }
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |(stuck, _)| *stuck).unwrap();
        state.1 -= 1;
    }
}

impl DeviceWrapper for Stuck {
    fn inner(&self) -> &dyn Device {
        &self.sim
    }

    fn compile(&self, program: &Arc<Program>) -> Result<Executable, CompileError> {
        self.pass(Call::Compile);
        self.sim.compile(program)
    }

    fn allocate(&self, kind: MemoryKind, len: u64) -> Result<Slab, AllocError> {
        if kind == MemoryKind::DeviceLocal {
            self.pass(Call::Allocate);
        }
        self.sim.allocate(kind, len)
    }

    fn open_queue(&self, depth: u32) -> Result<Box<dyn Queue>, DeviceError> {
        self.pass(Call::OpenQueue);
        self.sim.open_queue(depth)
    }

    fn reset(&self) -> Result<(), DeviceError> {
        self.pass(Call::Reset);
        self.sim.reset()
    }
}
