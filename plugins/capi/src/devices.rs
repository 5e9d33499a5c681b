//! The devices of a runtime.

use std::ffi::{CString, c_char};
use std::ptr;

use unlade::DeviceStatus;

use crate::border::{end, enter, place, put, shielded};
use crate::code::unlade_code::{self, UNLADE_INVALID_ARGUMENT, UNLADE_OK};
use crate::error::unlade_error;
use crate::failure::Failure;
use crate::handles::{self, Held};
use crate::runtime::{RuntimeHeld, to_json, unlade_runtime};
use crate::sized::{self, Grows};
use crate::text::c_string;

/// The devices of a runtime, as they were when they were asked for.
#[allow(non_camel_case_types)]
#[derive(Debug)]
pub struct unlade_devices {
    _opaque: [u8; 0],
}

/// A device. Set `struct_size` to its size. Texts live until the list is freed.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
pub struct unlade_device {
    /// `sizeof(struct unlade_device)`.
    pub struct_size: usize,
    /// Its name: `cpu`, `cuda:0`.
    pub name: *const c_char,
    /// `cpu`, `gpu`, `dpu` or `simulator`.
    pub kind: *const c_char,
    /// Its vendor's name for it.
    pub description: *const c_char,
    /// Its PCI address or the like; null where there is none.
    pub address: *const c_char,
    /// `ready`, `on_trial`, `resting`, `reviving` or `lost`.
    pub state: *const c_char,
    /// Memory of its own in bytes; 0 where it uses the host's.
    pub memory: u64,
    /// Bytes of batches that are kept in its memory.
    pub resident_bytes: u64,
    /// Failures since it last worked.
    pub failures: u32,
    /// Work on it at the moment.
    pub in_flight: u32,
}

// SAFETY: It is of plain numbers and pointers; the first is its size.
unsafe impl Grows for unlade_device {
    const NAME: &'static str = "unlade_device";
    const FIRST: usize = size_of::<unlade_device>();
}

/// What is behind a handle.
struct DevicesHeld {
    devices: Vec<(DeviceStatus, Texts)>,
    json: CString,
}

struct Texts {
    name: CString,
    kind: CString,
    description: CString,
    address: Option<CString>,
    state: CString,
}

impl Held for DevicesHeld {
    type Handle = unlade_devices;
    const KIND: &'static str = "list of devices";
}

/// Lists the devices of a runtime.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_runtime_devices(
    runtime: *const unlade_runtime,
    devices: *mut *mut unlade_devices,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            place(devices, "place for the devices")?;
            let status = handles::get::<RuntimeHeld>(runtime)?.0.devices();
            let json = c_string(&to_json(&status)?);
            let devices_held = status.into_iter().map(|status| {
                let texts = Texts::of(&status);
                (status, texts)
            });
            let held = DevicesHeld {
                devices: devices_held.collect(),
                json,
            };
            put(devices, "place for the devices", handles::give(held))?;
            Ok(UNLADE_OK)
        })
    }
}

/// How many there are; 0 for what is no list.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_devices_count(devices: *const unlade_devices) -> usize {
    shielded(0, || {
        handles::get::<DevicesHeld>(devices).map_or(0, |held| held.devices.len())
    })
}

/// Tells of one of them, counted from 0.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_devices_get(
    devices: *const unlade_devices,
    index: usize,
    device: *mut unlade_device,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            let held = handles::get::<DevicesHeld>(devices)?;
            let Some((status, texts)) = held.devices.get(index) else {
                return Err(Failure::new(
                    UNLADE_INVALID_ARGUMENT,
                    format!("there is no device {index} of {}", held.devices.len()),
                ));
            };
            // The handle keeps the texts where they are.
            let known = unlade_device {
                struct_size: 0,
                name: texts.name.as_ptr(),
                kind: texts.kind.as_ptr(),
                description: texts.description.as_ptr(),
                address: texts.address.as_ref().map_or(ptr::null(), |it| it.as_ptr()),
                state: texts.state.as_ptr(),
                memory: status.memory,
                resident_bytes: status.resident_bytes,
                failures: status.failures,
                in_flight: status.in_flight,
            };
            sized::write(device, &known)?;
            Ok(UNLADE_OK)
        })
    }
}

/// All that is known of them, as JSON; null for what is no list. It lives until the list is freed.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_devices_json(devices: *const unlade_devices) -> *const c_char {
    shielded(ptr::null(), || {
        handles::get::<DevicesHeld>(devices).map_or(ptr::null(), |held| held.json.as_ptr())
    })
}

/// Frees the list. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_devices_free(devices: *mut unlade_devices) -> unlade_code {
    end(|| handles::free::<DevicesHeld>(devices))
}

impl Texts {
    fn of(status: &DeviceStatus) -> Self {
        Texts {
            name: c_string(&status.name),
            kind: c_string(status.kind),
            description: c_string(&status.description),
            address: status.address.as_deref().map(c_string),
            state: c_string(status.state.name()),
        }
    }
}
