//! Those that wait for one and the same: a device, or a thread.

use std::time::Duration;

use super::fair_queue::{Charge, FairQueue};
use super::{Job, JobId, Priority, SessionKey};

/// Jobs that wait. Each priority is a fair queue of its own; those of a lower one have their turn
/// when none of a higher one waits.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// By priority, the lowest first.
    queues: [FairQueue; 3],
    jobs: usize,
    bytes: u64,
}

impl Line {
    /// Lets a job wait, behind those of its session that were submitted before it.
    pub(crate) fn push(&mut self, id: JobId, job: &Job) {
        self.jobs += 1;
        self.bytes += job.bytes;
        self.queue(job.priority).push(id, job);
    }

    pub(super) fn remove(&mut self, id: JobId, job: &Job) {
        self.jobs -= 1;
        self.bytes -= job.bytes;
        self.queue(job.priority).remove(id, job.session);
    }

    /// Takes out the next job, if `fits` lets it go, with what its session has paid. The next one is
    /// waited for even where a later, smaller one would fit: otherwise large ones might never go.
    pub(super) fn pop(&mut self, fits: impl FnOnce(u64) -> bool) -> Option<(JobId, Charge)> {
        self.pop_of(|_| true, fits)
    }

    /// As [`pop`](Self::pop), of those priorities that may have a turn.
    pub(crate) fn pop_of(
        &mut self,
        may: impl Fn(Priority) -> bool,
        fits: impl FnOnce(u64) -> bool,
    ) -> Option<(JobId, Charge)> {
        let mut queues = Priority::ALL.into_iter().zip(&mut self.queues).rev();
        let (_, highest) = queues.find(|(priority, queue)| !queue.is_empty() && may(*priority))?;
        let (id, charge) = highest.pop(fits)?;
        self.jobs -= 1;
        self.bytes -= charge.bytes;
        Some((id, charge))
    }

    /// A job that was taken out is done, and has used so much.
    pub(crate) fn settle(&mut self, job: &Job, charge: Charge, used: Duration) {
        self.queue(job.priority).settle(job.session, charge, used);
    }

    /// A job that was taken out has come to nothing.
    pub(super) fn refund(&mut self, job: &Job, charge: Charge) {
        self.queue(job.priority).refund(job.session, charge);
    }

    /// Takes out all jobs, in the order in which they were submitted.
    pub(crate) fn drain(&mut self) -> Vec<JobId> {
        (self.jobs, self.bytes) = (0, 0);
        let queues = self.queues.iter_mut();
        let mut ids: Vec<JobId> = queues.flat_map(FairQueue::drain).collect();
        ids.sort();
        ids
    }

    /// Closes the accounts of a session none of whose jobs waits.
    pub(super) fn forget(&mut self, session: SessionKey) {
        let queues = self.queues.iter_mut();
        queues.for_each(|queue| queue.forget(session));
    }

    /// Jobs and bytes that wait.
    pub(super) fn load(&self) -> (usize, u64) {
        (self.jobs, self.bytes)
    }

    fn queue(&mut self, priority: Priority) -> &mut FairQueue {
        &mut self.queues[priority as usize]
    }
}
