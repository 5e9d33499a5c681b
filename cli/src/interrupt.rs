//! Ctrl-C: the first asks the command to stop, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Failure;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Exit code of a process that Ctrl-C ended: 128 plus the signal's number, as shells have it.
pub(crate) const EXIT_CODE: u8 = 130;

/// From here on Ctrl-C is noticed by [`check`].
pub(crate) fn watch() -> Result<(), Failure> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(EXIT_CODE));
        }
    })
    .map_err(|error| Failure::resource(format!("cannot watch for Ctrl-C: {error}")))
}

/// An error once Ctrl-C was pressed.
pub(crate) fn check() -> Result<(), Failure> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        Err(Failure::Interrupted)
    } else {
        Ok(())
    }
}
