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
    assert!(
        ran.err.contains("cargo build -p unlade-sim-gpu"),
        "{}",
        ran.err
    );
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
