//! A card at a socket that another process has.

use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::sim_dpu::Served;
use crate::support::Place;

/// Far longer than a process takes to connect.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_process_is_told_which_other_has_the_card() {
    let place = Place::new();
    let _served = Served::start(&place, &[]);
    // Whoever is connected has the card, be it that it says nothing.
    let holder = UnixStream::connect(place.path("card.sock")).unwrap();
    let own = std::fs::read_to_string("/proc/self/comm").unwrap();
    let pid = std::process::id();
    let named = format!("unix:card.sock is in use by pid {pid} {};", own.trim_end());
    let list = ["devices", "--device", "dpu:unix:card.sock"];
    place.run(&list).failure(4, &[&named]);
    drop(holder);
    place.run(&list).success();
}

/// Of two commands at once the second names the first.
#[test]
fn a_command_is_told_which_other_command_has_the_card() {
    let place = Place::new();
    place.table("in.parquet", 0, 5000);
    let _served = Served::start(&place, &[]);
    let query = ["run", "-", "--device", "dpu:unix:card.sock", "-o", "-"];
    let mut first = Ended(
        place
            .command(&query)
            .stdin(Stdio::piped()) // which it waits for
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let started = Instant::now();
    let named = format!("is in use by pid {} unlade", first.0.id());
    loop {
        let listed = place.run(&["devices", "--device", "dpu:unix:card.sock"]);
        if listed.err.contains(&named) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{}{}", listed.out, listed.err);
        thread::sleep(Duration::from_millis(20));
    }
    first.0.kill().unwrap();
}

/// Two processes at once on one card, each by a virtual function of its own.
#[test]
fn commands_share_a_card_by_its_virtual_functions() {
    let place = Place::new();
    place.table("in.parquet", 0, 5000);
    let _served = Served::start(&place, &["--functions", "2"]);
    let query = ["run", "-", "--device", "dpu:unix:card.sock.1", "-o", "-"];
    let mut first = Ended(
        place
            .command(&query)
            .stdin(Stdio::piped()) // which it waits for
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let listed = |socket: &str| place.run(&["devices", "--device", &format!("dpu:unix:{socket}")]);
    let named = format!("is in use by pid {} unlade", first.0.id());
    let started = Instant::now();
    while !listed("card.sock.1").err.contains(&named) {
        assert!(started.elapsed() < PATIENCE, "the first has not opened it");
        thread::sleep(Duration::from_millis(20));
    }
    // The other function is free, and says which it is.
    let other = listed("card.sock.2").success();
    assert!(other.contains("virtual function 2"), "{other}");
    let on = |device: &str| {
        let query = [
            "run",
            "in.parquet",
            "--where",
            "n >= 41",
            "--no-fallback",
            "-o",
            "-",
        ];
        let rest = ["--format", "csv", "--device", device];
        place.run(&[&query[..], &rest].concat()).success()
    };
    assert_eq!(on("dpu:unix:card.sock.2"), on("cpu"));
    assert!(
        first.0.try_wait().unwrap().is_none(),
        "it still has the first"
    );
    first.0.kill().unwrap();
    let there = place.run(&["devices", "--device", "dpu:unix:card.sock"]);
    let functions = "virtual functions have theirs beside it: card.sock.1 to card.sock.2";
    there.failure(4, &[functions, "is it `dpu:unix:card.sock.1`?"]);
}

/// A process that has ended when this is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
