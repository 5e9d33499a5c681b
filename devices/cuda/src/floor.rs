//! What a launch costs at least.

use std::time::{Duration, Instant};

use unlade_hal::CompileError;

use crate::context::Stream;
use crate::device::CudaDevice;
use crate::driver::Fault;
use crate::returns::{Returned, Returns};

impl CudaDevice {
    /// The time of the host that each of so many launches of a kernel takes that does nothing, by the
    /// wall's clock: the driver's call through which kernels of programs go, too, and nothing beside
    /// it. The GPU is done with each before the next.
    ///
    /// # Errors
    /// As for [`compile`](unlade_hal::Device::compile); an error of the driver loses the device.
    pub fn empty_launches(&self, count: usize) -> Result<Vec<Duration>, CompileError> {
        let shared = self.shared();
        let gpu = shared.enter()?;
        let code = shared.ground.modules.empty(&shared, &gpu)?;
        let lost = |fault: Fault| CompileError::Lost(shared.lose(&fault));
        let stream = OwnStream {
            stream: gpu.stream().map_err(lost)?,
            returns: &shared.ground.returns,
        };
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let began = Instant::now();
            // SAFETY: The kernel has no arguments, and touches no memory.
            unsafe { code.launch(&gpu, 0, &[], 0, 0, stream.stream) }.map_err(lost)?;
            times.push(began.elapsed());
            gpu.synchronize(stream.stream).map_err(lost)?;
        }
        Ok(times)
    }
}

/// A stream that goes back when this is dropped.
struct OwnStream<'a> {
    stream: Stream,
    returns: &'a Returns,
}

impl Drop for OwnStream<'_> {
    fn drop(&mut self) {
        self.returns.push(Returned::Stream(self.stream));
    }
}
