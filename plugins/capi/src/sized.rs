//! Structs that grow: their first field says how much of one the caller knows.
//!
//! New fields come at the end, and 0 in one means what was meant before there was any. A caller that
//! was built against a smaller struct reads and writes less; one that was built against a larger
//! struct is understood as long as it uses nothing of what came later.

use std::mem::MaybeUninit;

use crate::failure::Failure;

/// A struct whose first field, a `size_t`, says how large the caller's is.
///
/// # Safety
/// It is `repr(C)`, its first field is a `usize`, and every bit pattern is a value of it.
pub(crate) unsafe trait Grows: Copy {
    /// What errors call it.
    const NAME: &'static str;
    /// Its size in the first version of it.
    const FIRST: usize;
}

/// Larger sizes than that are no size.
const MOST: usize = 1 << 16;

/// The caller's struct; all 0 where there is none.
///
/// # Safety
/// `given` is null or points to as many bytes as its first field says.
pub(crate) unsafe fn read<T: Grows>(given: *const T) -> Result<T, Failure> {
    let mut known = MaybeUninit::<T>::zeroed();
    if !given.is_null() {
        // SAFETY: As the caller vouches.
        let size = unsafe { size_of_given(given)? };
        let both = size.min(size_of::<T>());
        // SAFETY: Both have so many bytes; one was made here.
        unsafe {
            std::ptr::copy_nonoverlapping(given.cast::<u8>(), known.as_mut_ptr().cast(), both);
        };
        // SAFETY: The rest is within what the caller says there is.
        let rest = unsafe {
            std::slice::from_raw_parts(given.cast::<u8>().add(both), size.saturating_sub(both))
        };
        if rest.iter().any(|byte| *byte != 0) {
            return Err(Failure::argument(format!(
                "{} has fields set that this version of the library, {}, does not know",
                T::NAME,
                env!("CARGO_PKG_VERSION")
            )));
        }
    }
    // SAFETY: Every bit pattern is a value.
    Ok(unsafe { known.assume_init() })
}

/// Fills the caller's struct, as much as there is of it, but for its first field.
///
/// # Safety
/// `place` is null or points to as many bytes as its first field says, which may be written.
pub(crate) unsafe fn write<T: Grows>(place: *mut T, value: &T) -> Result<(), Failure> {
    if place.is_null() {
        return Err(Failure::null(T::NAME));
    }
    // SAFETY: As the caller vouches.
    let size = unsafe { size_of_given(place)? };
    let (start, both) = (size_of::<usize>(), size.min(size_of::<T>()));
    // SAFETY: Both have so many bytes, and the caller's may be written.
    unsafe {
        std::ptr::copy_nonoverlapping(
            std::ptr::from_ref(value).cast::<u8>().add(start),
            place.cast::<u8>().add(start),
            both - start,
        );
    }
    Ok(())
}

/// # Safety
/// `given` points to a `usize` at least.
unsafe fn size_of_given<T: Grows>(given: *const T) -> Result<usize, Failure> {
    // SAFETY: It is the first field.
    let size = unsafe { given.cast::<usize>().read() };
    if !(T::FIRST..=MOST).contains(&size) {
        return Err(Failure::argument(format!(
            "the `struct_size` of {} is {size}; set it to sizeof(struct {})",
            T::NAME,
            T::NAME
        )));
    }
    Ok(size)
}
