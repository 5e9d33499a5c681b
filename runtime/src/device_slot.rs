//! A device and what the runtime knows about it: whether it works, and what is on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use unlade_hal::{AllocError, ClockKind, Device, DeviceKind, DeviceLost, Health, Lease};

use crate::call::Call;
use crate::driver::Driver;
use crate::errand::{Errand, Waited};
use crate::error::Error;
use crate::heap::{DeviceHeap, NoLease};
use crate::offload;
use crate::options::Options;
use crate::residency::Residency;
use crate::resident::OnDevice;
use crate::resources::Facts;
use crate::runtime::Core;
use crate::scheduler::{DeviceTurns, Permit, Revival, Standing};
use crate::sync::{Mutex, lock};
use crate::workers::{Limit, Workers};

/// A reset under way; whether the device works after it.
type Resetting = Errand<bool>;

/// For how long whoever has work for a device waits while it is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all: the work need not be done.
    Never,
    /// For as long as that is shorter than to have the work done elsewhere.
    Briefly,
    /// For as long as the device may take: nothing else can do the work.
    ToTheEnd,
}

/// From the beginning of a reset on. A simulated device takes far less, and what hangs takes seconds until
/// its driver gives it up.
const BRIEFLY: Duration = Duration::from_millis(500);

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
    pub(crate) attached: AtomicBool,
    /// Held while the device is brought back, with a reset that was not waited for to its end.
    reviving: Mutex<Option<Resetting>>,
    /// Threads that have it work for streams and tickets, and wait for it.
    pub(crate) workers: Workers,
    /// Takes back what was left on it: a thread of its own, as all others may wait for the very turns
    /// that come free thereby.
    pub(crate) collector: Workers,
}

/// The place of the device that is meant by a name: its own, its address, or its name without the number,
/// as `cuda` of `cuda:0`, where no other has that.
///
/// # Errors
/// [`Error::Config`] where there is none, or several.
pub(crate) fn named(devices: &[DeviceSlot], name: &str) -> Result<usize, Error> {
    let is_it = |slot: &DeviceSlot| {
        *slot.name == *name || slot.device.info().address.as_deref() == Some(name)
    };
    if let Some(position) = devices.iter().position(is_it) {
        return Ok(position);
    }
    let numbered = |slot: &DeviceSlot| {
        let number = slot.name.strip_prefix(name)?.strip_prefix(':')?;
        number.parse::<u32>().ok()
    };
    let numbered: Vec<usize> = (0..devices.len())
        .filter(|place| numbered(&devices[*place]).is_some())
        .collect();
    let names = |places: &[usize]| {
        let names: Vec<&str> = places.iter().map(|place| &*devices[*place].name).collect();
        names.join(", ")
    };
    Err(Error::Config(match numbered[..] {
        [place] => return Ok(place),
        [] => {
            let all: Vec<usize> = (0..devices.len()).collect();
            format!("there is no device `{name}`; there is {}", names(&all))
        }
        _ => format!(
            "device `{name}` may be any of {}; name one",
            names(&numbered)
        ),
    }))
}

impl DeviceSlot {
    pub(crate) fn new(device: Arc<dyn Device>, options: &Options) -> Self {
        let info = device.info();
        DeviceSlot {
            name: info.name.as_str().into(),
            architecture: info.architecture.as_str().into(),
            kind: info.kind,
            clock: match info.kind {
                DeviceKind::Cpu => options.clock.kind(),
                _ => info.clock,
            },
            driver: Driver::new(options.queue_depth),
            heap: DeviceHeap::new(Arc::clone(&device)),
            // The other half is for batches that pass through.
            residency: Mutex::new(Residency::new(info.memory / 2)),
            generation: AtomicU64::new(0),
            attached: AtomicBool::new(true),
            reviving: Mutex::default(),
            workers: Workers::new("unlade-queue", Limit::OfEach(options.queue_depth as usize)),
            collector: Workers::new("unlade-collect", Limit::InAll(1)),
            device,
        }
    }

    /// Whether the device works, after resetting it if it was lost; it has failed where that takes longer
    /// than the device may. That is for those alone whom the scheduler has asked to: whoever was on it
    /// has been told then.
    pub(crate) fn bring_back(
        &self,
        runtime: &Core,
        wait: Wait,
        given_up: impl Fn() -> bool,
    ) -> Revival {
        let mut reviving = lock(&self.reviving);
        let resetting = reviving.take().or_else(|| self.begin_reset(runtime));
        if let Some(resetting) = resetting {
            let it_may = runtime.options.patience().driver;
            let within = match wait {
                Wait::Never => Duration::ZERO,
                Wait::Briefly => it_may.min(BRIEFLY),
                Wait::ToTheEnd => it_may,
            };
            if resetting.wait(within, given_up) != Waited::Ended {
                let is_late = resetting.age() >= it_may;
                *reviving = Some(resetting);
                return match is_late {
                    true => Revival::Failed,
                    false => Revival::UnderWay,
                };
            }
            if resetting.take() != Some(true) {
                return Revival::Failed;
            }
            self.generation.fetch_add(1, Ordering::AcqRel);
            // What was sent before, and put here since the reset began.
            lock(&self.residency).clear();
            self.attached.store(false, Ordering::Release);
        }
        drop(reviving);
        match self.check(runtime) {
            Ok(()) => Revival::Ready,
            Err(_) => Revival::Failed,
        }
    }

    /// Whether it is being reset, and nobody waits for that at the moment.
    pub(crate) fn is_being_reset(&self) -> bool {
        let reviving = self.reviving.try_lock();
        reviving.is_ok_and(|reset| reset.as_ref().is_some_and(|reset| !reset.has_ended()))
    }

    /// Begins to reset the device, if it is lost.
    fn begin_reset(&self, runtime: &Core) -> Option<Resetting> {
        let Health::Lost(lost) = self.device.health() else {
            return None;
        };
        // Its queue is void, whatever becomes of the device.
        self.driver.close(lost);
        self.driver.forget_opening();
        lock(&self.residency).clear();
        self.heap.forget();
        runtime.executables.forget_device(&self.name);
        let device = Arc::clone(&self.device);
        Some(Errand::begin(move || {
            device.reset().is_ok() && device.health() == Health::Ready
        }))
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
                .map_err(|error| match error {
                    AllocError::Lost(lost) => lost,
                    other => offload::lost(self, other.to_string()),
                })?;
            self.attached.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Memory of its own, for a batch that passes through; what is pinned there and not in use makes
    /// room where there is none.
    pub(crate) fn lease(&self, len: u64, call: &Call<'_>) -> Result<Lease, NoLease> {
        let within = call.runtime.options.patience().driver;
        let given_up = || call.check().is_err();
        loop {
            match self.heap.lease(len, within, given_up) {
                Err(NoLease::Refused(AllocError::OutOfMemory { .. }))
                    if lock(&self.residency).evict_one() => {}
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
        // Whose device was told of by another need not wait until it is brought back.
        let not_brought_back_meanwhile = permit.is_current().then(|| lock(&self.reviving));
        if not_brought_back_meanwhile.is_some() && permit.is_current() {
            self.driver.close(lost.clone());
            lock(&self.residency).clear();
            self.heap.forget();
            tracing::warn!("device fault of {}: {}", self.name, lost.reason);
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
    pub(crate) fn facts(&self) -> Facts {
        Facts {
            name: Arc::clone(&self.name),
            address: self.device.info().address.clone(),
            kind: self.kind,
        }
    }

    pub(crate) fn status(&self, turns: DeviceTurns) -> DeviceStatus {
        let info = self.device.info();
        let lost = match self.device.health() {
            Health::Ready => None,
            Health::Lost(lost) => Some(lost.reason),
        };
        let state = match turns.standing {
            Standing::Resting(_) | Standing::Reviving if self.is_being_reset() => {
                DeviceState::Reviving
            }
            Standing::Resting(_) => DeviceState::Resting,
            Standing::Reviving => DeviceState::Reviving,
            Standing::Ready | Standing::OnTrial if lost.is_some() => DeviceState::Lost,
            Standing::OnTrial => DeviceState::OnTrial,
            Standing::Ready => DeviceState::Ready,
        };
        DeviceStatus {
            name: Arc::clone(&self.name),
            kind: info.kind.name(),
            description: info.description.clone(),
            address: info.address.clone(),
            architecture: Arc::clone(&self.architecture),
            memory: info.memory,
            clock: crate::receipt::clock_text(info.clock),
            rests_for: turns.rests_for.filter(|_| state == DeviceState::Resting),
            state,
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
    /// Bytes of batches that are [kept](crate::Runtime::pin) in its memory.
    pub resident_bytes: u64,
    /// Bytes of memory, the host's and its own, abandoned to it when it was lost. What of callers'
    /// arrays it may still read is kept as well, and is not counted.
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
    /// It failed, and is left alone for a while; after that, until somebody has work for it.
    Resting,
    /// It is being brought back, whether or not somebody waits for that.
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
