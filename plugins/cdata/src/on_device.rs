//! Columns that lie in a device's memory, as arrays of their addresses there, for the C Device Data
//! interface.
//!
//! Who made such an array knows it again where it comes back and nobody has changed it.

use std::any::Any;
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use crate::made::{self, Parts};
use crate::raw::ArrowArray;

/// Where a column of values of fixed width lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// How many values there are.
    pub rows: usize,
    /// How many of them are null.
    pub null_count: usize,
    /// The address of the bits that say which are not, if any is null; the first is the lowest of the first
    /// byte.
    pub validity: Option<u64>,
    /// The address of the values; of booleans that of their bits, likewise.
    pub values: u64,
}

/// A column as an array, which keeps this until it is released.
pub fn column<K: Any + Send + Sync>(column: Column, keeps: Arc<K>) -> ArrowArray {
    let parts = Parts {
        length: column.rows as i64,
        null_count: column.null_count as i64,
        offset: 0,
        buffers: column.buffers().to_vec(),
        children: Vec::new(),
        dictionary: None,
        keeps: Box::new(keeps),
    };
    parts.into_array()
}

/// Columns of so many rows each as an array of struct type, which keeps this until it is released; a column
/// that is moved out of it does so, too.
pub fn batch<K: Any + Send + Sync>(
    rows: usize,
    columns: Vec<Column>,
    keeps: &Arc<K>,
) -> ArrowArray {
    let children = columns.iter();
    let children = children.map(|each| column(*each, Arc::clone(keeps)));
    let parts = Parts {
        length: rows as i64,
        null_count: 0,
        offset: 0,
        buffers: vec![ptr::null()],
        children: children.collect(),
        dictionary: None,
        keeps: Box::new(Batch {
            rows,
            columns,
            keeps: Arc::clone(keeps),
        }),
    };
    parts.into_array()
}

/// What an array keeps, where it is one of [`batch`]'s, whole and as it was made.
///
/// # Safety
/// The array, and those below it, are as the C Data Interface says. Of buffers nothing is read.
pub unsafe fn kept<K: Any + Send + Sync>(array: &ArrowArray) -> Option<Arc<K>> {
    // SAFETY: As the caller vouches.
    let batch = unsafe { made::kept(array)? }.downcast_ref::<Batch<K>>()?;
    let is_whole = (array.length, array.null_count, array.offset) == (batch.rows as i64, 0, 0)
        && array.n_children == batch.columns.len() as i64;
    // SAFETY: It has so many, each of which leads to an array.
    let child = |position| unsafe { &**array.children.add(position) };
    let mut columns = batch.columns.iter().enumerate();
    // SAFETY: As the caller vouches.
    let mut are = || columns.all(|(position, column)| unsafe { column.is(child(position)) });
    let is_as_made = is_whole && are();
    is_as_made.then(|| Arc::clone(&batch.keeps))
}

/// What a batch's array keeps.
struct Batch<K> {
    rows: usize,
    columns: Vec<Column>,
    keeps: Arc<K>,
}

impl Column {
    fn buffers(&self) -> [*const c_void; 2] {
        [self.validity.unwrap_or(0), self.values].map(pointer)
    }

    /// Whether an array is this one, and there.
    ///
    /// # Safety
    /// It is as the C Data Interface says.
    unsafe fn is(&self, array: &ArrowArray) -> bool {
        let rows = (self.rows as i64, self.null_count as i64, 0);
        array.release.is_some()
            && rows == (array.length, array.null_count, array.offset)
            && (array.n_buffers, array.n_children) == (2, 0)
            // SAFETY: It has two.
            && unsafe { array.buffers.cast::<[*const c_void; 2]>().read() } == self.buffers()
    }
}

/// An address of a device's, which is none of the host's.
fn pointer(address: u64) -> *const c_void {
    ptr::without_provenance(address as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export;
    use crate::import::Owned;
    use crate::tests::{columns, one};

    const COLUMNS: [Column; 2] = [
        Column {
            rows: 5,
            null_count: 0,
            validity: None,
            values: 0x7000_0000_0000,
        },
        Column {
            rows: 5,
            null_count: 2,
            validity: Some(0x7000_0000_0100),
            values: 0x7000_0000_0200,
        },
    ];

    fn made() -> (Owned, Arc<String>) {
        let keeps = Arc::new("memory".to_owned());
        let mut array = batch(5, COLUMNS.to_vec(), &keeps);
        // SAFETY: It is here.
        (unsafe { Owned::take(&raw mut array) }.unwrap(), keeps)
    }

    #[test]
    fn addresses_are_as_they_were_told() {
        let (array, keeps) = made();
        let raw = array.raw();
        assert_eq!((raw.length, raw.n_buffers, raw.n_children), (5, 1, 2));
        for (position, column) in COLUMNS.iter().enumerate() {
            // SAFETY: It has two, with two buffers each.
            let (child, buffers) = unsafe {
                let child = &**raw.children.add(position);
                (child, [*child.buffers, *child.buffers.add(1)])
            };
            let found = buffers.map(|buffer| buffer.addr() as u64);
            assert_eq!(found, [column.validity.unwrap_or(0), column.values]);
            assert_eq!(
                (child.length, child.null_count),
                (5, column.null_count as i64)
            );
        }
        assert_eq!(
            Arc::strong_count(&keeps),
            4,
            "the batch, two columns, and this"
        );
        drop(array);
        assert_eq!(Arc::strong_count(&keeps), 1);
    }

    #[test]
    fn a_column_that_was_moved_out_keeps_what_it_needs() {
        let (array, keeps) = made();
        // SAFETY: It has two; what is taken is marked as released there.
        let moved = unsafe { Owned::take(*array.raw().children.add(1)) }.unwrap();
        // SAFETY: It was made here.
        assert!(unsafe { kept::<String>(array.raw()) }.is_none());
        drop(array);
        assert_eq!(Arc::strong_count(&keeps), 2);
        drop(moved);
        assert_eq!(Arc::strong_count(&keeps), 1);
    }

    #[test]
    fn one_is_known_again_unless_it_was_changed() {
        let (array, keeps) = made();
        // SAFETY: It was made here, here and below.
        let known = |array: &ArrowArray| unsafe { kept::<String>(array) };
        assert!(Arc::ptr_eq(&known(array.raw()).unwrap(), &keeps));
        // SAFETY: The same.
        assert!(unsafe { kept::<u64>(array.raw()) }.is_none());

        let harms: [fn(&mut ArrowArray); 7] = [
            |array| array.length = 4,
            |array| array.offset = 1,
            |array| array.n_children = 1,
            |array| array.null_count = -1,
            // SAFETY: It has two, here and below.
            |array| unsafe { (**array.children).length = 3 },
            // SAFETY: The same.
            |array| unsafe { array.children.swap(array.children.add(1)) },
            // SAFETY: The same, and two buffers.
            |array| unsafe { *(**array.children).buffers = ptr::without_provenance(64) },
        ];
        for harm in harms {
            let keeps = Arc::new("memory".to_owned());
            let mut array = batch(5, COLUMNS.to_vec(), &keeps);
            harm(&mut array);
            assert!(known(&array).is_none());
            // SAFETY: It was not released; what is below it is told by what is private to it.
            unsafe { array.release.unwrap()(&raw mut array) };
            assert_eq!(Arc::strong_count(&keeps), 1);
        }

        let (mut other, _) = export::batch(&one(columns().swap_remove(0)));
        assert!(known(&other).is_none());
        // SAFETY: It was not released.
        unsafe { other.release.unwrap()(&raw mut other) };
    }
}
