//! What is pinned, as Arrow's C Device Data: out, and in again.

use std::sync::Arc;

use unlade::ResidentValues;
use unlade_cdata::on_device::{self, Column};
use unlade_cdata::raw::{ArrowArray, ArrowDeviceArray, ArrowSchema};
use unlade_cdata::schema;

use crate::border::{enter, put};
use crate::code::unlade_code::{self, UNLADE_OK, UNLADE_SCHEMA, UNLADE_UNSUPPORTED};
use crate::device_data::{Place, none};
use crate::error::unlade_error;
use crate::failure::Failure;
use crate::handles;
use crate::kernel::KernelHeld;
use crate::resident::{ResidentHeld, unlade_resident};

/// Exports a pinned batch, counted from 0, as an array of struct type whose buffers are addresses in the
/// device's memory, without a copy; `unlade_resident_schema` has its schema. Columns of fixed width are there,
/// strings and binary values with offsets, and dictionaries of these. Strings that the device does not compact,
/// and the values of dictionaries, are sent as they are first exported, and stay as batches do.
/// `UNLADE_UNSUPPORTED` says that a column is of another kind, as a list or a view is, that the batches lie in
/// the host's memory, or that there is no room to send what was moved out; `UNLADE_DEVICE_FAULT` that the
/// device has failed and is not back yet.
///
/// On a GPU the array is `ARROW_DEVICE_CUDA` with the `device_id` of its name, and on any other device
/// `ARROW_DEVICE_EXT_DEV` with the place of that device in `unlade_runtime_devices`. It is there when this
/// returns: there is no event. It is to be read alone, starts at offset 0, and stays where it is until it is
/// released, whether or not the handle was freed before: the whole array, and columns that were moved out of
/// it. A device that is lost, or reset, loses it meanwhile.
///
/// `unlade_kernel_run_device` takes it back where the kernel's runtime is the one that pinned it, and runs on it
/// where it lies.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_resident_export(
    resident: *const unlade_resident,
    batch: usize,
    array: *mut ArrowDeviceArray,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            put(array, "ArrowDeviceArray", none())?;
            let held = handles::get::<ResidentHeld>(resident)?;
            let pinned = held.batch(batch)?;
            let place = place(&held)?;
            let (rows, columns) = (pinned.num_rows(), pinned.num_columns());
            let there = (0..columns).map(|column| there(&held, batch, column));
            let there: Vec<ResidentValues> = there.collect::<Result<_, _>>()?;
            let columns = there.iter().map(Column::from).collect();
            let exported = Arc::new(Exported {
                held: Arc::clone(&held),
                batch,
                _there: there,
            });
            let made = on_device::batch(rows, columns, place, &exported);
            put(array, "ArrowDeviceArray", made.into_raw())?;
            Ok(UNLADE_OK)
        })
    }
}

/// As `unlade_resident_export`, of one column alone, both counted from 0: an array of the column's type.
/// Only what the column is in stays with it: its batch, or what was sent beside that.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_resident_export_column(
    resident: *const unlade_resident,
    batch: usize,
    column: usize,
    array: *mut ArrowDeviceArray,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            put(array, "ArrowDeviceArray", none())?;
            let held = handles::get::<ResidentHeld>(resident)?;
            let columns = held.batch(batch)?.num_columns();
            if column >= columns {
                let what = format!("there is no column {column} of {columns} that were pinned");
                return Err(Failure::argument(what));
            }
            let place = place(&held)?;
            let there = there(&held, batch, column)?;
            let made = on_device::column(&Column::from(&there), place, &Arc::new(there));
            put(array, "ArrowDeviceArray", made.into_raw())?;
            Ok(UNLADE_OK)
        })
    }
}

/// What an exported batch keeps.
#[derive(Debug)]
pub(crate) struct Exported {
    held: Arc<ResidentHeld>,
    batch: usize,
    _there: Vec<ResidentValues>,
}

impl Exported {
    /// The pinned batch that an array is, where it is one of ours as it was exported, which a kernel's runtime has
    /// pinned: the kernel then runs on that.
    ///
    /// # Safety
    /// The array is as the C Data Interface says; of buffers nothing is read.
    pub(crate) unsafe fn known(
        array: &ArrowArray,
        place: &Place,
        kernel: &KernelHeld,
    ) -> Option<Arc<Self>> {
        // SAFETY: As the caller vouches.
        let exported = unsafe { on_device::kept::<Exported>(array)? };
        let held = &exported.held;
        let is_there = device_of(held).is_some_and(|there| there == place.device());
        let is_known =
            is_there && place.sync_event.is_null() && held.resident.is_pinned_for(&kernel.kernel);
        is_known.then_some(exported)
    }

    /// What a kernel makes of it.
    ///
    /// # Safety
    /// The schema is null, or as the C Data Interface says.
    pub(crate) unsafe fn run(
        &self,
        kernel: &KernelHeld,
        schema: *const ArrowSchema,
    ) -> Result<unlade::Output, Failure> {
        if !schema.is_null() {
            // SAFETY: As the caller vouches.
            let given = unsafe { schema::read(schema)? };
            let types = |schema: &arrow_schema::Schema| {
                let fields = schema.fields().iter();
                fields
                    .map(|field| field.data_type().clone())
                    .collect::<Vec<_>>()
            };
            let (given, pinned) = (types(&given), types(&self.held.schema));
            if given != pinned {
                let what = format!(
                    "the ArrowDeviceArray was pinned with columns of {pinned:?}, and its ArrowSchema has \
                     {given:?}"
                );
                return Err(Failure::new(UNLADE_SCHEMA, what));
            }
        }
        self.held.run(kernel, self.batch)
    }
}

/// Where a column of a pinned batch lies on its device.
fn there(held: &ResidentHeld, batch: usize, column: usize) -> Result<ResidentValues, Failure> {
    let there = held.resident.column_on_device(batch, column);
    there.map_err(|error| match error {
        // Of what is pinned, not of how the runtime was opened.
        unlade::Error::Config(why) => Failure::new(UNLADE_UNSUPPORTED, why),
        other => other.into(),
    })
}

/// The device that batches are on, as [`device_of`].
fn place(held: &ResidentHeld) -> Result<(i32, i64), Failure> {
    device_of(held).ok_or_else(|| {
        let what = "the batches lie in the host's memory; pin them on a device with its own";
        Failure::new(UNLADE_UNSUPPORTED, what)
    })
}

/// The type and the number by which the interface knows the device that batches are on.
fn device_of(held: &ResidentHeld) -> Option<(i32, i64)> {
    let (name, position) = held.device()?;
    Some(on_device::device(name.to_str().ok()?, position))
}
