//! Times, as Python counts them.

use std::time::Duration;

use crate::failure::{Failure, config};

/// How long a wait or a long run goes on before Python handles signals, Ctrl-C among them.
pub(crate) const SIGNALS: Duration = Duration::from_millis(50);

/// Seconds that were asked for.
pub(crate) fn seconds(seconds: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| config(format!("{seconds} seconds: {error}")))
}

/// A time in whole nanoseconds.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
