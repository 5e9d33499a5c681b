//! A limit for waits that have none of their own.

use std::io::{Write, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
use std::{process, thread};

/// Far beyond what a test takes, however busy the machine is.
const LONGEST: Duration = Duration::from_secs(300);

/// Fails the whole program, by the test's name, where it is not dropped in time. A test has it
/// before all else, so that it is dropped last.
#[derive(Debug)]
pub(crate) struct Limit {
    _dropped: Sender<()>,
}

impl Limit {
    pub(crate) fn start() -> Limit {
        let test = thread::current().name().unwrap_or("a test").to_owned();
        let (sender, dropped) = channel::<()>();
        thread::spawn(move || {
            if dropped.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
                // Not by `eprintln!`, whose text is kept back until the test has ended.
                let _ = writeln!(stderr(), "{test} has not ended after {LONGEST:?}");
                process::abort();
            }
        });
        Limit { _dropped: sender }
    }
}
