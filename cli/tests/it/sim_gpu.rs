//! `--device sim-gpu`: a query runs on the simulated GPU, and the receipt says so.

use crate::support::Place;

const QUERY: [&str; 8] = [
    "run",
    "in.parquet",
    "--where",
    "n >= 41",
    "--select",
    "n + 1 as m",
    "--device",
    "sim-gpu",
];

#[test]
fn a_query_runs_on_the_simulated_gpu_and_says_so() {
    let place = Place::new();
    place.table("in.parquet", 0, 5000);
    let mut on_cpu = QUERY;
    on_cpu[7] = "cpu";
    let run = |query: &[&str]| place.run(&[query, &["-o", "-", "--format", "csv"]].concat());
    let (simulated, cpu) = (run(&QUERY), run(&on_cpu));
    assert_eq!(simulated.code, Some(0), "{}", simulated.err);
    assert_eq!(simulated.out, cpu.out);
    assert!(simulated.err.contains("sim-gpu:0"), "{}", simulated.err);
}

#[test]
fn it_is_listed_where_it_is_asked_for_and_has_no_sensors() {
    let place = Place::new();
    let without = place.run(&["devices"]).success();
    assert!(!without.contains("sim-gpu:0"), "{without}");
    let listed = place.run(&["devices", "--device", "sim-gpu"]).success();
    let sensors = "; no readings: it is simulated, and has no sensors\n";
    assert!(listed.ends_with(sensors), "{listed}");
    let json = place.run(&["devices", "--device", "sim-gpu", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&json.success()).unwrap();
    let devices = document["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 1, "{document}");
    let readings = devices[0]["readings"].as_array().unwrap();
    let names: Vec<_> = readings.iter().map(|each| &each["name"]).collect();
    let all = [
        "temperature",
        "power",
        "power_limit",
        "ecc_corrected",
        "ecc_uncorrected",
    ];
    assert_eq!(names, all);
    for reading in readings {
        assert!(reading["value"].is_null(), "{document}");
        assert_eq!(reading["unknown"], "it is simulated, and has no sensors");
    }
    let ran = place.run(&["devices", "--device", "gpu"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("no device `gpu`"), "{}", ran.err);
}

#[test]
fn without_its_library_it_says_what_to_do() {
    let place = Place::new();
    place.table("in.parquet", 0, 10);
    let nowhere = [("UNLADE_SIM_GPU_LIBRARY", "/nowhere/libunlade_sim_gpu.so")];
    let ran = place.run_with(&nowhere, &QUERY);
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(
        ran.err.contains("/nowhere/libunlade_sim_gpu.so"),
        "{}",
        ran.err
    );
    let advice = [
        "`cargo build --release -p unlade-sim-gpu`",
        "target/release/libunlade_sim_gpu.so",
        "set UNLADE_SIM_GPU_LIBRARY",
    ];
    ran.failure(4, &advice);
}

#[test]
fn the_demonstration_says_what_to_do_without_it() {
    let place = Place::new();
    let nowhere = [("UNLADE_SIM_GPU_LIBRARY", "/nowhere/libunlade_sim_gpu.so")];
    let ran = place.run_with(&nowhere, &["demo", "--scale", "0.001"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let why = "/nowhere/libunlade_sim_gpu.so: `cargo build --release -p unlade-sim-gpu` makes";
    assert!(ran.out.contains(why), "{}", ran.out);
    assert!(!ran.out.contains("sim-gpu:0"), "{}", ran.out);
}

#[test]
fn a_process_that_has_a_driver_is_refused() {
    let place = Place::new();
    place.table("in.parquet", 0, 10);
    // What is mapped under a driver's name is taken for one.
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_unlade"));
    let library = program.with_file_name("deps").join("libunlade_sim_gpu.so");
    let other = place.path("libcuda.so.1");
    std::fs::copy(&library, &other).unwrap();
    let ran = place.run_with(&[("LD_PRELOAD", other.to_str().unwrap())], &QUERY);
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(ran.err.contains("a process has one driver"), "{}", ran.err);
    assert!(ran.err.contains("libcuda.so.1"), "{}", ran.err);
}
