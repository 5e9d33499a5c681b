//! One batch on its way: for whom, and what may end it early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use unlade_hal::Lease;

use crate::device_plan::DevicePlan;
use crate::error::Error;
use crate::pool;
use crate::recorder::Account;
use crate::runtime::Core;
use crate::scheduler::{End, Job, Settings};
use crate::session::SessionCore;

/// How long a batch waits for memory that other batches will give back.
pub(crate) const MEMORY_WAIT: Duration = Duration::from_secs(10);

/// One batch on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) runtime: &'a Arc<Core>,
    pub(crate) session: &'a SessionCore,
    /// The kernel's number among those of the runtime.
    pub(crate) kernel: u64,
    /// Its number among those that the kernel has taken; the first one's, where it is made of several.
    pub(crate) number: u64,
    /// Batches that it is made of.
    pub(crate) together: u64,
    /// Whether it was taken on before, and is done also while the runtime ends.
    pub(crate) taken_on: bool,
    /// Where its costs are noted, if it is recorded.
    pub(crate) account: Option<&'a Account>,
    /// Set once nobody waits for the result any more.
    pub(crate) given_up: Option<&'a AtomicBool>,
}

impl Call<'_> {
    /// Whether to go on.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::DeadlineExceeded`] or [`Error::Shutdown`] where not.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.runtime.door.may_go_on()?;
        let given_up = self
            .given_up
            .is_some_and(|flag| flag.load(Ordering::Relaxed));
        if given_up || self.session.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match self.session.deadline {
            Some(deadline) if deadline <= self.runtime.clock.now() => Err(self.too_late()),
            _ => Ok(()),
        }
    }

    /// Why it does not go on, once it was [seen](Self::check) not to: cancelled is cancelled, and time
    /// does not run backwards.
    pub(crate) fn why_ended(&self) -> Error {
        self.check().err().unwrap_or(Error::Cancelled)
    }

    /// Memory that devices reach, for all of a batch, waited for as long as there is reason to.
    ///
    /// # Errors
    /// [`Error::Exhausted`] where there is none; those of [`check`](Self::check) where it has ended
    /// meanwhile.
    pub(crate) fn acquire(&self, sizes: &[u64]) -> Result<Vec<Lease>, Error> {
        let request = pool::Request {
            sizes,
            memory: pool::Memory::Pinned,
            wait: Some(MEMORY_WAIT),
        };
        let session = self.session.memory.within_reach();
        let acquired = session.acquire_unless(&request, &|| self.check().is_err());
        acquired.map_err(|exhausted| match self.check() {
            Ok(()) => exhausted.into(),
            Err(ended) => ended,
        })
    }

    /// Notes for how long a device has worked for it, if the device tells.
    pub(crate) fn count_device_time(&self, plan: &DevicePlan, used: Option<Duration>) {
        if let Some(used) = used {
            let clock = self.runtime.devices[plan.slot].clock;
            self.session.count_device_time(used, clock);
            plan.metrics.worked(used);
        }
    }

    /// The batch as the scheduler sees it: so many bytes.
    pub(crate) fn job(&self, bytes: u64) -> Job {
        self.session.job(bytes)
    }

    /// The error of a batch that ended before it had its turn on a device; `None` where that is the
    /// device's fault.
    pub(crate) fn ended(&self, end: End) -> Option<Error> {
        match end {
            End::Cancelled => Some(Error::Cancelled),
            End::TimedOut => Some(self.too_late()),
            End::Refused => {
                let limit = Settings::default().max_jobs as u64;
                Some(Error::Limit {
                    what: "batches on their way to devices; wait for some first",
                    asked: limit + 1,
                    limit,
                })
            }
            End::Shutdown => Some(Error::Shutdown),
            End::Done(_) | End::Trapped(_) | End::NoDevice => None,
        }
    }

    fn too_late(&self) -> Error {
        Error::DeadlineExceeded(Arc::clone(&self.session.label))
    }
}
