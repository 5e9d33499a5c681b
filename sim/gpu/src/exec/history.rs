//! What global memory held before, for those who do not have to see its last changes yet.

use std::ops::Range;

/// Earlier contents of global memory, as far as they may still be seen: the last [`REMEMBERED`]
/// changes.
#[derive(Debug)]
pub(super) struct History {
    /// A change is at its number, modulo their count.
    changes: Vec<Change>,
    /// The number of the last change in each bucket of words.
    latest: Vec<u64>,
    /// The number of the last change; the first has 1.
    now: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) number: u64,
    /// The number of the change before it in the same bucket.
    before: u64,
    pub(super) block: u32,
    pub(super) at: u64,
    pub(super) bytes: u8,
    /// What was there before; none if nobody had written it.
    pub(super) old: Option<u64>,
}

/// Changes that are remembered.
const REMEMBERED: usize = 512;

/// Twice as many as changes, so that few words share one.
const BUCKETS: usize = 2 * REMEMBERED;

/// Bytes of a word: a value lies in one.
const WORD: u64 = 8;

impl History {
    pub(super) fn new() -> Self {
        History {
            changes: Vec::with_capacity(REMEMBERED),
            latest: vec![0; BUCKETS],
            now: 0,
        }
    }

    /// Whether a part of a range may have held something else.
    pub(super) fn touches(&self, range: &Range<u64>) -> bool {
        let mut words = range.start / WORD..range.end.div_ceil(WORD);
        words.any(|word| self.of_word(word).next().is_some())
    }

    /// The number of the last change.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// The changes of a value's place or of a part of it, latest first.
    pub(super) fn of(&self, at: u64, bytes: usize) -> impl Iterator<Item = &Change> {
        let near = move |change: &&Change| overlap(change.at, change.bytes, at, bytes as u8);
        self.of_word(at / WORD).filter(near)
    }

    /// The changes of a word, latest first.
    fn of_word(&self, word: u64) -> impl Iterator<Item = &Change> {
        let mut number = self.latest[bucket(word)];
        std::iter::from_fn(move || {
            let age = self.now - number;
            if number == 0 || age >= REMEMBERED as u64 {
                return None;
            }
            let change = &self.changes[number as usize % REMEMBERED];
            number = change.before;
            Some(change)
        })
        .filter(move |change| change.at / WORD == word)
    }

    pub(super) fn add(&mut self, block: u32, at: u64, bytes: usize, old: Option<u64>) {
        self.now += 1;
        let latest = &mut self.latest[bucket(at / WORD)];
        let change = Change {
            number: self.now,
            before: std::mem::replace(latest, self.now),
            block,
            at,
            bytes: bytes as u8,
            old,
        };
        let place = self.now as usize % REMEMBERED;
        match self.changes.get_mut(place) {
            Some(oldest) => *oldest = change,
            None => self.changes.resize(place + 1, change),
        }
    }
}

/// Fibonacci hashing: neighbours go far apart.
fn bucket(word: u64) -> usize {
    (word.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - BUCKETS.ilog2())) as usize
}

/// Whether two values share a byte, each of 1, 2, 4 or 8 bytes at a multiple of its size: then one
/// lies in the other. Shared memory lies below all global memory.
#[inline]
pub(super) fn overlap(at: u64, bytes: u8, other: u64, its_bytes: u8) -> bool {
    at ^ other < u64::from(bytes.max(its_bytes))
}

#[cfg(test)]
mod tests {
    use super::super::rng::Rng;
    use super::*;

    #[test]
    fn the_last_changes_of_each_place_are_found_latest_first() {
        let (mut history, mut all, mut rng) = (History::new(), Vec::new(), Rng::new(7));
        for _ in 0..4 * REMEMBERED {
            let bytes = 1 << rng.below(4);
            let at = (rng.below(300) * bytes) as u64;
            history.add(0, at, bytes, None);
            all.push((at, bytes as u8));
            let remembered = all.len().saturating_sub(REMEMBERED)..all.len();
            let bytes = 1 << rng.below(4);
            let at = (rng.below(300) * bytes) as u64;
            let expected = remembered.rev().filter(|&change| {
                let (start, size) = all[change];
                start < at + bytes as u64 && at < start + u64::from(size)
            });
            let expected: Vec<u64> = expected.map(|change| change as u64 + 1).collect();
            let found: Vec<u64> = history.of(at, bytes).map(|change| change.number).collect();
            assert_eq!(found, expected, "{bytes} bytes at {at}");
            let word = at / WORD * WORD;
            if !expected.is_empty() {
                assert!(history.touches(&(word..word + WORD)));
            }
        }
        assert!(!history.touches(&(1 << 20..(1 << 20) + 1024)));
    }
}
