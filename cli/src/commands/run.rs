//! `unlade run`: filter and project files.

mod clashes;
mod input;
mod output;

use std::mem::discriminant;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use unlade::observe::{self, Recorder};
use unlade::prometheus::Metrics;
use unlade::{ClockKind, Output, PartReceipt, Reason, Receipt, Runtime, TraceEvent};
use unlade_ingest::ScanStats;

use self::input::Located;
use self::output::{Destination, Out};
use crate::args::RunArgs;
use crate::commands::plan::Plan;
use crate::error::Failure;
use crate::interrupt;
use crate::report::columns::Columns;
use crate::report::receipts::ReceiptsFile;
use crate::report::table::{bytes, duration, grouped, rate};
use crate::report::{self, Verbosity, progress};
use crate::session;

/// How long what nobody waits for any more may take, behind a limit of rows.
const AT_END: Duration = Duration::from_secs(1);

pub(crate) fn run(args: RunArgs, verbosity: Verbosity) -> Result<(), Failure> {
    interrupt::watch()?;
    // What cannot be written is found out before anything is read.
    let destination = Destination::choose(&args)?;
    clashes::refuse(&args)?;
    for (flag, path, ending) in [
        ("--receipts", &args.receipts, "json"),
        ("--trace", &args.trace, "json"),
        ("--timeline", &args.timeline, "svg"),
        ("--record", &args.record, "jsonl"),
    ] {
        report::refuse_other_endings(flag, path.as_deref(), ending)?;
    }
    let traced = args.trace.is_some() || args.timeline.is_some();
    let recording = session::Recording {
        trace: traced,
        costs: args.receipts.is_some() || args.trace.is_some(),
        schedule: args.record.is_some(),
    };
    let metrics = report::metrics::start(&args)?;
    let runtime = session::runtime(&args.query.resources, recording)?;
    if let Some(metrics) = &metrics {
        metrics.watch(&runtime);
    }
    let top = args.top_socket.as_ref();
    let watched = top
        .map(|socket| observe::serve(&runtime, socket))
        .transpose()?;
    if let Some(server) = &watched {
        interrupt::at_end(server.remove_socket());
    }
    let record = args.record_top.as_ref();
    let recorder = record
        .map(|file| observe::record(&runtime, file))
        .transpose()?;
    let plan = Plan::make(&args.query, &runtime)?;
    if args.explain {
        report::say(format_args!("{}", plan.explain()));
    }
    let mapped = plan.mapped.clone();
    let total = plan.total;
    let mut sink = destination.open(plan.kernel.schema())?;
    let mut receipts = ReceiptsFile::new(&plan.columns());

    let started = Instant::now();
    let streamed = stream(plan, &args, verbosity, &mut sink, &mut receipts);
    if streamed.is_err() {
        // Cards in software end with this process: what they still do would look like their fault.
        runtime.shutdown(AT_END);
    }
    // Where a mapped input changed, that is the error, whatever came of reading it.
    mapped.check()?;
    let summary = streamed?;
    sink.finish()?;
    if let Some(output) = args.output.as_deref().filter(|output| *output != "-") {
        interrupt::note_written(output.as_ref());
    }

    write_reports(&args, &runtime, receipts, metrics.as_ref(), recorder)
        .map_err(|failure| failure.after("the result is written, but not every report: "))?;
    // What was measured is kept, whatever threads of the stream are still at.
    runtime.shutdown(AT_END);
    if verbosity > Verbosity::Quiet {
        summary.say(total, args.limit, started.elapsed());
    }
    if verbosity > Verbosity::Normal {
        summary.say_devices();
    } else if verbosity > Verbosity::Quiet {
        summary.say_stand_ins(session::wanted(&args.query.resources));
    }
    if let Some(setting) = session::asked_for_calibration(&args.query.resources)
        && verbosity > Verbosity::Quiet
        && !runtime.has_placed()
    {
        report::say(format_args!(
            "{setting}: nothing is kept: no batch had a choice of devices"
        ));
    }
    Ok(())
}

fn write_reports(
    args: &RunArgs,
    runtime: &Runtime,
    mut receipts: ReceiptsFile,
    metrics: Option<&Metrics>,
    recorder: Option<Recorder>,
) -> Result<(), Failure> {
    if let Some(path) = &args.receipts {
        receipts.write(path)?;
    }
    if let (Some(path), Some(metrics)) = (&args.metrics, metrics) {
        report::metrics::write(path, metrics)?;
    }
    recorder.map_or(Ok(()), Recorder::finish)?;
    let events: Vec<TraceEvent> = runtime.take_trace();
    if let Some(path) = &args.trace {
        report::trace::write(path, &events)?;
    }
    if let Some(path) = &args.timeline {
        report::timeline::write(path, &events)?;
    }
    if let Some(path) = &args.record {
        let recording = runtime.take_recording();
        report::json::whole(path, |out| recording.write(out))?;
    }
    Ok(())
}

/// What a run came to.
struct Summary {
    rows_in: u64,
    rows_out: u64,
    bytes_in: u64,
    columns: Columns,
    devices: Vec<DeviceShare>,
    stats: ScanStats,
}

/// What one device did of a run, for one kind of reason.
struct DeviceShare {
    device: Arc<str>,
    /// The first of its kind.
    reason: Reason,
    batches: u64,
    rows: u64,
    computed: Duration,
    copied: Duration,
    /// Batches of which the device said how long they took.
    timed: u64,
    clock: ClockKind,
}

fn stream(
    plan: Plan,
    args: &RunArgs,
    verbosity: Verbosity,
    sink: &mut Out,
    receipts: &mut ReceiptsFile,
) -> Result<Summary, Failure> {
    let columns = plan.columns();
    let Plan { kernel, reader, .. } = plan;
    let mut summary = Summary {
        rows_in: 0,
        rows_out: 0,
        bytes_in: 0,
        columns,
        devices: Vec::new(),
        stats: reader.stats(),
    };
    let bar = progress::over_rows(summary.stats.rows, verbosity);
    let limit = args.limit.unwrap_or(u64::MAX);
    let (located, origins) = Located::new(reader);
    let mut outputs = kernel.stream(located);
    let mut delivered = 0;
    while summary.rows_out < limit {
        interrupt::check()?;
        let output = match outputs.next() {
            Some(Ok(output)) => output,
            Some(Err(error)) => return Err(origins.explain(error, delivered)),
            None => break,
        };
        delivered += 1;
        let Output { batch, receipt, .. } = output;
        let left = usize::try_from(limit - summary.rows_out).unwrap_or(usize::MAX);
        let batch = if batch.num_rows() > left {
            batch.slice(0, left)
        } else {
            batch
        };
        sink.write(&batch)?;
        bar.inc(receipt.rows_in);
        summary.add(&batch, &receipt);
        if args.receipts.is_some() {
            receipts.push(receipt);
        }
        origins.forget_before(delivered);
    }
    bar.finish_and_clear();
    interrupt::check()?;
    Ok(summary)
}

impl Summary {
    fn add(&mut self, batch: &RecordBatch, receipt: &Receipt) {
        self.rows_in += receipt.rows_in;
        self.rows_out += batch.num_rows() as u64;
        self.bytes_in += receipt.bytes_in;
        for part in receipt.parts.iter().filter(|part| part.completed) {
            let known = |share: &DeviceShare| {
                share.device == part.device
                    && discriminant(&share.reason) == discriminant(&part.reason)
            };
            let index = self.devices.iter().position(known).unwrap_or_else(|| {
                self.devices.push(DeviceShare::new(part));
                self.devices.len() - 1
            });
            let share = &mut self.devices[index];
            share.batches += 1;
            share.rows += part.rows;
            share.computed += part.compute;
            share.copied += part.copy_in + part.copy_out;
            share.timed += u64::from(part.is_timed());
        }
    }

    /// The line that a run ends with. `total` is the rows of all inputs, if they say how many they
    /// have.
    fn say(&self, total: Option<u64>, limit: Option<u64>, elapsed: Duration) {
        // At the limit the rest of the inputs was not looked at.
        let of = match limit.is_some_and(|limit| self.rows_out >= limit) {
            true => format!("{} rows read", grouped(self.rows_in)),
            false => format!("{} rows", grouped(total.unwrap_or(self.rows_in))),
        };
        let skipped = total
            .zip(self.stats.rows)
            .map_or(0, |(total, left)| total.saturating_sub(left));
        let pruned = match self.stats.pruned {
            0 => String::new(),
            pruned => {
                let groups = if pruned == 1 { "group" } else { "groups" };
                let rows = grouped(skipped);
                format!(", {pruned} row {groups} of {rows} rows skipped by statistics")
            }
        };
        let mut devices: Vec<&str> = self.devices.iter().map(|share| &*share.device).collect();
        devices.sort_unstable();
        devices.dedup();
        let devices = match devices.as_slice() {
            [] => String::new(),
            _ if !self.columns.are_computed() => ", passed through".to_owned(),
            devices => format!(" on {}", devices.join(", ")),
        };
        report::say(format_args!(
            "kept {} of {of} in {}{devices} ({}, {} in){pruned}",
            grouped(self.rows_out),
            duration(elapsed),
            rate(self.rows_in as f64 / elapsed.as_secs_f64().max(1e-9)),
            bytes(self.bytes_in),
        ));
    }

    /// A line for each device and each reason for which it ran something, and one for what none
    /// had to compute.
    fn say_devices(&self) {
        self.devices.iter().for_each(|share| self.say_share(share));
        if let Some(line) = self.columns.passed_through() {
            report::say(format_args!("{}", unlade::printable(&line)));
        }
    }

    /// A line for each device, and each reason, that ran what another was asked for.
    fn say_stand_ins(&self, asked: Option<&str>) {
        let asked = asked.filter(|_| self.columns.are_computed());
        let stands_in = |share: &&DeviceShare| asked.is_some_and(|asked| *share.device != *asked);
        let stand_ins = self.devices.iter().filter(stands_in);
        stand_ins.for_each(|share| self.say_share(share));
    }

    fn say_share(&self, share: &DeviceShare) {
        let work = match self.columns.are_computed() {
            true => share.times(),
            false => "nothing to compute".to_owned(),
        };
        report::say(format_args!(
            "{}: {} rows in {} {}, {work}; {}",
            share.device,
            grouped(share.rows),
            grouped(share.batches),
            if share.batches == 1 {
                "batch"
            } else {
                "batches"
            },
            share.reason,
        ));
    }
}

impl DeviceShare {
    /// What its work took, as far as it is known.
    fn times(&self) -> String {
        let clock = match self.clock {
            ClockKind::Wall => "",
            ClockKind::Virtual => " by its own clock",
        };
        let times = || {
            let (computed, copied) = (duration(self.computed), duration(self.copied));
            format!("computing {computed}, copying {copied}{clock}")
        };
        match self.batches - self.timed {
            0 => times(),
            untimed if self.timed > 0 => {
                format!("{}, {} of them of unknown time", times(), grouped(untimed))
            }
            _ => "in a time that it does not tell".to_owned(),
        }
    }

    fn new(part: &PartReceipt) -> Self {
        DeviceShare {
            device: Arc::clone(&part.device),
            reason: part.reason.clone(),
            batches: 0,
            rows: 0,
            computed: Duration::ZERO,
            copied: Duration::ZERO,
            timed: 0,
            clock: part.clock,
        }
    }
}
