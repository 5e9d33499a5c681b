//! The simulated device.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use unlade_hal::{
    AllocError, Capabilities, ClockKind, CompileError, Device, DeviceAddr, DeviceError, DeviceInfo,
    DeviceKind, DeviceLost, DomainId, Executable, Health, MemoryKind, Offsets, PageSize, Queue,
    Slab,
};
use unlade_program::Program;
use unlade_sim_clock::VirtualClock;

use crate::memory::Memory;
use crate::profile::Profile;
use crate::queue::SimQueue;
use crate::timeline::{Engine, Link};

/// A device that needs no hardware. See the [crate's front page](crate).
#[derive(Clone)]
pub struct SimDevice {
    shared: Arc<Shared>,
}

/// Makes a [`SimDevice`].
#[derive(Clone, Debug)]
pub struct Builder {
    name: String,
    profile: Profile,
    clock: VirtualClock,
    link: Link,
    kind: DeviceKind,
}

impl Builder {
    /// The device's name, `sim` unless given.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The clock that it lives by, one of its own unless given. Clones of a clock are one clock.
    #[must_use]
    pub fn clock(mut self, clock: VirtualClock) -> Self {
        self.clock = clock;
        self
    }

    /// The bus that it hangs on, one of its own unless given. Clones of a link are one link.
    #[must_use]
    pub fn link(mut self, link: Link) -> Self {
        self.link = link;
        self
    }

    /// What it says it is, a simulator unless given: for who tests how placement chooses, which never
    /// picks one.
    #[must_use]
    pub fn passing_for(mut self, kind: DeviceKind) -> Self {
        self.kind = kind;
        self
    }

    /// The device.
    pub fn build(self) -> SimDevice {
        let Builder {
            name,
            profile,
            clock,
            link,
            kind,
        } = self;
        let capabilities = profile.capabilities();
        let info = DeviceInfo {
            name,
            kind,
            description: format!("simulated {}, virtual time", profile.name),
            address: None,
            architecture: format!("sim-{}", profile.name),
            memory: profile.memory,
            domain: DomainId::unique(),
            clock: ClockKind::Virtual,
            link: Some(link.name().to_owned()),
        };
        let state = State {
            memory: Memory::new(profile.memory),
            compute: Engine::default(),
            lost: None,
            generation: 0,
            queues: Arc::default(),
        };
        let shared = Shared {
            info,
            capabilities,
            profile,
            clock,
            link,
            released: Arc::default(),
            state: Mutex::new(state),
        };
        SimDevice {
            shared: Arc::new(shared),
        }
    }
}

/// What the device and its queues share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) info: DeviceInfo,
    pub(crate) capabilities: Capabilities,
    pub(crate) profile: Profile,
    pub(crate) clock: VirtualClock,
    pub(crate) link: Link,
    released: Arc<Mutex<Vec<DeviceAddr>>>,
    state: Mutex<State>,
}

/// What changes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) memory: Memory,
    pub(crate) compute: Engine,
    pub(crate) lost: Option<DeviceLost>,
    /// How often the device was reset: whatever is of an earlier generation is void.
    pub(crate) generation: u64,
    /// How many queues of this generation are open; each queue has a clone, and takes itself off.
    queues: Arc<AtomicU32>,
}

/// The "code" of an executable: a token that says for which device it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) device: DomainId,
    pub(crate) generation: u64,
}

/// Gives addresses back when a slab is dropped: onto a list, so that a drop never waits for a
/// running list.
#[derive(Debug)]
struct Release {
    address: DeviceAddr,
    released: Arc<Mutex<Vec<DeviceAddr>>>,
}

impl Drop for Release {
    fn drop(&mut self) {
        self.released
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.address);
    }
}

/// Counts an open queue for as long as it lives.
#[derive(Debug)]
pub(crate) struct QueueTicket {
    open: Arc<AtomicU32>,
}

impl QueueTicket {
    fn new(open: Arc<AtomicU32>) -> Self {
        open.fetch_add(1, Ordering::AcqRel);
        QueueTicket { open }
    }
}

impl Drop for QueueTicket {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    /// The state, less what was released meanwhile.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let released =
            std::mem::take(&mut *self.released.lock().unwrap_or_else(PoisonError::into_inner));
        for address in released {
            state.memory.release(address);
        }
        state
    }

    /// Code for the device as it is, after the time that a compile takes.
    fn code(&self) -> Result<Code, DeviceLost> {
        let generation = {
            let state = self.state();
            state.check()?;
            state.generation
        };
        self.clock.advance(self.profile.compile_time);
        Ok(Code {
            device: self.info.domain,
            generation,
        })
    }

    pub(crate) fn lost(&self, reason: &str) -> DeviceLost {
        DeviceLost {
            device: self.info.name.clone(),
            reason: reason.to_owned(),
        }
    }

    fn release(&self, address: DeviceAddr) -> Arc<Release> {
        Arc::new(Release {
            address,
            released: self.released.clone(),
        })
    }
}

impl State {
    pub(crate) fn check(&self) -> Result<(), DeviceLost> {
        self.lost.clone().map_or(Ok(()), Err)
    }
}

impl SimDevice {
    /// Begins to make a device.
    pub fn builder(profile: Profile) -> Builder {
        Builder {
            name: "sim".to_owned(),
            profile,
            clock: VirtualClock::new(),
            link: Link::new(),
            kind: DeviceKind::Simulator,
        }
    }

    /// The clock that it lives by.
    pub fn clock(&self) -> &VirtualClock {
        &self.shared.clock
    }

    /// What it is like.
    pub fn profile(&self) -> &Profile {
        &self.shared.profile
    }

    /// Bytes of its memory that are not allocated.
    pub fn free_memory(&self) -> u64 {
        self.shared.state().memory.free_bytes()
    }

    /// Loses the device, as if it had dropped off its bus.
    pub fn lose(&self, reason: &str) {
        let lost = self.shared.lost(reason);
        self.shared.state().lost.get_or_insert(lost);
    }
}

impl Device for SimDevice {
    fn info(&self) -> &DeviceInfo {
        &self.shared.info
    }

    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    fn health(&self) -> Health {
        self.shared
            .state()
            .lost
            .clone()
            .map_or(Health::Ready, Health::Lost)
    }

    /// Takes the profile's compile time, virtually.
    fn compile(&self, program: &Arc<Program>) -> Result<Executable, CompileError> {
        self.shared.state().check()?;
        self.shared.capabilities.admit(program)?;
        let code = self.shared.code()?;
        Ok(Executable::new(program.clone(), Arc::new(code)))
    }

    /// Takes the profile's compile time, virtually.
    fn compile_strings(&self, offsets: Offsets) -> Result<Executable, CompileError> {
        self.shared.state().check()?;
        if !self.shared.capabilities.strings {
            return Err(CompileError::Unsupported {
                values: Vec::new(),
                name: "compaction of strings".to_owned(),
            });
        }
        let code = self.shared.code()?;
        Ok(Executable::of_strings(offsets, Arc::new(code)))
    }

    fn allocate(&self, kind: MemoryKind, len: u64) -> Result<Slab, AllocError> {
        self.shared.state().check()?;
        match kind {
            MemoryKind::DeviceLocal => {
                let mut state = self.shared.state();
                let free = state.memory.free_bytes();
                let found = state.memory.allocate(len);
                let (address, len) = found.ok_or(AllocError::OutOfMemory { asked: len, free })?;
                let keep = self.shared.release(address);
                Ok(Slab::device(self.shared.info.domain, address, len, keep))
            }
            MemoryKind::Upload | MemoryKind::Readback => {
                let slab = Slab::host(kind, len, PageSize::Base)?;
                self.register(&slab)?;
                Ok(slab)
            }
        }
    }

    fn register(&self, slab: &Slab) -> Result<(), AllocError> {
        let mut state = self.shared.state();
        state.check()?;
        if slab.pages().is_none() {
            return Err(AllocError::Pageable);
        }
        let domain = self.shared.info.domain;
        let known = slab.address(domain);
        if known.is_some_and(|address| state.memory.knows(address, slab.len())) {
            return Ok(());
        }
        let address = state.memory.open_window(slab.len());
        drop(state); // what is replaced releases its address, onto the list
        slab.set_address(domain, address, Some(self.shared.release(address)));
        Ok(())
    }

    fn open_queue(&self, depth: u32) -> Result<Box<dyn Queue>, DeviceError> {
        let state = self.shared.state();
        state.check()?;
        if depth == 0 {
            return Err(DeviceError::Limit(
                "a queue holds at least one list".to_owned(),
            ));
        }
        let most = self.shared.profile.max_queues;
        if state.queues.load(Ordering::Acquire) >= most {
            return Err(DeviceError::Limit(format!(
                "{most} queues are open already"
            )));
        }
        let depth = depth.min(self.shared.profile.queue_depth) as usize;
        let ticket = QueueTicket::new(state.queues.clone());
        Ok(Box::new(SimQueue::new(
            self.shared.clone(),
            state.generation,
            depth,
            ticket,
        )))
    }

    fn reset(&self) -> Result<(), DeviceError> {
        let mut state = self.shared.state();
        *state = State {
            memory: state.memory.emptied(),
            compute: Engine::default(),
            lost: None,
            generation: state.generation + 1,
            queues: Arc::default(),
        };
        Ok(())
    }
}

impl fmt::Debug for SimDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDevice")
            .field("name", &self.shared.info.name)
            .field("profile", &self.shared.profile.name)
            .finish_non_exhaustive()
    }
}
