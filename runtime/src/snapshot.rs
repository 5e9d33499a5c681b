//! What a runtime is doing, for whoever looks on: on another screen, from another process, or later.

use serde::{Deserialize, Serialize};
use unlade_hal::ClockKind;

use crate::device_slot::{DeviceState, DeviceStatus};
use crate::fallbacks::FallbackStatus;
use crate::pool::PoolStatus;
use crate::receipt::{PartReceipt, clock_text, whole_nanos};
use crate::recent::{Done, KernelReceipt};
use crate::runtime::Runtime;
use crate::session::SessionStatus;

/// Version of a snapshot's JSON form; raised whenever a field changes its meaning or goes.
pub const SNAPSHOT_VERSION: u32 = 1;

/// Sessions of which a snapshot tells; those for which devices, and then the host, worked most.
const MOST_SESSIONS: usize = 256;

/// Holders of memory of which it tells; the largest.
const MOST_HOLDERS: usize = 8;

/// A runtime at one moment. Times are whole nanoseconds, memory is bytes.
///
/// Its parts are read one after another, and may disagree by what happened meanwhile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`SNAPSHOT_VERSION`].
    pub version: u32,
    /// The process.
    pub process: u32,
    /// When, by the runtime's clock.
    pub at_ns: u64,
    /// That clock: `wall` or `virtual`.
    pub clock: String,
    /// Whether receipts are kept, and what devices do is counted: since [`Runtime::observe`].
    pub observed: bool,
    /// The devices, in the runtime's order.
    pub devices: Vec<DeviceSnapshot>,
    /// Memory for batches.
    pub pool: PoolSnapshot,
    /// Sessions, those first for which devices worked most, of equal ones those for which the host's
    /// processor did; no more than 256.
    pub sessions: Vec<SessionSnapshot>,
    /// How many sessions there are.
    pub sessions_open: usize,
    /// Tickets that are not done.
    pub tickets: u64,
    /// Compiled programs that are kept.
    pub executables: usize,
    /// The latest receipts, oldest first; no more than 64.
    pub receipts: Vec<ReceiptSnapshot>,
    /// Why work went elsewhere than it was meant to.
    pub fallbacks: Vec<FallbackSnapshot>,
}

/// A device at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceSnapshot {
    /// Its name.
    pub name: String,
    /// `cpu`, `gpu`, `dpu` or `simulator`.
    pub kind: String,
    /// Whether it has work done.
    pub state: DeviceState,
    /// How long it is left alone yet, where it rests, by the runtime's clock.
    pub rests_for_ns: Option<u64>,
    /// Why it is lost, if it is.
    pub lost: Option<String>,
    /// Failures since it last worked.
    pub failures: u32,
    /// Times that it was lost.
    pub times_lost: u64,
    /// Lists on it.
    pub in_flight: u32,
    /// Turns on it that are taken.
    pub turns: u32,
    /// Turns on it that are waited for.
    pub waiting: usize,
    /// Turns on it that may be taken at once.
    pub depth: u32,
    /// Parts of batches that it has done, while observed.
    pub parts: u64,
    /// Rows of those.
    pub rows: u64,
    /// How long it worked for them, copies included, by its own clock; of the CPU, all threads
    /// together.
    pub busy_ns: u64,
    /// That clock: `wall` or `virtual`.
    pub clock: String,
    /// Memory of its own, 0 where it uses the host's.
    pub memory: u64,
    /// Of that, what batches take that are kept there across calls.
    pub resident_bytes: u64,
    /// Memory abandoned to it when it was lost.
    pub leaked_bytes: u64,
}

/// Memory for batches at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolSnapshot {
    /// Pinned memory reserved at the start.
    pub reserve: u64,
    /// Most that batches may hold.
    pub budget: u64,
    /// Of the reserve, what anybody can have.
    pub free: u64,
    /// What threads keep for their next lease.
    pub cached: u64,
    /// What is in use.
    pub in_use: u64,
    /// Of that, what results hold that the caller has not dropped.
    pub exported: u64,
    /// Of that in use, what lies beyond the reserve.
    pub beyond: u64,
    /// Most that was in use or kept by threads at once.
    pub peak: u64,
    /// Requests that wait.
    pub waiting: usize,
    /// Who holds how much, the largest first; no more than 8.
    pub holders: Vec<(String, u64)>,
}

/// A session at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionSnapshot {
    /// What it is called.
    pub label: String,
    /// Its share of devices.
    pub weight: u32,
    /// `background`, `normal` or `interactive`.
    pub priority: String,
    /// Memory that it holds.
    pub memory: u64,
    /// Memory that it may hold.
    pub memory_budget: u64,
    /// Batches that it handed over.
    pub batches: u64,
    /// How long devices have worked for it.
    pub device_time_ns: u64,
    /// The clock of that: `wall`, or `virtual` where simulated devices alone have; `None` of a recording
    /// by a release that did not tell.
    pub device_clock: Option<String>,
    /// How long the host's processor has computed for it, on all threads together; `None` of a
    /// recording by a release that did not tell.
    pub host_time_ns: Option<u64>,
    /// Devices that it was granted, and which part of each.
    pub devices: Vec<(String, f64)>,
    /// Whether it was cancelled.
    pub cancelled: bool,
}

/// What became of a batch, in few words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReceiptSnapshot {
    /// The kernel's number among those of its runtime.
    pub kernel: u64,
    /// The batch's number among those of its kernel.
    pub batch: u64,
    /// Batches that were done at once, this one included.
    pub together: u64,
    /// The devices that had a part in its result.
    pub devices: Vec<String>,
    /// Why they had, one reason for each.
    pub reasons: Vec<String>,
    /// Rows handed over.
    pub rows_in: u64,
    /// Rows given back.
    pub rows_out: u64,
    /// What it was expected to take, if anything was.
    pub predicted_ns: Option<u64>,
    /// The clock of that: `wall` or `virtual`.
    pub predicted_clock: Option<String>,
    /// What it took, from hand-over to result.
    pub taken_ns: u64,
    /// The clock of that.
    pub taken_clock: String,
    /// How often work was repeated.
    pub retries: u32,
}

/// Why work went elsewhere than it was meant to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackSnapshot {
    /// Why, in words that begin with the device.
    pub reason: String,
    /// Parts of batches that went elsewhere for that reason.
    pub parts: u64,
}

impl Runtime {
    /// From here on keeps the latest receipts and counts what devices do, for
    /// [`snapshot`](Self::snapshot). Until then nothing is kept; from then on each batch costs a copy
    /// of its receipt.
    pub fn observe(&self) {
        self.core.recent.keep(self.core.devices.len());
    }

    /// What it is doing at the moment: what [`devices`](Self::devices), [`memory`](Self::memory),
    /// [`sessions`](Self::sessions) and [`fallbacks`](Self::fallbacks) tell, in one piece that can be
    /// written and read again.
    pub fn snapshot(&self) -> Snapshot {
        let kept = self.core.recent.kept();
        let observed = kept.is_some();
        let (receipts, done) = kept.unwrap_or_default();
        let done = done.into_iter().chain(std::iter::repeat(Done::default()));
        let devices = self.devices().into_iter().zip(done);
        let mut sessions = self.sessions();
        let sessions_open = sessions.len();
        // Times of one clock each: those that worked on devices by the wall's come before the others.
        let worked = |session: &SessionStatus| {
            let is_of_the_wall = session.device_clock == clock_text(ClockKind::Wall);
            (is_of_the_wall, session.device_time, session.host_time)
        };
        sessions.sort_by_key(|session| std::cmp::Reverse(worked(session)));
        sessions.truncate(MOST_SESSIONS);
        Snapshot {
            version: SNAPSHOT_VERSION,
            process: std::process::id(),
            at_ns: whole_nanos(self.core.clock.now().0),
            clock: clock_text(self.core.clock.kind()).to_owned(),
            observed,
            devices: devices
                .map(|(status, done)| DeviceSnapshot::of(status, done))
                .collect(),
            pool: self.memory().into(),
            sessions: sessions.into_iter().map(SessionSnapshot::from).collect(),
            sessions_open,
            tickets: self.core.open_tickets(),
            executables: self.cache().entries,
            receipts: receipts.iter().map(ReceiptSnapshot::of).collect(),
            fallbacks: self
                .fallbacks()
                .into_iter()
                .map(FallbackSnapshot::from)
                .collect(),
        }
    }
}

impl DeviceSnapshot {
    fn of(status: DeviceStatus, done: Done) -> Self {
        DeviceSnapshot {
            name: status.name.to_string(),
            kind: status.kind.to_owned(),
            state: status.state,
            rests_for_ns: status.rests_for.map(whole_nanos),
            lost: status.lost,
            failures: status.failures,
            times_lost: status.times_lost,
            in_flight: status.in_flight,
            turns: status.turns,
            waiting: status.waiting,
            depth: status.depth,
            parts: done.parts,
            rows: done.rows,
            busy_ns: whole_nanos(done.busy),
            clock: status.clock.to_owned(),
            memory: status.memory,
            resident_bytes: status.resident_bytes,
            leaked_bytes: status.leaked_bytes,
        }
    }
}

impl From<PoolStatus> for PoolSnapshot {
    fn from(status: PoolStatus) -> Self {
        let holders = status.holders.into_iter().take(MOST_HOLDERS);
        PoolSnapshot {
            reserve: status.reserve,
            budget: status.budget,
            free: status.free,
            cached: status.cached,
            in_use: status.leased,
            exported: status.exported,
            beyond: status.beyond_reserve,
            peak: status.peak,
            waiting: status.waiting,
            holders: holders.map(|holder| (holder.what, holder.bytes)).collect(),
        }
    }
}

impl From<SessionStatus> for SessionSnapshot {
    fn from(status: SessionStatus) -> Self {
        let devices = status.devices.into_iter();
        SessionSnapshot {
            label: status.label.to_string(),
            weight: status.weight,
            priority: status.priority.to_owned(),
            memory: status.memory,
            memory_budget: status.memory_budget,
            batches: status.batches,
            device_time_ns: whole_nanos(status.device_time),
            device_clock: Some(status.device_clock.to_owned()),
            host_time_ns: Some(whole_nanos(status.host_time)),
            devices: devices
                .map(|(device, part)| (device.to_string(), part))
                .collect(),
            cancelled: status.cancelled,
        }
    }
}

impl ReceiptSnapshot {
    fn of(kept: &KernelReceipt) -> Self {
        let receipt = &kept.receipt;
        // Pieces of a batch have parts of the same device, for the same reason.
        let mut parts: Vec<&PartReceipt> = Vec::new();
        for part in receipt.parts.iter().filter(|part| part.completed) {
            let known = |it: &&PartReceipt| it.device == part.device && it.reason == part.reason;
            if !parts.iter().any(known) {
                parts.push(part);
            }
        }
        ReceiptSnapshot {
            kernel: kept.kernel,
            batch: receipt.batch,
            together: receipt.together,
            devices: parts.iter().map(|part| part.device.to_string()).collect(),
            reasons: parts.iter().map(|part| part.reason.to_string()).collect(),
            rows_in: receipt.rows_in,
            rows_out: receipt.rows_out,
            predicted_ns: receipt.predicted.map(whole_nanos),
            predicted_clock: receipt.predicted_clock.map(|it| clock_text(it).to_owned()),
            taken_ns: whole_nanos(receipt.taken),
            taken_clock: clock_text(receipt.taken_clock).to_owned(),
            retries: receipt.retries,
        }
    }
}

impl From<FallbackStatus> for FallbackSnapshot {
    fn from(status: FallbackStatus) -> Self {
        FallbackSnapshot {
            reason: status.reason.to_string(),
            parts: status.parts,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, RecordBatch};
    use unlade_cpu::CpuDevice;
    use unlade_expr::{Query, Semantics, col, lit};

    use super::*;

    #[test]
    fn a_snapshot_is_read_as_it_was_written() {
        let runtime = Runtime::builder()
            .device(Arc::new(CpuDevice::new()))
            .build()
            .unwrap();
        let session = runtime.session("nightly").weight(3).open().unwrap();
        let column: Int64Array = (0..100_000).collect();
        let batch = RecordBatch::try_from_iter([("n", Arc::new(column) as _)]).unwrap();
        let query = Query::filter(col("n").lt(lit(50_000i64)))
            .select([(col("n") * lit(2i64)).alias("twice")]);
        let kernel = session
            .compile(&query, &batch.schema(), &Semantics::arrow())
            .unwrap();
        kernel.run(&batch).unwrap();
        let before = runtime.snapshot();
        assert!(!before.observed && before.receipts.is_empty());
        assert_eq!(before.devices[0].parts, 0);

        runtime.observe();
        let outputs: Vec<_> = (0..100).map(|_| kernel.run(&batch).unwrap()).collect();
        let snapshot = runtime.snapshot();
        assert!(snapshot.observed);
        assert_eq!(snapshot.receipts.len(), 64, "the ring is bounded");
        let last = snapshot.receipts.last().unwrap();
        assert_eq!(
            (last.batch, last.rows_in, last.rows_out),
            (100, 100_000, 50_000)
        );
        assert_eq!(last.devices, ["cpu"]);
        assert_eq!(last.reasons, ["nothing else could run it"]);
        let cpu = &snapshot.devices[0];
        assert_eq!(
            (cpu.parts, cpu.rows, cpu.state),
            (100, 10_000_000, DeviceState::Ready)
        );
        assert!(cpu.busy_ns > 0);
        let labels: Vec<&str> = snapshot.sessions.iter().map(|it| &*it.label).collect();
        assert_eq!(
            labels,
            ["nightly", "runtime"],
            "who was worked for comes first"
        );
        let nightly = &snapshot.sessions[0];
        assert_eq!((nightly.weight, nightly.batches), (3, 101));
        assert_eq!(nightly.device_time_ns, 0, "there is no device but the CPU");
        assert!(nightly.host_time_ns >= Some(cpu.busy_ns));
        let pool = &snapshot.pool;
        assert!(
            pool.exported > 0 && pool.exported <= pool.in_use,
            "{pool:?}"
        );
        drop(outputs);
        assert_eq!(runtime.snapshot().pool.exported, 0);

        let text = serde_json::to_string(&snapshot).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
        // Of an earlier release.
        let mut form = serde_json::to_value(&snapshot).unwrap();
        let session = form["sessions"][0].as_object_mut().unwrap();
        session.remove("host_time_ns").unwrap();
        let earlier: Snapshot = serde_json::from_value(form).unwrap();
        assert_eq!(earlier.sessions[0].host_time_ns, None);
    }
}
