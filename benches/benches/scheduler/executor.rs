//! The least that lets one thread serve many tasks.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Polls tasks on this thread until all have ended.
pub(crate) fn run<F: Future<Output = ()>>(tasks: Vec<F>) {
    let ready = Arc::new(Ready {
        thread: thread::current(),
        queue: Mutex::new((0..tasks.len()).collect()),
    });
    let waker = |task| {
        let ready = Arc::clone(&ready);
        Waker::from(Arc::new(Task { task, ready }))
    };
    let mut tasks: Vec<_> = tasks
        .into_iter()
        .enumerate()
        .map(|(task, future)| Some((Box::pin(future), waker(task))))
        .collect();
    let mut open = tasks.len();
    let mut next = VecDeque::new();
    while open > 0 {
        std::mem::swap(&mut *ready.lock(), &mut next);
        if next.is_empty() {
            thread::park();
        }
        for task in next.drain(..) {
            let Some((future, waker)) = &mut tasks[task] else {
                continue; // woken once more than it needed
            };
            if future
                .as_mut()
                .poll(&mut Context::from_waker(waker))
                .is_ready()
            {
                tasks[task] = None;
                open -= 1;
            }
        }
    }
}

/// Lets all other tasks that are ready go first.
pub(crate) async fn step_back() {
    let mut stepped = false;
    poll_fn(|context| {
        if stepped {
            return Poll::Ready(());
        }
        stepped = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

struct Ready {
    thread: Thread,
    queue: Mutex<VecDeque<usize>>,
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, VecDeque<usize>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Task {
    task: usize,
    ready: Arc<Ready>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut queue = self.ready.lock();
        queue.push_back(self.task);
        let first = queue.len() == 1;
        drop(queue);
        if first {
            self.ready.thread.unpark();
        }
    }
}
