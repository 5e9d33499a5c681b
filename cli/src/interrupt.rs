//! The signals that ask a process to end, Ctrl-C among them: the first asks the command to stop, and
//! ends the process where it does not stop soon, waiting for input, say; a second ends it at once.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::error::Failure;
use crate::{cards, folders, report};

/// The first that came; 0 until then.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// The file that is whole already, once there is one.
static WRITTEN: OnceLock<PathBuf> = OnceLock::new();

/// What is to be done yet before the process ends without unwinding.
static LAST: Mutex<Vec<Box<dyn FnOnce() + Send>>> = Mutex::new(Vec::new());

/// How long a command has to stop by itself.
const GRACE: Duration = Duration::from_secs(1);

/// From here on a file that would grow beyond `ulimit -f` is an error, as any other that cannot be
/// written, rather than the end of the process.
pub(crate) fn survive_large_files() -> Result<(), Failure> {
    let noticed = Arc::new(AtomicBool::new(false)); // the error says it
    signal_hook::flag::register(SIGXFSZ, noticed)
        .map(drop)
        .map_err(unwatched)
}

/// From here on these signals are noticed by [`check`].
pub(crate) fn watch() -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(unwatched)?;
    let watching = std::thread::Builder::new().spawn(move || {
        for signal in signals.forever() {
            let first = SIGNAL.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
            if first.is_err() {
                end();
            }
            let patient = std::thread::Builder::new().spawn(|| {
                std::thread::sleep(GRACE);
                end();
            });
            if patient.is_err() {
                end();
            }
        }
    });
    watching.map(drop).map_err(unwatched)
}

/// An error once a signal came.
pub(crate) fn check() -> Result<(), Failure> {
    match SIGNAL.load(Ordering::Relaxed) {
        0 => Ok(()),
        signal => Err(Failure::Interrupted { signal }),
    }
}

/// Has something done if the process is ended here, where nothing is dropped.
pub(crate) fn at_end(last: impl FnOnce() + Send + 'static) {
    lock(&LAST).push(Box::new(last));
}

/// From here on a file is whole and stays, so that an interrupt does not say otherwise.
pub(crate) fn note_written(path: &Path) {
    WRITTEN.get_or_init(|| path.to_owned());
}

/// The file that stays whatever comes.
pub(crate) fn written() -> Option<&'static Path> {
    WRITTEN.get().map(PathBuf::as_path)
}

/// Ends the process without half-written files, and without folders that were made for them.
fn end() -> ! {
    unlade_ingest::abandon_unfinished();
    cards::end();
    for last in lock(&LAST).drain(..) {
        last();
    }
    folders::remove();
    let failure = Failure::Interrupted {
        signal: SIGNAL.load(Ordering::Relaxed),
    };
    report::say(format_args!("error: {failure}"));
    std::process::exit(i32::from(failure.exit_code()));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unwatched(error: std::io::Error) -> Failure {
    Failure::resource(format!("cannot watch for signals: {error}"))
}
