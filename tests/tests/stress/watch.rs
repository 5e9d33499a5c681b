//! Looks whether everybody makes progress, and ends the process with what they do where somebody
//! does not.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use unlade_runtime::Runtime;

/// Hundreds of times what one operation takes, on a slow machine and under a sanitizer: whoever is
/// not done by then hangs.
const LIMIT: Duration = Duration::from_secs(90);

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(500);

/// What everybody does.
pub(crate) struct Watch {
    doing: Vec<Mutex<Option<Doing>>>,
    ended: Mutex<bool>,
    changed: Condvar,
}

struct Doing {
    what: String,
    since: Instant,
}

impl Watch {
    /// For so many.
    pub(crate) fn new(users: usize) -> Watch {
        Watch {
            doing: (0..users).map(|_| Mutex::default()).collect(),
            ended: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// What somebody does from here on.
    pub(crate) fn begins(&self, user: usize, what: String) {
        let since = Instant::now();
        *lock(&self.doing[user]) = Some(Doing { what, since });
    }

    /// Somebody does nothing any more.
    pub(crate) fn rests(&self, user: usize) {
        *lock(&self.doing[user]) = None;
    }

    /// Watches while `body` runs.
    pub(crate) fn over<T>(&self, runtime: &Runtime, body: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            scope.spawn(|| self.look(runtime));
            // Also where the body panics: else nobody would tell of that.
            let _end = End(self);
            body()
        })
    }

    fn look(&self, runtime: &Runtime) {
        let mut ended = lock(&self.ended);
        while !*ended {
            let waited = self.changed.wait_timeout(ended, LOOK);
            ended = waited.unwrap_or_else(PoisonError::into_inner).0;
            let hangs = |doing: &Mutex<Option<Doing>>| {
                lock(doing)
                    .as_ref()
                    .is_some_and(|doing| doing.since.elapsed() > LIMIT)
            };
            if self.doing.iter().any(hangs) {
                self.tell();
                tell_of(runtime);
                process::abort();
            }
        }
        *ended = false;
    }

    /// Past the test harness, which would keep it to itself.
    fn tell(&self) {
        let mut text = format!("somebody has made no progress for {LIMIT:?}:\n");
        for (user, doing) in self.doing.iter().enumerate() {
            let _text = match &*lock(doing) {
                Some(Doing { what, since }) => {
                    writeln!(text, "  {user}, for {:?}: {what}", since.elapsed())
                }
                None => writeln!(text, "  {user} rests"),
            };
        }
        let _gone = std::io::stderr().write_all(text.as_bytes());
    }
}

/// What the system says of each thread, and then what the runtime says, which may not come back.
fn tell_of(runtime: &Runtime) {
    let mut text = String::from("threads, and where in the kernel they wait:\n");
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    for task in tasks.flatten() {
        let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let (name, waits) = (read("comm"), read("wchan"));
        let _text = writeln!(text, "  {} {}", name.trim_end(), waits.trim_end());
    }
    let _gone = std::io::stderr().write_all(text.as_bytes());
    let text = format!(
        "{:#?}\n{:#?}\n{:#?}\n",
        runtime.devices(),
        runtime.memory(),
        runtime.sessions()
    );
    let _gone = std::io::stderr().write_all(text.as_bytes());
}

struct End<'a>(&'a Watch);

impl Drop for End<'_> {
    fn drop(&mut self) {
        *lock(&self.0.ended) = true;
        self.0.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
