//! A card at a socket, which somebody else has.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use unlade_dpu::{CannotOpen, Options, connect};

/// Process id and command of this process, as its holder is named.
fn own_name() -> String {
    let command = std::fs::read_to_string("/proc/self/comm").unwrap();
    format!("pid {} {}", std::process::id(), command.trim_end())
}

#[test]
fn a_second_opener_is_told_who_has_the_card() {
    let (card, device) = card([]);
    for _ in 0..2 {
        let Err(CannotOpen::InUse { address, holder }) = connect(card.path(), &Options::default())
        else {
            panic!("the card has two users")
        };
        assert_eq!(address, format!("unix:{}", card.path().display()));
        assert_eq!(holder, own_name());
    }
    works(&device);
    device.close();
    works(&connect(card.path(), &Options::default()).unwrap());
    assert_eq!(card.counters().findings, [""; 0]);
}

#[test]
fn one_that_waits_has_the_card_when_the_other_lets_go_in_time() {
    let (card, device) = card([]);
    thread::scope(|scope| {
        let second = scope.spawn(|| connect(card.path(), &Options::default()));
        // Whether it waits by then or not, it finds the card.
        thread::sleep(Duration::from_millis(100));
        device.close();
        works(&second.join().unwrap().unwrap());
    });
}

/// What keeps quiet, goes away or sends pieces is not waited for, and hinders neither the one that has
/// the card nor the next.
#[test]
fn others_that_say_nothing_hinder_nobody() {
    let (card, device) = card([]);
    let quiet = UnixStream::connect(card.path()).unwrap();
    drop(UnixStream::connect(card.path()).unwrap());
    let mut slow = UnixStream::connect(card.path()).unwrap();
    slow.write_all(&[0, 0, 1]).unwrap();
    works(&device);
    let started = Instant::now();
    for mut stream in [quiet, slow] {
        stream.set_read_timeout(Some(LONG)).unwrap();
        assert_eq!(stream.read(&mut [0; 64]).unwrap(), 0, "it is answered");
    }
    assert!(started.elapsed() < LONG);
    let refused = connect(card.path(), &Options::default()).unwrap_err();
    assert!(matches!(refused, CannotOpen::InUse { .. }), "{refused}");
    works(&device);
}

/// Another client's first message may be shorter than the name.
#[test]
fn a_refusal_is_no_longer_than_the_message_that_it_answers() {
    const HEADER: usize = 16;

    let (card, _device) = card([]);
    for room in [0, 7] {
        let mut stream = UnixStream::connect(card.path()).unwrap();
        let mut message = vec![0; HEADER + room];
        message[..2].copy_from_slice(&[9, 0]);
        message[2] = 1; // VERSION
        message[4] = u8::try_from(message.len()).unwrap();
        stream.write_all(&message).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let (header, why) = answer.split_at(HEADER);
        // Message 9, VERSION, its length, a reply with an error, EBUSY.
        let length = message[4];
        assert_eq!(
            header,
            [9, 0, 1, 0, length, 0, 0, 0, 0x21, 0, 0, 0, 16, 0, 0, 0]
        );
        assert_eq!(why, &own_name().as_bytes()[..room]);
    }
}
