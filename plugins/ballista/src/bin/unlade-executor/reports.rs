//! Receipts and metrics, written to files.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use unlade::Runtime;
use unlade::prometheus::{self, Metrics};
use unlade_ballista::TaskReceipt;
use unlade_ingest::WholeFile;

use crate::args::Arguments;
use crate::error::{Failure, say};

/// How often metrics are written.
const OFTEN: Duration = Duration::from_secs(10);

/// What is written while an executor runs.
pub(crate) struct Reports {
    receipts: Option<Receipts>,
    metrics: Option<Writer>,
}

/// Lines, one for each task.
#[derive(Clone)]
struct Receipts {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

/// Writes metrics now and then, on a thread of its own.
struct Writer {
    path: PathBuf,
    metrics: Arc<Metrics>,
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Reports {
    /// Has what was asked for collected; to be called before there is a runtime.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn open(arguments: &Arguments) -> Result<Self, Failure> {
        let receipts = arguments.receipts.as_deref().map(Receipts::open);
        let metrics = arguments.metrics.as_deref().map(Writer::start);
        Ok(Reports {
            receipts: receipts.transpose()?,
            metrics: metrics.transpose()?,
        })
    }

    /// Has the metrics of a runtime among those that are written.
    pub(crate) fn watch(&self, runtime: &Runtime) {
        if let Some(writer) = &self.metrics {
            writer.metrics.watch(runtime);
        }
    }

    /// What is to be told of each task.
    pub(crate) fn of_tasks(&self) -> impl Fn(&TaskReceipt) + Send + Sync + 'static {
        let receipts = self.receipts.clone();
        move |receipt| {
            if let Some(receipts) = &receipts
                && let Err(error) = receipts.add(receipt)
            {
                say(&format!("{}: {error}", receipts.path.display()));
            }
        }
    }

    /// Writes the metrics as they are at the end.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn close(self) -> Result<(), Failure> {
        match self.metrics {
            Some(writer) => writer.close(),
            None => Ok(()),
        }
    }
}

impl Receipts {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Receipts {
            path: path.to_owned(),
            file: Arc::new(Mutex::new(
                file.map_err(|error| Failure::file(path, error))?,
            )),
        })
    }

    /// A line is written as one, so that whoever reads meanwhile finds whole ones.
    fn add(&self, receipt: &TaskReceipt) -> io::Result<()> {
        let mut line = serde_json::to_vec(receipt)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line)
    }
}

impl Writer {
    fn start(path: &Path) -> Result<Self, Failure> {
        let metrics = prometheus::install();
        let metrics = metrics.map_err(|error| Failure::resource(error.to_string()))?;
        let metrics = Arc::new(metrics);
        write(path, &metrics).map_err(|error| Failure::file(path, error))?;
        let (stop, stopped) = mpsc::channel();
        let (to, of) = (path.to_owned(), Arc::clone(&metrics));
        let body = move || {
            while stopped.recv_timeout(OFTEN) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = write(&to, &of) {
                    say(&format!("{}: {error}", to.display()));
                }
            }
        };
        let thread = std::thread::Builder::new().name("metrics".to_owned());
        let thread = thread.spawn(body);
        let thread =
            thread.map_err(|error| Failure::resource(format!("no thread for metrics: {error}")))?;
        Ok(Writer {
            path: path.to_owned(),
            metrics,
            thread: Some((stop, thread)),
        })
    }

    fn close(mut self) -> Result<(), Failure> {
        if let Some((stop, thread)) = self.thread.take() {
            drop(stop);
            let _ended = thread.join();
        }
        write(&self.path, &self.metrics).map_err(|error| Failure::file(&self.path, error))
    }
}

/// Puts a whole file in the place of the one before, as those who read it want it.
fn write(path: &Path, metrics: &Metrics) -> io::Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write_all(metrics.text().as_bytes())?;
    file.keep()
}
