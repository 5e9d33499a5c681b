//! A queue: lists on three streams, completions in order.

use std::cell::OnceCell;
use std::collections::{HashSet, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use unlade_hal::{
    Began, ClockKind, Command, CommandList, CompileError, Completion, DeviceLost, Leaked, Lease,
    MemoryKind, Outcome, Queue, Quiesced, RejectReason, Rejected, Seq, Slot, Status, StringsStatus,
    Timestamp, Timing, Wait, validate,
};

use crate::context::{Entered, Event};
use crate::device::{About, QueueTicket, Shared};
use crate::driver::Fault;
use crate::modules::Loaded;
use crate::record::{Engine, Recorder, Segment, Streams};
use crate::returns::{OnDrop, Returned};
use crate::wake::Wake;

/// How long a wait asks again and again before it sleeps in between.
const SPIN: Duration = Duration::from_micros(200);

/// How long a wait sleeps before it asks again.
const NAP: Duration = Duration::from_micros(50);

/// How old the point may be from which the time of waiting is counted. A `f32` of milliseconds
/// tells microseconds apart for some seconds only.
const EPOCH_AGE: Duration = Duration::from_secs(10);

/// A queue of a [`CudaDevice`](crate::CudaDevice).
#[derive(Debug)]
pub(crate) struct CudaQueue {
    shared: Arc<Shared>,
    streams: Streams,
    depth: usize,
    next: Seq,
    flying: VecDeque<Flight>,
    /// When, by the host's clock, the GPU came to this event.
    epoch: (Event, Instant),
    /// Events that no list uses.
    events: Vec<Event>,
    /// Memory for statuses that no list uses.
    statuses: Vec<Lease>,
    scratch: Option<Scratch>,
    /// Scratch that was too small, and that lists in flight still use.
    outgrown: Vec<Scratch>,
    /// The code of counted copies, once a list has had one.
    copies: Option<Arc<Loaded>>,
    /// What lists signal when they end, once somebody has asked for it; `None` inside where the
    /// process had no descriptor left.
    wake: OnceCell<Option<Arc<Wake>>>,
    _ticket: QueueTicket,
}

/// Memory of the GPU for the kernels' own use. Kernels of one queue run one after the other.
#[derive(Debug)]
struct Scratch {
    address: u64,
    len: u64,
    _keep: Arc<OnDrop>,
}

/// A list on the GPU.
#[derive(Debug)]
struct Flight {
    seq: Seq,
    list: CommandList,
    segments: Vec<Segment>,
    statuses: Option<Lease>,
    submitted: Instant,
}

impl CudaQueue {
    pub(crate) fn open(
        shared: Arc<Shared>,
        gpu: &Entered<'_>,
        depth: usize,
        ticket: QueueTicket,
    ) -> Result<Self, Fault> {
        let streams = Streams::new(gpu, &shared.ground.returns)?;
        let mut queue = CudaQueue {
            shared,
            epoch: (gpu.event()?, Instant::now()),
            streams,
            depth,
            next: Seq::FIRST,
            flying: VecDeque::new(),
            events: Vec::new(),
            statuses: Vec::new(),
            scratch: None,
            copies: None,
            wake: OnceCell::new(),
            outgrown: Vec::new(),
            _ticket: ticket,
        };
        queue.begin_epoch(gpu)?;
        Ok(queue)
    }

    /// Relates the GPU's time to the host's. Only while nothing is in flight, so that it takes no
    /// time.
    fn begin_epoch(&mut self, gpu: &Entered<'_>) -> Result<(), Fault> {
        let stream = self.streams.of(Engine::CopyIn);
        gpu.record(self.epoch.0, stream)?;
        gpu.synchronize(stream)?;
        self.epoch.1 = Instant::now();
        Ok(())
    }

    fn admit(&self, list: &CommandList) -> Result<(), RejectReason> {
        self.shared.check()?;
        if self.flying.len() >= self.depth {
            return Err(RejectReason::Full);
        }
        let About { info, capabilities } = &*self.shared.about;
        validate(list, info, capabilities)?;
        for (slot, memory) in list.slots.iter().enumerate() {
            if memory.bytes().is_none() && memory.address(self.shared.ground.home).is_none() {
                let message = format!(
                    "slot {slot} is memory that {} did not allocate, or lost by a reset",
                    info.name
                );
                return Err(RejectReason::Invalid(message));
            }
        }
        for (position, command) in list.commands.iter().enumerate() {
            if let Command::Dispatch { exe, .. } = command
                && !exe
                    .code::<Loaded>()
                    .is_some_and(|code| code.is_of(&self.shared.ground.returns))
            {
                let message = format!(
                    "step {position}: the program was compiled for another device, or before this \
                     one was reset"
                );
                return Err(RejectReason::Invalid(message));
            }
        }
        Ok(())
    }

    /// Gets what the list needs beside its own memory: what can fail without harm, fails here.
    fn prepare(
        &mut self,
        gpu: &Entered<'_>,
        list: &CommandList,
    ) -> Result<Option<Lease>, RejectReason> {
        let mut dispatches = 0;
        let mut scratch = 0;
        let mut counted = false;
        for command in &list.commands {
            match command {
                Command::Dispatch { exe, rows, .. } => {
                    let code: &Loaded = exe.code().expect("admitted: it is ours");
                    scratch = scratch.max(code.scratch_bytes(*rows));
                    dispatches += 1;
                }
                Command::CopyCounted { .. } => counted = true,
                Command::Copy { .. } | Command::Fill { .. } => {}
            }
        }
        let wanting = |what: unlade_hal::AllocError, idle: bool| match what {
            unlade_hal::AllocError::Lost(lost) => RejectReason::Lost(lost),
            // Lists that come back make room.
            _ if !idle => RejectReason::Full,
            other => RejectReason::Invalid(format!("no room for the kernels' scratch: {other}")),
        };
        let idle = self.flying.is_empty();
        if counted && self.copies.is_none() {
            let code = self.shared.ground.modules.copy_counted(&self.shared, gpu);
            let code = code.map_err(|error| match error {
                CompileError::Lost(lost) => RejectReason::Lost(lost),
                _ if !idle => RejectReason::Full,
                other => RejectReason::Invalid(format!("no code for counted copies: {other}")),
            })?;
            self.copies = Some(code);
        }
        // A step begins one segment at most.
        while self.events.len() < 2 * list.commands.len() {
            let event = gpu.event().map_err(|fault| match fault.code.is_sticky() {
                true => RejectReason::Lost(self.shared.lose(&fault)),
                // Lists that come back have theirs with them.
                false if !idle => RejectReason::Full,
                false => RejectReason::Invalid(format!("no room for its events: {fault}")),
            })?;
            self.events.push(event);
        }
        if scratch > self.scratch.as_ref().map_or(0, |scratch| scratch.len) {
            let len = scratch.next_power_of_two();
            let found = self.shared.allocate(gpu, len);
            let (address, keep) = found.map_err(|error| wanting(error, idle))?;
            let old = self.scratch.replace(Scratch {
                address,
                len,
                _keep: keep,
            });
            self.outgrown.extend(old);
        }
        if dispatches == 0 {
            return Ok(None);
        }
        let len = dispatches * Status::BYTES;
        if let Some(at) = self.statuses.iter().position(|lease| lease.len() >= len) {
            return Ok(Some(self.statuses.swap_remove(at)));
        }
        let slab = self.shared.allocate_host(gpu, MemoryKind::Readback, len);
        let slab = slab.map_err(|error| wanting(error, idle))?;
        Ok(slab.lease_whole())
    }

    /// Hands the list's steps to the driver.
    fn record(
        &mut self,
        gpu: &Entered<'_>,
        list: &mut CommandList,
        statuses: Option<&mut Lease>,
    ) -> (Vec<Segment>, Result<(), Fault>) {
        let mut recorder = Recorder::new(gpu, &self.streams, &mut self.events);
        let scratch = self.scratch.as_ref().map_or(0, |scratch| scratch.address);
        let done = recorder.list(list, statuses, scratch, self.copies.as_deref());
        (recorder.into_segments(), done)
    }

    /// Has the end of a list be told, if anybody wants to know.
    fn tell_the_end(&self, gpu: &Entered<'_>, segments: &[Segment]) -> Result<(), Fault> {
        match (self.wake(), segments.last()) {
            (Some(wake), Some(last)) => wake.behind(gpu, self.streams.of(last.engine)),
            // It has ended.
            (Some(wake), None) => {
                wake.signal();
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    fn wake(&self) -> Option<&Arc<Wake>> {
        self.wake.get()?.as_ref()
    }

    /// Begins to tell of ends: now, as what ended before was told of to nobody, and behind each list
    /// in flight.
    fn begin_to_tell(&self) -> Option<Arc<Wake>> {
        let wake = Wake::new().ok()?;
        wake.signal();
        self.shared.wake_when_lost(&wake);
        if let Ok(gpu) = self.shared.enter() {
            let engines = self
                .flying
                .iter()
                .filter_map(|flight| flight.segments.last());
            let told = engines
                .map(|last| self.streams.of(last.engine))
                .try_for_each(|stream| wake.behind(&gpu, stream));
            if let Err(fault) = told {
                self.shared.lose(&fault);
            }
        }
        Some(wake)
    }

    /// Whether a list is done.
    fn is_done(&self, gpu: &Entered<'_>, flight: &Flight) -> Result<bool, DeviceLost> {
        match flight.segments.last() {
            None => Ok(true),
            Some(last) => gpu
                .is_reached(last.end)
                .map_err(|fault| self.shared.lose(&fault)),
        }
    }

    /// The completion of a list that is done.
    fn complete(&mut self, gpu: &Entered<'_>, flight: Flight) -> Result<Completion, DeviceLost> {
        let timing = self
            .timing(gpu, &flight)
            .map_err(|fault| self.shared.lose(&fault))?;
        self.events.extend(
            flight
                .segments
                .iter()
                .flat_map(|each| [each.start, each.end]),
        );
        let outcome = outcome(&flight);
        self.statuses.extend(flight.statuses);
        if self.flying.is_empty() {
            self.outgrown.clear();
        }
        Ok(Completion {
            seq: flight.seq,
            list: flight.list,
            outcome,
            timing,
        })
    }

    fn timing(&self, gpu: &Entered<'_>, flight: &Flight) -> Result<Timing, Fault> {
        let mut timing = Timing {
            clock: Some(self.shared.about.info.clock),
            ..Timing::default()
        };
        for segment in &flight.segments {
            let taken = gpu.elapsed(segment.start, segment.end)?;
            *match segment.engine {
                Engine::CopyIn => &mut timing.copy_in,
                Engine::Compute => &mut timing.compute,
                Engine::CopyOut => &mut timing.copy_out,
            } += taken;
        }
        let Some(first) = flight.segments.first() else {
            return Ok(timing);
        };
        let since_epoch = |segment: &Segment| gpu.elapsed(self.epoch.0, segment.start);
        // When it was submitted is told by the host's clock, and by the GPU's where these are not one:
        // then it is not told from when the list began.
        let submitted = match self.shared.about.info.clock {
            ClockKind::Wall => flight.submitted.saturating_duration_since(self.epoch.1),
            ClockKind::Virtual => since_epoch(first)?,
        };
        if self.shared.about.info.clock == ClockKind::Virtual {
            timing.submitted = Some(Timestamp(submitted));
        }
        let began = |engine| match flight.segments.iter().find(|each| each.engine == engine) {
            Some(segment) => Ok(since_epoch(segment)?.saturating_sub(submitted)),
            None => Ok(Duration::ZERO),
        };
        let began = Began {
            copy_in: began(Engine::CopyIn)?,
            compute: began(Engine::Compute)?,
            copy_out: began(Engine::CopyOut)?,
        };
        timing.queued = match first.engine {
            Engine::CopyIn => began.copy_in,
            Engine::Compute => began.compute,
            Engine::CopyOut => began.copy_out,
        };
        timing.began = Some(began);
        Ok(timing)
    }

    /// Waits until a list is done, at most until the deadline.
    fn wait_for(
        &self,
        gpu: &Entered<'_>,
        flight: &Flight,
        deadline: Option<Instant>,
    ) -> Result<Wait, DeviceLost> {
        let began = Instant::now();
        loop {
            if self.is_done(gpu, flight)? {
                return Ok(Wait::Reached);
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(Wait::TimedOut);
            }
            if now - began < SPIN {
                thread::yield_now();
            } else {
                thread::sleep(NAP);
            }
        }
    }
}

impl Queue for CudaQueue {
    fn submit(&mut self, list: CommandList) -> Result<Seq, Rejected> {
        let mut list = list;
        if let Err(reason) = self.admit(&list) {
            return Err(Rejected { list, reason });
        }
        let shared = self.shared.clone();
        let gpu = match shared.enter() {
            Ok(gpu) => gpu,
            Err(lost) => {
                return Err(Rejected {
                    list,
                    reason: lost.into(),
                });
            }
        };
        // A simulated GPU's time goes on from the queue's beginning: there is no other to relate it to.
        if self.flying.is_empty()
            && shared.about.info.clock == ClockKind::Wall
            && self.epoch.1.elapsed() > EPOCH_AGE
            && let Err(fault) = self.begin_epoch(&gpu)
        {
            return Err(Rejected {
                list,
                reason: shared.lose(&fault).into(),
            });
        }
        let mut statuses = match self.prepare(&gpu, &list) {
            Ok(statuses) => statuses,
            Err(reason) => return Err(Rejected { list, reason }),
        };
        let submitted = Instant::now();
        let (segments, done) = self.record(&gpu, &mut list, statuses.as_mut());
        let done = done.and_then(|()| self.tell_the_end(&gpu, &segments));
        if let Err(fault) = done {
            // Some of its steps are on their way, so the list is in flight on a device that is
            // lost: it cannot come back as if nothing had happened.
            shared.lose(&fault);
        }
        let seq = self.next;
        self.flying.push_back(Flight {
            seq,
            list,
            segments,
            statuses,
            submitted,
        });
        self.next = seq.next();
        Ok(seq)
    }

    fn poll(&mut self, done: &mut Vec<Completion>) -> Result<(), DeviceLost> {
        // What is signalled from here on is not missed: it is looked at below, or told again.
        if let Some(wake) = self.wake() {
            wake.reset();
        }
        let shared = self.shared.clone();
        let gpu = shared.enter()?;
        while let Some(first) = self.flying.front() {
            if !self.is_done(&gpu, first)? {
                break;
            }
            let flight = self.flying.pop_front().expect("looked at above");
            done.push(self.complete(&gpu, flight)?);
        }
        Ok(())
    }

    fn wait(&mut self, seq: Seq, timeout: Duration) -> Result<Wait, DeviceLost> {
        let gpu = self.shared.enter()?;
        let deadline = Instant::now().checked_add(timeout);
        if seq >= self.next {
            thread::sleep(timeout);
            return Ok(Wait::TimedOut);
        }
        match self.flying.iter().find(|flight| flight.seq == seq) {
            Some(flight) => self.wait_for(&gpu, flight, deadline),
            None => Ok(Wait::Reached),
        }
    }

    /// Signalled by the driver, and when the device is lost; reset by the next poll. `None` where the
    /// process had no descriptor left when it was first asked for.
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        let wake = self.wake.get_or_init(|| self.begin_to_tell()).as_ref();
        wake.map(|wake| wake.descriptor())
    }

    fn quiesce(mut self: Box<Self>, timeout: Duration) -> Quiesced {
        let mut quiesced = Quiesced::default();
        let shared = self.shared.clone();
        let deadline = Instant::now().checked_add(timeout);
        if let Ok(gpu) = shared.enter() {
            while let Some(first) = self.flying.front() {
                if self.wait_for(&gpu, first, deadline) != Ok(Wait::Reached) {
                    break;
                }
                let flight = self.flying.pop_front().expect("looked at above");
                match self.complete(&gpu, flight) {
                    Ok(completion) => quiesced.completions.push(completion),
                    Err(_lost) => break,
                }
            }
        }
        quiesced.leaked = self.abandon();
        quiesced
    }
}

impl CudaQueue {
    /// Leaves what is in flight to the GPU, for good, and the memory that all of it shares, which is
    /// counted with the first.
    fn abandon(&mut self) -> Vec<Leaked> {
        if self.flying.is_empty() {
            return Vec::new();
        }
        let scratch: Vec<Scratch> = self.outgrown.drain(..).chain(self.scratch.take()).collect();
        let mut shared: u64 = scratch.iter().map(|scratch| scratch.len).sum();
        std::mem::forget(scratch);
        let mut read = HashSet::new();
        let abandoned = self.flying.drain(..).map(|flight| {
            let resident = flight.list.slots.iter().map(|slot| match slot {
                // Lists may share one; it is never let go, whoever else has it.
                Slot::Resident(lease) if read.insert(Arc::as_ptr(lease)) => lease.len(),
                _ => 0,
            });
            let resident: u64 = resident.sum();
            let statuses = flight.statuses.as_ref().map_or(0, Lease::len);
            flight.statuses.into_iter().for_each(Lease::abandon);
            Leaked {
                seq: flight.seq,
                bytes: flight.list.abandon() + resident + statuses + std::mem::take(&mut shared),
            }
        });
        abandoned.collect()
    }
}

impl Drop for CudaQueue {
    fn drop(&mut self) {
        let _counted_by_nobody = self.abandon();
        let returns = &self.shared.ground.returns;
        for event in self.events.drain(..).chain([self.epoch.0]) {
            returns.push(Returned::Event(event));
        }
    }
}

/// What came of a list that is done, by what its dispatches wrote.
fn outcome(flight: &Flight) -> Outcome {
    let dispatches = flight
        .list
        .commands
        .iter()
        .filter_map(|command| match command {
            Command::Dispatch { exe, .. } => Some(exe),
            _ => None,
        });
    let bytes = flight
        .statuses
        .as_ref()
        .and_then(Lease::bytes)
        .unwrap_or(&[]);
    let mut written = Vec::new();
    for (block, exe) in bytes.chunks_exact(Status::BYTES as usize).zip(dispatches) {
        if exe.strings().is_some() {
            let (block, _room) = block.split_first_chunk().expect("a block is longer");
            written.push(StringsStatus::from_bytes(*block).kept);
            continue;
        }
        let status = Status::from_bytes(block.try_into().expect("a block's length"));
        match status.trap {
            Some(trap) => return Outcome::Trapped(trap),
            None => written.push(status.kept),
        }
    }
    Outcome::Done {
        written: written.into(),
    }
}
