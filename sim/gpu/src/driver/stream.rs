//! Streams: queues of work, when it runs, and how long it takes.

use std::collections::VecDeque;
use std::time::Duration;

use unlade_hal::{Clock, Timestamp};

use super::code::{Answer, Code};
use super::control::{LaunchRecord, Mode};
use super::state::State;
use super::work::{Launch, Mark, Place, Work};
use crate::exec::{self, Counters, Interleaving};
use crate::host::HostFunction;
use crate::memory::HostWindow;

/// A stream of a device: the legacy default one, the one of each thread's, or one that was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId {
    pub(super) device: usize,
    handle: u64,
}

/// Launches that are remembered.
const LAUNCHES: usize = 1024;

/// `CU_STREAM_LEGACY`; also what 0 means.
const LEGACY: u64 = 1;

/// `CU_STREAM_PER_THREAD`; one for all threads here.
const PER_THREAD: u64 = 2;

/// `CU_STREAM_NON_BLOCKING`.
const NON_BLOCKING: u32 = 1;

impl StreamId {
    pub(super) fn is_created(self) -> bool {
        self.handle > PER_THREAD
    }

    fn is_legacy(self) -> bool {
        self.handle == LEGACY
    }
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    work: VecDeque<Work>,
    /// When what it did so far was done.
    time: Timestamp,
    /// It waits for the legacy stream, and that for it.
    blocking: bool,
    /// It does nothing any more.
    hangs: bool,
}

impl Stream {
    /// What it has yet to free.
    pub(super) fn frees(&self) -> impl Iterator<Item = u64> {
        self.work.iter().filter_map(|work| match work {
            Work::Free(at) => Some(*at),
            _ => None,
        })
    }
}

/// When the parts of a device that work side by side are free.
#[derive(Debug, Default)]
pub(super) struct Engines {
    copy_in: Timestamp,
    copy_out: Timestamp,
    compute: Timestamp,
}

impl State {
    /// The stream of a handle, of the device whose context is current.
    pub(crate) fn stream(&mut self, handle: u64) -> Answer<StreamId> {
        let device = self.enter()?;
        let handle = if handle == 0 { LEGACY } else { handle };
        let id = StreamId { device, handle };
        if handle <= PER_THREAD {
            let blocking = handle == PER_THREAD;
            self.streams.entry(id).or_insert_with(|| Stream {
                blocking,
                ..Stream::default()
            });
        }
        if self.streams.contains_key(&id) {
            Ok(id)
        } else {
            Err(Code::INVALID_HANDLE)
        }
    }

    pub(crate) fn create_stream(&mut self, flags: u32) -> Answer<u64> {
        let device = self.enter_to_allocate()?;
        if flags > NON_BLOCKING {
            return Err(Code::INVALID_VALUE);
        }
        let handle = self.handle();
        let stream = Stream {
            blocking: flags & NON_BLOCKING == 0,
            ..Stream::default()
        };
        self.streams.insert(StreamId { device, handle }, stream);
        Ok(handle)
    }

    /// What it was given still runs: here, before it goes.
    pub(crate) fn destroy_stream(&mut self, id: StreamId) -> Answer {
        if !id.is_created() {
            return Err(Code::INVALID_HANDLE);
        }
        let drained = self.drain(id);
        self.streams.remove(&id);
        drained
    }

    pub(crate) fn query_stream(&mut self, id: StreamId) -> Answer {
        let stream = &self.streams[&id];
        if stream.work.is_empty() && !stream.hangs {
            self.host_saw(stream.time);
            return Ok(());
        }
        if self.config.mode == Mode::Lazy {
            self.step(id)?;
        }
        Err(Code::NOT_READY)
    }

    /// Gives a stream something to do.
    pub(super) fn push(&mut self, id: StreamId, work: Work) -> Answer {
        self.order_behind_legacy(id)?;
        self.enqueue(id, work)
    }

    /// Has a stream call a function of the host's: behind what it was given before, and what it is
    /// given later waits for it. After an error that spoils the context it is never called. So says
    /// the driver's manual of `cuLaunchHostFunc`.
    pub(crate) fn launch_host(&mut self, id: StreamId, function: HostFunction) -> Answer {
        self.push(id, Work::Host(function))
    }

    fn enqueue(&mut self, id: StreamId, work: Work) -> Answer {
        let now = self.clock.now();
        let stream = self.streams.get_mut(&id).ok_or(Code::INVALID_HANDLE)?;
        if stream.work.is_empty() {
            // An idle stream begins when it is told to, not before.
            stream.time = stream.time.max(now);
        }
        stream.work.push_back(work);
        if self.config.mode == Mode::Eager {
            while self.step(id)? {}
        }
        Ok(())
    }

    /// The legacy stream and blocking ones wait for each other.
    fn order_behind_legacy(&mut self, id: StreamId) -> Answer {
        let waits = |other: StreamId, stream: &Stream, me: &Stream| {
            let pair = (id.is_legacy() && stream.blocking) || (other.is_legacy() && me.blocking);
            other != id && other.device == id.device && pair && !stream.work.is_empty()
        };
        let me = self.streams.get(&id).ok_or(Code::INVALID_HANDLE)?;
        let behind = self
            .streams
            .iter()
            .filter(|(other, stream)| waits(**other, stream, me));
        let behind: Vec<StreamId> = behind.map(|(other, _)| *other).collect();
        for other in behind {
            let mark = Mark::new(other);
            self.enqueue(other, Work::Record(mark.clone()))?;
            self.enqueue(id, Work::Wait(mark))?;
        }
        Ok(())
    }

    /// Some streams go on at every call, out of step.
    pub(super) fn let_streams_run(&mut self) {
        if self.config.mode != Mode::Concurrent {
            return;
        }
        let busy = |(id, stream): (&StreamId, &Stream)| (!stream.work.is_empty()).then_some(*id);
        let busy: Vec<StreamId> = self.streams.iter().filter_map(busy).collect();
        for id in busy {
            let steps = self.rng.below(4);
            // An error sticks to the context, whose next call tells it.
            let _stopped = (0..steps).try_for_each(|_| self.step(id).map(drop));
        }
    }

    /// Does the next thing of a stream; false if there is none that can be done.
    pub(super) fn step(&mut self, id: StreamId) -> Answer<bool> {
        if let Some(sticky) = self.devices[id.device].sticky {
            return Err(sticky);
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(false);
        };
        let waits =
            matches!(stream.work.front(), Some(Work::Wait(mark)) if mark.reached().is_none());
        if waits || stream.hangs {
            return Ok(false);
        }
        let Some(work) = stream.work.pop_front() else {
            return Ok(false);
        };
        self.perform(id, work)?;
        Ok(true)
    }

    /// Until the stream has nothing left to do.
    pub(crate) fn drain(&mut self, id: StreamId) -> Answer {
        while self
            .streams
            .get(&id)
            .is_some_and(|stream| !stream.work.is_empty() || stream.hangs)
        {
            self.step_or_unblock(id)?;
        }
        if let Some(stream) = self.streams.get(&id) {
            self.host_saw(stream.time);
        }
        self.devices[id.device].sticky.map_or(Ok(()), Err)
    }

    pub(crate) fn drain_device(&mut self, device: usize) -> Answer {
        let ids: Vec<StreamId> = self
            .streams
            .keys()
            .copied()
            .filter(|id| id.device == device)
            .collect();
        ids.into_iter().try_for_each(|id| self.drain(id))
    }

    pub(super) fn drain_until(&mut self, mark: &Mark) -> Answer {
        while mark.reached().is_none() {
            self.step_or_unblock(mark.stream)?;
        }
        if let Some(time) = mark.reached() {
            self.host_saw(time);
        }
        Ok(())
    }

    /// Up to a point that was asked for, or as far as it goes.
    pub(super) fn run_until(&mut self, mark: &Mark) -> Answer {
        while mark.reached().is_none() {
            if self.step(mark.stream)? {
                continue;
            }
            let stream = self.streams.get(&mark.stream).ok_or(Code::INVALID_HANDLE)?;
            match stream.work.front() {
                Some(Work::Wait(other)) if !stream.hangs => {
                    let other = other.clone();
                    self.run_until(&other)?;
                    if other.reached().is_none() {
                        return Ok(());
                    }
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// One step of a stream that something waits for, or of the one that it waits for itself.
    fn step_or_unblock(&mut self, id: StreamId) -> Answer {
        if self.step(id)? {
            return Ok(());
        }
        let stream = self.streams.get(&id).ok_or(Code::INVALID_HANDLE)?;
        if stream.hangs {
            // A real one would wait for ever.
            return Err(self.spoil(id.device, Code::LAUNCH_TIMEOUT));
        }
        match stream.work.front() {
            Some(Work::Wait(mark)) => {
                let mark = mark.clone();
                self.drain_until(&mark)
            }
            // Its records are all behind it: it was reached, or the stream is gone.
            _ => Err(Code::UNKNOWN),
        }
    }

    fn perform(&mut self, id: StreamId, work: Work) -> Answer {
        let took = match work {
            Work::Copy { to, from, len } => {
                let time = self.copy_time(id.device, &to, &from, len);
                let engine = engine(&to, &from);
                self.copy(id.device, &to, from, len)?;
                Some((engine, time))
            }
            Work::Fill { to, len, pattern } => {
                let time = self.devices[id.device].profile.fill_time(len);
                self.fill(id.device, &to, len, &pattern)?;
                Some((Engine::Compute, time))
            }
            Work::Launch(launch) => match self.run_kernel(id, &launch)? {
                Some(time) => Some((Engine::Compute, time)),
                None => return Ok(()),
            },
            Work::Free(at) => {
                self.free_now(id.device, at)?;
                None
            }
            Work::Host(function) => {
                function.call();
                None
            }
            Work::Record(mark) => {
                mark.reach(self.streams[&id].time);
                None
            }
            Work::Wait(mark) => {
                let stream = self.streams.get_mut(&id).ok_or(Code::INVALID_HANDLE)?;
                stream.time = stream.time.max(mark.reached().unwrap_or_default());
                None
            }
        };
        if let Some((engine, time)) = took {
            self.pass(id, engine, time);
        }
        Ok(())
    }

    /// Lets a stream's time pass, on an engine that does one thing at a time.
    fn pass(&mut self, id: StreamId, engine: Engine, time: Duration) {
        let engines = &mut self.devices[id.device].engines;
        let free = match engine {
            Engine::CopyIn => &mut engines.copy_in,
            Engine::CopyOut => &mut engines.copy_out,
            Engine::Compute => &mut engines.compute,
        };
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let end = Timestamp(stream.time.max(*free).0 + time);
        stream.time = end;
        *free = end;
    }

    /// How long a kernel took; none if it does not end.
    fn run_kernel(&mut self, id: StreamId, launch: &Launch) -> Answer<Option<Duration>> {
        if launch.fails {
            return Err(self.spoil(id.device, Code::LAUNCH_FAILED));
        }
        let interleaving = Interleaving {
            seed: self.rng.next(),
            ..self.config.interleaving.clone()
        };
        let grid = exec::Launch {
            kernel: &launch.kernel,
            grid: launch.grid,
            block: launch.block,
            dynamic_shared: launch.dynamic_shared,
            parameters: &launch.parameters,
            interleaving: &interleaving,
        };
        let window = match self.devices[id.device].profile.coherent {
            true => HostWindow::coherent(self.known_ranges()),
            false => HostWindow::mapped(self.mapped_ranges()),
        };
        let device = &mut self.devices[id.device];
        device.memory.open_window(window);
        let counters: Counters = match exec::run(&grid, &mut device.memory) {
            Ok(counters) => counters,
            Err(finding) => return Err(self.found(id.device, *finding)),
        };
        let time = device.profile.kernel_time(&counters);
        self.counters += counters;
        if self.launches.len() == LAUNCHES {
            self.launches.pop_front();
        }
        self.launches.push_back(LaunchRecord {
            kernel: launch.kernel.name().to_owned(),
            blocks: launch.grid,
            threads: launch.block,
            counters,
            time,
        });
        Ok(Some(time))
    }

    /// The stream does nothing any more: a fault.
    pub(super) fn hang(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.hangs = true;
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Engine {
    CopyIn,
    CopyOut,
    Compute,
}

fn engine(to: &Place, from: &Place) -> Engine {
    match (from.is_host(), to.is_host()) {
        (_, true) => Engine::CopyOut,
        (true, false) => Engine::CopyIn,
        (false, false) => Engine::Compute,
    }
}
