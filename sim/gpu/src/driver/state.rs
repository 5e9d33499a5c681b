//! The driver's state, and what every call begins with.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::{CStr, CString};

use unlade_sim_clock::VirtualClock;
use unlade_sim_fault::FaultPlan;

use super::code::{Answer, Code};
use super::control::{Alive, DriverConfig, LaunchRecord, lock};
use super::event::Event;
use super::fault::{DriverChance, DriverFault};
use super::memory::HostMemory;
use super::module::{Function, LoadedModule, Log};
use super::stream::{Engines, Stream, StreamId};
use crate::exec::{Counters, Rng};
use crate::finding::{Finding, FindingKind};
use crate::host::HostFunction;
use crate::memory::DeviceMemory;
use crate::profile::Profile;

#[derive(Debug)]
pub(crate) struct State {
    pub(super) config: DriverConfig,
    initialised: bool,
    pub(super) devices: Vec<Device>,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) events: HashMap<u64, Event>,
    pub(super) modules: HashMap<u64, LoadedModule>,
    pub(super) functions: HashMap<u64, Function>,
    /// Images that are being linked.
    pub(super) links: HashMap<u64, Link>,
    pub(super) host: BTreeMap<usize, HostMemory>,
    next_handle: u64,
    pub(super) clock: VirtualClock,
    pub(super) rng: Rng,
    pub(super) faults: FaultPlan<DriverFault>,
    /// The call that is made, and those that a fault struck.
    calling: &'static str,
    pub(super) struck: Vec<&'static str>,
    pub(super) calls: BTreeMap<&'static str, u64>,
    pub(super) findings: Vec<Finding>,
    pub(super) counters: Counters,
    pub(super) launches: VecDeque<LaunchRecord>,
    /// What the last finding says, beside the meaning of its code.
    explained: HashMap<u32, &'static CStr>,
}

/// One simulated GPU.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) profile: Profile,
    pub(super) memory: DeviceMemory,
    pub(super) engines: Engines,
    /// How often the primary context is retained.
    retained: u32,
    /// Primary contexts that were destroyed before this one.
    destroyed: u64,
    /// The error after which the context is of no use.
    pub(super) sticky: Option<Code>,
    pub(super) release_threshold: u64,
}

/// A link that was created.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) log: Log,
    /// Empty until something is added.
    pub(super) image: Vec<u8>,
}

/// Findings kept; more are counted nowhere, as the first ones matter.
const MAX_FINDINGS: usize = 1024;

/// Handles of primary contexts: this, the ordinal, and above both how many there were before, so
/// that no old handle means the new one.
const CONTEXT: u64 = 0xC0DE_0000;
const CONTEXT_NUMBER: u32 = 32;

thread_local! {
    /// The thread's contexts, the current one last.
    static CONTEXTS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The thread's current context, or 0.
pub(crate) fn current() -> u64 {
    CONTEXTS.with_borrow(|contexts| contexts.last().copied().unwrap_or(0))
}

/// Puts a context in the place of the thread's current one; none for 0.
pub(crate) fn set_current(context: u64) {
    CONTEXTS.with_borrow_mut(|contexts| {
        contexts.pop();
        if context != 0 {
            contexts.push(context);
        }
    });
}

pub(crate) fn push_current(context: u64) {
    CONTEXTS.with_borrow_mut(|contexts| contexts.push(context));
}

pub(crate) fn pop_current() -> Option<u64> {
    CONTEXTS.with_borrow_mut(Vec::pop)
}

impl State {
    pub(super) fn new(config: DriverConfig) -> Self {
        let device = |(ordinal, profile): (usize, &Profile)| Device {
            profile: profile.clone(),
            memory: DeviceMemory::new(profile.memory, ordinal as u64),
            engines: Engines::default(),
            retained: 0,
            destroyed: 0,
            sticky: None,
            release_threshold: 0,
        };
        State {
            initialised: false,
            devices: config.devices.iter().enumerate().map(device).collect(),
            streams: BTreeMap::new(),
            events: HashMap::new(),
            modules: HashMap::new(),
            functions: HashMap::new(),
            links: HashMap::new(),
            host: BTreeMap::new(),
            next_handle: 0x5EED_0000,
            clock: VirtualClock::new(),
            rng: Rng::new(config.interleaving.seed),
            faults: FaultPlan::none(),
            calling: "",
            struck: Vec::new(),
            calls: BTreeMap::new(),
            findings: Vec::new(),
            counters: Counters::default(),
            launches: VecDeque::new(),
            explained: HashMap::new(),
            config,
        }
    }

    /// As a new process. Handles go on, so that no old one means something new.
    pub(super) fn restart(&mut self, config: DriverConfig) {
        let (initialised, next_handle) = (self.initialised, self.next_handle);
        *self = State {
            initialised,
            next_handle,
            ..State::new(config)
        };
    }

    pub(super) fn reseed(&mut self, seed: u64) {
        self.config.interleaving.seed = seed;
        self.rng = Rng::new(seed);
    }

    pub(super) fn alive(&self) -> Alive {
        Alive {
            contexts: self
                .devices
                .iter()
                .map(|device| device.retained as usize)
                .sum(),
            allocations: self.devices.iter().map(|device| device.memory.live()).sum(),
            device_bytes: self.bytes_in_use(),
            streams: self
                .streams
                .keys()
                .filter(|stream| stream.is_created())
                .count(),
            events: self.events.len(),
            modules: self.modules.len(),
            host_ranges: self.host.len(),
        }
    }

    /// Makes a call: counts it, and runs it in the place of the process's one driver, unless a fault
    /// strikes first. A panic is an error of the driver, which must not unwind into C. A function of
    /// the host's that a stream calls may make none.
    pub(crate) fn call(name: &'static str, run: impl FnOnce(&mut State) -> Answer) -> Code {
        if HostFunction::is_inside() {
            // The driver is in the middle of a call, of which this is a part.
            return Code::NOT_PERMITTED;
        }
        let mut state = lock();
        *state.calls.entry(name).or_default() += 1;
        if !state.initialised && !matches!(name, "cuInit" | "cuDriverGetVersion") {
            return Code::NOT_INITIALIZED;
        }
        state.calling = name;
        let run = std::panic::AssertUnwindSafe(|| {
            let answer = state.come_through().and_then(|()| run(&mut state));
            state.let_streams_run();
            answer
        });
        match std::panic::catch_unwind(run) {
            Ok(answer) => answer.err().unwrap_or(Code::SUCCESS),
            Err(_panic) => Code::UNKNOWN,
        }
    }

    pub(crate) fn initialise(&mut self, flags: u32) -> Answer {
        if flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        self.initialised = true;
        Ok(())
    }

    pub(crate) fn handle(&mut self) -> u64 {
        self.next_handle += 16;
        self.next_handle
    }

    // Devices and contexts.

    pub(crate) fn device_count(&self) -> usize {
        self.devices.len()
    }

    /// The index of a device.
    pub(crate) fn device(&self, ordinal: i32) -> Answer<usize> {
        let index = usize::try_from(ordinal).map_err(|_| Code::INVALID_DEVICE)?;
        if index < self.devices.len() {
            Ok(index)
        } else {
            Err(Code::INVALID_DEVICE)
        }
    }

    pub(crate) fn profile(&self, ordinal: i32) -> Answer<&Profile> {
        Ok(&self.devices[self.device(ordinal)?].profile)
    }

    pub(crate) fn retain(&mut self, ordinal: i32) -> Answer<u64> {
        let index = self.device(ordinal)?;
        self.devices[index].retained += 1;
        Ok(self.context(index))
    }

    /// The handle of a device's primary context.
    fn context(&self, index: usize) -> u64 {
        CONTEXT + index as u64 + (self.devices[index].destroyed << CONTEXT_NUMBER)
    }

    /// With the last one everything goes that was made in the context, and what had spoilt it.
    pub(crate) fn release(&mut self, ordinal: i32) -> Answer {
        let index = self.device(ordinal)?;
        if self.devices[index].retained == 0 {
            return Err(Code::INVALID_CONTEXT);
        }
        self.devices[index].retained -= 1;
        if self.devices[index].retained > 0 {
            return Ok(());
        }
        // What is under way comes to its end first; an error of it has nobody left to be told.
        let _error = self.drain_device(index);
        self.streams.retain(|id, _| id.device != index);
        self.events.retain(|_, event| event.device != index);
        self.forget_modules(index);
        self.forget_host(index);
        let device = &mut self.devices[index];
        device.memory = DeviceMemory::new(device.profile.memory, index as u64);
        device.sticky = None;
        device.destroyed += 1;
        Ok(())
    }

    pub(crate) fn primary_context(&self, ordinal: i32) -> Answer<bool> {
        Ok(self.devices[self.device(ordinal)?].retained > 0)
    }

    /// Whether the handle is that of a context; 0 is none.
    pub(crate) fn context_device(&self, context: u64) -> Answer<usize> {
        let is = |index: &usize| self.context(*index) == context;
        let found = (0..self.devices.len()).find(is);
        found.ok_or(Code::INVALID_CONTEXT)
    }

    /// The chance of a fault that every call has. It spoils the thread's current context, or where
    /// there is none, that of the first GPU.
    fn come_through(&mut self) -> Answer {
        let code = match self.strike(DriverChance::Call) {
            Some(DriverFault::Ecc) => Code::ECC_UNCORRECTABLE,
            Some(_) => Code::ILLEGAL_ADDRESS,
            None => return Ok(()),
        };
        let index = self.context_device(current()).unwrap_or(0);
        Err(self.spoil(index, code))
    }

    /// Which fault strikes the call that is made, if any.
    pub(super) fn strike(&mut self, chance: DriverChance) -> Option<DriverFault> {
        let fault = self.faults.strike(chance)?;
        self.struck.push(self.calling);
        Some(fault)
    }

    /// The device of the thread's context, which must be of use.
    pub(crate) fn enter(&mut self) -> Answer<usize> {
        let index = self.context_device(current())?;
        if self.devices[index].retained == 0 {
            return Err(Code::CONTEXT_DESTROYED);
        }
        self.devices[index].sticky.map_or(Ok(index), Err)
    }

    /// As `enter`, for a call that needs memory, which there may be none of by a fault.
    pub(crate) fn enter_to_allocate(&mut self) -> Answer<usize> {
        let index = self.enter()?;
        match self.strike(DriverChance::Allocate) {
            Some(_) => Err(Code::OUT_OF_MEMORY),
            None => Ok(index),
        }
    }

    /// The context is of no use from now on.
    pub(super) fn spoil(&mut self, device: usize, code: Code) -> Code {
        *self.devices[device].sticky.get_or_insert(code)
    }

    /// A kernel did what it must not do.
    pub(super) fn found(&mut self, device: usize, finding: Finding) -> Code {
        let code = match finding.kind {
            FindingKind::OutOfBounds | FindingKind::UseAfterFree => Code::ILLEGAL_ADDRESS,
            FindingKind::Misaligned => Code::MISALIGNED_ADDRESS,
            FindingKind::Deadlock => Code::LAUNCH_TIMEOUT,
            _ => Code::LAUNCH_FAILED,
        };
        self.explain(code, &finding.to_string());
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
        self.spoil(device, code)
    }

    /// Lets the code's description say more. The text is never freed, as `cuGetErrorString`
    /// promises; there are no more of them than findings are kept.
    pub(super) fn explain(&mut self, code: Code, more: &str) {
        let Some((_, text)) = code.describe() else {
            return;
        };
        let words = format!("{}: {}", text.to_string_lossy(), more.replace('\0', " "));
        if self.findings.len() < MAX_FINDINGS
            && let Ok(words) = CString::new(words)
        {
            self.explained
                .insert(code.0, Box::leak(words.into_boxed_c_str()));
        }
    }

    /// What a code means, and what led to it.
    pub(crate) fn explanation(code: u32) -> Option<&'static CStr> {
        let known = Code(code).describe().map(|(_, text)| text);
        if HostFunction::is_inside() {
            return known;
        }
        let state = lock();
        state.explained.get(&code).copied().or(known)
    }
}
