//! The shell, at a terminal.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{command, folder};

#[test]
fn statements_may_have_lines_and_errors_end_nothing() {
    let folder = folder();
    let mut shell = Terminal::open(folder.path(), &["-t", "trips=trips.parquet", "--receipts"]);
    shell.enter("SELECT count(*) AS many,");
    shell.enter("  ';' AS point FROM trips WHERE id < 5;");
    shell.until("| 5    | ;     |");
    shell.answers("rows_on_cpu");
    for (line, answer) in [
        ("SELECT * FROM nowhere;", "error: "),
        ("\\unheard", "there is no command `\\unheard`"),
        ("\\?", "lists a table's columns"),
        ("\\d", "| public             | trips"),
        ("\\d trips", "| distance    | Float64"),
        ("\\h NULLIF", "| nullif"),
        ("\\receipts off", "receipts are off"),
        ("\\format csv", "printed as csv"),
        ("SELECT 40 + 2 AS answer, 'of' AS everything;", "42,of"),
        ("\\format xml", "there is no format `xml`"),
        ("\\quiet perhaps", "on or off"),
        ("\\i nowhere.sql", "error: nowhere.sql"),
    ] {
        shell.enter(line);
        shell.answers(answer);
    }
    shell.enter("\\q");
    assert!(shell.ended().success());
}

#[test]
fn ctrl_c_ends_a_statement_and_not_the_shell() {
    let folder = folder();
    let mut shell = Terminal::open(folder.path(), &["--format", "csv"]);
    shell.interrupt();
    shell.enter("SELECT count(*) FROM generate_series(1, 1000000000000) WHERE value > 3;");
    // The first may come before the statement has begun.
    while !shell.comes("error: interrupted", Duration::from_millis(200)) {
        shell.interrupt();
    }
    shell.until(PROMPT);
    shell.enter("SELECT 40 + 2 AS answer;");
    shell.answers("42\r\n");
    shell.type_in("\x04"); // Ctrl-D
    assert!(shell.ended().success());
}

#[test]
fn tab_completes_and_what_was_entered_comes_back() {
    let folder = folder();
    let mut shell = Terminal::open(folder.path(), &["-t", "trips=trips.parquet", "-q"]);
    shell.type_in("SELECT max(dista\t) AS far FROM trip\t;\r");
    shell.answers("| 9999.5 |");
    shell.enter("\\q");
    assert!(shell.ended().success());
    let kept = std::fs::read_to_string(folder.path().join("unlade/sql-history")).unwrap();
    assert!(
        kept.contains("SELECT max(distance) AS far FROM trips;"),
        "{kept}"
    );

    let mut shell = Terminal::open(folder.path(), &["-t", "trips=trips.parquet", "-q"]);
    shell.type_in("\x1b[A\x1b[A\r"); // up to what was entered before `\q`
    shell.answers("| 9999.5 |");
    shell.type_in("\x04");
    assert!(shell.ended().success());
}

#[test]
fn what_files_say_controls_no_terminal() {
    let folder = folder();
    let text = "a\x1b]0;owned\x07,b\ncell\x1b]0;owned\x07,2\n";
    std::fs::write(folder.path().join("bad.csv"), text).unwrap();
    let mut shell = Terminal::open(folder.path(), &["-q"]);
    shell.enter("SELECT * FROM 'bad.csv';");
    shell.until("| a\u{fffd}]0;owned\u{fffd}");
    shell.answers("| cell\u{fffd}]0;owned\u{fffd}");
    shell.enter("\\q");
    let screen = Arc::clone(&shell.screen);
    assert!(shell.ended().success());
    let screen = screen.lock().unwrap();
    assert!(!screen.contains("\x1b]0;owned"), "{screen:?}");
}

/// A terminal with the shell in it.
struct Terminal {
    shell: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    /// How far the screen was read.
    read: usize,
}

/// What the shell shows when it reads keys again, and before each that it echoes.
const PROMPT: &str = "unlade> ";

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

impl Terminal {
    fn open(folder: &Path, arguments: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
        grantpt(&master).expect("it is ours");
        unlockpt(&master).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let name = name.into_string().expect("it is text");
        let slave = OpenOptions::new().read(true).write(true).open(name);
        let slave = slave.expect("it can be opened");
        let again = || slave.try_clone().expect("it can be shared");
        let mut command = command(folder, arguments);
        command.env("TERM", "xterm").stdin(again()).stdout(again());
        let shell = command.stderr(again()).spawn().expect("it can be started");
        drop((command, slave));
        let keyboard = File::from(master);
        let screen = Arc::<Mutex<String>>::default();
        let mut shown = keyboard.try_clone().expect("it can be shared");
        let on_screen = Arc::clone(&screen);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // What is left of a terminal that nobody has open any more is an error.
            while let Ok(count @ 1..) = shown.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]);
                on_screen
                    .lock()
                    .expect("nobody panics with it")
                    .push_str(&text);
            }
        });
        let mut terminal = Terminal {
            shell,
            keyboard,
            screen,
            read: 0,
        };
        terminal.until(PROMPT);
        terminal
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard
            .write_all(keys.as_bytes())
            .expect("it is open");
    }

    fn enter(&mut self, line: &str) {
        self.type_in(line);
        self.type_in("\r");
    }

    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.shell), Signal::INT).expect("it runs");
    }

    /// Whether something comes to be on the screen, after what was looked for before.
    fn comes(&mut self, text: &str, within: Duration) -> bool {
        let since = Instant::now();
        loop {
            let screen = self.screen.lock().expect("nobody panics with it");
            if let Some(at) = screen[self.read..].find(text) {
                self.read += at + text.len();
                return true;
            }
            drop(screen);
            if since.elapsed() > within {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[track_caller]
    fn until(&mut self, text: &str) {
        let comes = self.comes(text, PATIENCE);
        let screen = self.screen.lock().expect("nobody panics with it");
        assert!(comes, "no `{text}` after\n{}", &screen[self.read..]);
    }

    /// Waits for an answer, and until the next line can be entered.
    #[track_caller]
    fn answers(&mut self, text: &str) {
        self.until(text);
        self.until(PROMPT);
    }

    fn ended(mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.shell.try_wait().expect("it is ours") {
                return status;
            }
            assert!(since.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended where all went well.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
