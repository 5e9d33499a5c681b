//! The steps of a list, handed to the driver on three streams.
//!
//! Copies to the GPU, work on it and copies from it each have a stream, so that those of several
//! lists run side by side. Within a list steps run in order: where one goes to another stream than
//! the one before, that stream first waits for an event of the other. A run of steps on one stream
//! is a [`Segment`], between two events that take its time.

use std::ptr;

use unlade_hal::{Arg, Command, CommandList, Lease, Slot, SlotId, Span, Status};

use crate::context::{Entered, Event, Stream};
use crate::driver::Fault;
use crate::ground::domain;
use crate::modules::Loaded;
use crate::returns::{Returned, Returns};

/// What works side by side with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    CopyIn,
    Compute,
    CopyOut,
}

/// A stream for each engine; they go back when this is dropped.
#[derive(Debug)]
pub(crate) struct Streams {
    streams: Vec<Stream>,
    returns: Returns,
}

impl Streams {
    pub(crate) fn new(gpu: &Entered<'_>, returns: &Returns) -> Result<Self, Fault> {
        let mut streams = Streams {
            streams: Vec::with_capacity(3),
            returns: returns.clone(),
        };
        for _engine in [Engine::CopyIn, Engine::Compute, Engine::CopyOut] {
            streams.streams.push(gpu.stream()?);
        }
        Ok(streams)
    }

    pub(crate) fn of(&self, engine: Engine) -> Stream {
        self.streams[engine as usize]
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        for stream in self.streams.drain(..) {
            self.returns.push(Returned::Stream(stream));
        }
    }
}

/// Steps on one stream, between two events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) engine: Engine,
    pub(crate) start: Event,
    pub(crate) end: Event,
}

/// Where a slot's first byte is.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// For the GPU.
    address: u64,
    /// For the host, null where it cannot reach it.
    host: *mut u8,
}

impl Place {
    fn of(slot: &mut Slot) -> Self {
        let address = match &*slot {
            // Only devices that read the host's memory coherently are given any.
            Slot::Foreign(buffer) => buffer.as_ptr() as u64,
            told_of => {
                let address = told_of.address(domain());
                address.expect("validated: it is reachable").0
            }
        };
        let host = match slot {
            Slot::Owned(lease) => lease
                .bytes_mut()
                .map_or(ptr::null_mut(), <[u8]>::as_mut_ptr),
            read_only => {
                let bytes = read_only.bytes();
                bytes.map_or(ptr::null(), <[u8]>::as_ptr).cast_mut()
            }
        };
        Place { address, host }
    }

    fn is_host(&self) -> bool {
        !self.host.is_null()
    }
}

/// Hands the steps of one list to the driver.
#[derive(Debug)]
pub(crate) struct Recorder<'a> {
    gpu: &'a Entered<'a>,
    streams: &'a Streams,
    /// Events to take, and where there is none, to make.
    events: &'a mut Vec<Event>,
    segments: Vec<Segment>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(
        gpu: &'a Entered<'a>,
        streams: &'a Streams,
        events: &'a mut Vec<Event>,
    ) -> Self {
        Recorder {
            gpu,
            streams,
            events,
            segments: Vec::new(),
        }
    }

    pub(crate) fn into_segments(self) -> Vec<Segment> {
        self.segments
    }

    /// All steps of a validated list, with the code of counted copies if it has any. After an error
    /// some of them are on their way.
    pub(crate) fn list(
        &mut self,
        list: &mut CommandList,
        mut statuses: Option<&mut Lease>,
        scratch: u64,
        copies: Option<&Loaded>,
    ) -> Result<(), Fault> {
        let CommandList { slots, commands } = list;
        let places: Vec<Place> = slots.iter_mut().map(Place::of).collect();
        let mut room = statuses
            .as_mut()
            .and_then(|lease| lease.bytes_mut())
            .map_or(ptr::null_mut(), <[u8]>::as_mut_ptr);
        let mut last_status = None;
        for (position, command) in commands.iter().enumerate() {
            match command {
                Command::Copy { from, to } => self.copy(&places, from, to)?,
                Command::Fill { to, byte } => self.fill(&places, to, *byte)?,
                Command::CopyCounted {
                    from,
                    to,
                    count,
                    unit_bits,
                } => {
                    let code = copies.expect("prepared: the list has counted copies");
                    self.copy_counted(
                        code,
                        [from, to, count].map(|span| resolved(span, &places)),
                        *unit_bits,
                    )?;
                }
                Command::Dispatch {
                    exe,
                    rows,
                    args,
                    status,
                } => {
                    let code: &Loaded = exe.code().expect("admitted: it is ours");
                    let stream = self.on(Engine::Compute)?;
                    let args: Vec<_> = args.iter().map(|arg| Resolved::of(arg, &places)).collect();
                    let status_bytes = exe.status_bytes();
                    let is_last = !commands[position + 1..]
                        .iter()
                        .any(|later| writes(later, status.slot));
                    let status = address(&places, status);
                    // SAFETY: The list owns what the dispatch writes and shares what it reads, all
                    // of it validated to be long enough for the rows, or, of the bytes of strings,
                    // as long as the code is told; the list is in flight until the stream is past
                    // this point. Scratch is the queue's, whose dispatches run one after the other,
                    // and is as long as the code says.
                    unsafe { code.launch(self.gpu, *rows, &args, status, scratch, stream) }?;
                    // Fetched at the end, where the list ends, unless a later step may write
                    // over it.
                    if !is_last {
                        // SAFETY: The room has a block for each dispatch, and is in flight, too.
                        unsafe { self.gpu.copy_out(room, status, status_bytes, stream) }?;
                        // SAFETY: As above.
                        room = unsafe { room.add(Status::BYTES as usize) };
                    } else {
                        last_status = Some((status, status_bytes));
                    }
                }
            }
        }
        let last = self.segments.last().copied();
        if let (Some((status, len)), Some(last)) = (last_status, last) {
            let stream = self.streams.of(last.engine);
            // SAFETY: As above.
            unsafe { self.gpu.copy_out(room, status, len, stream) }?;
        }
        if let Some(last) = last {
            self.gpu.record(last.end, self.streams.of(last.engine))?;
        }
        Ok(())
    }

    fn copy(&mut self, places: &[Place], from: &Span, to: &Span) -> Result<(), Fault> {
        let len = from.len();
        if len == 0 {
            return Ok(());
        }
        let (source, target) = (places[slot(from.slot)], places[slot(to.slot)]);
        let (source_address, target_address) = (address(places, from), address(places, to));
        // SAFETY: Validated: the ranges lie inside their slots, the target's is owned and apart
        // from the source's. The list is in flight until the stream is past this point.
        unsafe {
            match (source.is_host(), target.is_host()) {
                (true, false) => {
                    let stream = self.on(Engine::CopyIn)?;
                    let source = source.host.add(from.bytes.start as usize);
                    self.gpu.copy_in(target_address, source, len, stream)
                }
                (_, true) => {
                    let stream = self.on(Engine::CopyOut)?;
                    let target = target.host.add(to.bytes.start as usize);
                    self.gpu.copy_out(target, source_address, len, stream)
                }
                (false, false) => {
                    let stream = self.on(Engine::Compute)?;
                    self.gpu
                        .copy_within(target_address, source_address, len, stream)
                }
            }
        }
    }

    /// A kernel copies, as the length is not the host's to know; it reaches the host's memory as
    /// well as the GPU's.
    fn copy_counted(
        &mut self,
        code: &Loaded,
        [from, to, count]: [ResolvedSpan; 3],
        unit_bits: u32,
    ) -> Result<(), Fault> {
        if from.len == 0 {
            return Ok(());
        }
        let stream = self.on(Engine::Compute)?;
        let unit = Resolved::Scalar(u128::from(unit_bits).to_le_bytes());
        let [from_arg, to_arg, count_arg] = [from, to, count].map(Resolved::Span);
        let args = [from_arg, to_arg, count_arg, unit];
        // SAFETY: As for a copy: both spans have one length, which the kernel does not exceed, and
        // the count's has eight bytes. It needs neither status nor scratch.
        unsafe { code.launch(self.gpu, from.len, &args, 0, 0, stream) }
    }

    fn fill(&mut self, places: &[Place], to: &Span, byte: u8) -> Result<(), Fault> {
        if to.is_empty() {
            return Ok(());
        }
        let engine = match places[slot(to.slot)].is_host() {
            true => Engine::CopyOut,
            false => Engine::Compute,
        };
        let stream = self.on(engine)?;
        // SAFETY: As for a copy.
        unsafe { self.gpu.fill(address(places, to), byte, to.len(), stream) }
    }

    /// The stream of an engine, behind the steps before.
    fn on(&mut self, engine: Engine) -> Result<Stream, Fault> {
        let stream = self.streams.of(engine);
        let last = self.segments.last().copied();
        if last.is_some_and(|last| last.engine == engine) {
            return Ok(stream);
        }
        if let Some(last) = last {
            self.gpu.record(last.end, self.streams.of(last.engine))?;
            self.gpu.wait_for(last.end, stream)?;
        }
        let (start, end) = (self.event()?, self.event()?);
        self.segments.push(Segment { engine, start, end });
        self.gpu.record(start, stream)?;
        Ok(stream)
    }

    fn event(&mut self) -> Result<Event, Fault> {
        match self.events.pop() {
            Some(event) => Ok(event),
            None => self.gpu.event(),
        }
    }
}

/// An argument with its address.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resolved {
    Span(ResolvedSpan),
    Absent,
    Scalar([u8; 16]),
}

/// Memory as the GPU sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResolvedSpan {
    pub(crate) address: u64,
    pub(crate) len: u64,
    pub(crate) bit_offset: u8,
}

impl Resolved {
    fn of(arg: &Arg, places: &[Place]) -> Self {
        match arg {
            Arg::Span { span, bit_offset } => Resolved::Span(ResolvedSpan {
                bit_offset: *bit_offset,
                ..resolved(span, places)
            }),
            Arg::Absent => Resolved::Absent,
            Arg::Scalar(bytes) => Resolved::Scalar(*bytes),
        }
    }

    pub(crate) fn span(&self) -> Option<ResolvedSpan> {
        match *self {
            Resolved::Span(span) => Some(span),
            Resolved::Absent | Resolved::Scalar(_) => None,
        }
    }
}

/// Whether a step writes to a slot.
fn writes(command: &Command, to_slot: SlotId) -> bool {
    match command {
        Command::Copy { to, .. } | Command::Fill { to, .. } | Command::CopyCounted { to, .. } => {
            to.slot == to_slot
        }
        // Its own status, at least, may be there.
        Command::Dispatch { .. } => true,
    }
}

fn slot(id: SlotId) -> usize {
    usize::from(id.0)
}

/// Whole bytes.
fn resolved(span: &Span, places: &[Place]) -> ResolvedSpan {
    ResolvedSpan {
        address: address(places, span),
        len: span.len(),
        bit_offset: 0,
    }
}

fn address(places: &[Place], span: &Span) -> u64 {
    places[slot(span.slot)].address + span.bytes.start
}
