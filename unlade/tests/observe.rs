//! A runtime that is looked on at, over a socket and from a file.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{Int32Array, RecordBatch};
use unlade::observe::{self, MOST_READERS, ObserveError, Reader, Recorded};
use unlade::{Kernel, Query, Runtime, Semantics, col, lit};

/// How long what is to come may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }
}

fn runtime() -> Runtime {
    unlade::runtime().unwrap()
}

fn kernel(runtime: &Runtime) -> (Kernel, RecordBatch) {
    let column: Int32Array = (0..1000).collect();
    let batch = RecordBatch::try_from_iter([("n", Arc::new(column) as _)]).unwrap();
    let query = Query::filter(col("n").lt(lit(10)));
    let kernel = runtime
        .compile(&query, &batch.schema(), &Semantics::arrow())
        .unwrap();
    (kernel, batch)
}

#[track_caller]
fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it did not come to be");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_socket_is_this_users_alone_and_goes_with_the_server() {
    let place = Place::new();
    let socket = place.path("top.sock");
    let runtime = runtime();
    let server = observe::serve(&runtime, &socket).unwrap();
    let metadata = fs::metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(place.files(), ["top.sock"]);
    // A second one does not take it away.
    let error = observe::serve(&runtime, &socket).unwrap_err().to_string();
    assert!(
        error.contains("top.sock is in use") && error.contains("another socket"),
        "{error}"
    );
    Reader::connect(&socket).unwrap().next().unwrap().unwrap();
    drop(server);
    assert!(place.files().is_empty());
    let error = Reader::connect(&socket).unwrap_err();
    assert!(matches!(error, ObserveError::NobodyListens { .. }));
    let said = error.to_string();
    assert!(
        said.contains("top.sock") && said.contains("--top-socket"),
        "{said}"
    );
    // What is no socket stays.
    fs::write(&socket, "mine").unwrap();
    let error = observe::serve(&runtime, &socket).unwrap_err().to_string();
    assert!(error.contains("top.sock exists; remove it"), "{error}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "mine");
}

#[test]
fn readers_see_what_happens_until_the_runtime_ends() {
    let place = Place::new();
    let socket = place.path("top.sock");
    let runtime = runtime();
    let server = observe::serve(&runtime, &socket).unwrap();
    let (kernel, batch) = kernel(&runtime);
    let mut readers: Vec<Reader> = (0..MOST_READERS)
        .map(|_| Reader::connect(&socket).unwrap())
        .collect();
    for reader in &mut readers {
        assert_eq!(reader.next().unwrap().unwrap().devices[0].name, "cpu");
    }
    kernel.run(&batch).unwrap();
    for reader in &mut readers {
        let mut snapshots = reader.map(Result::unwrap);
        let seen = snapshots.find(|it| it.receipts.len() == 1).unwrap();
        let receipt = &seen.receipts[0];
        assert_eq!((receipt.rows_in, receipt.rows_out), (1000, 10));
    }
    // One more is told why it is not served, and the others still are.
    let error = Reader::connect(&socket)
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, ObserveError::TooMany { .. }), "{error}");
    readers[0].next().unwrap().unwrap();
    // Whoever goes makes room.
    drop(readers.pop());
    until(|| {
        let next = Reader::connect(&socket).unwrap().next();
        next.is_some_and(|snapshot| snapshot.is_ok())
    });
    drop((kernel, runtime));
    for reader in &mut readers {
        assert!(
            reader.all(|snapshot| snapshot.is_ok()),
            "it ends without an error"
        );
    }
    drop(server);
}

#[test]
fn a_reader_that_does_not_read_holds_up_nobody() {
    let place = Place::new();
    let socket = place.path("top.sock");
    let runtime = runtime();
    let server = observe::serve(&runtime, &socket).unwrap();
    let (kernel, batch) = kernel(&runtime);
    // A snapshot is a megabyte, far more than a socket holds, and nobody takes any.
    let _sessions: Vec<_> = (0..256)
        .map(|_| runtime.session("x".repeat(4096)).open().unwrap())
        .collect();
    let lazy: Vec<UnixStream> = (0..MOST_READERS - 1)
        .map(|_| UnixStream::connect(&socket).unwrap())
        .collect();
    let mut reader = Reader::connect(&socket).unwrap();
    let start = Instant::now();
    for _ in 0..10_000 {
        kernel.run(&batch).unwrap();
    }
    let parts = |reader: &mut Reader| reader.next().unwrap().unwrap().devices[0].parts;
    until(|| parts(&mut reader) == 10_000);
    assert!(start.elapsed() < PATIENCE);
    // The end of the server does not wait until they are given up.
    let start = Instant::now();
    drop(server);
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    drop(lazy);
}

#[test]
fn what_a_killed_process_left_is_taken_over() {
    let place = Place::new();
    let socket = place.path("top.sock");
    // It is bound, and nobody listens any more.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let runtime = runtime();
    let _server = observe::serve(&runtime, &socket).unwrap();
    assert_eq!(place.files(), ["top.sock"]);
    Reader::connect(&socket).unwrap().next().unwrap().unwrap();
}

#[test]
fn who_says_nothing_is_given_up_and_named() {
    let place = Place::new();
    let socket = place.path("top.sock");
    // Somebody listens, and does nothing.
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mut reader = Reader::connect(&socket).unwrap();
    assert_eq!(reader.process(), Some(std::process::id()));
    reader
        .wait_at_most(Some(Duration::from_millis(20)))
        .unwrap();
    let error = reader.next().unwrap().unwrap_err();
    let said = error.to_string();
    let ObserveError::Silent {
        process, waited, ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(process, Some(std::process::id()));
    assert_eq!(waited, Duration::from_millis(20));
    let wake = format!("`kill -CONT {}`", std::process::id());
    assert!(said.contains(&wake) && said.contains("top.sock"), "{said}");
    assert!(reader.next().is_none(), "there is nothing after an error");
    let none = Some(Duration::ZERO);
    assert!(matches!(
        reader.wait_at_most(none),
        Err(ObserveError::Io { .. })
    ));
    drop(listener);
}

#[test]
fn a_path_that_is_too_long_is_said_to_be() {
    let long = "x".repeat(200);
    let error = observe::serve(&runtime(), Path::new(&long))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with(&long), "{error}");
}

#[test]
fn a_recording_has_all_up_to_the_end() {
    let place = Place::new();
    let file = place.path("top.jsonl");
    let runtime = runtime();
    let recording = observe::record(&runtime, &file).unwrap();
    let (kernel, batch) = kernel(&runtime);
    for _ in 0..3 {
        kernel.run(&batch).unwrap();
    }
    recording.finish().unwrap();
    let mut recorded = Recorded::open(&file).unwrap();
    assert!(recorded.cut_off().is_none());
    let last = recorded.len() - 1;
    let snapshot = recorded.get(last).unwrap();
    assert_eq!((snapshot.receipts.len(), snapshot.devices[0].parts), (3, 3));
    // In whatever order.
    assert!(recorded.get(0).unwrap().at_ns < snapshot.at_ns);
    assert_eq!(recorded.get(last).unwrap(), snapshot);
    let error = observe::record(&runtime, &place.path("no/where")).unwrap_err();
    assert!(
        error.to_string().contains("no/where: cannot write"),
        "{error}"
    );
}

/// What is wrong with a file is said with its name and the line.
#[test]
fn files_that_are_no_recordings_are_refused() {
    let place = Place::new();
    let file = place.path("top.jsonl");
    let runtime = runtime();
    observe::record(&runtime, &file).unwrap().finish().unwrap();
    let whole = fs::read_to_string(&file).unwrap();
    let line = whole.lines().next().unwrap();
    let refused = |text: &str| {
        let path = place.path("other.jsonl");
        fs::write(&path, text).unwrap();
        let error = Recorded::open(&path).unwrap_err();
        assert!(error.to_string().contains("other.jsonl"), "{error}");
        error
    };
    let newer = line.replacen("\"version\":1", "\"version\":2", 1);
    assert_ne!(newer, line);
    let error = refused(&format!("{newer}\n"));
    let ObserveError::Version {
        found,
        known,
        line: at,
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((found, known, at), (2, 1, 1));
    let no_lines = ["", "hello", "{\"record\":1"];
    let lines = ["a,b\n1,2\n", "{}\n", "{\"version\":1}\n", "\n"];
    for text in lines.into_iter().chain(no_lines) {
        let error = refused(text);
        assert!(
            matches!(error, ObserveError::NotASnapshot { line: 1, .. }),
            "{text}: {error}"
        );
        assert!(error.to_string().contains("--record-top"), "{error}");
    }
    for text in [&line[..1], &line[..line.len() / 2]] {
        assert!(
            matches!(refused(text), ObserveError::Truncated { line: 1, .. }),
            "{text}"
        );
    }
    let endless = "x".repeat(5 << 20);
    assert!(matches!(
        refused(&endless),
        ObserveError::NotASnapshot { .. }
    ));

    // Cut off at any place, what comes before it can be had.
    let two = format!("{line}\n{line}\n");
    for end in [line.len() + 2, line.len() * 3 / 2, two.len() - 1] {
        let path = place.path("cut.jsonl");
        fs::write(&path, &two[..end]).unwrap();
        let mut recorded = Recorded::open(&path).unwrap();
        assert_eq!(recorded.len(), 1);
        recorded.get(0).unwrap();
        let cut_off = recorded.cut_off().unwrap().to_string();
        assert!(
            cut_off.contains("cut.jsonl: line 2 is cut off"),
            "{cut_off}"
        );
    }
    // A later line is looked at when it is asked for.
    let path = place.path("mixed.jsonl");
    fs::write(&path, format!("{line}\n{newer}\n")).unwrap();
    let mut recorded = Recorded::open(&path).unwrap();
    let error = recorded.get(1).unwrap_err();
    assert!(
        matches!(error, ObserveError::Version { line: 2, .. }),
        "{error}"
    );
}

/// Nobody need link anything of ours: it is lines of JSON.
#[test]
fn the_socket_speaks_lines_of_json() {
    let place = Place::new();
    let socket = place.path("top.sock");
    let runtime = runtime();
    let server = observe::serve(&runtime, &socket).unwrap();
    let mut stream = UnixStream::connect(&socket).unwrap();
    // What a reader says is of no interest.
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut some = [0; 1];
    while !text.ends_with('\n') {
        stream.read_exact(&mut some).unwrap();
        text.push(some[0].into());
    }
    assert!(text.starts_with("{\"version\":1,\"process\":"), "{text}");
    drop(server);
}
