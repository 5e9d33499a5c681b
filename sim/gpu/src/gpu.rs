//! The GPU without its driver: memory, and kernels that run while the caller waits.

use std::time::Duration;

use crate::exec::{self, Counters, Interleaving, Launch};
use crate::finding::Finding;
use crate::memory::{DeviceMemory, DevicePointer, MemoryError};
use crate::profile::Profile;
use crate::ptx::Kernel;

/// A GPU without its driver.
#[derive(Debug)]
pub struct Gpu {
    profile: Profile,
    memory: DeviceMemory,
    interleaving: Interleaving,
}

/// How many blocks, and of how many threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Blocks: x, y and z.
    pub blocks: [u32; 3],
    /// Threads of a block: x, y and z.
    pub threads: [u32; 3],
    /// Shared memory beyond what the kernel declares, in bytes a block.
    pub dynamic_shared: u64,
}

impl Grid {
    /// So many blocks of so many threads, in a row.
    pub fn linear(blocks: u32, threads: u32) -> Self {
        Grid {
            blocks: [blocks, 1, 1],
            threads: [threads, 1, 1],
            dynamic_shared: 0,
        }
    }
}

/// A kernel's argument: the bytes of its parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument(Vec<u8>);

impl Argument {
    /// Any bytes, for parameters that are arrays.
    pub fn bytes(bytes: &[u8]) -> Self {
        Argument(bytes.to_vec())
    }
}

macro_rules! arguments {
    ($($ty:ty),*) => {$(
        impl From<$ty> for Argument {
            fn from(value: $ty) -> Self {
                Argument(value.to_le_bytes().to_vec())
            }
        }
    )*};
}

arguments!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64);

impl From<DevicePointer> for Argument {
    fn from(pointer: DevicePointer) -> Self {
        pointer.0.into()
    }
}

/// What a launch did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Counted.
    pub counters: Counters,
    /// As the profile estimates it.
    pub time: Duration,
}

/// Why a launch did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// It was not begun.
    #[error("{0}")]
    Refused(String),
    /// The kernel did what it must not do. What it wrote until then stays.
    #[error("{0}")]
    Finding(Box<Finding>),
}

/// Most threads of a block.
pub(crate) const MAX_THREADS: u32 = 1024;

/// Most shared memory of a block, declared and added, without asking for more.
pub(crate) const MAX_SHARED: u64 = 48 << 10;

impl Gpu {
    /// A GPU with empty memory.
    pub fn new(profile: Profile) -> Self {
        let memory = DeviceMemory::new(profile.memory, 0);
        Gpu {
            profile,
            memory,
            interleaving: Interleaving::default(),
        }
    }

    /// The same, with what comes next run so.
    #[must_use]
    pub fn with_interleaving(self, interleaving: Interleaving) -> Self {
        Gpu {
            interleaving,
            ..self
        }
    }

    /// The same, with what comes next drawn from this seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.interleaving.seed = seed;
        self
    }

    /// What it stands for.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Memory that nobody has written yet.
    ///
    /// # Errors
    /// [`MemoryError::OutOfMemory`] at the profile's limit.
    pub fn allocate(&mut self, bytes: u64) -> Result<DevicePointer, MemoryError> {
        self.memory.allocate(bytes)
    }

    /// Gives memory back. Accesses to it are findings from now on.
    ///
    /// # Errors
    /// Where no live allocation begins.
    pub fn free(&mut self, at: DevicePointer) -> Result<(), MemoryError> {
        self.memory.free(at)
    }

    /// Live allocations.
    pub fn allocations(&self) -> usize {
        self.memory.live()
    }

    /// Copies from the host.
    ///
    /// # Errors
    /// Where the range is not inside of one allocation.
    pub fn write(&mut self, at: DevicePointer, bytes: &[u8]) -> Result<(), MemoryError> {
        self.memory
            .write(at.0, bytes)
            .map_err(|fault| MemoryError::BadRange(fault.detail))
    }

    /// Copies to the host. Bytes that nobody wrote show as [`POISON`](crate::POISON).
    ///
    /// # Errors
    /// Where the range is not inside of one allocation.
    pub fn read(&mut self, at: DevicePointer, bytes: &mut [u8]) -> Result<(), MemoryError> {
        self.memory
            .read(at.0, bytes)
            .map_err(|fault| MemoryError::BadRange(fault.detail))
    }

    /// Fills a range with a byte.
    ///
    /// # Errors
    /// Where the range is not inside of one allocation.
    pub fn fill(&mut self, at: DevicePointer, len: u64, byte: u8) -> Result<(), MemoryError> {
        let filled = self.memory.fill(at.0, len, &[byte]);
        filled.map_err(|fault| MemoryError::BadRange(fault.detail))
    }

    /// Copies from one place of the device to another. What was never written stays so.
    ///
    /// # Errors
    /// Where a range is not inside of one allocation.
    pub fn copy(
        &mut self,
        to: DevicePointer,
        from: DevicePointer,
        len: u64,
    ) -> Result<(), MemoryError> {
        let copied = self.memory.copy(to.0, from.0, len);
        copied.map_err(|fault| MemoryError::BadRange(fault.detail))
    }

    /// The allocation around an address: where it begins, and its size in bytes.
    pub fn allocation(&self, at: DevicePointer) -> Option<(DevicePointer, u64)> {
        self.memory.allocation(at.0)
    }

    /// Runs a kernel to its end.
    ///
    /// # Errors
    /// [`LaunchError::Refused`] where the grid, the arguments or the architecture do not fit the
    /// kernel; [`LaunchError::Finding`] where the kernel does what it must not do.
    pub fn launch(
        &mut self,
        kernel: &Kernel,
        grid: Grid,
        arguments: &[Argument],
    ) -> Result<Report, LaunchError> {
        let parameters = pack(kernel, arguments)?;
        check(kernel, &grid)?;
        let launch = Launch {
            kernel,
            grid: grid.blocks,
            block: grid.threads,
            dynamic_shared: grid.dynamic_shared,
            parameters: &parameters,
            interleaving: &self.interleaving,
        };
        let counters = exec::run(&launch, &mut self.memory).map_err(LaunchError::Finding)?;
        let time = self.profile.kernel_time(&counters);
        Ok(Report { counters, time })
    }
}

/// Arguments laid out as the kernel's parameters lie.
fn pack(kernel: &Kernel, arguments: &[Argument]) -> Result<Vec<u8>, LaunchError> {
    let parameters = kernel.parameters();
    if arguments.len() != parameters.len() {
        let (name, wants, has) = (kernel.name(), parameters.len(), arguments.len());
        let message = format!("`{name}` has {wants} parameters, and is given {has} arguments");
        return Err(LaunchError::Refused(message));
    }
    let mut packed = vec![0; kernel.parameter_bytes() as usize];
    for (parameter, argument) in parameters.iter().zip(arguments) {
        if argument.0.len() != parameter.bytes as usize {
            let (name, wants, has) = (&parameter.name, parameter.bytes, argument.0.len());
            let message = format!("the parameter `{name}` has {wants} bytes, its argument {has}");
            return Err(LaunchError::Refused(message));
        }
        packed[parameter.offset as usize..][..argument.0.len()].copy_from_slice(&argument.0);
    }
    Ok(packed)
}

/// Whether the grid suits the kernel and the GPU.
pub(crate) fn check(kernel: &Kernel, grid: &Grid) -> Result<(), LaunchError> {
    let refuse = |message: String| Err(LaunchError::Refused(message));
    let product = |sizes: [u32; 3]| {
        sizes
            .iter()
            .fold(1u64, |all, &size| all.saturating_mul(size.into()))
    };
    let (blocks, threads) = (product(grid.blocks), product(grid.threads));
    if blocks == 0 || blocks > u64::from(u32::MAX) {
        return refuse(format!("a grid of {blocks} blocks"));
    }
    if threads == 0 || threads > u64::from(MAX_THREADS) || grid.threads[2] > 64 {
        return refuse(format!(
            "a block of {threads} threads; at most {MAX_THREADS}"
        ));
    }
    if let Some((limit, exactly)) = kernel.threads
        && (threads > u64::from(limit) || (exactly && threads != u64::from(limit)))
    {
        return refuse(format!(
            "a block of {threads} threads; `{}` allows {limit}",
            kernel.name
        ));
    }
    let shared = kernel.shared_bytes().saturating_add(grid.dynamic_shared);
    if shared > MAX_SHARED {
        return refuse(format!(
            "{shared} bytes of shared memory; at most {MAX_SHARED}"
        ));
    }
    Ok(())
}
