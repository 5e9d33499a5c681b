//! What a process holds of the system: threads, descriptors, memory.
//!
//! A test that looks at this is the only one of its process: whatever another opens counts, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// For what ends by itself: threads, connections.
const LONG: Duration = Duration::from_secs(20);

/// What a process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Descriptors by what they are of: files, sockets, events, memory.
    pub descriptors: BTreeMap<String, usize>,
    /// Pieces of its memory that are of files, by their names.
    pub memory: BTreeMap<String, usize>,
    /// Threads, those that only now end among them.
    pub threads: usize,
    /// Processes that it started, by their numbers.
    pub children: String,
    /// Folders of sockets.
    pub folders: Vec<PathBuf>,
}

impl Held {
    /// What this process holds now.
    ///
    /// # Panics
    /// Where the system does not say: without `/proc`.
    pub fn now() -> Held {
        Held {
            descriptors: descriptors(),
            memory: memory(),
            threads: entries("/proc/self/task").len(),
            children: children(),
            folders: folders(),
        }
    }

    /// The same without memory: for where some was abandoned to a lost device, which keeps it for good.
    #[must_use]
    pub fn without_memory(mut self) -> Held {
        self.memory.clear();
        self.descriptors.retain(|of, _| !of.starts_with("/memfd:"));
        self
    }
}

/// Something, once it stays the same: threads that have done their work take a while to end.
pub fn at_rest<T: PartialEq>(now: impl Fn() -> T) -> T {
    let mut last = now();
    loop {
        thread::sleep(Duration::from_millis(100));
        let next = now();
        if next == last {
            return next;
        }
        last = next;
    }
}

/// Waits until something is as it is to be.
///
/// # Panics
/// Where it is not within some seconds, with `what` it was.
pub fn settle<T: PartialEq + std::fmt::Debug>(what: &str, now: impl Fn() -> T, wanted: &T) {
    let begun = Instant::now();
    loop {
        let found = now();
        if found == *wanted {
            return;
        }
        assert!(
            begun.elapsed() < LONG,
            "{what}: {found:#?}, not {wanted:#?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

fn descriptors() -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in entries("/proc/self/fd") {
        // The one that reads the folder is gone by now.
        let Ok(of) = fs::read_link(entry) else {
            continue;
        };
        let of = of.display().to_string();
        // Without the number of the socket or pipe.
        let kind = of.split(":[").next().unwrap_or(&of).to_owned();
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

fn memory() -> BTreeMap<String, usize> {
    let maps = fs::read_to_string("/proc/self/maps").expect("a process sees its own memory");
    let mut counts = BTreeMap::new();
    let files = maps.lines().filter_map(|line| line.split_once("/memfd:"));
    for (_, name) in files {
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

fn children() -> String {
    let tasks = entries("/proc/self/task").into_iter();
    // A thread may have ended meanwhile.
    let children = tasks.filter_map(|task| fs::read_to_string(task.join("children")).ok());
    children.collect()
}

fn folders() -> Vec<PathBuf> {
    let ours = format!(".unlade-card-{}-", std::process::id());
    let all = entries(&std::env::temp_dir().display().to_string()).into_iter();
    all.filter(|path| path.display().to_string().contains(&ours))
        .collect()
}

fn entries(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}

/// Bytes of this process's memory that are not of files: what it has touched and not given back.
///
/// # Panics
/// As [`Held::now`].
pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a process sees its own memory");
    let kibibytes = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        number
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("there is no {name} in {status}"))
    };
    // Memory that is shared with a card is of a file without a name in any folder.
    (kibibytes("RssAnon:") + kibibytes("RssShmem:")) << 10
}
