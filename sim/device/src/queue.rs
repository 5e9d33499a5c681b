//! A queue of the simulated device.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use unlade_hal::{
    Clock, Command, CommandList, Completion, DeviceLost, Outcome, Queue, Quiesced, RejectReason,
    Rejected, Seq, Slot, Timestamp, Timing, Wait, validate,
};

use crate::device::{Code, QueueTicket, Shared, State};
use crate::execute::{End, execute};
use crate::timeline::Schedule;

/// A queue of a [`SimDevice`](crate::SimDevice).
///
/// The bytes move when the list is submitted, which nobody can tell: the list owns what it writes
/// until it is delivered, and it is delivered only when virtual time has reached its end.
#[derive(Debug)]
pub(crate) struct SimQueue {
    shared: Arc<Shared>,
    generation: u64,
    depth: usize,
    next: Seq,
    /// When the last list ends: later ones are not delivered before it.
    last_done: Timestamp,
    flying: VecDeque<Flying>,
    _ticket: QueueTicket,
}

#[derive(Debug)]
struct Flying {
    completion: Completion,
    done: Timestamp,
}

impl SimQueue {
    pub(crate) fn new(
        shared: Arc<Shared>,
        generation: u64,
        depth: usize,
        ticket: QueueTicket,
    ) -> Self {
        SimQueue {
            shared,
            generation,
            depth,
            next: Seq::FIRST,
            last_done: Timestamp::default(),
            flying: VecDeque::new(),
            _ticket: ticket,
        }
    }

    /// An error where the device is lost, or was reset since this queue was opened.
    fn usable(&self, state: &State) -> Result<(), DeviceLost> {
        state.check()?;
        if state.generation != self.generation {
            return Err(self.shared.lost("it was reset after this queue was opened"));
        }
        Ok(())
    }

    fn admit(&self, state: &State, list: &CommandList) -> Result<(), RejectReason> {
        self.usable(state)?;
        if self.flying.len() >= self.depth {
            return Err(RejectReason::Full);
        }
        validate(list, &self.shared.info, &self.shared.capabilities)?;
        for (slot, memory) in list.slots.iter().enumerate() {
            if matches!(memory, Slot::Foreign(_)) {
                continue;
            }
            let address = memory.address(self.shared.info.domain);
            if !address.is_some_and(|address| state.memory.knows(address, memory.len())) {
                let message = format!("slot {slot} is memory from before the device was reset");
                return Err(RejectReason::Invalid(message));
            }
        }
        for (position, command) in list.commands.iter().enumerate() {
            let Command::Dispatch { exe, .. } = command else {
                continue;
            };
            let ours = Code {
                device: self.shared.info.domain,
                generation: self.generation,
            };
            if exe.code::<Code>() != Some(&ours) {
                let message =
                    format!("step {position}: the program was compiled for another device");
                return Err(RejectReason::Invalid(message));
            }
        }
        Ok(())
    }

    fn run(&mut self, state: &mut State, mut list: CommandList) -> Flying {
        let shared = &self.shared;
        let submitted = shared.clock.now();
        let mut schedule = Schedule::new(&shared.link, &mut state.compute, submitted);
        let domain = shared.info.domain;
        let memory = &mut state.memory;
        let end = execute(&mut list, domain, &shared.profile, memory, &mut schedule);
        let (done, timing) = schedule.finish();
        let outcome = match end {
            End::Done { written } => Outcome::Done {
                written: written.into(),
            },
            End::Trapped(trap) => Outcome::Trapped(trap),
            End::Faulted(fault) => {
                let lost = shared.lost(&fault);
                state.lost = Some(lost.clone());
                Outcome::Aborted(lost)
            }
        };
        self.last_done = self.last_done.max(done);
        let completion = Completion {
            seq: self.next,
            list,
            outcome,
            timing,
        };
        Flying {
            completion,
            done: self.last_done,
        }
    }
}

impl Queue for SimQueue {
    fn submit(&mut self, list: CommandList) -> Result<Seq, Rejected> {
        let shared = self.shared.clone();
        let mut state = shared.state();
        if let Err(reason) = self.admit(&state, &list) {
            return Err(Rejected { list, reason });
        }
        let flying = self.run(&mut state, list);
        self.flying.push_back(flying);
        let seq = self.next;
        self.next = seq.next();
        Ok(seq)
    }

    fn poll(&mut self, done: &mut Vec<Completion>) -> Result<(), DeviceLost> {
        self.usable(&self.shared.state())?;
        let now = self.shared.clock.now();
        while let Some(first) = self.flying.pop_front_if(|first| first.done <= now) {
            done.push(first.completion);
        }
        Ok(())
    }

    /// Lets virtual time pass: to the end of the list, or by `timeout` where that comes first.
    fn wait(&mut self, seq: Seq, timeout: Duration) -> Result<Wait, DeviceLost> {
        self.usable(&self.shared.state())?;
        let clock = &self.shared.clock;
        let give_up = Timestamp(clock.now().0.saturating_add(timeout));
        let done = if seq >= self.next {
            None
        } else {
            let flying = self
                .flying
                .iter()
                .find(|flying| flying.completion.seq == seq);
            Some(flying.map_or(Timestamp::default(), |flying| flying.done))
        };
        match done {
            Some(done) if done <= give_up => {
                clock.advance_to(done);
                Ok(Wait::Reached)
            }
            _ => {
                clock.advance_to(give_up);
                Ok(Wait::TimedOut)
            }
        }
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Everything comes back: the simulator stops when it is told to, so all memory is quiet.
    fn quiesce(mut self: Box<Self>, timeout: Duration) -> Quiesced {
        let shared = self.shared.clone();
        let alive = self.usable(&shared.state());
        let give_up = Timestamp(shared.clock.now().0.saturating_add(timeout));
        let mut completions = Vec::new();
        for Flying {
            mut completion,
            done,
        } in self.flying.drain(..)
        {
            match &alive {
                Ok(()) if done <= give_up => shared.clock.advance_to(done),
                Err(_) if done <= shared.clock.now() => {}
                stopped => {
                    let late = || shared.lost("its queue was ended before the list was done");
                    let reason = stopped.clone().err().unwrap_or_else(late);
                    completion.outcome = Outcome::Aborted(reason);
                    completion.timing = Timing::default();
                }
            }
            completions.push(completion);
        }
        Quiesced {
            completions,
            leaked: Vec::new(),
        }
    }
}
