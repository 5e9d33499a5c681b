//! One device, as the scheduler sees it.

use std::time::Duration;

use unlade_hal::Timestamp;

use super::{Limits, Settings};

#[derive(Debug)]
pub(super) struct DeviceState {
    limits: Limits,
    standing: Standing,
    /// Lists and bytes on the device.
    pub(super) lists: u32,
    pub(super) bytes: u64,
    /// Whether its queue refused a list and none has left it since.
    pub(super) full: bool,
    /// Losses without a success in between.
    losses: u32,
    /// All losses.
    pub(super) times_lost: u64,
}

/// What a device is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes jobs.
    Ready,
    /// Back, with one job to prove it.
    OnTrial,
    /// Lost; to be revived then.
    Resting(Timestamp),
    /// Lost; an attempt to revive it is under way.
    Reviving,
}

impl DeviceState {
    pub(super) fn new(limits: Limits) -> Self {
        DeviceState {
            limits,
            standing: Standing::Ready,
            lists: 0,
            bytes: 0,
            full: false,
            losses: 0,
            times_lost: 0,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    pub(super) fn takes_jobs(&self) -> bool {
        matches!(self.standing, Standing::Ready | Standing::OnTrial)
    }

    pub(super) fn rests_until(&self) -> Option<Timestamp> {
        match self.standing {
            Standing::Resting(until) => Some(until),
            _ => None,
        }
    }

    pub(super) fn losses(&self) -> u32 {
        self.losses
    }

    pub(super) fn depth(&self) -> u32 {
        self.limits.depth.max(1)
    }

    pub(super) fn has_room(&self) -> bool {
        let depth = match self.standing {
            Standing::Ready => self.depth(),
            Standing::OnTrial => 1,
            Standing::Resting(_) | Standing::Reviving => 0,
        };
        // A full queue that nothing is left on has made room without telling.
        self.lists < depth && !(self.full && self.lists > 0)
    }

    /// Whether so many bytes more are allowed. What is larger than the limit goes alone.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.lists == 0 || self.bytes.saturating_add(bytes) <= self.limits.bytes
    }

    pub(super) fn enter(&mut self, bytes: u64) {
        self.lists += 1;
        self.bytes += bytes;
        self.full = false;
    }

    pub(super) fn leave(&mut self, bytes: u64) {
        self.lists -= 1;
        self.bytes -= bytes;
    }

    pub(super) fn succeeded(&mut self) {
        if self.standing == Standing::OnTrial {
            self.standing = Standing::Ready;
        }
        if self.standing == Standing::Ready {
            self.losses = 0;
        }
    }

    /// It is back, and has one job to prove it.
    pub(super) fn revived(&mut self) {
        self.standing = Standing::OnTrial;
    }

    /// An attempt to bring it back begins.
    pub(super) fn begin_revival(&mut self) {
        self.standing = Standing::Reviving;
    }

    /// It was lost, or could not be brought back. Returns how long it is to rest.
    pub(super) fn failed(&mut self, settings: &Settings) -> Duration {
        let doublings = self.losses.min(20);
        self.losses = self.losses.saturating_add(1);
        let time = settings.quarantine.saturating_mul(1 << doublings);
        time.min(settings.max_quarantine).max(TICK)
    }

    /// It takes no jobs until it is brought back, which is not tried before. Returns until when it
    /// was to rest so far, if it was.
    pub(super) fn rest_until(&mut self, until: Timestamp) -> Option<Timestamp> {
        let earlier = self.rests_until();
        self.full = false;
        self.standing = Standing::Resting(until);
        earlier
    }
}

/// A device that is lost again and again does not keep the driver busy.
const TICK: Duration = Duration::from_micros(1);
