//! Two ways that take turns.

use std::fmt;
use std::time::Instant;

/// The median of pairs, and the bounds within which it is with 95% each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let outside = outside(count);
        Spread {
            median: values[count / 2],
            lower: values[outside],
            upper: values[count - 1 - outside],
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread {
            median,
            lower,
            upper,
        } = self;
        // Three digits that matter, of ratios and of parts of a millisecond alike.
        let digits = match median.abs() {
            ..0.1 => 6,
            _ => 3,
        };
        write!(
            f,
            "{median:.digits$} ({lower:.digits$} to {upper:.digits$})"
        )
    }
}

/// How many of so many sorted values are beyond a 95% bound of their median, on one side: values are
/// below and above it as a coin falls.
fn outside(count: usize) -> usize {
    let mut probability = 0.5f64.powi(i32::try_from(count).expect("they are few"));
    let mut below = 0.0;
    for outside in 0..count {
        below += probability;
        if below > 0.05 {
            return outside.saturating_sub(1);
        }
        probability *= (count - outside) as f64 / (outside + 1) as f64;
    }
    0
}

/// How many times as long `one` takes as `other`.
pub(crate) fn ratios(pairs: usize, one: impl FnMut(), other: impl FnMut()) -> Spread {
    let each = in_turns(pairs, one, other).into_iter();
    Spread::of(each.map(|(one, other)| one / other).collect())
}

/// How many seconds longer `other` takes than `one`.
pub(crate) fn differences(pairs: usize, one: impl FnMut(), other: impl FnMut()) -> Spread {
    let each = in_turns(pairs, one, other).into_iter();
    Spread::of(each.map(|(one, other)| other - one).collect())
}

/// Seconds of pairs, of which each way is the first in turn; what comes first warms up.
fn in_turns(pairs: usize, mut one: impl FnMut(), mut other: impl FnMut()) -> Vec<(f64, f64)> {
    fn seconds(run: &mut impl FnMut()) -> f64 {
        let since = Instant::now();
        run();
        since.elapsed().as_secs_f64()
    }
    seconds(&mut one);
    seconds(&mut other);
    let pair = |at| match at % 2 {
        0 => {
            let first = seconds(&mut one);
            (first, seconds(&mut other))
        }
        _ => {
            let first = seconds(&mut other);
            (seconds(&mut one), first)
        }
    };
    (0..pairs).map(pair).collect()
}
