//! Results.

use std::ptr;

use unlade::Output;
use unlade_cdata::export;
use unlade_cdata::raw::{ArrowArray, ArrowSchema};

use crate::border::end;
use crate::code::unlade_code;
use crate::failure::Failure;
use crate::handles;
use crate::receipt::{ReceiptHeld, unlade_receipt};

/// Of `unlade_output.want`: the schema beside the array.
pub const UNLADE_WANT_SCHEMA: u32 = 1;

/// Of `unlade_output.want`: the receipt.
pub const UNLADE_WANT_RECEIPT: u32 = 2;

const KNOWN_WANTS: u32 = UNLADE_WANT_SCHEMA | UNLADE_WANT_RECEIPT;

/// A result. Set `struct_size` and `want` before a call; the call sets all else, also where it fails.
/// What is in it is the caller's: to release part by part, or by `unlade_output_release`, or to move
/// on, as the C Data Interface has it: by a copy of the struct, after which `release`, or `receipt`,
/// is set to null here.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Debug)]
pub struct unlade_output {
    /// `sizeof(struct unlade_output)`.
    pub struct_size: usize,
    /// `UNLADE_WANT_SCHEMA` and others, added.
    pub want: u32,
    /// 0.
    pub reserved: u32,
    /// The query's columns, as a struct, for the rows that it keeps. It may have memory in it of the
    /// batch that was handed over, which is released with it then.
    pub array: ArrowArray,
    /// Its schema, if that is wanted; else it is released. `unlade_kernel_schema` gives the same one.
    pub schema: ArrowSchema,
    /// Which rows were kept, as booleans, where the query asks for it; else it is released.
    pub mask: ArrowArray,
    /// What ran where, and what it cost, if that is wanted; else null.
    pub receipt: *mut unlade_receipt,
    /// Bytes that were copied as the batch came in and the result went out: of values that lay less
    /// aligned than their width, and bitmaps of nulls that began at another bit than the values. 0
    /// says that columns were read where they were, and are put out where they were computed.
    pub bytes_copied: u64,
}

/// Releases everything in a result. Null, and what was released or moved on, is passed over.
///
/// # Safety
/// `output` is null or a result that a call has set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_output_release(output: *mut unlade_output) -> unlade_code {
    if output.is_null() {
        return unlade_code::UNLADE_OK;
    }
    // SAFETY: As the caller vouches.
    let output = unsafe { &mut *output };
    // SAFETY: They are as the C Data Interface has them.
    unsafe {
        for array in [&mut output.array, &mut output.mask] {
            if let Some(release) = array.release {
                release(array);
            }
        }
        if let Some(release) = output.schema.release {
            release(&mut output.schema);
        }
    }
    let receipt = std::mem::replace(&mut output.receipt, ptr::null_mut());
    end(|| handles::free::<ReceiptHeld>(receipt))
}

impl unlade_output {
    /// None yet.
    pub fn wanting(want: u32) -> Self {
        unlade_output {
            struct_size: size_of::<unlade_output>(),
            want,
            reserved: 0,
            array: ArrowArray::released(),
            schema: ArrowSchema::released(),
            mask: ArrowArray::released(),
            receipt: ptr::null_mut(),
            bytes_copied: 0,
        }
    }
}

/// Looks at where a result is to go, and has nothing there. It comes before a call enters, so that it
/// is done in a forked child, too.
///
/// # Safety
/// `output` is null or points to as many bytes as its first field says.
pub(crate) unsafe fn begin(output: *mut unlade_output) -> Result<(), Failure> {
    if output.is_null() {
        return Err(Failure::null("unlade_output"));
    }
    // SAFETY: They are its first fields.
    let (size, want) = unsafe { ((*output).struct_size, (*output).want) };
    // There was no other size yet.
    if size != size_of::<unlade_output>() {
        return Err(Failure::argument(format!(
            "the `struct_size` of unlade_output is {size}; set it to sizeof(struct unlade_output)"
        )));
    }
    // SAFETY: It has this size, and holds nothing yet.
    unsafe { output.write(unlade_output::wanting(want)) };
    check_want(want)
}

pub(crate) fn check_want(want: u32) -> Result<(), Failure> {
    match want & !KNOWN_WANTS {
        0 => Ok(()),
        unknown => Err(Failure::argument(format!(
            "there is nothing {unknown:#x} to want of a result"
        ))),
    }
}

/// Fills a result; the batch that was handed over had so many bytes copied.
pub(crate) fn fill(
    output: &mut unlade_output,
    result: Output,
    realigned: u64,
) -> Result<(), Failure> {
    if output.want & UNLADE_WANT_SCHEMA != 0 {
        output.schema = export::schema(result.batch.schema_ref())?;
    }
    if let Some(mask) = &result.mask {
        output.mask = export::column(mask);
    }
    let (array, copied) = export::batch(&result.batch);
    output.array = array;
    output.bytes_copied = realigned + copied;
    if output.want & UNLADE_WANT_RECEIPT != 0 {
        output.receipt = handles::give(ReceiptHeld::new(result.receipt));
    }
    Ok(())
}
