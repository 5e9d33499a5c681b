//! Where pinned columns lie in their device's memory, for others that work there.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use unlade_hal::{DeviceAddr, Health};

use super::{Found, OnDevice, Resident, ResidentBytes};
use crate::arrays::fixed_values;
use crate::device_slot::{DeviceSlot, Wait};
use crate::error::Error;
use crate::placement::DeviceIndex;
use crate::strings::offset_width;

impl Resident {
    /// Where the values of a column of one batch lie in the device's memory, for others that work
    /// there. A batch that was moved out to make room is sent there again.
    ///
    /// # Errors
    /// As of [`column_on_device`](Self::column_on_device), and [`Error::Config`] where its values are not
    /// of fixed width and of whole bytes, or where there are nulls, of which an address of values says
    /// nothing.
    pub fn values_on_device(&self, batch: usize, column: usize) -> Result<ResidentValues, Error> {
        let array = self.column(batch, column)?;
        let data_type = array.data_type();
        if data_type.primitive_width().is_none() {
            let why = format!("{data_type} is not of fixed width, of whole bytes");
            return Err(refused(batch, column, why));
        }
        if array.null_count() > 0 {
            let nulls = array.null_count();
            let why = format!("it has {nulls} nulls, of which an address of values says nothing");
            return Err(refused(batch, column, why));
        }
        self.column_on_device(batch, column)
    }

    /// Where a column of one batch lies in the device's memory, its values and which of them are null, for
    /// others that work there. A batch that was moved out to make room is sent there again. Strings that
    /// the device does not compact, and the values of dictionaries, are sent when they are first asked for,
    /// and stay as batches do.
    ///
    /// # Errors
    /// [`Error::Config`] where there is no such batch or column, where it is neither of fixed width, nor of
    /// strings or binary values with offsets, nor a dictionary of these; and where the batch is not in a
    /// device's memory and there is no room for it now. [`Error::DeviceFault`] where the device has failed,
    /// and is not back yet.
    pub fn column_on_device(&self, batch: usize, column: usize) -> Result<ResidentValues, Error> {
        unlade_hal::fork::check()?;
        let array = self.column(batch, column)?;
        let refused = |why| refused(batch, column, why);
        let of = array.data_type();
        let kind = Kind::of(array).ok_or_else(|| {
            refused(format!(
                "{of} is neither of fixed width, nor of strings with offsets, nor a dictionary of these"
            ))
        })?;
        let core = &self.core;
        let position = core.slot.ok_or_else(|| {
            refused("it lies in the host's memory; pin it on a device with its own".to_owned())
        })?;
        let slot = &core.runtime.devices[position];
        let call = core.own_call();
        let found = |found: Option<Found>| {
            let there = found.map(|found| found.there);
            there.ok_or_else(|| {
                if let Err(ended) = call.check() {
                    return ended;
                }
                let is_lost = matches!(slot.device.health(), Health::Lost(_));
                match is_lost || core.runtime.ineligible(DeviceIndex(position)).is_some() {
                    true => Error::DeviceFault(slot.distrust()),
                    false => refused(format!(
                        "it cannot be sent to `{}` now: what is in use leaves no room for it there, or in \
                         the host's pool; let go of columns that are exported, or pin smaller batches",
                        slot.name
                    )),
                }
            })
        };
        let beside = |array| found(core.beside(&call, (batch, column), array));
        let there = found(core.on_device(&call, batch, Wait::ToTheEnd))?;
        Ok(match kind {
            Kind::Fixed => ResidentValues::fixed(slot, array, there, column),
            Kind::Strings if there.strings[column].is_some() => {
                ResidentValues::strings(slot, array, there, column)
            }
            Kind::Strings => ResidentValues::strings(slot, array, beside(array)?, 0),
            Kind::Dictionary => {
                let values = array.as_any_dictionary().values();
                let theirs = beside(values)?;
                let values = match Kind::of(values) {
                    Some(Kind::Strings) => ResidentValues::strings(slot, values, theirs, 0),
                    _ => ResidentValues::fixed(slot, values, theirs, 0),
                };
                ResidentValues {
                    dictionary: Some(Box::new(values)),
                    ..ResidentValues::fixed(slot, array, there, column)
                }
            }
        })
    }

    /// A column of one batch, as it was pinned.
    fn column(&self, batch: usize, column: usize) -> Result<&ArrayRef, Error> {
        let batches = self.batches();
        let pinned = batches.get(batch);
        let pinned =
            pinned.ok_or_else(|| refused(batch, column, format!("there are {}", batches.len())))?;
        let array = pinned.columns().get(column);
        array.ok_or_else(|| refused(batch, column, format!("it has {}", pinned.num_columns())))
    }
}

/// Why it is not told where a column lies.
fn refused(batch: usize, column: usize, why: String) -> Error {
    Error::Config(format!("column {column} of batch {batch}: {why}"))
}

/// What columns can be that are told where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fixed,
    Strings,
    Dictionary,
}

impl Kind {
    fn of(array: &ArrayRef) -> Option<Self> {
        let values = match array.data_type() {
            DataType::Dictionary(..) => array.as_any_dictionary().values(),
            of if offset_width(of).is_some() => return Some(Kind::Strings),
            _ => return fixed_values(array).map(|_| Kind::Fixed),
        };
        let of = Kind::of(values).filter(|of| *of != Kind::Dictionary);
        of.map(|_| Kind::Dictionary)
    }
}

/// A pinned column in a device's memory, as [`Resident::column_on_device`] finds it. It stays there as long
/// as this does, and is to be read alone. A device that is lost, or reset, loses it: what its address then
/// leads to is the device's to say.
#[derive(Clone, Debug)]
pub struct ResidentValues {
    buffers: Vec<DeviceAddr>,
    validity: Option<DeviceAddr>,
    dictionary: Option<Box<ResidentValues>>,
    rows: usize,
    nulls: usize,
    data_type: DataType,
    _there: Arc<OnDevice>,
}

impl ResidentValues {
    /// One of fixed width, a dictionary's keys among them, at this position of what is there.
    fn fixed(slot: &DeviceSlot, array: &ArrayRef, there: Arc<OnDevice>, at: usize) -> Self {
        let lies = there.columns[at].expect("it is of fixed width");
        ResidentValues::of(slot, array, there, &[lies.values], lies.validity)
    }

    /// One of strings, likewise.
    fn strings(slot: &DeviceSlot, array: &ArrayRef, there: Arc<OnDevice>, at: usize) -> Self {
        let lies = there.strings[at].expect("it is of strings, and these were sent");
        ResidentValues::of(
            slot,
            array,
            there,
            &[lies.offsets, lies.bytes],
            lies.validity,
        )
    }

    fn of(
        slot: &DeviceSlot,
        array: &ArrayRef,
        there: Arc<OnDevice>,
        buffers: &[ResidentBytes],
        validity: Option<ResidentBytes>,
    ) -> Self {
        let base = there.lease.address(slot.device.info().domain);
        let DeviceAddr(base) = base.expect("the device allocated it");
        let address = |bytes: &ResidentBytes| DeviceAddr(base + bytes.at);
        let nulls = array.null_count();
        ResidentValues {
            buffers: buffers.iter().map(address).collect(),
            // Of strings it is there for programs also where none is null.
            validity: validity.as_ref().filter(|_| nulls > 0).map(address),
            dictionary: None,
            rows: array.len(),
            nulls,
            data_type: array.data_type().clone(),
            _there: there,
        }
    }

    /// Where its values are, one after another, in the device's address space: of a CUDA GPU a
    /// `CUdeviceptr`. Booleans are bits, the first of them the lowest of the first byte. Of strings it is
    /// their offsets, of a dictionary's column its keys.
    pub fn address(&self) -> DeviceAddr {
        self.buffers[0]
    }

    /// Where its buffers are but for the validity, in the order of Arrow's format: values or keys; of strings
    /// offsets, of which the first is 0, and bytes.
    pub fn buffers(&self) -> &[DeviceAddr] {
        &self.buffers
    }

    /// Where its validity is, likewise: a bit for each value, 0 where that is null. `None` where none is.
    pub fn validity(&self) -> Option<DeviceAddr> {
        self.validity
    }

    /// Of a dictionary's column where the dictionary's values are.
    pub fn dictionary(&self) -> Option<&ResidentValues> {
        self.dictionary.as_deref()
    }

    /// How many values there are, with those that are null.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many of them are null.
    pub fn null_count(&self) -> usize {
        self.nulls
    }

    /// Their type.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }
}
