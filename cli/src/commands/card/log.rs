//! What `unlade card -v` says of each function that is served: who comes and goes, which jobs go wrong,
//! and how many were done.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use unlade_sim_card::{Counters, Event, Server};

use crate::report;

/// What is said of one function.
pub(super) struct Log<'a> {
    server: &'a Server,
    /// Its socket, which tells it from others.
    name: String,
    said: Mutex<Said>,
}

/// What has been said so far.
#[derive(Default)]
struct Said {
    /// Of the jobs that went wrong, how many.
    faults: usize,
    /// Jobs of hosts that have gone.
    jobs: Jobs,
}

/// Jobs, by how they ended.
#[derive(Clone, Copy, Default)]
struct Jobs {
    done: u64,
    trapped: u64,
    failed: u64,
}

impl<'a> Log<'a> {
    pub(super) fn new(server: &'a Server, socket: &Path) -> Self {
        Log {
            server,
            name: socket.display().to_string(),
            said: Mutex::default(),
        }
    }

    /// Says what happens to a connection.
    pub(super) fn tell(&self, event: Event<'_>) {
        let name = &self.name;
        match event {
            Event::Connected { host } => tracing::info!("{name}: {host} is connected"),
            Event::Refused { host, holder } => {
                tracing::info!("{name}: {host} is told that {holder} has the card");
            }
            Event::Broken(error) => {
                report::say(format_args!("a connection was ended: {error}"));
            }
            Event::Disconnected { host } => {
                self.tell_faults();
                let all = Jobs::of(&self.server.card().counters());
                let before = std::mem::replace(&mut self.said().jobs, all);
                tracing::info!("{name}: {host} has gone: {}", all.since(before));
            }
            _ => {}
        }
    }

    /// Says which jobs went wrong since this was last called.
    pub(super) fn tell_faults(&self) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let mut said = self.said();
        let faults = self.server.card().counters().faults;
        for (job, fault) in &faults[said.faults..] {
            tracing::info!("{}: job {job} goes wrong: {fault:?}", self.name);
        }
        said.faults = faults.len();
    }

    /// Says what came of all hosts.
    pub(super) fn tell_all(&self) {
        self.tell_faults();
        let counters = self.server.card().counters();
        for finding in &counters.findings {
            tracing::info!("{}: a host has broken a rule: {finding}", self.name);
        }
        let (jobs, faults) = (Jobs::of(&counters), counters.faults.len());
        tracing::info!(
            "{}: it ends: {jobs} in all; {faults} went wrong by a fault",
            self.name
        );
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Jobs {
    fn of(counters: &Counters) -> Self {
        Jobs {
            done: counters.jobs_succeeded,
            trapped: counters.jobs_trapped,
            failed: counters.jobs_failed,
        }
    }

    fn since(self, before: Jobs) -> Self {
        Jobs {
            done: self.done - before.done,
            trapped: self.trapped - before.trapped,
            failed: self.failed - before.failed,
        }
    }
}

impl fmt::Display for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Jobs {
            done,
            trapped,
            failed,
        } = self;
        write!(f, "{done} jobs done, {trapped} trapped, {failed} failed")
    }
}
