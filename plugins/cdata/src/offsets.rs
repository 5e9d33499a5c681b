//! Offsets for arrays without rows, which may come without.
//!
//! The C Data Interface lets them be null there, and some producers have a pointer to nothing. arrow-rs
//! reads the first nevertheless.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use arrow_schema::DataType;

use crate::elsewhere::children_of;
use crate::import::Owned;
use crate::made::Parts;
use crate::raw::ArrowArray;

/// The first offset of arrays without rows, of either width.
static ZERO: i64 = 0;

/// The same array, where all that is below it and wants offsets has them.
///
/// # Safety
/// It was [looked at](crate::check::check), as of this type.
pub(crate) unsafe fn with_offsets(array: Owned, of: &DataType) -> Owned {
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

/// # Safety
/// As [`with_offsets`].
unsafe fn lacks_some(array: &ArrowArray, of: &DataType) -> bool {
    if array.length == 0 && has_offsets(of) {
        return true;
    }
    // SAFETY: As the caller vouches.
    let mut below = unsafe { below(array, of) };
    // SAFETY: The same.
    below.any(|(array, of)| unsafe { lacks_some(array, of) })
}

/// # Safety
/// As [`with_offsets`]; `keeps` has the array.
unsafe fn copied(array: &ArrowArray, of: &DataType, keeps: &Arc<Owned>) -> ArrowArray {
    // SAFETY: There are as many as were counted.
    let buffer = |position: usize| unsafe { *array.buffers.add(position) };
    let mut buffers: Vec<*const c_void> = (0..array.n_buffers as usize).map(buffer).collect();
    let mut offset = array.offset;
    if array.length == 0 && has_offsets(of) {
        offset = 0;
        buffers[1] = ptr::from_ref(&ZERO).cast();
    }
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
        keeps: Box::new(Arc::clone(keeps)),
    };
    parts.into_array()
}

/// Children, and of a dictionary its values.
///
/// # Safety
/// As [`with_offsets`].
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
