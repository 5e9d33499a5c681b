//! Threads that run work for streams and tickets.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use crate::scheduler::Priority;
use crate::sync::{Condvar, Mutex, MutexGuard, thread};

type Task = Box<dyn FnOnce() + Send>;

/// At most so many threads, started when first needed, that run tasks: those of the highest priority
/// first, and of one priority in the order in which they came.
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
    tasks: Tasks,
    started: usize,
    idle: usize,
    closed: bool,
}

/// Those that no thread has begun.
#[derive(Default)]
struct Tasks {
    /// The lowest priority first.
    lines: [VecDeque<Task>; 3],
}

impl Tasks {
    fn push(&mut self, priority: Priority, task: Task) {
        self.lines[priority as usize].push_back(task);
    }

    fn pop(&mut self) -> Option<Task> {
        self.lines.iter_mut().rev().find_map(VecDeque::pop_front)
    }

    fn len(&self) -> usize {
        self.lines.iter().map(VecDeque::len).sum()
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

    /// Runs a task on one of the threads. A panic in it ends the task alone; whoever waits for it
    /// learns of that from what the task drops.
    pub(crate) fn spawn(&self, priority: Priority, task: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.lock();
        state.tasks.push(priority, Box::new(task));
        if state.idle >= state.tasks.len() || state.started == self.threads {
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
        self.shared.lock().tasks.len() > 0
    }
}

#[cfg(all(test, shuttle))]
impl Workers {
    /// Whether no task waits or runs.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.shared.lock();
        state.tasks.len() == 0 && state.idle == state.started
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(task) = state.tasks.pop() {
                drop(state);
                // Tasks catch what they can tell of; this keeps the thread.
                let _panicked = catch_unwind(AssertUnwindSafe(task));
                state = self.lock();
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
        let orphans = if state.started == 0 {
            std::mem::take(&mut state.tasks)
        } else {
            Tasks::default()
        };
        drop(state);
        drop(orphans);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        // Dropped outside of the lock: what they own may end here.
        let tasks = std::mem::take(&mut state.tasks);
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
