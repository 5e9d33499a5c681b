//! Programs that look for mistakes: each ends with `done`, plainly and under AddressSanitizer.

use crate::build::{Mode, build, run};
use crate::examples::parquet;

fn ends_well(source: &str, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    for mode in [Mode::Plain, Mode::Sanitized] {
        let program = build(
            &format!("tests/programs/{source}"),
            &[],
            mode,
            folder.path(),
        );
        let printed = run(&program, words);
        assert!(printed.ends_with("done\n"), "{mode:?}: {printed}");
    }
}

#[test]
fn misuse_is_an_error() {
    ends_well("misuse.c", &[]);
}

#[test]
fn nothing_is_copied_at_the_border() {
    ends_well("addresses.c", &[]);
}

#[test]
fn queries_go_between_processes_as_bytes() {
    ends_well("wire.c", &["1", "20000"]);
}

#[test]
fn functions_of_cs_are_called_and_looked_after() {
    let folder = tempfile::tempdir().unwrap();
    // As of `every_device_gives_the_same_result`.
    let runs = [
        (Mode::Plain, &["cpu", "sim-gpu", "sim", "sim-dpu"][..]),
        (Mode::Sanitized, &["cpu", "sim-gpu", "sim"][..]),
    ];
    for (mode, devices) in runs {
        let program = build("tests/programs/functions.c", &[], mode, folder.path());
        for device in devices {
            assert_eq!(run(&program, &[device]), "done\n", "{mode:?}, {device}");
        }
    }
}

#[test]
fn who_is_called_is_not_left_waiting() {
    ends_well("waits.c", &[]);
}

#[test]
fn streams_are_read_to_their_end() {
    ends_well("stream.c", &[]);
}

/// What pyarrow has serialised, `a > 100`, and what it is damaged to.
#[test]
#[cfg(feature = "substrait")]
fn pyarrows_expressions_are_queries() {
    let message = crate::build::crate_root();
    let message = message.join("../../kernels/substrait/tests/pyarrow/gt.bin");
    ends_well("substrait.c", &[&message.display().to_string()]);
}

#[test]
fn every_device_gives_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    // What a card may still touch is abandoned when the card is dropped, which counts as a leak.
    let runs = [
        (Mode::Plain, &["sim-gpu", "sim", "sim-dpu"][..]),
        (Mode::Sanitized, &["sim-gpu", "sim"][..]),
    ];
    for (mode, devices) in runs {
        let program = build("tests/programs/devices.c", &[], mode, folder.path());
        let printed = run(&program, devices);
        assert!(printed.ends_with("done\n"), "{mode:?}: {printed}");
        assert_eq!(printed.lines().count(), devices.len() + 2, "{printed}");
    }
}

#[test]
fn files_are_streams_of_the_columns_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = parquet(folder.path(), 0);
    ends_well("scan.c", &[&file.display().to_string()]);
}

#[test]
fn threads_call_one_kernel_at_once() {
    ends_well("threads.c", &[]);
}

#[test]
fn two_engines_share_one_runtime() {
    ends_well("shared.c", &[]);
}

#[test]
fn a_forked_child_is_told() {
    ends_well("fork.c", &[]);
}

#[test]
#[cfg(feature = "device-data")]
fn arrays_say_where_their_memory_is() {
    ends_well("device.c", &[]);
}

#[test]
#[cfg(feature = "device-data")]
fn batches_in_a_gpus_memory_are_brought_to_the_host() {
    ends_well("gpu_memory.c", &[]);
}

#[test]
#[cfg(feature = "device-data")]
fn batches_in_a_gpus_memory_end_as_they_may_where_it_is_late_or_lost() {
    in_trouble("gpu_trouble.c", "copies");
}

#[test]
#[cfg(feature = "device-data")]
fn what_is_exported_outlives_eviction_and_the_loss_of_its_device() {
    in_trouble("held.c", "at work");
}

/// Runs a program on a driver that fails as the program says. With this word it has the GPU lost in ways in
/// which that may still touch memory, which is never released then: that counts as a leak.
#[cfg(feature = "device-data")]
fn in_trouble(source: &str, word: &str) {
    use crate::build::{driver_between, run_on};

    let folder = tempfile::tempdir().unwrap();
    let driver = driver_between("tests/programs/between.c", folder.path());
    for (mode, words) in [(Mode::Plain, &[word][..]), (Mode::Sanitized, &[])] {
        let source = format!("tests/programs/{source}");
        let program = build(&source, &[], mode, folder.path());
        assert_eq!(run_on(&driver, &program, words), "done\n", "{mode:?}");
    }
}

#[test]
#[cfg(feature = "device-data")]
fn pinned_data_is_run_on_where_it_lies_and_exported() {
    on_devices_with_memory("resident.c");
}

#[test]
#[cfg(feature = "device-data")]
fn strings_and_dictionaries_of_pinned_data_are_exported() {
    on_devices_with_memory("exported.c");
}

/// Runs a program where batches can be pinned.
#[cfg(feature = "device-data")]
fn on_devices_with_memory(source: &str) {
    let folder = tempfile::tempdir().unwrap();
    for mode in [Mode::Plain, Mode::Sanitized] {
        let source = format!("tests/programs/{source}");
        let program = build(&source, &[], mode, folder.path());
        for words in [["sim", "sim"], ["sim-gpu", "sim-gpu:0"]] {
            assert_eq!(run(&program, &words), "done\n", "{mode:?}, {words:?}");
        }
    }
}

/// `UNLADE_SEED` and `UNLADE_FUZZ_CASES` choose others.
#[test]
fn mutated_arrays_are_refused() {
    let chosen = |variable: &str, usual: &str| std::env::var(variable).unwrap_or(usual.to_owned());
    let (seed, cases) = (
        chosen("UNLADE_SEED", "1"),
        chosen("UNLADE_FUZZ_CASES", "20000"),
    );
    let folder = tempfile::tempdir().unwrap();
    for mode in [Mode::Plain, Mode::Sanitized] {
        let program = build("tests/programs/mutate.c", &[], mode, folder.path());
        let printed = run(&program, &[&seed, &cases]);
        // Nearly all of them: a few change nothing, or something that does not matter.
        let refused = printed.split(' ').next().and_then(|word| word.parse().ok());
        let (refused, cases): (u64, u64) = (refused.unwrap(), cases.parse().unwrap());
        assert!(refused > cases / 2, "seed {seed}: {printed}");
        assert!(printed.ends_with("done\n"), "seed {seed}: {printed}");
    }
}

/// What the other tests rest on: that a leak of the library's memory is found where there is one.
#[test]
fn a_leak_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let source = "tests/programs/leak.c";
    let program = build(source, &[], Mode::Sanitized, folder.path());
    let out = std::process::Command::new(program).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success(), "{said}");
    assert!(
        said.contains("LeakSanitizer: detected memory leaks"),
        "{said}"
    );
}
