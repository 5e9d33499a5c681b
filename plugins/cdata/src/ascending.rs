//! Whether offsets ascend, by as many at once as the processor takes.

/// Integers that offsets are.
pub(crate) trait Ascending: Copy {
    /// Whether any is below zero, or less than the one before.
    fn descends(all: &[Self]) -> bool;
}

macro_rules! ascending {
    ($native:ty) => {
        impl Ascending for $native {
            fn descends(all: &[Self]) -> bool {
                /// Without a way out of the loop it is done on vectors. Of what is not below zero the
                /// difference does not overflow.
                #[inline(always)]
                fn signs(all: &[$native]) -> bool {
                    let rest = all.get(1..).unwrap_or_default();
                    let first = all.first().copied().unwrap_or_default();
                    let pairs = all.iter().zip(rest);
                    let signs = pairs.fold(first, |signs, (one, next)| {
                        signs | next | next.wrapping_sub(*one)
                    });
                    signs < 0
                }

                // 8,192 offsets of strings in half a microsecond, where it is a whole one without.
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx2")]
                    fn wide(all: &[$native]) -> bool {
                        signs(all)
                    }

                    if is_x86_feature_detected!("avx2") {
                        // SAFETY: The processor has it.
                        return unsafe { wide(all) };
                    }
                }
                signs(all)
            }
        }
    };
}

ascending!(i32);
ascending!(i64);

#[cfg(test)]
mod tests {
    use super::*;

    fn must_be_right<T: Ascending + PartialOrd + Default + std::fmt::Debug>(all: &[T]) {
        let zero = T::default();
        let wrong = all.iter().any(|each| *each < zero) || !all.is_sorted();
        assert_eq!(T::descends(all), wrong, "{all:?}");
    }

    /// Wherever it stands, on vectors or behind them.
    #[test]
    fn one_that_is_wrong_is_found() {
        for length in [0, 1, 2, 3, 7, 8, 9, 31, 32, 33, 64, 100] {
            let offsets: Vec<i32> = (0..length).map(|row| row * 3 / 2).collect();
            must_be_right(&offsets);
            must_be_right(&offsets.iter().copied().map(i64::from).collect::<Vec<_>>());
            for at in 0..offsets.len() {
                for value in [-1, 0, 1, 40, 1000, i32::MAX, i32::MIN] {
                    let mut changed = offsets.clone();
                    changed[at] = value;
                    must_be_right(&changed);
                    let mut changed: Vec<i64> = offsets.iter().copied().map(i64::from).collect();
                    for value in [value.into(), i64::from(value) << 31, i64::MAX, i64::MIN] {
                        changed[at] = value;
                        must_be_right(&changed);
                    }
                }
            }
        }
    }
}
