//! Receipts: what ran where, why, and what it cost.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;
use std::time::Duration;

use unlade::{ClockKind, PartReceipt, Path, Receipt, Verified};

use crate::border::{end, enter, shielded};
use crate::code::unlade_code::{self, UNLADE_INVALID_ARGUMENT, UNLADE_OK};
use crate::error::unlade_error;
use crate::failure::Failure;
use crate::handles::{self, Held};
use crate::runtime::to_json;
use crate::sized::{self, Grows};
use crate::text::c_string;

/// What became of a batch.
#[allow(non_camel_case_types)]
#[derive(Debug)]
pub struct unlade_receipt {
    _opaque: [u8; 0],
}

/// A time that is not known.
pub const UNLADE_UNKNOWN_TIME: u64 = u64::MAX;

/// What a receipt says of a batch, in rows, bytes and nanoseconds; docs/RECEIPTS.md has every field.
/// Set `struct_size` to its size.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
pub struct unlade_receipt_figures {
    /// `sizeof(struct unlade_receipt_figures)`.
    pub struct_size: usize,
    /// Number of the batch among those that its kernel has taken, from 0.
    pub batch: u64,
    /// Batches that were done at once, this one included.
    pub together: u64,
    /// Rows handed over.
    pub rows_in: u64,
    /// Rows given back.
    pub rows_out: u64,
    /// Bytes of the columns that were read.
    pub bytes_in: u64,
    /// Bytes of the columns given back.
    pub bytes_out: u64,
    /// Bytes of payload written while compacting it.
    pub bytes_copied: u64,
    /// Bytes copied to devices.
    pub bytes_to_device: u64,
    /// Bytes copied from devices.
    pub bytes_from_device: u64,
    /// Time that it took, by the runtime's clock.
    pub taken_ns: u64,
    /// Time that it was expected to take, by the clock of the device; `UNLADE_UNKNOWN_TIME` where
    /// nobody asked.
    pub predicted_ns: u64,
    /// The host's CPU time; `UNLADE_UNKNOWN_TIME` unless the runtime has `UNLADE_HOST_CPU`.
    pub host_cpu_ns: u64,
    /// How often work was repeated.
    pub retries: u32,
    /// How many parts there are, for `unlade_receipt_part`.
    pub parts: u32,
    /// 1 where the CPU computed the result, which is the reference; 0 where nothing but a device
    /// vouches for it.
    pub is_reference: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: It is of plain numbers; the first is its size.
unsafe impl Grows for unlade_receipt_figures {
    const NAME: &'static str = "unlade_receipt_figures";
    const FIRST: usize = size_of::<unlade_receipt_figures>();
}

/// What one device did for a batch. Set `struct_size` to its size. Texts live until the receipt is
/// freed; times are `UNLADE_UNKNOWN_TIME` where the device does not tell them.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
pub struct unlade_receipt_part_figures {
    /// `sizeof(struct unlade_receipt_part_figures)`.
    pub struct_size: usize,
    /// The device's name.
    pub device: *const c_char,
    /// Why this device, in words.
    pub reason: *const c_char,
    /// `inline`, `queued`, or `fallback` in place of a device that was meant to run it.
    pub path: *const c_char,
    /// The clock of its times: `wall` or `virtual`.
    pub clock: *const c_char,
    /// Rows that it took.
    pub rows: u64,
    /// Time waiting for the device.
    pub queued_ns: u64,
    /// Time copying to the device.
    pub copy_in_ns: u64,
    /// Time computing.
    pub compute_ns: u64,
    /// Time copying from the device.
    pub copy_out_ns: u64,
    /// 1 where it ended in a result; 0 where its device failed and the work was repeated.
    pub is_complete: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: It is of plain numbers and pointers; the first is its size.
unsafe impl Grows for unlade_receipt_part_figures {
    const NAME: &'static str = "unlade_receipt_part_figures";
    const FIRST: usize = size_of::<unlade_receipt_part_figures>();
}

/// What is behind a handle.
pub(crate) struct ReceiptHeld {
    receipt: Receipt,
    /// Made when they are first asked for.
    texts: OnceLock<Vec<Texts>>,
    json: OnceLock<CString>,
}

struct Texts {
    device: CString,
    reason: CString,
}

impl Held for ReceiptHeld {
    type Handle = unlade_receipt;
    const KIND: &'static str = "receipt";
}

impl ReceiptHeld {
    pub(crate) fn new(receipt: Receipt) -> Self {
        ReceiptHeld {
            receipt,
            texts: OnceLock::new(),
            json: OnceLock::new(),
        }
    }
}

/// Reads a receipt.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_receipt_read(
    receipt: *const unlade_receipt,
    figures: *mut unlade_receipt_figures,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            let held = handles::get::<ReceiptHeld>(receipt)?;
            let receipt = &held.receipt;
            let known = unlade_receipt_figures {
                struct_size: 0,
                batch: receipt.batch,
                together: receipt.together,
                rows_in: receipt.rows_in,
                rows_out: receipt.rows_out,
                bytes_in: receipt.bytes_in,
                bytes_out: receipt.bytes_out,
                bytes_copied: receipt.bytes_copied,
                bytes_to_device: receipt.bytes_to_device,
                bytes_from_device: receipt.bytes_from_device,
                taken_ns: nanos(Some(receipt.taken)),
                predicted_ns: nanos(receipt.predicted),
                host_cpu_ns: nanos(receipt.host_cpu),
                retries: receipt.retries,
                parts: u32::try_from(receipt.parts.len()).unwrap_or(u32::MAX),
                is_reference: u32::from(receipt.verified == Verified::Reference),
                reserved: 0,
            };
            sized::write(figures, &known)?;
            Ok(UNLADE_OK)
        })
    }
}

/// Reads one part of a receipt, counted from 0: what one device did.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_receipt_part(
    receipt: *const unlade_receipt,
    index: usize,
    part: *mut unlade_receipt_part_figures,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            let held = handles::get::<ReceiptHeld>(receipt)?;
            let texts = held.texts.get_or_init(|| {
                let texts = held.receipt.parts.iter().map(|part| Texts {
                    device: c_string(&part.device),
                    reason: c_string(&part.reason.to_string()),
                });
                texts.collect()
            });
            let Some((figures, texts)) = held.receipt.parts.get(index).zip(texts.get(index)) else {
                return Err(Failure::new(
                    UNLADE_INVALID_ARGUMENT,
                    format!("there is no part {index} of {}", held.receipt.parts.len()),
                ));
            };
            // The handle keeps the texts where they are.
            sized::write(part, &read(figures, texts))?;
            Ok(UNLADE_OK)
        })
    }
}

fn read(part: &PartReceipt, texts: &Texts) -> unlade_receipt_part_figures {
    let known = |time: Duration| nanos(part.is_timed().then_some(time));
    unlade_receipt_part_figures {
        struct_size: 0,
        device: texts.device.as_ptr(),
        reason: texts.reason.as_ptr(),
        path: match part.path {
            Path::Inline => c"inline",
            Path::Queued => c"queued",
            Path::Fallback => c"fallback",
            _ => c"other",
        }
        .as_ptr(),
        clock: match part.clock {
            ClockKind::Wall => c"wall",
            ClockKind::Virtual => c"virtual",
        }
        .as_ptr(),
        rows: part.rows,
        queued_ns: known(part.queued),
        copy_in_ns: known(part.copy_in),
        compute_ns: known(part.compute),
        copy_out_ns: known(part.copy_out),
        is_complete: u32::from(part.completed),
        reserved: 0,
    }
}

/// A receipt as JSON, as docs/RECEIPTS.md describes it; null for what is no receipt. It lives until
/// the receipt is freed.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_receipt_json(receipt: *const unlade_receipt) -> *const c_char {
    shielded(std::ptr::null(), || {
        let Ok(held) = handles::get::<ReceiptHeld>(receipt) else {
            return std::ptr::null();
        };
        let json =
            || to_json(&held.receipt).map_or_else(|_| CString::default(), |it| c_string(&it));
        held.json.get_or_init(json).as_ptr()
    })
}

/// Frees a receipt. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn unlade_receipt_free(receipt: *mut unlade_receipt) -> unlade_code {
    end(|| handles::free::<ReceiptHeld>(receipt))
}

fn nanos(time: Option<Duration>) -> u64 {
    time.and_then(|time| u64::try_from(time.as_nanos()).ok())
        .unwrap_or(UNLADE_UNKNOWN_TIME)
}
