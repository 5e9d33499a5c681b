//! Maps from numbers that are given out in turn.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map whose keys are numbers that no stranger chooses: one multiplication spreads them. Nothing
/// may depend on the order in which it is walked through.
pub(crate) type NumberedMap<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

/// Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spread(u64);

/// 2⁶⁴ divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for Spread {
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(GOLDEN);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        // A table takes its slots from the low bits, which a product mixes least.
        self.0 ^ (self.0 >> 32)
    }
}
