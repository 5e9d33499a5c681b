//! Arrow's C Device Data interface: arrays that say where their memory is.

use crate::arrow::import::Owned;
use crate::arrow::raw::{ArrowArray, ArrowDeviceArray, ArrowSchema};
use crate::border::{enter, put};
use crate::code::unlade_code::{self, UNLADE_OK, UNLADE_UNSUPPORTED};
use crate::error::unlade_error;
use crate::failure::Failure;
use crate::handles;
use crate::kernel::{KernelHeld, unlade_kernel};
use crate::output::{self, unlade_output};

// Of the interface's header, which unlade.h has a copy of.
const CPU: i32 = 1;
const CUDA: i32 = 2;
const CUDA_HOST: i32 = 3;
const EXT_DEV: i32 = 12;

/// As `unlade_kernel_run`, for a batch that says where its memory is, and with a result that does.
///
/// A batch is taken that lies in memory which the host reads: `ARROW_DEVICE_CPU` and
/// `ARROW_DEVICE_CUDA_HOST`, without an event to wait for. Any other is `UNLADE_UNSUPPORTED`, and says
/// so. Results lie in the host's memory, `ARROW_DEVICE_CPU`, and are there when this returns: there is
/// no event. `result` gets the array; `output` all else, and its own array stays released.
///
/// # Safety
/// As `unlade_kernel_run`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_kernel_run_device(
    kernel: *const unlade_kernel,
    array: *mut ArrowDeviceArray,
    schema: *const ArrowSchema,
    result: *mut ArrowDeviceArray,
    output: *mut unlade_output,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below. It is taken before anything can go wrong.
    unsafe {
        let taken = match array.is_null() {
            true => Err(Failure::null("ArrowDeviceArray")),
            false => {
                let place = Place::of(&*array);
                Owned::take(&raw mut (*array).array).map(|array| (array, place))
            }
        };
        let begun = output::begin(output);
        enter(error, || {
            put(result, "ArrowDeviceArray", none())?;
            begun?;
            let held = handles::get::<KernelHeld>(kernel)?;
            let (array, place) = taken?;
            place.check()?;
            let imported = held.import(array, schema)?;
            let computed = held.kernel.run(&imported.batch)?;
            drop(imported.batch);
            let output = &mut *output;
            output::fill(output, computed, imported.realigned)?;
            (*result).array = std::mem::replace(&mut output.array, ArrowArray::released());
            Ok(UNLADE_OK)
        })
    }
}

/// An array that is none, in the host's memory.
fn none() -> ArrowDeviceArray {
    ArrowDeviceArray {
        array: ArrowArray::released(),
        device_id: -1,
        device_type: CPU,
        sync_event: std::ptr::null_mut(),
        reserved: [0; 3],
    }
}

/// Where an array's memory is.
struct Place {
    device_type: i32,
    device_id: i64,
    waits: bool,
}

impl Place {
    fn of(array: &ArrowDeviceArray) -> Self {
        Place {
            device_type: array.device_type,
            device_id: array.device_id,
            waits: !array.sync_event.is_null(),
        }
    }

    /// That the host reads it, now.
    fn check(&self) -> Result<(), Failure> {
        let refused = |why: String| Err(Failure::new(UNLADE_UNSUPPORTED, why));
        let id = self.device_id;
        match self.device_type {
            CPU | CUDA_HOST if !self.waits => Ok(()),
            CPU | CUDA_HOST => refused(
                "the ArrowDeviceArray has a sync_event: wait for it, and hand it over without"
                    .to_owned(),
            ),
            CUDA => refused(format!(
                "the ArrowDeviceArray lies in the memory of CUDA device {id}, where this library has \
                 kept nothing: copy it to the host, whose memory the GPU's kernels are fed from"
            )),
            EXT_DEV => refused(format!(
                "the ArrowDeviceArray lies in the memory of external device {id}, which no card of \
                 this library's shows to others: copy it to the host"
            )),
            other => refused(format!(
                "the ArrowDeviceArray lies in the memory of a device of type {other}, number {id}, \
                 and there is none here: copy it to the host"
            )),
        }
    }
}
