//! Ctrl-C and the signals that ask a process to end: the first asks the command to stop, and ends the
//! process where it does not stop soon, waiting for input, say; a second ends it at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::Failure;
use crate::report;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Exit code of a process that Ctrl-C ended: 128 plus the signal's number, as shells have it.
pub(crate) const EXIT_CODE: u8 = 130;
/// How long a command has to stop by itself.
const GRACE: Duration = Duration::from_secs(1);

/// From here on Ctrl-C is noticed by [`check`].
pub(crate) fn watch() -> Result<(), Failure> {
    ctrlc::set_handler(|| {
        if !INTERRUPTED.swap(true, Ordering::Relaxed) {
            // A second signal is handled on this very thread, after the wait.
            std::thread::spawn(|| {
                std::thread::sleep(GRACE);
                end();
            });
            return;
        }
        end();
    })
    .map_err(|error| Failure::resource(format!("cannot watch for Ctrl-C: {error}")))
}

/// Ends the process without half-written files.
fn end() -> ! {
    unlade_ingest::abandon_unfinished();
    report::say(format_args!("error: {}", Failure::Interrupted));
    std::process::exit(i32::from(EXIT_CODE));
}

/// An error once Ctrl-C was pressed.
pub(crate) fn check() -> Result<(), Failure> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        Err(Failure::Interrupted)
    } else {
        Ok(())
    }
}
