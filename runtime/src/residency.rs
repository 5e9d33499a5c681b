//! What is kept in a device's memory across calls.
//!
//! Pure bookkeeping for one device: which columns lie there, how large they are, and which go first
//! when room is needed: those unused for longest. What is in use is never evicted. What was evicted,
//! or was lost with the device, is not there when asked for next; whoever has the source brings it
//! back with [`insert`](Residency::insert).
//!
//! ```
//! use unlade_runtime::residency::{Residency, ResidentId};
//!
//! let mut residency = Residency::new(100);
//! let [one, two] = [ResidentId(1), ResidentId(2)];
//! residency.insert(one, 60, "column one")?;
//! let in_use = residency.get(one).unwrap();
//! assert!(residency.insert(two, 60, "column two").is_err()); // `one` is in use
//! drop(in_use);
//! residency.insert(two, 60, "column two")?; // evicts `one`
//! assert!(residency.get(one).is_none());
//! # Ok::<(), unlade_runtime::residency::NoRoom>(())
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

/// Data that is to be kept on devices, the same on all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResidentId(pub u64);

/// There is no room on the device, nor can any be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{asked} bytes do not fit in {budget} bytes of device memory for resident data, \
     of which {in_use} bytes are in use"
)]
pub struct NoRoom {
    /// Bytes asked for.
    pub asked: u64,
    /// The budget in bytes.
    pub budget: u64,
    /// Bytes in use at the moment, which cannot be evicted.
    pub in_use: u64,
}

/// What lies in one device's memory. `T` is what holds it there: dropping the last reference lets
/// the memory go.
#[derive(Debug)]
pub struct Residency<T> {
    budget: u64,
    entries: BTreeMap<ResidentId, Entry<T>>,
    /// Counts uses.
    uses: u64,
    evicted: u64,
}

#[derive(Debug)]
struct Entry<T> {
    bytes: u64,
    value: Arc<T>,
    last_use: u64,
}

impl<T> Entry<T> {
    /// Whether somebody else has a reference. Nobody can get one meanwhile: that takes `&mut` of
    /// the whole.
    fn in_use(&self) -> bool {
        Arc::strong_count(&self.value) > 1
    }
}

impl<T> Residency<T> {
    /// Room for so many bytes.
    pub fn new(budget: u64) -> Self {
        Residency {
            budget,
            entries: BTreeMap::new(),
            uses: 0,
            evicted: 0,
        }
    }

    /// What is there, in use as long as the reference lives. `None`: evicted, lost, or never there.
    pub fn get(&mut self, id: ResidentId) -> Option<Arc<T>> {
        self.uses += 1;
        let entry = self.entries.get_mut(&id)?;
        entry.last_use = self.uses;
        Some(entry.value.clone())
    }

    /// Makes room for so many bytes by evicting what is not in use, unused for longest first.
    /// Nothing is evicted where that would not be enough. To be called before the memory is
    /// allocated.
    ///
    /// # Errors
    /// Where there is not room enough whatever is evicted.
    pub fn make_room(&mut self, bytes: u64) -> Result<(), NoRoom> {
        let in_use = self.entries.values().filter(|entry| entry.in_use());
        let in_use: u64 = in_use.map(|entry| entry.bytes).sum();
        if in_use.saturating_add(bytes) > self.budget {
            return Err(NoRoom {
                asked: bytes,
                budget: self.budget,
                in_use,
            });
        }
        while self.bytes() + bytes > self.budget {
            assert!(self.evict_one(), "what is in use alone fits");
        }
        Ok(())
    }

    /// Evicts what was unused for longest and is not in use, for something else that finds no room
    /// on the device; false where there is nothing of that kind.
    pub fn evict_one(&mut self) -> bool {
        let idle = self.entries.iter().filter(|(_, entry)| !entry.in_use());
        let oldest = idle.min_by_key(|(_, entry)| entry.last_use);
        let Some(id) = oldest.map(|(id, _)| *id) else {
            return false;
        };
        self.entries.remove(&id);
        self.evicted += 1;
        true
    }

    /// Notes what now lies in the device's memory, in place of what was noted under this name.
    ///
    /// # Errors
    /// Where there is no room; what was noted before is gone nevertheless.
    pub fn insert(&mut self, id: ResidentId, bytes: u64, value: T) -> Result<Arc<T>, NoRoom> {
        self.entries.remove(&id);
        self.make_room(bytes)?;
        self.uses += 1;
        let value = Arc::new(value);
        let entry = Entry {
            bytes,
            value: value.clone(),
            last_use: self.uses,
        };
        self.entries.insert(id, entry);
        Ok(value)
    }

    /// Lets go of one.
    pub fn remove(&mut self, id: ResidentId) {
        self.entries.remove(&id);
    }

    /// Lets go of everything: the device is lost, and what was there with it.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Bytes of one; `None` where it is not there. To ask is no use of it.
    pub fn bytes_of(&self, id: ResidentId) -> Option<u64> {
        self.entries.get(&id).map(|entry| entry.bytes)
    }

    /// Bytes that lie there.
    pub fn bytes(&self) -> u64 {
        self.entries.values().map(|entry| entry.bytes).sum()
    }

    /// How often something was evicted.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids<const N: usize>() -> [ResidentId; N] {
        std::array::from_fn(|index| ResidentId(index as u64))
    }

    #[test]
    fn what_was_used_last_stays() {
        let mut residency = Residency::new(30);
        let [a, b, c, d] = ids();
        for id in [a, b, c] {
            residency.insert(id, 10, id).unwrap();
        }
        residency.get(a).unwrap();
        assert_eq!(
            (residency.bytes_of(b), residency.bytes_of(d)),
            (Some(10), None)
        );
        residency.insert(d, 15, d).unwrap();
        let there = [a, b, c, d].map(|id| residency.get(id).is_some());
        assert_eq!(there, [true, false, false, true]);
        assert_eq!((residency.bytes(), residency.evicted()), (25, 2));
    }

    #[test]
    fn what_is_in_use_is_never_evicted() {
        let mut residency = Residency::new(30);
        let [a, b, c] = ids();
        let in_use = residency.insert(a, 20, "a").unwrap();
        residency.insert(b, 10, "b").unwrap();
        let error = residency.insert(c, 11, "c").unwrap_err();
        assert_eq!(
            error,
            NoRoom {
                asked: 11,
                budget: 30,
                in_use: 20
            }
        );
        assert!(
            residency.get(b).is_some(),
            "evicting it would not have been enough"
        );
        residency.insert(c, 10, "c").unwrap();
        assert_eq!(*in_use, "a");
        assert!(residency.get(a).is_some() && residency.get(b).is_none());
        assert!(residency.insert(b, u64::MAX, "b").is_err());
    }

    #[test]
    fn after_a_loss_it_is_rebuilt() {
        let mut residency = Residency::new(30);
        let [a] = ids();
        let old = residency.insert(a, 20, 1).unwrap();
        residency.clear();
        assert!(residency.get(a).is_none());
        residency.insert(a, 20, 2).unwrap();
        assert_eq!((*old, *residency.get(a).unwrap()), (1, 2));
        assert_eq!((residency.bytes(), residency.evicted()), (20, 0));
        residency.remove(a);
        assert_eq!(residency.bytes(), 0);
    }
}
