//! The end of a runtime: what is under way is done, or cut off.

mod door;
#[cfg(all(test, loom))]
mod model;

use std::time::Duration;

use unlade_hal::DeviceLost;

use self::door::{CLOSING, SHUT};
pub(crate) use self::door::{Door, UnderWay};
use crate::error::Error;
use crate::runtime::{Core, Runtime};
use crate::sync::{Condvar, Instant, Mutex, lock};

/// How often it is looked whether all is done.
const LOOK: Duration = Duration::from_millis(1);

/// How long what was cut off gets to come back: threads look up from devices every 16 ms, and a
/// device that is given up has 100 ms to prove its memory quiet.
const CUT_OFF: Duration = Duration::from_secs(1);

/// How a runtime [ended](Runtime::shutdown).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Batches that were cut off, with [`Error::Shutdown`].
    pub cut_off: u64,
    /// Batches that are under way still, since the thread that computes one has not come to the end
    /// of its piece.
    pub left: u64,
}

impl Runtime {
    /// Ends the runtime, for all its clones, sessions and kernels: nothing is taken on any more, with
    /// [`Error::Shutdown`], and what is under way, tickets included, is done; what is not done within
    /// this time is cut off. Streams end before their next batch.
    ///
    /// It takes a second longer at most; what a device's driver is at, a reset for one, is left to it.
    /// Results and what is pinned stay as they are. What was measured
    /// is [kept](crate::RuntimeBuilder::calibration).
    pub fn shutdown(&self, within: Duration) -> Ended {
        let ended = self.end(within);
        self.core.keep_calibration();
        ended
    }

    fn end(&self, within: Duration) -> Ended {
        let core = &self.core;
        core.door.close(CLOSING);
        if core.is_idle_within(within) {
            return Ended {
                cut_off: 0,
                left: 0,
            };
        }
        let cut_off = core.under_way();
        core.door.close(SHUT);
        core.sessions.end(&Error::Shutdown);
        for slot in &core.devices {
            slot.driver.close(DeviceLost {
                device: slot.name.to_string(),
                reason: "the runtime has ended".to_owned(),
            });
        }
        core.is_idle_within(CUT_OFF);
        Ended {
            cut_off,
            left: core.under_way(),
        }
    }
}

impl Core {
    /// Whether nothing is under way any more, within some time, nor on a device that was given up.
    fn is_idle_within(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let (nothing, nobody) = (Mutex::new(()), Condvar::new());
        let mut guard = lock(&nothing);
        while self.under_way() > 0 || self.is_any_on_a_device() {
            if Instant::now() >= deadline {
                return false;
            }
            guard = match nobody.wait_timeout(guard, LOOK) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        true
    }

    fn is_any_on_a_device(&self) -> bool {
        self.devices.iter().any(|slot| slot.driver.in_flight() > 0)
    }

    /// Batches taken on and not done.
    fn under_way(&self) -> u64 {
        // A ticket's batch is counted from its submission on, others once they are begun.
        self.sessions.in_hand() + self.tickets.count()
    }
}
