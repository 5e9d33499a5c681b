//! Runtimes: devices, memory and threads.

use std::ffi::c_char;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use unlade::{Fallback, Placement, Runtime, RuntimeBuilder, Trust, WeakRuntime};

use crate::border::{end, enter, place, put};
use crate::code::unlade_code::{self, UNLADE_CONFIG, UNLADE_INTERNAL, UNLADE_OK};
use crate::error::unlade_error;
use crate::failure::Failure;
use crate::handles::{self, Held};
use crate::sized::{self, Grows};
use crate::text;

/// Devices, memory and threads, shared by all kernels that are compiled with it. It ends with the
/// last handle, kernel, ticket, stream and result.
#[allow(non_camel_case_types)]
#[derive(Debug)]
pub struct unlade_runtime {
    _opaque: [u8; 0],
}

/// Of `unlade_runtime_options.flags`: what the chosen device lacks is an error, rather than done by
/// another one.
pub const UNLADE_NO_FALLBACK: u32 = 1;
/// Of `unlade_runtime_options.flags`: what devices give back is copied and checked before it is
/// used.
pub const UNLADE_UNTRUSTED: u32 = 2;
/// Of `unlade_runtime_options.flags`: receipts have predictions, even where there is nothing to
/// choose.
pub const UNLADE_PREDICTIONS: u32 = 4;
/// Of `unlade_runtime_options.flags`: receipts have the host's CPU time.
pub const UNLADE_HOST_CPU: u32 = 8;

const KNOWN_FLAGS: u32 =
    UNLADE_NO_FALLBACK | UNLADE_UNTRUSTED | UNLADE_PREDICTIONS | UNLADE_HOST_CPU;

/// How a runtime is to be. Set all of it to 0, and `struct_size` to its size; what stays 0 is as it
/// usually is.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
pub struct unlade_runtime_options {
    /// `sizeof(struct unlade_runtime_options)`.
    pub struct_size: usize,
    /// The devices, by name, with commas between them: `cpu`, `cuda:0`, `sim`, `sim-gpu`, `sim-dpu`,
    /// `dpu:unix:PATH`, `dpu:0000:3b:00.0`. The CPU is always among them. Null, or `auto`: those that
    /// are present.
    pub devices: *const c_char,
    /// The device that runs queries. Null, or `auto`: the one that is predicted to be the fastest,
    /// which is never a simulated one.
    pub placement: *const c_char,
    /// A file that keeps what was measured on devices from one run to the next. It is written where
    /// batches had a choice of devices, and else left as it is. Null: none.
    pub calibration: *const c_char,
    /// Most bytes that batches may hold at once, results that were not released included. 0: 4 GiB.
    pub memory_budget: u64,
    /// Bytes of pinned memory to reserve at the start. 0: 256 MiB, or the budget where that is less.
    pub pool_reserve: u64,
    /// How long a device may take for one batch before it is held to be lost, in milliseconds. 0: a
    /// minute.
    pub device_timeout_ms: u64,
    /// How many threads compute, for streams and tickets. 0: 1.
    pub threads: u32,
    /// Most tickets that are not done at any time. 0: 1024.
    pub max_tickets: u32,
    /// `UNLADE_NO_FALLBACK` and others, added.
    pub flags: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: It is of plain numbers and pointers; the first is its size.
unsafe impl Grows for unlade_runtime_options {
    const NAME: &'static str = "unlade_runtime_options";
    const FIRST: usize = size_of::<unlade_runtime_options>();
}

/// What is behind a handle.
pub(crate) struct RuntimeHeld(pub(crate) Runtime);

impl Held for RuntimeHeld {
    type Handle = unlade_runtime;
    const KIND: &'static str = "runtime";
}

/// Opens a runtime of one's own. `options` may be null.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_runtime_open(
    options: *const unlade_runtime_options,
    runtime: *mut *mut unlade_runtime,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            place(runtime, "place for the runtime")?;
            let opened = Wanted::read(options)?.open()?;
            put(
                runtime,
                "place for the runtime",
                handles::give(RuntimeHeld(opened)),
            )?;
            Ok(UNLADE_OK)
        })
    }
}

/// Opens the runtime that all of this process share who ask for it so: one pool of memory, one
/// scheduler. The first one says how it is; `options` of later ones are null, or say the same. It
/// ends with the last of them, and what they have made with it.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_runtime_shared(
    options: *const unlade_runtime_options,
    runtime: *mut *mut unlade_runtime,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            place(runtime, "place for the runtime")?;
            let wanted = match options.is_null() {
                true => None,
                false => Some(Wanted::read(options)?),
            };
            let opened = shared(wanted)?;
            put(
                runtime,
                "place for the runtime",
                handles::give(RuntimeHeld(opened)),
            )?;
            Ok(UNLADE_OK)
        })
    }
}

/// Ends a runtime for all who share it: nothing is taken on any more, what is under way is done, and
/// cut off where it is not done within so many milliseconds. How many batches were cut off, and are
/// under way still, is written to `cut_off` and `left`, unless these are null.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_runtime_shutdown(
    runtime: *const unlade_runtime,
    within_ms: u64,
    cut_off: *mut u64,
    left: *mut u64,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            let runtime = handles::get::<RuntimeHeld>(runtime)?;
            // Longer than anybody waits, and short enough to be added to a time.
            const LONGEST: u64 = 1000 * 60 * 60 * 24 * 365;
            let ended = runtime
                .0
                .shutdown(Duration::from_millis(within_ms.min(LONGEST)));
            for (place, count) in [(cut_off, ended.cut_off), (left, ended.left)] {
                if !place.is_null() {
                    place.write(count);
                }
            }
            Ok(UNLADE_OK)
        })
    }
}

/// How a runtime is at the moment, as JSON: devices, memory, sessions, tickets, why work went
/// elsewhere. The text is freed by `unlade_string_free`. It is the snapshot that `unlade top` reads.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_runtime_status_json(
    runtime: *const unlade_runtime,
    json: *mut *mut c_char,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            place(json, "place for the text")?;
            let runtime = handles::get::<RuntimeHeld>(runtime)?;
            text::give(json, &to_json(&runtime.0.snapshot())?)?;
            Ok(UNLADE_OK)
        })
    }
}

/// Frees a handle. What was made with the runtime keeps it. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_runtime_free(runtime: *mut unlade_runtime) -> unlade_code {
    end(|| handles::free::<RuntimeHeld>(runtime))
}

pub(crate) fn to_json(document: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(document)
        .map_err(|error| Failure::new(UNLADE_INTERNAL, error.to_string()))
}

/// The options, read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    /// None: those that are present.
    devices: Option<Vec<String>>,
    placement: Option<String>,
    calibration: Option<String>,
    memory_budget: u64,
    pool_reserve: u64,
    device_timeout_ms: u64,
    threads: u32,
    max_tickets: u32,
    flags: u32,
}

impl Wanted {
    /// # Safety
    /// `options` is null or as the header says.
    unsafe fn read(options: *const unlade_runtime_options) -> Result<Self, Failure> {
        // SAFETY: As the caller vouches, here and below.
        let options = unsafe { sized::read(options)? };
        if options.reserved != 0 {
            return Err(Failure::argument(format!(
                "`reserved` of unlade_runtime_options is {}, and has to be 0",
                options.reserved
            )));
        }
        if options.flags & !KNOWN_FLAGS != 0 {
            return Err(Failure::argument(format!(
                "the flags of unlade_runtime_options are {:#x}, and known are {KNOWN_FLAGS:#x}",
                options.flags
            )));
        }
        // SAFETY: The same.
        let name = |text, what| unsafe { text::optional(text, what) };
        let named = |text, what| -> Result<Option<String>, Failure> {
            let name = name(text, what)?;
            Ok(name.filter(|name| *name != "auto").map(str::to_owned))
        };
        let devices = named(options.devices, "list of devices")?;
        Ok(Wanted {
            devices: devices.map(|names| names.split(',').map(|it| it.trim().to_owned()).collect()),
            placement: named(options.placement, "placement")?,
            calibration: name(options.calibration, "calibration file")?.map(str::to_owned),
            memory_budget: options.memory_budget,
            pool_reserve: options.pool_reserve,
            device_timeout_ms: options.device_timeout_ms,
            threads: options.threads,
            max_tickets: options.max_tickets,
            flags: options.flags,
        })
    }

    fn open(&self) -> Result<Runtime, Failure> {
        let devices = match &self.devices {
            None => unlade::discover(),
            Some(names) => {
                let cpu = (!names.iter().any(|name| name == CPU)).then_some(CPU);
                let names: Vec<&str> = cpu
                    .into_iter()
                    .chain(names.iter().map(String::as_str))
                    .collect();
                unlade::open_devices(&names).map_err(|why| Failure::new(UNLADE_CONFIG, why))?
            }
        };
        let mut builder = devices
            .into_iter()
            .fold(Runtime::builder(), RuntimeBuilder::device);
        if let Some(name) = &self.placement {
            builder = builder.placement(Placement::Device(name.as_str().into()));
        }
        if let Some(file) = &self.calibration {
            builder = builder.calibration(file);
        }
        if self.memory_budget != 0 {
            builder = builder.memory_budget(self.memory_budget);
        }
        if self.pool_reserve != 0 {
            builder = builder.pool_reserve(self.pool_reserve);
        }
        if self.device_timeout_ms != 0 {
            builder = builder.device_timeout(Duration::from_millis(self.device_timeout_ms));
        }
        if self.threads != 0 {
            builder = builder.threads(self.threads as usize);
        }
        if self.max_tickets != 0 {
            builder = builder.max_tickets(self.max_tickets as usize);
        }
        let has = |flag| self.flags & flag != 0;
        if has(UNLADE_NO_FALLBACK) {
            builder = builder.fallback(Fallback::Forbid);
        }
        if has(UNLADE_UNTRUSTED) {
            builder = builder.trust(Trust::Untrusted);
        }
        let builder = builder
            .predictions(has(UNLADE_PREDICTIONS))
            .host_cpu(has(UNLADE_HOST_CPU));
        Ok(builder.build()?)
    }
}

const CPU: &str = "cpu";

/// The runtime that is shared, for as long as somebody has it, and how it was to be.
static SHARED: Mutex<Option<(WeakRuntime, Arc<Wanted>)>> = Mutex::new(None);

fn shared(wanted: Option<Wanted>) -> Result<Runtime, Failure> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let there = shared
        .as_ref()
        .and_then(|(runtime, how)| Some((runtime.upgrade()?, Arc::clone(how))));
    let Some((runtime, how)) = there else {
        let wanted = match wanted {
            Some(wanted) => wanted,
            // SAFETY: Null is allowed.
            None => unsafe { Wanted::read(std::ptr::null())? },
        };
        let opened = wanted.open()?;
        *shared = Some((opened.downgrade(), Arc::new(wanted)));
        return Ok(opened);
    };
    match wanted {
        Some(wanted) if wanted != *how => Err(Failure::new(
            UNLADE_CONFIG,
            format!(
                "this process shares a runtime that is otherwise: {how:?}; ask for {wanted:?} first, or \
                 open one of your own with unlade_runtime_open"
            ),
        )),
        _ => Ok(runtime),
    }
}
