//! Arrow's C Device Data interface: arrays that say where their memory is.

use std::any::Any;
use std::ffi::c_void;
use std::sync::Arc;
use std::time::Instant;

use arrow_schema::DataType;
use unlade::Output;
use unlade_cdata::CDataError;
use unlade_cdata::elsewhere::{self, Run};
use unlade_cdata::import::{Imported, Owned};
use unlade_cdata::on_device::{CUDA, EXT_DEV, GPUS};
use unlade_cdata::raw::{ArrowArray, ArrowDeviceArray, ArrowSchema};
use unlade_cdata::schema;
use unlade_hal::{DeviceAddr, ForeignEvent, ForeignMemory};

use crate::border::{enter, put};
use crate::code::unlade_code::{self, UNLADE_OK, UNLADE_UNSUPPORTED};
use crate::device_export::Exported;
use crate::error::unlade_error;
use crate::failure::Failure;
use crate::handles;
use crate::kernel::{KernelHeld, unlade_kernel};
use crate::output::{self, unlade_output};

// Of the interface's header, which unlade.h has a copy of.
const CPU: i32 = 1;
const CUDA_HOST: i32 = 3;
const CUDA_MANAGED: i32 = 13;

/// As `unlade_kernel_run`, for a batch that says where its memory is, and with a result that does.
///
/// `ARROW_DEVICE_CPU` and `ARROW_DEVICE_CUDA_HOST`, without an event to wait for, is memory that the host
/// reads: it is computed on where it is. `ARROW_DEVICE_CUDA` and `ARROW_DEVICE_CUDA_MANAGED` is memory of
/// the GPU of that `device_id`, which the kernel's runtime must have opened, as `cuda:0` and so on. The
/// calling thread waits for `sync_event`, which is null or points to a CUDA event, and then has the GPU bring
/// the batch to the host; an event that is not reached in time is `UNLADE_DEVICE_FAULT`. Each buffer must lie
/// inside of one allocation of the GPU's. `output.bytes_copied` counts what was brought, and so does the receipt,
/// in `bytes_from_device`, with the time in `taken_ns`. A batch that a GPU was copying when it failed is never
/// released, as it may still be read.
///
/// A batch that `unlade_resident_export` gave, of the runtime that the kernel is of, and as it was given, is run
/// on where it lies, as `unlade_kernel_run_resident` does; it is released when the result is there. Any other
/// type, and `ARROW_DEVICE_EXT_DEV` from anywhere else, is `UNLADE_UNSUPPORTED`, and says so.
///
/// Results lie in the host's memory, `ARROW_DEVICE_CPU`, and are there when this returns: there is no
/// event. `result` gets the array; `output` all else, and its own array stays released.
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
            true => Err(CDataError::Null("ArrowDeviceArray")),
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
            if let Some(pinned) = Exported::known(array.raw(), &place, &held) {
                let computed = pinned.run(&held, schema)?;
                drop(array);
                return give(result, &mut *output, computed, 0);
            }
            let began = Instant::now();
            let (imported, brought) = match place.on_gpu()? {
                false => (held.import(array, schema)?, None),
                true => {
                    let (imported, bytes) = place.fetch(&held, array, schema)?;
                    (imported, Some((bytes, began.elapsed())))
                }
            };
            let mut computed = held.kernel.run(&imported.batch)?;
            drop(imported.batch);
            let mut copied = imported.realigned;
            if let Some((bytes, taken)) = brought {
                copied += bytes;
                computed.receipt.bytes_from_device += bytes;
                computed.receipt.taken += taken;
            }
            give(result, &mut *output, computed, copied)
        })
    }
}

/// Gives a result, whose array goes to a place of its own.
///
/// # Safety
/// `result` may be written.
unsafe fn give(
    result: *mut ArrowDeviceArray,
    output: &mut unlade_output,
    computed: Output,
    copied: u64,
) -> Result<unlade_code, Failure> {
    output::fill(output, computed, copied)?;
    let array = std::mem::replace(&mut output.array, ArrowArray::released());
    // SAFETY: As the caller vouches.
    unsafe { (*result).array = array };
    Ok(UNLADE_OK)
}

/// An array that is none, in the host's memory.
pub(crate) fn none() -> ArrowDeviceArray {
    ArrowDeviceArray {
        array: ArrowArray::released(),
        device_id: -1,
        device_type: CPU,
        sync_event: std::ptr::null_mut(),
        reserved: [0; 3],
    }
}

/// Where an array's memory is.
pub(crate) struct Place {
    device_type: i32,
    device_id: i64,
    pub(crate) sync_event: *mut c_void,
}

impl Place {
    fn of(array: &ArrowDeviceArray) -> Self {
        Place {
            device_type: array.device_type,
            device_id: array.device_id,
            sync_event: array.sync_event,
        }
    }

    /// The device, by its type and its number.
    pub(crate) fn device(&self) -> (i32, i64) {
        (self.device_type, self.device_id)
    }

    /// Whether a GPU has it; else the host reads it, now.
    fn on_gpu(&self) -> Result<bool, Failure> {
        let refused = |why: String| Err(Failure::new(UNLADE_UNSUPPORTED, why));
        let id = self.device_id;
        match self.device_type {
            CPU | CUDA_HOST if self.sync_event.is_null() => Ok(false),
            CPU | CUDA_HOST => refused(
                "the ArrowDeviceArray has a sync_event and the host's memory: wait for it, and hand it \
                 over without"
                    .to_owned(),
            ),
            CUDA | CUDA_MANAGED => Ok(true),
            EXT_DEV => refused(format!(
                "the ArrowDeviceArray lies in the memory of external device {id}, and is no pinned batch of \
                 the kernel's runtime as unlade_resident_export gave it: such devices have no memory that \
                 others allocate, so copy it to the host"
            )),
            other => refused(format!(
                "the ArrowDeviceArray lies in the memory of a device of type {other}, number {id}, \
                 and there is none here: copy it to the host"
            )),
        }
    }

    /// Has the GPU bring a batch to the host; with how many bytes that were.
    ///
    /// # Safety
    /// As [`unlade_kernel_run_device`].
    unsafe fn fetch(
        &self,
        held: &KernelHeld,
        array: Owned,
        schema: *const ArrowSchema,
    ) -> Result<(Imported, u64), Failure> {
        let gpu = self.gpu(held)?;
        // SAFETY: It is null, or points to an event, as the caller vouches.
        let ready = unsafe { self.sync_event.cast::<usize>().as_ref() };
        let ready = ready.map(|event| ForeignEvent(*event));
        let array = Arc::new(array);
        let mut brought = 0;
        let fetch = |runs: &[Run]| {
            let memory = runs.iter().map(|run| {
                let keep: Arc<dyn Any + Send + Sync> = Arc::clone(&array) as _;
                // SAFETY: The array's memory is there until it is released, and written once its event
                // is reached, as the caller vouches; that it is the GPU's is looked at.
                unsafe { ForeignMemory::new(DeviceAddr(run.address), run.len, ready, keep) }
            });
            let fetched = held.kernel.fetch(&gpu, memory.collect());
            let fetched = fetched.inspect(|buffers| {
                brought += buffers
                    .iter()
                    .map(|buffer| buffer.len() as u64)
                    .sum::<u64>();
            });
            fetched.map_err(|error| match error {
                // Of the array, not of how the runtime was opened.
                unlade::Error::Config(why) => {
                    Failure::malformed(format!("the ArrowDeviceArray is not what it says: {why}"))
                }
                other => other.into(),
            })
        };
        // SAFETY: As the caller vouches, here and below.
        let imported = unsafe {
            let given;
            let schema = match schema.is_null() {
                true => held.kernel.input_schema(),
                false => {
                    given = schema::read(schema)?;
                    &given
                }
            };
            let of = DataType::Struct(schema.fields().clone());
            let fetched = elsewhere::fetched(array.raw(), &of, fetch)?;
            fetched.import(schema, held.rules)?
        };
        Ok((imported, brought))
    }

    /// The name of the GPU, where the kernel's runtime has it.
    fn gpu(&self, held: &KernelHeld) -> Result<String, Failure> {
        let id = self.device_id;
        let names = GPUS.map(|kind| format!("{kind}{id}"));
        let devices = held.kernel.devices();
        let found = names
            .into_iter()
            .find(|name| devices.iter().any(|there| **there == **name));
        found.ok_or_else(|| {
            let why = format!(
                "the ArrowDeviceArray lies in the memory of CUDA device {id}, and the kernel's runtime has \
                 {}: open it with `cuda:{id}` among its devices, or copy the array to the host",
                devices.join(", ")
            );
            Failure::new(UNLADE_UNSUPPORTED, why)
        })
    }
}
