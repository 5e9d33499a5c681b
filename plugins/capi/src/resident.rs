//! Batches that stay in a device's memory across calls.

use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::SchemaRef;
use unlade::{Output, Resident};
use unlade_cdata::export;
use unlade_cdata::import::Rules;
use unlade_cdata::raw::{ArrowArrayStream, ArrowSchema};
use unlade_cdata::stream::{Input, Reader};

use crate::border::{end, enter, place, put};
use crate::code::unlade_code::{self, UNLADE_LIMIT, UNLADE_OK};
use crate::error::unlade_error;
use crate::failure::Failure;
use crate::handles::{self, Held};
use crate::kernel::{KernelHeld, rules, unlade_kernel};
use crate::output::{self, unlade_output};
use crate::runtime::{RuntimeHeld, unlade_runtime};
use crate::sized::{self, Grows};
use crate::text::{self, c_string};

/// Batches that stay in a device's memory across calls, and on the host as well. They leave both when
/// the handle is freed and nothing that was exported of them is left.
#[allow(non_camel_case_types)]
#[derive(Debug)]
pub struct unlade_resident {
    _opaque: [u8; 0],
}

/// How batches are pinned. Set all of it to 0, and `struct_size` to its size.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
pub struct unlade_pin_options {
    /// `sizeof(struct unlade_pin_options)`.
    pub struct_size: usize,
    /// The device, by its name: `cuda:0`. Null: the first that has memory of its own, which is never a
    /// simulated one such as `sim`.
    pub device: *const c_char,
    /// How batches are looked at: `UNLADE_CHECK_OFFSETS` or another one.
    pub check: u32,
    /// `UNLADE_ONLY_ALIGNED`, or 0.
    pub flags: u32,
}

// SAFETY: It is of plain numbers and pointers; the first is its size.
unsafe impl Grows for unlade_pin_options {
    const NAME: &'static str = "unlade_pin_options";
    const FIRST: usize = size_of::<unlade_pin_options>();
}

/// What is pinned, and how much of it is on the device at the moment. Set `struct_size` to its size.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
pub struct unlade_resident_status {
    /// `sizeof(struct unlade_resident_status)`.
    pub struct_size: usize,
    /// The name of the device, which lives until the handle is freed; null where that has no memory of
    /// its own, and the batches lie in the host's.
    pub device: *const c_char,
    /// How many batches were pinned.
    pub batches: u64,
    /// How many of them are on the device. The others were moved out to make room, or were lost with the
    /// device, and are sent there again when they are next used.
    pub batches_on_device: u64,
    /// Rows of all of them.
    pub rows: u64,
    /// Bytes that those on the device take there, and what was sent beside them to be exported.
    pub bytes_on_device: u64,
    /// Bytes that were copied on the host as the batches came in, since they lay less aligned than their
    /// width.
    pub bytes_copied: u64,
}

// SAFETY: It is of plain numbers and pointers; the first is its size.
unsafe impl Grows for unlade_resident_status {
    const NAME: &'static str = "unlade_resident_status";
    const FIRST: usize = size_of::<unlade_resident_status>();
}

/// Most batches that are pinned at once: a stream without an end has one here.
const MOST_BATCHES: usize = 1 << 20;

/// What is behind a handle.
#[derive(Debug)]
pub(crate) struct ResidentHeld {
    pub(crate) resident: Resident,
    pub(crate) schema: SchemaRef,
    /// The name of the device that the batches are on.
    device: Option<CString>,
    realigned: u64,
}

impl Held for ResidentHeld {
    type Handle = unlade_resident;
    const KIND: &'static str = "pinned data";
}

/// Pins all batches of an Arrow stream: sends them to a device's memory, where they stay for
/// `unlade_kernel_run_resident`. The stream is handed over whatever comes of it, and is read to its end here.
/// `options` may be null.
///
/// Columns of fixed width are sent, and strings where the device compacts them; the others, and what finds no
/// room, stay on the host, which keeps all of it. What was unused for longest makes room for what is pinned
/// later. On a device without memory of its own, as `cpu` and cards are, there is nothing to send.
///
/// # Safety
/// Pointers are null or as the header says; the stream is as the C Stream Interface says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_runtime_pin(
    runtime: *const unlade_runtime,
    input: *mut ArrowArrayStream,
    options: *const unlade_pin_options,
    resident: *mut *mut unlade_resident,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        let input = Input::take(input);
        enter(error, || {
            place(resident, "place for the pinned data")?;
            let runtime = handles::get::<RuntimeHeld>(runtime)?;
            let options = sized::read(options)?;
            let rules = rules("unlade_pin_options", options.check, options.flags)?;
            let device = text::optional(options.device, "device")?;
            let held = ResidentHeld::pin(&runtime, input?, rules, device)?;
            put(resident, "place for the pinned data", handles::give(held))?;
            Ok(UNLADE_OK)
        })
    }
}

/// Runs a kernel on one of the batches that were pinned, counted from 0, where it lies: on the device that has
/// it, unless another is predicted to be faster, or it fails. The kernel is one of the runtime that pinned it.
/// A query that calls users' functions runs on the batch as the host has it.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_kernel_run_resident(
    kernel: *const unlade_kernel,
    resident: *const unlade_resident,
    batch: usize,
    output: *mut unlade_output,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        let begun = output::begin(output);
        enter(error, || {
            begun?;
            let kernel = handles::get::<KernelHeld>(kernel)?;
            let held = handles::get::<ResidentHeld>(resident)?;
            let result = held.run(&kernel, batch)?;
            output::fill(&mut *output, result, 0)?;
            Ok(UNLADE_OK)
        })
    }
}

/// Tells what is pinned, and how much of it is on the device at the moment.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_resident_read(
    resident: *const unlade_resident,
    status: *mut unlade_resident_status,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            let held = handles::get::<ResidentHeld>(resident)?;
            let batches = held.resident.batches();
            let known = unlade_resident_status {
                struct_size: 0,
                // The handle keeps it where it is.
                device: held.device().map_or(ptr::null(), |(name, _)| name.as_ptr()),
                batches: batches.len() as u64,
                batches_on_device: held.resident.batches_on_device() as u64,
                rows: batches.iter().map(|batch| batch.num_rows() as u64).sum(),
                bytes_on_device: held.resident.bytes_on_device(),
                bytes_copied: held.realigned,
            };
            sized::write(status, &known)?;
            Ok(UNLADE_OK)
        })
    }
}

/// The schema of the batches, as their stream told it.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_resident_schema(
    resident: *const unlade_resident,
    schema: *mut ArrowSchema,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            put(schema, "ArrowSchema", ArrowSchema::released())?;
            let held = handles::get::<ResidentHeld>(resident)?;
            put(schema, "ArrowSchema", export::schema(&held.schema)?)?;
            Ok(UNLADE_OK)
        })
    }
}

/// Frees a handle. Results stay, and what was exported keeps what it needs. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_resident_free(resident: *mut unlade_resident) -> unlade_code {
    end(|| handles::free::<ResidentHeld>(resident))
}

impl ResidentHeld {
    fn pin(
        runtime: &RuntimeHeld,
        input: Input,
        rules: Rules,
        device: Option<&str>,
    ) -> Result<Self, Failure> {
        let runtime = &runtime.0;
        let reader = Reader::read(input, rules)?;
        let (schema, realigned) = (reader.schema(), reader.realigned());
        let mut batches: Vec<RecordBatch> = Vec::new();
        for batch in reader {
            if batches.len() == MOST_BATCHES {
                let what = format!(
                    "the stream has more than {MOST_BATCHES} batches to pin: make it fewer, larger ones"
                );
                return Err(Failure::new(UNLADE_LIMIT, what));
            }
            batches.push(batch.map_err(|error| unlade::Error::Input(Arc::new(error)))?);
        }
        let resident = runtime.pin(&batches, device)?;
        let device = resident.device().map(|name| c_string(&name));
        Ok(ResidentHeld {
            resident,
            schema,
            device,
            realigned: realigned.load(Ordering::Relaxed),
        })
    }

    /// What a kernel makes of one batch.
    pub(crate) fn run(&self, kernel: &KernelHeld, batch: usize) -> Result<Output, Failure> {
        self.batch(batch)?;
        Ok(kernel.kernel.run_resident_batch(&self.resident, batch)?)
    }

    /// One batch, as the host has it.
    pub(crate) fn batch(&self, batch: usize) -> Result<&RecordBatch, Failure> {
        let batches = self.resident.batches();
        batches.get(batch).ok_or_else(|| {
            let count = batches.len();
            Failure::argument(format!(
                "there is no batch {batch} of {count} that were pinned, counted from 0"
            ))
        })
    }

    /// The name of the device that the batches are on, and its place among those of the runtime.
    pub(crate) fn device(&self) -> Option<(&CStr, usize)> {
        Some((self.device.as_deref()?, self.resident.device_position()?))
    }
}
