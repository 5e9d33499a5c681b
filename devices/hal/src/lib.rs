//! What a device is.
//!
//! A device runs [programs](unlade_program::Program) over columns. To the rest of Unlade it is two
//! traits: [`Device`] compiles programs and provides memory, [`Queue`] runs [`CommandList`]s. The
//! CPU, a CUDA GPU, a DMA-capable card and the simulators all implement them, and nothing above
//! knows which is which.
//!
//! # How a batch reaches a device
//! 1. [`Device::compile`] makes an [`Executable`] of a program, once.
//! 2. Memory comes as [`Slab`]s: host pages, registered with every device that shall reach them
//!    ([`Device::register`]), or memory of the device ([`Device::allocate`]). A [`Lease`] is the
//!    sole right to a range of one.
//! 3. A [`CommandList`] takes the leases as [`Slot`]s and says what to do with them: copy in,
//!    dispatch, copy out.
//! 4. [`Queue::submit`] takes the list and returns a [`Seq`]. Until the list comes back nobody
//!    else can touch its memory, because nobody else has its leases.
//! 5. [`Queue::poll`] returns [`Completion`]s, each with its list. [`Lease::freeze`] makes an Arrow
//!    buffer of a result without a copy; when Arrow drops it, the lease goes [`Home`].
//!
//! Every submit ends in a completion, a rejection or a counted leak: there is no fourth way. What
//! can go wrong lies on three planes, see [`CompileError`], [`Outcome::Trapped`] and
//! [`DeviceLost`].
//!
//! # What is inside
//! - the traits: [`Device`], [`Queue`], with [`DeviceInfo`], [`Capabilities`], [`Health`]
//! - memory: [`Slab`], [`Lease`], [`Home`], [`HostPages`]; [`MappedFile`] for input
//! - work: [`CommandList`], [`Command`], [`Slot`], [`Span`], [`Arg`], [`Executable`]; of strings:
//!   [`Offsets`], [`StringsArg`], [`StringsStatus`]
//! - which devices share a way to the host: [`root_port`]
//! - what a device's sensors say: [`Reading`], [`Quantity`]
//! - ends: [`Completion`], [`Outcome`], [`Rejected`], [`Quiesced`], [`Status`], [`Timing`], [`Began`]
//! - for who implements a device: [`validate()`], [`borrow`], [`DeviceWrapper`]; for who uses one:
//!   [`check_written`]
//! - [`fork`]: whether this process is a forked child
//! - time: [`Clock`], [`WallClock`], [`Timestamp`]
//!
//! This crate is where host memory is handled, so it contains `unsafe` code; docs/UNSAFE.md lists
//! the areas and what each relies on.

mod clock;
mod command;
mod completion;
mod device;
mod entries;
mod error;
mod executable;
pub mod fork;
mod id;
mod link;
mod memory;
mod reading;
mod strings;
mod validate;
mod views;
mod wrapper;

pub use clock::{Clock, ClockKind, Timestamp, WallClock, thread_cpu_time};
pub use command::{Arg, Command, CommandList, Slot, Span};
pub use completion::{
    Began, Completion, Leaked, Outcome, Quiesced, Rejected, Status, Timing, Wait,
};
pub use device::{Capabilities, Device, DeviceInfo, DeviceKind, Health, Queue};
pub use entries::{Entries, EntryLimits, Excess};
pub use error::{AllocError, CompileError, DeviceError, DeviceLost, RejectReason};
pub use executable::Executable;
pub use id::{DeviceAddr, DomainId, Seq, SlotId};
pub use link::root_port;
pub use memory::{
    FileChanged, ForeignEvent, ForeignMemory, Home, HostPages, Lease, MappedFile, MemoryKind,
    PageSize, PinnedBuffer, Slab, WeakSlab,
};
pub use reading::{Quantity, Reading};
pub use strings::StringsStatus;
pub use unlade_program::{Offsets, StringsArg};
pub use validate::{MAX_COMMANDS, WrongCount, check_written, validate};
pub use views::{Access, BorrowError, View, borrow};
pub use wrapper::DeviceWrapper;
