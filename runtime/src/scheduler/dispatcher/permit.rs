//! A turn on a device that was given.

use std::fmt;
use std::time::Duration;

use unlade_hal::Timestamp;

use super::locked::Locked;
use super::{Dispatcher, Turn};
use crate::placement::DeviceIndex;
use crate::scheduler::{Event, JobId};

/// A turn on a device. Dropped without a word, it counts as a failure of this one job.
#[must_use = "a permit occupies the device until it is given back"]
pub struct Permit<'a> {
    pub(super) dispatcher: &'a Dispatcher,
    pub(super) id: JobId,
    pub(super) device: DeviceIndex,
    pub(super) deadline: Option<Timestamp>,
    pub(super) since: Timestamp,
    /// Whether it is still to be given back.
    pub(super) open: bool,
}

impl<'a> Permit<'a> {
    /// The device.
    pub fn device(&self) -> DeviceIndex {
        self.device
    }

    /// The device has done the job, or found an error in the data. `used` is how long the device
    /// worked for it, copies included, by the device's own clock; a device that does not tell is
    /// held to have worked for as long as the permit was out.
    pub fn done(mut self, used: Option<Duration>) {
        self.dispatcher.metrics[self.device.0].jobs.increment(1);
        let mut state = self.dispatcher.lock();
        let held = state.now.since(self.since);
        state.service[self.device.0].take(held);
        let completed = Event::Completed {
            id: self.id,
            device: self.device,
            used: used.unwrap_or(held),
        };
        self.give_back(state, completed);
    }

    /// Whether the device is still held to be working on the job: nobody has told of a
    /// [loss](Self::lost) since the permit was given.
    pub fn is_current(&self) -> bool {
        let state = self.dispatcher.lock();
        state.scheduler.is_on(self.id, self.device)
    }

    /// The device is lost. The turn on the job's next device, which ends as
    /// [`End::NoDevice`](crate::scheduler::End::NoDevice) where there is none.
    pub fn lost(self) -> Turn<'a> {
        let lost = Event::Lost {
            device: self.device,
            leaked: Vec::new(),
        };
        self.tell_of_loss(lost)
    }

    /// The device was lost before this turn began, and nobody has told: as [`lost`](Self::lost), but
    /// where it has failed nobody else, it need not rest before it is [brought
    /// back](Dispatcher::bring_back).
    pub fn found_lost(self) -> Turn<'a> {
        let found = Event::FoundLost {
            device: self.device,
            by: Some(self.id),
        };
        self.tell_of_loss(found)
    }

    fn tell_of_loss(mut self, event: Event) -> Turn<'a> {
        let (dispatcher, id, device) = (self.dispatcher, self.id, self.device);
        self.open = false;
        let mut state = dispatcher.lock();
        let mut said = state.hear(id);
        // Of all the jobs that were on it, one tells; the others have been moved with it.
        if state.scheduler.is_on(id, device) {
            dispatcher.metrics[device.0].losses.increment(1);
            said = state.step_of(id, event).or(said);
        }
        Turn::again(dispatcher, id, self.deadline, said)
    }

    /// The same permit, to be [taken up](Dispatcher::take_up) again: for another thread.
    pub fn put_by(mut self) -> PutBy {
        self.open = false;
        PutBy {
            id: self.id,
            device: self.device,
            deadline: self.deadline,
            since: self.since,
        }
    }

    fn give_back(&mut self, mut state: Locked<'_>, event: Event) {
        self.open = false;
        let said = state.step_of(self.id, event);
        // Whatever is said now, or was before, nobody is there any more to hear it.
        state.withdraw(self.id, said);
    }
}

/// A [permit](Permit::put_by) that nobody holds at the moment. The device stays occupied.
#[must_use = "the device stays occupied until the permit is taken up and given back"]
#[derive(Debug)]
pub struct PutBy {
    id: JobId,
    device: DeviceIndex,
    deadline: Option<Timestamp>,
    since: Timestamp,
}

impl Dispatcher {
    /// A permit of this dispatcher that was put by.
    pub fn take_up(&self, permit: PutBy) -> Permit<'_> {
        Permit {
            dispatcher: self,
            id: permit.id,
            device: permit.device,
            deadline: permit.deadline,
            since: permit.since,
            open: true,
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.open {
            let failed = Event::Failed {
                id: self.id,
                device: self.device,
            };
            self.give_back(self.dispatcher.lock(), failed);
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("id", &self.id)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}
