//! Sessions: those among whom a runtime is shared.

use std::ffi::c_char;
use std::time::Duration;

use unlade::{DeviceRequest, Placement, Priority, Session};

use crate::border::{end, enter, place, put};
use crate::code::unlade_code::{self, UNLADE_OK};
use crate::error::unlade_error;
use crate::failure::Failure;
use crate::handles::{self, Held};
use crate::runtime::{RuntimeHeld, to_json, unlade_runtime};
use crate::sized::{self, Grows};
use crate::text;

/// One who shares a runtime with others, with a share of devices, a budget and a deadline of its
/// own. It ends with the last handle, kernel, ticket and stream.
#[allow(non_camel_case_types)]
#[derive(Debug)]
pub struct unlade_session {
    _opaque: [u8; 0],
}

/// Of `unlade_session_options.priority`.
pub const UNLADE_PRIORITY_NORMAL: i32 = 0;
/// Of `unlade_session_options.priority`: after all others.
pub const UNLADE_PRIORITY_BACKGROUND: i32 = -1;
/// Of `unlade_session_options.priority`: before all others.
pub const UNLADE_PRIORITY_INTERACTIVE: i32 = 1;

/// How a session is to be. Set all of it to 0, and `struct_size` to its size; what stays 0 is as it
/// usually is.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
pub struct unlade_session_options {
    /// `sizeof(struct unlade_session_options)`.
    pub struct_size: usize,
    /// What messages call it. Null: `session`.
    pub label: *const c_char,
    /// Devices to count on, with commas between them: `gpu=0.5`, `dpu=2`, `cuda:0=1`. It then runs on
    /// those and on the CPU. Null: none, and it runs wherever the runtime does.
    pub devices: *const c_char,
    /// The device that runs its queries. Null: as the runtime has it.
    pub placement: *const c_char,
    /// Most bytes that its batches may hold at once. 0: all of the runtime's.
    pub memory_budget: u64,
    /// When its batches end at the latest, in milliseconds from now. 0: never.
    pub deadline_ms: u64,
    /// How long to wait for the devices where others hold them, in milliseconds.
    pub patience_ms: u64,
    /// Its share of devices' time beside others. 0: 1.
    pub weight: u32,
    /// `UNLADE_PRIORITY_NORMAL` or another one.
    pub priority: i32,
}

// SAFETY: It is of plain numbers and pointers; the first is its size.
unsafe impl Grows for unlade_session_options {
    const NAME: &'static str = "unlade_session_options";
    const FIRST: usize = size_of::<unlade_session_options>();
}

/// What is behind a handle.
pub(crate) struct SessionHeld(pub(crate) Session);

impl Held for SessionHeld {
    type Handle = unlade_session;
    const KIND: &'static str = "session";
}

/// Opens a session, once it has its devices. `options` may be null.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_session_open(
    runtime: *const unlade_runtime,
    options: *const unlade_session_options,
    session: *mut *mut unlade_session,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            place(session, "place for the session")?;
            let runtime = handles::get::<RuntimeHeld>(runtime)?;
            let options = sized::read(options)?;
            let label = text::optional(options.label, "label")?.unwrap_or("session");
            let mut builder = runtime.0.session(label).priority(priority(&options)?);
            for request in text::optional(options.devices, "devices")?
                .into_iter()
                .flat_map(|devices| devices.split(','))
            {
                builder = builder.device(request.trim().parse::<DeviceRequest>()?);
            }
            match text::optional(options.placement, "placement")? {
                None => {}
                Some("auto") => builder = builder.placement(Placement::Auto),
                Some(name) => builder = builder.placement(Placement::Device(name.into())),
            }
            if options.weight != 0 {
                builder = builder.weight(options.weight);
            }
            if options.memory_budget != 0 {
                builder = builder.memory_budget(options.memory_budget);
            }
            if options.deadline_ms != 0 {
                builder = builder.deadline(Duration::from_millis(options.deadline_ms));
            }
            let opened = builder
                .patience(Duration::from_millis(options.patience_ms))
                .open()?;
            let handle = handles::give(SessionHeld(opened));
            put(session, "place for the session", handle)?;
            Ok(UNLADE_OK)
        })
    }
}

fn priority(options: &unlade_session_options) -> Result<Priority, Failure> {
    match options.priority {
        UNLADE_PRIORITY_BACKGROUND => Ok(Priority::Background),
        UNLADE_PRIORITY_NORMAL => Ok(Priority::Normal),
        UNLADE_PRIORITY_INTERACTIVE => Ok(Priority::Interactive),
        other => Err(Failure::argument(format!(
            "there is no priority {other}; there are -1, 0 and 1"
        ))),
    }
}

/// Ends everything that the session has under way, with `UNLADE_CANCELLED`, and refuses the rest.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_session_cancel(
    session: *const unlade_session,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches.
    unsafe {
        enter(error, || {
            handles::get::<SessionHeld>(session)?.0.cancel();
            Ok(UNLADE_OK)
        })
    }
}

/// How a session fares at the moment, as JSON: memory, devices, batches, time on devices. The text is
/// freed by `unlade_string_free`.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_session_status_json(
    session: *const unlade_session,
    json: *mut *mut c_char,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            place(json, "place for the text")?;
            let session = handles::get::<SessionHeld>(session)?;
            text::give(json, &to_json(&session.0.status())?)?;
            Ok(UNLADE_OK)
        })
    }
}

/// Frees a handle. What was made with the session keeps it. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_session_free(session: *mut unlade_session) -> unlade_code {
    end(|| handles::free::<SessionHeld>(session))
}
