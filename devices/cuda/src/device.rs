//! A GPU behind the device interface.

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cudarc::driver::sys::CUdevice_attribute as Attribute;
use unlade_hal::{
    AllocError, Capabilities, ClockKind, CompileError, Device, DeviceAddr, DeviceError, DeviceInfo,
    DeviceKind, DeviceLost, DomainId, Executable, Health, MemoryKind, PageSize, Queue, Reading,
    Slab, fork,
};
use unlade_program::Program;

use crate::context::{Context, Entered, Gpu};
use crate::driver::{Driver, Fault};
use crate::memory::{ALIGNMENT, Memory};
use crate::modules::Modules;
use crate::queue::CudaQueue;
use crate::readings;
use crate::returns::{Returned, Returns, destroy};

/// Queues open at once, three streams each.
const MAX_QUEUES: u32 = 64;

/// Lists that one queue holds at most.
const MAX_DEPTH: u32 = 256;

/// Instructions of one program. The driver's assembler takes time that grows faster than these.
const MAX_INSTS: u32 = 4096;

/// The oldest architecture that the kernels are written for: Turing's.
const OLDEST: (i32, i32) = (7, 5);

/// An NVIDIA GPU. See the [crate's front page](crate).
#[derive(Clone)]
pub struct CudaDevice {
    shared: Arc<Shared>,
}

/// What the device and its queues share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) info: DeviceInfo,
    pub(crate) capabilities: Capabilities,
    pub(crate) memory: Memory,
    pub(crate) returns: Returns,
    context: Context,
    pub(crate) modules: Modules,
    queues: Arc<AtomicU32>,
    lost: Mutex<Option<DeviceLost>>,
}

/// The domain of all GPUs: the driver registers host memory once for all of them.
pub(crate) fn domain() -> DomainId {
    static DOMAIN: OnceLock<DomainId> = OnceLock::new();
    *DOMAIN.get_or_init(DomainId::unique)
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
        let context = gpu.context().map_err(failed)?;
        let memory = {
            let entered = context.enter().map_err(failed)?;
            Memory::new(&gpu, &entered, has_pools).map_err(failed)?
        };
        fork::watch();
        let shared = Shared {
            modules: Modules::new(&info.architecture),
            capabilities: capabilities(coherent),
            info,
            memory,
            returns: Returns::default(),
            context,
            queues: Arc::default(),
            lost: Mutex::default(),
        };
        Ok(CudaDevice {
            shared: Arc::new(shared),
        })
    }

    /// Bytes of the GPU's memory that slabs and scratch take at the moment.
    pub fn used_memory(&self) -> u64 {
        self.shared.memory.used()
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
    Ok(DeviceInfo {
        name: format!("{name}:{}", gpu.ordinal()),
        kind,
        description: description.to_owned(),
        address: Some(gpu.pci_address()?),
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
    capabilities.slack = unlade_ptx::SLACK;
    capabilities.foreign_read = coherent;
    capabilities.coherent = coherent;
    capabilities.compaction = true;
    capabilities.copy_counted = true;
    capabilities
}

impl Shared {
    /// The GPU's context, made current.
    pub(crate) fn enter(&self) -> Result<Entered<'_>, DeviceLost> {
        self.check()?;
        self.context.enter().map_err(|fault| self.lose(&fault))
    }

    /// An error where the device is lost, or this is a forked child, which has no context.
    pub(crate) fn check(&self) -> Result<(), DeviceLost> {
        fork::check().map_err(|forked| self.lost(forked.to_string()))?;
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.clone().map_or(Ok(()), Err)
    }

    /// Loses the device for a reason that the driver gave; the first one stays.
    pub(crate) fn lose(&self, fault: &Fault) -> DeviceLost {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.get_or_insert_with(|| self.lost(fault.to_string()))
            .clone()
    }

    pub(crate) fn lost(&self, reason: String) -> DeviceLost {
        DeviceLost {
            device: self.info.name.clone(),
            reason,
        }
    }

    /// Gives back to the driver what was dropped meanwhile.
    fn tidy(&self, gpu: &Entered<'_>) -> Result<(), DeviceLost> {
        self.returns.take().into_iter().try_for_each(|returned| {
            let done = match returned {
                Returned::Memory(address) => self.memory.free(gpu, address),
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
        let found = self.memory.allocate(gpu, len);
        let found = found.map_err(|fault| AllocError::Lost(self.lose(&fault)))?;
        match found {
            Some(address) => Ok((address, self.returns.on_drop(Returned::Memory(address)))),
            None => {
                let free = gpu.free_memory().map_err(|fault| self.lose(&fault))?;
                Err(AllocError::OutOfMemory { asked: len, free })
            }
        }
    }

    /// Pages of the host that the GPU reaches.
    pub(crate) fn allocate_host(&self, kind: MemoryKind, len: u64) -> Result<Slab, AllocError> {
        let slab = Slab::host(kind, len, PageSize::Base)?;
        self.register(&slab)?;
        Ok(slab)
    }

    fn register(&self, slab: &Slab) -> Result<(), AllocError> {
        // Registering the same pages twice is an error, for whichever GPU.
        static REGISTERING: Mutex<()> = Mutex::new(());
        let Some(pages) = slab.pages() else {
            return Err(AllocError::Pageable);
        };
        let _registering = REGISTERING.lock().unwrap_or_else(PoisonError::into_inner);
        if slab.address(domain()).is_some() {
            return Ok(());
        }
        let gpu = self.enter()?;
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
        let keep = self.returns.on_drop(Returned::Pages(keep));
        let address = gpu.address_of(start).map_err(failed)?;
        slab.set_address(domain(), DeviceAddr(address), Some(keep));
        Ok(())
    }
}

impl Device for CudaDevice {
    fn info(&self) -> &DeviceInfo {
        &self.shared.info
    }

    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    fn health(&self) -> Health {
        self.shared
            .check()
            .map_or_else(Health::Lost, |()| Health::Ready)
    }

    /// From NVML. A simulated GPU has none, whatever lies at its address.
    fn readings(&self) -> Vec<Reading> {
        let info = &self.shared.info;
        match (info.kind, &info.address) {
            (DeviceKind::Gpu, Some(address)) => readings::at(readings::LIBRARY, address),
            _ => readings::unknown("it is simulated, and has no sensors"),
        }
    }

    fn compile(&self, program: &Arc<Program>) -> Result<Executable, CompileError> {
        let shared = &self.shared;
        shared.check()?;
        // What is found was admitted when it was loaded.
        if let Some(known) = shared.modules.find(program) {
            return Ok(known);
        }
        shared.capabilities.admit(program)?;
        let gpu = shared.enter()?;
        shared.tidy(&gpu)?;
        shared.modules.load(program, shared, &gpu)
    }

    fn allocate(&self, kind: MemoryKind, len: u64) -> Result<Slab, AllocError> {
        fork::check()?;
        let shared = &self.shared;
        if kind != MemoryKind::DeviceLocal {
            shared.tidy(&shared.enter()?)?;
            return shared.allocate_host(kind, len);
        }
        let gpu = shared.enter()?;
        shared.tidy(&gpu)?;
        let rounded = len.checked_next_multiple_of(ALIGNMENT);
        let Some(len) = rounded.filter(|len| (1..=shared.info.memory).contains(len)) else {
            let free = gpu.free_memory().map_err(|fault| shared.lose(&fault))?;
            return Err(AllocError::OutOfMemory { asked: len, free });
        };
        let (address, keep) = shared.allocate(&gpu, len)?;
        Ok(Slab::device(domain(), DeviceAddr(address), len, keep))
    }

    fn register(&self, slab: &Slab) -> Result<(), AllocError> {
        fork::check()?;
        self.shared.check()?;
        self.shared.register(slab)
    }

    fn open_queue(&self, depth: u32) -> Result<Box<dyn Queue>, DeviceError> {
        if depth == 0 {
            return Err(DeviceError::Limit(
                "a queue holds at least one list".to_owned(),
            ));
        }
        let shared = &self.shared;
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

    /// A context that an error has spoilt cannot be repaired within its process, and the primary
    /// context is not ours to reset.
    fn reset(&self) -> Result<(), DeviceError> {
        Err(DeviceError::Unsupported("reset"))
    }
}

impl fmt::Debug for CudaDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CudaDevice")
            .field("name", &self.shared.info.name)
            .field("description", &self.shared.info.description)
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
