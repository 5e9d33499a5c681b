//! Who holds what, and who may have more.

use std::sync::Arc;

use super::central::Ask;
use super::class::Class;
use super::session::Counters;

/// What leased memory is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// Being filled or read by the runtime. Comes back by itself.
    Staged,
    /// Part of a list that a device is working on. Comes back by itself.
    InFlight,
    /// In the caller's hands, as part of a result. Never waited for.
    Exported,
    /// Kept across calls. Never waited for.
    Resident,
}

impl Use {
    /// All of them.
    pub const ALL: [Use; 4] = [Use::Staged, Use::InFlight, Use::Exported, Use::Resident];

    pub(super) fn comes_back(self) -> bool {
        matches!(self, Use::Staged | Use::InFlight)
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// Where a lease came from, which is where it is booked. Pieces inherit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A thread's cache: small, booked when the cache drew it. Its use is counted by the session.
    Cache,
    /// Straight from the reserve.
    Central,
    /// Allocated beyond the reserve.
    Extra,
}

/// What a lease's [tag](unlade_hal::Lease::tag) says: where it came from, what it is used for, and
/// as what it was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) source: Source,
    pub(super) r#use: Use,
    /// The class as which a thread's cache drew it, if that is one of those [kept
    /// apart](Class::is_cached). Pieces that were split off since say the same.
    pub(super) drawn_as: Option<Class>,
}

impl Tag {
    /// What every lease is used for at first.
    pub(super) const fn staged(source: Source) -> Self {
        Tag {
            source,
            r#use: Use::Staged,
            drawn_as: None,
        }
    }

    /// What lies in a cache.
    pub(super) fn idle(class: Class) -> Self {
        Tag {
            drawn_as: Some(class).filter(|class| class.is_cached()),
            ..Tag::staged(Source::Cache)
        }
    }

    #[inline]
    pub(super) fn bits(self) -> u8 {
        let class = self.drawn_as.map_or(0, |class| class.index() as u8 + 1);
        class << 4 | (self.source as u8) << 2 | self.r#use as u8
    }

    #[inline]
    pub(super) fn of_bits(bits: u8) -> Self {
        let source = match bits >> 2 & 3 {
            0 => Source::Cache,
            1 => Source::Central,
            _ => Source::Extra,
        };
        Tag {
            source,
            r#use: Use::ALL[usize::from(bits & 3)],
            drawn_as: usize::from(bits >> 4).checked_sub(1).map(Class::of_index),
        }
    }

    /// Whether it is from a cache and counted as not in use.
    #[inline]
    pub(super) fn is_idle(self) -> bool {
        self.source == Source::Cache && self.r#use == Use::Staged
    }
}

/// A session's name in the ledger, never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SessionId {
    number: u64,
    /// Position of its account while it is open.
    slot: usize,
}

/// What one session holds.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) session: SessionId,
    pub(super) label: Arc<str>,
    pub(super) budget: u64,
    /// Bytes drawn by threads' caches, whether leased at the moment or not.
    pub(super) cache: u64,
    /// Bytes leased straight from the reserve, by use.
    pub(super) central: [u64; 4],
    /// Bytes beyond the reserve, by use.
    pub(super) extra: [u64; 4],
    /// Bytes that went with a lost device, and never come back.
    pub(super) abandoned: u64,
    /// What the session counts itself.
    pub(super) counters: Arc<Counters>,
}

impl Account {
    /// All bytes.
    pub(super) fn held(&self) -> u64 {
        self.cache + self.central.iter().chain(&self.extra).sum::<u64>() + self.abandoned
    }

    fn coming(&self) -> u64 {
        coming(&self.central) + coming(&self.extra)
    }

    /// Bytes in use for one purpose.
    pub(super) fn used(&self, r#use: Use) -> u64 {
        let direct = self.central[r#use.index()] + self.extra[r#use.index()];
        let cached = match r#use {
            Use::Staged => {
                let others = [Use::InFlight, Use::Exported, Use::Resident];
                let others: u64 = others.iter().map(|each| self.counters.used(*each)).sum();
                self.cache.saturating_sub(self.counters.cached() + others)
            }
            other => self.counters.used(other),
        };
        direct + cached
    }
}

/// All accounts and their limits.
#[derive(Debug)]
pub(super) struct Ledger {
    accounts: Vec<Option<Account>>,
    opened: u64,
    reserve: u64,
    extra_limit: u64,
    // Sums over all accounts.
    held: u64,
    central: [u64; 4],
    extra: [u64; 4],
    /// Of what went with lost devices, the bytes beyond the reserve.
    abandoned_extra: u64,
    peak: u64,
    /// Leave given so far to allocate beyond the reserve, as a count.
    pub(super) extra_grants: u64,
}

impl Ledger {
    pub(super) fn new(reserve: u64, extra_limit: u64) -> Self {
        Ledger {
            accounts: Vec::new(),
            opened: 0,
            reserve,
            extra_limit,
            held: 0,
            central: [0; 4],
            extra: [0; 4],
            abandoned_extra: 0,
            peak: 0,
            extra_grants: 0,
        }
    }

    pub(super) fn open(
        &mut self,
        label: Arc<str>,
        budget: u64,
        counters: Arc<Counters>,
    ) -> SessionId {
        let vacant = self.accounts.iter().position(Option::is_none);
        let slot = vacant.unwrap_or(self.accounts.len());
        if vacant.is_none() {
            self.accounts.push(None);
        }
        let session = SessionId {
            number: self.opened,
            slot,
        };
        self.opened += 1;
        self.accounts[slot] = Some(Account {
            session,
            label,
            budget,
            cache: 0,
            central: [0; 4],
            extra: [0; 4],
            abandoned: 0,
            counters,
        });
        session
    }

    pub(super) fn close(&mut self, session: SessionId) {
        let account = self.accounts[session.slot].take();
        debug_assert_eq!(
            account.map_or(0, |account| account.held()),
            0,
            "leases keep it open"
        );
    }

    /// The open accounts.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter().flatten()
    }

    fn account(&self, session: SessionId) -> &Account {
        self.accounts[session.slot]
            .as_ref()
            .expect("open while its session lives")
    }

    fn account_mut(&mut self, session: SessionId) -> &mut Account {
        self.accounts[session.slot]
            .as_mut()
            .expect("open while its session lives")
    }

    /// What a session may have of it: no more than its own budget.
    pub(super) fn budget_of(&self, session: SessionId) -> u64 {
        self.budget().min(self.account(session).budget)
    }

    /// The budget: reserve and what may be allocated beyond it.
    pub(super) fn budget(&self) -> u64 {
        self.reserve + self.extra_limit
    }

    /// Most bytes that were ever held at once.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    /// Bytes held beyond the reserve.
    pub(super) fn extra_held(&self) -> u64 {
        self.extra.iter().sum::<u64>() + self.abandoned_extra
    }

    /// The class of a size, unless the reserve can never hold a block of it.
    pub(super) fn class_in_reserve(&self, size: u64) -> Option<Class> {
        Class::of(size).filter(|class| class.size() <= self.reserve)
    }

    /// Bytes of blocks in the reserve, and bytes beyond it, that these sizes need.
    pub(super) fn split(&self, sizes: &[u64]) -> (u64, u64) {
        sizes.iter().fold((0, 0), |(reserve, extra), size| {
            match self.class_in_reserve(*size) {
                Some(class) => (reserve + class.size(), extra),
                None => (reserve, extra.saturating_add(*size)),
            }
        })
    }

    /// Whether all limits allow it now.
    pub(super) fn admits(&self, session: SessionId, reserve: u64, extra: u64, free: u64) -> bool {
        let account = self.account(session);
        sum(&[account.held(), reserve, extra]) <= account.budget
            && reserve <= free
            && (extra == 0 || sum(&[self.extra_held(), extra]) <= self.extra_limit)
    }

    /// Whether limits would allow it once all that comes back by itself has come. What a thread's
    /// cache drew is not counted: it may come back to the cache.
    pub(super) fn may_come(&self, ask: &Ask<'_>, free: u64) -> bool {
        let (reserve, extra) = self.split(ask.sizes);
        let account = self.account(ask.session);
        let coming_in = coming(&self.central);
        let coming_extra = coming(&self.extra);
        coming_in + coming_extra > 0
            && sum(&[account.held() - account.coming(), reserve, extra]) <= account.budget
            && reserve <= free + coming_in
            && (extra == 0 || sum(&[self.extra_held() - coming_extra, extra]) <= self.extra_limit)
    }

    /// Whether any memory is out that comes back by itself, that of threads' caches included, and
    /// with which a session could have so many bytes: within its own budget, too.
    pub(super) fn anything_comes(&self, session: SessionId, asked: u64) -> bool {
        let coming = |account: &Account| {
            let uses = Use::ALL.into_iter().filter(|each| each.comes_back());
            uses.map(|each| account.used(each)).sum::<u64>()
        };
        let own = self.account(session);
        let stays = own
            .held()
            .saturating_sub(coming(own) + own.counters.cached());
        sum(&[stays, asked]) <= own.budget && self.accounts().any(|account| coming(account) > 0)
    }

    /// Bytes that the caller has as parts of results.
    pub(super) fn exported(&self) -> u64 {
        let accounts = self.accounts();
        accounts.map(|account| account.used(Use::Exported)).sum()
    }

    pub(super) fn book(&mut self, session: SessionId, source: Source, r#use: Use, bytes: u64) {
        let account = self.account_mut(session);
        match source {
            Source::Cache => account.cache += bytes,
            Source::Central => {
                account.central[r#use.index()] += bytes;
                self.central[r#use.index()] += bytes;
            }
            Source::Extra => {
                account.extra[r#use.index()] += bytes;
                self.extra[r#use.index()] += bytes;
                self.extra_grants += u64::from(bytes > 0 && r#use == Use::Staged);
            }
        }
        self.held += bytes;
        self.peak = self.peak.max(self.held);
    }

    /// Notes that memory went with a lost device.
    pub(super) fn abandon(&mut self, session: SessionId, tag: Tag, bytes: u64) {
        let was = match tag.source {
            Source::Cache => Use::Staged,
            Source::Central | Source::Extra => tag.r#use,
        };
        self.unbook(session, tag.source, was, bytes);
        self.account_mut(session).abandoned += bytes;
        self.held += bytes;
        if tag.source == Source::Extra {
            self.abandoned_extra += bytes;
        }
    }

    pub(super) fn unbook(&mut self, session: SessionId, source: Source, r#use: Use, bytes: u64) {
        let account = self.account_mut(session);
        match source {
            Source::Cache => account.cache -= bytes,
            Source::Central => {
                account.central[r#use.index()] -= bytes;
                self.central[r#use.index()] -= bytes;
            }
            Source::Extra => {
                account.extra[r#use.index()] -= bytes;
                self.extra[r#use.index()] -= bytes;
            }
        }
        self.held -= bytes;
    }
}

#[cfg(all(test, shuttle))]
impl Ledger {
    /// Checks that no byte is lost or there twice, and that nobody has more than it may.
    pub(super) fn audit(&self, free: u64) {
        let (mut held, mut in_reserve) = (0, 0);
        for account in self.accounts() {
            assert!(account.held() <= account.budget, "{account:?}");
            held += account.held();
            in_reserve += account.cache + sum(&account.central) + account.abandoned;
        }
        assert_eq!(self.held, held, "what all hold is what each holds");
        let in_reserve = in_reserve - self.abandoned_extra;
        assert_eq!(in_reserve + free, self.reserve, "bytes of the reserve");
        assert!(held <= self.budget(), "{held} of {}", self.budget());
    }
}

fn coming(by_use: &[u64; 4]) -> u64 {
    Use::ALL
        .iter()
        .filter(|each| each.comes_back())
        .map(|each| by_use[each.index()])
        .sum()
}

/// Sizes come from outside: their sum saturates.
fn sum(values: &[u64]) -> u64 {
    values
        .iter()
        .fold(0, |sum, value| sum.saturating_add(*value))
}
