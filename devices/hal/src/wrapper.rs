//! A device that stands in front of another one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use unlade_program::{Offsets, Program};

use crate::device::{Capabilities, Device, DeviceInfo, Health, Queue};
use crate::error::{AllocError, CompileError, DeviceError};
use crate::executable::Executable;
use crate::memory::{ForeignMemory, MemoryKind, Slab};
use crate::reading::Reading;

/// A device that is another one but for what it does itself: whatever an implementation leaves out is
/// the other's, also what [`Device`] has a default for. It is a [`Device`] itself by that; where both
/// traits are in scope, say which one is meant, as in `Device::health(&device)`.
///
/// ```
/// use unlade_hal::{AllocError, Device, DeviceWrapper, Slab};
///
/// /// Is told of no memory that it did not allocate itself.
/// #[derive(Debug)]
/// struct Secluded<D>(D);
///
/// impl<D: Device> DeviceWrapper for Secluded<D> {
///     fn inner(&self) -> &dyn Device {
///         &self.0
///     }
///     fn register(&self, _slab: &Slab) -> Result<(), AllocError> {
///         Ok(())
///     }
/// }
/// ```
pub trait DeviceWrapper: fmt::Debug + Send + Sync {
    /// The other device.
    fn inner(&self) -> &dyn Device;

    /// As [`Device::info`].
    fn info(&self) -> &DeviceInfo {
        self.inner().info()
    }
    /// As [`Device::capabilities`].
    fn capabilities(&self) -> &Capabilities {
        self.inner().capabilities()
    }
    /// As [`Device::health`].
    fn health(&self) -> Health {
        self.inner().health()
    }
    /// As [`Device::readings`].
    fn readings(&self) -> Vec<Reading> {
        self.inner().readings()
    }
    /// As [`Device::errors`].
    fn errors(&self) -> Result<Vec<String>, String> {
        self.inner().errors()
    }
    /// As [`Device::compile`].
    fn compile(&self, program: &Arc<Program>) -> Result<Executable, CompileError> {
        self.inner().compile(program)
    }
    /// As [`Device::compile_strings`].
    fn compile_strings(&self, offsets: Offsets) -> Result<Executable, CompileError> {
        self.inner().compile_strings(offsets)
    }
    /// As [`Device::allocate`].
    fn allocate(&self, kind: MemoryKind, len: u64) -> Result<Slab, AllocError> {
        self.inner().allocate(kind, len)
    }
    /// As [`Device::register`].
    fn register(&self, slab: &Slab) -> Result<(), AllocError> {
        self.inner().register(slab)
    }
    /// As [`Device::adopt`].
    fn adopt(&self, memory: ForeignMemory, timeout: Duration) -> Result<Slab, DeviceError> {
        self.inner().adopt(memory, timeout)
    }
    /// As [`Device::open_queue`].
    fn open_queue(&self, depth: u32) -> Result<Box<dyn Queue>, DeviceError> {
        self.inner().open_queue(depth)
    }
    /// As [`Device::reset`].
    fn reset(&self) -> Result<(), DeviceError> {
        self.inner().reset()
    }
}

// A method that is added and left out here would not be the other's.
#[deny(clippy::missing_trait_methods)]
impl<W: DeviceWrapper> Device for W {
    fn info(&self) -> &DeviceInfo {
        DeviceWrapper::info(self)
    }
    fn capabilities(&self) -> &Capabilities {
        DeviceWrapper::capabilities(self)
    }
    fn health(&self) -> Health {
        DeviceWrapper::health(self)
    }
    fn readings(&self) -> Vec<Reading> {
        DeviceWrapper::readings(self)
    }
    fn errors(&self) -> Result<Vec<String>, String> {
        DeviceWrapper::errors(self)
    }
    fn compile(&self, program: &Arc<Program>) -> Result<Executable, CompileError> {
        DeviceWrapper::compile(self, program)
    }
    fn compile_strings(&self, offsets: Offsets) -> Result<Executable, CompileError> {
        DeviceWrapper::compile_strings(self, offsets)
    }
    fn allocate(&self, kind: MemoryKind, len: u64) -> Result<Slab, AllocError> {
        DeviceWrapper::allocate(self, kind, len)
    }
    fn register(&self, slab: &Slab) -> Result<(), AllocError> {
        DeviceWrapper::register(self, slab)
    }
    fn adopt(&self, memory: ForeignMemory, timeout: Duration) -> Result<Slab, DeviceError> {
        DeviceWrapper::adopt(self, memory, timeout)
    }
    fn open_queue(&self, depth: u32) -> Result<Box<dyn Queue>, DeviceError> {
        DeviceWrapper::open_queue(self, depth)
    }
    fn reset(&self) -> Result<(), DeviceError> {
        DeviceWrapper::reset(self)
    }
}
