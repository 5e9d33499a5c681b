//! Ctrl-C, wherever the command is: it ends, soon, and runs nothing more.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{command, folder};

/// A table whose rows are more than a pipe holds, printed when all of them are there.
const MUCH: &str = "SELECT repeat('x', 100) AS wide FROM generate_series(1, 4000)";

#[test]
fn between_statements() {
    let folder = folder();
    let together = format!("{MUCH}; SELECT 'and ' || 'more'");
    for statements in [
        &["-c", &together][..],
        &["-c", MUCH, "-c", "SELECT 'and ' || 'more'"],
    ] {
        let mut command = command(folder.path(), &["--format=table", "--max-rows=4000"]);
        command
            .args(statements)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command can be started");
        let mut out = child.stdout.take().expect("it is a pipe");
        // From here on it waits for somebody to read the rest.
        let mut text = vec![0];
        out.read_exact(&mut text).expect("it prints rows");
        interrupt(&child);
        thread::sleep(Duration::from_millis(500));
        out.read_to_end(&mut text).expect("it prints rows");
        let text = String::from_utf8(text).expect("it is text");
        let mut error = String::new();
        let mut err = child.stderr.take().expect("it is a pipe");
        err.read_to_string(&mut error).expect("it is text");
        assert_eq!(ended(child).code(), Some(130), "{statements:?}: {error}");
        assert!(error.ends_with("error: interrupted\n"), "{error}");
        assert!(!text.contains("and more"), "{statements:?}");
    }
}

#[test]
fn while_a_script_is_read() {
    let folder = folder();
    let sql = command(folder.path(), &[]);
    // Tests that run behind a shell's `&` are started with Ctrl-C ignored, and so would be what they start.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(sql.get_program());
    command.current_dir(folder.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the command can be started");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let script = format!("SELECT 1 AS one; {}", " ".repeat(1 << 18));
    // That is more than a pipe holds, so that it reads.
    stdin.write_all(script.as_bytes()).expect("it is read");
    interrupt(&child);
    drop(stdin);
    let mut text = String::new();
    let mut out = child.stdout.take().expect("it is a pipe");
    out.read_to_string(&mut text).expect("it is text");
    assert_eq!((ended(child).signal(), &*text), (Some(2), ""));
}

#[test]
fn while_a_file_waits_that_is_a_pipe() {
    let folder = folder();
    let pipe = folder.path().join("pipe.csv");
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, &pipe, FileType::Fifo, mode, 0).expect("a pipe can be made");
    let sql = "SELECT 1 AS one; \
               CREATE EXTERNAL TABLE t (a INT) STORED AS CSV LOCATION 'pipe.csv'; SELECT * FROM t";
    let mut command = command(folder.path(), &["-c", sql]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the command can be started");
    let mut out = child.stdout.take().expect("it is a pipe");
    out.read_exact(&mut [0]).expect("it prints a row");
    // Nobody writes: with that it opens the pipe, and waits.
    thread::sleep(Duration::from_millis(500));
    interrupt(&child);
    assert_eq!(ended(child).code(), Some(130));
}

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).expect("it runs");
}

#[track_caller]
fn ended(mut child: Child) -> ExitStatus {
    let since = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it is ours") {
            return status;
        }
        if since.elapsed() > PATIENCE {
            child.kill().expect("it is ours");
            panic!("it does not end");
        }
        thread::sleep(Duration::from_millis(10));
    }
}
