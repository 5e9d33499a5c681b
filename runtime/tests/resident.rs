//! Batches that are pinned on a simulated device: where they lie, and what becomes of them.

mod common;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use common::{batch, compile, input, on, query, sim};
use unlade_runtime::{Error, Reason, Resident, Runtime};
use unlade_sim_device::Profile;

/// Eight batches that are pinned on a small device: half of its memory is for what is pinned, and a batch
/// of 130,000 rows takes more than the other half.
fn eight_pinned() -> (Runtime, Vec<RecordBatch>, Resident) {
    let profile = Profile {
        memory: 5 << 18,
        ..Profile::gpu()
    };
    let runtime = on(sim(profile)).build().unwrap();
    let pinned: Vec<RecordBatch> = (0..8).map(|_| input(2000)).collect();
    let resident = runtime.pin(&pinned, Some("sim")).unwrap();
    (runtime, pinned, resident)
}

#[test]
fn what_is_pinned_makes_room_for_a_batch_that_passes_through() {
    let (runtime, _, resident) = eight_pinned();
    let there = resident.batches_on_device();
    assert!(there > 0);
    let whole = input(130_000);
    let kernel = compile(&runtime, &query("a", "a > 41"), &whole.schema());
    let output = kernel.run(&whole).unwrap();
    assert_eq!(&*output.receipt.parts[0].device, "sim");
    assert_eq!((output.receipt.retries, output.receipt.parts.len()), (0, 1));
    assert!(resident.batches_on_device() < there);
    let again = kernel.run_resident(&resident).unwrap();
    assert_eq!(again.len(), 8);
}

#[test]
fn pinned_batches_are_sent_once() {
    let batches = [input(500), input(300)];
    let schema = batches[0].schema();
    let runtime = on(sim(Profile::gpu())).build().unwrap();
    let resident = runtime.pin(&batches, Some("sim")).unwrap();
    assert_eq!(
        (resident.device().as_deref(), resident.batches_on_device()),
        (Some("sim"), 2)
    );
    for filter in ["a > 41 and flag", "b % 2 = 0", "a is null"] {
        let wanted = query("text, a, b + 1", filter);
        let kernel = compile(&runtime, &wanted, &schema);
        let reference = compile(&common::runtime(), &wanted, &schema);
        let outputs = kernel.run_resident(&resident).unwrap();
        for (output, batch) in outputs.iter().zip(&batches) {
            assert_eq!(
                output.batch,
                reference.run(batch).unwrap().batch,
                "{filter}"
            );
            assert_eq!(output.receipt.bytes_to_device, 0);
            assert_eq!(output.receipt.parts[0].reason, Reason::Resident);
        }
    }
    drop(resident);
    assert_eq!(runtime.memory().leased, 0);

    let on_cpu = common::runtime();
    let resident = on_cpu.pin(&batches, None).unwrap();
    assert_eq!(resident.device(), None);
    let outputs = compile(&on_cpu, &query("", "a > 41"), &schema)
        .run_resident(&resident)
        .unwrap();
    assert_eq!(&*outputs[1].receipt.parts[0].device, "cpu");
    assert!(on_cpu.pin(&batches, Some("gpu")).is_err());
}

#[test]
fn a_pinned_column_tells_where_it_is_and_stays_there_while_it_is_held() {
    let (runtime, pinned, resident) = eight_pinned();
    let column = |name: &str| pinned[0].schema().index_of(name).unwrap();
    let nulls = resident.values_on_device(0, column("a")).unwrap_err();
    assert!(nulls.to_string().contains("nulls"), "{nulls}");
    let text = resident.values_on_device(0, column("text")).unwrap_err();
    assert!(text.to_string().contains("fixed width"), "{text}");
    assert!(resident.values_on_device(8, 0).is_err());
    assert!(resident.values_on_device(0, 99).is_err());

    let held = resident.values_on_device(0, column("b")).unwrap();
    assert_eq!(
        (held.rows(), held.data_type()),
        (2000, pinned[0].column(column("b")).data_type())
    );
    // What needs the room has others moved out, and not this one.
    let whole = input(130_000);
    let kernel = compile(&runtime, &query("a", "a > 41"), &whole.schema());
    assert_eq!(&*kernel.run(&whole).unwrap().receipt.parts[0].device, "sim");
    assert!(resident.batches_on_device() < 8);
    let again = resident.values_on_device(0, column("b")).unwrap();
    assert_eq!(again.address(), held.address());
}

/// Also where its bits begin in the middle of a byte on the host.
#[test]
fn a_pinned_column_tells_where_its_values_and_its_nulls_are() {
    let part = input(500).slice(3, 400);
    let runtime = on(sim(Profile::gpu())).build().unwrap();
    let resident = runtime
        .pin(std::slice::from_ref(&part), Some("sim"))
        .unwrap();
    let wanted = query("a, flag, b", "a > 41 and flag");
    let outputs = compile(&runtime, &wanted, &part.schema())
        .run_resident(&resident)
        .unwrap();
    let reference = compile(&common::runtime(), &wanted, &part.schema());
    assert_eq!(outputs[0].batch, reference.run(&part).unwrap().batch);
    assert_eq!(outputs[0].receipt.bytes_to_device, 0);

    let column = |name: &str| part.schema().index_of(name).unwrap();
    let there = |name: &str| resident.column_on_device(0, column(name));
    let mut runs = Vec::new();
    for (name, bytes) in [("a", 4 * 400), ("b", 8 * 400), ("flag", 50)] {
        let found = there(name).unwrap();
        let array = part.column(column(name));
        assert_eq!(found.rows(), 400, "{name}");
        assert_eq!(found.null_count(), array.null_count(), "{name}");
        assert_eq!(found.data_type(), array.data_type(), "{name}");
        assert_eq!(found.validity().is_some(), array.null_count() > 0, "{name}");
        runs.push((found.address().0, bytes));
        runs.extend(found.validity().map(|bits| (bits.0, 50)));
    }
    runs.sort_unstable();
    assert_eq!(runs.len(), 5);
    assert!(
        runs.windows(2)
            .all(|pair| pair[0].0 + pair[0].1 <= pair[1].0)
    );
    for name in ["view", "list"] {
        let refused = there(name).unwrap_err().to_string();
        assert!(
            refused.contains("is neither of fixed width, nor of strings"),
            "{refused}"
        );
    }
    assert!(resident.column_on_device(1, 0).is_err());
    assert!(resident.bytes_on_device() >= runs.iter().map(|run| run.1).sum());
}

/// What the device has no use for is sent when it is first asked for, and stays as long as it is held.
#[test]
fn pinned_strings_and_dictionaries_tell_where_they_are() {
    for strings in [true, false] {
        let profile = Profile {
            memory: 5 << 18,
            strings,
            ..Profile::gpu()
        };
        let runtime = on(sim(profile)).build().unwrap();
        let part = input(500).slice(3, 400);
        let resident = runtime
            .pin(std::slice::from_ref(&part), Some("sim"))
            .unwrap();
        let column = |name: &str| part.schema().index_of(name).unwrap();
        let (pinned, at_first) = (resident.sent(), resident.bytes_on_device());

        let text = resident.column_on_device(0, column("text")).unwrap();
        assert_eq!((text.rows(), text.null_count()), (400, 0));
        assert_eq!((text.buffers().len(), text.validity()), (2, None));
        assert!(text.dictionary().is_none());
        let with_text = resident.sent();
        let sent = with_text.bytes - pinned.bytes;
        assert_eq!(sent == 0, strings, "the device has these for itself");

        let keys = resident.column_on_device(0, column("d")).unwrap();
        let values = keys.dictionary().unwrap();
        assert_eq!((keys.rows(), keys.buffers().len()), (400, 1));
        assert_eq!((values.rows(), values.null_count()), (3, 1));
        assert_eq!(values.data_type(), &DataType::Int64);
        assert!(values.validity().is_some() && values.buffers().len() == 1);
        let all = resident.sent();
        assert!(all.bytes > with_text.bytes && all.batches == pinned.batches);
        assert!(resident.bytes_on_device() > at_first);
        assert_eq!(resident.batches_on_device(), 1);

        // What needs room has others moved out, and not these.
        let others = [(); 10].map(|()| input(2000));
        let others = runtime.pin(&others, Some("sim")).unwrap();
        compile(&runtime, &query("a", "a > 41"), &input(0).schema())
            .run_resident(&others)
            .unwrap();
        let again = resident.column_on_device(0, column("d")).unwrap();
        assert_eq!(again.address(), keys.address());
        assert_eq!(again.dictionary().unwrap().address(), values.address());
        assert_eq!(resident.sent(), all);
        assert!(others.batches_on_device() < 10);
        drop((text, keys, again, resident));
        let left = runtime.devices()[1].resident_bytes;
        assert_eq!(left, others.bytes_on_device());
    }
}

#[test]
fn one_batch_of_those_pinned_runs_alone() {
    let batches = [input(500), input(300)];
    let runtime = on(sim(Profile::gpu())).build().unwrap();
    let resident = runtime.pin(&batches, Some("sim")).unwrap();
    let kernel = compile(&runtime, &query("a, b", "a > 41"), &batches[0].schema());
    let outputs = kernel.run_resident(&resident).unwrap();
    for (position, output) in outputs.iter().enumerate() {
        let alone = kernel.run_resident_batch(&resident, position).unwrap();
        assert_eq!(alone.batch, output.batch);
        assert_eq!(alone.receipt.bytes_to_device, 0);
    }
    let beyond = kernel.run_resident_batch(&resident, 2).unwrap_err();
    assert!(beyond.to_string().contains("no batch 2 of 2"), "{beyond}");
    let other = common::runtime().pin(&batches, None).unwrap();
    let refused = kernel.run_resident_batch(&other, 0).unwrap_err();
    assert!(refused.to_string().contains("another runtime"), "{refused}");
    assert!(resident.is_pinned_for(&kernel) && !other.is_pinned_for(&kernel));
}

/// As those of a batch that is handed over, also where the column is not read; the first batch has none.
#[test]
fn nulls_of_a_later_pinned_batch_are_looked_for() {
    let rows = |first: Option<i32>| {
        let read: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let unread: ArrayRef = Arc::new(Int32Array::from(vec![first, Some(2)]));
        batch(vec![("read", read), ("unread", unread)])
    };
    let pinned = [rows(Some(1)), rows(None)];
    let runtime = on(sim(Profile::gpu())).build().unwrap();
    let resident = runtime.pin(&pinned, Some("sim")).unwrap();
    let fields = ["read", "unread"].map(|name| Field::new(name, DataType::Int32, false));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let kernel = compile(&runtime, &query("read", "read > 0"), &schema);
    assert!(kernel.run_resident_batch(&resident, 0).is_ok());
    for refused in [
        kernel.run(&pinned[1]).map(|_| ()),
        kernel.run_resident_batch(&resident, 1).map(|_| ()),
        kernel.run_resident(&resident).map(|_| ()),
    ] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::Schema(_)), "{refused}");
    }
}

#[test]
fn what_is_pinned_makes_room_and_comes_back() {
    let mut profile = Profile::gpu();
    profile.memory = 1 << 20;
    let runtime = on(sim(profile)).build().unwrap();
    let batches: Vec<_> = (0..20).map(|_| input(2000)).collect();
    let resident = runtime.pin(&batches, Some("sim")).unwrap();
    let there = resident.batches_on_device();
    assert!((1..20).contains(&there), "{there} of 20");
    let pinned = resident.sent();
    assert!(pinned.batches >= there as u64, "{pinned:?}");
    assert!(
        pinned.bytes > 0 && pinned.device_time > Duration::ZERO,
        "{pinned:?}"
    );
    let wanted = query("text", "a > 41");
    let kernel = compile(&runtime, &wanted, &batches[0].schema());
    let reference = compile(&common::runtime(), &wanted, &batches[0].schema());
    let outputs = kernel.run_resident(&resident).unwrap();
    for (output, batch) in outputs.iter().zip(&batches) {
        assert_eq!(output.batch, reference.run(batch).unwrap().batch);
        assert_eq!(&*output.receipt.parts[0].device, "sim");
        assert_eq!(output.receipt.parts[0].reason, Reason::Resident);
    }
    // The receipt of a run that brought its batch back has those bytes, and all time is accounted for.
    let sent = resident.sent();
    assert!(
        sent.batches > pinned.batches,
        "{sent:?}, had been {pinned:?}"
    );
    let again = outputs.iter().map(|output| output.receipt.bytes_to_device);
    assert_eq!(again.sum::<u64>(), sent.bytes - pinned.bytes);
    let parts = outputs.iter().flat_map(|output| &output.receipt.parts);
    let ran: Duration = parts
        .map(|part| part.copy_in + part.compute + part.copy_out)
        .sum();
    assert_eq!(runtime.sessions()[0].device_time, sent.device_time + ran);
}
