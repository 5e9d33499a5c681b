//! A queue: lists that wait for a thread to come by.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use unlade_eval::Scratch;
use unlade_hal::{
    Capabilities, Clock, ClockKind, Command, CommandList, Completion, DeviceInfo, DeviceLost,
    Outcome, Queue, Quiesced, RejectReason, Rejected, Seq, Timestamp, Timing, Wait, validate,
};

use crate::device::Shared;
use crate::execute::execute;

/// A queue of the [`CpuDevice`](crate::CpuDevice). Lists run in [`poll`](Queue::poll), one each
/// time that nothing is ready yet, and in [`wait`](Queue::wait).
pub(crate) struct CpuQueue {
    shared: Arc<Shared>,
    info: DeviceInfo,
    capabilities: Capabilities,
    depth: usize,
    next: Seq,
    waiting: VecDeque<Waiting>,
    done: VecDeque<Completion>,
    scratch: Scratch,
}

struct Waiting {
    seq: Seq,
    list: CommandList,
    submitted: Timestamp,
}

impl CpuQueue {
    /// A queue that the caller has already counted as open.
    pub(crate) fn new(
        shared: Arc<Shared>,
        info: DeviceInfo,
        capabilities: &Capabilities,
        depth: u32,
    ) -> Self {
        CpuQueue {
            shared,
            info,
            capabilities: capabilities.clone(),
            depth: depth as usize,
            next: Seq::FIRST,
            waiting: VecDeque::new(),
            done: VecDeque::new(),
            scratch: Scratch::new(),
        }
    }

    fn admit(&self, list: &CommandList) -> Result<(), RejectReason> {
        self.shared.check()?;
        if self.waiting.len() + self.done.len() >= self.depth {
            return Err(RejectReason::Full);
        }
        validate(list, &self.info, &self.capabilities)?;
        let foreign = |command: &Command| match command {
            Command::Dispatch { exe, .. } => exe.code::<unlade_eval::Executable>().is_none(),
            Command::Copy { .. } | Command::Fill { .. } | Command::CopyCounted { .. } => false,
        };
        match list.commands.iter().position(foreign) {
            None => Ok(()),
            Some(step) => Err(RejectReason::Invalid(format!(
                "step {step}: the program was compiled for another device"
            ))),
        }
    }

    /// Runs the next list; false where there is none.
    fn run_one(&mut self) -> bool {
        let Some(Waiting {
            seq,
            mut list,
            submitted,
        }) = self.waiting.pop_front()
        else {
            return false;
        };
        let mut timing = Timing {
            clock: Some(ClockKind::Wall),
            queued: self.shared.clock.now().since(submitted),
            ..Timing::default()
        };
        let outcome = execute(&mut list, &mut self.scratch, &self.shared, &mut timing);
        self.done.push_back(Completion {
            seq,
            list,
            outcome,
            timing,
        });
        true
    }

    fn is_waiting(&self, seq: Seq) -> bool {
        self.waiting.iter().any(|waiting| waiting.seq == seq)
    }
}

impl Queue for CpuQueue {
    fn submit(&mut self, list: CommandList) -> Result<Seq, Rejected> {
        if let Err(reason) = self.admit(&list) {
            return Err(Rejected { list, reason });
        }
        let seq = self.next;
        self.next = seq.next();
        self.waiting.push_back(Waiting {
            seq,
            list,
            submitted: self.shared.clock.now(),
        });
        Ok(seq)
    }

    fn poll(&mut self, done: &mut Vec<Completion>) -> Result<(), DeviceLost> {
        self.shared.check()?;
        if self.done.is_empty() {
            self.run_one();
        }
        self.shared.check()?;
        done.extend(self.done.drain(..));
        Ok(())
    }

    /// Runs lists until the point is reached. Time is looked at between lists: one list is never
    /// broken off.
    fn wait(&mut self, seq: Seq, timeout: Duration) -> Result<Wait, DeviceLost> {
        let begun = self.shared.clock.now();
        loop {
            self.shared.check()?;
            if seq < self.next && !self.is_waiting(seq) {
                return Ok(Wait::Reached);
            }
            let waited = self.shared.clock.now().since(begun);
            if waited >= timeout {
                return Ok(Wait::TimedOut);
            }
            if !self.run_one() {
                // What was never submitted never comes; time passes all the same.
                thread::sleep(timeout - waited);
            }
        }
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn quiesce(mut self: Box<Self>, timeout: Duration) -> Quiesced {
        let begun = self.shared.clock.now();
        while self.shared.check().is_ok()
            && self.shared.clock.now().since(begun) < timeout
            && self.run_one()
        {}
        let ended = DeviceLost {
            device: self.info.name.clone(),
            reason: "its queue was ended before the list was begun".to_owned(),
        };
        let reason = self.shared.check().err().unwrap_or(ended);
        let mut completions: Vec<Completion> = self.done.drain(..).collect();
        completions.extend(self.waiting.drain(..).map(|waiting| Completion {
            seq: waiting.seq,
            list: waiting.list,
            outcome: Outcome::Aborted(reason.clone()),
            timing: Timing::default(),
        }));
        Quiesced {
            completions,
            leaked: Vec::new(),
        }
    }
}

impl Drop for CpuQueue {
    fn drop(&mut self) {
        self.shared.open_queues.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for CpuQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuQueue")
            .field("waiting", &self.waiting.len())
            .field("done", &self.done.len())
            .finish_non_exhaustive()
    }
}
