//! Batches that stay in a device's memory across calls.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_schema::DataType;
use unlade_hal::{
    Command, CommandList, DeviceAddr, DeviceKind, Lease, Outcome, Slot, Span, Timing,
};

use crate::arrays::{self, fixed_values, fixed_width};
use crate::bind::check_schema;
use crate::call::Call;
use crate::driver::Undone;
use crate::error::Error;
use crate::heap::DeviceHeap;
use crate::kernel::{Kernel, given_up};
use crate::pool;
use crate::residency::ResidentId;
use crate::runtime::Core;
use crate::scheduler::Permit;
use crate::strings::StringsColumn;
use crate::sync::{Mutex, lock};

/// Batches pinned by [`Runtime::pin`](crate::Runtime::pin). Cheap to clone; they are let go with
/// the last clone.
#[derive(Clone, Debug)]
pub struct Resident {
    pub(crate) core: Arc<ResidentCore>,
}

#[derive(Debug)]
pub(crate) struct ResidentCore {
    pub(crate) runtime: Arc<Core>,
    /// The device, unless that works on the host's memory.
    pub(crate) slot: Option<usize>,
    pub(crate) batches: Vec<RecordBatch>,
    /// For each batch, its name on the device.
    ids: Vec<ResidentId>,
    sent: Mutex<Sent>,
}

/// What sending pinned batches to their device has come to so far, as [`Resident::sent`] tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// How often one was sent: each once, and again after it had made room for others.
    pub batches: u64,
    /// Bytes that were copied to the device.
    pub bytes: u64,
    /// For how long the device worked for that, by its clock, where it tells. It is counted as time of
    /// the session whose kernel brought a batch back, and else of the runtime's own; no receipt has it.
    pub device_time: Duration,
}

/// A batch that is on the device.
pub(crate) struct Found {
    pub(crate) there: Arc<OnDevice>,
    /// Bytes that were sent for it just now.
    pub(crate) sent: u64,
}

/// One batch in a device's memory.
#[derive(Debug)]
pub(crate) struct OnDevice {
    pub(crate) lease: Arc<Lease>,
    /// For each column of the batch where it lies, if it is of fixed width.
    pub(crate) columns: Vec<Option<ResidentColumn>>,
    /// For each where it lies, if it is of strings and the device compacts these.
    pub(crate) strings: Vec<Option<ResidentStrings>>,
}

/// Where one column lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResidentColumn {
    pub(crate) values: ResidentBytes,
    pub(crate) validity: Option<ResidentBytes>,
}

impl ResidentColumn {
    /// Bits that are a column's values.
    pub(crate) fn of_bits(values: ResidentBytes) -> Self {
        ResidentColumn {
            values,
            validity: None,
        }
    }
}

/// Where a column of strings lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResidentStrings {
    pub(crate) offsets: ResidentBytes,
    pub(crate) bytes: ResidentBytes,
    /// A bit per row also where none is null: programs read it as a column of its own. `None` where
    /// the schema says that no row is.
    pub(crate) validity: Option<ResidentBytes>,
}

/// A run of bytes of the lease. Where they are bits, the first is the lowest of the first byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResidentBytes {
    pub(crate) at: u64,
    pub(crate) len: u64,
}

impl Resident {
    pub(crate) fn pin(
        runtime: &Arc<Core>,
        batches: &[RecordBatch],
        device: Option<&str>,
    ) -> Result<Self, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        if let Some((first, rest)) = batches.split_first() {
            for batch in rest {
                check_schema(first.schema_ref(), batch)?;
            }
        }
        let position = match device {
            Some(name) => {
                let position = runtime.devices.iter().position(|slot| &*slot.name == name);
                Some(
                    position
                        .ok_or_else(|| Error::Config(format!("there is no device `{name}`")))?,
                )
            }
            None => runtime
                .devices
                .iter()
                .position(|slot| slot.keeps_batches() && slot.kind != DeviceKind::Simulator),
        };
        let slot = position.filter(|position| runtime.devices[*position].keeps_batches());
        let core = ResidentCore {
            runtime: Arc::clone(runtime),
            slot,
            batches: batches.to_vec(),
            ids: batches
                .iter()
                .map(|_| ResidentId(NEXT.fetch_add(1, Ordering::Relaxed)))
                .collect(),
            sent: Mutex::default(),
        };
        let call = core.own_call();
        for batch in 0..core.batches.len() {
            core.on_device(&call, batch);
        }
        Ok(Resident {
            core: Arc::new(core),
        })
    }

    /// The name of the device; `None` where the batches lie in the host's memory.
    pub fn device(&self) -> Option<Arc<str>> {
        self.core
            .slot
            .map(|slot| Arc::clone(&self.core.runtime.devices[slot].name))
    }

    /// How many of the batches are on the device at the moment.
    pub fn batches_on_device(&self) -> usize {
        self.sizes_on_device().len()
    }

    /// Bytes of the device's memory that these take at the moment.
    pub fn bytes_on_device(&self) -> u64 {
        self.sizes_on_device().iter().sum()
    }

    /// What sending the batches to the device has come to so far.
    pub fn sent(&self) -> Sent {
        *lock(&self.core.sent)
    }

    /// What the batches that are on the device take there, in bytes. To ask is no use of them.
    fn sizes_on_device(&self) -> Vec<u64> {
        let Some(slot) = self.core.slot else {
            return Vec::new();
        };
        let residency = &self.core.runtime.devices[slot].residency;
        let residency = residency.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = self.core.ids.iter();
        ids.filter_map(|id| residency.bytes_of(*id)).collect()
    }

    /// The batches, as they were pinned.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.core.batches
    }

    /// Whether this was pinned by the runtime of a kernel, which then [runs](crate::Kernel::run_resident)
    /// on it.
    pub fn is_pinned_for(&self, kernel: &Kernel) -> bool {
        Arc::ptr_eq(&self.core.runtime, &kernel.core.runtime)
    }

    /// Where the values of a column of one batch lie in the device's memory, for others that work
    /// there. A batch that was moved out to make room is sent there again.
    ///
    /// # Errors
    /// [`Error::Config`] as of [`column_on_device`](Self::column_on_device), and where its values are not
    /// of whole bytes, or where there are nulls, of which an address of values says nothing.
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
    /// others that work there. A batch that was moved out to make room is sent there again.
    ///
    /// # Errors
    /// [`Error::Config`] where there is no such batch or column, where its values are not of fixed width,
    /// or are keys of a dictionary, which is not there; and where the batch is not in a device's memory and
    /// cannot be sent there now.
    pub fn column_on_device(&self, batch: usize, column: usize) -> Result<ResidentValues, Error> {
        let array = self.column(batch, column)?;
        let refused = |why| refused(batch, column, why);
        let data_type = array.data_type();
        let is_kept = fixed_values(array).is_some();
        if !is_kept || matches!(data_type, DataType::Dictionary(..)) {
            return Err(refused(format!("{data_type} is not of fixed width")));
        }
        let runtime = &self.core.runtime;
        let slot = self.core.slot.map(|slot| &runtime.devices[slot]);
        let slot = slot.ok_or_else(|| {
            refused("it lies in the host's memory; pin it on a device with its own".to_owned())
        })?;
        let Found { there, .. } = self
            .core
            .on_device(&self.core.own_call(), batch)
            .ok_or_else(|| refused(format!("it cannot be sent to `{}` now", slot.name)))?;
        let lies = there.columns[column].expect("it is of fixed width");
        let base = there.lease.address(slot.device.info().domain);
        let DeviceAddr(base) = base.expect("the device allocated it");
        Ok(ResidentValues {
            address: DeviceAddr(base + lies.values.at),
            validity: lies.validity.map(|bits| DeviceAddr(base + bits.at)),
            rows: array.len(),
            nulls: array.null_count(),
            data_type: data_type.clone(),
            _there: there,
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

/// A pinned column in a device's memory, as [`Resident::column_on_device`] finds it. It stays there as long
/// as this does, and is to be read alone. A device that is lost, or reset, loses it: what its address then
/// leads to is the device's to say.
#[derive(Clone, Debug)]
pub struct ResidentValues {
    address: DeviceAddr,
    validity: Option<DeviceAddr>,
    rows: usize,
    nulls: usize,
    data_type: DataType,
    _there: Arc<OnDevice>,
}

impl ResidentValues {
    /// Where its values are, one after another, in the device's address space: of a CUDA GPU a
    /// `CUdeviceptr`. Booleans are bits, the first of them the lowest of the first byte.
    pub fn address(&self) -> DeviceAddr {
        self.address
    }

    /// Where its validity is, likewise: a bit for each value, 0 where that is null. `None` where none is.
    pub fn validity(&self) -> Option<DeviceAddr> {
        self.validity
    }

    /// How many values there are, with those that are null.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many of them are null.
    pub fn null_count(&self) -> usize {
        self.nulls
    }

    /// Their type, which is of fixed width.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }
}

impl ResidentCore {
    /// What is sent for nobody's batch.
    fn own_call(&self) -> Call<'_> {
        Call {
            runtime: &self.runtime,
            session: &self.runtime.own,
            kernel: self.runtime.next_kernel(),
            number: 0,
            together: 1,
            taken_on: false,
            account: None,
            given_up: None,
        }
    }

    /// A batch on the device, sent there if it is not there; `None` where that cannot be done now, or
    /// whoever calls has ended.
    pub(crate) fn on_device(&self, call: &Call<'_>, batch: usize) -> Option<Found> {
        let position = self.slot?;
        let slot = &call.runtime.devices[position];
        let id = self.ids[batch];
        let residency = || {
            slot.residency
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let already = || {
            let there = residency().get(id)?;
            Some(Found { there, sent: 0 })
        };
        if let Some(found) = already() {
            return Some(found);
        }
        let capabilities = slot.device.capabilities();
        let place = |strings: bool| {
            let layout = Layout::of(&self.batches[batch], capabilities.alignment, strings);
            let bytes = DeviceHeap::size_of(layout.len);
            let permit = call.runtime.enter(position, call, layout.len).ok()?;
            // Somebody else may have sent it, while this waited for its turn.
            if let Some(found) = already() {
                return Some(found);
            }
            residency().make_room(bytes).ok()?;
            let (there, device_time) = layout.send(call, permit)?;
            self.note(layout.len, device_time);
            let there = residency().insert(id, bytes, there).ok()?;
            let sent = layout.len;
            Some(Found { there, sent })
        };
        // Where strings are too large to stay there, the rest still may.
        let whole = capabilities.strings.then(|| place(true)).flatten();
        whole.or_else(|| place(false))
    }

    /// A batch was sent.
    fn note(&self, bytes: u64, device_time: Duration) {
        let mut sent = lock(&self.sent);
        sent.batches += 1;
        sent.bytes += bytes;
        sent.device_time += device_time;
    }
}

impl Drop for ResidentCore {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            let residency = &self.runtime.devices[slot].residency;
            let mut residency = residency.lock().unwrap_or_else(PoisonError::into_inner);
            self.ids.iter().for_each(|id| residency.remove(*id));
        }
    }
}

/// Where a batch's columns go.
struct Layout<'a> {
    columns: Vec<Option<ResidentColumn>>,
    strings: Vec<Option<ResidentStrings>>,
    /// What goes where.
    sources: Vec<(Cow<'a, [u8]>, u64)>,
    len: u64,
}

impl<'a> Layout<'a> {
    fn of(batch: &'a RecordBatch, alignment: u64, with_strings: bool) -> Self {
        let alignment = alignment.max(64);
        let rows = batch.num_rows();
        let mut layout = Layout {
            columns: Vec::new(),
            strings: Vec::new(),
            sources: Vec::new(),
            len: 0,
        };
        for (array, field) in batch.columns().iter().zip(batch.schema_ref().fields()) {
            let strings = with_strings.then(|| StringsColumn::of(array)).flatten();
            let strings = strings.map(|strings| ResidentStrings {
                offsets: layout.place_bytes(strings.offset_bytes(rows), alignment),
                bytes: layout.place_bytes(strings.bytes(), alignment),
                validity: field.is_nullable().then(|| {
                    let bits = arrays::validity(array);
                    let bits = bits.sliced();
                    layout.put(Cow::Owned(bits.as_slice().to_vec()), alignment)
                }),
            });
            layout.strings.push(strings);
            let Some(values) = fixed_values(array) else {
                layout.columns.push(None);
                continue;
            };
            let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
            let column = ResidentColumn {
                values: match fixed_width(array.data_type()) {
                    Some(width) => layout.place_bytes(&values.buffer[..width * rows], alignment),
                    None => layout.place_bits(values.buffer, values.bit_offset, rows, alignment),
                },
                validity: nulls.map(|nulls| {
                    layout.place_bits(nulls.buffer(), nulls.offset(), rows, alignment)
                }),
            };
            layout.columns.push(Some(column));
        }
        layout
    }

    /// Bits, from the first of a byte on: whoever is told where they are knows of no other offset.
    fn place_bits(
        &mut self,
        buffer: &'a Buffer,
        offset: usize,
        rows: usize,
        alignment: u64,
    ) -> ResidentBytes {
        let bits = match offset % 8 {
            0 => Cow::Borrowed(&buffer[offset / 8..][..rows.div_ceil(8)]),
            _ => Cow::Owned(buffer.bit_slice(offset, rows).to_vec()),
        };
        self.put(bits, alignment)
    }

    fn place_bytes(&mut self, bytes: &'a [u8], alignment: u64) -> ResidentBytes {
        self.put(Cow::Borrowed(bytes), alignment)
    }

    fn put(&mut self, bytes: Cow<'a, [u8]>, alignment: u64) -> ResidentBytes {
        let (at, len) = (self.len, bytes.len() as u64);
        self.sources.push((bytes, at));
        self.len = (at + len).next_multiple_of(alignment);
        ResidentBytes { at, len }
    }

    /// Copies everything to the device, in a turn on it, and says for how long the device worked for
    /// that; `None` where it fails, for whatever reason.
    fn send(&self, call: &Call<'_>, permit: Permit<'_>) -> Option<(OnDevice, Duration)> {
        let slot = &call.runtime.devices[permit.device().0];
        let on_device = |lease: Lease| OnDevice {
            lease: Arc::new(lease),
            columns: self.columns.clone(),
            strings: self.strings.clone(),
        };
        let local = slot.heap.lease(self.len.max(1)).ok()?;
        if self.len == 0 {
            return Some((on_device(local), Duration::ZERO));
        }
        let request = pool::Request {
            sizes: &[self.len],
            memory: pool::Memory::Pinned,
            wait: None,
        };
        let memory = call.runtime.own.memory.within_reach();
        let mut upload = memory.acquire(&request).ok()?.pop()?;
        let bytes = upload.bytes_mut()?;
        for (source, at) in &self.sources {
            bytes[*at as usize..][..source.len()].copy_from_slice(source);
        }
        let mut list = CommandList::new();
        let from = list.slot(Slot::Owned(upload));
        let to = list.slot(Slot::Owned(local));
        let whole = |slot| Span {
            slot,
            bytes: 0..self.len,
        };
        list.push(Command::Copy {
            from: whole(from),
            to: whole(to),
        });
        let timeout = call.runtime.options.device_timeout;
        let given_up = || call.check().is_err();
        let completion = match slot.driver.run(&*slot.device, list, timeout, given_up) {
            Ok(back) => back.completion,
            Err(Undone::GivenUp(point)) => {
                let _why = given_up::leave(call, permit, point);
                return None;
            }
            Err(Undone::Lost(lost)) => {
                slot.fault(permit, &lost);
                return None;
            }
            Err(Undone::Invalid(_)) => return None,
        };
        let used = match completion.outcome {
            Outcome::Done { .. } => {
                let Timing {
                    copy_in,
                    compute,
                    copy_out,
                    ..
                } = completion.timing;
                let used = copy_in + compute + copy_out;
                call.session.count_device_time(used);
                permit.done((!used.is_zero()).then_some(used));
                used
            }
            Outcome::Aborted(lost) => {
                slot.fault(permit, &lost);
                return None;
            }
            Outcome::Trapped(_) => return None,
        };
        let mut slots = completion.list.slots;
        match slots.swap_remove(usize::from(to.0)) {
            Slot::Owned(lease) => Some((on_device(lease), used)),
            _ => None,
        }
    }
}
