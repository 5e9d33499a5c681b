//! What the threads of a stream share, and what each of them does.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;
use unlade_hal::Timestamp;

use super::source::{Reader, Source};
use super::window::{Begun, Rest, Slot, Taken, Task, Window};
use crate::error::Error;
use crate::kernel::{Assignment, Kernel, Output, Record};
use crate::pool::{Pool, Room};
use crate::portion::{Piece, Portion};
use crate::session::Waits;
use crate::shape::Shaper;
use crate::sync::{Condvar, Mutex, MutexGuard, lock};
use crate::workers::Workers;

/// Portions read or computed ahead of the one that is taken next, per thread.
pub(crate) const AHEAD: usize = 2;

/// How long threads that compute must be busy for a thread of a device's to read on in their place: so
/// long that having it do that is little beside it.
pub(crate) const READ_ON: Duration = Duration::from_micros(100);

/// Part of the memory that threads may keep from each other between two portions.
pub(super) const WITHHELD: u64 = 4;

/// What the threads of a stream share.
pub(super) struct Shared {
    kernel: Kernel,
    /// Locked only by the one who reads, which [`Window::reading`] says.
    source: Mutex<Source>,
    pub(super) window: Mutex<Window>,
    /// Set once nobody waits for results any more.
    given_up: AtomicBool,
    changed: Condvar,
    /// Its number in the recording, if it is recorded.
    recorded: Option<u64>,
    /// The portion whose result was taken last, and when, while whoever took it is away; where that is
    /// recorded.
    away: Mutex<Option<(u64, Timestamp)>>,
    /// Threads that may help to compute.
    helpers: usize,
    /// For each device the threads that may have a portion on it each.
    queues: Vec<usize>,
    /// Whether these are so many, or the memory so little, that they keep none of it.
    crowded: bool,
}

impl Shared {
    pub(super) fn new(kernel: Kernel, reader: Reader) -> Arc<Self> {
        let core = &kernel.core;
        let runtime = &core.runtime;
        let threads = runtime.options.threads;
        let may_queue = |position: usize| match (&core.route.device, &core.route.auto) {
            (Some(plan), _) => plan.slot == position,
            (None, Some(auto)) => auto.plans[position].is_some(),
            (None, None) => false,
        };
        let devices = runtime.devices.len();
        let threads_on = |position| match may_queue(position) {
            true => runtime.options.queue_depth as usize,
            false => 0,
        };
        let queues: Vec<usize> = (0..devices).map(threads_on).collect();
        let workers = threads + queues.iter().sum::<usize>();
        let portions = workers * AHEAD;
        let shaper = Shaper::new(core, workers, portions);
        let mut window = Window::new(threads, devices, portions);
        window.latest = core.route.device.as_ref().map(|plan| plan.slot);
        let shared = Arc::new(Shared {
            crowded: is_crowded(workers, runtime.options.memory_budget),
            source: Mutex::new(Source::new(reader, shaper)),
            window: Mutex::new(window),
            given_up: AtomicBool::new(false),
            changed: Condvar::new(),
            recorded: runtime.recorder.next_stream(),
            away: Mutex::default(),
            helpers: threads - 1,
            queues,
            kernel,
        });
        shared.kernel.core.session.owes(&shared);
        let calls = shared.calls(&mut shared.lock());
        calls.begin(&shared);
        shared
    }

    pub(super) fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The next result, for whoever asks for it.
    pub(super) fn next(shared: &Arc<Shared>) -> Option<Result<Output, Error>> {
        shared.is_back();
        let mut window = shared.lock();
        loop {
            if let Some(error) = window.verdict.take() {
                return Some(Err(error));
            }
            if let Some(taken) = window.take() {
                let portion = taken.portion;
                match Shared::result(shared, window, taken) {
                    Ok(result) => {
                        shared.is_away(portion);
                        return Some(result);
                    }
                    Err(locked) => window = locked,
                }
                continue;
            }
            if window.is_at_end() {
                return None;
            }
            // What goes to a device is left to those who are there for that.
            let begun = window
                .begin_held()
                .or_else(|| window.begin_inline())
                .or_else(|| window.begin_unattended());
            if let Some(begun) = begun {
                let asked = window.is_first(begun.number);
                drop(window);
                shared.make(begun, asked);
                window = shared.lock();
            } else if window.may_read() {
                window.reading = true;
                drop(window);
                Shared::read(shared);
                window = shared.lock();
            } else {
                window = shared.wait(window);
            }
        }
    }

    /// Makes a result of what was taken; where there is none yet, the window comes back.
    fn result<'a>(
        shared: &'a Arc<Shared>,
        mut window: MutexGuard<'a, Window>,
        taken: Taken,
    ) -> Result<Result<Output, Error>, MutexGuard<'a, Window>> {
        let Taken {
            result,
            piece,
            again,
            ..
        } = taken;
        let result = match &piece {
            None => result,
            Some(piece) => match window.put_together(piece, result) {
                Some(pieces) => {
                    drop(window);
                    let core = &shared.kernel.core;
                    let calling = piece.whole.calling.as_slice();
                    let joined = pieces.and_then(|pieces| core.join_pieces(pieces, calling));
                    // Done whole it may find room; or its error is that of its first bad row.
                    let result = joined.or_else(|_| shared.run_whole(piece));
                    window = shared.lock();
                    result
                }
                None => return Err(window),
            },
        };
        let rest = result.is_err().then(|| shared.end(&mut window));
        let calls = shared.calls(&mut window);
        drop(window);
        drop((again, rest));
        calls.begin(shared);
        Ok(result)
    }

    /// The result of a batch, instead of its pieces'.
    fn run_whole(&self, piece: &Piece) -> Result<Output, Error> {
        let whole = Portion::whole(piece.whole.clone(), piece.number);
        match self.run_asked(Task::Again(whole), None) {
            Slot::Done { mut results, .. } => results.pop_front().expect("a batch has a result"),
            _ => unreachable!("what is asked for is made"),
        }
    }

    /// Makes a portion, which is asked for or ahead of time. Returns for how long devices have worked
    /// for it, if any have that tell.
    fn make(&self, begun: Begun, asked: bool) -> Option<Duration> {
        let Begun { number, task } = begun;
        let inline = task.computes();
        let made = match asked {
            true => self.run_asked(task, Some(number)),
            false => self.run_ahead(task, Some(number)),
        };
        let used = made.device_time();
        let now = self.now();
        let mut window = self.lock();
        let left = window.finish(number, inline, made, now);
        drop(window);
        self.changed.notify_all();
        drop(left);
        used
    }

    /// Makes the results that are asked for. Short of memory, it waits for those that are being made
    /// ahead of time, and gives those up that its own stream has made: they are made again in their
    /// turn. What other streams keep leaves half of the memory.
    fn run_asked(&self, task: Task, number: Option<u64>) -> Slot {
        let (mut results, portion) = self.run(task, number);
        let piece = portion.piece.clone();
        if lack_memory(&results) {
            let core = &self.kernel.core;
            let call = core.call(portion.number, 1, Some(&self.given_up));
            let none_ahead = core.runtime.ahead.none(|| call.check().is_err());
            if none_ahead.is_none() {
                return Slot::Done {
                    results: VecDeque::from([Err(call.why_ended())]),
                    piece,
                    again: None,
                };
            }
            let mut window = self.lock();
            let given_up = window.give_up_results();
            drop(window);
            drop((results, given_up));
            results = self.run(Task::Again(portion), number).0;
        }
        Slot::Done {
            results,
            piece,
            again: None,
        }
    }

    /// Makes results before they are asked for. All such results together leave half of the memory
    /// to those that are asked for, or are not kept: so a stream never waits for what was made ahead
    /// of it, be it by another stream. The same goes for a portion that finds no memory: when it is
    /// asked for, the caller has dropped what it will. What many threads would keep for their next
    /// portions could be the other half: they give it back before anybody who waits for them looks.
    pub(super) fn run_ahead(&self, task: Task, number: Option<u64>) -> Slot {
        let runtime = &self.kernel.core.runtime;
        let Some(_ahead) = runtime.ahead.try_make() else {
            return Slot::Held(task.into_portion()); // somebody is short of memory
        };
        if runtime.pool.room_ahead() == Room::None {
            return Slot::Held(task.into_portion());
        }
        let (results, portion) = self.run(task, number);
        let room = runtime.pool.room_ahead();
        let slot =
            if lack_memory(&results) || (room == Room::None && results.iter().all(Result::is_ok)) {
                drop(results); // while others wait for them
                Slot::Held(portion)
            } else {
                Slot::Done {
                    results,
                    piece: portion.piece.clone(),
                    again: (room != Room::Plenty).then_some(portion),
                }
            };
        if self.crowded {
            Pool::flush_thread();
        }
        slot
    }

    /// Runs a portion of this number, if it has one that it is to be recorded by.
    fn run(&self, task: Task, number: Option<u64>) -> (VecDeque<Result<Output, Error>>, Portion) {
        let core = &self.kernel.core;
        let assignment = match task {
            Task::Assigned(assignment) => *assignment,
            Task::Again(portion) => core.assign(portion, Duration::ZERO),
        };
        let call = core.call(assignment.portion.number, 1, Some(&self.given_up));
        let record = self.recorded.zip(number).map_or(Record::Not, Record::At);
        core.run_assigned(assignment, &call, record)
    }

    /// Reads a portion and decides where it is to run. The caller has set [`Window::reading`].
    fn read(shared: &Arc<Shared>) {
        let core = &shared.kernel.core;
        let recorded = shared.recorded.map(|_| shared.now());
        let read = lock(&shared.source).next(core, &shared.given_up);
        let recorded = recorded.map(|began| {
            let now = shared.now();
            (now, now.since(began))
        });
        let assigned = read.map(|read| {
            read.map(|portion| {
                let wait = shared.lock().cpu_wait(shared.now());
                Assignment {
                    read: recorded,
                    ..core.assign(portion, wait)
                }
            })
        });
        let mut window = shared.lock();
        window.reading = false;
        if !window.ended {
            match assigned {
                Some(Ok(assignment)) => window.push(assignment, shared.now()),
                Some(Err(error)) => {
                    window.ended = true;
                    window.push_result(Err(error));
                }
                None => window.ended = true,
            }
        }
        let calls = shared.calls(&mut window);
        drop(window);
        shared.changed.notify_all();
        calls.begin(shared);
    }

    /// The threads that there is something to do for. To be [begun](Calls::begin) once the window is
    /// unlocked.
    fn calls(&self, window: &mut Window) -> Calls {
        let reads = window.may_read();
        let helps = window.has_inline() || (reads && window.latest.is_none());
        let mut queues = window.queued();
        if reads
            && let Some(reader) = self.reader(window)
            && !queues.contains(&reader)
        {
            queues.push(reader);
        }
        queues.retain(|device| window.queueing[*device] < self.queues[*device]);
        let calls = Calls {
            helper: helps && window.helping < self.helpers,
            queues,
        };
        window.helping += usize::from(calls.helper);
        for device in &calls.queues {
            window.queueing[*device] += 1;
        }
        calls
    }

    /// The device whose threads read on: the one that has the latest portion; where threads that compute
    /// have that and all are busy, one that may have the next.
    fn reader(&self, window: &Window) -> Option<usize> {
        let may_queue = || self.queues.iter().position(|threads| *threads > 0);
        let leaves_off = || window.cpu_wait(self.now()) >= READ_ON;
        window
            .latest
            .or_else(|| may_queue().filter(|_| leaves_off()))
    }

    /// Nobody waits for results any more: nothing is read or computed from now on.
    pub(super) fn give_up(&self) {
        self.is_back();
        let mut window = self.lock();
        let rest = self.end(&mut window);
        drop(window);
        drop(rest);
    }

    pub(super) fn cancel(&self) {
        Waits::end(self, Error::Cancelled);
    }

    /// Ends the stream. What was computed comes back, to be dropped once the window is unlocked.
    #[must_use]
    fn end(&self, window: &mut Window) -> Rest {
        self.given_up.store(true, Ordering::Relaxed);
        window.end()
    }

    /// A result of a portion was taken by somebody who is away with it now.
    fn is_away(&self, portion: u64) {
        if self.recorded.is_some() {
            *lock(&self.away) = Some((portion, self.now()));
        }
    }

    /// Whoever takes the results is back.
    fn is_back(&self) {
        if let Some(stream) = self.recorded
            && let Some((portion, since)) = lock(&self.away).take()
        {
            let recorder = &self.kernel.core.runtime.recorder;
            recorder.consumed((stream, portion), self.now().since(since));
        }
    }

    fn now(&self) -> Timestamp {
        self.kernel.core.runtime.clock.now()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Window> {
        lock(&self.window)
    }

    fn wait<'a>(&self, window: MutexGuard<'a, Window>) -> MutexGuard<'a, Window> {
        let window = self.changed.wait(window);
        window.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waits for Shared {
    fn end(&self, error: Error) {
        let mut window = self.lock();
        // What is at its end is not cancelled, and what has failed does not fail again.
        let has_more = !window.ended || !window.is_empty();
        if has_more && !self.given_up.load(Ordering::Relaxed) {
            window.verdict = Some(error);
        }
        let rest = Shared::end(self, &mut window);
        drop(window);
        drop(rest);
        self.changed.notify_all();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = self.lock();
        f.debug_struct("KernelStream")
            .field("taken", &window.taken())
            .field("ahead", &window.len())
            .field("ended", &window.ended)
            .finish_non_exhaustive()
    }
}

/// Threads that are to begin.
#[must_use]
struct Calls {
    helper: bool,
    /// Devices for which one is to begin each.
    queues: SmallVec<[usize; 4]>,
}

impl Calls {
    fn begin(self, shared: &Arc<Shared>) {
        let core = &shared.kernel.core;
        if self.helper {
            let part = Part::new(shared, None);
            core.runtime.workers.spawn(core.session.task(), move || {
                part.help();
                None
            });
        }
        for device in self.queues {
            Part::new(shared, Some(device)).wait_for_thread(device);
        }
    }
}

/// A thread's part in a stream, counted until it is dropped: also where it never begins, for want of
/// a thread or because the runtime ends.
struct Part {
    shared: Arc<Shared>,
    /// The device that it has work; `None` where it computes.
    device: Option<usize>,
    /// Whether it has been counted out.
    left: bool,
}

impl Part {
    fn new(shared: &Arc<Shared>, device: Option<usize>) -> Self {
        Part {
            shared: Arc::clone(shared),
            device,
            left: false,
        }
    }

    /// Computes, and reads on where nothing waits for that, until there is no room or somebody else
    /// reads.
    fn help(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let mut window = shared.lock();
            if let Some(begun) = window.begin_inline() {
                drop(window);
                shared.make(begun, false);
            } else if window.may_read() {
                window.reading = true;
                drop(window);
                if !self.read_on(&shared.kernel.core.runtime.workers) {
                    return;
                }
            } else {
                return self.leave(&mut window);
            }
        }
    }

    /// Has its turn on a thread of a device.
    fn wait_for_thread(self, device: usize) {
        let shared = Arc::clone(&self.shared);
        let core = &shared.kernel.core;
        let workers = &core.runtime.devices[device].workers;
        workers.spawn(core.session.task(), move || self.queue(device));
    }

    /// Has a device work, and reads on where nothing waits for that and it is its to do, until there is
    /// no room or somebody else reads. Other streams have their turn in between. It tells what its last
    /// portion took of the device: while it made those before, nobody waited.
    fn queue(mut self, device: usize) -> Option<Duration> {
        let shared = Arc::clone(&self.shared);
        let core = &shared.kernel.core;
        let workers = &core.runtime.devices[device].workers;
        let mut used = Some(Duration::ZERO);
        loop {
            let mut window = shared.lock();
            if let Some(begun) = window.begin_queued(device) {
                drop(window);
                used = shared.make(begun, false);
            } else if window.may_read() && shared.reader(&window) == Some(device) {
                window.reading = true;
                drop(window);
                if !self.read_on(workers) {
                    return used;
                }
            } else {
                self.leave(&mut window);
                return used;
            }
            if workers.has_waiting(core.session.priority) {
                self.wait_for_thread(device);
                return used;
            }
        }
    }

    /// Reads, others having the thread's place meanwhile: a reader may block for as long as it likes.
    /// Where it must not, since too many do, it leaves that to whoever asks for results, and says so.
    fn read_on(&mut self, workers: &Workers) -> bool {
        let shared = Arc::clone(&self.shared);
        let priority = shared.kernel.core.session.priority;
        let read = workers.away(priority, || Shared::read(&shared));
        if read.is_none() {
            let mut window = shared.lock();
            window.reading = false;
            self.leave(&mut window);
            drop(window);
            shared.changed.notify_all();
        }
        read.is_some()
    }

    /// Under the lock under which it was seen that there is nothing to do: whoever has something
    /// later calls another.
    fn leave(&mut self, window: &mut Window) {
        *self.count(window) -= 1;
        self.left = true;
    }

    fn count<'a>(&self, window: &'a mut Window) -> &'a mut usize {
        match self.device {
            Some(device) => &mut window.queueing[device],
            None => &mut window.helping,
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.left {
            *self.count(&mut self.shared.lock()) -= 1;
            // Whoever waits for it does its work.
            self.shared.changed.notify_all();
        }
    }
}

fn lack_memory(results: &VecDeque<Result<Output, Error>>) -> bool {
    let lacks = |result: &Result<Output, Error>| matches!(result, Err(Error::Exhausted(_)));
    results.iter().any(lacks)
}

/// Whether what all threads may keep for their next portions is more than they may withhold.
pub(super) fn is_crowded(threads: usize, memory: u64) -> bool {
    threads as u64 * Pool::most_kept_by_a_thread(memory) > memory / WITHHELD
}
