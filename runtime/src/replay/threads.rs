//! Threads of a replay, and who waits for one.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Who works on a batch, or reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thread {
    Consumer(usize),
    Helper(usize),
    /// Of a device.
    Queuer {
        device: usize,
        number: usize,
    },
    Caller(usize),
}

impl Thread {
    pub(super) fn name(self) -> Arc<str> {
        match self {
            Thread::Consumer(stream) => format!("who takes stream {stream}"),
            Thread::Helper(number) => format!("thread {}", number + 1),
            Thread::Queuer { device, number } => {
                format!("queue thread {} of device {}", number + 1, device + 1)
            }
            Thread::Caller(number) => format!("caller {}", number + 1),
        }
        .into()
    }
}

/// Threads that do one kind of work, and the streams that have some for which there was none.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) threads: Threads,
    hungry: Line,
}

impl Lane {
    pub(super) fn new(threads: usize) -> Self {
        Lane {
            threads: Threads::so_many(threads),
            hungry: Line::default(),
        }
    }

    /// A thread for a stream, which waits where there is none.
    pub(super) fn take_for(&mut self, stream: usize) -> Option<usize> {
        let taken = self.threads.take();
        if taken.is_none() {
            self.hungry.push(stream);
        }
        taken
    }

    /// The stream for which there is a thread now.
    pub(super) fn next_served(&mut self) -> Option<usize> {
        if self.threads.free.is_empty() {
            return None;
        }
        self.hungry.next()
    }
}

/// Threads by number; the lowest is the next.
#[derive(Debug, Default)]
pub(super) struct Threads {
    free: BTreeSet<usize>,
    /// Where there is always one more, its number.
    more: Option<usize>,
}

impl Threads {
    pub(super) fn so_many(count: usize) -> Self {
        Threads {
            free: (0..count).collect(),
            more: None,
        }
    }

    pub(super) fn unlimited() -> Self {
        Threads {
            free: BTreeSet::new(),
            more: Some(0),
        }
    }

    pub(super) fn back(&mut self, number: usize) {
        self.free.insert(number);
    }

    pub(super) fn take(&mut self) -> Option<usize> {
        let more = &mut self.more;
        self.free.pop_first().or_else(|| {
            let next = more.as_mut()?;
            *next += 1;
            Some(*next - 1)
        })
    }
}

/// Streams that wait for a thread, each once, in the order in which they came.
#[derive(Debug, Default)]
struct Line {
    streams: VecDeque<usize>,
    is_in: BTreeSet<usize>,
}

impl Line {
    fn push(&mut self, stream: usize) {
        if self.is_in.insert(stream) {
            self.streams.push_back(stream);
        }
    }

    fn next(&mut self) -> Option<usize> {
        let stream = self.streams.pop_front()?;
        self.is_in.remove(&stream);
        Some(stream)
    }
}
