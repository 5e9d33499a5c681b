//! Columns of every Arrow type pass through a filter as arrow-rs's own filter passes them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use unlade_cpu::CpuDevice;
use unlade_expr::{Query, Semantics, col};
use unlade_hal::Device;
use unlade_naive::generate::Rng;
use unlade_runtime::{Placement, Runtime};
use unlade_sim_device::{Profile, SimDevice};
use unlade_tests::any_array::{every_type, random_array};
use unlade_tests::devices;

/// More than two tiles.
const ROWS: usize = 9_000;

#[test]
fn every_type_passes_a_filter_as_in_arrow_rs() {
    let runtime = runtime();
    let mut rng = Rng::new(7);
    for data_type in every_type() {
        for kept_percent in [0, 1, 50, 99, 100] {
            let nulls = if kept_percent % 2 == 0 { 20 } else { 0 };
            let array = random_array(&data_type, ROWS, nulls, &mut rng);
            let keep = keep_column(ROWS, kept_percent, &mut rng);
            let batch = batch_of(keep, array);
            // Slices that begin at any bit, and end before the array does.
            let from = rng.pick(&[0, 1, 7, 64, 101]);
            let batch = batch.slice(from, ROWS - from - rng.below(3));
            check(&runtime, &data_type, &batch);
        }
    }
}

#[test]
fn small_batches_of_every_type_pass_too() {
    let runtime = runtime();
    let mut rng = Rng::new(8);
    for data_type in every_type() {
        for rows in [0, 1, 2, 65] {
            let array = random_array(&data_type, rows + 3, 30, &mut rng);
            let keep = keep_column(rows + 3, 60, &mut rng);
            check(&runtime, &data_type, &batch_of(keep, array).slice(2, rows));
        }
    }
}

#[test]
fn every_type_is_asked_for_nulls_as_in_arrow_rs() {
    let sim: Arc<dyn Device> = Arc::new(SimDevice::builder(Profile::gpu()).build());
    let on_devices = [sim, devices::simulated_card()].map(|device| {
        let name = device.info().name.as_str().into();
        let runtime = Runtime::builder()
            .device(Arc::new(CpuDevice::new()))
            .device(device)
            .placement(Placement::Device(name));
        runtime.build().expect("a runtime on two devices")
    });
    let runtimes: Vec<Runtime> = [runtime()].into_iter().chain(on_devices).collect();
    let mut rng = Rng::new(9);
    for data_type in every_type() {
        for nulls in [0, 20] {
            let rows = 5_000;
            let array = random_array(&data_type, rows + 9, nulls, &mut rng);
            let keep = keep_column(rows + 9, 60, &mut rng);
            let batch = batch_of(keep, array).slice(rng.pick(&[0, 1, 7]), rows);
            for runtime in &runtimes {
                check_nulls(runtime, &data_type, &batch);
            }
        }
    }
}

/// `payload IS NULL` as an output and `IS NOT NULL` as a filter, beside the column itself.
fn check_nulls(runtime: &Runtime, data_type: &DataType, batch: &RecordBatch) {
    let query = Query::filter(col("keep").or(col("payload").is_not_null()))
        .select([col("payload").is_null().alias("is_null"), col("payload")]);
    let kernel = runtime
        .compile(&query, &batch.schema(), &Semantics::arrow())
        .unwrap_or_else(|error| panic!("{data_type}: {error}"));
    let output = kernel
        .run(batch)
        .unwrap_or_else(|error| panic!("{data_type}: {error}"));

    let is_null = arrow_arith::boolean::is_null(batch.column(1)).expect("nulls of any array");
    let keep = arrow_arith::boolean::or_kleene(
        batch.column(0).as_boolean(),
        &arrow_arith::boolean::not(&is_null).expect("booleans"),
    );
    let keep = keep.expect("columns of one length");
    let expected = arrow_select::filter::filter(&is_null, &keep).expect("arrow-rs filters");
    assert_eq!(output.batch.column(0), &expected, "{data_type}");
    assert_eq!(output.batch.column(1).len(), expected.len(), "{data_type}");
}

fn runtime() -> Runtime {
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .build();
    runtime.expect("a runtime on the CPU")
}

/// A predicate with nulls, which keep nothing.
fn keep_column(rows: usize, percent: usize, rng: &mut Rng) -> ArrayRef {
    let values = (0..rows).map(|_| match percent < 100 && rng.chance(5) {
        true => None,
        false => Some(rng.chance(percent)),
    });
    Arc::new(values.collect::<BooleanArray>())
}

fn batch_of(keep: ArrayRef, array: ArrayRef) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("keep", DataType::Boolean, true),
        Field::new("payload", array.data_type().clone(), true),
    ]);
    RecordBatch::try_new(Arc::new(schema), vec![keep, array]).expect("columns of one length")
}

fn check(runtime: &Runtime, data_type: &DataType, batch: &RecordBatch) {
    let query = Query::filter(col("keep")).select([col("payload")]);
    let kernel = runtime
        .compile(&query, &batch.schema(), &Semantics::arrow())
        .unwrap_or_else(|error| panic!("{data_type}: {error}"));
    let output = kernel
        .run(batch)
        .unwrap_or_else(|error| panic!("{data_type}: {error}"));
    let actual = output.batch.column(0);

    let mask = batch.column(0).as_boolean();
    let expected = arrow_select::filter::filter(batch.column(1), mask).expect("arrow-rs filters");
    assert_eq!(actual.data_type(), data_type);
    assert_eq!(actual.len(), expected.len(), "{data_type}: rows");
    actual
        .to_data()
        .validate_full()
        .unwrap_or_else(|error| panic!("{data_type}: {error}"));
    // Run ends and views may differ where values do not, so values are what is compared.
    for row in 0..actual.len() {
        let (ours, theirs) = (actual.slice(row, 1), expected.slice(row, 1));
        assert!(
            ours.to_data() == theirs.to_data(),
            "{data_type}: row {row} is {ours:?}, not {theirs:?}"
        );
    }
}
