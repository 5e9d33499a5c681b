//! The device.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use unlade_eval::{Level, SLACK};
use unlade_hal::{
    AllocError, Capabilities, ClockKind, CompileError, Device, DeviceError, DeviceInfo, DeviceKind,
    DeviceLost, DomainId, Executable, Health, MemoryKind, PageSize, Queue, Slab, WallClock,
};
use unlade_program::{CellSet, Program, limits};

use crate::queue::CpuQueue;

/// Most queues open at once: each is no more than a list, so this is only against leaks.
const MAX_QUEUES: u32 = 1 << 12;

/// The CPU as a device. See the [crate's front page](crate).
#[derive(Debug)]
pub struct CpuDevice {
    info: DeviceInfo,
    capabilities: Capabilities,
    shared: Arc<Shared>,
}

/// What the device and its queues share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: WallClock,
    pub(crate) open_queues: AtomicU32,
    lost: Mutex<Option<DeviceLost>>,
}

impl CpuDevice {
    /// The CPU that this runs on, with whatever vector instructions it has.
    pub fn new() -> Self {
        let level = Level::detect();
        let info = DeviceInfo {
            name: "cpu".to_owned(),
            kind: DeviceKind::Cpu,
            description: model_name().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            address: None,
            architecture: format!("{}-{level:?}", std::env::consts::ARCH).to_lowercase(),
            memory: 0,
            domain: DomainId::unique(),
            clock: ClockKind::Wall,
            link: None,
        };
        let mut capabilities = Capabilities::none();
        capabilities.cells = CellSet::full();
        capabilities.max_insts = limits::INSTRUCTIONS as u32;
        capabilities.max_rows = 1 << 40;
        capabilities.max_queues = MAX_QUEUES;
        capabilities.alignment = align_of::<i128>() as u64;
        capabilities.slack = SLACK as u64;
        capabilities.foreign_read = true;
        capabilities.coherent = true;
        capabilities.compaction = true;
        capabilities.copy_counted = true;
        let shared = Shared {
            clock: WallClock::new(),
            open_queues: AtomicU32::new(0),
            lost: Mutex::new(None),
        };
        CpuDevice {
            info,
            capabilities,
            shared: Arc::new(shared),
        }
    }
}

impl Default for CpuDevice {
    fn default() -> Self {
        CpuDevice::new()
    }
}

/// The processor's name, from what the kernel says of the first one.
fn model_name() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    let (_key, name) = line.split_once(':')?;
    Some(name.trim().to_owned())
}

impl Shared {
    pub(crate) fn check(&self) -> Result<(), DeviceLost> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.clone().map_or(Ok(()), Err)
    }

    /// The evaluator declined what validation had let through: a fault of ours, and no reason to
    /// go on.
    pub(crate) fn lose(&self, reason: String) -> DeviceLost {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.get_or_insert(DeviceLost {
            device: "cpu".to_owned(),
            reason,
        })
        .clone()
    }
}

impl Device for CpuDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn health(&self) -> Health {
        self.shared
            .check()
            .map_or_else(Health::Lost, |()| Health::Ready)
    }

    fn compile(&self, program: &Arc<Program>) -> Result<Executable, CompileError> {
        self.capabilities.admit(program)?;
        let code = Arc::new(unlade_eval::Executable::new(program));
        Ok(Executable::new(program.clone(), code))
    }

    /// Host pages, whatever the kind.
    fn allocate(&self, kind: MemoryKind, len: u64) -> Result<Slab, AllocError> {
        Slab::host(kind, len, PageSize::Base)
    }

    /// Nothing to do: host memory is the CPU's, heap memory too.
    fn register(&self, _slab: &Slab) -> Result<(), AllocError> {
        Ok(())
    }

    fn open_queue(&self, depth: u32) -> Result<Box<dyn Queue>, DeviceError> {
        self.shared.check()?;
        if depth == 0 {
            return Err(DeviceError::Limit(
                "a queue holds at least one list".to_owned(),
            ));
        }
        let opened = self.shared.open_queues.fetch_add(1, Ordering::AcqRel);
        // Made first, so that dropping it takes it off the count.
        let queue = CpuQueue::new(
            self.shared.clone(),
            self.info.clone(),
            &self.capabilities,
            depth,
        );
        if opened >= MAX_QUEUES {
            return Err(DeviceError::Limit(format!(
                "{MAX_QUEUES} queues are open already"
            )));
        }
        Ok(Box::new(queue))
    }

    fn reset(&self) -> Result<(), DeviceError> {
        *self
            .shared
            .lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}
