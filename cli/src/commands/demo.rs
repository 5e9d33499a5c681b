//! `unlade demo`: three queries on made-up data, on every device, compared with each other and
//! with arrow-rs.

mod peer;
mod placed;
mod simulated_gpu;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use serde::{Deserialize, Serialize};
use tpchgen::generators::LineItemGenerator;
use tpchgen_arrow::LineItemArrow;
use unlade::{
    ClockKind, Device, DeviceKind, Placement, Query, Receipt, Runtime, RuntimeBuilder, Select,
    Semantics, parse_expr, parse_select_list,
};
use unlade_ingest::{Format, Input, Scan, ScanOptions, Sink, Target};

use crate::args::DemoArgs;
use crate::cards;
use crate::error::Failure;
use crate::folders::Folder;
use crate::report::paragraph::paragraph;
use crate::report::table::{Align, bytes, duration, grouped, rate, table};
use crate::report::{self, Verbosity, progress};

/// Rows per unit of the scale factor, about.
const ROWS_PER_SCALE: f64 = 6_000_000.0;

/// A query of the demonstration.
struct Case {
    name: &'static str,
    filter: &'static str,
    select: &'static str,
    /// The same with arrow-rs.
    peer: fn(&RecordBatch) -> Result<RecordBatch, arrow_schema::ArrowError>,
}

impl Case {
    /// The query as it would be written.
    fn text(&self) -> String {
        format!("select {} where {}", self.select, self.filter)
    }

    fn query(&self) -> Result<Query, Failure> {
        let mut query = Query::all();
        query.filter = Some(parsed(parse_expr(self.filter))?);
        if self.select != "*" {
            query.select = Select::Columns(parsed(parse_select_list(self.select))?);
        }
        Ok(query)
    }
}

const CASES: [Case; 3] = [
    Case {
        name: "filter",
        filter: "cast(l_linenumber as bigint) > 1",
        select: "*",
        peer: peer::filter,
    },
    Case {
        name: "tpc-h q6",
        filter: "l_shipdate >= date '1994-01-01' and l_shipdate < date '1995-01-01' \
                 and l_discount between 0.05 and 0.07 and l_quantity < 24",
        select: "l_extendedprice, l_discount",
        peer: peer::q6,
    },
    Case {
        name: "projection",
        filter: "l_tax > 0.00",
        select: "l_orderkey, cast(l_extendedprice as double) * \
                 (1.0 - cast(l_discount as double)) as revenue",
        peer: peer::projection,
    },
];

/// The columns of the table, which fits a terminal of 80.
const HEADER: [(&str, Align); 8] = [
    ("query", Align::Left),
    ("device", Align::Left),
    ("kept", Align::Right),
    ("clock", Align::Left),
    ("rows/s", Align::Right),
    ("moved", Align::Right),
    ("predicted", Align::Right),
    ("taken", Align::Right),
];

pub(crate) fn run(args: &DemoArgs, verbosity: Verbosity) -> Result<(), Failure> {
    crate::interrupt::watch()?;
    if let Some(file) = &args.on_simulated_gpu {
        return simulated_gpu::answer(file);
    }
    let folder = folder(args)?;
    let path = folder.path().join("lineitem.parquet");
    let said = verbosity > Verbosity::Quiet;
    if said {
        report::say(format_args!(
            "making TPC-H lineitem at scale {} in {}",
            args.scale,
            path.display()
        ));
    }
    make(&path, args.scale, verbosity)?;
    if args.keep.is_some() {
        crate::interrupt::note_written(&path);
    }
    let batches = read(&path)?;
    if batches.is_empty() {
        return Err(Failure::usage(format!(
            "--scale {} makes no rows",
            args.scale
        )));
    }

    let mut devices = unlade::discover();
    devices.extend(cards::simulated_if_built()?);
    let mut lines = Vec::new();
    for case in &CASES {
        if said {
            report::say(format_args!("{}: {}", case.name, case.text()));
        }
        lines.extend(on_devices(case, &devices, &batches)?);
    }
    lines.extend(simulated_gpu::ask(&path)?);
    // Each query's lines together; what is of none comes last.
    lines.sort_by_key(|line| {
        CASES
            .iter()
            .position(|case| case.name == line.query())
            .unwrap_or(CASES.len())
    });
    let cells: Vec<Vec<String>> = lines.iter().map(|line| line.cells.to_vec()).collect();
    let whys: String = whys(&lines).iter().map(|why| paragraph(why)).collect();
    report::print(format!("{}\n\n{whys}", table(&HEADER, &cells)).as_bytes())?;
    if said {
        report::say(format_args!(
            "{} rows; all results equal each other's and arrow-rs's, bit for bit",
            grouped(count(&batches))
        ));
    }
    Ok(())
}

fn count(batches: &[RecordBatch]) -> u64 {
    batches.iter().map(|batch| batch.num_rows() as u64).sum()
}

/// A query on each device: lines of the table. The results must be arrow-rs's.
fn on_devices(
    case: &Case,
    devices: &[Arc<dyn Device>],
    batches: &[RecordBatch],
) -> Result<Vec<Line>, Failure> {
    let expected = of_peer(case, batches)?;
    let placed = placed::explain(&case.query()?, devices, &batches[0].schema())?;
    let mut lines = Vec::new();
    for device in devices {
        crate::interrupt::check()?;
        let mut ran = on_device(case, device, batches)?;
        if ran.why.is_empty() {
            ran.why = placed::why(&placed, &ran.device);
        }
        if ran.result != expected {
            return Err(Failure::resource(format!(
                "{} on {}: the result differs from arrow-rs's; please report this",
                case.name,
                device.info().name
            )));
        }
        lines.push(ran.line(case, count(batches)));
    }
    Ok(lines)
}

/// Where the file goes.
fn folder(args: &DemoArgs) -> Result<Folder, Failure> {
    match &args.keep {
        Some(folder) => Folder::named(folder).map_err(|error| {
            Failure::file(format!("{}: cannot create: {error}", folder.display()))
        }),
        None => Folder::temporary()
            .map_err(|error| Failure::file(format!("no temporary folder: {error}"))),
    }
}

fn make(path: &Path, scale: f64, verbosity: Verbosity) -> Result<(), Failure> {
    let bar = progress::over_rows(Some((scale * ROWS_PER_SCALE) as u64), verbosity);
    let rows = LineItemArrow::new(LineItemGenerator::new(scale, 1, 1)).with_batch_size(65_536);
    let schema = arrow_array::RecordBatchReader::schema(&rows);
    let mut sink = Sink::create(Target::File(path.to_owned()), Format::Parquet, &schema)?;
    for batch in rows {
        crate::interrupt::check()?;
        let batch = batch.map_err(|error| Failure::resource(format!("lineitem: {error}")))?;
        bar.inc(batch.num_rows() as u64);
        sink.write(&batch)?;
    }
    bar.finish_and_clear();
    Ok(sink.finish()?)
}

fn read(path: &Path) -> Result<Vec<RecordBatch>, Failure> {
    let scan = Scan::open(&[Input::File(path.to_owned())], ScanOptions::default())?;
    let columns: Vec<usize> = (0..scan.schema().fields().len()).collect();
    Ok(scan
        .into_reader(&columns, None)?
        .collect::<Result<_, _>>()?)
}

fn of_peer(case: &Case, batches: &[RecordBatch]) -> Result<RecordBatch, Failure> {
    let failed = |error| Failure::resource(format!("arrow-rs on {}: {error}", case.name));
    let results = batches
        .iter()
        .map(case.peer)
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    concat_batches(&results[0].schema(), &results).map_err(failed)
}

/// A line of the table.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Line {
    cells: [String; HEADER.len()],
    /// Why the device ran the query, or did not: said below the table, once for all that have it.
    why: String,
}

impl Line {
    fn query(&self) -> &str {
        &self.cells[0]
    }

    fn device(&self) -> &str {
        &self.cells[1]
    }
}

/// Each reason, with the devices whose it is, and the queries where it is not theirs for all of them.
fn whys(lines: &[Line]) -> Vec<String> {
    let mut reasons: Vec<&str> = Vec::new();
    for line in lines {
        if !reasons.contains(&line.why.as_str()) {
            reasons.push(&line.why);
        }
    }
    let told = reasons.iter().map(|why| {
        let mut devices: Vec<&str> = Vec::new();
        for line in lines.iter().filter(|line| line.why == **why) {
            if !devices.contains(&line.device()) {
                devices.push(line.device());
            }
        }
        let devices = devices.iter().map(|device| {
            let of_device = || lines.iter().filter(|line| line.device() == *device);
            if of_device().all(|line| line.why == **why) {
                return (*device).to_owned();
            }
            let queries = of_device().filter(|line| line.why == **why);
            let queries: Vec<&str> = queries.map(Line::query).collect();
            format!("{device} ({})", queries.join(", "))
        });
        format!("{}: {why}", devices.collect::<Vec<_>>().join(", "))
    });
    told.collect()
}

/// What a device made of a query.
struct Ran {
    device: String,
    result: RecordBatch,
    clock: ClockKind,
    taken: Duration,
    predicted: Option<Duration>,
    moved: u64,
    /// Empty where all of it ran on the device.
    why: String,
}

fn on_device(
    case: &Case,
    device: &Arc<dyn Device>,
    batches: &[RecordBatch],
) -> Result<Ran, Failure> {
    let name = device.info().name.clone();
    let mut builder = Runtime::builder()
        .placement(Placement::Device(name.as_str().into()))
        .predictions(true)
        .device(device.clone());
    if device.info().kind != DeviceKind::Cpu {
        // For what the device lacks.
        let mut others = unlade::discover();
        others.retain(|other| other.info().kind == DeviceKind::Cpu);
        builder = others.into_iter().fold(builder, RuntimeBuilder::device);
    }
    let runtime = builder.build()?;
    let schema = batches[0].schema();
    let kernel = runtime.compile(&case.query()?, &schema, &Semantics::arrow())?;

    let mut ran = Ran {
        device: name,
        result: RecordBatch::new_empty(kernel.schema().clone()),
        clock: device.info().clock,
        taken: Duration::ZERO,
        predicted: Some(Duration::ZERO),
        moved: 0,
        why: String::new(),
    };
    // Once before, for the device's compiler, which a query of more batches needs but once.
    kernel.run(&batches[0])?;
    let mut results = Vec::new();
    for batch in batches {
        let output = kernel.run(batch)?;
        let receipt = output.receipt;
        // A simulator's own time is virtual; what it took to simulate says nothing.
        ran.taken += match ran.clock {
            ClockKind::Wall => receipt.taken,
            ClockKind::Virtual => on_virtual_clock(&receipt),
        };
        ran.predicted = ran
            .predicted
            .zip(receipt.predicted)
            .map(|(sum, time)| sum + time);
        ran.moved += receipt.bytes_to_device + receipt.bytes_from_device;
        // What another device did for it is the first to tell.
        if let Some(part) = receipt
            .parts
            .iter()
            .find(|part| *part.device != *ran.device)
        {
            ran.why = part.reason.to_string();
        }
        results.push(output.batch);
    }
    ran.result = concat_batches(kernel.schema(), &results)
        .map_err(|error| Failure::resource(format!("{}: {error}", case.name)))?;
    Ok(ran)
}

/// What a batch took on the virtual clocks of the devices that ran its parts.
fn on_virtual_clock(receipt: &Receipt) -> Duration {
    let of_device = receipt
        .parts
        .iter()
        .filter(|part| part.clock == ClockKind::Virtual);
    of_device
        .map(|part| part.queued + part.copy_in + part.compute + part.copy_out)
        .sum()
}

fn parsed<T>(result: Result<T, unlade::ExprError>) -> Result<T, Failure> {
    result.map_err(|error| Failure::usage(error.to_string()))
}

impl Ran {
    fn line(&self, case: &Case, rows: u64) -> Line {
        let clock = match self.clock {
            ClockKind::Wall => "wall",
            ClockKind::Virtual => "virtual",
        };
        Line {
            cells: [
                case.name.to_owned(),
                self.device.clone(),
                grouped(self.result.num_rows() as u64),
                clock.to_owned(),
                rate(rows as f64 / self.taken.as_secs_f64().max(1e-9)),
                bytes(self.moved),
                self.predicted.map_or_else(|| "-".to_owned(), duration),
                duration(self.taken),
            ],
            why: self.why.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(query: &str, device: &str, why: &str) -> Line {
        let mut line = Line {
            why: why.to_owned(),
            ..Line::default()
        };
        line.cells[0] = query.to_owned();
        line.cells[1] = device.to_owned();
        line
    }

    #[test]
    fn a_reason_is_told_once_with_all_whose_it_is() {
        let lines = [
            line("filter", "cpu", "auto picks it"),
            line("filter", "sim", "only by name"),
            line("filter", "cuda:0", "only by name"),
            line("projection", "cpu", "auto picks it"),
            line("projection", "sim", "only by name"),
            line("projection", "cuda:0", "auto picks it"),
            line("", "sim-gpu", "its library is missing"),
        ];
        let expected = [
            "cpu, cuda:0 (projection): auto picks it",
            "sim, cuda:0 (filter): only by name",
            "sim-gpu: its library is missing",
        ];
        assert_eq!(whys(&lines), expected);
    }
}
