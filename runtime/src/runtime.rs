//! The runtime: devices, memory and threads, and the way to kernels.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use unlade_expr::{Query, Semantics, Signature, Signatures};
use unlade_hal::{Clock, DeviceKind};

use crate::ahead::Ahead;
use crate::block::Memory;
use crate::call::Call;
use crate::device_slot::{DeviceSlot, DeviceStatus, Wait};
use crate::error::Error;
use crate::executables::{CacheStatus, Executables};
use crate::fallbacks::{FallbackStatus, Fallbacks};
use crate::functions::{Functions, UserFunction};
use crate::kernel::Kernel;
use crate::metrics::Now;
use crate::options::{Options, Placement};
use crate::placement::{DeviceIndex, Ineligible, Placer};
use crate::plans::Plans;
use crate::pool::{Pool, PoolStatus as MemoryStatus};
use crate::recent::Recent;
use crate::recorder::Recorder;
use crate::recording::Recording;
use crate::resident::Resident;
use crate::resources::Resources;
use crate::scheduler::{Dispatcher, End, Job, Permit, SessionKey};
use crate::session::{SessionBuilder, SessionCore, SessionStatus, Sessions};
use crate::shortage::Shortage;
use crate::shutdown::{Door, UnderWay};
use crate::sync::{LOOK_UP, Mutex, lock, sleep};
use crate::trace::{Trace, TraceEvent};
use crate::within::RuntimeId;
use crate::workers::Workers;

mod builder;

pub(crate) use builder::OWN;
pub use builder::RuntimeBuilder;
use builder::{memory_for, placed};

/// Devices, memory and threads, shared by all kernels compiled with it. Cheap to clone.
///
/// What it owns ends with the last clone, kernel and ticket. It must not be used in a forked child
/// process, which is told so by [`Error::Forked`].
#[derive(Clone, Debug)]
pub struct Runtime {
    pub(crate) core: Arc<Core>,
}

/// A handle to a [`Runtime`] that does not keep it from ending, for who watches it.
#[derive(Clone, Debug)]
pub struct WeakRuntime {
    core: Weak<Core>,
}

impl WeakRuntime {
    /// The runtime, unless it has ended.
    pub fn upgrade(&self) -> Option<Runtime> {
        let core = self.core.upgrade()?;
        Some(Runtime { core })
    }
}

/// What handles, kernels, tickets and streams share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) devices: Vec<DeviceSlot>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The session of kernels that belong to no other.
    pub(crate) own: Arc<SessionCore>,
    pub(crate) sessions: Sessions,
    pub(crate) pool: Pool,
    /// The memory that devices reach, where they are not trusted with all of it.
    bounce: Option<Pool>,
    /// Held by the batch whose turn it is to take what memory comes back.
    pub(crate) shortage: Shortage,
    /// What streams make before it is asked for.
    pub(crate) ahead: Ahead,
    pub(crate) executables: Executables,
    pub(crate) plans: Plans,
    /// What users have registered.
    pub(crate) functions: Functions,
    /// Chooses between devices where there is a choice.
    pub(crate) placer: Mutex<Placer>,
    /// Gives threads their turns on devices.
    pub(crate) dispatcher: Arc<Dispatcher>,
    /// Who may count on which of the devices.
    pub(crate) resources: Arc<Resources>,
    pub(crate) trace: Trace,
    pub(crate) recorder: Recorder,
    pub(crate) fallbacks: Fallbacks,
    pub(crate) recent: Recent,
    /// Threads that compute.
    pub(crate) workers: Workers,
    pub(crate) kernels: AtomicU64,
    /// Tickets not yet done.
    pub(crate) tickets: UnderWay,
    pub(crate) door: Door,
    /// Whether gauges were set that outlive it.
    told: AtomicBool,
}

impl Runtime {
    /// A runtime to be configured.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder {
            options: Options::default(),
        }
    }

    /// Prepares a query for batches of a schema: checks it, lowers it to a program and compiles
    /// that for the device on which it will run. A program that differs from an earlier one only
    /// in its literals is not compiled again.
    ///
    /// # Errors
    /// [`Error::Expr`] for a query that does not fit the schema; [`Error::Unplaceable`] where no
    /// allowed device can run it.
    pub fn compile(
        &self,
        query: &Query,
        schema: &SchemaRef,
        semantics: &Semantics,
    ) -> Result<Kernel, Error> {
        unlade_hal::fork::check()?;
        Kernel::compile(&self.core, &self.core.own, query, schema, semantics)
    }

    /// Adds a function that a user has written: queries compiled from now on may call it. It stays as
    /// long as the runtime does, and its name is its own.
    ///
    /// Whoever reads expressions is to be told of it: [`functions`](Self::functions) are for
    /// [`parse_expr_with`](unlade_expr::parse_expr_with) and its like. The signature that comes back
    /// [calls](Signature::call) it.
    ///
    /// # Errors
    /// [`Error::Expr`] where another has the name, or there are as many functions as there may be;
    /// [`Error::Forked`] in a forked child.
    pub fn register(&self, function: UserFunction) -> Result<Arc<Signature>, Error> {
        unlade_hal::fork::check()?;
        self.core.functions.register(function)
    }

    /// The functions that were registered, for readers of expressions.
    pub fn functions(&self) -> Arc<Signatures> {
        self.core.functions.signatures()
    }

    /// A session to be configured and opened: one who shares devices and memory with others. The
    /// label names it in messages.
    pub fn session(&self, label: impl Into<Arc<str>>) -> SessionBuilder {
        SessionBuilder::new(&self.core, label.into())
    }

    /// The sessions that have not ended, the runtime's own first.
    pub fn sessions(&self) -> Vec<SessionStatus> {
        self.core.sessions.status()
    }

    /// Whether any batch had a choice of devices. Where none had, because one device alone can run it or
    /// was named, no [calibration](RuntimeBuilder::calibration) is written: nothing is chosen by it.
    pub fn has_placed(&self) -> bool {
        lock(&self.core.placer).has_placed()
    }

    /// Keeps the columns of batches in a device's memory across calls, for
    /// [`Kernel::run_resident`]; without a name, on the first device that has memory of its own.
    /// What was unused for longest makes room for what is pinned later, and is sent again when it
    /// is next used: the batches are kept on the host, too. Columns of fixed width are kept, and
    /// strings where the device compacts them. On a device without memory of its own there is
    /// nothing to do.
    ///
    /// # Errors
    /// [`Error::Config`] for a device that is not there, [`Error::Schema`] for batches of different
    /// schemas, [`Error::Shutdown`] once the runtime is told to end.
    pub fn pin(&self, batches: &[RecordBatch], device: Option<&str>) -> Result<Resident, Error> {
        unlade_hal::fork::check()?;
        self.core.door.may_begin()?;
        Resident::pin(&self.core, batches, device)
    }

    /// The devices, in the order in which they were given.
    pub fn devices(&self) -> Vec<DeviceStatus> {
        self.core.device_status()
    }

    /// Sets the gauges of the `metrics` facade that say how things are: of devices, memory, sessions
    /// and tickets. Whoever collects metrics calls it before each time, which costs as much as
    /// [`devices`](Self::devices) and [`memory`](Self::memory); counters and histograms are told as
    /// things happen. When the runtime ends, they are set to 0.
    pub fn sample_metrics(&self) {
        self.core.told.store(true, Ordering::Relaxed);
        self.core.now().tell();
    }

    /// A handle that does not keep the runtime from ending.
    pub fn downgrade(&self) -> WeakRuntime {
        WeakRuntime {
            core: Arc::downgrade(&self.core),
        }
    }

    /// How memory is used at the moment, and by whom.
    pub fn memory(&self) -> MemoryStatus {
        self.core.memory_status()
    }

    /// How the cache of compiled programs fares.
    pub fn cache(&self) -> CacheStatus {
        self.core.executables.status()
    }

    /// Why work went elsewhere than it was meant to, and how often. The log says each reason once.
    pub fn fallbacks(&self) -> Vec<FallbackStatus> {
        self.core.fallbacks.status()
    }

    /// Takes out the events recorded so far, oldest first; none unless
    /// [`trace`](RuntimeBuilder::trace) is on.
    pub fn take_trace(&self) -> Vec<TraceEvent> {
        self.core.trace.take()
    }

    /// Takes out what was recorded so far, to be [replayed](crate::Replay) on these devices or on
    /// others: what was done since the last time; no batches unless [`record`](RuntimeBuilder::record)
    /// is on.
    pub fn take_recording(&self) -> Recording {
        self.core.recorder.take(&self.core)
    }
}

impl Core {
    /// Tells it from others that live.
    pub(crate) fn id(&self) -> RuntimeId {
        RuntimeId(std::ptr::from_ref(self).addr())
    }

    fn device_status(&self) -> Vec<DeviceStatus> {
        let slots = self.devices.iter().enumerate();
        slots
            .map(|(index, slot)| slot.status(self.dispatcher.device(DeviceIndex(index))))
            .collect()
    }

    fn memory_status(&self) -> MemoryStatus {
        let pool = self.pool.status();
        match &self.bounce {
            Some(bounce) => pool.and(bounce.status()),
            None => pool,
        }
    }

    /// Tickets that are not done.
    pub(crate) fn open_tickets(&self) -> u64 {
        self.tickets.count()
    }

    fn now(&self) -> Now {
        Now {
            devices: self.device_status(),
            pool: self.memory_status(),
            executables: self.executables.status().entries,
            sessions: self.sessions.count(),
            tickets: self.open_tickets(),
        }
    }

    /// The pool whose memory devices reach.
    pub(crate) fn within_reach(&self) -> &Pool {
        self.bounce.as_ref().unwrap_or(&self.pool)
    }

    /// The CPU, if it is among the devices.
    pub(crate) fn cpu(&self) -> Option<&DeviceSlot> {
        self.devices
            .iter()
            .find(|slot| slot.kind == DeviceKind::Cpu)
    }

    /// A turn on a device for a batch of so many bytes.
    ///
    /// # Errors
    /// [`End::NoDevice`] where the device is in quarantine, or is not brought back while that is waited
    /// for; else how the batch ended before it had its turn.
    pub(crate) fn enter(
        &self,
        slot: usize,
        call: &Call<'_>,
        bytes: u64,
        wait: Wait,
    ) -> Result<Permit<'_>, End> {
        let job = || Job {
            devices: vec![DeviceIndex(slot)],
            ..call.job(bytes)
        };
        let noted = self.trace.is_enabled() || call.account.is_some();
        let came = noted.then(|| self.clock.now());
        let permit = self.enter_working(slot, call, job, wait)?;
        if let Some(came) = came {
            let waited = self.clock.now().since(came);
            self.trace.turn(&self.devices[slot], call, came, waited);
            call.account.inspect(|account| account.turn(waited));
        }
        Ok(permit)
    }

    /// A turn on a device that works at its beginning.
    fn enter_working(
        &self,
        slot: usize,
        call: &Call<'_>,
        job: impl Fn() -> Job,
        wait: Wait,
    ) -> Result<Permit<'_>, End> {
        let device = &self.devices[slot];
        let permit = self.enter_back(slot, call, &job, wait)?;
        let Err(lost) = device.check(self) else {
            return Ok(permit);
        };
        // Whoever had a list on it may tell later, and is not the first then.
        tracing::warn!("device fault of {}: {}", device.name, lost.reason);
        // Where it was lost while nobody used it, to bring it back is shorter than a fallback.
        drop(permit.found_lost());
        let permit = self.enter_back(slot, call, &job, wait)?;
        match device.check(self) {
            Ok(()) => Ok(permit),
            Err(_) => permit.lost().wait(),
        }
    }

    /// A turn on a device, after it was brought back if that was to be.
    fn enter_back(
        &self,
        slot: usize,
        call: &Call<'_>,
        job: &impl Fn() -> Job,
        wait: Wait,
    ) -> Result<Permit<'_>, End> {
        let given_up = || call.check().is_err();
        let revive = |device: DeviceIndex| self.devices[device.0].bring_back(self, wait, given_up);
        loop {
            match self.dispatcher.enter(job(), revive) {
                // Somebody else is about to bring it back, and there is nowhere else to go.
                Err(End::NoDevice)
                    if wait == Wait::ToTheEnd
                        && !given_up()
                        && self.dispatcher.may_come_back(DeviceIndex(slot)) =>
                {
                    sleep(LOOK_UP);
                }
                entered => return entered,
            }
        }
    }

    /// Memory for a session, of so many bytes at most.
    pub(crate) fn memory_for(&self, label: &Arc<str>, budget: u64) -> Memory {
        memory_for(&self.pool, self.bounce.as_ref(), label, budget)
    }

    /// The same, by the name that the device has.
    ///
    /// # Errors
    /// [`Error::Config`] for a device that is not there.
    pub(crate) fn placed(&self, placement: &Placement) -> Result<Placement, Error> {
        placed(placement, &self.devices)
    }

    /// A key for a session that no other of this runtime has had.
    pub(crate) fn next_session(&self) -> SessionKey {
        self.sessions.next_key()
    }

    /// Why a device is not to be considered at the moment.
    pub(crate) fn ineligible(&self, device: DeviceIndex) -> Option<Ineligible> {
        let why = match device {
            _ if self.dispatcher.is_quarantined(device) => "it failed not long ago",
            DeviceIndex(slot) if self.devices[slot].is_being_reset() => {
                "it failed, and is being reset"
            }
            _ => return None,
        };
        Some(Ineligible::Quarantined(why.to_owned()))
    }

    /// A number for a kernel that no other of this runtime has.
    pub(crate) fn next_kernel(&self) -> u64 {
        self.kernels.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.keep_calibration();
        if *self.told.get_mut() {
            self.now().tell_the_end();
        }
    }
}
