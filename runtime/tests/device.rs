//! Queries on a simulated device, end to end: results equal the CPU's, and receipts tell.

mod common;
mod disguised;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Int32Array, RecordBatch, RecordBatchIterator, UInt32Array};
use arrow_select::take::take;
use common::{batch, builder, compile, input, on, query, runtime, sim};
use disguised::Disguised;
use unlade_hal::{ClockKind, EntryLimits};
use unlade_program::{CellSet, Op};
use unlade_runtime::placement::HostBuffer;
use unlade_runtime::{Activity, Error, Fallback, Path, Reason, Trust};
use unlade_sim_device::{Profile, SimDevice};

const QUERIES: [(&str, &str); 8] = [
    ("", "a > 41 and flag"),
    ("", "a > 1000"),
    ("", "b >= 0"),
    ("a + 1, f * 2.0, text, view", "b % 2 = 0"),
    (
        "list, d, d + 1",
        "d > 5 or a in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)",
    ),
    ("b, a is null, not flag", ""),
    (
        "case when a > 50 then b else -b end as x",
        "f between 3.0 and 900.0",
    ),
    ("cast(f as int) + a", "not flag"),
];

#[test]
fn results_equal_the_cpus() {
    let reference = runtime();
    for profile in [Profile::gpu(), Profile::coherent_gpu()] {
        for trust in [Trust::Trusted, Trust::Untrusted] {
            let device = on(sim(profile.clone()))
                .trust(trust)
                .fallback(Fallback::Forbid);
            let device = device.build().unwrap();
            for (select, filter) in QUERIES {
                for (offset, rows) in [(0, 0), (0, 1), (0, 700), (13, 130)] {
                    let whole = input(offset + rows + 5);
                    let rows_of = whole.slice(offset, rows);
                    let wanted = query(select, filter);
                    let expected = compile(&reference, &wanted, &whole.schema()).run(&rows_of);
                    let kernel = compile(&device, &wanted, &whole.schema());
                    let output = kernel.run(&rows_of).unwrap();
                    assert_eq!(
                        output.batch,
                        expected.unwrap().batch,
                        "{select} where {filter}"
                    );
                    let [part] = &output.receipt.parts[..] else {
                        panic!("one part")
                    };
                    assert_eq!((&*part.device, part.path), ("sim", Path::Queued));
                    assert_eq!(part.clock, ClockKind::Virtual);
                    assert!(part.compute > Duration::ZERO);
                }
            }
            assert_eq!(device.devices()[1].in_flight, 0);
        }
    }
}

#[test]
fn every_column_read_counts_once() {
    let whole = input(640);
    let size = |name: &str| {
        let data = whole.column_by_name(name).unwrap().to_data();
        data.get_slice_memory_size().unwrap() as u64
    };
    let keys = 640; // what a dictionary's keys refer to is shared, not read
    // Predicate and payload at once; the same without a predicate; keys that are looked up.
    for (select, filter, expected) in [
        ("a, text", "a > 41", size("a") + size("text")),
        ("a, a + 1, text", "", size("a") + size("text")),
        ("b, d", "d > 5 and b > 30", size("b") + keys),
        ("view", "flag", 16 * 640 + 80 + size("flag")),
    ] {
        for runtime in [runtime(), on(sim(Profile::gpu())).build().unwrap()] {
            let kernel = compile(&runtime, &query(select, filter), &whole.schema());
            let receipt = kernel.run(&whole).unwrap().receipt;
            let device = &receipt.parts[0].device;
            assert_eq!(
                receipt.bytes_in, expected,
                "{select} where {filter} on {device}"
            );
        }
    }
}

#[test]
fn receipts_count_what_crosses_the_bus() {
    let whole = input(640);
    let device = on(sim(Profile::gpu())).build().unwrap();
    let output = compile(&device, &query("b, text", "a > 41"), &whole.schema())
        .run(&whole)
        .unwrap();
    let receipt = output.receipt;
    // The predicate's column and its validity, to whole cache lines; back comes a bit per row.
    assert!(
        (2640..=2800).contains(&receipt.bytes_to_device),
        "{}",
        receipt.bytes_to_device
    );
    assert!(
        (80..=256).contains(&receipt.bytes_from_device),
        "{}",
        receipt.bytes_from_device
    );
    assert!(receipt.bytes_copied > 0 && receipt.bytes_copied == receipt.bytes_out);

    let coherent = on(sim(Profile::coherent_gpu())).build().unwrap();
    let output = compile(&coherent, &query("b", "a > 41"), &whole.schema())
        .run(&whole)
        .unwrap();
    assert_eq!(
        (
            output.receipt.bytes_to_device,
            output.receipt.bytes_from_device
        ),
        (0, 0)
    );
}

/// What a device has made lies where devices reach it: nobody copies it there again.
#[test]
fn results_are_read_where_they_lie() {
    let whole = input(100_000);
    // Works on the host's memory as far as it was told of it, as a card does.
    let told = Profile {
        name: "told".to_owned(),
        coherent: true,
        ..Profile::gpu()
    };
    for profile in [Profile::gpu(), told] {
        let copies = !profile.coherent;
        let runtime = on(sim(profile)).record(true).build().unwrap();
        let first = compile(
            &runtime,
            &query("b + 1 as x, f * 2.0 as y", ""),
            &whole.schema(),
        );
        let made = first.run(&whole).unwrap().batch;
        // The same rows in memory of nobody's.
        let columns = made.columns().iter();
        let elsewhere = columns.map(|array| {
            let rows = UInt32Array::from_iter_values(0..array.len() as u32);
            take(array, &rows, None).unwrap()
        });
        let elsewhere = RecordBatch::try_new(made.schema(), elsewhere.collect()).unwrap();
        assert_eq!(made, elsewhere);
        let second = compile(
            &runtime,
            &query("x + 1 as z, y", "y > 99.0"),
            &made.schema(),
        );
        let there = second.run(&made).unwrap();
        let sent = second.run(&elsewhere).unwrap();
        assert_eq!(there.batch, sent.batch);
        // A row at a time: where a column begins in its slab is not where the device wants it.
        let odd = second.run(&made.slice(1, 90_000)).unwrap();
        let odd_elsewhere = second.run(&elsewhere.slice(1, 90_000)).unwrap();
        assert_eq!(odd.batch, odd_elsewhere.batch);

        let [there, sent] = [there.receipt, sent.receipt];
        assert_eq!(
            (there.staged, sent.staged.is_zero()),
            (Duration::ZERO, false)
        );
        assert_eq!(there.bytes_to_device, sent.bytes_to_device);
        assert!(there.bytes_to_device >= 16 * 100_000, "it crosses the bus");
        for receipt in [&there, &sent] {
            assert_eq!(receipt.parts[0].copy_in.is_zero(), !copies);
        }
        let recording = runtime.take_recording();
        let buffers = recording.batches.iter().map(|batch| batch.work.buffer);
        let buffers: Vec<HostBuffer> = buffers.collect();
        let (pinned, pageable) = (HostBuffer::Pinned, HostBuffer::Pageable);
        assert_eq!(buffers, [pageable, pinned, pageable, pinned, pageable]);
    }
}

#[test]
fn predictions_learn_what_a_named_device_takes() {
    let input = input(4096);
    let wanted = query("a, b + 1", "a > 3");
    let device = on(sim(Profile::gpu())).predictions(true).build().unwrap();
    let kernel = compile(&device, &wanted, &input.schema());
    let runs: Vec<_> = (0..40)
        .map(|_| kernel.run(&input).unwrap().receipt)
        .collect();
    let last = runs.last().unwrap();
    let part = &last.parts[0];
    assert_eq!(part.clock, ClockKind::Virtual);
    // By the device's clock, though the runtime's is another.
    let taken = (part.copy_in + part.compute + part.copy_out).as_secs_f64();
    let predicted = last.predicted.unwrap().as_secs_f64();
    assert!(
        (predicted / taken - 1.0).abs() < 0.2,
        "{predicted} predicted, {taken} taken"
    );

    let cpu = builder().predictions(true).build().unwrap();
    let receipt = compile(&cpu, &wanted, &input.schema()).run(&input).unwrap();
    assert!(receipt.receipt.predicted.is_some());
    // Not asked for, not predicted.
    let receipt = compile(&runtime(), &wanted, &input.schema()).run(&input);
    assert_eq!(receipt.unwrap().receipt.predicted, None);
}

#[test]
fn errors_are_the_cpus_too() {
    let mut values = vec![7; 5000];
    values[4321] = i32::MAX;
    let whole = batch(vec![("a", Arc::new(Int32Array::from(values)))]);
    let wanted = query("a + 1", "a > 0");
    let device = on(sim(Profile::gpu()))
        .fallback(Fallback::Forbid)
        .build()
        .unwrap();
    let Err(Error::Data(error)) = compile(&device, &wanted, &whole.schema()).run(&whole) else {
        panic!("row 4321 overflows");
    };
    let Err(Error::Data(expected)) = compile(&runtime(), &wanted, &whole.schema()).run(&whole)
    else {
        panic!("row 4321 overflows");
    };
    assert_eq!(error, expected);
    assert_eq!(error.row, 4321);
}

/// A device without remainders.
fn without_remainder() -> Profile {
    let mut profile = Profile::gpu();
    profile.cells = CellSet::full().without(|cell| cell.op == Op::Rem);
    profile
}

#[test]
fn what_the_device_lacks_runs_on_the_cpu_and_the_rest_stays() {
    let whole = input(500);
    let device = on(sim(without_remainder())).build().unwrap();
    for (select, filter) in [
        ("text, b", "a > 10 and b % 2 = 0"),
        ("b % 7, a + 1", "a > 10"),
        ("b % 7, a + 1, text", "a > 10 and b % 2 = 0"),
        ("list", "b % 2 = 0"),
    ] {
        let wanted = query(select, filter);
        let kernel = compile(&device, &wanted, &whole.schema());
        let output = kernel.run(&whole).unwrap();
        let expected = compile(&runtime(), &wanted, &whole.schema())
            .run(&whole)
            .unwrap();
        assert_eq!(output.batch, expected.batch, "{select} where {filter}");
        let fallback = output
            .receipt
            .parts
            .iter()
            .find(|part| part.path == Path::Fallback);
        let Some(Reason::Unsupported { device, lacks }) = fallback.map(|part| &part.reason) else {
            panic!("a part on the CPU: {:?}", output.receipt.parts);
        };
        assert_eq!(&**device, "sim");
        assert!(lacks.contains("rem"), "{lacks}");
        let stays = output
            .receipt
            .parts
            .iter()
            .any(|part| &*part.device == "sim");
        assert_eq!(stays, filter.contains("a > 10"), "{select} where {filter}");
        let explained = kernel.explain().to_string();
        assert!(explained.contains("rem"), "{explained}");
        // What is said of the parts, and of the devices, agrees.
        let of_cpu = match stays {
            true => "\ncpu: runs a part of it\n",
            false => "\ncpu: runs it\n",
        };
        assert!(explained.contains("\non cpu: sim lacks "), "{explained}");
        assert!(explained.contains(of_cpu), "{explained}");
        assert_eq!(
            explained.contains("\nsim: runs a part of it\n"),
            stays,
            "{explained}"
        );
    }
}

#[test]
fn a_forbidden_fallback_is_an_error_that_says_why() {
    let whole = input(10);
    let device = on(sim(without_remainder()))
        .fallback(Fallback::Forbid)
        .build()
        .unwrap();
    let wanted = query("b % 7", "a > 10");
    let refused = device.compile(&wanted, &whole.schema(), &unlade_expr::Semantics::arrow());
    let Err(Error::Unplaceable(error)) = refused else {
        panic!("{refused:?}")
    };
    let text = error.to_string();
    assert!(text.contains("sim") && text.contains("rem"), "{text}");
}

#[test]
fn auto_never_picks_a_simulator() {
    let whole = input(10);
    let runtime = builder().device(sim(Profile::gpu())).build().unwrap();
    let kernel = compile(&runtime, &query("", "a > 1"), &whole.schema());
    assert_eq!(&*kernel.run(&whole).unwrap().receipt.parts[0].device, "cpu");
    let explained = kernel.explain();
    let sim = &explained.candidates[1];
    assert!(
        sim.against.as_ref().unwrap().contains("simulator"),
        "{explained}"
    );
}

#[test]
fn batches_too_large_are_split_and_joined() {
    let whole = input(1000);
    let wanted = query("text, a + 1", "a > 41").with_mask();
    let mut profile = Profile::gpu();
    profile.max_rows = 300;
    let device = on(sim(profile)).build().unwrap();
    let output = compile(&device, &wanted, &whole.schema())
        .run(&whole)
        .unwrap();
    let expected = compile(&runtime(), &wanted, &whole.schema())
        .run(&whole)
        .unwrap();
    assert_eq!(output.batch, expected.batch);
    assert_eq!(output.mask, expected.mask);
    assert_eq!(output.receipt.parts.len(), 4);
    assert!(output.receipt.retries > 0);

    let mut values = vec![7; 1000];
    values[900] = i32::MAX;
    let whole = batch(vec![("a", Arc::new(Int32Array::from(values)))]);
    let kernel = compile(&device, &query("a + 1", "a > 0"), &whole.schema());
    let Err(Error::Data(error)) = kernel.run(&whole) else {
        panic!("row 900 overflows")
    };
    assert_eq!(error.row, 900);
}

/// What a device lacks room for is no fault of it: the CPU looks into such sets, and does batches with
/// such dictionaries.
#[test]
fn sets_and_tables_too_large_for_a_device_are_left_to_the_cpu() {
    let whole = input(1000);
    let members: Vec<String> = (0..40).map(|member| (member * 15).to_string()).collect();
    let in_set = format!("b in ({}) and a > 11", members.join(", "));
    let limited = |entries| {
        let profile = Profile {
            entries,
            ..Profile::gpu()
        };
        on(sim(profile))
    };
    let set = |set| EntryLimits {
        set,
        ..EntryLimits::NONE
    };
    let table = |table| EntryLimits {
        table,
        ..EntryLimits::NONE
    };
    let no_set = "room for a set of 320 bytes (319 at most)";
    let no_table = "room for a table of 24 bytes (23 at most)";
    let (by_set, by_table) = (("b", in_set.as_str()), ("d + 1 as e", "a > 11"));
    let on_device = vec!["sim"];
    for (query_of, entries, wanted, lacks) in [
        (by_set, set(320), on_device.clone(), None),
        // The rest of the query is not the set's.
        (by_set, set(319), vec!["sim", "cpu"], Some(no_set)),
        (by_table, table(24), on_device, None),
        (by_table, table(23), vec!["cpu"], Some(no_table)),
    ] {
        let wanted_query = query(query_of.0, query_of.1);
        let expected = compile(&runtime(), &wanted_query, &whole.schema());
        let expected = expected.run(&whole).unwrap();
        let device = limited(entries).build().unwrap();
        let kernel = compile(&device, &wanted_query, &whole.schema());
        for _ in 0..2 {
            let output = kernel.run(&whole).unwrap();
            assert_eq!(output.batch, expected.batch);
            assert!(output.batch.num_rows() > 0);
            assert_eq!(output.receipt.retries, 0);
            let parts = &output.receipt.parts;
            let names: Vec<&str> = parts.iter().map(|part| &*part.device).collect();
            assert_eq!(names, wanted, "{entries:?}");
            let why = lacks.map(|lacks: &str| Reason::Unsupported {
                device: "sim".into(),
                lacks: lacks.into(),
            });
            let last = parts.last().unwrap();
            assert_eq!(last.reason, why.unwrap_or(Reason::Forced));
        }
        // What the query itself has is told before any batch.
        let explained = kernel.explain().to_string();
        let told = lacks.is_some_and(|lacks| explained.contains(lacks));
        assert_eq!(told, lacks == Some(no_set), "{explained}");

        let Some(lacks) = lacks else { continue };
        let device = limited(entries).fallback(Fallback::Forbid).build().unwrap();
        let compiled = device.compile(
            &wanted_query,
            &whole.schema(),
            &unlade_expr::Semantics::arrow(),
        );
        let error = compiled.and_then(|kernel| kernel.run(&whole));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(&format!("sim: it lacks {lacks}")), "{error}");
    }
}

#[test]
fn the_cpu_helps_out_while_a_program_is_compiled() {
    let whole = input(100);
    let runtime = on(sim(Profile::gpu()))
        .background_compile(true)
        .build()
        .unwrap();
    let kernel = compile(&runtime, &query("text", "a > 41"), &whole.schema());
    let first = kernel.run(&whole).unwrap();
    assert_eq!(
        first.receipt.parts[0].reason,
        Reason::Compiling {
            device: "sim".into()
        }
    );
    assert_eq!(first.receipt.parts[0].path, Path::Fallback);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while &*kernel.run(&whole).unwrap().receipt.parts[0].device != "sim" {
        assert!(std::time::Instant::now() < deadline, "never compiled");
        std::thread::yield_now();
    }
}

#[test]
fn nothing_is_learnt_of_a_device_that_ran_nothing() {
    let whole = input(4096);
    let runtime = on(sim(Profile::gpu()))
        .background_compile(true)
        .predictions(true)
        .build()
        .unwrap();
    let kernel = compile(&runtime, &query("a", "a > 41"), &whole.schema());
    let first = kernel.run(&whole).unwrap().receipt;
    assert_eq!(first.parts[0].path, Path::Fallback);
    let second = kernel.run(&whole).unwrap().receipt;
    // How many rows are kept is learnt wherever they are filtered.
    let (first, second) = (first.predicted.unwrap(), second.predicted.unwrap());
    assert!(second > first.mul_f64(0.9), "{first:?}, then {second:?}");
}

#[test]
fn streams_and_traces_run_on_devices() {
    let whole = input(200);
    let runtime = on(sim(Profile::gpu()))
        .threads(2)
        .trace(true)
        .build()
        .unwrap();
    let kernel = compile(&runtime, &query("text", "a > 41"), &whole.schema());
    let batches: Vec<_> = (0..20).map(|_| Ok(whole.clone())).collect();
    let reader = RecordBatchIterator::new(batches, whole.schema());
    let mut compute = Duration::ZERO;
    for output in kernel.stream(reader) {
        compute += output.unwrap().receipt.parts[0].compute;
    }
    let trace = runtime.take_trace();
    let traced: u64 = trace
        .iter()
        .filter(|event| event.activity == Activity::Compute)
        .map(|event| event.duration_ns)
        .sum();
    assert_eq!(
        u128::from(traced),
        compute.as_nanos(),
        "the sums equal the receipts'"
    );
    let mut reached: HashMap<&str, u64> = HashMap::new();
    for event in trace.iter().filter(|event| event.activity.is_work()) {
        let end = reached.entry(&event.queue).or_default();
        assert!(event.start_ns >= *end, "events of a queue do not overlap");
        *end = event.end_ns();
    }
    assert_eq!(reached.len(), 3, "in, compute, out: {reached:?}");
}

#[test]
fn memory_comes_back() {
    let whole = input(5000);
    let runtime = on(sim(Profile::gpu())).build().unwrap();
    let kernel = compile(&runtime, &query("", "a > 41"), &whole.schema());
    let output = kernel.run(&whole).unwrap();
    assert!(runtime.memory().leased > 0);
    drop(output);
    assert_eq!(runtime.memory().leased, 0);
}

#[test]
fn placement_chooses_among_real_devices_and_says_why() {
    let whole = input(2000);
    let sim = SimDevice::builder(Profile::gpu()).name("gpu").build();
    let gpu = Arc::new(Disguised::new(sim, Duration::ZERO));
    let runtime = builder().device(gpu).build().unwrap();
    let wanted = query("text", "a > 41");
    let kernel = compile(&runtime, &wanted, &whole.schema());
    let expected = compile(&common::runtime(), &wanted, &whole.schema())
        .run(&whole)
        .unwrap();
    for _ in 0..50 {
        let output = kernel.run(&whole).unwrap();
        assert_eq!(output.batch, expected.batch);
        let part = &output.receipt.parts[0];
        assert!(
            matches!(part.reason, Reason::Cheapest { next: Some(_), .. }),
            "{:?}",
            part.reason
        );
        assert!(output.receipt.predicted.is_some());
    }
    let explained = kernel.explain();
    assert!(
        explained
            .candidates
            .iter()
            .all(|candidate| candidate.cost.len() == 10),
        "{explained}"
    );
    let why = explained.why().to_string();
    let mut lines = why.lines().skip(1);
    let names: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let candidates = explained.candidates.iter();
    let expected = ["device"]
        .into_iter()
        .chain(candidates.map(|it| &*it.device));
    assert_eq!(names, expected.collect::<Vec<_>>(), "{why}");
    assert_eq!(lines.count(), 11, "a clock and ten terms: {why}");
    for candidate in &explained.candidates {
        let sum = |terms: &[unlade_runtime::CostTerm]| terms.iter().map(|term| term.nanos).sum();
        let (total, terms) = candidate.cost.split_last().unwrap();
        let sum: u64 = sum(terms);
        assert!(sum.abs_diff(total.nanos) <= 10, "{sum} of {total:?}");
    }
}
