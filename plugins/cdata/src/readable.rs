//! Arrays as arrow-rs can read them, where they are right and it could not.
//!
//! - Of arrays without rows offsets may be null, and some producers have a pointer to nothing: arrow-rs
//!   reads the first nevertheless.
//! - Of strings it reads the last offset, and of views the lengths of their buffers, where they lie, which
//!   is before it copies what is not aligned.
//! - Arrays of nulls may have a place for a bitmap, which it does not know.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use arrow_buffer::Buffer;
use arrow_schema::DataType;

use crate::elsewhere::children_of;
use crate::import::Owned;
use crate::made::Parts;
use crate::raw::ArrowArray;

/// The first offset of arrays without rows, of either width.
static ZERO: i64 = 0;

/// The same array, as far as arrow-rs can read it, and made anew around its buffers otherwise.
///
/// # Safety
/// It was [looked at](crate::check::check), as of this type.
pub(crate) unsafe fn readable(array: Owned, of: &DataType) -> Owned {
    // SAFETY: As the caller vouches.
    if unsafe { !lacks_some(array.raw(), of) } {
        return array;
    }
    let keeps = Arc::new(array);
    // SAFETY: As the caller vouches.
    let mut copy = unsafe { copied(keeps.raw(), of, &keeps) };
    // SAFETY: It is here.
    unsafe { Owned::take(&raw mut copy) }.expect("it is no null pointer")
}

/// Whether arrays of a type have offsets, one more than rows.
pub(crate) fn has_offsets(of: &DataType) -> bool {
    matches!(
        of,
        DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::List(_)
            | DataType::LargeList(_)
            | DataType::Map(..)
    )
}

/// What arrow-rs cannot read of an array where it lies, and is to read instead.
enum Instead {
    /// One offset, for no rows.
    Zero,
    /// A copy of so many bytes of the buffer at this position.
    Copy { position: usize, bytes: usize },
    /// No buffers.
    Without,
}

/// # Safety
/// As [`readable`].
unsafe fn instead(array: &ArrowArray, of: &DataType) -> Option<Instead> {
    if has_offsets(of) && array.length == 0 {
        return Some(Instead::Zero);
    }
    let offsets = (array.offset + array.length) as usize + 1;
    let buffers = array.n_buffers as usize;
    let (position, numbers, width) = match of {
        DataType::Utf8 | DataType::Binary => (1, offsets, size_of::<i32>()),
        DataType::LargeUtf8 | DataType::LargeBinary => (1, offsets, size_of::<i64>()),
        // Validity, views and the lengths themselves have none.
        DataType::Utf8View | DataType::BinaryView => (buffers - 1, buffers - 3, size_of::<i64>()),
        DataType::Null if buffers > 0 => return Some(Instead::Without),
        _ => return None,
    };
    // SAFETY: There are as many as were counted.
    let start = unsafe { *array.buffers.add(position) };
    let bytes = numbers * width;
    // The width of these is their alignment.
    (start.align_offset(width) != 0).then_some(Instead::Copy { position, bytes })
}

/// # Safety
/// As [`readable`].
unsafe fn lacks_some(array: &ArrowArray, of: &DataType) -> bool {
    // SAFETY: As the caller vouches.
    if unsafe { instead(array, of) }.is_some() {
        return true;
    }
    // SAFETY: As the caller vouches.
    let mut below = unsafe { below(array, of) };
    // SAFETY: The same.
    below.any(|(array, of)| unsafe { lacks_some(array, of) })
}

/// # Safety
/// As [`readable`]; `keeps` has the array.
unsafe fn copied(array: &ArrowArray, of: &DataType, keeps: &Arc<Owned>) -> ArrowArray {
    // SAFETY: There are as many as were counted.
    let buffer = |position: usize| unsafe { *array.buffers.add(position) };
    let mut buffers: Vec<*const c_void> = (0..array.n_buffers as usize).map(buffer).collect();
    let mut offset = array.offset;
    // SAFETY: As the caller vouches.
    let copy = match unsafe { instead(array, of) } {
        None => None,
        Some(Instead::Zero) => {
            offset = 0;
            buffers[1] = ptr::from_ref(&ZERO).cast();
            None
        }
        Some(Instead::Without) => {
            buffers.clear();
            None
        }
        Some(Instead::Copy { position, bytes }) => {
            // SAFETY: It has one for each row or buffer, as was looked at.
            let there = unsafe { std::slice::from_raw_parts(buffers[position].cast(), bytes) };
            let copy = Buffer::from(there);
            buffers[position] = copy.as_ptr().cast();
            Some(copy)
        }
    };
    // SAFETY: As the caller vouches.
    let below = unsafe { below(array, of) };
    let mut copies: Vec<_> = below
        // SAFETY: The same.
        .map(|(array, of)| unsafe { copied(array, of, keeps) })
        .collect();
    let dictionary = match of {
        DataType::Dictionary(..) => copies.pop(),
        _ => None,
    };
    let parts = Parts {
        length: array.length,
        null_count: array.null_count,
        offset,
        buffers,
        children: copies,
        dictionary,
        keeps: Box::new((Arc::clone(keeps), copy)),
    };
    parts.into_array()
}

/// Children, and of a dictionary its values.
///
/// # Safety
/// As [`readable`].
unsafe fn below<'a>(
    array: &'a ArrowArray,
    of: &'a DataType,
) -> impl Iterator<Item = (&'a ArrowArray, &'a DataType)> {
    let children = children_of(of).into_iter().enumerate();
    let children = children.map(|(position, of)| {
        // SAFETY: There are as many as the type has, as was looked at.
        (unsafe { &**array.children.add(position) }, of)
    });
    let dictionary = match of {
        // SAFETY: It is there, as was looked at.
        DataType::Dictionary(_, values) => Some((unsafe { &*array.dictionary }, &**values)),
        _ => None,
    };
    children.chain(dictionary)
}
