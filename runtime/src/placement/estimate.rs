//! What a term of the cost will be, from what it was.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Measurements that are remembered.
const WINDOW: usize = 16;

/// Weight of a measurement relative to the next newer one.
const RECENCY: f64 = 0.85;

/// Weight that a measurement loses with each batch placed since, on whatever device: of a device
/// that is only probed now and then, the newest probe counts most.
const AGING: f64 = 0.93;

/// Weight of the belief that the profile is right about which part of the term is the same at any
/// size; the newest measurement has weight 1.
const PRIOR: f64 = 0.01;

/// Deviations beyond this count for less the larger they are: a batch that was disturbed does not
/// spoil the estimate.
const USUAL: f64 = 0.2;

/// Relative deviation from which a measurement is a surprise.
const SURPRISE: f64 = 0.5;

/// What a profile says that a term takes, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Guess {
    /// Whatever the size: of launches.
    pub(super) fixed: f64,
    /// In proportion to the size.
    pub(super) growing: f64,
}

impl Guess {
    pub(super) fn growing(growing: f64) -> Self {
        Guess {
            fixed: 0.0,
            growing,
        }
    }

    pub(super) fn total(self) -> f64 {
        self.fixed + self.growing
    }
}

/// The least time that is told from none, in seconds.
const TICK: f64 = 1e-9;

/// One term of the cost of one kind of work on one device.
///
/// The profile says what the term should take; measured is what it takes. The estimate is a line
/// `measured = a + b * growing`, fitted by least squares of the relative deviations, in which
/// recent measurements and those of a similar size count for more, and outliers for less. The
/// profile itself counts a little, which decides until something is measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Estimate {
    window: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    profile: Guess,
    measured: f64,
    /// When: the number of batches placed before.
    batch: u64,
}

impl Estimate {
    /// As measured earlier, the oldest first. What cannot have been measured is left out.
    pub(super) fn of(samples: &[Known]) -> Self {
        let amount = |seconds: f64| seconds.is_finite() && seconds >= 0.0;
        let possible = |known: &&Known| {
            let Known {
                fixed,
                growing,
                measured,
            } = known;
            [*fixed, *growing].into_iter().all(amount)
                && fixed + growing > 0.0
                && amount(*measured)
                && *measured > 0.0
        };
        let newest = samples.iter().filter(possible).rev().take(WINDOW);
        let mut window: VecDeque<Sample> = newest
            .map(|known| Sample {
                profile: Guess {
                    fixed: known.fixed,
                    growing: known.growing,
                },
                measured: known.measured,
                batch: 0,
            })
            .collect();
        window.make_contiguous().reverse();
        Estimate { window }
    }

    /// What [`of`](Self::of) makes the same estimate of.
    pub(super) fn samples(&self) -> Vec<Known> {
        let samples = self.window.iter();
        samples
            .map(|sample| Known {
                fixed: sample.profile.fixed,
                growing: sample.profile.growing,
                measured: sample.measured,
            })
            .collect()
    }

    /// Measurements that are remembered.
    pub(super) fn len(&self) -> usize {
        self.window.len()
    }

    /// When the newest one was made: the number of batches placed before.
    pub(super) fn newest(&self) -> Option<u64> {
        self.window.back().map(|sample| sample.batch)
    }

    /// Seconds expected where the profile says so much.
    pub(super) fn predict(&self, profile: Guess) -> f64 {
        if profile.total() <= 0.0 || self.window.is_empty() {
            return profile.total().max(0.0);
        }
        // From the middle on, each round makes less of what is far from the last one's line.
        let middle = self.middle();
        let first = Line {
            offset: middle * profile.fixed,
            slope: middle,
        };
        let line = (0..3).fold(first, |line, _| self.fit(profile, first, line));
        line.at(profile.growing)
    }

    /// The measurements, newest first, each with its weight.
    fn weighted(&self) -> impl Iterator<Item = (&Sample, f64)> {
        let newest = self.window.back().map_or(0, |sample| sample.batch);
        self.window.iter().rev().scan(1.0, move |recency, sample| {
            let aging = AGING.powi(newest.saturating_sub(sample.batch).min(1000) as i32);
            let weight = *recency * aging;
            *recency *= RECENCY;
            Some((sample, weight))
        })
    }

    /// The weighted median of how much longer things take than the profile says.
    fn middle(&self) -> f64 {
        let mut ratios: Vec<(f64, f64)> = self
            .weighted()
            .map(|(sample, weight)| (sample.measured / sample.profile.total(), weight))
            .collect();
        ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
        let half = ratios.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
        let mut below = 0.0;
        let middle = ratios.iter().find(|(_, weight)| {
            below += weight;
            below >= half
        });
        middle
            .expect("the caller has checked that something was measured")
            .0
    }

    /// Remembers a measurement. True where it is far from what was expected.
    pub(super) fn observe(&mut self, profile: Guess, measured: f64, batch: u64) -> bool {
        if profile.total() <= 0.0 || !measured.is_finite() {
            return false;
        }
        // Clocks tick: what took no time took less than a tick.
        let measured = measured.max(TICK);
        let expected = self.predict(profile);
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back(Sample {
            profile,
            measured,
            batch,
        });
        (measured / expected.max(1e-12)).ln().abs() > SURPRISE
    }

    /// The line through the measurements as seen from `profile`, given the profile's own, scaled, and
    /// the line of the round before.
    fn fit(&self, profile: Guess, own: Line, last: Line) -> Line {
        let mut sums = Sums::default();
        for (sample, weight) in self.weighted() {
            let octaves = (sample.profile.total() / profile.total()).log2().abs();
            let proximity = 1.0 / (1.0 + octaves * octaves);
            // Deviations are relative to what is expected, not to what was measured: otherwise
            // small measurements would weigh more than large ones.
            let expected = last.at(sample.profile.growing);
            let deviation = (sample.measured / expected).ln().abs();
            let outlier = (USUAL / deviation.max(USUAL)).powi(2);
            let weight = weight * proximity * outlier / (expected * expected);
            sums.add(sample.profile.growing, sample.measured, weight);
        }
        let expected = last.at(profile.growing);
        sums.line(own, PRIOR / (expected * expected))
    }
}

/// A measurement that is kept between runs, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    fixed: f64,
    growing: f64,
    measured: f64,
}

/// `offset + slope * growing`, both at least 0.
#[derive(Clone, Copy, Debug)]
struct Line {
    offset: f64,
    slope: f64,
}

impl Line {
    /// No less than what clocks can tell: deviations are relative to it.
    fn at(self, growing: f64) -> f64 {
        (self.offset + self.slope * growing).max(TICK)
    }
}

/// Sums of weighted least squares over relative deviations.
#[derive(Default)]
struct Sums {
    w: f64,
    wx: f64,
    wy: f64,
    wxx: f64,
    wxy: f64,
}

impl Sums {
    fn add(&mut self, x: f64, y: f64, w: f64) {
        self.w += w;
        self.wx += w * x;
        self.wy += w * y;
        self.wxx += w * x * x;
        self.wxy += w * x * y;
    }

    /// The best line, with this penalty on the square of how far its offset is from another's.
    fn line(&self, other: Line, penalty: f64) -> Line {
        let w = self.w + penalty;
        let wy = self.wy + penalty * other.offset;
        if self.wxx == 0.0 {
            return Line {
                offset: wy / w,
                ..other
            };
        }
        let proportional = Line {
            offset: 0.0,
            slope: self.wxy / self.wxx,
        };
        let determinant = w * self.wxx - self.wx * self.wx;
        let slope = (w * self.wxy - self.wx * wy) / determinant;
        let offset = (wy - slope * self.wx) / w;
        match (slope < 0.0, offset < 0.0) {
            (true, _) => Line {
                offset: self.wy / self.w,
                slope: 0.0,
            },
            (_, true) => proportional,
            _ => Line { offset, slope },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_near(value: f64, expected: f64, tolerance: f64) {
        assert!(
            (value / expected - 1.0).abs() < tolerance,
            "{value} is not near {expected}"
        );
    }

    #[test]
    fn the_profile_decides_until_something_is_measured() {
        let mut estimate = Estimate::default();
        assert_eq!(estimate.predict(Guess::growing(0.5)), 0.5);
        estimate.observe(Guess::growing(0.5), 1.5, 0);
        assert_near(estimate.predict(Guess::growing(0.5)), 1.5, 0.01);
        assert_near(estimate.predict(Guess::growing(1.0)), 3.0, 0.01);
    }

    #[test]
    fn a_fixed_part_is_told_from_a_part_that_grows() {
        let mut estimate = Estimate::default();
        for index in 0..12 {
            let profile = f64::from(1u32 << (index % 6));
            estimate.observe(Guess::growing(profile), 10.0 + 2.0 * profile, index);
        }
        for profile in [1.0, 16.0, 64.0] {
            assert_near(
                estimate.predict(Guess::growing(profile)),
                10.0 + 2.0 * profile,
                0.05,
            );
        }
    }

    /// A profile says what launches take, and may be wrong about it either way.
    #[test]
    fn a_launch_is_learnt() {
        for launch in [0.0, 0.1, 10.0] {
            let mut estimate = Estimate::default();
            let size = |index: u64| f64::from(1u32 << (index % 6));
            let profile = |growing| Guess {
                fixed: 1.0,
                growing,
            };
            for index in 0..12 {
                let growing = size(index);
                estimate.observe(profile(growing), launch + 5.0 * growing, index);
            }
            for growing in [1.0, 16.0, 64.0] {
                let expected = launch + 5.0 * growing;
                assert_near(estimate.predict(profile(growing)), expected, 0.05);
            }
        }
        // Of one measurement all of the profile is held to be off by as much.
        let mut estimate = Estimate::default();
        let profile = Guess {
            fixed: 1.0,
            growing: 1.0,
        };
        estimate.observe(profile, 6.0, 0);
        let larger = Guess {
            growing: 9.0,
            ..profile
        };
        assert_near(estimate.predict(larger), 30.0, 0.05);
    }

    #[test]
    fn an_outlier_does_not_spoil_it_and_a_change_does() {
        let mut estimate = Estimate::default();
        for batch in 0..10 {
            assert!(!estimate.observe(Guess::growing(1.0), 1.0, batch));
        }
        assert!(estimate.observe(Guess::growing(1.0), 40.0, 10));
        assert_near(estimate.predict(Guess::growing(1.0)), 1.0, 0.1);
        for batch in 11..17 {
            estimate.observe(Guess::growing(1.0), 4.0, batch);
        }
        assert_near(estimate.predict(Guess::growing(1.0)), 4.0, 0.1);
    }

    #[test]
    fn after_a_long_time_the_newest_measurement_decides() {
        let mut estimate = Estimate::default();
        for batch in 0..20 {
            estimate.observe(Guess::growing(1.0), 1.0, batch);
        }
        estimate.observe(Guess::growing(1.0), 4.0, 60);
        assert_near(estimate.predict(Guess::growing(1.0)), 4.0, 0.1);
    }
}
