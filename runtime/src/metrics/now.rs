//! Gauges of how things are, set when somebody wants to know.

use metrics::Gauge;

use super::{
    DEVICE_FAILURES, DEVICE_LEAKED_BYTES, DEVICE_RESIDENT_BYTES, DEVICE_RESTS_SECONDS,
    DEVICE_STATE, EXECUTABLES, Metric, POOL_BEYOND_BYTES, POOL_BUDGET_BYTES, POOL_CACHED_BYTES,
    POOL_EXPORTED_BYTES, POOL_FREE_BYTES, POOL_LEASED_BYTES, POOL_PEAK_BYTES, POOL_RESERVE_BYTES,
    POOL_WAITING, SESSIONS, TICKETS,
};
use crate::device_slot::{DeviceState, DeviceStatus};
use crate::pool::PoolStatus;

/// How a runtime is at the moment.
pub(crate) struct Now {
    pub(crate) devices: Vec<DeviceStatus>,
    pub(crate) pool: PoolStatus,
    pub(crate) executables: usize,
    pub(crate) sessions: usize,
    pub(crate) tickets: u64,
}

impl Now {
    /// Sets the gauges.
    pub(crate) fn tell(&self) {
        self.each(|gauge, value| gauge.set(value));
    }

    /// Sets them to 0: the runtime has ended.
    pub(crate) fn tell_the_end(&self) {
        self.each(|gauge, _| gauge.set(0.0));
    }

    fn each(&self, mut tell: impl FnMut(Gauge, f64)) {
        let mut set = |metric: Metric, labels: &[&str], value: f64| {
            tell(metric.gauge(labels), value);
        };
        for device in &self.devices {
            let name = &*device.name;
            for state in DeviceState::ALL {
                let is_it = f64::from(u8::from(device.state == state));
                set(DEVICE_STATE, &[name, state.name()], is_it);
            }
            let rests = device.rests_for.unwrap_or_default();
            set(DEVICE_RESTS_SECONDS, &[name], rests.as_secs_f64());
            set(DEVICE_FAILURES, &[name], f64::from(device.failures));
            set(DEVICE_LEAKED_BYTES, &[name], device.leaked_bytes as f64);
            set(DEVICE_RESIDENT_BYTES, &[name], device.resident_bytes as f64);
        }
        let pool = &self.pool;
        let of_pool = [
            (POOL_RESERVE_BYTES, pool.reserve),
            (POOL_BUDGET_BYTES, pool.budget),
            (POOL_FREE_BYTES, pool.free),
            (POOL_CACHED_BYTES, pool.cached),
            (POOL_LEASED_BYTES, pool.leased),
            (POOL_EXPORTED_BYTES, pool.exported),
            (POOL_BEYOND_BYTES, pool.beyond_reserve),
            (POOL_PEAK_BYTES, pool.peak),
            (POOL_WAITING, pool.waiting as u64),
            (EXECUTABLES, self.executables as u64),
            (SESSIONS, self.sessions as u64),
            (TICKETS, self.tickets),
        ];
        for (metric, value) in of_pool {
            set(metric, &[], value as f64);
        }
    }
}
