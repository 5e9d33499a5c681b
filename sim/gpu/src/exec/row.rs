//! A value in each of the 32 lanes of a warp.

/// Lanes of a warp.
pub(super) const LANES: usize = 32;

/// A value in each lane: the bits of a register, zero above its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub(super) struct Row(pub(super) [u64; LANES]);

impl Row {
    /// The same value in every lane.
    pub(super) const fn splat(value: u64) -> Row {
        Row([value; LANES])
    }

    /// Takes over a value in the lanes of the mask.
    #[inline]
    pub(super) fn merge(&mut self, value: &Row, lanes: u32) {
        if lanes == u32::MAX {
            *self = *value;
            return;
        }
        for lane in 0..LANES {
            if lanes >> lane & 1 == 1 {
                self.0[lane] = value.0[lane];
            }
        }
    }
}

#[inline(always)]
pub(super) fn map(a: &Row, f: impl Fn(u64) -> u64) -> Row {
    let mut out = Row::splat(0);
    for lane in 0..LANES {
        out.0[lane] = f(a.0[lane]);
    }
    out
}

#[inline(always)]
pub(super) fn map2(a: &Row, b: &Row, f: impl Fn(u64, u64) -> u64) -> Row {
    let mut out = Row::splat(0);
    for lane in 0..LANES {
        out.0[lane] = f(a.0[lane], b.0[lane]);
    }
    out
}

#[inline(always)]
pub(super) fn map3(a: &Row, b: &Row, c: &Row, f: impl Fn(u64, u64, u64) -> u64) -> Row {
    let mut out = Row::splat(0);
    for lane in 0..LANES {
        out.0[lane] = f(a.0[lane], b.0[lane], c.0[lane]);
    }
    out
}

/// A bit for each lane.
#[inline(always)]
pub(super) fn test2(a: &Row, b: &Row, f: impl Fn(u64, u64) -> bool) -> u32 {
    let mut bits = 0;
    for lane in 0..LANES {
        bits |= u32::from(f(a.0[lane], b.0[lane])) << lane;
    }
    bits
}

/// The lanes of a mask, lowest first.
pub(super) fn lanes(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (lane < 32).then_some(lane as usize)
    })
}
