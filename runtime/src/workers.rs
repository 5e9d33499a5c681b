//! Threads that run work for streams and tickets.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::scheduler::{Charge, Job, JobId, Line, NumberedMap, Priority};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard, thread};

/// Tells for how long a device has worked for it, where one has that tells.
type Task = Box<dyn FnOnce() -> Option<Duration> + Send>;

/// Threads, started when first needed, that run tasks in the order in which the
/// [scheduler](crate::scheduler) gives turns on devices: those of the highest priority first, and of
/// one priority by what their sessions have had so far, relative to their weights.
pub(crate) struct Workers {
    name: &'static str,
    shared: Arc<Shared>,
}

/// How many tasks run at once, at most.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// In all.
    InAll(usize),
    /// Of each priority: what waits for a device, behind those of a higher one, keeps none of those
    /// from it.
    OfEach(usize),
}

/// By priority.
type Counts = [usize; Priority::ALL.len()];

/// Tasks that may be [away](Workers::away) at once, each with a thread of its own.
const MOST_AWAY: usize = 64;

struct Shared {
    limit: Limit,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    line: Line,
    /// Those in the line.
    tasks: NumberedMap<JobId, (Job, Task)>,
    /// Tasks that there have been.
    spawned: u64,
    waiting: Counts,
    running: Counts,
    away: usize,
    started: usize,
    idle: usize,
    closed: bool,
}

impl Limit {
    /// Whether one more task of a priority may run beside these.
    fn admits(self, running: &Counts, priority: Priority) -> bool {
        match self {
            Limit::InAll(limit) => running.iter().sum::<usize>() < limit,
            Limit::OfEach(limit) => running[priority as usize] < limit,
        }
    }

    /// How many of those that wait may run beside those that do.
    fn runnable(self, waiting: &Counts, running: &Counts) -> usize {
        match self {
            Limit::InAll(limit) => {
                let room = limit.saturating_sub(running.iter().sum());
                waiting.iter().sum::<usize>().min(room)
            }
            Limit::OfEach(limit) => {
                let lines = waiting.iter().zip(running);
                let of_each = |(waiting, running): (&usize, &usize)| {
                    limit.saturating_sub(*running).min(*waiting)
                };
                lines.map(of_each).sum()
            }
        }
    }

    /// How many may run at once in all.
    fn most(self) -> usize {
        match self {
            Limit::InAll(limit) => limit,
            Limit::OfEach(limit) => limit * Priority::ALL.len(),
        }
    }
}

impl State {
    fn push(&mut self, job: Job, task: Task) {
        let id = JobId(self.spawned);
        self.spawned += 1;
        self.waiting[job.priority as usize] += 1;
        self.line.push(id, &job);
        self.tasks.insert(id, (job, task));
    }

    /// The next task, if one may run: from now on it does.
    fn pop(&mut self, limit: Limit) -> Option<(Job, Task, Charge)> {
        let running = &self.running;
        let may = |priority| limit.admits(running, priority);
        let (id, charge) = self.line.pop_of(may, |_| true)?;
        let (job, task) = self.tasks.remove(&id).expect("what is in line is there");
        self.waiting[job.priority as usize] -= 1;
        self.running[job.priority as usize] += 1;
        Some((job, task, charge))
    }

    /// Threads that have no task, be they idle or not there yet.
    fn free(&self) -> usize {
        self.started - self.running.iter().sum::<usize>() - self.away
    }

    /// Takes out what nobody will run.
    fn give_up(&mut self) -> NumberedMap<JobId, (Job, Task)> {
        self.line.drain();
        self.waiting = Counts::default();
        std::mem::take(&mut self.tasks)
    }
}

impl Workers {
    /// Threads of this name, numbered.
    pub(crate) fn new(name: &'static str, limit: Limit) -> Self {
        let limit = match limit {
            Limit::InAll(limit) => Limit::InAll(limit.max(1)),
            Limit::OfEach(limit) => Limit::OfEach(limit.max(1)),
        };
        let shared = Shared {
            limit,
            state: Mutex::default(),
            work: Condvar::new(),
        };
        Workers {
            name,
            shared: Arc::new(shared),
        }
    }

    /// Runs a task on one of the threads, for the session of this job. That pays for what a device has
    /// worked for the task, where the task tells; else for as long as it has the thread. A panic ends
    /// the task alone; whoever waits for it learns of that from what the task drops.
    pub(crate) fn spawn(&self, job: Job, task: impl FnOnce() -> Option<Duration> + Send + 'static) {
        let mut state = self.shared.lock();
        state.push(job, Box::new(task));
        self.have_run(state);
    }

    /// Has a task of this priority do something that may take for ever, on the thread that it has: while
    /// it is away, others have its place. `None` where too many are away: it must not do it then, since
    /// nobody could run what is in line.
    pub(crate) fn away<T>(&self, priority: Priority, act: impl FnOnce() -> T) -> Option<T> {
        let mut state = self.shared.lock();
        if state.away == MOST_AWAY {
            return None;
        }
        state.away += 1;
        state.running[priority as usize] -= 1;
        let _comes_back = Away {
            workers: self,
            priority,
        };
        self.have_run(state);
        Some(act())
    }

    /// Whether a task of this priority waits for a thread.
    pub(crate) fn has_waiting(&self, priority: Priority) -> bool {
        self.shared.lock().waiting[priority as usize] > 0
    }

    /// Sees to it that there is a thread for each task that may run.
    fn have_run(&self, mut state: MutexGuard<'_, State>) {
        let runnable = self.shared.limit.runnable(&state.waiting, &state.running);
        if runnable == 0 {
            return;
        }
        if state.free() >= runnable {
            drop(state);
            return self.shared.work.notify_one();
        }
        state.started += 1;
        let name = format!("{}-{}", self.name, state.started);
        drop(state);
        let shared = Arc::clone(&self.shared);
        let started = thread::Builder::new()
            .name(name)
            .spawn(move || shared.work());
        if started.is_err() {
            self.shared.cannot_start();
        }
    }
}

/// A task that is away, until it comes back.
struct Away<'a> {
    workers: &'a Workers,
    priority: Priority,
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        let mut state = self.workers.shared.lock();
        state.away -= 1;
        state.running[self.priority as usize] += 1;
    }
}

#[cfg(all(test, shuttle))]
impl Workers {
    /// Whether no task waits or runs.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.shared.lock();
        state.tasks.is_empty() && state.idle == state.started
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some((job, task, charge)) = state.pop(self.limit) {
                drop(state);
                let began = Instant::now();
                // Tasks catch what they can tell of; this keeps the thread.
                let worked = catch_unwind(AssertUnwindSafe(task));
                let used = worked.ok().flatten().unwrap_or_else(|| began.elapsed());
                state = self.lock();
                state.running[job.priority as usize] -= 1;
                state.line.settle(&job, charge, used);
            } else if state.closed {
                return;
            } else if state.started - state.away > self.limit.most() {
                // There are so many since some were away.
                state.started -= 1;
                return;
            } else {
                state.idle += 1;
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }

    /// The system gives no thread. Where others run they get to the task; where none does, nobody
    /// would, so it is dropped, which its owner sees.
    fn cannot_start(&self) {
        let mut state = self.lock();
        state.started -= 1;
        let orphans = (state.started == 0).then(|| state.give_up());
        drop(state);
        drop(orphans);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        // Dropped outside of the lock: what they own may end here.
        let tasks = state.give_up();
        drop(state);
        drop(tasks);
        self.shared.work.notify_all();
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("limit", &self.shared.limit)
            .finish_non_exhaustive()
    }
}

/// The words of a panic.
pub(crate) fn panic_message(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => match panic.downcast::<&'static str>() {
            Ok(message) => (*message).to_owned(),
            Err(_) => "without a message".to_owned(),
        },
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::scheduler::SessionKey;

    fn task(session: u64, weight: u32, priority: Priority) -> Job {
        Job {
            session: SessionKey(session),
            weight,
            priority,
            ..Job::new(1)
        }
    }

    /// Runs tasks of so many milliseconds on one thread, all of them there before the first begins;
    /// returns whose they were, in the order in which they ran.
    fn order(tasks: &[(Job, u64)]) -> Vec<u64> {
        let workers = Workers::new("test", Limit::InAll(1));
        let (open, gate) = mpsc::channel::<()>();
        workers.spawn(Job::new(1), move || {
            gate.recv().unwrap();
            None
        });
        let (tell, told) = mpsc::channel();
        for (job, millis) in tasks {
            let (tell, session) = (tell.clone(), job.session.0);
            let used = Duration::from_millis(*millis);
            workers.spawn(job.clone(), move || {
                tell.send(session).unwrap();
                Some(used)
            });
        }
        open.send(()).unwrap();
        told.iter().take(tasks.len()).collect()
    }

    #[test]
    fn sessions_have_threads_as_their_weights() {
        let tasks = (0..40).map(|at| match at % 2 {
            0 => (task(1, 1, Priority::Normal), 5),
            _ => (task(2, 3, Priority::Normal), 5),
        });
        let order = order(&tasks.collect::<Vec<_>>());
        let first = order[..20].iter().filter(|session| **session == 1).count();
        assert!((4..=6).contains(&first), "{order:?}");
    }

    #[test]
    fn what_took_long_is_paid_for() {
        let tasks = (0..40).map(|at| match at % 2 {
            0 => (task(1, 1, Priority::Normal), 9),
            _ => (task(2, 1, Priority::Normal), 1),
        });
        let order = order(&tasks.collect::<Vec<_>>());
        let first = order[..20].iter().filter(|session| **session == 1).count();
        assert!((2..=4).contains(&first), "{order:?}");
    }

    #[test]
    fn higher_priority_goes_first_and_a_session_in_order() {
        let tasks = [
            (task(1, 1, Priority::Background), 1),
            (task(2, 1, Priority::Normal), 1),
            (task(3, 1, Priority::Interactive), 1),
            (task(4, 1, Priority::Interactive), 1),
        ];
        let order = order(&tasks);
        assert_eq!(order[2..], [2, 1]);
    }

    #[test]
    fn a_panic_ends_the_task_alone() {
        let workers = Workers::new("test", Limit::InAll(1));
        workers.spawn(Job::new(1), || panic!("as it may"));
        let (tell, told) = mpsc::channel();
        workers.spawn(Job::new(1), move || {
            tell.send(()).unwrap();
            None
        });
        assert_eq!(told.recv(), Ok(()));
    }

    /// Tasks that run until the gate opens, and one of another kind that tells of itself.
    fn full(workers: &Workers, priority: Priority, count: usize) -> mpsc::Sender<()> {
        let (open, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for session in 0..count as u64 {
            let gate = Arc::clone(&gate);
            workers.spawn(task(session, 1, priority), move || {
                let _over = gate.lock().unwrap().recv();
                None
            });
        }
        open
    }

    fn tells(workers: &Workers, priority: Priority) -> mpsc::Receiver<()> {
        let (tell, told) = mpsc::channel();
        workers.spawn(task(99, 1, priority), move || {
            tell.send(()).unwrap();
            None
        });
        told
    }

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn a_priority_keeps_no_thread_from_another_where_each_has_its_own() {
        let workers = Workers::new("test", Limit::OfEach(2));
        let open = full(&workers, Priority::Background, 2);
        let waits = tells(&workers, Priority::Background);
        assert!(
            tells(&workers, Priority::Interactive)
                .recv_timeout(LONG)
                .is_ok()
        );
        assert!(waits.recv_timeout(SHORT).is_err(), "two run at once");
        drop(open);
        assert!(waits.recv_timeout(LONG).is_ok());
    }

    #[test]
    fn a_task_that_is_away_leaves_its_place_to_others() {
        let workers = Arc::new(Workers::new("test", Limit::OfEach(1)));
        let (open, gate) = mpsc::channel::<()>();
        let of_task = Arc::clone(&workers);
        workers.spawn(task(1, 1, Priority::Normal), move || {
            let told = of_task.away(Priority::Normal, || gate.recv());
            told.expect("no other is away").unwrap();
            None
        });
        assert!(tells(&workers, Priority::Normal).recv_timeout(LONG).is_ok());
        open.send(()).unwrap();
        assert!(tells(&workers, Priority::Normal).recv_timeout(LONG).is_ok());
        let state = workers.shared.lock();
        assert!(state.started <= 2, "{} threads", state.started);
    }

    #[test]
    fn of_those_away_there_is_a_limit_and_others_run_beyond_it() {
        let workers = Arc::new(Workers::new("test", Limit::InAll(1)));
        let (open, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let (tell, told) = mpsc::channel();
        for session in 0..MOST_AWAY as u64 + 10 {
            let (of_task, gate, tell) = (Arc::clone(&workers), Arc::clone(&gate), tell.clone());
            workers.spawn(task(session, 1, Priority::Normal), move || {
                let away = of_task.away(Priority::Normal, || {
                    let _over = gate.lock().unwrap().recv();
                });
                tell.send(away.is_some()).unwrap();
                None
            });
        }
        let refused: Vec<bool> = told.iter().take(10).collect();
        assert_eq!(refused, [false; 10], "they run while the others are away");
        drop(open);
        assert!(told.iter().take(MOST_AWAY).all(|was_away| was_away));
        // What there was for them ends: the thread that waits for more, and one that just runs.
        let deadline = Instant::now() + LONG;
        while workers.shared.lock().started > 1 {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
    }
}
