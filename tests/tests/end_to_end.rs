//! Random queries through the runtime, as a user runs them: on the CPU, and on the simulated
//! device and the simulated card with all their staging, against the oracle, the CPU and arrow-rs.
#![allow(clippy::print_stdout)] // how much was compared is what these tests report

use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use unlade_cpu::CpuDevice;
use unlade_expr::{Checked, OutputColumn, Query, Semantics};
use unlade_naive::generate::Rng;
use unlade_naive::{Kept, QueryError, evaluate_query, evaluate_row, value_at};
use unlade_runtime::{Error, Output, Placement, Runtime};
use unlade_sim_device::{Profile, SimDevice};
use unlade_tests::batches::take_rows;
use unlade_tests::devices;
use unlade_tests::differential::{
    Tally, compare_trap_with_arrow_rs, compare_with_arrow_rs, query_in_words, random_case,
};
use unlade_tests::trees::{Target, rules, targets, types};

/// Queries under each set of rules; more on a card, which does by itself all that a query has.
const CASES: u64 = 12;
const ON_A_CARD: u64 = 100;

#[test]
fn the_cpu_gives_the_oracles_results() {
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .build();
    let runtime = runtime.expect("a runtime on the CPU");
    run_cases(&runtime, Some("cpu"), 1, CASES);
}

#[test]
fn the_simulated_device_gives_the_oracles_results() {
    let sim = SimDevice::builder(Profile::gpu()).build();
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .device(Arc::new(sim))
        .placement(Placement::Device("sim".into()))
        .build();
    let runtime = runtime.expect("a runtime on the simulated device");
    run_cases(&runtime, Some("sim"), 2, CASES);
}

/// On a card that has every operation: the oracle's results, the CPU's bit for bit, and those of arrow-rs.
#[test]
fn the_simulated_card_gives_the_oracles_results() {
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .device(devices::simulated_card())
        .placement(Placement::Device(devices::SIMULATED_CARD.into()))
        .build();
    let runtime = runtime.expect("a runtime on the simulated card");
    run_cases(&runtime, Some(devices::SIMULATED_CARD), 4, ON_A_CARD);
}

/// The device that `UNLADE_TEST_DEVICE` names; what it lacks may run on the CPU.
#[test]
fn the_chosen_device_gives_the_oracles_results() {
    let device = devices::chosen();
    let name = device.info().name.clone();
    let full = unlade_program::cells().all(|cell| device.capabilities().cells.contains(cell));
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .device(device)
        .placement(Placement::Device(name.as_str().into()))
        .build();
    let runtime = runtime.expect("a runtime on the chosen device");
    run_cases(&runtime, full.then_some(name.as_str()), 3, CASES);
}

/// Runs queries; all of each on the device, where one is named. Every result is compared with the
/// CPU's, too, and under the Arrow rules with arrow-rs, on the same batch.
fn run_cases(runtime: &Runtime, device: Option<&str>, seed: u64, cases: u64) {
    let cpu = Runtime::builder().device(Arc::new(CpuDevice::new()));
    let cpu = cpu.build().expect("a runtime on the CPU");
    let mut rng = Rng::new(seed);
    let (mut errors, mut results) = (0, 0);
    let mut tally = Tally::default();
    for (name, semantics) in rules() {
        let (types, targets) = (types(&semantics), targets(&semantics));
        for case in 0..cases {
            let chosen: Vec<&Target> = (0..4).map(|_| &targets[rng.below(targets.len())]).collect();
            let (query, batch) = random_case(&semantics, &types, &chosen, &mut rng);
            let mut compare = |batch: &RecordBatch| {
                compare(
                    (runtime, &cpu),
                    device,
                    &query,
                    &semantics,
                    batch,
                    &mut tally,
                )
            };
            let outcome = compare(&batch);
            let words = |what| format!("{name}, case {case}\n{}{what}", query_in_words(&query));
            match outcome {
                Ok(true) => results += 1,
                Ok(false) => errors += 1,
                Err(what) => panic!("{}", words(what)),
            }
            // Once more without the rows that fail.
            let fine = rows_without_errors(&query, &semantics, &batch);
            if !fine.is_empty() && fine.len() < batch.num_rows() {
                let batch = take_rows(&batch, &fine);
                if let Err(what) = compare(&batch) {
                    panic!("{}", words(what));
                }
                results += 1;
            }
        }
    }
    assert!(
        errors > 5 && results > 50,
        "{errors} errors and {results} results"
    );
    let (columns, traps) = (tally.columns_of_arrow_rs, tally.errors_of_arrow_rs);
    println!(
        "{results} results and {errors} errors; {columns} columns and {traps} errors compared with \
         arrow-rs, not asked: {:?}",
        tally.left_out
    );
    assert!(
        columns > 50 && traps > 0,
        "{columns} columns, {traps} errors"
    );
}

fn checked(query: &Query, semantics: &Semantics, batch: &RecordBatch) -> Checked {
    unlade_expr::check(query, &batch.schema(), semantics).expect("queries are made to pass")
}

fn rows_without_errors(query: &Query, semantics: &Semantics, batch: &RecordBatch) -> Vec<usize> {
    let checked = checked(query, semantics, batch);
    (0..batch.num_rows())
        .filter(|&row| evaluate_row(&checked, batch, row).is_ok())
        .collect()
}

/// Whether there is a result, which is then the oracle's, that of arrow-rs and, bit for bit, the CPU's,
/// or an error, which is then too.
fn compare(
    (runtime, cpu): (&Runtime, &Runtime),
    device: Option<&str>,
    query: &Query,
    semantics: &Semantics,
    batch: &RecordBatch,
    tally: &mut Tally,
) -> Result<bool, String> {
    let checked = checked(query, semantics, batch);
    let kernel = runtime
        .compile(query, &batch.schema(), semantics)
        .map_err(|error| format!("compiling: {error}"))?;
    let result = kernel.run(batch);
    same_as_cpu(cpu, query, semantics, batch, &result)?;
    match (evaluate_query(&checked, batch), result) {
        (Ok(kept), Ok(output)) => {
            let parts = &output.receipt.parts;
            let there = !parts.is_empty()
                && parts
                    .iter()
                    .all(|part| device.is_none_or(|device| *part.device == *device));
            if batch.num_rows() > 0 && !there {
                return Err(format!("runs on {parts:?}, not on {device:?}"));
            }
            compare_batch(&checked, batch, &kept, &output.batch)?;
            if let Some(mask) = output.mask {
                let set = (0..mask.len()).filter(|&row| mask.value(row));
                if !set.eq(kept.iter().map(|row| row.row)) {
                    return Err("the mask keeps other rows".to_owned());
                }
            }
            compare_with_arrow_rs(&checked, semantics.dialect, batch, &kept, tally)?;
            Ok(true)
        }
        (Err(QueryError { row, error }), Err(Error::Data(found))) => {
            let wanted = (row as u64, error.ordinal);
            let described = found
                .description
                .as_ref()
                .map(|words| (words.row, words.ordinal));
            if (found.row, found.ordinal) != wanted || described != Some(wanted) {
                return Err(format!("{found:?}, not row {row}: {error:?}"));
            }
            compare_trap_with_arrow_rs(&checked, semantics.dialect, &error, batch, tally)?;
            Ok(false)
        }
        (Ok(_), Err(error)) => Err(format!("fails, and should not: {error}")),
        (Err(error), Ok(_)) => Err(format!("does not fail, and should: {error:?}")),
        (Err(_), Err(error)) => Err(format!("fails otherwise: {error}")),
    }
}

/// Columns are compared as arrow-rs does, which takes bytes for what they are: NaNs and zeros of two
/// kinds are different.
fn same_as_cpu(
    cpu: &Runtime,
    query: &Query,
    semantics: &Semantics,
    batch: &RecordBatch,
    result: &Result<Output, Error>,
) -> Result<(), String> {
    let kernel = cpu
        .compile(query, &batch.schema(), semantics)
        .map_err(|error| format!("compiling for the CPU: {error}"))?;
    match (kernel.run(batch), result) {
        (Ok(cpu), Ok(output)) if cpu.batch == output.batch && cpu.mask == output.mask => Ok(()),
        (Ok(_), Ok(_)) => Err("the result is not the CPU's".to_owned()),
        (Err(Error::Data(cpu)), Err(Error::Data(error))) if cpu == *error => Ok(()),
        (cpu, _) => Err(format!("the CPU says {:?}, not {result:?}", cpu.err())),
    }
}

fn compare_batch(
    checked: &Checked,
    input: &RecordBatch,
    kept: &[Kept],
    output: &RecordBatch,
) -> Result<(), String> {
    if output.num_rows() != kept.len() {
        return Err(format!("{} rows, not {}", output.num_rows(), kept.len()));
    }
    if output.schema() != checked.output {
        return Err(format!(
            "schema {:?}, not {:?}",
            output.schema(),
            checked.output
        ));
    }
    let rows: Vec<usize> = kept.iter().map(|row| row.row).collect();
    let payload = take_rows(input, &rows);
    let mut computed = 0;
    for (position, column) in checked.columns.iter().enumerate() {
        let actual = output.column(position);
        if let OutputColumn::Payload(source) = column {
            if actual.to_data() != payload.column(*source).to_data() {
                return Err(format!("payload {position} differs"));
            }
            continue;
        }
        for (index, row) in kept.iter().enumerate() {
            let (ours, wanted) = (value_at(actual, index), row.values[computed]);
            if ours != wanted {
                let row = row.row;
                return Err(format!(
                    "output {position} in row {row} is {ours:?}, not {wanted:?}"
                ));
            }
        }
        computed += 1;
    }
    Ok(())
}
