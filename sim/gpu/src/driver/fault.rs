//! What can go wrong in the driver on purpose.

use unlade_sim_fault::Fault;

/// A kind of fault of the driver or the hardware behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DriverFault {
    /// A call that needs memory has none: `CUDA_ERROR_OUT_OF_MEMORY`. Nothing else changes.
    OutOfMemory,
    /// A launch is turned away: `CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES`. Nothing else changes.
    LaunchRefused,
    /// A kernel fails while it runs: `CUDA_ERROR_LAUNCH_FAILED`, and the context is of no use.
    LaunchFails,
    /// Any call finds that the context is of no use: `CUDA_ERROR_ILLEGAL_ADDRESS`.
    ContextLost,
    /// Any call finds that memory had an error that could not be corrected:
    /// `CUDA_ERROR_ECC_UNCORRECTABLE`, and the context is of no use.
    Ecc,
    /// What a stream is given does not end any more: its events are never ready, and who waits for
    /// it without asking gets `CUDA_ERROR_LAUNCH_TIMEOUT`.
    Hang,
}

/// Where a fault can strike. A call gives a chance to each that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DriverChance {
    /// Each call that needs memory of the device or of the host.
    Allocate,
    /// Each launch of a kernel.
    Launch,
    /// Each call, launches and allocations too. What an error means can be asked at any time:
    /// `cuGetErrorName` and `cuGetErrorString` do not fail.
    Call,
}

impl DriverFault {
    /// Every kind, in a fixed order.
    pub const ALL: [DriverFault; 6] = [
        DriverFault::OutOfMemory,
        DriverFault::LaunchRefused,
        DriverFault::LaunchFails,
        DriverFault::ContextLost,
        DriverFault::Ecc,
        DriverFault::Hang,
    ];
}

impl Fault for DriverFault {
    type Chance = DriverChance;

    fn chance(self) -> DriverChance {
        match self {
            DriverFault::OutOfMemory => DriverChance::Allocate,
            DriverFault::LaunchRefused | DriverFault::LaunchFails | DriverFault::Hang => {
                DriverChance::Launch
            }
            DriverFault::ContextLost | DriverFault::Ecc => DriverChance::Call,
        }
    }
}
