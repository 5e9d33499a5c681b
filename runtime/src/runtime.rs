//! The runtime: devices, memory and threads, and the way to kernels.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use unlade_expr::{Query, Semantics};
use unlade_hal::{
    AllocError, Clock, ClockKind, Device, DeviceKind, DeviceLost, Health, Lease, PageSize,
};

use crate::auto;
use crate::block::Memory;
use crate::call::Call;
use crate::driver::Driver;
use crate::error::Error;
use crate::executables::{CacheStatus, Executables};
use crate::fallbacks::{FallbackStatus, Fallbacks};
use crate::heap::DeviceHeap;
use crate::kernel::Kernel;
use crate::metrics::{self, Now};
use crate::offload;
use crate::options::{Fallback, Options, Placement, Trust};
use crate::placement::{DeviceIndex, Ineligible, Objective, Placer};
use crate::plans::Plans;
use crate::pool::{Pool, PoolOptions, PoolStatus as MemoryStatus};
use crate::recent::Recent;
use crate::recorder::Recorder;
use crate::recording::Recording;
use crate::residency::Residency;
use crate::resident::{OnDevice, Resident};
use crate::resources::{Facts, Resources};
use crate::scheduler::{
    DeviceTurns, Dispatcher, End, Job, Limits, Permit, SessionKey, Settings, Standing,
};
use crate::session::{SessionBuilder, SessionCore, SessionStatus, Sessions};
use crate::shutdown::Door;
use crate::sync::{Mutex, RwLock, lock};
use crate::trace::{Trace, TraceEvent};
use crate::workers::Workers;

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
    pub(crate) shortage: Mutex<()>,
    /// Read while a stream makes a result ahead of time: until it is known whether that is kept,
    /// it counts for nobody. Written by who must not run short because of that.
    pub(crate) ahead: RwLock<()>,
    pub(crate) executables: Executables,
    pub(crate) plans: Plans,
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
    /// Threads that have devices work, and wait for them.
    pub(crate) queuers: Workers,
    pub(crate) kernels: AtomicU64,
    /// Tickets not yet done.
    pub(crate) tickets: AtomicU64,
    pub(crate) door: Door,
    /// Whether gauges were set that outlive it.
    told: AtomicBool,
}

/// A device and what the runtime knows about it.
#[derive(Debug)]
pub(crate) struct DeviceSlot {
    pub(crate) device: Arc<dyn Device>,
    pub(crate) name: Arc<str>,
    pub(crate) architecture: Arc<str>,
    pub(crate) kind: DeviceKind,
    /// The clock of what it does: its own, or the runtime's where that is on the calling thread.
    pub(crate) clock: ClockKind,
    pub(crate) driver: Driver,
    pub(crate) heap: DeviceHeap,
    /// What is pinned on it.
    pub(crate) residency: Mutex<Residency<OnDevice>>,
    /// How often the device was reset: what was compiled before is void.
    pub(crate) generation: AtomicU64,
    /// Whether it reaches the pool.
    attached: AtomicBool,
    /// Held while the device is brought back.
    reviving: Mutex<()>,
}

/// A device of a runtime, as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceStatus {
    /// Its name: `cpu`, `sim`, `cuda:0`.
    pub name: Arc<str>,
    /// `cpu`, `gpu`, `dpu` or `simulator`.
    pub kind: &'static str,
    /// Vendor's name for it.
    pub description: String,
    /// PCI address or the like, where there is one.
    pub address: Option<String>,
    /// What programs are compiled for.
    pub architecture: Arc<str>,
    /// Memory of its own in bytes, 0 where it uses the host's.
    pub memory: u64,
    /// Which clock its times are of: `wall` or `virtual`.
    pub clock: &'static str,
    /// Whether it has work done.
    pub state: DeviceState,
    /// How long it is left alone yet, where it [rests](DeviceState::Resting), by the runtime's clock.
    #[serde(
        rename = "rests_for_ns",
        serialize_with = "crate::receipt::optional_nanos"
    )]
    pub rests_for: Option<Duration>,
    /// Lists on it at the moment.
    pub in_flight: u32,
    /// Turns on it that are taken.
    pub turns: u32,
    /// Turns on it that are waited for.
    pub waiting: usize,
    /// Turns on it that may be taken at once.
    pub depth: u32,
    /// Bytes of batches that are [kept](Runtime::pin) in its memory.
    pub resident_bytes: u64,
    /// Bytes of memory, the host's and its own, abandoned to it when it was lost.
    pub leaked_bytes: u64,
    /// Failures since it last worked. While there are any, it is left alone now and then.
    pub failures: u32,
    /// Times that it was lost.
    pub times_lost: u64,
    /// Whether it works; if not, why.
    pub lost: Option<String>,
}

/// Whether a device has work done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// It has.
    Ready,
    /// Back after a failure, with one turn to prove it.
    OnTrial,
    /// It failed, and is left alone for a while.
    Resting,
    /// Somebody is trying to bring it back.
    Reviving,
    /// It is lost, which nobody has noticed who had work for it.
    Lost,
}

impl DeviceState {
    /// All of them.
    pub const ALL: [DeviceState; 5] = [
        DeviceState::Ready,
        DeviceState::OnTrial,
        DeviceState::Resting,
        DeviceState::Reviving,
        DeviceState::Lost,
    ];

    /// Its name: `ready`, `on_trial`, `resting`, `reviving` or `lost`.
    pub fn name(self) -> &'static str {
        match self {
            DeviceState::Ready => "ready",
            DeviceState::OnTrial => "on_trial",
            DeviceState::Resting => "resting",
            DeviceState::Reviving => "reviving",
            DeviceState::Lost => "lost",
        }
    }
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

    /// A session to be configured and opened: one who shares devices and memory with others. The
    /// label names it in messages.
    pub fn session(&self, label: impl Into<Arc<str>>) -> SessionBuilder {
        SessionBuilder::new(&self.core, label.into())
    }

    /// The sessions that have not ended, the runtime's own first.
    pub fn sessions(&self) -> Vec<SessionStatus> {
        self.core.sessions.status()
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
    /// schemas.
    pub fn pin(&self, batches: &[RecordBatch], device: Option<&str>) -> Result<Resident, Error> {
        unlade_hal::fork::check()?;
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
        self.tickets.load(Ordering::Relaxed)
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
    fn within_reach(&self) -> &Pool {
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
    /// [`End::NoDevice`] where the device is in quarantine or cannot be brought back; else how the
    /// batch ended before it had its turn.
    pub(crate) fn enter(
        &self,
        slot: usize,
        call: &Call<'_>,
        bytes: u64,
    ) -> Result<Permit<'_>, End> {
        let job = Job {
            devices: vec![DeviceIndex(slot)],
            ..call.job(bytes)
        };
        let noted = self.trace.is_enabled() || call.account.is_some();
        let came = noted.then(|| self.clock.now());
        let permit = self.enter_working(slot, job)?;
        if let Some(came) = came {
            let waited = self.clock.now().since(came);
            self.trace.turn(&self.devices[slot], call, came, waited);
            call.account.inspect(|account| account.turn(waited));
        }
        Ok(permit)
    }

    fn enter_working(&self, slot: usize, job: Job) -> Result<Permit<'_>, End> {
        let enter = |job| self.dispatcher.enter(job, |device| self.bring_back(device));
        let works = || self.devices[slot].check(self).is_ok();
        let permit = enter(job.clone())?;
        if works() {
            return Ok(permit);
        }
        // Where it was lost while nobody used it, to bring it back is shorter than a fallback.
        drop(permit.found_lost());
        let permit = enter(job)?;
        match works() {
            true => Ok(permit),
            false => permit.lost().wait(),
        }
    }

    /// Whether a device works, after resetting it if it was lost.
    pub(crate) fn bring_back(&self, device: DeviceIndex) -> bool {
        self.devices[device.0].bring_back(self)
    }

    /// Memory for a session, of so many bytes at most.
    pub(crate) fn memory_for(&self, label: &Arc<str>, budget: u64) -> Memory {
        memory_for(&self.pool, self.bounce.as_ref(), label, budget)
    }

    /// # Errors
    /// [`Error::Config`] for a device that is not there.
    pub(crate) fn check_placement(&self, placement: &Placement) -> Result<(), Error> {
        check_placement(placement, &self.devices)
    }

    /// A key for a session that no other of this runtime has had.
    pub(crate) fn next_session(&self) -> SessionKey {
        self.sessions.next_key()
    }

    /// Why a device is not to be considered at the moment.
    pub(crate) fn ineligible(&self, device: DeviceIndex) -> Option<Ineligible> {
        self.dispatcher
            .is_quarantined(device)
            .then(|| Ineligible::Quarantined("it failed not long ago".to_owned()))
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

impl DeviceSlot {
    fn new(device: Arc<dyn Device>, queue_depth: u32, runtime: ClockKind) -> Self {
        let info = device.info();
        DeviceSlot {
            name: info.name.as_str().into(),
            architecture: info.architecture.as_str().into(),
            kind: info.kind,
            clock: match info.kind {
                DeviceKind::Cpu => runtime,
                _ => info.clock,
            },
            driver: Driver::new(queue_depth),
            heap: DeviceHeap::new(Arc::clone(&device)),
            // The other half is for batches that pass through.
            residency: Mutex::new(Residency::new(info.memory / 2)),
            generation: AtomicU64::new(0),
            attached: AtomicBool::new(true),
            reviving: Mutex::default(),
            device,
        }
    }

    /// Whether the device works, after resetting it if it was lost. That is for those alone whom the
    /// scheduler has asked to: whoever was on it has been told then.
    fn bring_back(&self, runtime: &Core) -> bool {
        let reviving = lock(&self.reviving);
        if let Health::Lost(lost) = self.device.health() {
            // Its queue is void, whatever becomes of the device.
            self.driver.close(lost);
            lock(&self.residency).clear();
            self.heap.clear();
            runtime.executables.forget_device(&self.name);
            if self.device.reset().is_err() || self.device.health() != Health::Ready {
                return false;
            }
            self.generation.fetch_add(1, Ordering::AcqRel);
            self.attached.store(false, Ordering::Release);
        }
        drop(reviving);
        self.check(runtime).is_ok()
    }

    /// Whether it works, and reaches the pool's memory.
    ///
    /// # Errors
    /// What it was lost by.
    pub(crate) fn check(&self, runtime: &Core) -> Result<(), DeviceLost> {
        if let Health::Lost(lost) = self.device.health() {
            return Err(lost);
        }
        if self.attached.load(Ordering::Acquire) {
            return Ok(());
        }
        // One thread does that while the others wait here, which is shorter than a fallback.
        let _one_thread = lock(&self.reviving);
        if !self.attached.load(Ordering::Acquire) {
            runtime
                .within_reach()
                .attach(Arc::clone(&self.device))
                .map_err(|error| offload::lost(self, error.to_string()))?;
            self.attached.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Memory of its own, for a batch that passes through; what is pinned there and not in use makes
    /// room where there is none.
    pub(crate) fn lease(&self, len: u64) -> Result<Lease, AllocError> {
        loop {
            match self.heap.lease(len) {
                Err(AllocError::OutOfMemory { .. }) if lock(&self.residency).evict_one() => {}
                leased => return leased,
            }
        }
    }

    /// Whether it works on the host's memory in place.
    pub(crate) fn is_coherent(&self) -> bool {
        let capabilities = self.device.capabilities();
        capabilities.coherent && capabilities.foreign_read
    }

    /// Whether batches can be pinned in memory of its own.
    pub(crate) fn keeps_batches(&self) -> bool {
        self.device.info().memory > 0 && !self.is_coherent()
    }

    /// Ends what the device was working on: it failed the holder of this permit. Of all that it
    /// failed at once the first ends it; others may come when it has been brought back and works on
    /// what has come since.
    pub(crate) fn fault(&self, permit: Permit<'_>, lost: &DeviceLost) {
        let _not_brought_back_meanwhile = lock(&self.reviving);
        if permit.is_current() {
            self.driver.close(lost.clone());
            lock(&self.residency).clear();
            self.heap.clear();
            tracing::warn!(device = %self.name, reason = %lost.reason, "device fault");
        }
        let _ended = permit.lost();
    }

    /// Why it is left alone: it failed, in whatever way it or its queue says.
    pub(crate) fn distrust(&self) -> DeviceLost {
        let loss = match self.device.health() {
            Health::Lost(lost) => Some(lost),
            Health::Ready => self.driver.last_loss(),
        };
        let why = loss.map_or_else(String::new, |lost| format!(": {}", lost.reason));
        DeviceLost {
            device: self.name.to_string(),
            reason: format!("it failed and is not trusted yet{why}"),
        }
    }

    /// What sessions ask for it by.
    fn facts(&self) -> Facts {
        Facts {
            name: Arc::clone(&self.name),
            address: self.device.info().address.clone(),
            kind: self.kind,
        }
    }

    fn status(&self, turns: DeviceTurns) -> DeviceStatus {
        let info = self.device.info();
        let lost = match self.device.health() {
            Health::Ready => None,
            Health::Lost(lost) => Some(lost.reason),
        };
        DeviceStatus {
            name: Arc::clone(&self.name),
            kind: info.kind.name(),
            description: info.description.clone(),
            address: info.address.clone(),
            architecture: Arc::clone(&self.architecture),
            memory: info.memory,
            clock: crate::receipt::clock_text(info.clock),
            state: match turns.standing {
                Standing::Resting(_) => DeviceState::Resting,
                Standing::Reviving => DeviceState::Reviving,
                Standing::Ready | Standing::OnTrial if lost.is_some() => DeviceState::Lost,
                Standing::OnTrial => DeviceState::OnTrial,
                Standing::Ready => DeviceState::Ready,
            },
            rests_for: turns.rests_for,
            in_flight: self.driver.in_flight(),
            turns: turns.in_flight,
            waiting: turns.waiting,
            depth: turns.depth,
            resident_bytes: lock(&self.residency).bytes(),
            leaked_bytes: self.driver.leaked_bytes(),
            failures: turns.failures,
            times_lost: turns.times_lost,
            lost,
        }
    }
}

/// Configures a [`Runtime`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct RuntimeBuilder {
    options: Options,
}

impl RuntimeBuilder {
    /// Adds a device; the CPU first, by convention. Names must differ.
    pub fn device(mut self, device: Arc<dyn Device>) -> Self {
        self.options.devices.push(device);
        self
    }

    /// Most bytes that batches may hold at once, results not yet dropped included. 4 GiB unless
    /// told otherwise.
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.options.memory_budget = bytes;
        self
    }

    /// Bytes of pinned memory to reserve at the start, at most the budget; its pages are touched
    /// only when used. 256 MiB unless told otherwise.
    pub fn pool_reserve(mut self, bytes: u64) -> Self {
        self.options.pool_reserve = bytes;
        self
    }

    /// On how many threads a stream computes, the one that asks for results included: 1 unless
    /// told otherwise, which is that one alone. Threads that have devices work, and wait for them, come
    /// beside these: two for each device, started when first needed.
    pub fn threads(mut self, threads: usize) -> Self {
        self.options.threads = threads;
        self
    }

    /// How long a small batch of a stream may wait for those that follow, to be done with them at
    /// once on a device behind a queue: a millisecond unless told otherwise. Zero has each done by
    /// itself.
    pub fn gather_within(mut self, time: Duration) -> Self {
        self.options.gather_within = time;
        self
    }

    /// Which device runs queries.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.options.placement = placement;
        self
    }

    /// What placement aims at, where it has a choice: the time to the result, unless told otherwise.
    pub fn objective(mut self, objective: Objective) -> Self {
        self.options.objective = objective;
        self
    }

    /// A file that keeps what was measured on devices from one run to the next, so that placement
    /// knows them from the start. It is read now and written, whole or not at all, when the runtime
    /// ends, if there was something to place. It is passed over where it is of another version, and
    /// what it says of a device where that is not the same hardware. None unless told otherwise.
    pub fn calibration(mut self, file: impl Into<PathBuf>) -> Self {
        self.options.calibration = Some(file.into());
        self
    }

    /// Whether another device may stand in.
    pub fn fallback(mut self, fallback: Fallback) -> Self {
        self.options.fallback = fallback;
        self
    }

    /// Whether devices are taken at their word.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.options.trust = trust;
        self
    }

    /// The clock by which batches are timed; the wall clock unless told otherwise.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.options.clock = clock;
        self
    }

    /// Whether to record events for [`Runtime::take_trace`].
    pub fn trace(mut self, trace: bool) -> Self {
        self.options.trace = trace;
        self
    }

    /// Whether to record what comes when and what becomes of it, for [`Runtime::take_recording`]. Off
    /// unless told otherwise: it models every device for each batch, as
    /// [`predictions`](Self::predictions) do, which it turns on.
    pub fn record(mut self, record: bool) -> Self {
        self.options.record = record;
        self
    }

    /// Whether receipts tell the [CPU time](crate::Receipt::host_cpu) that batches took. Off unless
    /// told otherwise: it takes two system calls a batch.
    pub fn host_cpu(mut self, measure: bool) -> Self {
        self.options.host_cpu = measure;
        self
    }

    /// Whether to predict what a batch takes even where there is no device to choose, so that
    /// every receipt has a prediction beside the time taken. Off unless told otherwise: it models
    /// every device for each batch, under a lock that all kernels share.
    pub fn predictions(mut self, predictions: bool) -> Self {
        self.options.predictions = predictions;
        self
    }

    /// Whether a device's program is compiled while the CPU already runs the first batches.
    pub fn background_compile(mut self, background: bool) -> Self {
        self.options.background_compile = background;
        self
    }

    /// Most tickets that are not done at any time, 1024 unless told otherwise.
    pub fn max_tickets(mut self, tickets: usize) -> Self {
        self.options.max_tickets = tickets;
        self
    }

    /// How long a device may take for one batch before it is held to be lost: a minute unless told
    /// otherwise.
    pub fn device_timeout(mut self, timeout: Duration) -> Self {
        self.options.device_timeout = timeout;
        self
    }

    /// Builds it.
    ///
    /// # Errors
    /// [`Error::Config`] without a device, with two of one name, with a placement that names none
    /// of them, or without a thread.
    pub fn build(self) -> Result<Runtime, Error> {
        unlade_hal::fork::check()?;
        unlade_hal::fork::watch();
        metrics::describe();
        let mut options = self.options;
        // What is predicted is also learnt from.
        options.predictions |= options.record;
        let devices: Vec<DeviceSlot> = options
            .devices
            .iter()
            .map(|device| {
                DeviceSlot::new(
                    Arc::clone(device),
                    options.queue_depth,
                    options.clock.kind(),
                )
            })
            .collect();
        check(&options, &devices)?;
        let (pool, bounce) = attached_pools(&options, &devices)?;
        let dispatcher = Arc::new(dispatcher(&options, &devices));
        let budget = options.memory_budget;
        let memory = memory_for(&pool, bounce.as_ref(), &OWN.into(), budget);
        let own = SessionCore::own(memory, &options, &dispatcher);
        let sessions = Sessions::default();
        sessions.add(&own);
        let placer = auto::placer(&options, &devices);
        let known = lock(&placer).calibration();
        Ok(Runtime {
            core: Arc::new(Core {
                clock: Arc::clone(&options.clock),
                own,
                sessions,
                pool,
                bounce,
                shortage: Mutex::default(),
                ahead: RwLock::default(),
                executables: Executables::default(),
                plans: Plans::default(),
                placer,
                dispatcher,
                resources: Arc::new(Resources::new(
                    devices.iter().map(DeviceSlot::facts).collect(),
                )),
                trace: Trace::new(options.trace),
                recorder: Recorder::new(options.record, known),
                fallbacks: Fallbacks::default(),
                recent: Recent::default(),
                workers: Workers::new("unlade", options.threads.saturating_sub(1)),
                queuers: Workers::new("unlade-queue", devices.len() * options.lists_ahead),
                kernels: AtomicU64::new(0),
                tickets: AtomicU64::new(0),
                door: Door::default(),
                told: AtomicBool::new(false),
                devices,
                options,
            }),
        })
    }
}

/// What the runtime's own session is called.
pub(crate) const OWN: &str = "runtime";

/// Which part of the memory devices reach that are not trusted with all of it: a quarter.
const BOUNCE: u64 = 4;

/// Turns on every device, as many at once as its queue takes lists.
fn dispatcher(options: &Options, devices: &[DeviceSlot]) -> Dispatcher {
    let limits = devices.iter().map(|slot| {
        let bytes = match slot.device.info().memory {
            0 => u64::MAX, // the host's, which the pool has its eye on
            memory => memory,
        };
        let depth = options.queue_depth;
        (Arc::clone(&slot.name), Limits { depth, bytes })
    });
    Dispatcher::new(
        limits.collect(),
        Settings::default(),
        Arc::clone(&options.clock),
    )
}

/// [`open_pools`], known to the devices: of huge pages where there are any, of ordinary ones where a
/// device takes no others.
fn attached_pools(
    options: &Options,
    devices: &[DeviceSlot],
) -> Result<(Pool, Option<Pool>), Error> {
    let open = |page_size| {
        let (pool, bounce) = open_pools(options, page_size)?;
        let refused = attach(bounce.as_ref().unwrap_or(&pool), devices);
        Ok(((pool, bounce), refused))
    };
    match open(PageSize::Huge)? {
        (pools, None) => Ok(pools),
        (_, Some(Refused { device, error })) => {
            tracing::warn!(%device, %error, "all memory is of ordinary pages");
            open(PageSize::Base).map(|(pools, _)| pools)
        }
    }
}

/// The pool, and one for what devices read and write where they are not trusted: a quarter of the
/// memory, through which everything passes that goes to a device or comes from it.
fn open_pools(options: &Options, page_size: PageSize) -> Result<(Pool, Option<Pool>), Error> {
    let open = |budget: u64| {
        let reserve = options.pool_reserve.min(budget);
        Pool::new(&PoolOptions {
            reserve,
            budget,
            page_size,
        })
        .map_err(|source| Error::Reserve {
            asked: reserve,
            source,
        })
    };
    match options.trust {
        Trust::Trusted => Ok((open(options.memory_budget)?, None)),
        Trust::Untrusted => {
            let bounce = options.memory_budget / BOUNCE;
            Ok((open(options.memory_budget - bounce)?, Some(open(bounce)?)))
        }
    }
}

/// Memory for a session: within its budget of one pool, or of both in the proportion of the pools.
fn memory_for(pool: &Pool, bounce: Option<&Pool>, label: &Arc<str>, budget: u64) -> Memory {
    let session = |pool: &Pool, budget| pool.session(Arc::clone(label), budget);
    match bounce {
        None => {
            let session = session(pool, budget);
            Memory::new(session.clone(), session)
        }
        Some(bounce) => {
            let reached = budget / BOUNCE;
            Memory::new(session(pool, budget - reached), session(bounce, reached))
        }
    }
}

/// A device that takes no huge pages.
struct Refused {
    device: Arc<str>,
    error: AllocError,
}

/// Makes a pool known to every device that is not the CPU, or to those before one that refuses the
/// size of its pages.
fn attach(pool: &Pool, devices: &[DeviceSlot]) -> Option<Refused> {
    for slot in devices.iter().filter(|slot| slot.kind != DeviceKind::Cpu) {
        let attached = pool.attach(Arc::clone(&slot.device));
        slot.attached.store(attached.is_ok(), Ordering::Release);
        match attached {
            Ok(()) => {}
            Err(error @ AllocError::HugePages(_)) => {
                let device = Arc::clone(&slot.name);
                return Some(Refused { device, error });
            }
            // It may be had later; until then the others do its work.
            Err(error) => tracing::warn!(device = %slot.name, %error, "cannot register memory"),
        }
    }
    None
}

fn check(options: &Options, devices: &[DeviceSlot]) -> Result<(), Error> {
    let wrong = |what: String| Err(Error::Config(what));
    if devices.is_empty() {
        return wrong("there is no device; add one with `RuntimeBuilder::device`".to_owned());
    }
    for (position, slot) in devices.iter().enumerate() {
        if devices[..position]
            .iter()
            .any(|earlier| earlier.name == slot.name)
        {
            return wrong(format!("two devices are called `{}`", slot.name));
        }
    }
    check_placement(&options.placement, devices)?;
    if options.threads == 0 {
        return wrong("0 threads compute nothing; the least is 1".to_owned());
    }
    Ok(())
}

fn check_placement(placement: &Placement, devices: &[DeviceSlot]) -> Result<(), Error> {
    match placement {
        Placement::Device(name) if !devices.iter().any(|slot| slot.name == *name) => {
            let names: Vec<&str> = devices.iter().map(|slot| &*slot.name).collect();
            Err(Error::Config(format!(
                "there is no device `{name}`; there is {}",
                names.join(", ")
            )))
        }
        Placement::Device(_) | Placement::Auto => Ok(()),
    }
}
