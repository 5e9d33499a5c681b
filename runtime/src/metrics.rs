//! Counters, gauges and histograms, by way of the `metrics` facade.
//!
//! The one table of them is here: names, kinds, units, labels and words for whoever reads them.
//! docs/METRICS.md is held to it by a test. Handles of batches are looked up once per kernel, those of
//! turns once per runtime. A recorder has to be installed before a runtime is built.
//!
//! Series are bounded: no label names a session, and of devices only so many are told apart.

mod kernel;
mod now;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, Label, Unit};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

pub(crate) use self::kernel::KernelMetrics;
pub(crate) use self::now::Now;

/// Something that the runtime tells the `metrics` facade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind it is.
    pub kind: MetricKind,
    /// What its values are in.
    pub unit: MetricUnit,
    /// The labels of each of its series, in this order.
    pub labels: &'static [&'static str],
    /// What it says.
    pub meaning: &'static str,
}

/// What can be done with a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// As it is now: of two runtimes in one process, as it is in the one that told last.
    Gauge,
    /// How often values of which size came.
    Histogram,
}

/// What a metric's values are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricUnit {
    /// A number of things.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        })
    }
}

impl fmt::Display for MetricUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MetricUnit::Count => "count",
            MetricUnit::Bytes => "bytes",
            MetricUnit::Seconds => "seconds",
        })
    }
}

/// The table, and a constant for each of its rows.
macro_rules! table {
    ($($row:ident: $kind:ident $name:literal $unit:ident [$($label:literal),*] $meaning:literal;)*) => {
        $(
            pub(crate) const $row: Metric = Metric {
                name: $name,
                kind: MetricKind::$kind,
                unit: MetricUnit::$unit,
                labels: &[$($label),*],
                meaning: $meaning,
            };
        )*

        /// All metrics of the runtime.
        pub const METRICS: &[Metric] = &[$($row),*];
    };
}

table! {
    BATCHES: Counter "unlade_batches_total" Count ["device"]
        "Batches that have a result.";
    ROWS_IN: Counter "unlade_rows_in_total" Count ["device"]
        "Rows of those batches.";
    ROWS_OUT: Counter "unlade_rows_out_total" Count ["device"]
        "Rows of their results.";
    BYTES_IN: Counter "unlade_bytes_in_total" Bytes ["device"]
        "Bytes of the columns that were read for them.";
    BYTES_OUT: Counter "unlade_bytes_out_total" Bytes ["device"]
        "Bytes of their results.";
    BYTES_COPIED: Counter "unlade_bytes_copied_total" Bytes ["device"]
        "Bytes of payload written while compacting it.";
    RETRIES: Counter "unlade_retries_total" Count ["device"]
        "Times that work was repeated after a fault or for want of memory.";
    ERRORS: Counter "unlade_errors_total" Count ["device"]
        "Batches that ended in an error.";
    BATCH_SECONDS: Histogram "unlade_batch_seconds" Seconds ["device"]
        "From hand-over to result, on the wall clock; batches done together count once.";
    FALLBACKS: Counter "unlade_fallbacks_total" Count ["device", "reason"]
        "Parts of batches that went elsewhere than to this device, by the kind of reason.";
    COMPILE_SECONDS: Histogram "unlade_compile_seconds" Seconds ["device"]
        "How long each compilation of a program took, those that failed included.";
    EXECUTABLES: Gauge "unlade_executables" Count []
        "Compiled programs that are kept.";
    DEVICE_JOBS: Counter "unlade_device_jobs_total" Count ["device"]
        "Turns on the device that ended well.";
    DEVICE_BUSY_SECONDS: Histogram "unlade_device_busy_seconds" Seconds ["device", "clock"]
        "How long the device worked for a turn, copies included, by the clock that it has; its sum grows as the device is busy.";
    DEVICE_WAIT_SECONDS: Histogram "unlade_device_wait_seconds" Seconds ["device"]
        "How long batches waited for a turn on the device, on the wall clock.";
    DEVICE_IN_FLIGHT: Gauge "unlade_device_in_flight" Count ["device"]
        "Turns on the device that are taken.";
    DEVICE_WAITING: Gauge "unlade_device_waiting" Count ["device"]
        "Turns on the device that are waited for.";
    DEVICE_STATE: Gauge "unlade_device_state" Count ["device", "state"]
        "1 for the state that the device is in, 0 for the others: ready, on_trial (back, with one turn to prove it), resting (failed, and left alone for a while), reviving, lost (and nobody has noticed yet).";
    DEVICE_RESTS_SECONDS: Gauge "unlade_device_rests_seconds" Seconds ["device"]
        "How long the device is left alone yet after a failure, by the runtime's clock; 0 where it is not.";
    DEVICE_FAILURES: Gauge "unlade_device_failures" Count ["device"]
        "Failures of the device since it last worked; each doubles how long it is left alone.";
    DEVICE_LOSSES: Counter "unlade_device_losses_total" Count ["device"]
        "Times that the device was lost.";
    DEVICE_LEAKED_BYTES: Gauge "unlade_device_leaked_bytes" Bytes ["device"]
        "Memory, the host's and the device's own, abandoned to it when it was lost.";
    DEVICE_RESIDENT_BYTES: Gauge "unlade_device_resident_bytes" Bytes ["device"]
        "Batches that are kept in the device's memory across calls.";
    SESSIONS: Gauge "unlade_sessions" Count []
        "Sessions that have not ended, the runtime's own included.";
    SESSIONS_OPENED: Counter "unlade_sessions_opened_total" Count []
        "Sessions that were opened.";
    SESSIONS_REFUSED: Counter "unlade_sessions_refused_total" Count []
        "Sessions that were not given the devices that they asked for.";
    TICKETS: Gauge "unlade_tickets" Count []
        "Tickets that are not done.";
    POOL_RESERVE_BYTES: Gauge "unlade_pool_reserve_bytes" Bytes []
        "Pinned memory reserved at the start.";
    POOL_BUDGET_BYTES: Gauge "unlade_pool_budget_bytes" Bytes []
        "Most memory that batches may hold.";
    POOL_FREE_BYTES: Gauge "unlade_pool_free_bytes" Bytes []
        "Memory of the reserve that anybody can have.";
    POOL_CACHED_BYTES: Gauge "unlade_pool_cached_bytes" Bytes []
        "Memory that threads keep for their next lease.";
    POOL_LEASED_BYTES: Gauge "unlade_pool_leased_bytes" Bytes []
        "Memory in use.";
    POOL_EXPORTED_BYTES: Gauge "unlade_pool_exported_bytes" Bytes []
        "Of that in use, what results hold that the caller has not dropped.";
    POOL_BEYOND_BYTES: Gauge "unlade_pool_beyond_bytes" Bytes []
        "Of that in use, what lies beyond the reserve.";
    POOL_PEAK_BYTES: Gauge "unlade_pool_peak_bytes" Bytes []
        "Most memory that was in use or kept by threads at once.";
    POOL_WAITING: Gauge "unlade_pool_waiting" Count []
        "Requests for memory that wait.";
    POOL_WAIT_SECONDS: Histogram "unlade_pool_wait_seconds" Seconds []
        "How long requests for memory waited.";
    POOL_EXHAUSTED: Counter "unlade_pool_exhausted_total" Count []
        "Requests that got no memory.";
    POOL_BEYOND: Counter "unlade_pool_beyond_reserve_total" Count []
        "Leases of memory beyond the reserve.";
    POOL_BEYOND_LEASED_BYTES: Counter "unlade_pool_beyond_reserve_bytes_total" Bytes []
        "Bytes of those leases.";
}

impl Metric {
    /// The series with these labels.
    pub(crate) fn counter(self, labels: &[&str]) -> Counter {
        assert_eq!(self.kind, MetricKind::Counter, "{}", self.name);
        counter!(self.name, self.labelled(labels))
    }

    /// The series with these labels.
    pub(crate) fn gauge(self, labels: &[&str]) -> Gauge {
        assert_eq!(self.kind, MetricKind::Gauge, "{}", self.name);
        gauge!(self.name, self.labelled(labels))
    }

    /// The series with these labels.
    pub(crate) fn histogram(self, labels: &[&str]) -> Histogram {
        assert_eq!(self.kind, MetricKind::Histogram, "{}", self.name);
        histogram!(self.name, self.labelled(labels))
    }

    fn labelled(self, values: &[&str]) -> Vec<Label> {
        assert_eq!(self.labels.len(), values.len(), "labels of {}", self.name);
        let labels = self.labels.iter().zip(values);
        let label = |(name, value): (&&'static str, &&str)| match *name {
            DEVICE => Label::new(*name, told_apart(value)),
            name => Label::new(name, (*value).to_owned()),
        };
        labels.map(label).collect()
    }

    fn describe(self) {
        let unit = match self.unit {
            MetricUnit::Count => Unit::Count,
            MetricUnit::Bytes => Unit::Bytes,
            MetricUnit::Seconds => Unit::Seconds,
        };
        match self.kind {
            MetricKind::Counter => describe_counter!(self.name, unit, self.meaning),
            MetricKind::Gauge => describe_gauge!(self.name, unit, self.meaning),
            MetricKind::Histogram => describe_histogram!(self.name, unit, self.meaning),
        }
    }
}

/// Tells the recorder what each metric is.
pub(crate) fn describe() {
    METRICS.iter().for_each(|metric| metric.describe());
}

/// The label that names a device.
const DEVICE: &str = "device";

/// Devices that are told apart in the life of a process, which may open cards under ever new names;
/// a recorder keeps each series for good. Those that come later are told as one.
const MOST_DEVICES: usize = 256;

/// The device's name, or what it is called together with others.
fn told_apart(device: &str) -> String {
    static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    among(
        &mut KNOWN.lock().unwrap_or_else(PoisonError::into_inner),
        device,
    )
}

fn among(known: &mut BTreeSet<String>, device: &str) -> String {
    if known.len() < MOST_DEVICES {
        known.insert(device.to_owned());
    }
    let name = if known.contains(device) {
        device
    } else {
        "others"
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn devices_are_told_apart_up_to_a_bound() {
        let mut known = BTreeSet::new();
        let told: BTreeSet<String> = (0..2 * MOST_DEVICES)
            .map(|number| among(&mut known, &format!("card {number}")))
            .collect();
        assert_eq!(told.len(), MOST_DEVICES + 1);
        assert_eq!(among(&mut known, "card 3"), "card 3");
        assert_eq!(among(&mut known, "card 300"), "others");
    }

    #[test]
    fn names_are_as_prometheus_has_them() {
        let mut names = BTreeSet::new();
        for metric in METRICS {
            let Metric {
                name, kind, unit, ..
            } = *metric;
            assert!(names.insert(name), "{name} is there twice");
            let total = name.ends_with("_total");
            assert_eq!(total, kind == MetricKind::Counter, "{name}");
            let bare = name.trim_end_matches("_total");
            for (ending, its) in [
                ("_bytes", MetricUnit::Bytes),
                ("_seconds", MetricUnit::Seconds),
            ] {
                // `..._bytes_copied_total` is in bytes, too.
                let says = bare.ends_with(ending) || bare.contains(&format!("{ending}_"));
                assert_eq!(says, unit == its, "{name}");
            }
        }
    }

    /// `UPDATE_GOLDEN=1` writes it.
    #[test]
    fn the_document_has_this_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/METRICS.md");
        let document = fs::read_to_string(&path).unwrap();
        let row = |metric: &Metric| {
            let labels: Vec<String> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
            let Metric {
                name,
                kind,
                unit,
                meaning,
                ..
            } = metric;
            format!(
                "| `{name}` | {kind} | {unit} | {} | {meaning} |\n",
                labels.join(", ")
            )
        };
        let table: String = METRICS.iter().map(row).collect();
        let head = "|---|---|---|---|---|\n";
        let (before, rest) = document.split_once(head).expect("the table's head");
        let (written, after) = rest.split_once("\n\n").expect("the table's end");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, format!("{before}{head}{table}\n{after}")).unwrap();
            return;
        }
        let written: Vec<&str> = written.lines().collect();
        let table: Vec<&str> = table.lines().collect();
        assert_eq!(written, table, "UPDATE_GOLDEN=1 writes the table");
    }
}
