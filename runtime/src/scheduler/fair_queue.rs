//! Jobs of one priority that wait for one device, in a fair order.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996), in the form for devices that work
//! on several jobs at once, SFQ(D) (Jin, Chase and Kaur, SIGMETRICS 2004). Each session has an
//! account of [`VirtualTime`]: the device time that it used, divided by its weight. Whoever has paid
//! least is next. Accounts of sessions that always have jobs waiting thus stay within a job or so of
//! each other, whatever the sizes of their jobs.
//!
//! - **Level.** What the session served last had paid when it was served, the paper's v(t). A session
//!   that comes back starts there at least: idle time is no credit. It goes before those who are at
//!   the level as well: they had the device meanwhile, and it had not.
//! - **New sessions** start one job above the level, as if they had had it. If they started at the
//!   level, a stream of sessions of one job each would hold it there, and who is above would starve.
//! - **Estimates.** How long a job takes is known when it is done. Until then its session pays an
//!   estimate, by what a byte of its jobs took lately; then the difference. With D jobs on a device,
//!   accounts are wrong by D jobs' errors at most.
//! - **Refunds.** A job that ended without a result, because the device failed or was full, is paid
//!   back.
//! - **The end of a busy period.** When nobody waits for the device or uses it, debts are forgiven,
//!   as in the paper: whoever comes next starts at the highest account.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::average::Average;
use super::numbered::NumberedMap;
use super::virtual_time::VirtualTime;
use super::{Job, JobId, SessionKey};

/// When so many sessions have accounts, those who neither wait nor use the device lose theirs.
const ACCOUNTS: usize = 1024;

/// Jobs of one priority that wait for one device.
#[derive(Debug, Default)]
pub(super) struct FairQueue {
    accounts: NumberedMap<SessionKey, Account>,
    /// Sessions in which jobs wait, who has paid least first.
    order: BTreeSet<(VirtualTime, SessionKey)>,
    level: VirtualTime,
    highest: VirtualTime,
    /// Jobs on the device.
    on_device: u32,
    /// Nanoseconds that the device takes for a byte, whosever.
    rate: Average,
    /// How many accounts there may be, if more than [`ACCOUNTS`], before the idle ones are swept out.
    sweep_at: usize,
}

#[derive(Debug)]
struct Account {
    paid: VirtualTime,
    /// Jobs that wait, the first one first.
    waiting: VecDeque<Place>,
    on_device: u32,
    /// Nanoseconds that the device takes for a byte of its jobs.
    rate: Average,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    id: JobId,
    bytes: u64,
    weight: u32,
}

/// What a session has paid for a job that is on the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge {
    price: VirtualTime,
    pub(super) bytes: u64,
    weight: u32,
}

impl FairQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Lets a job wait, behind those of its session that were submitted before it.
    pub(super) fn push(&mut self, id: JobId, job: &Job) {
        let place = Place::new(id, job);
        let (level, rate) = (self.level, self.rate);
        if !self.accounts.contains_key(&job.session) {
            self.sweep();
            let paid = level + place.price(rate);
            self.accounts.insert(job.session, Account::new(paid));
        }
        self.update(job.session, |account| {
            if account.waiting.is_empty() {
                account.paid = account.paid.max(level.just_before());
            }
            let at = account.waiting.partition_point(|other| other.id < id);
            account.waiting.insert(at, place);
        });
    }

    /// Takes out the job whose turn it is, if `fits` lets it go. Otherwise a smaller one does not go
    /// either: large ones might never.
    pub(super) fn pop(&mut self, fits: impl FnOnce(u64) -> bool) -> Option<(JobId, Charge)> {
        let &(paid, session) = self.order.first()?;
        let place = *self.accounts[&session].waiting.front()?;
        if !fits(place.bytes) {
            return None;
        }
        let rate = self.rate;
        let charge = self.update(session, |account| {
            account.waiting.pop_front();
            account.on_device += 1;
            let charge = Charge {
                price: place.price(account.rate.or(rate)),
                bytes: place.bytes,
                weight: place.weight,
            };
            account.paid = account.paid + charge.price;
            charge
        });
        self.on_device += 1;
        self.level = self.level.max(paid);
        Some((place.id, charge))
    }

    /// The device has done a job, and worked `used` for it.
    pub(super) fn settle(&mut self, session: SessionKey, charge: Charge, used: Duration) {
        let nanos_per_byte = used.as_nanos() as f64 / charge.bytes.max(1) as f64;
        self.rate.take(nanos_per_byte);
        self.update(session, |account| {
            account.on_device -= 1;
            account.rate.take(nanos_per_byte);
            account.paid = account.paid - charge.price + VirtualTime::of(used, charge.weight);
        });
        self.on_device -= 1;
        self.end_busy_period();
    }

    /// A job has left the device without a result.
    pub(super) fn refund(&mut self, session: SessionKey, charge: Charge) {
        self.update(session, |account| {
            account.on_device -= 1;
            account.paid = account.paid - charge.price;
        });
        self.on_device -= 1;
        self.end_busy_period();
    }

    /// Takes out a job that waits.
    pub(super) fn remove(&mut self, id: JobId, session: SessionKey) {
        self.update(session, |account| {
            let at = account.waiting.binary_search_by_key(&id, |place| place.id);
            account.waiting.remove(at.expect("it waits there"));
        });
        self.end_busy_period();
    }

    /// Takes out all jobs that wait.
    pub(super) fn drain(&mut self) -> Vec<JobId> {
        self.order.clear();
        let waiting = |account: &mut Account| std::mem::take(&mut account.waiting);
        let places = self.accounts.values_mut().flat_map(waiting);
        let ids = places.map(|place| place.id).collect();
        self.end_busy_period();
        ids
    }

    /// Closes the account of a session none of whose jobs waits. What it has on the device is paid
    /// by nobody.
    pub(super) fn forget(&mut self, session: SessionKey) {
        if let Some(account) = self.accounts.remove(&session) {
            self.on_device -= account.on_device;
            self.end_busy_period();
        }
    }

    /// Changes an account, and keeps its session in its place among those who wait.
    fn update<T>(&mut self, session: SessionKey, change: impl FnOnce(&mut Account) -> T) -> T {
        let account = self.accounts.get_mut(&session);
        let account = account.expect("who waits or uses the device has an account");
        if !account.waiting.is_empty() {
            self.order.remove(&(account.paid, session));
        }
        let changed = change(account);
        if !account.waiting.is_empty() {
            self.order.insert((account.paid, session));
        }
        self.highest = self.highest.max(account.paid);
        changed
    }

    fn end_busy_period(&mut self) {
        if self.on_device == 0 && self.order.is_empty() {
            self.level = self.highest;
        }
    }

    /// Makes room for one more account. Every account is looked at, but only once in as many new
    /// ones as are left.
    fn sweep(&mut self) {
        if self.accounts.len() >= self.sweep_at.max(ACCOUNTS) {
            self.accounts.retain(|_, account| account.is_in_use());
            self.sweep_at = 2 * self.accounts.len();
        }
    }
}

impl Account {
    fn new(paid: VirtualTime) -> Self {
        Account {
            paid,
            waiting: VecDeque::new(),
            on_device: 0,
            rate: Average::default(),
        }
    }

    fn is_in_use(&self) -> bool {
        self.on_device > 0 || !self.waiting.is_empty()
    }
}

impl Place {
    fn new(id: JobId, job: &Job) -> Self {
        Place {
            id,
            bytes: job.bytes,
            weight: job.weight.max(1),
        }
    }

    /// What the job will probably cost, at least the least there is: nothing is for nothing, or who
    /// has it would have it for ever.
    fn price(&self, nanos_per_byte: Average) -> VirtualTime {
        let nanos = self.bytes.max(1) as f64 * nanos_per_byte.value().unwrap_or(0.0);
        VirtualTime::of(Duration::from_nanos(nanos as u64), self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn push(queue: &mut FairQueue, id: u64, session: u64) {
        let session = SessionKey(session);
        let job = Job {
            session,
            ..Job::new(1)
        };
        queue.push(JobId(id), &job);
    }

    /// Lets the session whose turn it is have the device.
    fn serve(queue: &mut FairQueue, used: Duration) -> u64 {
        let (_, session) = *queue.order.first().unwrap();
        let (id, charge) = queue.pop(|_| true).unwrap();
        queue.settle(session, charge, used);
        id.0
    }

    #[test]
    fn what_the_device_refused_costs_nothing() {
        let mut queue = FairQueue::default();
        for (id, session) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
            push(&mut queue, id, session);
        }
        serve(&mut queue, MILLISECOND);
        serve(&mut queue, MILLISECOND);
        let before = queue.accounts[&SessionKey(1)].paid;
        for _ in 0..10 {
            let (id, charge) = queue.pop(|_| true).unwrap();
            assert_eq!(id, JobId(1));
            queue.refund(SessionKey(1), charge);
            push(&mut queue, 1, 1);
        }
        assert_eq!(queue.accounts[&SessionKey(1)].paid, before);
    }

    #[test]
    fn an_estimate_is_corrected_at_completion() {
        let mut queue = FairQueue::default();
        for id in 0..3 {
            push(&mut queue, id, id % 2);
        }
        assert_eq!(serve(&mut queue, MILLISECOND), 0);
        assert_eq!(serve(&mut queue, MILLISECOND), 1);
        let account = &queue.accounts[&SessionKey(0)];
        assert!(account.paid >= VirtualTime::of(MILLISECOND, 1));
        assert_eq!(account.rate.value(), Some(1e6));
    }

    #[test]
    fn idle_time_is_no_credit() {
        let mut queue = FairQueue::default();
        for id in 0..40 {
            push(&mut queue, id, 1);
        }
        push(&mut queue, 40, 2);
        for _ in 0..20 {
            serve(&mut queue, MILLISECOND);
        }
        for id in 41..60 {
            push(&mut queue, id, 2);
        }
        let served: Vec<u64> = (0..10).map(|_| serve(&mut queue, MILLISECOND)).collect();
        let late = served.iter().filter(|id| **id >= 40).count();
        assert!((4..=6).contains(&late), "{served:?}");
    }

    #[test]
    fn accounts_do_not_grow_with_sessions_that_came_once() {
        let mut queue = FairQueue::default();
        for session in 0..10_000 {
            push(&mut queue, session, session);
            assert_eq!(serve(&mut queue, MILLISECOND), session);
        }
        assert!(queue.accounts.len() <= ACCOUNTS);
        queue.forget(SessionKey(9_999));
        assert!(!queue.accounts.contains_key(&SessionKey(9_999)));
    }

    #[test]
    fn debts_are_forgiven_when_nobody_waits_and_nothing_runs() {
        let mut queue = FairQueue::default();
        push(&mut queue, 0, 0);
        serve(&mut queue, 1000 * MILLISECOND);
        push(&mut queue, 1, 1);
        serve(&mut queue, MILLISECOND);
        for id in 2..4 {
            push(&mut queue, id, id % 2);
        }
        let paid = |session| queue.accounts[&SessionKey(session)].paid;
        assert!(paid(0) <= paid(1), "session 0 paid long ago");
    }
}
