//! A queue pair: its rings and its doorbells.

use std::sync::Arc;

use crate::controller::Controller;
use crate::dma::DmaMemory;
use crate::entry::{Answer, COMPLETION, SUBMISSION, Submission};
use crate::fault::Fault;
use crate::iova::Iova;
use crate::ring::{CompletionRing, SubmissionRing};

/// A queue pair. Both rings have one length, so that the completion ring never runs over.
#[derive(Debug)]
pub(crate) struct QueuePair {
    number: u16,
    submissions: SubmissionRing,
    completions: CompletionRing,
    /// What was wrong with the completion at the head when that was last looked at.
    unfinished: Option<(u64, u64)>,
}

/// Where a pair's rings are.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// What the card reads.
    pub(crate) commands: Arc<DmaMemory>,
    /// Where in it the submission ring is.
    pub(crate) submissions: u64,
    /// What the card writes.
    pub(crate) answers: Arc<DmaMemory>,
    /// Where in it the completion ring is.
    pub(crate) completions: u64,
    /// Entries of each.
    pub(crate) entries: u32,
}

impl Place {
    /// Bytes of the two rings.
    pub(crate) fn lens(entries: u32) -> (u64, u64) {
        let entries = u64::from(entries);
        (entries * SUBMISSION, entries * COMPLETION)
    }

    pub(crate) fn submission_iova(&self) -> Iova {
        self.commands.iova(self.submissions)
    }

    pub(crate) fn completion_iova(&self) -> Iova {
        self.answers.iova(self.completions)
    }
}

/// The vector of a queue pair for I/O. The first pair shares the admin pair's, whose answers are
/// asked for: it is signalled too often, and a look at its ring costs little.
pub(crate) fn vector_of(number: u16) -> u16 {
    number - 1
}

impl QueuePair {
    /// A pair that is empty. The card is told of it by whoever makes it.
    pub(crate) fn new(number: u16, place: &Place) -> Self {
        let Place {
            commands,
            submissions,
            answers,
            completions,
            entries,
        } = place.clone();
        QueuePair {
            number,
            submissions: SubmissionRing::new(commands, submissions, entries),
            completions: CompletionRing::new(answers, completions, entries),
            unfinished: None,
        }
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    pub(crate) fn has_room(&self) -> bool {
        self.submissions.has_room()
    }

    /// Hands a command to the card, and returns its position.
    pub(crate) fn submit(
        &mut self,
        controller: &Controller,
        command: Submission,
        id: u16,
    ) -> Result<u64, Fault> {
        let position = self.submissions.push(&command.into_bytes(id));
        let doorbell = controller.cap().submission_tail(self.number);
        controller
            .transport()
            .ring(doorbell, self.submissions.tail())?;
        Ok(position)
    }

    /// The next answer, if there is one; what it says of the queue itself is checked.
    pub(crate) fn take(&mut self) -> Result<Option<Answer>, Fault> {
        let Some(answer) = self.completions.take() else {
            return Ok(None);
        };
        if answer.queue != self.number {
            return Err(Fault::Lie(format!(
                "a completion of queue {} is in queue {}",
                answer.queue, self.number
            )));
        }
        self.submissions
            .advance(answer.submission_head)
            .map_err(Fault::Lie)?;
        Ok(Some(answer))
    }

    /// Whether the card says that it has fetched a command.
    pub(crate) fn is_fetched(&self, position: u64) -> bool {
        self.submissions.is_fetched(position)
    }

    /// Tells the card which answers were taken, once they are half of the ring. A card that waits
    /// for room has filled all of it.
    pub(crate) fn acknowledge(&mut self, controller: &Controller) -> Result<(), Fault> {
        if let Some(head) = self.completions.take_head() {
            let doorbell = controller.cap().completion_head(self.number);
            controller.transport().ring(doorbell, head)?;
        }
        Ok(())
    }

    /// Whether the completion at the head is one that was written with the wrong phase. To be asked
    /// now and then while answers are awaited: one that is as it was the last time is no longer
    /// being written.
    pub(crate) fn check_phase(&mut self) -> Result<(), Fault> {
        let unfinished = self.completions.unfinished();
        let stays = unfinished.is_some() && unfinished == self.unfinished;
        self.unfinished = unfinished;
        match stays {
            false => Ok(()),
            true => Err(Fault::Lie(format!(
                "it has written completion {} of queue {} with the wrong phase",
                self.completions.index(),
                self.number
            ))),
        }
    }
}

#[cfg(all(test, loom))]
mod model;
