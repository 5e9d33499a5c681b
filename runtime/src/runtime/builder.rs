//! How a runtime is configured and put together.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use unlade_hal::{AllocError, Clock, Device, DeviceKind, PageSize};

use super::{Core, Runtime};
use crate::ahead::Ahead;
use crate::auto;
use crate::block::Memory;
use crate::device_slot::{self, DeviceSlot};
use crate::error::Error;
use crate::executables::Executables;
use crate::fallbacks::Fallbacks;
use crate::functions::Functions;
use crate::metrics::{self};
use crate::options::{Fallback, Options, Placement, Trust};
use crate::placement::Objective;
use crate::plans::Plans;
use crate::pool::{Pool, PoolOptions};
use crate::recent::Recent;
use crate::recorder::Recorder;
use crate::resources::Resources;
use crate::scheduler::{Dispatcher, Limits, Settings};
use crate::session::{SessionCore, Sessions};
use crate::shortage::Shortage;
use crate::shutdown::{Door, UnderWay};
use crate::sync::lock;
use crate::trace::Trace;
use crate::workers::{Limit, Workers};

/// Configures a [`Runtime`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct RuntimeBuilder {
    pub(super) options: Options,
}

impl RuntimeBuilder {
    /// Adds a device; the CPU first, by convention. Names must differ.
    pub fn device(mut self, device: Arc<dyn Device>) -> Self {
        self.options.devices.push(device);
        self
    }

    /// Most bytes that batches may hold at once, results not yet dropped included, in whole pages. 4 GiB
    /// unless told otherwise. What a batch takes no more than 4 KiB for is not counted.
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
    /// beside these: as many for each device and priority as the device takes lists at once, started when
    /// first needed.
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
    /// is [shut down](Runtime::shutdown) and when the last of its handles, kernels and streams is
    /// gone, if there was [something to place](Runtime::has_placed); else it is left as it is. It is
    /// passed over where it is of another version, and what it says of a device where that is not the
    /// same hardware. None unless told otherwise.
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

    /// How long a device's driver may take before the device is held to be lost, for what comes before a
    /// batch: to compile for it, to reset it, to open its queue and to give of its memory. As long as for a
    /// [batch](Self::device_timeout) unless told otherwise, and a minute where that is less. A session whose
    /// deadline is over or that was cancelled waits for none of these; the driver is left to it, on a thread
    /// of its own. Of a reset others do the work after half a second, where they may.
    pub fn driver_timeout(mut self, timeout: Duration) -> Self {
        self.options.driver_timeout = Some(timeout);
        self
    }

    /// Builds it.
    ///
    /// # Errors
    /// [`Error::Config`] without a device, with two of one name, with a placement that names none
    /// of them, or without a thread; [`Error::Limit`] with more than 8,192 threads.
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
            .map(|device| DeviceSlot::new(Arc::clone(device), &options))
            .collect();
        check(&options, &devices)?;
        options.placement = placed(&options.placement, &devices)?;
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
                shortage: Shortage::default(),
                ahead: Ahead::default(),
                executables: Executables::default(),
                plans: Plans::default(),
                functions: Functions::default(),
                placer,
                dispatcher,
                resources: Arc::new(Resources::new(
                    devices.iter().map(DeviceSlot::facts).collect(),
                )),
                trace: Trace::new(options.trace),
                recorder: Recorder::new(options.record, known),
                fallbacks: Fallbacks::default(),
                recent: Recent::default(),
                workers: Workers::new("unlade", Limit::InAll(options.threads.saturating_sub(1))),
                kernels: AtomicU64::new(0),
                tickets: UnderWay::default(),
                door: Door::default(),
                told: AtomicBool::new(false),
                devices,
                options,
            }),
        })
    }
}

/// Most threads of a runtime: as many as Linux knows processors.
const MOST_THREADS: usize = 8192;

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
            tracing::warn!("all memory is of ordinary pages, because of {device}: {error}");
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
pub(super) fn memory_for(
    pool: &Pool,
    bounce: Option<&Pool>,
    label: &Arc<str>,
    budget: u64,
) -> Memory {
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
            Err(error) => tracing::warn!(
                "{} is not used until memory can be registered with it: {error}",
                slot.name
            ),
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
    if options.threads == 0 {
        return wrong("0 threads compute nothing; the least is 1".to_owned());
    }
    if options.threads > MOST_THREADS {
        return Err(Error::Limit {
            what: "threads",
            asked: options.threads as u64,
            limit: MOST_THREADS as u64,
        });
    }
    Ok(())
}

/// The same, by the name that the device has.
pub(super) fn placed(placement: &Placement, devices: &[DeviceSlot]) -> Result<Placement, Error> {
    Ok(match placement {
        Placement::Device(name) => {
            let place = device_slot::named(devices, name)?;
            Placement::Device(Arc::clone(&devices[place].name))
        }
        Placement::Auto => Placement::Auto,
    })
}
