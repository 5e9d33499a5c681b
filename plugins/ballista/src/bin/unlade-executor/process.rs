//! The executor, from its start to its end.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ballista_executor::execution_engine::DefaultExecutionEngine;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use unlade::Runtime;
use unlade_ballista::{UnladeConfig, UnladeEngine, config_producer};

use crate::args::Arguments;
use crate::devices;
use crate::error::{Failure, say};
use crate::reports::Reports;

/// How long to wait before the scheduler is looked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// How long threads that compute may take to end after all tasks have.
const LAST: Duration = Duration::from_secs(10);

/// Runs an executor until it is told to end.
///
/// # Errors
/// What keeps it from starting: arguments, ports, devices, files, a scheduler that is not there; and a
/// second signal.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Before there is a runtime, which has its metrics told from the first on.
    let reports = Reports::open(arguments)?;
    let (runtime, device) = devices::open(arguments)?;
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let tokio = tokio.map_err(|error| Failure::resource(format!("no threads: {error}")))?;
    reports.watch(&runtime);
    let folder = Folder::open(arguments.work_dir.as_deref())?;
    let ended = tokio.block_on(served(arguments, &runtime, device, &folder, &reports));
    // A second signal does not wait for what the first one left.
    match ended {
        Err(Failure::Interrupted) => tokio.shutdown_background(),
        _ => tokio.shutdown_timeout(LAST),
    }
    ended.and(reports.close())
}

async fn served(
    arguments: &Arguments,
    runtime: &Runtime,
    device: String,
    folder: &Folder,
    reports: &Reports,
) -> Result<(), Failure> {
    let signals = Signals::watch()?;
    // Ballista says of a port that is taken only in its log.
    for (name, port) in [
        ("--port", arguments.port),
        ("--grpc-port", arguments.grpc_port),
    ] {
        let address = SocketAddr::new(arguments.bind, port);
        TcpListener::bind(address)
            .map_err(|error| Failure::resource(format!("{name}: {address}: {error}")))?;
    }
    let (requests, patience) = devices::of_tasks(arguments);
    let engine = UnladeEngine::new(runtime, Arc::new(DefaultExecutionEngine::new()))
        .with_device(device)
        .with_devices(requests, patience)
        .with_receipts(reports.of_tasks());
    let process = config(arguments, engine, folder)?;
    reach(arguments).await?;
    let names: Vec<_> = runtime
        .devices()
        .iter()
        .map(|each| each.name.to_string())
        .collect();
    say(&format!(
        "unlade-executor: {} tasks at a time on {}; results at port {}, tasks at port {}",
        process.vcores,
        names.join(", "),
        process.port,
        process.grpc_port
    ));
    tokio::select! {
        ended = start_executor_process(Arc::new(process)) => ended.map_err(Failure::from),
        () = signals.second() => Err(Failure::Interrupted),
    }
}

/// Waits for the scheduler.
async fn reach(arguments: &Arguments) -> Result<(), Failure> {
    let (host, port) = &arguments.scheduler;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let connecting = async {
        loop {
            match TcpStream::connect((bare, *port)).await {
                Ok(_) => return,
                Err(error) => tracing::info!("{host}:{port}: {error}"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    let wait = Duration::from_secs(arguments.wait.into());
    // At least one attempt is made.
    let reached = tokio::time::timeout(wait.max(AGAIN), connecting).await;
    reached.map_err(|_elapsed| {
        Failure::resource(format!(
            "--scheduler {host}:{port}: nobody answered there for {} s; start the scheduler first, or \
             have more patience with --wait",
            arguments.wait
        ))
    })
}

fn config(
    arguments: &Arguments,
    engine: UnladeEngine,
    folder: &Folder,
) -> Result<ExecutorProcessConfig, Failure> {
    let defaults = ExecutorProcessConfig::default();
    let own = arguments.bind.to_string();
    let advertised = match &arguments.advertise {
        Some(host) => Some(host.clone()),
        None => (!arguments.bind.is_unspecified()).then(|| own.clone()),
    };
    let (host, port) = &arguments.scheduler;
    Ok(ExecutorProcessConfig {
        bind_host: match arguments.bind.is_ipv6() {
            true => format!("[{own}]"),
            false => own,
        },
        external_host: advertised,
        port: arguments.port,
        grpc_port: arguments.grpc_port,
        scheduler_host: host.clone(),
        scheduler_port: *port,
        vcores: arguments.task_slots.map_or(defaults.vcores, usize::from),
        work_dir: Some(folder.text()?),
        executor_heartbeat_interval_seconds: arguments.heartbeat,
        override_execution_engine: Some(Arc::new(engine)),
        override_config_producer: Some(sessions(&arguments.options)?),
        ..defaults
    })
}

/// Sessions with what was set.
fn sessions(options: &[(String, String)]) -> Result<ballista_core::ConfigProducer, Failure> {
    let mut config = config_producer(&UnladeConfig::default())();
    for (name, value) in options {
        let set = config.options_mut().set(name, value);
        set.map_err(|error| Failure::usage(format!("--set {name}: {}", error.strip_backtrace())))?;
    }
    Ok(Arc::new(move || config.clone()))
}

/// Where an executor keeps what stages hand on.
enum Folder {
    /// One that was named, which stays.
    Given(PathBuf),
    /// One of its own, which goes with it.
    Own(TempDir),
}

impl Folder {
    fn open(given: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = given else {
            let made = tempfile::Builder::new()
                .prefix("unlade-executor-")
                .tempdir();
            let made = made.map_err(|error| Failure::file(&std::env::temp_dir(), error))?;
            return Ok(Folder::Own(made));
        };
        let made = std::fs::create_dir_all(path).and_then(|()| path.canonicalize());
        made.map(Folder::Given)
            .map_err(|error| Failure::file(path, error))
    }

    fn text(&self) -> Result<String, Failure> {
        let path = match self {
            Folder::Given(path) => path,
            Folder::Own(folder) => folder.path(),
        };
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| Failure::file(path, "its name is no text; name another with --work-dir"))
    }
}

/// Ctrl-C and SIGTERM. Ballista takes the first one of them to end its tasks.
struct Signals([Signal; 2]);

impl Signals {
    fn watch() -> Result<Self, Failure> {
        let watch =
            |kind| signal(kind).map_err(|error| Failure::resource(format!("signals: {error}")));
        Ok(Signals([
            watch(SignalKind::interrupt())?,
            watch(SignalKind::terminate())?,
        ]))
    }

    async fn second(self) {
        let Signals([mut interrupts, mut terminations]) = self;
        for _ in 0..2 {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
        }
    }
}
