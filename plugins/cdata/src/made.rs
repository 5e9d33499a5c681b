//! Arrays whose structs are made here, on buffers of somebody's.

use std::any::Any;
use std::ffi::c_void;
use std::ptr;

use crate::raw::ArrowArray;

/// What an array is made of.
pub(crate) struct Parts {
    pub(crate) length: i64,
    pub(crate) null_count: i64,
    pub(crate) offset: i64,
    pub(crate) buffers: Vec<*const c_void>,
    pub(crate) children: Vec<ArrowArray>,
    pub(crate) dictionary: Option<ArrowArray>,
    /// What has the memory of the buffers.
    pub(crate) keeps: Box<dyn Any + Send + Sync>,
}

impl Parts {
    /// As an array that drops what it keeps when it is released.
    pub(crate) fn into_array(self) -> ArrowArray {
        let boxed = |array: ArrowArray| Box::into_raw(Box::new(array));
        let made = Box::new(Made {
            pointers: self.buffers,
            children: self.children.into_iter().map(boxed).collect(),
            dictionary: self.dictionary.map_or(ptr::null_mut(), boxed),
            keeps: self.keeps,
        });
        let (n_buffers, n_children) = (made.pointers.len() as i64, made.children.len() as i64);
        let made = Box::into_raw(made);
        // SAFETY: It was made above, and is nobody else's yet.
        let parts = unsafe { &mut *made };
        ArrowArray {
            length: self.length,
            null_count: self.null_count,
            offset: self.offset,
            n_buffers,
            n_children,
            buffers: parts.pointers.as_mut_ptr(),
            children: parts.children.as_mut_ptr(),
            dictionary: parts.dictionary,
            release: Some(release),
            private_data: made.cast(),
        }
    }
}

/// What an array keeps that was made here; `None` of another, and of one that was released.
///
/// # Safety
/// The array is as the C Data Interface says.
pub(crate) unsafe fn kept(array: &ArrowArray) -> Option<&(dyn Any + Send + Sync)> {
    let ours: unsafe extern "C" fn(*mut ArrowArray) = release;
    let is_ours = array.release.is_some_and(|its| ptr::fn_addr_eq(its, ours));
    // SAFETY: An array is released by the function that came with what is private to it.
    let made = is_ours.then(|| unsafe { &*array.private_data.cast::<Made>() });
    made.map(|made| &*made.keeps)
}

/// What such an array's `private_data` is.
struct Made {
    pointers: Vec<*const c_void>,
    /// Boxes.
    children: Vec<*mut ArrowArray>,
    /// A box, or null.
    dictionary: *mut ArrowArray,
    keeps: Box<dyn Any + Send + Sync>,
}

/// # Safety
/// The array is one of [`Parts::into_array`]'s, and was not released.
unsafe extern "C" fn release(array: *mut ArrowArray) {
    // SAFETY: As the caller vouches; what is private to it is what was put there.
    let made = unsafe {
        (*array).release = None;
        Box::from_raw((*array).private_data.cast::<Made>())
    };
    let dictionary = (!made.dictionary.is_null()).then_some(made.dictionary);
    for below in made.children.iter().copied().chain(dictionary) {
        // SAFETY: It came out of a box. Who moved it away has marked it as released.
        let mut below = unsafe { Box::from_raw(below) };
        if let Some(release) = below.release {
            // SAFETY: It was not released.
            unsafe { release(&raw mut *below) };
        }
    }
}
