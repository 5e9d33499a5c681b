//! A turn on a device that is waited for.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use unlade_hal::{ClockKind, Timestamp};

use super::bell::Bell;
use super::locked::Verdict;
use super::{Dispatcher, Permit};
use crate::scheduler::{End, Event, Job, JobId};

/// A virtual clock does not say when it is moved: whoever waits for a time on it looks this often.
const LOOK: Duration = Duration::from_millis(1);

/// A turn on a device that is waited for: by a thread, in [`wait`](Self::wait), or as a future.
/// Dropped before it has come, it withdraws the job.
#[must_use = "a job whose turn is not waited for is withdrawn"]
pub struct Turn<'a> {
    dispatcher: &'a Dispatcher,
    deadline: Option<Timestamp>,
    /// Since when it is waited for.
    since: Option<Timestamp>,
    stage: Stage,
}

enum Stage {
    New(Job),
    Submitted(JobId),
    Said(JobId, Verdict),
    Over,
}

impl<'a> Turn<'a> {
    pub(super) fn new(dispatcher: &'a Dispatcher, job: Job) -> Self {
        Turn {
            dispatcher,
            deadline: job.deadline,
            since: None,
            // Whoever listens here hears of its own job alone: an order of jobs is up to the caller.
            stage: Stage::New(Job {
                stream: None,
                ..job
            }),
        }
    }

    /// Another turn of a job that had one, to which something may have been said since.
    pub(super) fn again(
        dispatcher: &'a Dispatcher,
        id: JobId,
        deadline: Option<Timestamp>,
        said: Option<Verdict>,
    ) -> Self {
        Turn {
            dispatcher,
            deadline,
            since: None,
            stage: match said {
                Some(verdict) => Stage::Said(id, verdict),
                None => Stage::Submitted(id),
            },
        }
    }

    /// Waits for it on this thread, until the job's deadline if it has one.
    ///
    /// # Errors
    /// How the job ended, if it ended before it had its turn.
    pub fn wait(mut self) -> Result<Permit<'a>, End> {
        let waker = Waker::from(Arc::new(Bell::new()));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(permit) = Pin::new(&mut self).poll(&mut context) {
                return permit;
            }
            let clock = &self.dispatcher.clock;
            let Some(deadline) = self.deadline else {
                Bell::wait();
                continue;
            };
            Bell::wait_for(match clock.kind() {
                ClockKind::Wall => deadline.since(clock.now()),
                ClockKind::Virtual => LOOK,
            });
            if deadline <= clock.now() {
                self.dispatcher.lock().step(Event::Tick);
            }
        }
    }
}

impl<'a> Future for Turn<'a> {
    type Output = Result<Permit<'a>, End>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let turn = self.get_mut();
        let (id, said) = match std::mem::replace(&mut turn.stage, Stage::Over) {
            Stage::Said(id, verdict) => (id, verdict),
            stage => {
                let mut state = turn.dispatcher.lock();
                turn.since.get_or_insert(state.now);
                let (id, said) = match stage {
                    Stage::New(job) => state.submit(job),
                    Stage::Submitted(id) => (id, state.hear(id)),
                    Stage::Said(..) | Stage::Over => panic!("a turn comes once"),
                };
                let Some(said) = said else {
                    state.listen(id, context.waker().clone());
                    turn.stage = Stage::Submitted(id);
                    return Poll::Pending;
                };
                (id, said)
            }
        };
        Poll::Ready(match said {
            Verdict::Ended(end) => Err(end),
            Verdict::Go(device, since) => {
                let waited = since.since(turn.since.unwrap_or(since));
                turn.dispatcher.metrics[device.0].waited(waited);
                Ok(Permit {
                    dispatcher: turn.dispatcher,
                    id,
                    device,
                    deadline: turn.deadline,
                    since,
                    open: true,
                })
            }
        })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        match self.stage {
            Stage::New(_) | Stage::Over => {}
            Stage::Submitted(id) => self.dispatcher.lock().withdraw(id, None),
            Stage::Said(id, verdict) => self.dispatcher.lock().withdraw(id, Some(verdict)),
        }
    }
}

impl fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").finish_non_exhaustive()
    }
}
