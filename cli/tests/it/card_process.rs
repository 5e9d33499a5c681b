//! The process of `--device sim-dpu`: what ends it, and what is left.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use unlade_ingest::{Format, Sink, Target};

use crate::support::{Place, Ran, numbers};

/// Far longer than a process takes to start, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A place whose folder for temporary files is its own, and one command there.
struct Running {
    place: Place,
    child: Child,
}

impl Running {
    /// Starts a command that reads its standard input.
    fn start(arguments: &[&str]) -> Running {
        let place = Place::new();
        let temporary = place.path("tmp");
        fs::create_dir(&temporary).unwrap();
        let query = [
            "run", "-", "--device", "sim-dpu", "-o", "-", "--format", "csv",
        ];
        let child = place
            .command(&[&query, arguments].concat())
            .env("TMPDIR", &temporary)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running { place, child }
    }

    fn temporary(&self) -> PathBuf {
        self.place.path("tmp")
    }

    /// The process of the card, once the command is connected to it and its socket is gone.
    fn card(&self) -> u32 {
        until("a card runs, and its socket is gone", || {
            let cards = cards(&self.temporary());
            let card = *cards.first()?;
            // It has memory of the command's by then.
            let connected = fs::read_dir(format!("/proc/{card}/fd"))
                .ok()?
                .flatten()
                .filter_map(|file| fs::read_link(file.path()).ok())
                .any(|file| file.to_string_lossy().starts_with("/memfd:unlade"));
            assert_eq!(cards.len(), 1);
            (connected && is_empty(&self.temporary())).then_some(card)
        })
    }

    /// That neither a process nor a file is left.
    fn assert_nothing_is_left(&self) {
        until("no card runs, and no file is left", || {
            let temporary = self.temporary();
            (cards(&temporary).is_empty() && is_empty(&temporary)).then_some(())
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for something.
#[track_caller]
fn until<T>(what: &str, mut came: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(came) = came() {
            return came;
        }
        assert!(started.elapsed() < PATIENCE, "not yet: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Processes of cards that were started with this folder for temporary files. One that has ended and
/// was not waited for has no environment any more.
fn cards(temporary: &Path) -> Vec<u32> {
    let variable = format!("TMPDIR={}", temporary.display());
    let has = |path: PathBuf, wanted: &str| {
        let text = fs::read(path).unwrap_or_default();
        text.split(|byte| *byte == 0)
            .any(|part| part == wanted.as_bytes())
    };
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let process = PathBuf::from(format!("/proc/{pid}"));
        has(process.join("environ"), &variable) && has(process.join("cmdline"), "card")
    })
    .collect()
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.unwrap().success());
}

/// The rows as an Arrow stream, which the command reads, in batches that it reads one by one.
fn rows(place: &Place, rows: usize) -> Vec<u8> {
    let path = place.path("rows.arrows");
    let batches: Vec<_> = (0..i32::try_from(rows).unwrap())
        .step_by(BATCH)
        .map(|start| numbers(start, i32::try_from(BATCH).unwrap()))
        .collect();
    let schema = batches[0].schema();
    let target = Target::File(path.clone());
    let mut sink = Sink::create(target, Format::ArrowStream, &schema).unwrap();
    for batch in &batches {
        sink.write(batch).unwrap();
    }
    sink.finish().unwrap();
    fs::read(path).unwrap()
}

/// Rows of a batch.
const BATCH: usize = 500;

#[test]
fn the_card_is_a_process_that_ends_with_the_command() {
    let mut running = Running::start(&["--no-fallback", "--where", "n < 2", "--select", "n"]);
    let card = running.card();
    assert_ne!(card, running.child.id());
    let input = rows(&running.place, BATCH);
    running
        .child
        .stdin
        .take()
        .unwrap()
        .write_all(&input)
        .unwrap();
    assert!(running.child.wait().unwrap().success());
    // The command has waited for it.
    assert_eq!(cards(&running.temporary()), [0; 0]);
    let mut out = String::new();
    running
        .child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    assert_eq!(out, "n\n0\n1\n");
    running.assert_nothing_is_left();
}

#[test]
fn the_card_ends_with_a_command_that_is_killed() {
    let mut running = Running::start(&[]);
    running.card();
    running.child.kill().unwrap();
    running.assert_nothing_is_left();
}

/// Whatever it was about to do.
#[test]
fn a_command_that_is_killed_as_it_starts_leaves_nothing() {
    for milliseconds in (0..60).step_by(3) {
        let mut running = Running::start(&[]);
        thread::sleep(Duration::from_millis(milliseconds));
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        running.assert_nothing_is_left();
    }
}

/// Ctrl-C at a terminal reaches all that was started from there, but the card.
#[test]
fn a_command_that_is_interrupted_takes_the_card_along() {
    let mut running = Running::start(&[]);
    let card = running.card();
    let group = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let behind = stat.rsplit_once(')').unwrap().1.to_owned();
        behind.split_whitespace().nth(2).unwrap().to_owned()
    };
    assert_ne!(group(card), group(running.child.id()));
    // It is not the end of its input that ends it.
    let _stdin = running.child.stdin.take();
    let pid = running.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(running.child.wait().unwrap().code(), Some(130));
    running.assert_nothing_is_left();
}

/// What the card was given is done elsewhere, and said so.
#[test]
fn work_of_a_card_that_is_killed_is_done_elsewhere() {
    let (ran, receipts) = killed_in_the_middle(&["--receipts", "receipts.json"]);
    let receipts = receipts.unwrap();
    let elsewhere =
        r#""device":"cpu","path":"fallback","reason":{"quarantined":{"device":"sim-dpu"}}"#;
    for part in [
        r#""device":"sim-dpu","path":"queued","reason":"forced""#,
        elsewhere,
    ] {
        assert!(
            receipts.contains(part),
            "`{part}` is missing in: {receipts}"
        );
    }
    for word in ["its process has ended", "signal: 9", "on cpu, sim-dpu"] {
        assert!(
            ran.err.contains(word),
            "`{word}` is missing in: {}",
            ran.err
        );
    }
    let out = ran.success();
    assert_eq!(out.lines().count(), 1 + 2 * ROWS, "{}", out.lines().count());
}

#[test]
fn where_nothing_else_may_do_it_the_loss_of_the_card_is_an_error() {
    let (ran, _) = killed_in_the_middle(&["--no-fallback"]);
    ran.failure(4, &["sim-dpu", "its process has ended", "signal: 9"]);
}

/// Rows before the card is killed, and as many behind that: more than are read ahead of a result, so
/// that the card has done some of them by then.
const ROWS: usize = 400_000;

/// A command whose card is killed in the middle of its input; and its receipts, if it writes some.
fn killed_in_the_middle(arguments: &[&str]) -> (Ran, Option<String>) {
    let query = [
        "--select",
        "n + 1 as m",
        "--batch-rows",
        "500",
        "--threads",
        "1",
        "-v",
    ];
    let mut running = Running::start(&[&query, arguments].concat());
    let card = running.card();
    let input = rows(&running.place, 2 * ROWS);
    let mut out = running.child.stdout.take().unwrap();
    let mut stdin = running.child.stdin.take().unwrap();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        out.read_to_end(&mut text).unwrap();
        text
    });
    let feeder = thread::spawn(move || {
        // All of the first half but what a pipe holds has been read when it is written.
        let (first, second) = input.split_at(input.len() / 2);
        stdin.write_all(first).unwrap();
        kill(card);
        // A command that ends with an error reads no more.
        let _ = stdin.write_all(second);
    });
    let mut err = String::new();
    running
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    feeder.join().unwrap();
    let out = String::from_utf8(reader.join().unwrap()).unwrap();
    let code = running.child.wait().unwrap().code();
    running.assert_nothing_is_left();
    let receipts = fs::read_to_string(running.place.path("receipts.json")).ok();
    (Ran { code, out, err }, receipts)
}

/// With few descriptors one or the other fails: it is said which, in its words, and nothing is left.
#[test]
fn with_too_few_descriptors_it_is_said_and_nothing_is_left() {
    let place = Place::new();
    let temporary = place.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut said = Vec::new();
    for limit in 4..40 {
        let unlade = env!("CARGO_BIN_EXE_unlade");
        let line = format!("ulimit -n {limit}; exec {unlade} devices --device sim-dpu");
        let ran = Command::new("sh")
            .args(["-c", &line])
            .env("TMPDIR", &temporary)
            .output()
            .unwrap();
        let ran = Ran::of(ran);
        assert!(matches!(ran.code, Some(0 | 4)), "{limit}: {}", ran.err);
        until(&format!("nothing is left with {limit}"), || {
            (cards(&temporary).is_empty() && is_empty(&temporary)).then_some(())
        });
        said.push(ran.err);
    }
    for words in [
        "cannot be started: Too many",
        "its process says: a connection was ended: ",
    ] {
        assert!(
            said.iter().any(|err| err.contains(words)),
            "{words}: {said:#?}"
        );
    }
    assert_eq!(said.last().unwrap(), "", "it starts where there are enough");
}

#[test]
fn what_the_process_says_as_it_ends_is_the_error() {
    let place = Place::new();
    let temporary = place.path(&"x".repeat(100));
    fs::create_dir(&temporary).unwrap();
    let variables = [("TMPDIR", temporary.to_str().unwrap())];
    let ran = place.run_with(&variables, &["devices", "--device", "sim-dpu"]);
    let ended = "sim-dpu: its process has ended (exit status: 4): error: ";
    ran.failure(4, &[ended, "TMPDIR", "107 bytes at most"]);
    assert!(is_empty(&temporary));
}

/// The second ends `unlade card` at once, in the middle of what the first has begun.
#[test]
fn of_two_signals_neither_leaves_the_socket() {
    let place = Place::new();
    for milliseconds in [0, 2, 5, 10, 20] {
        let mut card = place
            .command(&["card", "--socket", "card.sock"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("the card serves", || {
            place.path("card.sock").exists().then_some(())
        });
        // Its thread for signals is there before; that its socket is to be removed it notes behind.
        thread::sleep(Duration::from_millis(20));
        let pid = card.id().to_string();
        for _ in 0..2 {
            // By the second it may have ended.
            let _ = Command::new("kill")
                .args(["-TERM", &pid])
                .stderr(Stdio::null())
                .status();
            thread::sleep(Duration::from_millis(milliseconds));
        }
        card.wait().unwrap();
        assert!(!place.path("card.sock").exists(), "{milliseconds} ms");
    }
}
