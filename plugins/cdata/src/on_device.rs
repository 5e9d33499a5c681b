//! Columns that lie in a device's memory, as arrays of their addresses there, for the C Device Data
//! interface.
//!
//! Who made such an array knows it again where it comes back and nobody has changed it.

use std::any::Any;
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use unlade::ResidentValues;

use crate::made::{self, Parts};
use crate::raw::{ArrowArray, ArrowDeviceArray};

/// A type of devices: CUDA's.
pub const CUDA: i32 = 2;

/// A type of devices: others, that a library knows by itself.
pub const EXT_DEV: i32 = 12;

/// What names of GPUs begin with, before their number. The simulated driver stands in for CUDA's where it is
/// asked for.
pub const GPUS: [&str; 2] = ["cuda:", "sim-gpu:"];

/// The type and the number by which Arrow and DLPack know a device, by its name and its place in
/// [`Runtime::devices`](unlade::Runtime::devices).
pub fn device(name: &str, position: usize) -> (i32, i64) {
    let number = GPUS.iter().find_map(|kind| name.strip_prefix(kind));
    match number.and_then(|number| number.parse().ok()) {
        Some(number) => (CUDA, number),
        None => (EXT_DEV, position as i64),
    }
}

/// An array with its device. It is released when this is dropped, unless somebody has moved it out, as the
/// interface has it.
#[repr(transparent)]
#[derive(Debug)]
pub struct Placed(ArrowDeviceArray);

// SAFETY: What it keeps may be let go by any thread, and may be looked at by several: `column` and `batch` ask
// for that, and nothing else makes one.
unsafe impl Send for Placed {}

impl Placed {
    /// What is all there.
    fn new(array: ArrowArray, (device_type, device_id): (i32, i64)) -> Self {
        Placed(ArrowDeviceArray {
            array,
            device_id,
            device_type,
            sync_event: ptr::null_mut(),
            reserved: [0; 3],
        })
    }

    /// To be released by who gets it.
    pub fn into_raw(mut self) -> ArrowDeviceArray {
        let array = std::mem::replace(&mut self.0.array, ArrowArray::released());
        ArrowDeviceArray {
            array,
            device_id: self.0.device_id,
            device_type: self.0.device_type,
            sync_event: self.0.sync_event,
            reserved: self.0.reserved,
        }
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if let Some(release) = self.0.array.release {
            // SAFETY: It was made here, and was not released.
            unsafe { release(&raw mut self.0.array) };
        }
    }
}

/// Where a column lies that has nothing below it but a dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// How many values there are.
    pub rows: usize,
    /// How many of them are null.
    pub null_count: usize,
    /// The address of the bits that say which are not, if any is null; the first is the lowest of the first
    /// byte.
    pub validity: Option<u64>,
    /// The addresses of its other buffers, in the format's order: values, of booleans their bits, likewise;
    /// offsets and bytes; keys.
    pub buffers: Vec<u64>,
    /// The values that keys stand for.
    pub dictionary: Option<Box<Column>>,
}

impl From<&ResidentValues> for Column {
    fn from(there: &ResidentValues) -> Self {
        Column {
            rows: there.rows(),
            null_count: there.null_count(),
            validity: there.validity().map(|address| address.0),
            buffers: there.buffers().iter().map(|address| address.0).collect(),
            dictionary: there.dictionary().map(|values| Box::new(values.into())),
        }
    }
}

/// A column as an array on a [`device`], which keeps this until it is released.
pub fn column<K: Any + Send + Sync>(column: &Column, on: (i32, i64), keeps: &Arc<K>) -> Placed {
    Placed::new(array(column, keeps), on)
}

fn array<K: Any + Send + Sync>(column: &Column, keeps: &Arc<K>) -> ArrowArray {
    let dictionary = column.dictionary.as_ref();
    let parts = Parts {
        length: column.rows as i64,
        null_count: column.null_count as i64,
        offset: 0,
        buffers: column.pointers().collect(),
        children: Vec::new(),
        dictionary: dictionary.map(|values| array(values, keeps)),
        keeps: Box::new(Arc::clone(keeps)),
    };
    parts.into_array()
}

/// Columns of so many rows each as an array of struct type on a [`device`], which keeps this until it is
/// released; a column that is moved out of it does so, too.
pub fn batch<K: Any + Send + Sync>(
    rows: usize,
    columns: Vec<Column>,
    on: (i32, i64),
    keeps: &Arc<K>,
) -> Placed {
    let children = columns.iter().map(|each| array(each, keeps));
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
    Placed::new(parts.into_array(), on)
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
    fn pointers(&self) -> impl Iterator<Item = *const c_void> {
        let validity = self.validity.unwrap_or(0);
        [validity]
            .into_iter()
            .chain(self.buffers.iter().copied())
            .map(pointer)
    }

    /// Whether an array is this one, and there.
    ///
    /// # Safety
    /// It is as the C Data Interface says.
    unsafe fn is(&self, array: &ArrowArray) -> bool {
        let rows = (self.rows as i64, self.null_count as i64, 0);
        let counts = (1 + self.buffers.len() as i64, 0);
        // SAFETY: It has so many where this is asked.
        let buffer = |position| unsafe { *array.buffers.add(position) };
        let mut pointers = self.pointers().enumerate();
        // What was moved out is another's now, and its dictionary may be gone.
        if array.release.is_none() {
            return false;
        }
        // SAFETY: It is null, or leads to an array, of one that is not released.
        let dictionary = unsafe { array.dictionary.as_ref() };
        rows == (array.length, array.null_count, array.offset)
            && counts == (array.n_buffers, array.n_children)
            && pointers.all(|(position, pointer)| buffer(position) == pointer)
            && match (&self.dictionary, dictionary) {
                // SAFETY: As the caller vouches.
                (Some(values), Some(array)) => unsafe { values.is(array) },
                (values, array) => values.is_none() && array.is_none(),
            }
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

    /// Numbers, and keys of strings.
    fn lie() -> Vec<Column> {
        let numbers = Column {
            rows: 5,
            null_count: 0,
            validity: None,
            buffers: vec![0x7000_0000_0000],
            dictionary: None,
        };
        let values = Column {
            rows: 3,
            buffers: vec![0x7000_0000_0300, 0x7000_0000_0400],
            ..numbers.clone()
        };
        let keys = Column {
            null_count: 2,
            validity: Some(0x7000_0000_0100),
            buffers: vec![0x7000_0000_0200],
            dictionary: Some(Box::new(values)),
            ..numbers
        };
        vec![numbers, keys]
    }

    fn made() -> (Owned, Arc<String>) {
        let keeps = Arc::new("memory".to_owned());
        let mut placed = batch(5, lie(), (EXT_DEV, 3), &keeps).into_raw();
        assert_eq!((placed.device_type, placed.device_id), (EXT_DEV, 3));
        assert!(placed.sync_event.is_null());
        // SAFETY: It is here.
        (
            unsafe { Owned::take(&raw mut placed.array) }.unwrap(),
            keeps,
        )
    }

    #[test]
    fn addresses_are_as_they_were_told() {
        let (array, keeps) = made();
        let raw = array.raw();
        assert_eq!((raw.length, raw.n_buffers, raw.n_children), (5, 1, 2));
        for (position, column) in lie().iter().enumerate() {
            // SAFETY: It has two.
            let child = unsafe { &**raw.children.add(position) };
            must_be(child, column);
            assert_eq!(child.dictionary.is_null(), column.dictionary.is_none());
            if let Some(values) = &column.dictionary {
                // SAFETY: It was made here.
                must_be(unsafe { &*child.dictionary }, values);
            }
        }
        assert_eq!(
            Arc::strong_count(&keeps),
            5,
            "the batch, two columns, a dictionary, and this"
        );
        drop(array);
        assert_eq!(Arc::strong_count(&keeps), 1);
    }

    fn must_be(array: &ArrowArray, column: &Column) {
        let counts = (array.length, array.null_count, array.n_buffers);
        let buffers = 1 + column.buffers.len();
        let wanted = (column.rows as i64, column.null_count as i64, buffers as i64);
        assert_eq!(counts, wanted);
        // SAFETY: It has so many.
        let found = (0..buffers).map(|each| unsafe { *array.buffers.add(each) }.addr() as u64);
        let wanted = [column.validity.unwrap_or(0)].into_iter();
        assert!(found.eq(wanted.chain(column.buffers.iter().copied())));
    }

    #[test]
    fn what_nobody_takes_is_released() {
        let keeps = Arc::new("memory".to_owned());
        let placed = column(&lie()[1], (CUDA, 0), &keeps);
        assert_eq!(Arc::strong_count(&keeps), 3, "it, its dictionary, and this");
        drop(placed);
        assert_eq!(Arc::strong_count(&keeps), 1);
    }

    #[test]
    fn gpus_have_their_number_and_others_their_place() {
        let known = ["cuda:0", "cuda:12", "sim-gpu:1", "sim", "cuda:x", "dpu:0"];
        let found = known.map(|name| device(name, 5));
        let of = |number| (CUDA, number);
        let other = (EXT_DEV, 5);
        assert_eq!(found, [of(0), of(12), of(1), other, other, other]);
    }

    #[test]
    fn a_column_that_was_moved_out_keeps_what_it_needs() {
        let (array, keeps) = made();
        // SAFETY: It has two; what is taken is marked as released there.
        let moved = unsafe { Owned::take(*array.raw().children.add(1)) }.unwrap();
        // SAFETY: It was made here.
        assert!(unsafe { kept::<String>(array.raw()) }.is_none());
        drop(array);
        assert_eq!(Arc::strong_count(&keeps), 3, "it, its dictionary, and this");
        drop(moved);
        assert_eq!(Arc::strong_count(&keeps), 1);
    }

    #[test]
    fn a_column_that_was_moved_out_is_not_looked_at() {
        let (array, _keeps) = made();
        // SAFETY: As above.
        drop(unsafe { Owned::take(*array.raw().children.add(1)) }.unwrap());
        // SAFETY: It was made here; its dictionary is freed.
        assert!(unsafe { kept::<String>(array.raw()) }.is_none());
    }

    #[test]
    fn one_is_known_again_unless_it_was_changed() {
        let (array, keeps) = made();
        // SAFETY: It was made here, here and below.
        let known = |array: &ArrowArray| unsafe { kept::<String>(array) };
        assert!(Arc::ptr_eq(&known(array.raw()).unwrap(), &keeps));
        // SAFETY: The same.
        assert!(unsafe { kept::<u64>(array.raw()) }.is_none());

        let harms: [fn(&mut ArrowArray); 9] = [
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
            // SAFETY: The second has a dictionary, here and below.
            |array| unsafe { (*(**array.children.add(1)).dictionary).length = 4 },
            |array| {
                // SAFETY: The same, of two buffers behind the validity.
                let last = unsafe { (*(**array.children.add(1)).dictionary).buffers.add(2) };
                // SAFETY: The same.
                unsafe { *last = ptr::without_provenance(64) }
            },
        ];
        for harm in harms {
            let keeps = Arc::new("memory".to_owned());
            let mut array = batch(5, lie(), (CUDA, 0), &keeps).into_raw().array;
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
