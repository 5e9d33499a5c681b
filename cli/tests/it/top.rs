//! `unlade top`, over a running command and over a recording.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;

use crate::support::{Place, Ran};

/// How long what is to come may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command that has read all its rows and waits for the end of its input.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    rest: Vec<u8>,
}

impl Running {
    fn start(place: &Place, flags: &[&str]) -> Self {
        place.table("in.arrows", 0, 1000);
        let mut input = fs::read(place.path("in.arrows")).unwrap();
        let rest = input.split_off(input.len() - 8);
        let words = ["run", "-", "--where", "n < 50", "-o", "out.csv"];
        let mut command = place.command(&[&words[..], flags].concat());
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&input).unwrap();
        Running {
            child,
            stdin: Some(stdin),
            rest,
        }
    }

    fn finish(mut self) {
        let mut stdin = self.stdin.take().unwrap();
        stdin.write_all(&self.rest).unwrap();
        drop(stdin);
        let output = self.child.wait_with_output().unwrap();
        Ran::of(output).success();
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(process, signal).unwrap();
    }
}

/// Waits until something is there.
#[track_caller]
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come to be");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What is said of a socket, once the command there has a receipt.
#[track_caller]
fn with_a_receipt(place: &Place, path: &str) -> Value {
    until(|| {
        let ran = place.run(&["top", path, "--json"]);
        let snapshot: Value = match ran.code {
            Some(0) => serde_json::from_str(&ran.out).unwrap(),
            _ => return None,
        };
        let receipts = snapshot["receipts"].as_array().unwrap().len();
        (receipts > 0).then_some(snapshot)
    })
}

#[test]
fn a_running_command_is_watched() {
    let place = Place::new();
    let running = Running::start(&place, &["--top-socket", "top.sock"]);
    let snapshot = with_a_receipt(&place, "top.sock");
    assert_eq!(snapshot["process"], running.child.id());
    assert_eq!(snapshot["receipts"][0]["devices"][0], "cpu");
    assert_eq!(snapshot["receipts"][0]["rows_out"], 50);
    let mode = fs::metadata(place.path("top.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // Standard output is no terminal.
    for words in [&["top", "top.sock"][..], &["top", "top.sock", "--once"]] {
        let text = place.run(words).success();
        for title in [
            "Devices",
            "Queues",
            "Pool",
            "Sessions",
            "Recent receipts",
            "Fallbacks",
        ] {
            assert!(text.contains(&format!("\n{title}\n")), "{title}: {text}");
        }
        assert!(text.contains("nothing else could run it"), "{text}");
        // Of two snapshots: shares and rates are known.
        let cpu = text.lines().find(|line| line.starts_with("cpu ")).unwrap();
        assert!(cpu.contains('%') && cpu.contains("/s"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
    let taken = place.run(&["run", "in.arrows", "--top-socket", "top.sock"]);
    taken.failure(4, &["top.sock is in use", "name another socket"]);
    running.finish();
    assert!(!place.path("top.sock").exists());
    let gone = place.run(&["top", "top.sock"]);
    gone.failure(
        4,
        &["top.sock: nobody listens there", "--top-socket top.sock"],
    );
}

#[test]
fn a_process_that_is_stopped_is_named_and_what_is_old_is_said_to_be() {
    let place = Place::new();
    let running = Running::start(&place, &["--top-socket", "top.sock"]);
    with_a_receipt(&place, "top.sock");
    let mut screen = Terminal::of_width(80, place.command(&["top", "top.sock"]));
    screen.shows("Fallbacks");
    running.signal(Signal::STOP);
    let process = running.child.id();
    for how in [&["--once"][..], &["--json"], &[]] {
        let words = [&["top", "top.sock", "--timeout", "1"][..], how].concat();
        place.run(&words).failure(
            4,
            &[
                &format!("top.sock: process {process} has said nothing for 1s"),
                "--timeout",
                &format!("`kill -CONT {process}`"),
            ],
        );
    }
    // Where there is nothing to show yet, and where there is.
    let blank = place.command(&["top", "top.sock", "--timeout", "1"]);
    let mut blank = Terminal::start(blank);
    blank.shows("has said nothing for 1s");
    assert_eq!(until(|| blank.child.try_wait().unwrap()).code(), Some(4));
    screen.shows_within(80, "nothing new for ");
    running.signal(Signal::CONT);
    running.finish();
    screen.shows_within(80, "the runtime has ended");
    screen.press("q");
    screen.ends(0);
}

#[test]
fn a_killed_command_leaves_what_others_can_use() {
    let place = Place::new();
    let flags = ["--top-socket", "top.sock", "--record-top", "top.jsonl"];
    let running = Running::start(&place, &flags);
    with_a_receipt(&place, "top.sock");
    // What is recorded is in the file at once.
    until(|| {
        let text = place.run(&["top", "top.jsonl"]).success();
        text.contains("nothing else could run it").then_some(())
    });
    // Of two snapshots one is left when the other is cut.
    until(|| {
        let text = fs::read_to_string(place.path("top.jsonl")).unwrap();
        (text.lines().count() > 2).then_some(())
    });
    running.kill();
    assert!(place.path("top.sock").exists());
    let nobody = place.run(&["top", "top.sock"]);
    nobody.failure(4, &["top.sock: nobody listens there"]);
    let recorded = place.run(&["top", "top.jsonl", "--json"]).success();
    let recorded: Value = serde_json::from_str(&recorded).unwrap();
    assert_eq!(recorded["receipts"][0]["rows_out"], 50);
    // Cut off in the middle, it says so and shows the rest.
    let bytes = fs::read(place.path("top.jsonl")).unwrap();
    fs::write(place.path("cut.jsonl"), &bytes[..bytes.len() - 5]).unwrap();
    let cut = place.run(&["top", "cut.jsonl"]);
    assert!(
        cut.err.contains("cut.jsonl: line ") && cut.err.contains("is cut off"),
        "{}",
        cut.err
    );
    assert!(cut.success().contains("Recent receipts"));
    // The next one takes the socket over.
    let next = Running::start(&place, &["--top-socket", "top.sock"]);
    with_a_receipt(&place, "top.sock");
    next.finish();
}

#[test]
fn what_cannot_be_watched_is_said_to_be() {
    let place = Place::new();
    place.table("in.parquet", 0, 10);
    place.run(&["top", "in.parquet"]).failure(
        3,
        &["in.parquet, line 1: it is no snapshot", "--record-top FILE"],
    );
    fs::write(place.path("new.jsonl"), "{\"version\":99}\n").unwrap();
    place.run(&["top", "new.jsonl"]).failure(
        3,
        &["new.jsonl, line 1: it is of version 99, this program reads version 1"],
    );
    for (text, said) in [
        ("", "other, line 1: it is no snapshot (it is empty)"),
        ("hello", "it is no snapshot (it does not begin as one)"),
        (
            "{\"record\":1",
            "it is no snapshot (it does not begin as one)",
        ),
        ("{\"vers", "other: line 1 is cut off"),
    ] {
        fs::write(place.path("other"), text).unwrap();
        place.run(&["top", "other"]).failure(3, &[said]);
    }
    // What is to be typed is one word to a shell.
    place.run(&["top", "my socket"]).failure(
        4,
        &[
            "my socket: nobody listens there",
            "--top-socket 'my socket'`",
        ],
    );
    let run = ["run", "in.parquet", "-o", "out.csv"];
    for (flag, value, code, said) in [
        (
            "--top-socket",
            "no/where",
            3,
            "--top-socket names no file in an existing folder",
        ),
        (
            "--top-socket",
            "in.parquet",
            2,
            "would overwrite the input in.parquet",
        ),
        (
            "--record-top",
            "out.csv",
            2,
            "would overwrite what --output writes",
        ),
        (
            "--record-top",
            "-",
            2,
            "--record-top is not for standard output",
        ),
    ] {
        place
            .run(&[&run[..], &[flag, value]].concat())
            .failure(code, &[said]);
    }
    fs::write(place.path("file"), "mine").unwrap();
    place
        .run(&[&run[..], &["--top-socket", "file"]].concat())
        .failure(4, &["file exists; remove it, or name another socket"]);
    assert_eq!(fs::read_to_string(place.path("file")).unwrap(), "mine");
}

/// That of a terminal of so many columns.
fn size(columns: u16) -> Winsize {
    Winsize {
        ws_row: 40,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// A terminal with a program in it.
pub(crate) struct Terminal {
    child: Child,
    keys: File,
    /// What the program has written so far.
    written: Arc<Mutex<Vec<u8>>>,
    terminal: File,
}

impl Terminal {
    fn start(command: Command) -> Self {
        Terminal::of_width(120, command)
    }

    /// One of so many columns.
    pub(crate) fn of_width(columns: u16, mut command: Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        tcsetwinsize(&ours, size(columns)).unwrap();
        let open = || {
            let name = name.to_str().unwrap();
            File::options().read(true).write(true).open(name).unwrap()
        };
        let terminal = open();
        command.stdin(open()).stdout(open()).stderr(open());
        let child = command.env("TERM", "xterm-256color").spawn().unwrap();
        let keys = File::from(ours);
        let written = Arc::new(Mutex::new(Vec::new()));
        let mut screen = keys.try_clone().unwrap();
        let reading = Arc::clone(&written);
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(count) = screen.read(&mut some) {
                reading.lock().unwrap().extend_from_slice(&some[..count]);
            }
        });
        Terminal {
            child,
            keys,
            written,
            terminal,
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    #[track_caller]
    pub(crate) fn shows(&self, words: &str) {
        until(|| self.text().contains(words).then_some(()));
    }

    /// That the screen comes to show this, one of so many columns, or one less, by turns: what changes is all
    /// that is written else, and a screen of another size is drawn anew.
    #[track_caller]
    fn shows_within(&self, columns: u16, words: &str) {
        let mut widths = [columns - 1, columns].into_iter().cycle();
        until(|| {
            let width = widths.next().expect("it has no end");
            tcsetwinsize(&self.keys, size(width)).unwrap();
            self.text().contains(words).then_some(())
        });
    }

    fn press(&mut self, keys: &str) {
        self.written.lock().unwrap().clear();
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Whether lines are edited by the terminal, as they are for a shell.
    fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        modes.contains(rustix::termios::LocalModes::ICANON)
    }

    /// Waits until the program has ended with this code, the terminal as it was found.
    #[track_caller]
    fn ends(&mut self, code: i32) {
        let status = until(|| self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(code), "{}", self.text());
        self.shows("\u{1b}[?1049l"); // the other screen is left
        assert!(self.is_cooked());
    }
}

/// Leaves and enters the other screen.
const OTHER_SCREEN: &str = "\u{1b}[?1049h";

#[test]
fn a_terminal_is_left_as_it_was_found() {
    let place = Place::new();
    let running = Running::start(&place, &["--top-socket", "top.sock"]);
    with_a_receipt(&place, "top.sock");
    let top = || Terminal::start(place.command(&["top", "top.sock"]));
    for key in ["q", "\u{1b}", "\u{3}"] {
        let mut screen = top();
        screen.shows(OTHER_SCREEN);
        screen.shows("Fallbacks");
        assert!(!screen.is_cooked());
        screen.press(key);
        screen.ends(0);
    }
    let mut screen = top();
    screen.shows("Fallbacks");
    let process = Pid::from_raw(screen.child.id().try_into().unwrap()).unwrap();
    kill_process(process, Signal::TERM).unwrap();
    screen.ends(143);
    // The end of the command is told, and ends nothing by itself.
    let mut screen = top();
    screen.shows("Fallbacks");
    running.finish();
    screen.shows_within(120, "the runtime has ended");
    screen.press("q");
    screen.ends(0);
}

#[test]
fn a_recording_is_stepped_through() {
    let place = Place::new();
    place.table("in.parquet", 0, 1000);
    let running = Running::start(&place, &["--record-top", "top.jsonl"]);
    let lines = || {
        let recorded = fs::read_to_string(place.path("top.jsonl")).unwrap_or_default();
        recorded.lines().count()
    };
    until(|| (lines() >= 4).then_some(()));
    running.finish();
    let count = lines();
    let mut screen = Terminal::start(place.command(&["top", "top.jsonl"]));
    screen.shows(&format!(" of {count}, 1x"));
    screen.press("\u{1b}[H");
    screen.shows("paused");
    screen.press("q");
    screen.ends(0);
}
