//! Batches that stay in a device's memory across calls.

mod values;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_schema::{Field, Schema};
use unlade_hal::{Command, CommandList, DeviceKind, Lease, Outcome, Slot, Span, Timing};

use crate::arrays::{self, fixed_values, fixed_width};
use crate::bind::check_schema;
use crate::call::Call;
use crate::device_slot::{self, Wait};
use crate::driver::Undone;
use crate::error::Error;
use crate::heap::{DeviceHeap, NoLease};
use crate::kernel::{Kernel, given_up};
use crate::pool;
use crate::residency::ResidentId;
use crate::runtime::Core;
use crate::scheduler::Permit;
use crate::strings::StringsColumn;
use crate::sync::{Mutex, lock};

pub use values::ResidentValues;

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
    /// What was sent beside a batch for others, by batch and column, likewise.
    beside: Mutex<BTreeMap<(usize, usize), ResidentId>>,
    sent: Mutex<Sent>,
}

/// What sending pinned batches to their device has come to so far, as [`Resident::sent`] tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// How often one was sent: each once, and again after it had made room for others.
    pub batches: u64,
    /// Bytes that were copied to the device, those for [others](Resident::column_on_device) included.
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
    /// The first of them is 0, wherever they begin on the host.
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
        if let Some((first, rest)) = batches.split_first() {
            for batch in rest {
                check_schema(first.schema_ref(), batch)?;
            }
        }
        let position = match device {
            Some(name) => Some(device_slot::named(&runtime.devices, name)?),
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
            ids: batches.iter().map(|_| next_id()).collect(),
            beside: Mutex::default(),
            sent: Mutex::default(),
        };
        let call = core.own_call();
        for batch in 0..core.batches.len() {
            core.on_device(&call, batch, Wait::Briefly);
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

    /// Its place in [`Runtime::devices`](crate::Runtime::devices), likewise.
    pub fn device_position(&self) -> Option<usize> {
        self.core.slot
    }

    /// How many of the batches are on the device at the moment.
    pub fn batches_on_device(&self) -> usize {
        self.sizes_on_device(&self.core.ids).len()
    }

    /// Bytes of the device's memory that these take at the moment, with what was sent for
    /// [others](Resident::column_on_device).
    pub fn bytes_on_device(&self) -> u64 {
        let beside: Vec<ResidentId> = lock(&self.core.beside).values().copied().collect();
        let sizes = [&self.core.ids[..], &beside].map(|ids| self.sizes_on_device(ids));
        sizes.iter().flatten().sum()
    }

    /// What sending the batches to the device has come to so far.
    pub fn sent(&self) -> Sent {
        *lock(&self.core.sent)
    }

    /// What those that are on the device take there, in bytes. To ask is no use of them.
    fn sizes_on_device(&self, ids: &[ResidentId]) -> Vec<u64> {
        let Some(slot) = self.core.slot else {
            return Vec::new();
        };
        let residency = &self.core.runtime.devices[slot].residency;
        let residency = residency.lock().unwrap_or_else(PoisonError::into_inner);
        ids.iter()
            .filter_map(|id| residency.bytes_of(*id))
            .collect()
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
    pub(crate) fn on_device(&self, call: &Call<'_>, batch: usize, wait: Wait) -> Option<Found> {
        let (id, rows) = (self.ids[batch], &self.batches[batch]);
        let slot = &call.runtime.devices[self.slot?];
        let place = |strings| {
            let (found, device_time) = self.place(call, id, rows, strings, wait)?;
            if found.sent > 0 {
                self.note(1, found.sent, device_time);
            }
            Some(found)
        };
        // Where strings are too large to stay there, the rest still may.
        let whole = slot.device.capabilities().strings.then(|| place(true));
        whole.flatten().or_else(|| place(false))
    }

    /// A column by itself on the device, beside its batch, in which it is not there: for others, since the
    /// device has no use for it. As [`on_device`](Self::on_device) for the rest.
    fn beside(
        &self,
        call: &Call<'_>,
        (batch, column): (usize, usize),
        array: &ArrayRef,
    ) -> Option<Found> {
        let id = *lock(&self.beside)
            .entry((batch, column))
            .or_insert_with(next_id);
        let field = Field::new("", array.data_type().clone(), array.null_count() > 0);
        let schema = Arc::new(Schema::new(vec![field]));
        let alone = RecordBatch::try_new(schema, vec![Arc::clone(array)]);
        let alone = alone.expect("the field is the array's");
        let (found, device_time) = self.place(call, id, &alone, true, Wait::ToTheEnd)?;
        if found.sent > 0 {
            self.note(0, found.sent, device_time);
        }
        Some(found)
    }

    /// What is known by this name on the device, sent there if it is not, and for how long the device
    /// worked for that.
    fn place(
        &self,
        call: &Call<'_>,
        id: ResidentId,
        rows: &RecordBatch,
        strings: bool,
        wait: Wait,
    ) -> Option<(Found, Duration)> {
        let position = self.slot?;
        let slot = &call.runtime.devices[position];
        let residency = || {
            slot.residency
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let already = || {
            let there = residency().get(id)?;
            Some((Found { there, sent: 0 }, Duration::ZERO))
        };
        if let Some(found) = already() {
            return Some(found);
        }
        let layout = Layout::of(rows, slot.device.capabilities().alignment, strings);
        let bytes = DeviceHeap::size_of(layout.len);
        let permit = call.runtime.enter(position, call, layout.len, wait);
        let permit = permit.ok()?;
        // Somebody else may have sent it, while this waited for its turn.
        if let Some(found) = already() {
            return Some(found);
        }
        let life = slot.generation.load(Ordering::Acquire);
        residency().make_room(bytes).ok()?;
        let (there, device_time) = layout.send(call, permit)?;
        let mut residency = residency();
        // Else it was reset meanwhile, and what was sent lies in its earlier life.
        let there = match slot.generation.load(Ordering::Acquire) == life {
            true => residency.insert(id, bytes, there).ok()?,
            false => return None,
        };
        let sent = layout.len;
        Some((Found { there, sent }, device_time))
    }

    /// Something was sent.
    fn note(&self, batches: u64, bytes: u64, device_time: Duration) {
        let mut sent = lock(&self.sent);
        sent.batches += batches;
        sent.bytes += bytes;
        sent.device_time += device_time;
    }
}

/// A name that nothing else has on a device.
fn next_id() -> ResidentId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    ResidentId(NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Drop for ResidentCore {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            let residency = &self.runtime.devices[slot].residency;
            let mut residency = residency.lock().unwrap_or_else(PoisonError::into_inner);
            let beside = lock(&self.beside);
            let ids = self.ids.iter().chain(beside.values());
            ids.for_each(|id| residency.remove(*id));
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
                offsets: layout.put(strings.own_offsets(rows), alignment),
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
        let patience = call.runtime.options.patience();
        let given_up = || call.check().is_err();
        let local = slot.heap.lease(self.len.max(1), patience.driver, given_up);
        let local = match local {
            Ok(local) => local,
            Err(NoLease::Late(lost)) => {
                slot.fault(permit, &lost);
                return None;
            }
            Err(_) => return None,
        };
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
        let completion = match slot.driver.run(&slot.device, list, patience, given_up) {
            Ok(back) => back.completion,
            Err(Undone::GivenUp(point)) => {
                let _why = given_up::leave(call, permit, point);
                return None;
            }
            Err(Undone::Lost(lost)) => {
                slot.fault(permit, &lost);
                return None;
            }
            Err(Undone::Invalid(_) | Undone::NotBegun) => return None,
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
                call.session.count_device_time(used, slot.clock);
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
