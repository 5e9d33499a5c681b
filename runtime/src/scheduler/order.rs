//! Streams, whose jobs end in the order in which they were submitted.

use std::collections::{BTreeMap, VecDeque};

use super::{Action, End, JobId, StreamId};

#[derive(Debug, Default)]
pub(super) struct Streams {
    open: BTreeMap<StreamId, VecDeque<(JobId, Option<End>)>>,
}

impl Streams {
    pub(super) fn enter(&mut self, stream: StreamId, id: JobId) {
        self.open.entry(stream).or_default().push_back((id, None));
    }

    /// A job has ended: says so to those whose turn it is now.
    pub(super) fn leave(
        &mut self,
        stream: StreamId,
        id: JobId,
        end: End,
        actions: &mut Vec<Action>,
    ) {
        let jobs = self.open.get_mut(&stream).expect("a job in it is open");
        let place = jobs
            .iter_mut()
            .find(|(each, _)| *each == id)
            .expect("it entered");
        assert!(place.1.replace(end).is_none(), "a job ends once");
        while let Some((id, Some(end))) = jobs.front().copied() {
            jobs.pop_front();
            actions.push(Action::End { id, end });
        }
        if jobs.is_empty() {
            self.open.remove(&stream);
        }
    }
}
