//! What was measured on devices is kept between runs.

mod common;
mod disguised;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchIterator};
use common::{batch, builder, compile, query};
use disguised::Disguised;
use unlade_runtime::placement::{CALIBRATION_VERSION, Objective};
use unlade_runtime::{Kernel, Reason, Runtime};
use unlade_sim_device::{Profile, SimDevice};

fn input() -> RecordBatch {
    let numbers = Int64Array::from_iter_values(0..200_000);
    batch(vec![("n", Arc::new(numbers) as ArrayRef)])
}

/// A runtime with a device that is far slower than a GPU is held to be.
fn runtime(gpu: &str, file: &Path) -> Runtime {
    let sim = SimDevice::builder(Profile::gpu()).name(gpu).build();
    let gpu = Disguised::new(sim, Duration::from_millis(30));
    let builder = builder().device(Arc::new(gpu)).calibration(file);
    builder.build().unwrap()
}

fn kernel(runtime: &Runtime) -> Kernel {
    let heavy = "n % 7 * 3 + n % 11 * 5 + n % 13 > 80";
    compile(runtime, &query("n", heavy), &input().schema())
}

#[test]
fn placement_spares_the_hosts_processor_where_it_is_told_to() {
    // Far more on the processor than what is staged for a device, which takes longer. A machine that
    // does much else may have a thread wait while it stages, which a runtime then believes for a while.
    let spares = (0..4).any(|_| spared_of_thirty() > 15);
    assert!(spares, "four runtimes computed half of it on the processor");
}

/// How many batches went to a slow device for the sake of the processor.
fn spared_of_thirty() -> usize {
    let sim = SimDevice::builder(Profile::gpu()).name("gpu:a").build();
    let gpu = Disguised::new(sim, Duration::from_millis(30));
    let builder = builder().device(Arc::new(gpu));
    let runtime = builder.objective(Objective::HostCpu).build().unwrap();
    let spares = |_: &u32| {
        let mut parts = kernel(&runtime).run(&input()).unwrap().receipt.parts;
        let part = parts.swap_remove(0);
        &*part.device == "gpu:a" && part.reason == Reason::SparesHost
    };
    (0..30).filter(spares).count()
}

/// What each device is predicted to take to compute, in nanoseconds.
fn predicted(runtime: &Runtime) -> Vec<u64> {
    predicted_of(&kernel(runtime))
}

fn predicted_of(kernel: &Kernel) -> Vec<u64> {
    let candidates = kernel.explain().candidates;
    let compute = |candidate: &unlade_runtime::Candidate| {
        let compute = candidate.cost.iter().find(|term| term.term == "compute");
        compute.expect("there is a choice").nanos
    };
    candidates.iter().map(compute).collect()
}

#[test]
fn what_was_measured_is_known_in_the_next_run_on_the_same_hardware() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("made/on the way/calibration.json");
    let first = runtime("gpu:a", &file);
    let guessed = predicted(&first);
    assert!(!file.exists() && !first.has_placed());
    let batches: Vec<_> = (0..12).map(|_| Ok(input())).collect();
    let reader = RecordBatchIterator::new(batches, input().schema());
    let kernel = kernel(&first);
    assert!(kernel.stream(reader).all(|output| output.is_ok()));
    assert!(first.has_placed());
    // Until then threads of the stream may measure more.
    first.shutdown(Duration::from_secs(20));
    assert!(file.exists());
    let learnt = predicted_of(&kernel);
    assert!(learnt[1] > 2 * guessed[1], "{guessed:?}, {learnt:?}");

    let second = runtime("gpu:a", &file);
    for (known, learnt) in predicted(&second).into_iter().zip(learnt) {
        let ratio = known as f64 / learnt as f64;
        assert!((0.5..2.0).contains(&ratio), "{known} ns, had been {learnt}");
    }
    let other = predicted(&runtime("gpu:b", &file));
    assert_eq!(other[1], guessed[1], "another device is not known");
    assert_ne!(other[0], guessed[0], "but the processor is");
}

#[test]
fn a_file_that_is_of_no_use_is_passed_over_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calibration.json");
    let guessed = predicted(&runtime("gpu:a", &folder.path().join("none")));
    let impossible = r#"{"version":1,"devices":[{"hardware":"x","stage":[[0.0,-1.0]]"#;
    for text in ["", "not json", r#"{"version":99,"devices":[]}"#, impossible] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(predicted(&runtime("gpu:a", &file)), guessed, "{text}");
        // Nothing was placed: the file is left as it is. No more is where there is no choice.
        let alone = builder().calibration(&file).build().unwrap();
        kernel(&alone).run(&input()).unwrap();
        assert!(!alone.has_placed());
        drop(alone);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
    let used = runtime("gpu:a", &file);
    kernel(&used).run(&input()).unwrap();
    drop(used);
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept["version"], CALIBRATION_VERSION);
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing else is left there");
    // Nobody writes a pipe of this name, and nobody waits for that.
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    assert_eq!(predicted(&runtime("gpu:a", &pipe)), guessed);
    // A place that cannot be written is no reason to fail.
    drop(
        kernel(&runtime("gpu:a", folder.path()))
            .run(&input())
            .unwrap(),
    );
}
