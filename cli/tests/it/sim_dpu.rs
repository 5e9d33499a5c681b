//! `--device sim-dpu`, and `unlade card` with `--device dpu:unix:PATH`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::Place;

const QUERY: [&str; 6] = [
    "run",
    "in.parquet",
    "--where",
    "n >= 41",
    "--select",
    "n + 1 as m, Name",
];

/// The query on a device and nowhere else, as CSV.
fn on(place: &Place, device: &str) -> String {
    let rest = [
        "--device",
        device,
        "--no-fallback",
        "-o",
        "-",
        "--format",
        "csv",
    ];
    let ran = place.run(&[&QUERY[..], &rest].concat());
    if device != "cpu" {
        assert!(ran.err.contains(device), "{}", ran.err);
    }
    ran.success()
}

/// A card that is served by another process, until it is dropped.
pub(crate) struct Served(Child);

impl Served {
    pub(crate) fn start(place: &Place, arguments: &[&str]) -> Self {
        let command = ["card", "--socket", "card.sock"];
        let mut command = place.command(&[&command[..], arguments].concat());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let err = child.stderr.take().unwrap();
        BufReader::new(err).read_line(&mut said).unwrap();
        assert!(said.contains("--device dpu:unix:card.sock"), "{said}");
        Served(child)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_query_runs_on_the_simulated_card_and_leaves_nothing() {
    let place = Place::new();
    place.table("in.parquet", 0, 5000);
    let temporary = place.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let query = [
        &QUERY[..],
        &["--device", "sim-dpu", "--no-fallback", "-o", "-"],
    ]
    .concat();
    let temporary = temporary.to_str().unwrap();
    let ran = place.run_with(
        &[("TMPDIR", temporary)],
        &[&query[..], &["--format", "csv"]].concat(),
    );
    assert!(ran.err.contains("sim-dpu"), "{}", ran.err);
    assert_eq!(ran.success(), on(&place, "cpu"));
    let left = std::fs::read_dir(temporary).unwrap().count();
    assert_eq!(left, 0, "its socket is gone");
    let untrusted = [&query[..], &["--format", "csv", "--untrusted"]].concat();
    assert_eq!(place.run(&untrusted).success(), on(&place, "cpu"));
    // What its process would log is nothing that it has to say.
    let ran = place.run_with(&[("UNLADE_LOG", "info")], &query);
    assert!(!ran.err.contains("its process says"), "{}", ran.err);
    ran.success();
}

#[test]
fn a_card_that_is_served_is_used_and_listed_and_ends_when_asked() {
    let place = Place::new();
    place.table("in.parquet", 0, 5000);
    let mut served = Served::start(&place, &[]);
    let expected = on(&place, "cpu");
    for _ in 0..2 {
        assert_eq!(on(&place, "dpu:unix:card.sock"), expected);
    }
    let listed = place.run(&["devices", "--device", "dpu:unix:card.sock"]);
    let listed = listed.success();
    assert!(
        listed.contains("simulator") && listed.contains("temperature 45"),
        "{listed}"
    );
    place
        .run(&["card", "--socket", "card.sock"])
        .failure(4, &["card.sock is in use", "name another socket"]);
    let pid = served.0.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    assert!(served.0.wait().unwrap().success());
    assert!(!place.path("card.sock").exists());
    place
        .run(&["devices", "--device", "dpu:unix:card.sock"])
        .failure(4, &["card.sock", "unlade card --socket"]);
}

#[test]
fn what_no_card_can_be_at_is_said_with_what_can() {
    let place = Place::new();
    let long = format!("{}/card.sock", "x".repeat(120));
    let at_long = format!("dpu:unix:{long}");
    for (code, command, said) in [
        (
            2,
            ["card", "--socket", &long],
            ["--socket: xxx", "130 bytes", "107 bytes at most"],
        ),
        (
            4,
            ["card", "--socket", "absent/card.sock"],
            [
                "absent/card.sock: cannot make a socket",
                "there is no folder absent",
                "make that, or name another",
            ],
        ),
        (
            4,
            ["devices", "--device", &at_long],
            ["unix:xxx", "130 bytes", "107 bytes at most"],
        ),
        (
            2,
            ["devices", "--device", "dpu:zzz"],
            [
                "--device: ",
                "`zzz` is no PCI address",
                "unix: and a socket's path",
            ],
        ),
        (
            2,
            ["devices", "--device", "dpu:"],
            [
                "--device: `dpu:` names no card",
                "dpu:unix:PATH",
                "dpu:0000",
            ],
        ),
        (
            2,
            ["devices", "--device", "dpu:unix:"],
            [
                "--device: `dpu:unix:` names no card",
                "dpu:unix:PATH",
                "dpu:0000",
            ],
        ),
        (
            4,
            ["devices", "--device", "dpu:unix:/etc/hostname"],
            [
                "/etc/hostname: it is no socket but a file",
                "name the socket of a card",
                "unlade card --socket PATH",
            ],
        ),
        (
            4,
            ["devices", "--device", "dpu:unix:/etc"],
            ["/etc: it is no socket but a folder", "--device: ", "card"],
        ),
        (
            2,
            ["devices", "--device", "dpu"],
            ["no device `dpu`", "dpu:unix:PATH", "dpu:PCI-ADDRESS"],
        ),
    ] {
        place.run(&command).failure(code, &said);
    }
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn a_socket_that_a_killed_card_left_is_taken_over_and_nothing_else_is() {
    let place = Place::new();
    place.table("in.parquet", 0, 100);
    drop(Served::start(&place, &[])); // killed
    assert!(place.path("card.sock").exists(), "nothing is left to take");
    let served = Served::start(&place, &[]);
    assert_eq!(on(&place, "dpu:unix:card.sock"), on(&place, "cpu"));
    // One that serves somebody is asked, and not disturbed.
    let again = ["card", "--socket", "card.sock"];
    place.run(&again).failure(4, &["card.sock is in use"]);
    assert_eq!(on(&place, "dpu:unix:card.sock"), on(&place, "cpu"));
    drop(served);
    let other = ["card", "--socket", "in.parquet"];
    place.run(&other).failure(4, &["in.parquet exists"]);
    std::os::unix::fs::symlink("card.sock", place.path("link")).unwrap();
    let link = ["card", "--socket", "link"];
    place.run(&link).failure(4, &["link exists"]);
    assert!(place.path("card.sock").exists() && place.path("in.parquet").is_file());
}

#[test]
fn of_several_cards_that_take_over_a_socket_one_serves() {
    let place = Place::new();
    place.table("in.parquet", 0, 100);
    for _ in 0..3 {
        drop(Served::start(&place, &[])); // killed
        let start = |_| {
            let mut card = place.command(&["card", "--socket", "card.sock"]);
            let card = card.stderr(Stdio::piped()).spawn().unwrap();
            Served(card)
        };
        let mut cards: Vec<Served> = (0..4).map(start).collect();
        let said: Vec<bool> = cards
            .iter_mut()
            .map(|card| {
                let mut said = String::new();
                let err = card.0.stderr.take().unwrap();
                BufReader::new(err).read_line(&mut said).unwrap();
                let serves = said.contains("--device dpu:unix:card.sock");
                assert!(serves || said.contains("card.sock"), "{said}");
                serves
            })
            .collect();
        assert_eq!(said.iter().filter(|serves| **serves).count(), 1, "{said:?}");
        assert_eq!(on(&place, "dpu:unix:card.sock"), on(&place, "cpu"));
        let left: Vec<String> = place.files();
        assert_eq!(left, ["card.sock", "in.parquet"]);
    }
}

#[test]
fn jobs_that_go_wrong_are_done_elsewhere_with_the_same_result() {
    let place = Place::new();
    place.table("in.parquet", 0, 20_000);
    let _served = Served::start(&place, &["--faults", "3"]);
    let rest = [
        "--device",
        "dpu:unix:card.sock",
        "--batch-rows",
        "512",
        "-o",
        "-",
        "--format",
        "csv",
    ];
    let ran = place.run(&[&QUERY[..], &rest].concat());
    assert!(ran.err.contains("device fault"), "{}", ran.err);
    assert!(
        ran.err.contains("on cpu, dpu:unix:card.sock"),
        "{}",
        ran.err
    );
    assert_eq!(ran.success(), on(&place, "cpu"));
}

#[test]
fn what_a_card_does_is_said_where_that_is_asked_for() {
    let place = Place::new();
    place.table("in.parquet", 0, 20_000);
    let said = |arguments: &[&str]| {
        let err = File::create(place.path("said")).unwrap();
        let command = ["card", "--socket", "card.sock", "--faults", "3"];
        let mut card = place.command(&[&command[..], arguments].concat());
        let mut card = Served(card.stderr(err).spawn().unwrap());
        let serves = || std::fs::read_to_string(place.path("said")).unwrap() != "";
        let mut looks = (0..1000).map(|_| thread::sleep(Duration::from_millis(10)));
        assert!(looks.any(|()| serves()), "it does not serve");
        let rest = ["--device", "dpu:unix:card.sock", "--batch-rows", "512"];
        let rest = [&rest[..], &["-o", "out.csv"]].concat();
        place.run(&[&QUERY[..], &rest].concat()).success();
        let pid = card.0.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert!(card.0.wait().unwrap().success());
        std::fs::read_to_string(place.path("said")).unwrap()
    };
    let verbose = said(&["-v"]);
    let mut rest = &*verbose;
    // In this order.
    for words in [
        "a simulated card is served",
        " unlade is connected",
        "card.sock: job ",
        " goes wrong: ",
        " unlade has gone: ",
        " jobs done, 0 trapped, 0 failed",
        "card.sock: it ends: ",
        " in all; ",
    ] {
        let found = rest.split_once(words);
        rest = found
            .unwrap_or_else(|| panic!("`{words}` is missing in: {verbose}"))
            .1;
    }
    let plain = said(&[]);
    assert!(!plain.contains("job"), "{plain}");
}

#[test]
fn of_a_card_that_filters_no_more_is_counted_than_it_has_written() {
    let place = Place::new();
    place.table("in.parquet", 0, 5000);
    let query = ["run", "in.parquet", "--where", "n < 100", "--select"];
    let rest = ["n + 1 as m", "--device", "sim-dpu", "--no-fallback"];
    let reports = ["-o", "out.csv", "--receipts", "r.json"];
    place.run(&[&query[..], &rest, &reports].concat()).success();
    let text = std::fs::read_to_string(place.path("r.json")).unwrap();
    let receipts: serde_json::Value = serde_json::from_str(&text).unwrap();
    let totals = &receipts["totals"];
    assert_eq!(totals["rows_out"], 100);
    // The rows kept, whatever there was room for.
    assert_eq!(totals["bytes_from_device"], 100 * 4);
}

/// The command ends with an error while the card works on other batches. That is not the card's fault.
#[test]
fn an_error_in_the_data_is_no_fault_of_the_card() {
    let place = Place::new();
    place.table("in.parquet", 0, 200_000);
    for _ in 0..40 {
        let ran = place.run(&[
            "run",
            "in.parquet",
            "--select",
            "square / (n - 2464) as x",
            "--device",
            "sim-dpu",
            "--batch-rows",
            "8192",
            "--no-fallback",
            "-o",
            "out.arrows",
        ]);
        assert!(ran.err.contains("divides by zero"), "{}", ran.err);
        assert!(!ran.err.contains("fault"), "{}", ran.err);
    }
}

#[test]
fn a_card_of_no_known_kind_is_refused() {
    let place = Place::new();
    let wrong = ["card", "--socket", "card.sock", "--profile", "nope"];
    place
        .run(&wrong)
        .failure(2, &["`nope`", "full, narrow, small"]);
}
