//! The two traits that a kind of device is.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use unlade_program::{Cell, CellSet, Offsets, Program, Val};

use crate::clock::ClockKind;
use crate::command::CommandList;
use crate::completion::{Completion, Quiesced, Rejected, Wait};
use crate::entries::EntryLimits;
use crate::error::{AllocError, CompileError, DeviceError, DeviceLost};
use crate::executable::Executable;
use crate::id::{DomainId, Seq};
use crate::memory::{ForeignMemory, MemoryKind, Slab};
use crate::reading::Reading;

/// A device: compiles programs, provides memory, opens queues.
pub trait Device: fmt::Debug + Send + Sync {
    /// What it is.
    fn info(&self) -> &DeviceInfo;
    /// What it can do; constant.
    fn capabilities(&self) -> &Capabilities;
    /// How it is. Loss is sticky until [`reset`](Device::reset).
    fn health(&self) -> Health;
    /// What its own sensors and counters say at the moment; nothing where it has none. A reading
    /// that cannot be had says why.
    fn readings(&self) -> Vec<Reading> {
        Vec::new()
    }
    /// Errors that the device has noted by itself, in words, the newest first; none where it keeps no
    /// such log, or is lost.
    ///
    /// # Errors
    /// Why the log cannot be had, in words, of a device that is not lost.
    fn errors(&self) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
    /// Makes a verified program executable. Fails on a program that it cannot run bit for bit, and
    /// says which instructions are to blame.
    ///
    /// # Errors
    /// See [`CompileError`]; [`Capabilities::admit`] finds most of them for every device.
    fn compile(&self, program: &Arc<Program>) -> Result<Executable, CompileError>;
    /// What compacts strings with offsets of this width; see [`StringsArg`](crate::StringsArg).
    ///
    /// # Errors
    /// [`CompileError::Unsupported`] where [`Capabilities::strings`] is false, else as
    /// [`compile`](Device::compile).
    fn compile_strings(&self, offsets: Offsets) -> Result<Executable, CompileError> {
        Err(CompileError::Unsupported {
            values: Vec::new(),
            name: format!(
                "compaction of strings with offsets of {} bytes",
                offsets.bytes()
            ),
        })
    }
    /// Provides memory, `len` rounded up to whole pages, that this device can reach. Its pages are of
    /// a size that the device takes: [`Slab::page_size`] tells.
    ///
    /// # Errors
    /// See [`AllocError`].
    fn allocate(&self, kind: MemoryKind, len: u64) -> Result<Slab, AllocError>;
    /// Makes host pages reachable by this device. Doing it twice is doing it once.
    ///
    /// # Errors
    /// [`AllocError::Pageable`] where the slab has no pages, [`AllocError::HugePages`] where it has
    /// huge ones and the device takes none, else as the driver says.
    fn register(&self, slab: &Slab) -> Result<(), AllocError>;
    /// Takes in memory of its own that somebody else has allocated, so that lists read it: after the
    /// point from which it is written, for which this waits no longer than `timeout`. The slab keeps it
    /// allocated; nothing may write it.
    ///
    /// # Errors
    /// [`DeviceError::Unsupported`] where the device has no memory that others allocate;
    /// [`DeviceError::Foreign`] where the range is not inside of one allocation of its memory;
    /// [`DeviceError::NotWritten`] where it is not written in time.
    fn adopt(&self, memory: ForeignMemory, timeout: Duration) -> Result<Slab, DeviceError> {
        let _of_nobody = (memory, timeout);
        Err(DeviceError::Unsupported(
            "memory that others have allocated",
        ))
    }
    /// Opens a queue that holds at most `depth` lists, or fewer where the device has less room.
    ///
    /// # Errors
    /// [`DeviceError::Limit`] where `depth` is 0 or as many queues are open as the device has.
    fn open_queue(&self, depth: u32) -> Result<Box<dyn Queue>, DeviceError>;
    /// Brings a lost device back; executables, slabs, registrations and queues made before are
    /// void. Other devices and the host's memory are not touched.
    ///
    /// # Errors
    /// [`DeviceError::Unsupported`] is a legal answer.
    fn reset(&self) -> Result<(), DeviceError>;
}

/// A queue: one owner, lists in order.
///
/// Between lists execution may overlap, but completions are delivered in [`Seq`] order. Nothing
/// ever completes inside `submit`.
pub trait Queue: fmt::Debug + Send {
    /// Hands over a list. It runs from here on, or from the next poll or wait.
    ///
    /// # Errors
    /// The list comes back whole, with the reason; nothing of it has run.
    #[allow(clippy::result_large_err)] // the list comes back by design
    fn submit(&mut self, list: CommandList) -> Result<Seq, Rejected>;
    /// Appends what has completed, in order, each once. Never waits for the device.
    ///
    /// # Errors
    /// [`DeviceLost`], once and for all: what is still in flight comes from
    /// [`quiesce`](Queue::quiesce).
    fn poll(&mut self, done: &mut Vec<Completion>) -> Result<(), DeviceLost>;
    /// Waits until a point is reached; a point already delivered is. Delivers nothing itself: the
    /// next poll does. A point that no submit returned is never reached.
    ///
    /// # Errors
    /// [`DeviceLost`], as for [`poll`](Queue::poll).
    fn wait(&mut self, seq: Seq, timeout: Duration) -> Result<Wait, DeviceLost>;
    /// A descriptor that becomes readable when something may have completed, and is so until a
    /// poll. A device that is lost need not tell: who waits polls now and then all the same. `None`
    /// where the queue has to be polled.
    fn wake_fd(&self) -> Option<BorrowedFd<'_>>;
    /// Ends the queue: waits at most this long, then gives back what is proven quiet and counts
    /// what is not.
    fn quiesce(self: Box<Self>, timeout: Duration) -> Quiesced;
}

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Short, unique among the devices of a runtime: `cpu`, `sim`, `cuda:0`.
    pub name: String,
    /// Kind.
    pub kind: DeviceKind,
    /// Vendor's name for it.
    pub description: String,
    /// PCI address or the like, where there is one.
    pub address: Option<String>,
    /// What distinguishes one lowering's target from another's: part of the key of an executable.
    pub architecture: String,
    /// Memory of its own in bytes, 0 where it uses the host's.
    pub memory: u64,
    /// Registration domain.
    pub domain: DomainId,
    /// The clock its timings are read from.
    pub clock: ClockKind,
    /// The link by which it hangs on the host, where others may hang on the same: for a PCI device
    /// its [root port](crate::root_port). Whoever names the same link shares it.
    pub link: Option<String>,
}

/// Kinds of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// The host's processor.
    Cpu,
    /// A GPU.
    Gpu,
    /// A DMA-capable card.
    Dpu,
    /// A simulator, of whatever hardware. `auto` never picks one.
    Simulator,
}

impl DeviceKind {
    /// Its name in text and JSON: `cpu`, `gpu`, `dpu` or `simulator`.
    pub fn name(self) -> &'static str {
        match self {
            DeviceKind::Cpu => "cpu",
            DeviceKind::Gpu => "gpu",
            DeviceKind::Dpu => "dpu",
            DeviceKind::Simulator => "simulator",
        }
    }
}

/// What a device can do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Capabilities {
    /// Operations whose results equal the CPU evaluator's bit for bit.
    pub cells: CellSet,
    /// Most instructions of a program.
    pub max_insts: u32,
    /// Most rows of one dispatch.
    pub max_rows: u64,
    /// Most bytes of the tables and sets of one dispatch. How many a program's have is known where its
    /// arguments are, and [`admit`](Capabilities::admit) does not ask.
    pub entries: EntryLimits,
    /// Most queues open at once.
    pub max_queues: u32,
    /// A power of two: spans that a dispatch uses begin at a multiple of it, counted in bytes from
    /// the start of their slab. For foreign memory there is `foreign_alignment`.
    pub alignment: u64,
    /// A power of two: elements of foreign memory lie at a multiple of their own width or of this,
    /// whichever is less; 1 where they may lie anywhere. Bits may begin in any byte.
    pub foreign_alignment: u64,
    /// Bytes that a dispatch needs beyond the rows in each span that it writes (but not in its
    /// status), for a device that stores whole vectors. What they hold afterwards is arbitrary.
    pub slack: u64,
    /// Whether dispatches may read [`Slot::Foreign`](crate::Slot::Foreign) memory in place.
    pub foreign_read: bool,
    /// Whether the device reads and writes host memory coherently, so that no staging is needed.
    pub coherent: bool,
    /// Whether dispatches compact: programs with `keep` and outputs. If not, only masks.
    pub compaction: bool,
    /// Whether [`Command::CopyCounted`](crate::Command::CopyCounted) is accepted.
    pub copy_counted: bool,
    /// Whether dispatches compact strings: [`Device::compile_strings`] makes what does.
    pub strings: bool,
}

impl Capabilities {
    /// No operation, one queue, byte alignment, no options; tables and sets of any size.
    pub fn none() -> Self {
        Capabilities {
            cells: CellSet::default(),
            max_insts: 0,
            max_rows: 0,
            entries: EntryLimits::NONE,
            max_queues: 1,
            alignment: 1,
            foreign_alignment: 1,
            slack: 0,
            foreign_read: false,
            coherent: false,
            compaction: false,
            copy_counted: false,
            strings: false,
        }
    }
}

impl Capabilities {
    /// Whether a program is one that a device of these capabilities can be given: verified, not too
    /// large, without an operation that the device lacks. [`Device::compile`] begins with it.
    ///
    /// # Errors
    /// [`CompileError::TooLarge`], [`CompileError::Unsupported`], or [`CompileError::Failed`] for a
    /// program that breaks a rule.
    pub fn admit(&self, program: &Program) -> Result<(), CompileError> {
        if let Err(broken) = unlade_program::verify(program) {
            return Err(CompileError::Failed(format!(
                "the program is malformed: {broken}"
            )));
        }
        let (count, most) = (program.insts.len(), self.max_insts as usize);
        if count > most {
            let what = format!("{count} instructions are more than its {most}");
            return Err(CompileError::TooLarge {
                what,
                cut: self.max_insts.checked_sub(1).map(Val),
            });
        }
        let values = unlade_program::unsupported(program, &self.cells);
        match values.first() {
            None => Ok(()),
            Some(first) => {
                let inst = &program.insts[first.index()];
                let name = Cell::of(program, &program.types(), inst).to_string();
                Err(CompileError::Unsupported { values, name })
            }
        }
    }
}

/// How a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It works.
    Ready,
    /// It is gone until reset.
    Lost(DeviceLost),
}
