//! What the command says, and how it ends where it cannot start.

use std::net::{Ipv4Addr, TcpListener};

use crate::cluster::{command, free_ports};

/// Runs the command to its end: exit code, and standard error.
fn ends(arguments: &[&str]) -> (Option<i32>, String) {
    let output = command()
        .args(arguments)
        .output()
        .expect("it can be started");
    let text = String::from_utf8(output.stderr).expect("it is text");
    (output.status.code(), text)
}

#[test]
fn help_says_what_there_is() {
    let output = command().arg("--help").output().expect("it can be started");
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).expect("it is text");
    for word in [
        "--scheduler",
        "--devices",
        "--task-device",
        "SIGTERM",
        "DISTRIBUTED.md",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn what_keeps_it_from_starting_is_said() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let missing = folder.path().join("none/receipts.jsonl");
    let missing = missing.to_str().expect("its name is text");
    let nobody = format!("127.0.0.1:{}", free_ports()[0]);
    let of = |more: &[&str]| {
        let given = [&["--scheduler", &nobody, "--wait", "0"], more].concat();
        ends(&given)
    };
    for (more, code, words) in [
        (vec!["--devices", "tpu"], 2, "--devices: no device `tpu`"),
        (
            vec!["--devices", "cpu", "--task-device", "gpu=0.5"],
            4,
            "there is no `gpu`",
        ),
        (
            vec!["--task-device", "gpu=1.5"],
            2,
            "part of one device or whole devices",
        ),
        (
            vec!["--devices", "cpu", "--set", "unlade.mode=never"],
            2,
            "--set unlade.mode",
        ),
        (vec!["--receipts", missing], 3, "receipts.jsonl"),
        (vec!["--task-slots", "0"], 2, "--task-slots"),
        (vec!["--devices", "cpu"], 4, "nobody answered there"),
    ] {
        let (ended, said) = of(&more);
        assert_eq!(ended, Some(code), "{more:?}: {said}");
        assert!(said.contains(words), "{more:?}: {said}");
    }
    let (ended, said) = ends(&[]);
    assert_eq!(ended, Some(2), "{said}");
    assert!(said.contains("--scheduler"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let given = [
        "--scheduler",
        "127.0.0.1:9",
        "--devices",
        "cpu",
        "--grpc-port",
        &port,
    ];
    let (ended, said) = ends(&given);
    assert_eq!(ended, Some(4), "{said}");
    assert!(said.contains("--grpc-port: 127.0.0.1:"), "{said}");
}
