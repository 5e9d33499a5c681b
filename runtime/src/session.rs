//! Sessions: those among whom devices and memory are shared.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use arrow_schema::SchemaRef;
use serde::Serialize;
use unlade_expr::{Query, Semantics, Signatures};
use unlade_hal::{ClockKind, Timestamp};

use crate::block::Memory;
use crate::error::Error;
use crate::kernel::Kernel;
use crate::metrics::{SESSIONS_OPENED, SESSIONS_REFUSED};
use crate::options::{Options, Placement};
use crate::receipt::{clock_text, whole_nanos};
use crate::resources::{DeviceRequest, Grant};
use crate::route::Allowed;
use crate::runtime::{Core, OWN};
use crate::scheduler::{Dispatcher, Job, Priority, SessionKey};
use crate::shutdown::UnderWay;
use crate::sync::Mutex;

/// One who shares devices and memory with others: a query, or a task of an engine.
///
/// Its kernels have their turns on devices by its [weight](SessionBuilder::weight) and
/// [priority](SessionBuilder::priority), take memory within its
/// [budget](SessionBuilder::memory_budget), run on the devices that it was
/// [granted](SessionBuilder::device), and end at its [deadline](SessionBuilder::deadline) or when it
/// is [cancelled](Session::cancel). Cheap to clone; it ends, and gives back its devices, with the
/// last clone, kernel, ticket and stream. Kernels that [`Runtime::compile`](crate::Runtime::compile)
/// made belong to a session of the runtime's own, without any of these limits.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use arrow_array::{Int64Array, RecordBatch};
/// use unlade_cpu::CpuDevice;
/// use unlade_expr::{Query, Semantics, col, lit};
/// use unlade_runtime::{Error, Runtime};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = Runtime::builder().device(Arc::new(CpuDevice::new())).build()?;
/// let session = runtime
///     .session("nightly report")
///     .weight(2)
///     .memory_budget(64 << 20)
///     .deadline(Duration::from_secs(600))
///     .open()?;
/// let numbers = Arc::new(Int64Array::from(vec![1, 20, 300])) as _;
/// let batch = RecordBatch::try_from_iter([("n", numbers)])?;
/// let query = Query::filter(col("n").gt(lit(10i64)));
/// let kernel = session.compile(&query, &batch.schema(), &Semantics::arrow())?;
/// assert_eq!(kernel.run(&batch)?.receipt.rows_out, 2);
///
/// session.cancel();
/// assert!(matches!(kernel.run(&batch), Err(Error::Cancelled)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session {
    runtime: Arc<Core>,
    core: Arc<SessionCore>,
}

impl Session {
    /// As [`Runtime::compile`](crate::Runtime::compile), for this session.
    ///
    /// # Errors
    /// The same; what the session was not granted counts as not there.
    pub fn compile(
        &self,
        query: &Query,
        schema: &SchemaRef,
        semantics: &Semantics,
    ) -> Result<Kernel, Error> {
        unlade_hal::fork::check()?;
        Kernel::compile(&self.runtime, &self.core, query, schema, semantics)
    }

    /// As [`Runtime::functions`](crate::Runtime::functions): the users' functions that its queries may call.
    pub fn functions(&self) -> Arc<Signatures> {
        self.runtime.functions.signatures()
    }

    /// Ends everything that the session has under way, with [`Error::Cancelled`], and refuses the
    /// rest. Tickets and streams end at once, as do those who wait for a device or for memory. What
    /// a device has in its hands is finished there, and its memory comes back with it; a thread that
    /// runs a batch itself returns before the batch's next piece.
    pub fn cancel(&self) {
        self.core.cancel();
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.core.is_cancelled()
    }

    /// How it fares at the moment.
    pub fn status(&self) -> SessionStatus {
        self.core.status()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.fmt(f)
    }
}

/// A session, as it is now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionStatus {
    /// What it was called when it was opened.
    pub label: Arc<str>,
    /// Its share of devices, relative to others.
    pub weight: u32,
    /// `background`, `normal` or `interactive`.
    pub priority: &'static str,
    /// Bytes of memory that it holds, results not yet dropped included.
    pub memory: u64,
    /// Bytes that it may hold.
    pub memory_budget: u64,
    /// Devices that it was granted, and which part of each; empty where it asked for none.
    pub devices: Vec<(Arc<str>, f64)>,
    /// Batches that it handed over, whatever became of them.
    pub batches: u64,
    /// How long devices have worked for it, copies included: those that tell, and by
    /// [`device_clock`](Self::device_clock). What was [sent](crate::Resident::sent) to be pinned is time of
    /// the runtime's own session, or of the one whose kernel brought it back.
    #[serde(rename = "device_time_ns", serialize_with = "crate::receipt::nanos")]
    pub device_time: Duration,
    /// The clock of that: `wall`, unless simulated devices alone have worked for it, whose time is
    /// `virtual`. Times of two clocks are not added: beside devices by the wall clock, what simulated ones
    /// did is not told.
    pub device_clock: &'static str,
    /// How long the host's processor computed for it, of what was done: batches, and parts of batches,
    /// on all threads together, by the runtime's clock.
    #[serde(rename = "host_time_ns", serialize_with = "crate::receipt::nanos")]
    pub host_time: Duration,
    /// Whether it was cancelled.
    pub cancelled: bool,
}

/// Configures a [`Session`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `open`"]
pub struct SessionBuilder {
    runtime: Arc<Core>,
    label: Arc<str>,
    weight: u32,
    priority: Priority,
    memory_budget: u64,
    deadline: Option<Duration>,
    placement: Placement,
    requests: Vec<DeviceRequest>,
    patience: Duration,
}

impl SessionBuilder {
    pub(crate) fn new(runtime: &Arc<Core>, label: Arc<str>) -> Self {
        SessionBuilder {
            label,
            weight: 1,
            priority: Priority::default(),
            memory_budget: runtime.options.memory_budget,
            deadline: None,
            placement: runtime.options.placement.clone(),
            requests: Vec::new(),
            patience: Duration::ZERO,
            runtime: Arc::clone(runtime),
        }
    }

    /// Its share of every device's time, relative to that of others that want it at the same time:
    /// 1 unless told otherwise.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Whether its batches go before others', on devices and on the runtime's threads.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Most bytes that its batches may hold at once, results not yet dropped included; all of the
    /// runtime's unless told otherwise.
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = bytes;
        self
    }

    /// When its batches end at the latest, from [`open`](SessionBuilder::open) on by the runtime's
    /// clock: with [`Error::DeadlineExceeded`]. It is looked at before each batch and each piece of
    /// one, and while one waits for a device; what a device has in its hands is finished.
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = Some(after);
        self
    }

    /// Which device runs its queries, where that is not the runtime's own placement.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Asks for a device, a part of one or several, to count on until the session ends. Whoever asks
    /// for any uses those that were granted, beside the CPU, and no others. Who asks for none may
    /// use all of them, also those that others were granted: requests are kept apart from each
    /// other, turns are shared by weight.
    pub fn device(mut self, request: DeviceRequest) -> Self {
        self.requests.push(request);
        self
    }

    /// How long to wait for the devices where others hold them: not at all unless told otherwise.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Opens it, once it has its devices.
    ///
    /// # Errors
    /// [`Error::Refused`] where it cannot have the devices, with the reason; [`Error::Config`] for a
    /// weight of 0 or a placement that names no device.
    pub fn open(self) -> Result<Session, Error> {
        unlade_hal::fork::check()?;
        let runtime = self.runtime;
        runtime.door.may_begin()?;
        if self.weight == 0 {
            return Err(Error::Config(format!(
                "session `{}` has a weight of 0, which is no share; the least is 1",
                self.label
            )));
        }
        let placement = runtime.placed(&self.placement)?;
        let grant = match &self.requests[..] {
            [] => None,
            requests => {
                let grant = runtime
                    .resources
                    .grant(&self.label, requests, self.patience);
                Some(grant.map_err(|refused| {
                    SESSIONS_REFUSED.counter(&[]).increment(1);
                    Box::new(refused)
                })?)
            }
        };
        // It may have ended while this waited for devices.
        runtime.door.may_begin()?;
        let now = runtime.clock.now().0;
        let core = Arc::new(SessionCore {
            key: runtime.next_session(),
            memory: runtime.memory_for(&self.label, self.memory_budget),
            label: self.label,
            weight: self.weight,
            priority: self.priority,
            memory_budget: self.memory_budget,
            deadline: self
                .deadline
                .map(|after| Timestamp(now.saturating_add(after))),
            allowed: Allowed {
                placement,
                devices: grant.as_ref().map(Grant::devices),
            },
            grant,
            batches: AtomicU64::new(0),
            in_hand: UnderWay::default(),
            device_nanos: AtomicU64::new(0),
            simulated_nanos: AtomicU64::new(0),
            host_nanos: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            owed: Mutex::default(),
            dispatcher: Arc::clone(&runtime.dispatcher),
        });
        runtime.sessions.add(&core);
        SESSIONS_OPENED.counter(&[]).increment(1);
        Ok(Session { runtime, core })
    }
}

/// Somebody who waits for something of a session's.
pub(crate) trait Waits: Send + Sync {
    /// Nothing comes any more, for this reason.
    fn end(&self, error: Error);
}

/// A session, as kernels, tickets and streams know it.
pub(crate) struct SessionCore {
    pub(crate) key: SessionKey,
    pub(crate) label: Arc<str>,
    pub(crate) weight: u32,
    pub(crate) priority: Priority,
    pub(crate) memory: Memory,
    memory_budget: u64,
    pub(crate) deadline: Option<Timestamp>,
    /// Where its queries may run.
    pub(crate) allowed: Allowed,
    grant: Option<Grant>,
    batches: AtomicU64,
    /// Those that are under way, but for tickets'.
    in_hand: UnderWay,
    device_nanos: AtomicU64,
    /// The same by clocks of simulated devices' own.
    simulated_nanos: AtomicU64,
    host_nanos: AtomicU64,
    cancelled: AtomicBool,
    /// Those who wait for results.
    owed: Mutex<Vec<Weak<dyn Waits>>>,
    dispatcher: Arc<Dispatcher>,
}

impl SessionCore {
    /// The session of kernels that belong to no other.
    pub(crate) fn own(
        memory: Memory,
        options: &Options,
        dispatcher: &Arc<Dispatcher>,
    ) -> Arc<Self> {
        Arc::new(SessionCore {
            key: SessionKey::default(),
            label: OWN.into(),
            weight: 1,
            priority: Priority::default(),
            memory,
            memory_budget: options.memory_budget,
            deadline: None,
            allowed: Allowed {
                placement: options.placement.clone(),
                devices: None,
            },
            grant: None,
            batches: AtomicU64::new(0),
            in_hand: UnderWay::default(),
            device_nanos: AtomicU64::new(0),
            simulated_nanos: AtomicU64::new(0),
            host_nanos: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            owed: Mutex::default(),
            dispatcher: Arc::clone(dispatcher),
        })
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Something of its own, as schedulers see it: so many bytes.
    pub(crate) fn job(&self, bytes: u64) -> Job {
        Job {
            session: self.key,
            weight: self.weight,
            priority: self.priority,
            deadline: self.deadline,
            ..Job::new(bytes)
        }
    }

    /// A task of its own, for [`Workers`](crate::workers::Workers): as large as any other.
    pub(crate) fn task(&self) -> Job {
        self.job(1)
    }

    /// Has somebody told when the session is cancelled; at once if it is.
    pub(crate) fn owes(&self, waits: &Arc<impl Waits + 'static>) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        if owed.len() == owed.capacity() {
            owed.retain(|each| each.strong_count() > 0);
        }
        let waits: Arc<dyn Waits> = Arc::clone(waits) as _;
        owed.push(Arc::downgrade(&waits));
        drop(owed);
        if self.is_cancelled() {
            waits.end(Error::Cancelled);
        }
    }

    /// Notes that so many batches were handed over.
    pub(crate) fn count_batches(&self, batches: u64) {
        self.batches.fetch_add(batches, Ordering::Relaxed);
    }

    /// Notes that so many batches are under way, until this is dropped.
    pub(crate) fn take_in_hand(&self, batches: u64) -> InHand<'_> {
        // Before it is looked whether the runtime has ended, which looks at this afterwards.
        self.in_hand.begin(batches);
        InHand {
            session: self,
            batches,
        }
    }

    /// Notes for how long a device has worked for it, by this clock.
    pub(crate) fn count_device_time(&self, used: Duration, clock: ClockKind) {
        let sum = match clock {
            ClockKind::Wall => &self.device_nanos,
            ClockKind::Virtual => &self.simulated_nanos,
        };
        sum.fetch_add(whole_nanos(used), Ordering::Relaxed);
    }

    /// For how long devices have worked for it, and by which clock.
    fn device_time(&self) -> (Duration, ClockKind) {
        let time = |sum: &AtomicU64| Duration::from_nanos(sum.load(Ordering::Relaxed));
        let (by_the_wall, simulated) = (time(&self.device_nanos), time(&self.simulated_nanos));
        match by_the_wall.is_zero() && !simulated.is_zero() {
            true => (simulated, ClockKind::Virtual),
            false => (by_the_wall, ClockKind::Wall),
        }
    }

    /// Notes for how long the host's processor has computed for it.
    pub(crate) fn count_host_time(&self, used: Duration) {
        if !used.is_zero() {
            self.host_nanos
                .fetch_add(whole_nanos(used), Ordering::Relaxed);
        }
    }

    fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.end(&Error::Cancelled);
    }

    /// Has all who wait for something know that it does not come.
    fn end(&self, why: &Error) {
        self.dispatcher.cancel_session(self.key);
        self.memory.give_up();
        // Not under the lock: whoever is told may ask for more.
        let owed = std::mem::take(&mut *self.owed.lock().unwrap_or_else(PoisonError::into_inner));
        for waits in owed.iter().filter_map(Weak::upgrade) {
            waits.end(why.clone());
        }
    }

    fn status(&self) -> SessionStatus {
        let (device_time, device_clock) = self.device_time();
        SessionStatus {
            label: Arc::clone(&self.label),
            weight: self.weight,
            priority: match self.priority {
                Priority::Background => "background",
                Priority::Normal => "normal",
                Priority::Interactive => "interactive",
            },
            memory: self.memory.held(),
            memory_budget: self.memory_budget,
            devices: self.grant.as_ref().map(Grant::shares).unwrap_or_default(),
            batches: self.batches.load(Ordering::Relaxed),
            device_time,
            device_clock: clock_text(device_clock),
            host_time: Duration::from_nanos(self.host_nanos.load(Ordering::Relaxed)),
            cancelled: self.is_cancelled(),
        }
    }
}

impl Drop for SessionCore {
    fn drop(&mut self) {
        self.dispatcher.forget_session(self.key);
    }
}

impl fmt::Debug for SessionCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("label", &self.label)
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// Batches of a session that are under way.
pub(crate) struct InHand<'a> {
    session: &'a SessionCore,
    batches: u64,
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.session.in_hand.end(self.batches);
    }
}

/// The sessions of a runtime that have not ended.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    opened: AtomicU64,
    open: Mutex<Vec<Weak<SessionCore>>>,
}

impl Sessions {
    /// A key that no session of the runtime has had; the runtime's own has the first.
    pub(crate) fn next_key(&self) -> SessionKey {
        SessionKey(self.opened.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn add(&self, session: &Arc<SessionCore>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() == open.capacity() {
            open.retain(|each| each.strong_count() > 0);
        }
        open.push(Arc::downgrade(session));
    }

    pub(crate) fn status(&self) -> Vec<SessionStatus> {
        let open = self.open();
        open.iter().map(|session| session.status()).collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.open().len()
    }

    /// Batches that are under way.
    pub(crate) fn in_hand(&self) -> u64 {
        let in_hand = |session: &Arc<SessionCore>| session.in_hand.count();
        self.open().iter().map(in_hand).sum()
    }

    /// Has all who wait for something know that it does not come.
    pub(crate) fn end(&self, why: &Error) {
        self.open().iter().for_each(|session| session.end(why));
    }

    fn open(&self) -> Vec<Arc<SessionCore>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().filter_map(Weak::upgrade).collect()
    }
}
