//! How much memory is used, and by whom.

use crate::border::enter;
use crate::code::unlade_code::{self, UNLADE_OK};
use crate::error::unlade_error;
use crate::handles;
use crate::runtime::{RuntimeHeld, unlade_runtime};
use crate::sized::{self, Grows};

/// Memory of a runtime, in bytes. Set `struct_size` to its size. While threads lease and return it,
/// figures may disagree by what happened meanwhile. `unlade_runtime_status_json` tells who holds it.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
pub struct unlade_memory {
    /// `sizeof(struct unlade_memory)`.
    pub struct_size: usize,
    /// Pinned memory that was reserved at the start.
    pub reserve: u64,
    /// Most that may be in use.
    pub budget: u64,
    /// Of the reserve, what anybody can have.
    pub free: u64,
    /// What threads keep for their next batch.
    pub cached: u64,
    /// What is leased: 0 when all that was given out is back.
    pub leased: u64,
    /// Of that, results that were not released.
    pub exported: u64,
    /// Of that, memory beyond the reserve.
    pub beyond_reserve: u64,
    /// How often memory beyond the reserve was allocated.
    pub beyond_reserve_count: u64,
    /// The most that was leased or cached at once.
    pub peak: u64,
    /// Requests that wait at the moment.
    pub waiting: u64,
}

// SAFETY: It is of plain numbers; the first is its size.
unsafe impl Grows for unlade_memory {
    const NAME: &'static str = "unlade_memory";
    const FIRST: usize = size_of::<unlade_memory>();
}

/// Tells how a runtime's memory is used at the moment.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_runtime_memory(
    runtime: *const unlade_runtime,
    memory: *mut unlade_memory,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            let status = handles::get::<RuntimeHeld>(runtime)?.0.memory();
            let known = unlade_memory {
                struct_size: 0,
                reserve: status.reserve,
                budget: status.budget,
                free: status.free,
                cached: status.cached,
                leased: status.leased,
                exported: status.exported,
                beyond_reserve: status.beyond_reserve,
                beyond_reserve_count: status.beyond_reserve_count,
                peak: status.peak,
                waiting: status.waiting as u64,
            };
            sized::write(memory, &known)?;
            Ok(UNLADE_OK)
        })
    }
}
