//! A session as the arguments want it: devices, options, tables.

use std::ops::Deref;
use std::path::Path;

use datafusion::datasource::file_format::options::{
    ArrowReadOptions, CsvReadOptions, JsonReadOptions, ParquetReadOptions,
};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use tokio::runtime;
use unlade::{Placement, Runtime};
use unlade_datafusion::{SessionStateBuilderExt, UnladeConfig};

use crate::args::Arguments;
use crate::error::Failure;
use crate::files;
use crate::output::Printing;
use crate::statements::{self, Interrupts};

/// All that statements need.
pub(crate) struct Session {
    pub(crate) context: SessionContext,
    pub(crate) printing: Printing,
    interrupts: Interrupts,
    tokio: Tokio,
}

impl Session {
    /// # Errors
    /// A device that is not there, an option that is none, a table that cannot be read.
    pub(crate) fn open(arguments: &Arguments) -> Result<Self, Failure> {
        let mut tokio = runtime::Builder::new_multi_thread();
        if let Some(threads) = arguments.threads {
            tokio.worker_threads(threads.into());
        }
        let tokio = tokio.enable_all().build();
        let tokio = tokio.map_err(|error| Failure::resource(format!("no threads: {error}")))?;
        let tokio = Tokio(Some(tokio));
        let (runtime, device) = devices(&arguments.device)?;
        let state = SessionStateBuilder::new()
            .with_config(config(arguments, &device)?)
            .with_default_features()
            .with_unlade(&runtime);
        // A file's name in quotes is a table, too.
        let context = SessionContext::new_with_state(state.build()).enable_url_table();
        for (name, path) in &arguments.tables {
            tokio.block_on(register(&context, name, path))?;
        }
        let interrupts = tokio.block_on(async { Interrupts::watch() })?;
        Ok(Session {
            context,
            printing: Printing {
                format: arguments.format,
                max_rows: arguments.max_rows,
                receipts: arguments.receipts,
                quiet: arguments.quiet,
            },
            interrupts,
            tokio,
        })
    }

    /// Runs statements, one after the other.
    ///
    /// # Errors
    /// The first that there is: nothing after it is run, and nothing at all of what is no SQL.
    pub(crate) fn execute(&mut self, sql: &str) -> Result<(), Failure> {
        let interrupts = &mut self.interrupts;
        let run = statements::run(&self.context, self.printing, interrupts, sql);
        self.tokio.block_on(run)
    }

    /// Forgets a Ctrl-C that came while there was nothing to interrupt.
    pub(crate) fn forget_interrupt(&mut self) {
        self.tokio.block_on(self.interrupts.came());
    }

    /// Waits for what is soon done.
    pub(crate) fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.tokio.block_on(what)
    }
}

/// What statements run on. It ends without those of its threads that wait for a file: one that is a
/// pipe of which nothing comes would have them wait for ever.
struct Tokio(Option<runtime::Runtime>);

impl Deref for Tokio {
    type Target = runtime::Runtime;

    fn deref(&self) -> &runtime::Runtime {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Tokio {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A runtime with the device of a name, and what it is called there.
fn devices(name: &str) -> Result<(Runtime, String), Failure> {
    let refused = |error: unlade::Error| Failure::resource(error.to_string());
    if name == "auto" {
        return Ok((unlade::runtime().map_err(refused)?, name.to_owned()));
    }
    let names: &[&str] = match name {
        "cpu" => &["cpu"],
        other => &["cpu", other],
    };
    let devices = unlade::open_devices(names);
    let devices = devices.map_err(|error| Failure::usage(format!("--device: {error}")))?;
    let known = devices.last().map(|device| device.info().name.clone());
    let known = known.unwrap_or_else(|| name.to_owned());
    let builder = devices
        .into_iter()
        .fold(Runtime::builder(), |builder, device| builder.device(device));
    let placement = Placement::Device(known.as_str().into());
    let runtime = builder.placement(placement).build().map_err(refused)?;
    Ok((runtime, known))
}

fn config(arguments: &Arguments, device: &str) -> Result<SessionConfig, Failure> {
    let mut config = SessionConfig::new()
        .with_information_schema(true)
        .with_option_extension(UnladeConfig::default())
        .set_str("unlade.device", device);
    if let Some(threads) = arguments.threads {
        config = config.with_target_partitions(threads.into());
    }
    for (name, value) in &arguments.options {
        let set = config.options_mut().set(name, value);
        set.map_err(|error| Failure::usage(format!("--set {name}: {}", error.strip_backtrace())))?;
    }
    Ok(config)
}

/// Makes files a table, by what they are called.
async fn register(context: &SessionContext, name: &str, path: &str) -> Result<(), Failure> {
    let file = Path::new(path);
    let is_here = !path.contains("://") && !files::is_pattern(path);
    if is_here && !file.exists() {
        return Err(Failure::file(format!("{path}: there is no such file")));
    }
    let extension = match file.is_dir() {
        true => Some("parquet"),
        false => file.extension().and_then(|extension| extension.to_str()),
    };
    let dotted = extension.map(|extension| format!(".{extension}"));
    let dotted = dotted.as_deref().unwrap_or_default();
    let lower = extension.map(str::to_lowercase);
    let made = match lower.as_deref() {
        Some("parquet") => {
            let options = ParquetReadOptions {
                file_extension: dotted,
                ..ParquetReadOptions::default()
            };
            files::read(context.register_parquet(name, path, options)).await
        }
        Some(kind @ ("csv" | "tsv")) => {
            let delimiter = match kind {
                "csv" => b',',
                _ => b'\t',
            };
            let options = CsvReadOptions::new().file_extension(dotted);
            let options = options.delimiter(delimiter);
            context.register_csv(name, path, options).await
        }
        Some("json" | "jsonl" | "ndjson") => {
            let options = JsonReadOptions::default().file_extension(dotted);
            context.register_json(name, path, options).await
        }
        Some("arrow") => {
            let options = ArrowReadOptions::default();
            files::read(context.register_arrow(name, path, options)).await
        }
        _ => {
            return Err(Failure::usage(format!(
                "--table {name}: what {path} is does not tell from its name, which ends in .parquet, \
                 .csv, .tsv, .json, .jsonl, .ndjson or .arrow; CREATE EXTERNAL TABLE takes any"
            )));
        }
    };
    let Err(error) = made else {
        return Ok(());
    };
    let file = files::unreadable(context, path).await;
    let file = file.as_deref().unwrap_or(path);
    Err(Failure::file(format!(
        "{file}: {}",
        error.strip_backtrace()
    )))
}
