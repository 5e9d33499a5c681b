//! NVIDIA GPUs as devices.
//!
//! Nothing of CUDA is needed but the driver, and that only at run time: [`discover`] loads
//! `libcuda.so.1` if it is there, and says [`WhyNot`] if it is not, or too old, or shows no GPU. A
//! program becomes PTX text ([`unlade_ptx`]), which the driver's own assembler turns into machine
//! code for the GPU at hand.
//!
//! ```
//! match unlade_cuda::discover() {
//!     Ok(gpus) => println!("{gpus:?}"),
//!     Err(why_not) => println!("{why_not}"),
//! }
//! ```
//!
//! # What runs where
//! A queue has three streams: copies to the GPU, work on it, copies from it. Within a list steps
//! run in order; those of different lists overlap. The time of each is taken by events, and is
//! that of the [`Timing`](unlade_hal::Timing) in the completion.
//!
//! From the first time that a queue is asked for its
//! [`wake_fd`](unlade_hal::Queue::wake_fd), the driver calls a function of ours behind each list, on
//! a thread of its own: it writes eight bytes to that descriptor, and nothing else. Who does not ask
//! does not pay for it. A device that is lost makes it readable where it notices; an error that
//! nobody has asked the driver for does not, so that who waits polls now and then all the same.
//!
//! After a trap, steps of the same list that come later may still have run; what they wrote is
//! the list's own, and means nothing.
//!
//! A counted copy is a kernel that reads the count where it lies. It reaches pinned memory of the
//! host across the bus, so that nothing beyond what was counted crosses it.
//!
//! # Memory
//! Memory of the GPU comes from the driver's pool. Memory of the host is pinned where it lies,
//! once for all GPUs of the process: they share one [`DomainId`](unlade_hal::DomainId). No drop
//! calls the driver: what is dropped goes on a list, which is emptied when memory, a queue or a
//! program is next asked for.
//!
//! # Failure
//! A GPU without room says so, and the caller splits its batch. Any other error of the driver
//! while lists are in flight loses the device; what it may still write is abandoned, and counted.
//!
//! [`reset`](unlade_hal::Device::reset) brings a lost device back. Where the error has spoilt the
//! GPU's context, this device gives its context up and takes a new one: the driver makes one as
//! soon as nobody in the process holds the old one. As long as somebody else does (PyTorch, say, or
//! another device of [`open`]) the answer is an error, and so it is where another GPU of the
//! process uses memory that this one has pinned.
//!
//! # Compiled programs
//! They are kept in memory, and on disk in the user's own cache folder, by program, architecture
//! and driver. `UNLADE_CUDA_CACHE` names another folder, or is `off`. Which GPUs there are is the
//! driver's business, so `CUDA_VISIBLE_DEVICES` is honoured.
//!
//! # Sensors
//! [`readings`](unlade_hal::Device::readings) asks the driver's management library, NVML, for the
//! GPU at the same PCI address. Where the library is not there, or the GPU does not tell, the
//! reading says so; nothing else needs it.
//!
//! # Without a GPU
//! [`simulate`] puts a driver in software in the place of NVIDIA's, with a simulated GPU behind it
//! that runs the same kernels; devices are then `sim-gpu:0` and so on, of kind
//! [`Simulator`](unlade_hal::DeviceKind::Simulator). A process has one driver: where a real one is
//! loaded already, it is refused.
//!
//! # What is inside
//! - [`discover`]: the GPUs, or [`WhyNot`]; [`open`]: one that is not shared
//! - [`simulate`]: a simulated one, or why not: [`CannotSimulate`]
//! - [`CudaDevice`]: one of them; what a launch costs there at least
//!   ([`empty_launches`](CudaDevice::empty_launches))
//!
//! This crate calls a C library, so it contains `unsafe` code; docs/UNSAFE.md lists the areas and
//! what each relies on.

mod context;
mod device;
mod disk;
mod driver;
mod floor;
mod ground;
mod memory;
mod modules;
mod queue;
mod readings;
mod record;
mod returns;
mod simulate;
mod wake;
mod why_not;

use std::sync::{Arc, Mutex, PoisonError};

pub use device::CudaDevice;
pub use simulate::{CannotSimulate, simulate};
pub use why_not::WhyNot;

use context::Gpu;
use driver::Driver;

/// The GPUs of this process, in the driver's order. They are looked for until there are any: what
/// was missing may be there at the next call, and the reason is that of the call. A library that
/// was loaded stays, though, the toolkit's stub or one that is too old: it takes a new process to
/// load another under its name.
///
/// # Errors
/// [`WhyNot`], in words that say what to do.
pub fn discover() -> Result<Vec<Arc<CudaDevice>>, WhyNot> {
    static FOUND: Mutex<Vec<Arc<CudaDevice>>> = Mutex::new(Vec::new());
    unlade_hal::fork::check()?;
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if found.is_empty() {
        *found = look()?;
    }
    Ok(found.clone())
}

/// A device of its own for the GPU with this number, beside the one that [`discover`] shares. Tests
/// want one where the driver begins anew.
///
/// # Errors
/// As [`discover`].
pub fn open(ordinal: u32) -> Result<CudaDevice, WhyNot> {
    unlade_hal::fork::check()?;
    let driver = Driver::open()?;
    CudaDevice::open(driver, ordinal).map_err(|why| WhyNot::Unusable(vec![why]))
}

fn look() -> Result<Vec<Arc<CudaDevice>>, WhyNot> {
    let driver = Driver::open()?;
    let count = Gpu::count(driver).map_err(|fault| WhyNot::Refuses(fault.to_string()))?;
    if count == 0 {
        return Err(WhyNot::no_device());
    }
    let (mut gpus, mut unusable) = (Vec::new(), Vec::new());
    for ordinal in 0..count {
        match CudaDevice::open(driver, ordinal) {
            Ok(gpu) => gpus.push(Arc::new(gpu)),
            Err(why) => unusable.push(why),
        }
    }
    match gpus.is_empty() {
        true => Err(WhyNot::Unusable(unusable)),
        false => Ok(gpus),
    }
}
