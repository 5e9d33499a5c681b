//! What the pool tells of itself.

use serde::Serialize;

use super::ledger::{Account, Use};
use crate::error::Holder;

/// How the pool is used at the moment. While threads lease and return, the figures are read one
/// after another and may disagree by what happened meanwhile; when nobody does, they are exact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolStatus {
    /// Bytes of pinned memory reserved at the start.
    pub reserve: u64,
    /// Most bytes that may be in use: the reserve and what may be allocated beyond it.
    pub budget: u64,
    /// Bytes of the reserve that anybody can have.
    pub free: u64,
    /// Bytes that threads keep for their next lease.
    pub cached: u64,
    /// Bytes leased. Zero when all leases are back.
    pub leased: u64,
    /// Of those leased, the bytes of results that the caller has not dropped.
    pub exported: u64,
    /// Of those leased, the bytes beyond the reserve.
    pub beyond_reserve: u64,
    /// How often memory beyond the reserve was allocated.
    pub beyond_reserve_count: u64,
    /// Most bytes that were leased or cached at once.
    pub peak: u64,
    /// Requests waiting at the moment.
    pub waiting: usize,
    /// Who holds how much, the largest first. Their bytes add up to `leased`.
    pub holders: Vec<Holder>,
}

impl PoolStatus {
    /// That of two pools together; their peaks may not have come at the same time.
    pub(crate) fn and(mut self, other: PoolStatus) -> PoolStatus {
        self.reserve += other.reserve;
        self.budget += other.budget;
        self.free += other.free;
        self.cached += other.cached;
        self.leased += other.leased;
        self.exported += other.exported;
        self.beyond_reserve += other.beyond_reserve;
        self.beyond_reserve_count += other.beyond_reserve_count;
        self.peak += other.peak;
        self.waiting += other.waiting;
        self.holders.extend(other.holders);
        sort(&mut self.holders);
        self
    }
}

/// What these accounts hold, the largest first.
pub(super) fn holders<'a>(accounts: impl Iterator<Item = &'a Account>) -> Vec<Holder> {
    let mut holders: Vec<Holder> = accounts
        .flat_map(|account| {
            let abandoned = Holder {
                what: format!("{}: abandoned to a lost device", account.label),
                bytes: account.abandoned,
            };
            let used = Use::ALL.map(|each| {
                let what = match each {
                    Use::Staged => "staged",
                    Use::InFlight => "in flight",
                    Use::Exported => "exported to the caller",
                    Use::Resident => "resident",
                };
                Holder {
                    what: format!("{}: {what}", account.label),
                    bytes: account.used(each),
                }
            });
            used.into_iter().chain([abandoned])
        })
        .filter(|holder| holder.bytes > 0)
        .collect();
    sort(&mut holders);
    holders
}

fn sort(holders: &mut [Holder]) {
    holders.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.what.cmp(&b.what)));
}
