//! Times, as Python counts them.

use std::time::Duration;

use crate::failure::{Failure, config};

/// How long a wait or a long run goes on before Python handles signals, Ctrl-C among them.
pub(crate) const SIGNALS: Duration = Duration::from_millis(50);

/// Seconds that were asked for by an option of this name.
pub(crate) fn seconds(option: &str, seconds: f64) -> Result<Duration, Failure> {
    let time = Duration::try_from_secs_f64(seconds);
    time.map_err(|_| {
        config(format!(
            "{option} is a number of seconds from 0 to below 2^64, not {seconds}"
        ))
    })
}

/// A time in whole nanoseconds.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
