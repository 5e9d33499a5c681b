//! A card behind the device interface.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use unlade_hal::{
    AllocError, Capabilities, ClockKind, CompileError, Device, DeviceError, DeviceInfo, DeviceKind,
    DomainId, Executable, Health, MemoryKind, PageSize, Queue, Reading, Slab, fork, root_port,
};
use unlade_program::{CellSet, Program};

use crate::admin::Admin;
use crate::config_space;
use crate::controller::Controller;
use crate::entry::Operand;
use crate::error::CannotOpen;
use crate::error_log;
use crate::fault::Fault;
use crate::health_log;
use crate::identity::{Function, Identity};
use crate::mappings::Mappings;
use crate::program::Loaded;
use crate::queue::DpuQueue;
use crate::returns::Returns;
use crate::shared::{About, Memory, Shared, Trouble};
use crate::status::StatusCode;
use crate::transport::{CardAccess, Transport, TransportError, VfioPci, VfioUser};

/// Queues open at once, however many the card has. Each has a vector of its own, of which a machine
/// has some two hundred for each of its processors, and more devices than these.
const MAX_QUEUES: u16 = 8;

/// Opens the card that is served at a socket: `dpu:unix:PATH`.
///
/// # Errors
/// See [`CannotOpen`].
pub fn connect(path: &Path, options: &Options) -> Result<Arc<DpuDevice>, CannotOpen> {
    let transport = VfioUser::connect(path)
        .map_err(|error| CannotOpen::reaching(format!("unix:{}", path.display()), error))?;
    DpuDevice::open(Arc::new(transport), options)
}

/// Opens the card at a PCI address, as `0000:3b:00.0`, through the kernel's VFIO.
///
/// # Errors
/// See [`CannotOpen`].
pub fn open_pci(address: &str, options: &Options) -> Result<Arc<DpuDevice>, CannotOpen> {
    let transport =
        VfioPci::open(address).map_err(|error| CannotOpen::reaching(address.to_owned(), error))?;
    DpuDevice::open(Arc::new(transport), options)
}

/// As [`open_pci`], through iommufd: by the function's own device file instead of its group.
///
/// # Errors
/// See [`CannotOpen`].
#[cfg(feature = "iommufd")]
pub fn open_iommufd(address: &str, options: &Options) -> Result<Arc<DpuDevice>, CannotOpen> {
    let transport = VfioPci::open_iommufd(address)
        .map_err(|error| CannotOpen::reaching(format!("iommufd:{address}"), error))?;
    DpuDevice::open(Arc::new(transport), options)
}

/// How a card is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The device's name; unless given `dpu:` and the address, or `sim-dpu` where the card is a
    /// model.
    pub name: Option<String>,
    /// Where the device says that it is; unless given the address that it was opened by.
    pub place: Option<String>,
    /// Who uses the card, for others that want to: the first 32 bytes are written on it. The
    /// program and its process id unless given.
    pub owner: String,
    /// Whether outputs are compared with checksums that the card computes of them, where it can.
    /// That finds what is corrupted on the bus, and costs the host a pass over all outputs. Off
    /// unless set.
    pub checksums: bool,
}

impl Default for Options {
    fn default() -> Self {
        let program = std::env::current_exe().ok();
        let program = program.as_deref().and_then(Path::file_name);
        let program = program.map_or("unlade".into(), |name| name.to_string_lossy());
        // The number is what finds the process, so it comes first.
        Options {
            name: None,
            place: None,
            owner: format!("pid {} {program}", std::process::id()),
            checksums: false,
        }
    }
}

/// A card. See the [crate's front page](crate).
pub struct DpuDevice {
    about: Arc<About>,
    memory: Memory,
    events: Arc<[OwnedFd]>,
    owner: String,
    current: Mutex<Arc<Shared>>,
    /// Held for as long as a reset takes, which may be seconds: who asks how the card is does not wait.
    resetting: Mutex<()>,
}

impl DpuDevice {
    /// Opens the card behind a transport: finds out what it is, takes it, and enables it.
    ///
    /// # Errors
    /// See [`CannotOpen`].
    pub fn open(transport: Arc<dyn Transport>, options: &Options) -> Result<Arc<Self>, CannotOpen> {
        let controller = Controller::find(transport)?;
        controller.claim(&options.owner)?;
        let opened = DpuDevice::enable(&controller, options);
        opened.map(Arc::new).map_err(|fault| {
            // Whoever comes next may have more luck.
            let _may_be_gone = controller.release();
            let transport = controller.transport();
            transport.close();
            CannotOpen::enabling(transport.address(), fault)
        })
    }

    fn enable(controller: &Controller, options: &Options) -> Result<Self, Fault> {
        fork::watch();
        let pairs = controller.cap().queue_pairs.min(MAX_QUEUES);
        let reserved = controller.transport().reserved()?;
        let memory = Memory {
            mappings: Arc::new(Mappings::new(controller.cap().address_bits, &reserved)),
            returns: Returns::default(),
        };
        let events = first_interrupts(controller, pairs)?;
        let mut admin = Admin::start(controller, &memory.mappings, &memory.returns)?;
        let identity = admin.identify()?;
        let cells = admin.capabilities(identity.capabilities)?;
        let cells = unlade_card::cells(&cells)
            .map_err(|malformed| Fault::Lie(format!("its list of operations: {malformed}")))?;
        let address = controller.transport().address();
        let about = Arc::new(About {
            info: info(&identity, &address, options),
            capabilities: capabilities(&identity, cells, events.len()),
            checksums: options.checksums && identity.features.checksum(),
            identity,
        });
        let shared = Shared::new(
            Arc::clone(&about),
            controller.clone(),
            memory.clone(),
            0,
            Arc::clone(&events),
            admin,
        );
        Ok(DpuDevice {
            about,
            memory,
            events,
            owner: options.owner.clone(),
            current: Mutex::new(Arc::new(shared)),
            resetting: Mutex::default(),
        })
    }

    /// Lets go of the card, so that somebody else can open it: it is disabled, and nothing of it
    /// can be used any more. A card that is only dropped is let go by whatever ends the connection.
    pub fn close(&self) {
        let shared = self.shared();
        shared.lose(&Fault::Lie("it was closed".to_owned()));
        if shared.is_quiet() {
            // A card that is gone has no owner.
            let _released = shared.controller.release();
        }
        shared.controller.transport().close();
    }

    fn current(&self) -> MutexGuard<'_, Arc<Shared>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> Arc<Shared> {
        self.current().clone()
    }

    /// The card behind its registers again, disabled, by the least reset that works.
    fn restore(&self, old: &Shared) -> Result<Controller, String> {
        let mappings = &self.memory.mappings;
        let map_again = |controller: &Controller| {
            let mapped = mappings.map_again(controller.transport());
            mapped.map_err(|error| error.to_string())
        };
        let is_disabled = old.controller.disable().is_ok();
        // It may have been quieted by a function level reset, which takes more than the queues.
        if is_disabled && old.controller.owns() == Ok(true) {
            old.end_quiet();
            map_again(&old.controller)?;
            return Ok(old.controller.clone());
        }
        let mut transport = Arc::clone(old.controller.shared_transport());
        if !is_disabled && old.controller.reset_function().is_err() {
            // Without the connection it could not be any more.
            if old.cut_off() {
                old.end_quiet();
            }
            transport.close();
            transport = transport.renew().map_err(|error| error.to_string())?;
            mappings.connection_ended();
        }
        let found = old.controller.find_again(Arc::clone(&transport));
        let controller = found.map_err(|error| error.to_string())?;
        // Both resets have cleared the owner, so that another may have come first.
        controller
            .claim(&self.owner)
            .map_err(|error| error.to_string())?;
        // A reset has ended, or a connection has, which resets: the card leaves memory alone.
        old.end_quiet();
        map_again(&controller)?;
        interrupts(&controller, &self.events).map_err(|fault| fault.to_string())?;
        Ok(controller)
    }

    /// Enables a card that was reset.
    fn start(&self, controller: &Controller) -> Result<Admin, Fault> {
        let Memory { mappings, returns } = &self.memory;
        let mut admin = Admin::start(controller, mappings, returns)?;
        match admin.identify()? == self.about.identity {
            true => Ok(admin),
            false => Err(Fault::Lie(
                "it says that it is another card since it was reset; open it anew".to_owned(),
            )),
        }
    }
}

/// Has each vector signal its event.
fn interrupts(controller: &Controller, events: &[OwnedFd]) -> Result<(), Fault> {
    let events: Vec<BorrowedFd<'_>> = events.iter().map(AsFd::as_fd).collect();
    config_space::enable_msix(controller.transport())?;
    Ok(controller.transport().set_interrupts(&events)?)
}

/// An event for each of so many queues, or of fewer where this machine has not as many vectors left.
fn first_interrupts(controller: &Controller, queues: u16) -> Result<Arc<[OwnedFd]>, Fault> {
    let vectors = controller.transport().vectors();
    let mut count = usize::from(queues).min(usize::try_from(vectors).unwrap_or(usize::MAX));
    if count == 0 {
        let lacks = "has no MSI-X vectors; a card has 2 or more".to_owned();
        return Err(TransportError::Lacks(lacks).into());
    }
    loop {
        let events = events(count)?;
        match interrupts(controller, &events) {
            Ok(()) => return Ok(events),
            Err(Fault::Transport(TransportError::TooFewVectors(_))) if count > 1 => count /= 2,
            Err(fault) => return Err(fault),
        }
    }
}

fn events(count: usize) -> Result<Arc<[OwnedFd]>, Fault> {
    let events = (0..count).map(|_| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK));
    let events: Result<Arc<[OwnedFd]>, _> = events.collect();
    events.map_err(|error| Fault::Memory {
        what: "interrupts",
        why: format!("eventfd: {error}; raise this user's limit of open files (ulimit -n)"),
    })
}

fn info(identity: &Identity, address: &str, options: &Options) -> DeviceInfo {
    let simulated = identity.features.simulated();
    let (name, kind, clock) = match simulated {
        true => (
            "sim-dpu".to_owned(),
            DeviceKind::Simulator,
            ClockKind::Virtual,
        ),
        false => (format!("dpu:{address}"), DeviceKind::Dpu, ClockKind::Wall),
    };
    let Identity {
        model,
        serial,
        firmware,
        version,
        function,
        ..
    } = identity;
    let function = match function {
        Function::Physical { most_virtual: 0 } => String::new(),
        Function::Physical { most_virtual } => format!(", up to {most_virtual} virtual functions"),
        Function::Virtual { number } => format!(", virtual function {number}"),
    };
    DeviceInfo {
        name: options.name.clone().unwrap_or(name),
        kind,
        description: format!("{model}, serial number {serial}{function}"),
        address: Some(options.place.as_deref().unwrap_or(address).to_owned()),
        architecture: format!("card {version}, {model}, firmware {firmware}"),
        memory: 0,
        domain: DomainId::unique(),
        clock,
        link: root_port(address),
    }
}

/// The card has no memory of its own: it works on the host's, wherever that is mapped, and all
/// kinds of memory are such.
fn capabilities(identity: &Identity, cells: CellSet, max_queues: usize) -> Capabilities {
    let mut capabilities = Capabilities::none();
    capabilities.cells = cells;
    capabilities.max_insts = identity.program.words;
    capabilities.max_rows = identity.job.rows;
    capabilities.entries = identity.job.entries;
    capabilities.max_queues = u32::try_from(max_queues).expect("at most what was asked for");
    capabilities.alignment = identity.alignment;
    capabilities.slack = identity.slack;
    capabilities.foreign_read = false;
    capabilities.coherent = true;
    capabilities.compaction = identity.features.compaction();
    capabilities.copy_counted = identity.features.counted_copy();
    capabilities
}

impl Device for DpuDevice {
    fn info(&self) -> &DeviceInfo {
        &self.about.info
    }

    fn capabilities(&self) -> &Capabilities {
        &self.about.capabilities
    }

    /// Asks the card whether it is still there.
    fn health(&self) -> Health {
        let shared = self.shared();
        let checked = shared.check().and_then(|()| {
            let checked = shared.controller.check();
            checked.map_err(|fault| shared.lose(&fault))
        });
        checked.map_or_else(Health::Lost, |()| Health::Ready)
    }

    /// From the card's health log.
    fn readings(&self) -> Vec<Reading> {
        match self.shared().administer(Admin::health) {
            Ok(log) => log.readings(),
            Err(Trouble::Harmless(fault)) => health_log::unknown(&fault.to_string()),
            Err(Trouble::Lost(lost)) => health_log::unknown(&lost.to_string()),
        }
    }

    /// From the card's log of them, which a reset does not clear.
    fn errors(&self) -> Result<Vec<String>, String> {
        error_log::words(self.shared().administer(Admin::errors))
    }

    fn compile(&self, program: &Arc<Program>) -> Result<Executable, CompileError> {
        let shared = self.shared();
        shared.tidy()?;
        self.about.capabilities.admit(program)?;
        let bytecode = unlade_card::lower(program, &self.about.identity.program);
        let bytecode = bytecode.map_err(|refused| CompileError::TooLarge {
            what: refused.to_string(),
            cut: refused.cut(),
        })?;
        let len = bytecode.len() as u64;
        let failed = |trouble: Trouble| match trouble {
            Trouble::Lost(lost) => CompileError::Lost(lost),
            Trouble::Harmless(fault) => CompileError::Failed(advise(fault, &self.about.identity)),
        };
        let memory = shared
            .dma(len, CardAccess::Read, "a program")
            .map_err(failed)?;
        memory.store(0, &bytecode);
        let operand = Operand::memory(memory.iova(0), len);
        let handle = shared.administer(|admin| admin.load_program(operand));
        let handle = handle.map_err(failed)?;
        let keep = self.memory.returns.on_drop(shared.drops(handle));
        let loaded = Loaded::new(handle, self.about.info.domain, shared.generation, keep);
        Ok(Executable::new(program.clone(), Arc::new(loaded)))
    }

    fn allocate(&self, kind: MemoryKind, len: u64) -> Result<Slab, AllocError> {
        self.shared().check()?;
        let slab = Slab::host(kind, len, PageSize::suited_to(len))?;
        match self.register(&slab) {
            Ok(()) => Ok(slab),
            Err(AllocError::HugePages(_)) => {
                let slab = Slab::host(kind, len, PageSize::Base)?;
                self.register(&slab).map(|()| slab)
            }
            Err(error) => Err(error),
        }
    }

    fn register(&self, slab: &Slab) -> Result<(), AllocError> {
        fork::check()?;
        let shared = self.shared();
        shared.check()?;
        let Some(pages) = slab.pages() else {
            return Err(AllocError::Pageable);
        };
        if let Some(node) = shared.controller.transport().numa_node() {
            // Pages of another node serve, too.
            let _heeded = pages.prefer_node(node);
        }
        shared.tidy()?;
        shared.register(slab).map_err(|trouble| match trouble {
            Trouble::Lost(lost) => AllocError::Lost(lost),
            Trouble::Harmless(fault @ Fault::HugePages(_)) => {
                AllocError::HugePages(fault.to_string())
            }
            Trouble::Harmless(fault) => AllocError::Os {
                call: "DMA_MAP",
                message: fault.to_string(),
            },
        })
    }

    fn open_queue(&self, depth: u32) -> Result<Box<dyn Queue>, DeviceError> {
        if depth == 0 {
            return Err(DeviceError::Limit(
                "a queue holds at least one list".to_owned(),
            ));
        }
        let shared = self.shared();
        shared.tidy()?;
        Ok(Box::new(DpuQueue::open(shared, depth)?))
    }

    /// A controller reset; where that does not help a function level reset, and then a new
    /// connection. What is mapped stays mapped, or is mapped again.
    fn reset(&self) -> Result<(), DeviceError> {
        fork::check().map_err(|forked| self.about.lost(forked.to_string()))?;
        let _one_at_a_time = self.resetting.lock();
        let current = self.shared();
        // From here on everybody else finds it lost.
        current.end();
        let lost = |reason: String| {
            DeviceError::Lost(self.about.lost(format!("it does not come back: {reason}")))
        };
        let controller = self.restore(&current).map_err(lost)?;
        current.leave_admin();
        let admin = self
            .start(&controller)
            .map_err(|fault| lost(fault.to_string()))?;
        let restored = Shared::new(
            Arc::clone(&self.about),
            controller,
            self.memory.clone(),
            current.generation + 1,
            Arc::clone(&self.events),
            admin,
        );
        *self.current() = Arc::new(restored);
        Ok(())
    }
}

/// What a refusal to load means, and what to do.
fn advise(fault: Fault, identity: &Identity) -> String {
    match fault {
        Fault::Refused {
            status: StatusCode::TOO_MANY_PROGRAMS | StatusCode::OUT_OF_MEMORY,
            ..
        } => format!(
            "{fault}; it has room for {} programs: drop executables that are not needed",
            identity.programs
        ),
        other => other.to_string(),
    }
}

impl fmt::Debug for DpuDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpuDevice")
            .field("name", &self.about.info.name)
            .field("description", &self.about.info.description)
            .finish_non_exhaustive()
    }
}
