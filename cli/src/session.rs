//! What the commands make of their arguments: inputs, a query, a runtime.

use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::{Resource, getrlimit};
use unlade::{
    Device, Error, ExprError, Fallback, OnError, Placement, Query, Runtime, RuntimeBuilder, Select,
    Semantics, Trust, parse_expr, parse_select_list,
};
use unlade_ingest::{Input, ScanOptions};

use crate::args::{CastChoice, OverflowChoice, QueryArgs, ResourceArgs, RuleArgs};
use crate::error::Failure;
use crate::patterns::{self, is_pattern};
use crate::{cards, config};

/// Rows of a batch, unless told otherwise.
pub(crate) const DEFAULT_BATCH_ROWS: usize = 65_536;
/// Most rows of a batch.
const MAX_BATCH_ROWS: usize = 1 << 26;
/// Memory for batches where the machine does not say how much it has.
const DEFAULT_MEMORY: u64 = 4 << 30;
/// Smaller batches cost more than they save.
const MIN_BATCH_BYTES: u64 = 64 << 10;
/// Larger batches gain nothing.
const MAX_BATCH_BYTES: u64 = 256 << 20;
/// Batches that a stream of the runtime computes on ahead of the one taken, per thread; two of its
/// threads are there for a device.
const COMPUTED_AHEAD: usize = 2;
const QUEUERS: usize = 2;
/// Pinned memory reserved at the start, and the least that is worth it.
const RESERVE: u64 = 256 << 20;
const MIN_RESERVE: u64 = 1 << 20;
/// Which part of the memory for results that is at most: a batch for which the reserve is too
/// scattered, with results of others all over it, has the rest.
const RESERVED: u64 = 2;
/// What is named in place of a file where nothing is to be kept.
const NO_FILE: &str = "none";
/// Bytes of addresses that a thread may take: allocators reserve them by the thread.
const THREAD_ADDRESSES: u64 = 256 << 20;
/// Most threads.
const MAX_THREADS: usize = 1024;

/// The inputs that arguments name, patterns expanded.
pub(crate) fn inputs(arguments: &[String]) -> Result<Vec<Input>, Failure> {
    let mut inputs = Vec::new();
    for argument in arguments {
        if argument == "-" {
            if inputs.contains(&Input::Stdin) {
                return Err(Failure::usage("standard input can be read once only"));
            }
            inputs.push(Input::Stdin);
            continue;
        }
        let path = PathBuf::from(argument);
        if path.is_dir() {
            let folder = argument.trim_end_matches('/');
            return Err(Failure::file(format!(
                "{argument}: is a folder; write '{folder}/*.parquet', or '{folder}/**/*.parquet' \
                 for the folders in it, too"
            )));
        }
        // A file of exactly this name wins over a pattern, and over an address.
        if !path.exists() && argument.contains("://") {
            return Err(Failure::file(format!(
                "{argument}: only files of this machine are read; copy it here, or pipe it into \
                 `unlade run -`"
            )));
        }
        if path.exists() || !is_pattern(argument) {
            inputs.push(Input::File(path));
            continue;
        }
        let files = patterns::files(argument)?;
        if files.is_empty() {
            return Err(Failure::file(format!("no file matches `{argument}`")));
        }
        inputs.extend(files.into_iter().map(Input::File));
    }
    Ok(inputs)
}

/// The rules that arguments choose.
pub(crate) fn semantics(rules: &RuleArgs) -> Result<Semantics, Failure> {
    let mut semantics = match rules.semantics.as_deref() {
        Some(name) => name.parse::<Semantics>().map_err(|error| {
            Failure::usage(format!("{}: {error}", rules.names.name("semantics")))
        })?,
        None => Semantics::arrow(),
    };
    if let Some(overflow) = rules.overflow {
        semantics = semantics.with_overflow(match overflow {
            OverflowChoice::Trap => OnError::Trap,
            OverflowChoice::Wrap => OnError::Wrap,
        });
    }
    if let Some(cast) = rules.cast {
        semantics = semantics.with_cast(match cast {
            CastChoice::Null => OnError::Null,
            CastChoice::Trap => OnError::Trap,
        });
    }
    Ok(semantics)
}

/// The query that arguments spell.
pub(crate) fn query(args: &QueryArgs) -> Result<Query, Failure> {
    let mut query = Query::all();
    if let Some(text) = &args.filter {
        query.filter = Some(parse_expr(text).map_err(|error| refused("--where", text, &error))?);
    }
    if args.select.trim() != "*" {
        let columns = parse_select_list(&args.select)
            .map_err(|error| refused("--select", &args.select, &error))?;
        query.select = Select::Columns(columns);
    }
    Ok(query)
}

/// An expression's error with the place in its text.
pub(crate) fn expression_error(args: &QueryArgs, error: &ExprError) -> Failure {
    use unlade::Clause;
    match (error.clause(), &args.filter) {
        (Some(Clause::Filter), Some(text)) => refused("--where", text, error),
        (Some(Clause::Select), _) => refused("--select", &args.select, error),
        _ => Failure::usage(error.to_string()),
    }
}

fn refused(flag: &str, text: &str, error: &ExprError) -> Failure {
    let rendered = error.render(text);
    let rendered = rendered.strip_prefix("error: ").unwrap_or(&rendered);
    Failure::usage(format!("in {flag}: {rendered}"))
}

/// How inputs are read.
pub(crate) fn scan_options(resources: &ResourceArgs) -> Result<ScanOptions, Failure> {
    let batch_rows = resources.batch_rows.unwrap_or(DEFAULT_BATCH_ROWS);
    if !(1..=MAX_BATCH_ROWS).contains(&batch_rows) {
        return Err(Failure::usage(format!(
            "{} is 1 to {MAX_BATCH_ROWS}",
            resources.names.name("batch-rows")
        )));
    }
    let threads = threads(resources)?;
    Ok(ScanOptions {
        batch_rows,
        batch_bytes: batch_bytes(memory(resources)? - budget(resources)?, threads),
        threads,
        mmap: resources.mmap.unwrap_or(false),
    })
}

/// Memory for batches in bytes: half for those that are read, half for results.
fn memory(resources: &ResourceArgs) -> Result<u64, Failure> {
    match &resources.memory {
        Some(memory) => config::bytes(memory).map_err(|error| {
            Failure::usage(format!("{}: {error}", resources.names.name("memory")))
        }),
        None => Ok(machine_memory().map_or(DEFAULT_MEMORY, |memory| memory / 4)),
    }
}

/// Memory for results in bytes.
fn budget(resources: &ResourceArgs) -> Result<u64, Failure> {
    Ok(memory(resources)? / 2)
}

/// Bytes of a batch, so that all that are held at once fit: those that the scan holds, and those
/// that the stream computes on. A decoder's buffers may be twice what they hold.
fn batch_bytes(memory: u64, threads: usize) -> u64 {
    let held = ScanOptions::batches_held(threads) + (threads + QUEUERS) * COMPUTED_AHEAD;
    (memory / 2 / held as u64).clamp(MIN_BATCH_BYTES, MAX_BATCH_BYTES)
}

/// The number of threads.
pub(crate) fn threads(resources: &ResourceArgs) -> Result<usize, Failure> {
    match resources.threads {
        Some(threads) if (1..=MAX_THREADS).contains(&threads) => Ok(threads),
        Some(_) => Err(Failure::usage(format!(
            "{} is 1 to {MAX_THREADS}",
            resources.names.name("threads")
        ))),
        None => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let affordable = addresses_left().map_or(usize::MAX, |bytes| {
                usize::try_from(bytes / THREAD_ADDRESSES).unwrap_or(usize::MAX)
            });
            Ok(cores.min(affordable).max(1))
        }
    }
}

/// What a runtime is to write down for a report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recording {
    /// What ran when.
    pub(crate) trace: bool,
    /// What each batch was predicted to take, and the CPU time that it took.
    pub(crate) costs: bool,
    /// What came when and what became of it, to run again.
    pub(crate) schedule: bool,
}

/// A runtime as the arguments want it. Its reserve is smaller where the system has no more to give.
pub(crate) fn runtime(resources: &ResourceArgs, recording: Recording) -> Result<Runtime, Failure> {
    let devices = devices(wanted(resources), &resources.names.name("device"))?;
    let most = RESERVE.min(budget(resources)? / RESERVED);
    let mut reserve = most;
    let mut refusal = None;
    loop {
        let built = builder(resources, recording, &devices)?
            .pool_reserve(reserve)
            .build();
        match built {
            Err(Error::Reserve { asked, source }) if asked > 0 => {
                reserve = if asked < MIN_RESERVE { 0 } else { asked / 4 };
                refusal.get_or_insert(source);
            }
            built => {
                if let Some(refusal) = refusal {
                    tracing::info!(
                        "{reserve} bytes of memory are reserved rather than {most}: {refusal} \
                         (`ulimit -v` and `ulimit -f` say what a process may have)"
                    );
                }
                return Ok(built?);
            }
        }
    }
}

/// The devices that are present, and a simulated GPU or a card where it is asked for: by which setting,
/// errors say.
fn devices(wanted: Option<&str>, setting: &str) -> Result<Vec<Arc<dyn Device>>, Failure> {
    // A process has one CUDA driver, so a simulated one is chosen before any is looked for.
    if wanted.is_some_and(|name| name.starts_with("sim-gpu")) {
        let chosen = unlade::simulate_gpu();
        chosen.map_err(|why| Failure::resource(format!("{setting}: {why}")))?;
    }
    let mut devices = unlade::discover();
    if let Some(name) = wanted {
        let opened = cards::open(name);
        devices.extend(opened.map_err(|failure| failure.after(&format!("{setting}: ")))?);
    }
    Ok(devices)
}

/// The devices that are present; only one, if one is asked for by name.
pub(crate) fn listed(device: Option<&str>) -> Result<Vec<Arc<dyn Device>>, Failure> {
    const SETTING: &str = "--device";

    let wanted = named(device);
    let mut devices = devices(wanted, SETTING)?;
    if let Some(name) = wanted {
        if !devices.iter().any(|device| device.info().name == name) {
            return Err(unknown_device(SETTING, name, &devices));
        }
        devices.retain(|device| device.info().name == name);
    }
    Ok(devices)
}

/// What to call the setting that names a file for what is measured, with the file, where one does.
pub(crate) fn asked_for_calibration(resources: &ResourceArgs) -> Option<String> {
    let file = resources.calibration.as_ref();
    let file = file.filter(|file| file.as_os_str() != NO_FILE)?;
    let setting = resources.names.name("calibration");
    Some(format!("{setting} {}", file.display()))
}

/// The device that is asked for by name, if one is.
pub(crate) fn wanted(resources: &ResourceArgs) -> Option<&str> {
    named(resources.device.as_deref())
}

/// The device that is asked for by name; of simulated GPUs the first, if none is.
fn named(device: Option<&str>) -> Option<&str> {
    match device {
        None | Some("auto") => None,
        Some("sim-gpu") => Some("sim-gpu:0"),
        name => name,
    }
}

fn builder(
    resources: &ResourceArgs,
    recording: Recording,
    devices: &[Arc<dyn Device>],
) -> Result<RuntimeBuilder, Failure> {
    let mut builder = Runtime::builder()
        .threads(threads(resources)?)
        .memory_budget(budget(resources)?)
        .trace(recording.trace)
        .record(recording.schedule)
        .predictions(recording.costs)
        .host_cpu(recording.costs);
    if resources.no_fallback.unwrap_or(false) {
        builder = builder.fallback(Fallback::Forbid);
    }
    if resources.untrusted.unwrap_or(false) {
        builder = builder.trust(Trust::Untrusted);
    }
    let calibration = resources.calibration.clone();
    let calibration = calibration.or_else(config::usual_calibration);
    match wanted(resources) {
        None => {
            let file = calibration.filter(|file| file.as_os_str() != NO_FILE);
            builder = file.into_iter().fold(builder, RuntimeBuilder::calibration);
        }
        Some(name) => {
            if !devices.iter().any(|device| device.info().name == name) {
                let setting = resources.names.name("device");
                return Err(unknown_device(&setting, name, devices));
            }
            builder = builder.placement(Placement::Device(name.into()));
        }
    }
    Ok(devices.iter().fold(builder, |builder, device| {
        builder.device(Arc::clone(device))
    }))
}

/// What the name of a card begins with.
const CARD: &str = "dpu:";

fn unknown_device(setting: &str, name: &str, devices: &[Arc<dyn Device>]) -> Failure {
    let known: Vec<&str> = devices
        .iter()
        .map(|device| device.info().name.as_str())
        .collect();
    // Who names a GPU as it would be called here is told why there is none.
    let why = match unlade::why_no_gpu() {
        Some(why) if name.starts_with("cuda") => format!("; {why}"),
        _ => String::new(),
    };
    let meant = meant(name, &known).map_or_else(String::new, |it| format!("; is it `{it}`?"));
    Failure::usage(format!(
        "{setting}: no device `{name}`{why}{meant}; there are: auto, {}, and by name {} (`unlade doctor` \
         says what is missing)",
        known.join(", "),
        unlade::BY_NAME,
    ))
}

/// The device whose name is this one but for case, and `-`, `_` or a space.
fn meant(name: &str, known: &[&str]) -> Option<String> {
    let plain = |name: &str| name.to_lowercase().replace(['-', '_', ' '], "");
    match name.split_at_checked(CARD.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(CARD) => {
            return Some(format!("{CARD}{rest}"));
        }
        _ => {}
    }
    let others = ["auto", "sim-gpu", "sim-dpu"];
    let found = known
        .iter()
        .chain(&others)
        .find(|it| plain(it) == plain(name))?;
    Some((*found).to_owned())
}

/// Memory of the machine in bytes, or that the control group or `ulimit -v` leaves where that is less.
fn machine_memory() -> Option<u64> {
    let of_machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
            kib.checked_mul(1024)
        });
    let of_group = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    [of_machine, of_group, addresses_left()]
        .into_iter()
        .flatten()
        .min()
}

/// Bytes of addresses that `ulimit -v` leaves to this process, if it says anything.
fn addresses_left() -> Option<u64> {
    let limit = getrlimit(Resource::As).current?;
    Some(limit.saturating_sub(address_space().unwrap_or(0)))
}

/// Bytes of addresses that this process has in use.
fn address_space() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmSize:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}
