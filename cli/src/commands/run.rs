//! `unlade run`: filter and project files.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use unlade::{Error, Kernel, Output, Receipt, Runtime, TraceEvent};
use unlade_ingest::{
    BatchReader, Format, IngestError, Input, Location, MappedFiles, Pruning, Scan, ScanStats, Sink,
    Target,
};

use crate::args::{FormatChoice, QueryArgs, RunArgs};
use crate::error::{self, Failure};
use crate::interrupt;
use crate::report::receipts::ReceiptsFile;
use crate::report::table::{bytes, duration, grouped, rate};
use crate::report::{self, Verbosity, progress, zones};
use crate::session;

/// Rows of a table on the terminal, unless `--limit` says otherwise.
const TABLE_ROWS: u64 = 40;

pub(crate) fn run(args: RunArgs, verbosity: Verbosity) -> Result<(), Failure> {
    interrupt::watch()?;
    // What cannot be written is found out before anything is read.
    let destination = Destination::choose(&args)?;
    refuse_clashes(&args)?;
    let traced = args.trace.is_some() || args.timeline.is_some();
    let runtime = session::runtime(&args.query.resources, traced)?;
    let plan = Plan::make(&args.query, &runtime)?;
    if args.explain {
        report::say(format_args!("{}", plan.kernel.explain()));
    }
    let mapped = plan.mapped.clone();
    let total = plan.total;
    let mut sink = destination.open(plan.kernel.schema())?;
    let mut receipts = ReceiptsFile::new();

    let started = Instant::now();
    let streamed = stream(plan, &args, verbosity, &mut sink, &mut receipts);
    // Where a mapped input changed, that is the error, whatever came of reading it.
    mapped.check()?;
    let summary = streamed?;
    sink.finish()?;
    let elapsed = started.elapsed();

    if let Some(path) = &args.receipts {
        receipts.write(path)?;
    }
    if traced {
        let events: Vec<TraceEvent> = runtime.take_trace();
        if let Some(path) = &args.trace {
            report::trace::write(path, &events)?;
        }
        if let Some(path) = &args.timeline {
            report::timeline::write(path, &events)?;
        }
    }
    if verbosity > Verbosity::Quiet {
        let pruned = match summary.stats.pruned {
            0 => String::new(),
            1 => ", a row group skipped by its statistics".to_owned(),
            pruned => format!(", {pruned} row groups skipped by their statistics"),
        };
        let devices = match summary.devices.as_slice() {
            [] => String::new(),
            devices => format!(" on {}", devices.join(", ")),
        };
        let rows = match total {
            Some(total) if args.limit.is_none() => total,
            _ => summary.rows_in,
        };
        report::say(format_args!(
            "kept {} of {} rows in {}{devices} ({}, {} in){pruned}",
            grouped(summary.rows_out),
            grouped(rows),
            duration(elapsed),
            rate(summary.rows_in as f64 / elapsed.as_secs_f64().max(1e-9)),
            bytes(summary.bytes_in),
        ));
    }
    Ok(())
}

/// A compiled query over opened inputs.
pub(crate) struct Plan {
    pub(crate) kernel: Kernel,
    reader: BatchReader,
    mapped: MappedFiles,
    /// Rows of all inputs, if every one says how many it has.
    total: Option<u64>,
}

impl Plan {
    /// Opens the inputs, compiles the query, and reads no more columns and row groups than it
    /// needs.
    pub(crate) fn make(args: &QueryArgs, runtime: &Runtime) -> Result<Plan, Failure> {
        let query = session::query(args)?;
        let semantics = session::semantics(&args.rules)?;
        let inputs = session::inputs(&args.inputs)?;
        let options = session::scan_options(&args.resources)?;
        if options.mmap {
            MappedFiles::survive_missing_pages()
                .map_err(|error| Failure::resource(format!("--mmap: {error}")))?;
        }
        let scan = Scan::open(&inputs, options)?;
        let mapped = scan.mapped_files();
        let compile = |schema: &SchemaRef| {
            runtime
                .compile(&query, schema, &semantics)
                .map_err(|error| match error {
                    Error::Expr(error) => session::expression_error(args, &error),
                    other => other.into(),
                })
        };
        // Once over all columns, to learn which are needed; then over just these.
        let over_all = compile(scan.schema())?;
        let mut columns = over_all.input_columns();
        columns.sort_unstable();
        let pruning = Pruning::of(over_all.checked());
        let total = scan.rows();
        let narrow = scan.schema().project(&columns).map(SchemaRef::new);
        let kernel = match narrow.ok().map(|schema| compile(&schema)) {
            Some(Ok(kernel)) => kernel,
            // The text names a column that nothing depends on, as in `a = null`: then all are
            // read, so that the names are there.
            _ => {
                columns = (0..scan.schema().fields().len()).collect();
                over_all
            }
        };
        let reader = scan.into_reader(&columns, Some(&pruning))?;
        Ok(Plan {
            kernel,
            reader,
            mapped,
            total,
        })
    }
}

/// What a run came to.
struct Summary {
    rows_in: u64,
    rows_out: u64,
    bytes_in: u64,
    devices: Vec<String>,
    stats: ScanStats,
}

fn stream(
    plan: Plan,
    args: &RunArgs,
    verbosity: Verbosity,
    sink: &mut Out,
    receipts: &mut ReceiptsFile,
) -> Result<Summary, Failure> {
    let Plan { kernel, reader, .. } = plan;
    let mut summary = Summary {
        rows_in: 0,
        rows_out: 0,
        bytes_in: 0,
        devices: Vec::new(),
        stats: reader.stats(),
    };
    let bar = progress::over_rows(summary.stats.rows, verbosity);
    let record = Arc::new(Mutex::new(Record::default()));
    let limit = args.limit.unwrap_or(u64::MAX);
    let located = Located {
        reader,
        record: Arc::clone(&record),
    };
    let mut outputs = kernel.stream(located);
    let mut delivered = 0;
    while summary.rows_out < limit {
        interrupt::check()?;
        let output = match outputs.next() {
            Some(Ok(output)) => output,
            Some(Err(error)) => return Err(explained(error, &record, delivered)),
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
        lock(&record).forget_before(delivered);
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
            if !self.devices.iter().any(|name| **name == *part.device) {
                self.devices.push(part.device.to_string());
            }
        }
    }
}

/// Batches for the stream; where they came from is kept for errors.
struct Located {
    reader: BatchReader,
    record: Arc<Mutex<Record>>,
}

/// Where the batches that are on their way came from, and why there are no more.
#[derive(Default)]
struct Record {
    /// Number of the first of `locations`.
    first: u64,
    locations: std::collections::VecDeque<Location>,
    failure: Option<IngestError>,
}

impl Record {
    fn forget_before(&mut self, batch: u64) {
        while self.first < batch && self.locations.pop_front().is_some() {
            self.first += 1;
        }
    }

    fn location(&self, batch: u64) -> Option<&Location> {
        self.locations
            .get(usize::try_from(batch.checked_sub(self.first)?).ok()?)
    }
}

impl Iterator for Located {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.reader.next_located()? {
            Ok((location, batch)) => {
                lock(&self.record).locations.push_back(location);
                Some(Ok(batch))
            }
            Err(error) => {
                let message = error.to_string();
                lock(&self.record).failure = Some(error);
                Some(Err(ArrowError::ExternalError(message.into())))
            }
        }
    }
}

impl RecordBatchReader for Located {
    fn schema(&self) -> SchemaRef {
        self.reader.schema()
    }
}

/// An error of the stream in terms of the files.
fn explained(error: Error, record: &Mutex<Record>, batch: u64) -> Failure {
    let mut record = lock(record);
    match error {
        Error::Data(error) => match record.location(batch) {
            Some(location) => error::in_file(&error, location),
            None => Failure::Data(error.to_string()),
        },
        other => match record.failure.take() {
            Some(failure) => failure.into(),
            None => other.into(),
        },
    }
}

fn lock(record: &Mutex<Record>) -> std::sync::MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where results go, as the arguments say.
enum Destination {
    Table { rows: u64 },
    Sink { target: Target, format: Format },
}

impl Destination {
    fn choose(args: &RunArgs) -> Result<Self, Failure> {
        let rows = args.limit.unwrap_or(TABLE_ROWS);
        let Some(output) = args.output.as_deref() else {
            return match args.format {
                None | Some(FormatChoice::Table) => Ok(Destination::Table { rows }),
                Some(choice) => Ok(Destination::Sink {
                    target: Target::Stdout,
                    format: format_of(choice)?,
                }),
            };
        };
        let path = PathBuf::from(output);
        let format = match args.format {
            Some(choice) => format_of(choice)?,
            None if output == "-" => Format::ArrowStream,
            None => Format::from_extension(&path).ok_or_else(|| {
                Failure::usage(format!(
                    "{output}: the name does not tell the format; end it in .parquet, .arrow, \
                     .arrows or .csv, or say --format"
                ))
            })?,
        };
        let target = if output == "-" {
            Target::Stdout
        } else {
            Target::File(path)
        };
        if target == Target::Stdout && format != Format::Csv && std::io::stdout().is_terminal() {
            return Err(Failure::usage(format!(
                "{format} is not for reading on a terminal; redirect it or write a file with -o"
            )));
        }
        Ok(Destination::Sink { target, format })
    }

    fn open(self, schema: &SchemaRef) -> Result<Out, Failure> {
        Ok(match self {
            Destination::Table { rows } => Out::Table {
                schema: schema.clone(),
                batches: Vec::new(),
                wanted: rows,
                rows: 0,
            },
            Destination::Sink {
                target,
                format: Format::Csv,
            } => {
                let schema = zones::schema_with_offsets(schema);
                Out::Text(Box::new(Sink::create(target, Format::Csv, &schema)?))
            }
            Destination::Sink { target, format } => {
                Out::Sink(Box::new(Sink::create(target, format, schema)?))
            }
        })
    }
}

fn format_of(choice: FormatChoice) -> Result<Format, Failure> {
    match choice {
        FormatChoice::Parquet => Ok(Format::Parquet),
        FormatChoice::Arrow => Ok(Format::ArrowFile),
        FormatChoice::Arrows => Ok(Format::ArrowStream),
        FormatChoice::Csv => Ok(Format::Csv),
        FormatChoice::Table => Err(Failure::usage(
            "a table is for the terminal; leave -o out, or write csv",
        )),
    }
}

/// Replacing an input while it is read, or one result by another, is a mistake; so is a folder that
/// is not there, which is better said before the work than after it.
fn refuse_clashes(args: &RunArgs) -> Result<(), Failure> {
    let mut taken: Vec<(PathBuf, String)> = Vec::new();
    for input in session::inputs(&args.query.inputs)? {
        if let Input::File(path) = input {
            let name = path.display().to_string();
            taken.push((
                std::fs::canonicalize(&path).unwrap_or(path),
                format!("the input {name}"),
            ));
        }
    }
    let output = args
        .output
        .as_deref()
        .filter(|output| *output != "-")
        .map(Path::new);
    let written = [
        ("--output", output),
        ("--receipts", args.receipts.as_deref()),
        ("--trace", args.trace.as_deref()),
        ("--timeline", args.timeline.as_deref()),
    ];
    for (flag, path) in written {
        let Some(path) = path else { continue };
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
            continue; // a device or a pipe, which several may write
        }
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = path.file_name().filter(|_| !path.is_dir());
        let (Ok(folder), Some(file)) = (std::fs::canonicalize(folder), file) else {
            let shown = path.display();
            return Err(Failure::file(format!(
                "{shown}: {flag} names no file in an existing folder"
            )));
        };
        let place = std::fs::canonicalize(path).unwrap_or_else(|_| folder.join(file));
        if let Some((_, other)) = taken.iter().find(|(other, _)| *other == place) {
            return Err(Failure::usage(format!(
                "{flag} {} would overwrite {other}",
                path.display()
            )));
        }
        taken.push((place, format!("what {flag} writes")));
    }
    Ok(())
}

/// Where results go.
enum Out {
    Table {
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        wanted: u64,
        rows: u64,
    },
    Sink(Box<Sink>),
    /// A format that spells times out.
    Text(Box<Sink>),
}

impl Out {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        match self {
            Out::Sink(sink) => Ok(sink.write(batch)?),
            Out::Text(sink) => {
                let batch = zones::with_offsets(batch)
                    .map_err(|error| Failure::usage(format!("cannot spell times out: {error}")))?;
                Ok(sink.write(&batch)?)
            }
            Out::Table {
                batches,
                wanted,
                rows,
                ..
            } => {
                let left = usize::try_from(wanted.saturating_sub(*rows)).unwrap_or(usize::MAX);
                if left > 0 && batch.num_rows() > 0 {
                    batches.push(batch.slice(0, left.min(batch.num_rows())));
                }
                *rows += batch.num_rows() as u64;
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Out::Sink(sink) | Out::Text(sink) => Ok(sink.finish()?),
            Out::Table {
                schema,
                batches,
                wanted,
                rows,
            } => {
                let batches = if batches.is_empty() {
                    vec![RecordBatch::new_empty(schema)]
                } else {
                    batches
                };
                let table = batches
                    .iter()
                    .map(zones::with_offsets)
                    .collect::<Result<Vec<_>, _>>()
                    .and_then(|batches| arrow_cast::pretty::pretty_format_batches(&batches))
                    .map_err(|error| Failure::usage(format!("cannot show the rows: {error}")))?;
                report::print(format!("{table}\n").as_bytes())?;
                if rows > wanted {
                    report::say(format_args!(
                        "{} more rows; --limit shows more, -o FILE writes all",
                        grouped(rows - wanted)
                    ));
                }
                Ok(())
            }
        }
    }
}
