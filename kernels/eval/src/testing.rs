//! Seeded randomness for the tests of this crate.

/// SplitMix64: every seed gives a different, reproducible stream.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, or zero where the bound is.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            0
        } else {
            (self.next() % bound as u64) as usize
        }
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A bitmap of `rows` bits, `percent` of them set, zeros beyond.
    pub(crate) fn bits(&mut self, rows: usize, percent: usize) -> Vec<u8> {
        let mut bytes = vec![0; rows.div_ceil(8)];
        for row in 0..rows {
            bytes[row / 8] |= u8::from(self.chance(percent)) << (row % 8);
        }
        bytes
    }
}
