//! Threads that run work for streams and tickets.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::scheduler::{Job, JobId, Line, NumberedMap};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard, thread};

/// Tells for how long a device has worked for it, where one has that tells.
type Task = Box<dyn FnOnce() -> Option<Duration> + Send>;

/// At most so many threads, started when first needed, that run tasks in the order in which the
/// [scheduler](crate::scheduler) gives turns on devices: those of the highest priority first, and of
/// one priority by what their sessions have had so far, relative to their weights.
pub(crate) struct Workers {
    name: &'static str,
    shared: Arc<Shared>,
    threads: usize,
}

struct Shared {
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
    started: usize,
    idle: usize,
    closed: bool,
}

impl State {
    fn push(&mut self, job: Job, task: Task) {
        let id = JobId(self.spawned);
        self.spawned += 1;
        self.line.push(id, &job);
        self.tasks.insert(id, (job, task));
    }

    /// Takes out what nobody will run.
    fn give_up(&mut self) -> NumberedMap<JobId, (Job, Task)> {
        self.line.drain();
        std::mem::take(&mut self.tasks)
    }
}

impl Workers {
    /// Threads of this name, numbered.
    pub(crate) fn new(name: &'static str, threads: usize) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            work: Condvar::new(),
        };
        Workers {
            name,
            shared: Arc::new(shared),
            threads: threads.max(1),
        }
    }

    /// Runs a task on one of the threads, for the session of this job. That pays for what a device has
    /// worked for the task, where the task tells; else for as long as it has the thread. A panic ends
    /// the task alone; whoever waits for it learns of that from what the task drops.
    pub(crate) fn spawn(&self, job: Job, task: impl FnOnce() -> Option<Duration> + Send + 'static) {
        let mut state = self.shared.lock();
        state.push(job, Box::new(task));
        if state.idle >= state.line.len() || state.started == self.threads {
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

impl Workers {
    /// Whether a task waits for a thread.
    pub(crate) fn has_waiting(&self) -> bool {
        self.shared.lock().line.len() > 0
    }
}

#[cfg(all(test, shuttle))]
impl Workers {
    /// Whether no task waits or runs.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.shared.lock();
        state.line.len() == 0 && state.idle == state.started
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some((id, charge)) = state.line.pop(|_| true) {
                let (job, task) = state.tasks.remove(&id).expect("what is in line is there");
                drop(state);
                let began = Instant::now();
                // Tasks catch what they can tell of; this keeps the thread.
                let worked = catch_unwind(AssertUnwindSafe(task));
                let used = worked.ok().flatten().unwrap_or_else(|| began.elapsed());
                state = self.lock();
                state.line.settle(&job, charge, used);
            } else if state.closed {
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
            .field("threads", &self.threads)
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
    use crate::scheduler::{Priority, SessionKey};

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
        let workers = Workers::new("test", 1);
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
        let workers = Workers::new("test", 1);
        workers.spawn(Job::new(1), || panic!("as it may"));
        let (tell, told) = mpsc::channel();
        workers.spawn(Job::new(1), move || {
            tell.send(()).unwrap();
            None
        });
        assert_eq!(told.recv(), Ok(()));
    }
}
