//! The decorator of a queue.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use unlade_hal::{
    Command, CommandList, Completion, DeviceLost, Leaked, Outcome, Queue, Quiesced, RejectReason,
    Rejected, Seq, Wait,
};

use crate::device::Faults;
use crate::harm;
use crate::kind::{Chance, FaultKind};

/// A queue with faults: takes what the wrapped queue completes, does harm, passes it on.
#[derive(Debug)]
pub(crate) struct FaultQueue {
    inner: Box<dyn Queue>,
    faults: Arc<Faults>,
    generation: u64,
    /// What the wrapped queue has completed and this one has not delivered.
    held: VecDeque<Held>,
    /// The point after the last one submitted.
    next: Seq,
}

#[derive(Debug)]
struct Held {
    completion: Completion,
    until: Until,
}

/// When a completion may go. Those behind it wait, for completions come in order.
#[derive(Debug, PartialEq, Eq)]
enum Until {
    Now,
    Polls(u32),
    Never,
}

impl FaultQueue {
    pub(crate) fn new(inner: Box<dyn Queue>, faults: Arc<Faults>, generation: u64) -> Self {
        FaultQueue {
            inner,
            faults,
            generation,
            held: VecDeque::new(),
            next: Seq::FIRST,
        }
    }

    /// Takes over what the wrapped queue has completed.
    fn gather(&mut self) -> Result<(), DeviceLost> {
        let mut fresh = Vec::new();
        let outcome = self.inner.poll(&mut fresh);
        for completion in fresh {
            self.take(completion);
        }
        outcome?;
        self.faults.check()
    }

    fn take(&mut self, mut completion: Completion) {
        let mut until = Until::Now;
        match self.faults.strike(Chance::Completion) {
            Some(FaultKind::LateCompletion) => until = Until::Polls(FaultKind::LATE_POLLS),
            Some(FaultKind::LostCompletion) => until = Until::Never,
            Some(FaultKind::DuplicateCompletion) => {
                let twin = Completion {
                    seq: completion.seq,
                    list: CommandList::new(),
                    outcome: completion.outcome.clone(),
                    timing: completion.timing,
                };
                self.held.push_back(Held { completion, until });
                self.held.push_back(Held {
                    completion: twin,
                    until: Until::Now,
                });
                return;
            }
            Some(FaultKind::PartialWrite) => {
                harm::lose_second_halves(&mut completion.list);
                self.faults
                    .lose("injected fault: it fell off the bus while it wrote");
            }
            Some(FaultKind::LostInFlight) => {
                self.faults.lose("injected fault: it fell off the bus");
            }
            Some(FaultKind::Corruption) => {
                harm::flip_a_bit(&mut completion.list);
            }
            Some(FaultKind::CountTooLarge) => {
                if let Outcome::Done { written } = &mut completion.outcome {
                    overstate(&completion.list, written);
                }
            }
            Some(_) | None => {}
        }
        self.held.push_back(Held { completion, until });
    }

    /// What a poll or a wait does to the one that holds up the others: it comes closer.
    fn knock(&mut self) {
        if let Some(Held { until, .. }) = self.held.iter_mut().find(|held| held.until != Until::Now)
        {
            *until = match until {
                Until::Polls(left) if *left > 1 => Until::Polls(*left - 1),
                Until::Polls(_) => Until::Now,
                Until::Now => Until::Now,
                Until::Never => Until::Never,
            };
        }
    }

    /// Whether a point is held up, by itself or by one before it.
    fn held_up(&self, seq: Seq) -> bool {
        let up_to = self
            .held
            .iter()
            .take_while(|held| held.completion.seq <= seq);
        up_to.into_iter().any(|held| held.until != Until::Now)
    }

    /// Lets time pass as the wrapped device does, by waiting for what will not come.
    fn pass_time(&mut self, timeout: Duration) -> Result<Wait, DeviceLost> {
        self.inner.wait(self.next, timeout)?;
        Ok(Wait::TimedOut)
    }
}

impl Queue for FaultQueue {
    fn submit(&mut self, list: CommandList) -> Result<Seq, Rejected> {
        if let Err(lost) = self.faults.check_queue(self.generation) {
            return Err(Rejected {
                list,
                reason: RejectReason::Lost(lost),
            });
        }
        let reason = match self.faults.strike(Chance::Submit) {
            Some(FaultKind::LostAtSubmit) => {
                RejectReason::Lost(self.faults.lose("injected fault: it fell off the bus"))
            }
            Some(_) => RejectReason::Full,
            None => {
                let seq = self.inner.submit(list)?;
                self.next = seq.next();
                return Ok(seq);
            }
        };
        Err(Rejected { list, reason })
    }

    fn poll(&mut self, done: &mut Vec<Completion>) -> Result<(), DeviceLost> {
        self.faults.check_queue(self.generation)?;
        self.knock();
        self.gather()?;
        while let Some(held) = self.held.pop_front_if(|held| held.until == Until::Now) {
            done.push(held.completion);
        }
        Ok(())
    }

    fn wait(&mut self, seq: Seq, timeout: Duration) -> Result<Wait, DeviceLost> {
        self.faults.check_queue(self.generation)?;
        if self.faults.strike(Chance::Wait).is_some() {
            return Ok(Wait::TimedOut);
        }
        self.knock();
        if self.held_up(seq) {
            return self.pass_time(timeout);
        }
        let waited = self.inner.wait(seq, timeout)?;
        self.gather()?;
        if self.held_up(seq) {
            return Ok(Wait::TimedOut);
        }
        Ok(waited)
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.wake_fd()
    }

    /// What never came is leaked, its memory abandoned: who can say that it is quiet?
    fn quiesce(self: Box<Self>, timeout: Duration) -> Quiesced {
        let FaultQueue {
            inner,
            faults,
            generation,
            held,
            next: _,
        } = *self;
        let rest = inner.quiesce(timeout);
        let lost = faults.check_queue(generation).err();
        let mut left = Quiesced {
            completions: Vec::new(),
            leaked: rest.leaked,
        };
        let late = rest.completions.into_iter();
        let late = late.map(|completion| Held {
            completion,
            until: Until::Now,
        });
        for Held {
            mut completion,
            until,
        } in held.into_iter().chain(late)
        {
            if until == Until::Never {
                left.leaked.push(abandon(completion));
                continue;
            }
            if let Some(lost) = &lost {
                completion.outcome = Outcome::Aborted(lost.clone());
            }
            left.completions.push(completion);
        }
        left
    }
}

/// Gives up the memory of a list for good.
fn abandon(completion: Completion) -> Leaked {
    Leaked {
        seq: completion.seq,
        bytes: completion.list.abandon(),
    }
}

/// Makes the first count larger than the rows of its dispatch.
fn overstate(list: &CommandList, written: &mut [u64]) {
    let rows = list.commands.iter().find_map(|command| match command {
        Command::Dispatch { rows, .. } => Some(*rows),
        Command::Copy { .. } | Command::Fill { .. } | Command::CopyCounted { .. } => None,
    });
    if let (Some(rows), Some(count)) = (rows, written.first_mut()) {
        *count = rows.saturating_add(1);
    }
}
