//! A GPU behind the device interface.

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use cudarc::driver::sys::CUdevice_attribute as Attribute;
use unlade_hal::{
    AllocError, Capabilities, ClockKind, CompileError, Device, DeviceAddr, DeviceError, DeviceInfo,
    DeviceKind, DeviceLost, Executable, ForeignEvent, ForeignMemory, Health, MemoryKind, Offsets,
    PageSize, Queue, Reading, Slab, fork, root_port,
};
use unlade_program::Program;

use crate::context::{Entered, Gpu};
use crate::driver::{Driver, Fault};
use crate::ground::{Ground, PinsForOthers, domain};
use crate::memory::ALIGNMENT;
use crate::queue::CudaQueue;
use crate::readings;
use crate::returns::{Returned, destroy};
use crate::wake::Wake;

/// Queues open at once, three streams each.
const MAX_QUEUES: u32 = 64;

/// Lists that one queue holds at most.
const MAX_DEPTH: u32 = 256;

/// Instructions of one program. The driver's assembler takes time that grows faster than these.
const MAX_INSTS: u32 = 4096;

/// Kernels load elements of 64 bits at most; see [`unlade_ptx::ALIGNMENT`].
const FOREIGN_ALIGNMENT: u64 = 8;

/// How often an event of somebody else's is looked at.
const EVENT_LOOKS: Duration = Duration::from_micros(20);

/// The oldest architecture that the kernels are written for: Turing's.
const OLDEST: (i32, i32) = (7, 5);

/// An NVIDIA GPU. See the [crate's front page](crate).
#[derive(Clone)]
pub struct CudaDevice {
    inner: Arc<Inner>,
}

/// What stays through a reset, and what does not.
struct Inner {
    gpu: Gpu,
    has_pools: bool,
    about: Arc<About>,
    current: Mutex<Arc<Shared>>,
    /// Held by who resets it.
    resetting: Mutex<()>,
}

/// What the device is.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) info: DeviceInfo,
    pub(crate) capabilities: Capabilities,
}

/// What the device and its queues share, from one reset to the next.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) about: Arc<About>,
    pub(crate) ground: Arc<Ground>,
    queues: Arc<AtomicU32>,
    loss: Mutex<Loss>,
    /// Who waits for a list, and is woken by a loss.
    waiting: Mutex<Vec<Weak<Wake>>>,
}

/// How the device was lost.
#[derive(Debug, Default)]
struct Loss {
    /// The first reason, which stays.
    lost: Option<DeviceLost>,
    /// Whether the context is of no use any more, for anybody.
    spoilt: bool,
}

impl CudaDevice {
    /// Makes a device of the GPU with this number; an error says why it cannot be used.
    pub(crate) fn open(driver: &'static Driver, ordinal: u32) -> Result<Self, String> {
        let gpu = Gpu::get(driver, ordinal).map_err(|fault| fault.to_string())?;
        let name = gpu.name().map_err(|fault| fault.to_string())?;
        Self::open_gpu(gpu, &name).map_err(|why| format!("{name}: {why}"))
    }

    fn open_gpu(gpu: Gpu, description: &str) -> Result<Self, String> {
        let failed = |fault: Fault| fault.to_string();
        let attribute = |which| gpu.attribute(which).map_err(failed);
        let capability = (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        if capability < OLDEST {
            let ((major, minor), oldest) = (capability, OLDEST);
            return Err(format!(
                "compute capability {major}.{minor} is older than {}.{} (Turing)",
                oldest.0, oldest.1
            ));
        }
        let has_pools = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? != 0;
        // Not only reachable by page faults, but through the host's own page tables: GH200, GB10.
        let coherent = attribute(Attribute::CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS)? != 0
            && attribute(
                Attribute::CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES,
            )? != 0;
        let info = info(&gpu, description, capability).map_err(failed)?;
        let ground = Ground::new(gpu, has_pools, &info.architecture).map_err(failed)?;
        fork::watch();
        let about = Arc::new(About {
            info,
            capabilities: capabilities(coherent),
        });
        Ok(CudaDevice {
            inner: Arc::new(Inner {
                gpu,
                has_pools,
                current: Mutex::new(Arc::new(Shared::new(&about, ground))),
                resetting: Mutex::default(),
                about,
            }),
        })
    }

    /// What is of it until the next reset.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.inner.shared()
    }

    /// Bytes of the GPU's memory that slabs and scratch take at the moment.
    pub fn used_memory(&self) -> u64 {
        self.inner.shared().ground.memory.used()
    }
}

impl Inner {
    fn current(&self) -> MutexGuard<'_, Arc<Shared>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resetting(&self) -> MutexGuard<'_, ()> {
        self.resetting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> Arc<Shared> {
        self.current().clone()
    }

    /// A context that works: the one there is, unless an error has spoilt it.
    fn renew(&self, ground: &Arc<Ground>, spoilt: bool) -> Result<Arc<Ground>, DeviceError> {
        let lost = |reason: String| DeviceError::Lost(self.about.lost(reason));
        if !spoilt {
            match ground.check() {
                Ok(()) => return Ok(ground.clone()),
                Err(fault) if fault.code.is_sticky() => {}
                Err(fault) => return Err(lost(fault.to_string())),
            }
        }
        ground.leave().map_err(|PinsForOthers| {
            DeviceError::Unsupported("the reset of a GPU that has pinned memory for another one")
        })?;
        let renewed = Ground::new(self.gpu, self.has_pools, &self.about.info.architecture);
        renewed.map_err(|fault| {
            lost(format!(
                "{fault}: something else in this process holds its context, which is spoilt, or the \
                 driver wants a new process"
            ))
        })
    }
}

impl About {
    fn lost(&self, reason: String) -> DeviceLost {
        DeviceLost {
            device: self.info.name.clone(),
            reason,
        }
    }
}

fn info(gpu: &Gpu, description: &str, capability: (i32, i32)) -> Result<DeviceInfo, Fault> {
    let (major, minor) = capability;
    let simulated = gpu.driver().is_simulated();
    // Events of the simulated driver have the times of its own clock.
    let (name, kind, clock) = match simulated {
        true => ("sim-gpu", DeviceKind::Simulator, ClockKind::Virtual),
        false => ("cuda", DeviceKind::Gpu, ClockKind::Wall),
    };
    let address = gpu.pci_address()?;
    let link = match kind {
        DeviceKind::Simulator => None,
        _ => root_port(&address),
    };
    Ok(DeviceInfo {
        name: format!("{name}:{}", gpu.ordinal()),
        kind,
        description: description.to_owned(),
        address: Some(address),
        link,
        architecture: format!("sm_{major}{minor}, driver {}", driver_version(gpu.driver())),
        memory: gpu.memory()?,
        domain: domain(),
        clock,
    })
}

/// The driver's own version where it says so, and the version of CUDA that it speaks.
fn driver_version(driver: &Driver) -> String {
    let speaks = format!(
        "CUDA {}.{}",
        driver.version() / 1000,
        driver.version() % 1000 / 10
    );
    match std::fs::read_to_string("/sys/module/nvidia/version") {
        Ok(own) if !driver.is_simulated() => format!("{} ({speaks})", own.trim()),
        _ => speaks,
    }
}

fn capabilities(coherent: bool) -> Capabilities {
    let mut capabilities = Capabilities::none();
    capabilities.cells = unlade_ptx::cells();
    capabilities.max_insts = MAX_INSTS;
    capabilities.max_rows = unlade_ptx::MAX_ROWS;
    capabilities.max_queues = MAX_QUEUES;
    capabilities.alignment = unlade_ptx::ALIGNMENT;
    capabilities.foreign_alignment = FOREIGN_ALIGNMENT;
    capabilities.slack = unlade_ptx::SLACK;
    capabilities.foreign_read = coherent;
    capabilities.coherent = coherent;
    capabilities.compaction = true;
    capabilities.copy_counted = true;
    capabilities.strings = true;
    capabilities
}

impl Shared {
    fn new(about: &Arc<About>, ground: Arc<Ground>) -> Self {
        Shared {
            about: about.clone(),
            ground,
            queues: Arc::default(),
            loss: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// The GPU's context, made current. Not by a thread that is inside.
    pub(crate) fn enter(&self) -> Result<Entered<'_>, DeviceLost> {
        self.check()?;
        self.ground.enter().map_err(|fault| self.lose(&fault))
    }

    /// An error where the device is lost, or this is a forked child, which has no context.
    pub(crate) fn check(&self) -> Result<(), DeviceLost> {
        fork::check().map_err(|forked| self.about.lost(forked.to_string()))?;
        self.loss().lost.clone().map_or(Ok(()), Err)
    }

    /// Loses the device for a reason that the driver gave; the first one stays.
    pub(crate) fn lose(&self, fault: &Fault) -> DeviceLost {
        let mut loss = self.loss();
        loss.spoilt |= fault.code.is_sticky();
        let lost = loss
            .lost
            .get_or_insert_with(|| self.about.lost(fault.to_string()));
        let lost = lost.clone();
        drop(loss);
        self.wake_all();
        lost
    }

    /// Has a queue's event signalled when the device is lost.
    pub(crate) fn wake_when_lost(&self, wake: &Arc<Wake>) {
        let mut waiting = self.waiting();
        waiting.retain(|other| other.strong_count() > 0);
        waiting.push(Arc::downgrade(wake));
    }

    fn wake_all(&self) {
        let waiting = self.waiting();
        let there = waiting.iter().filter_map(Weak::upgrade);
        there.for_each(|wake| wake.signal());
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Weak<Wake>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loses the device for whoever still has something of it, as it is reset. Whether its context
    /// is known to be of no use.
    fn end(&self) -> bool {
        let mut loss = self.loss();
        let reset = || {
            self.about
                .lost("it was reset after this was made".to_owned())
        };
        loss.lost.get_or_insert_with(reset);
        let spoilt = loss.spoilt;
        drop(loss);
        self.wake_all();
        spoilt
    }

    fn loss(&self) -> MutexGuard<'_, Loss> {
        self.loss.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back to the driver what was dropped meanwhile.
    fn tidy(&self, gpu: &Entered<'_>) -> Result<(), DeviceLost> {
        let returned = self.ground.returns.take();
        returned.into_iter().try_for_each(|returned| {
            let done = match returned {
                Returned::Memory(address) => self.ground.memory.free(gpu, address),
                other => destroy(gpu, other),
            };
            done.map_err(|fault| self.lose(&fault))
        })
    }

    /// Memory of the GPU that goes back when the value beside it is dropped.
    pub(crate) fn allocate(
        &self,
        gpu: &Entered<'_>,
        len: u64,
    ) -> Result<(u64, Arc<crate::returns::OnDrop>), AllocError> {
        let Ground {
            memory, returns, ..
        } = &*self.ground;
        let found = memory.allocate(gpu, len);
        let found = found.map_err(|fault| AllocError::Lost(self.lose(&fault)))?;
        match found {
            Some(address) => Ok((address, returns.on_drop(Returned::Memory(address)))),
            None => {
                let free = gpu.free_memory().map_err(|fault| self.lose(&fault))?;
                Err(AllocError::OutOfMemory { asked: len, free })
            }
        }
    }

    /// Pages of the host that the GPU reaches.
    pub(crate) fn allocate_host(
        &self,
        gpu: &Entered<'_>,
        kind: MemoryKind,
        len: u64,
    ) -> Result<Slab, AllocError> {
        let slab = Slab::host(kind, len, PageSize::Base)?;
        self.register(gpu, &slab)?;
        Ok(slab)
    }

    /// Whether it was done here: once is enough for all GPUs.
    fn register(&self, gpu: &Entered<'_>, slab: &Slab) -> Result<bool, AllocError> {
        // Registering the same pages twice is an error, for whichever GPU.
        static REGISTERING: Mutex<()> = Mutex::new(());
        let Some(pages) = slab.pages() else {
            return Err(AllocError::Pageable);
        };
        let _registering = REGISTERING.lock().unwrap_or_else(PoisonError::into_inner);
        if slab.address(domain()).is_some() {
            return Ok(false);
        }
        let failed = |fault: Fault| match fault.code.is_sticky() {
            true => AllocError::Lost(self.lose(&fault)),
            false => AllocError::Os {
                call: "cuMemHostRegister",
                message: fault.to_string(),
            },
        };
        let start = pages.as_ptr().as_ptr();
        // SAFETY: The list of what is to be given back keeps the pages mapped until their
        // registration is taken back.
        unsafe { gpu.register(start, pages.len()) }.map_err(failed)?;
        let keep = ManuallyDrop::new(pages.clone());
        let keep = self.ground.returns.on_drop(Returned::Pages(keep));
        let address = gpu.address_of(start).map_err(failed)?;
        slab.set_address(domain(), DeviceAddr(address), Some(keep));
        Ok(true)
    }
}

impl Device for CudaDevice {
    fn info(&self) -> &DeviceInfo {
        &self.inner.about.info
    }

    fn capabilities(&self) -> &Capabilities {
        &self.inner.about.capabilities
    }

    fn health(&self) -> Health {
        self.inner
            .shared()
            .check()
            .map_or_else(Health::Lost, |()| Health::Ready)
    }

    /// From NVML. A simulated GPU has none, whatever lies at its address.
    fn readings(&self) -> Vec<Reading> {
        let info = &self.inner.about.info;
        match (info.kind, &info.address) {
            (DeviceKind::Gpu, Some(address)) => readings::at(readings::LIBRARY, address),
            _ => readings::unknown("it is simulated, and has no sensors"),
        }
    }

    fn compile(&self, program: &Arc<Program>) -> Result<Executable, CompileError> {
        let shared = self.inner.shared();
        shared.check()?;
        // What is found was admitted when it was loaded.
        if let Some(known) = shared.ground.modules.find(program) {
            return Ok(known);
        }
        shared.about.capabilities.admit(program)?;
        let gpu = shared.enter()?;
        shared.tidy(&gpu)?;
        shared.ground.modules.load(program, &shared, &gpu)
    }

    fn compile_strings(&self, offsets: Offsets) -> Result<Executable, CompileError> {
        let shared = self.inner.shared();
        let gpu = shared.enter()?;
        shared.tidy(&gpu)?;
        let code = shared.ground.modules.strings(offsets, &shared, &gpu)?;
        Ok(Executable::of_strings(offsets, code))
    }

    fn allocate(&self, kind: MemoryKind, len: u64) -> Result<Slab, AllocError> {
        fork::check()?;
        let shared = self.inner.shared();
        let gpu = shared.enter()?;
        shared.tidy(&gpu)?;
        if kind != MemoryKind::DeviceLocal {
            let slab = shared.allocate_host(&gpu, kind, len)?;
            shared.ground.note_pinned(&slab);
            return Ok(slab);
        }
        let rounded = len.checked_next_multiple_of(ALIGNMENT);
        let Some(len) = rounded.filter(|len| (1..=shared.about.info.memory).contains(len)) else {
            let free = gpu.free_memory().map_err(|fault| shared.lose(&fault))?;
            return Err(AllocError::OutOfMemory { asked: len, free });
        };
        let (address, keep) = shared.allocate(&gpu, len)?;
        let slab = Slab::device(domain(), DeviceAddr(address), len, keep);
        slab.set_address(shared.ground.home, DeviceAddr(address), None);
        Ok(slab)
    }

    fn register(&self, slab: &Slab) -> Result<(), AllocError> {
        fork::check()?;
        let shared = self.inner.shared();
        let gpu = shared.enter()?;
        // A pool may register and drop pages for long before anything else is asked for.
        shared.tidy(&gpu)?;
        if shared.register(&gpu, slab)? {
            shared.ground.note_pinned(slab);
        }
        Ok(())
    }

    /// Of a CUDA event's record nothing says when it is reached: it is asked for now and then.
    fn adopt(&self, memory: ForeignMemory, timeout: Duration) -> Result<Slab, DeviceError> {
        fork::check().map_err(|forked| self.inner.about.lost(forked.to_string()))?;
        let shared = self.inner.shared();
        let gpu = shared.enter()?;
        let lost = |fault: Fault| match fault.code.is_sticky() {
            true => DeviceError::Lost(shared.lose(&fault)),
            false => DeviceError::Foreign(fault.to_string()),
        };
        let name = &shared.about.info.name;
        let wrong = |why: String| Err(DeviceError::Foreign(why));
        let (DeviceAddr(start), len) = (memory.address(), memory.len());
        let Some(found) = gpu.allocation(start).map_err(lost)? else {
            return wrong(format!("{start:#x} is no address of CUDA's"));
        };
        if found.ordinal != self.inner.gpu.ordinal() {
            let other = found.ordinal;
            return wrong(format!(
                "{start:#x} is memory of GPU {other}, not of `{name}`"
            ));
        }
        let room = (found.start + found.len as u64).saturating_sub(start);
        if len > room {
            return wrong(format!(
                "{len} bytes are said to be at {start:#x} of `{name}`, where there are {room}"
            ));
        }
        if let Some(ForeignEvent(event)) = memory.ready() {
            let since = Instant::now();
            // SAFETY: Who made `memory` vouches for the event.
            while !unsafe { gpu.is_foreign_reached(event) }.map_err(lost)? {
                if since.elapsed() > timeout {
                    return Err(DeviceError::NotWritten(format!(
                        "the event after which {start:#x} of `{name}` is written is not reached"
                    )));
                }
                std::thread::sleep(EVENT_LOOKS);
            }
        }
        let slab = Slab::device(domain(), DeviceAddr(start), len, memory.into_keep());
        slab.set_address(shared.ground.home, DeviceAddr(start), None);
        Ok(slab)
    }

    fn open_queue(&self, depth: u32) -> Result<Box<dyn Queue>, DeviceError> {
        if depth == 0 {
            return Err(DeviceError::Limit(
                "a queue holds at least one list".to_owned(),
            ));
        }
        let shared = self.inner.shared();
        let gpu = shared.enter()?;
        shared.tidy(&gpu)?;
        let ticket = QueueTicket::new(&shared.queues)?;
        let depth = depth.min(MAX_DEPTH) as usize;
        let queue = CudaQueue::open(shared.clone(), &gpu, depth, ticket);
        let queue = queue.map_err(|fault| match fault.code.is_sticky() {
            true => DeviceError::Lost(shared.lose(&fault)),
            false => DeviceError::Limit(fault.to_string()),
        })?;
        Ok(Box::new(queue))
    }

    /// Without an error that spoils its context, the device goes on in the same one.
    fn reset(&self) -> Result<(), DeviceError> {
        let inner = &*self.inner;
        fork::check().map_err(|forked| inner.about.lost(forked.to_string()))?;
        let _one_at_a_time = inner.resetting();
        // The driver may take its time; whoever asks how the device is, is answered meanwhile.
        let current = inner.shared();
        let spoilt = current.end();
        let ground = inner.renew(&current.ground, spoilt)?;
        *inner.current() = Arc::new(Shared::new(&inner.about, ground));
        Ok(())
    }
}

impl fmt::Debug for CudaDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CudaDevice")
            .field("name", &self.inner.about.info.name)
            .field("description", &self.inner.about.info.description)
            .finish_non_exhaustive()
    }
}

/// Counts an open queue for as long as it lives.
#[derive(Debug)]
pub(crate) struct QueueTicket {
    open: Arc<AtomicU32>,
}

impl QueueTicket {
    fn new(open: &Arc<AtomicU32>) -> Result<Self, DeviceError> {
        let ticket = QueueTicket { open: open.clone() };
        if open.fetch_add(1, Ordering::AcqRel) >= MAX_QUEUES {
            return Err(DeviceError::Limit(format!(
                "{MAX_QUEUES} queues are open already"
            )));
        }
        Ok(ticket)
    }
}

impl Drop for QueueTicket {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}
