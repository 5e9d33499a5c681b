//! Strings that a filter keeps, compacted on the device where they lie there, or where it reads the
//! host's memory; and by the host where they would have to cross the bus for it.

mod common;

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, Int32Array, LargeBinaryArray, LargeStringArray, RecordBatch, StringArray,
};
use common::{batch, builder, compile, query, runtime};
use unlade_expr::Query;
use unlade_hal::Device;
use unlade_runtime::{
    Fallback, Output, Path, Placement, Reason, Resident, Runtime, RuntimeBuilder, Trust,
};
use unlade_sim_device::{Profile, SimDevice};
use unlade_sim_fault::{FaultDevice, FaultKind, FaultPlan};

/// Every kind of strings, with nulls and without, beside a column to filter by.
fn input(rows: usize) -> RecordBatch {
    let text = |row: usize| format!("{}{row}", "é".repeat(row % 5));
    let valid = |row: &usize| row % 4 != 1;
    let some = |row: usize| valid(&row).then(|| text(row));
    let strings: StringArray = (0..rows).map(some).collect();
    let large: LargeStringArray = (0..rows).map(some).collect();
    let bytes = |row: usize| valid(&row).then(|| vec![row as u8; row % 9]);
    let binary: BinaryArray = (0..rows).map(bytes).collect();
    let large_binary: LargeBinaryArray = (0..rows).map(bytes).collect();
    batch(vec![
        (
            "a",
            Arc::new(Int32Array::from_iter_values(
                (0..rows).map(|row| (row * 7919 % 100) as i32),
            )) as ArrayRef,
        ),
        (
            "plain",
            Arc::new(StringArray::from_iter_values((0..rows).map(text))),
        ),
        ("text", Arc::new(strings)),
        ("large", Arc::new(large)),
        ("binary", Arc::new(binary)),
        ("large_binary", Arc::new(large_binary)),
    ])
}

const COLUMNS: &str = "plain, text, a, large, binary, large_binary, a + 1 as b, text as again";

/// Nothing of these is computed.
const PAYLOAD: &str = "plain, text, a, large, binary, large_binary";

fn on(device: Arc<dyn Device>) -> RuntimeBuilder {
    let name = device.info().name.as_str().into();
    builder().device(device).placement(Placement::Device(name))
}

fn sim(profile: Profile) -> Arc<dyn Device> {
    Arc::new(SimDevice::builder(profile).build())
}

fn run_pinned(runtime: &Runtime, select: &str, filter: &str, pinned: &Resident) -> Vec<Output> {
    let schema = input(0).schema();
    compile(runtime, &query(select, filter), &schema)
        .run_resident(pinned)
        .unwrap()
}

fn expected(select: &str, filter: &str, batch: &RecordBatch) -> Output {
    let kernel = compile(&runtime(), &query(select, filter), &input(0).schema());
    kernel.run(batch).unwrap()
}

/// Bytes that cross the bus with each column of strings: how many rows and bytes there are of it.
const STATUS: u64 = 16;

#[test]
fn pinned_strings_are_compacted_where_they_lie() {
    for trust in [Trust::Trusted, Trust::Untrusted] {
        let runtime = on(sim(Profile::gpu())).trust(trust);
        let runtime = runtime.fallback(Fallback::Forbid).build().unwrap();
        for (offset, rows) in [(0, 0), (0, 1), (0, 700), (13, 130), (5, 3000)] {
            let rows_of = input(offset + rows + 5).slice(offset, rows);
            let pinned = runtime
                .pin(std::slice::from_ref(&rows_of), Some("sim"))
                .unwrap();
            for filter in [
                "a > 150",
                "a > 98",
                "a > 49",
                "a >= 0",
                "text is null and a > 9",
            ] {
                let expected = expected(COLUMNS, filter, &rows_of);
                let output = run_pinned(&runtime, COLUMNS, filter, &pinned).remove(0);
                assert_eq!(output.batch, expected.batch, "{rows} rows where {filter}");
                let receipt = output.receipt;
                let [part] = &receipt.parts[..] else {
                    panic!("one part: {:?}", receipt.parts)
                };
                assert_eq!(part.path, Path::Queued);
                assert_eq!(receipt.bytes_to_device, 0, "{filter}");
                assert_eq!(
                    receipt.bytes_copied, expected.receipt.bytes_copied,
                    "{filter}"
                );
                assert_eq!(part.bytes_compacted, receipt.bytes_copied, "{filter}");
                // What is kept, its validity whether it has nulls or not, and nothing else.
                let kept = receipt.rows_out;
                let mut most = receipt.bytes_out + 5 * STATUS + 8 * kept.div_ceil(8);
                if receipt.rows_out == receipt.rows_in {
                    most = 8 * kept + 5 * STATUS + 8 * kept.div_ceil(8);
                }
                let crossed = receipt.bytes_from_device;
                assert!(crossed <= most, "{crossed} bytes for {most}, {filter}");
            }
        }
    }
}

#[test]
fn a_mask_crosses_only_where_it_is_needed() {
    let rows = input(4000);
    let runtime = on(sim(Profile::gpu())).build().unwrap();
    let pinned = runtime
        .pin(std::slice::from_ref(&rows), Some("sim"))
        .unwrap();
    let crossed = |query: Query| {
        let kernel = compile(&runtime, &query, &rows.schema());
        let output = kernel.run_resident(&pinned).unwrap().remove(0);
        let expected = compile(&common::runtime(), &query, &rows.schema());
        assert_eq!(output.batch, expected.run(&rows).unwrap().batch);
        assert_eq!(output.receipt.rows_out, 40);
        (output.receipt.bytes_from_device, output.batch)
    };
    let (found, kept) = crossed(query("plain", "a > 98"));
    let text = size(&kept, "plain") + STATUS + 40 / 8;
    assert_eq!(found, text);
    assert_eq!(crossed(query("a", "a > 98")).0, 40 * 4 + 40 / 8);
    let with_mask = query("plain", "a > 98").with_mask();
    assert_eq!(crossed(with_mask).0, text + 4000 / 8);
}

#[test]
fn strings_in_the_hosts_memory_are_left_there_by_a_device_across_a_bus() {
    let rows = input(2000);
    let runtime = on(sim(Profile::gpu())).build().unwrap();
    let kernel = compile(&runtime, &query(COLUMNS, "a > 49"), &rows.schema());
    let output = kernel.run(&rows).unwrap();
    assert_eq!(output.batch, expected(COLUMNS, "a > 49", &rows).batch);
    // The column of the predicate, to whole cache lines.
    let receipt = output.receipt;
    assert!(
        receipt.bytes_to_device <= 8064,
        "{}",
        receipt.bytes_to_device
    );
    assert_eq!(receipt.parts[0].bytes_compacted, 0);
    assert!(receipt.bytes_copied > 0);
}

#[test]
fn a_device_that_reads_the_hosts_memory_compacts_strings_there() {
    for trust in [Trust::Trusted, Trust::Untrusted] {
        let runtime = on(sim(Profile::coherent_gpu())).trust(trust);
        let runtime = runtime.fallback(Fallback::Forbid).build().unwrap();
        for (offset, rows) in [(0, 0), (0, 1), (0, 700), (13, 130)] {
            let rows_of = input(offset + rows + 5).slice(offset, rows);
            for filter in ["a > 150", "a > 49", "a >= 0"] {
                let kernel = compile(&runtime, &query(COLUMNS, filter), &rows_of.schema());
                let output = kernel.run(&rows_of).unwrap();
                let expected = expected(COLUMNS, filter, &rows_of);
                assert_eq!(output.batch, expected.batch, "{rows} rows where {filter}");
                let receipt = output.receipt;
                assert_eq!(receipt.bytes_copied, expected.receipt.bytes_copied);
                assert_eq!(receipt.parts[0].bytes_compacted, receipt.bytes_copied);
                assert_eq!((receipt.bytes_to_device, receipt.bytes_from_device), (0, 0));
            }
        }
    }
}

#[test]
fn what_a_device_lacks_the_host_does() {
    let lacks_strings = Profile {
        strings: false,
        ..Profile::gpu()
    };
    let lacks_compaction = Profile {
        compaction: false,
        ..Profile::gpu()
    };
    let rows = input(2000);
    for (profile, select) in [(lacks_strings, COLUMNS), (lacks_compaction, PAYLOAD)] {
        let runtime = on(sim(profile)).fallback(Fallback::Forbid).build().unwrap();
        let pinned = runtime
            .pin(std::slice::from_ref(&rows), Some("sim"))
            .unwrap();
        let output = run_pinned(&runtime, select, "a > 49", &pinned).remove(0);
        let expected = expected(select, "a > 49", &rows);
        assert_eq!(output.batch, expected.batch);
        let receipt = output.receipt;
        assert_eq!(receipt.bytes_to_device, 0);
        assert_eq!(receipt.bytes_copied, expected.receipt.bytes_copied);
        let strings: u64 = ["plain", "text", "large", "binary", "large_binary"]
            .map(|name| size(&output.batch, name))
            .iter()
            .sum();
        let by_host = receipt.bytes_copied - receipt.parts[0].bytes_compacted;
        assert!(by_host >= strings, "{by_host} of {strings}");
    }
}

fn size(batch: &RecordBatch, name: &str) -> u64 {
    let data = batch.column_by_name(name).unwrap().to_data();
    data.get_slice_memory_size().unwrap() as u64
}

/// What is pinned takes half of the device's memory at most. Where there is none left for what it
/// would be compacted to, the mask does.
#[test]
fn without_room_for_strings_on_the_device_the_mask_does() {
    let mut by_device = 0;
    let mut by_mask = 0;
    for rows in (10_000..40_000).step_by(3000) {
        let rows = input(rows);
        let profile = Profile {
            memory: 1 << 22,
            ..Profile::gpu()
        };
        let runtime = on(sim(profile)).fallback(Fallback::Forbid).build().unwrap();
        let pinned = runtime
            .pin(std::slice::from_ref(&rows), Some("sim"))
            .unwrap();
        let output = run_pinned(&runtime, COLUMNS, "a > 49", &pinned).remove(0);
        assert_eq!(output.batch, expected(COLUMNS, "a > 49", &rows).batch);
        for part in &output.receipt.parts {
            assert_eq!(&*part.device, "sim");
        }
        match output.receipt.parts[0].bytes_compacted {
            0 => by_mask += 1,
            _ => by_device += 1,
        }
        drop((pinned, output));
        assert_eq!(runtime.memory().leased, 0);
    }
    assert!(by_device > 0 && by_mask > 0, "{by_device} and {by_mask}");
}

#[test]
fn an_error_of_a_row_is_the_cpus() {
    let mut rows = input(3000).columns().to_vec();
    rows[0] = Arc::new(Int32Array::from_iter_values(
        (0..3000).map(|row| if row == 2345 { i32::MAX } else { row }),
    ));
    let rows = RecordBatch::try_new(input(0).schema(), rows).unwrap();
    let runtime = on(sim(Profile::gpu())).build().unwrap();
    let pinned = runtime
        .pin(std::slice::from_ref(&rows), Some("sim"))
        .unwrap();
    let wanted = query("text, a + 1 as b", "a > 5");
    let found = compile(&runtime, &wanted, &rows.schema()).run_resident(&pinned);
    let expected = compile(&common::runtime(), &wanted, &rows.schema()).run(&rows);
    assert_eq!(
        found.unwrap_err().to_string(),
        expected.unwrap_err().to_string()
    );
}

#[test]
fn every_fault_is_survived_at_every_operation() {
    let rows = input(300);
    let expected = expected(COLUMNS, "a > 41", &rows).batch;
    for kind in FaultKind::ALL {
        let mut struck = 0;
        for nth in 1..60 {
            let faulty = FaultDevice::new(sim(Profile::gpu()), FaultPlan::nth(nth, kind));
            let device = Arc::new(faulty);
            let runtime = on(device.clone())
                .device_timeout(std::time::Duration::from_millis(50))
                .build()
                .unwrap();
            let pinned = runtime
                .pin(std::slice::from_ref(&rows), Some("sim"))
                .unwrap();
            for _ in 0..2 {
                let output = run_pinned(&runtime, COLUMNS, "a > 41", &pinned).remove(0);
                // Nothing tells of a wrong bit, unless no array can be made of it.
                if kind != FaultKind::Corruption {
                    assert_eq!(output.batch, expected, "{kind:?} at {nth}");
                }
            }
            struck += usize::from(!device.log().is_empty());
        }
        // A reset is only tried after a loss, of which a plan of one fault has none.
        assert_eq!(struck > 0, kind != FaultKind::ResetFails, "{kind:?}");
    }
}

#[test]
fn it_is_explained_what_becomes_of_pinned_strings() {
    let runtime = on(sim(Profile::gpu())).build().unwrap();
    let kernel = compile(&runtime, &query("text", "a > 41"), &input(0).schema());
    let explained = kernel.explain();
    let [pinned] = &explained.pinned[..] else {
        panic!("one device keeps batches: {explained}")
    };
    assert_eq!(&*pinned.device, "sim");
    assert!(pinned.payload.contains("only what is kept crosses the bus"));
    let text = explained.to_string();
    assert!(
        text.contains("\npinned on sim: payload of fixed width and strings"),
        "{text}"
    );
    let cpu = compile(
        &common::runtime(),
        &query("text", "a > 41"),
        &input(0).schema(),
    );
    assert!(cpu.explain().pinned.is_empty());
}

/// A batch that is pinned is resident wherever its strings are.
#[test]
fn the_reason_stays() {
    let rows = input(100);
    let runtime = on(sim(Profile::gpu())).build().unwrap();
    let pinned = runtime.pin(&[rows], Some("sim")).unwrap();
    let output = run_pinned(&runtime, COLUMNS, "a > 41", &pinned).remove(0);
    assert_eq!(output.receipt.parts[0].reason, Reason::Resident);
}
