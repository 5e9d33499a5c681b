//! Users' functions: computed on the CPU before the program, wherever that runs.

mod common;

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{
    Array, ArrayRef, Int32Array, Int64Array, ListArray, RecordBatch, RecordBatchIterator,
    StringArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use common::{batch, builder, compile};
use unlade_expr::{
    ExprErrorKind, Query, Semantics, Signature, parse_expr_with, parse_select_list_with,
};
use unlade_hal::Device;
use unlade_runtime::{
    CallReceipt, Error, Fallback, FunctionErrorKind, FunctionFailure, Kernel, Output, Path,
    Placement, Runtime, RuntimeBuilder, Ticket, UserFunction, Within,
};
use unlade_sim_device::{Profile, SimDevice};

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

/// `twice(x)` is `x * 2`, an error where that overflows; it counts its calls.
fn twice(calls: &Arc<AtomicUsize>) -> UserFunction {
    let calls = Arc::clone(calls);
    let signature = Signature::new("twice", [DataType::Int64], DataType::Int64).unwrap();
    UserFunction::new(signature, move |arguments| {
        calls.fetch_add(1, Ordering::Relaxed);
        let numbers = arguments[0].as_primitive::<Int64Type>();
        let mut doubled = Vec::with_capacity(numbers.len());
        for (row, number) in numbers.iter().enumerate() {
            doubled.push(match number {
                Some(number) => Some(number.checked_mul(2).ok_or_else(|| {
                    FunctionFailure::new(format!("{number} is too large")).at(row as u64)
                })?),
                None => None,
            });
        }
        Ok(Arc::new(Int64Array::from(doubled)))
    })
}

/// `size(text)`: its bytes, and those of no text are none.
fn size() -> UserFunction {
    let signature = Signature::new("size", [DataType::Utf8], DataType::Int32).unwrap();
    UserFunction::new(signature.never_null(), |arguments| {
        let texts = arguments[0].as_string::<i32>();
        let sizes = texts.iter().map(|text| text.map_or(0, str::len) as i32);
        Ok(Arc::new(Int32Array::from_iter_values(sizes)))
    })
}

/// `loud(text)`: in capitals.
fn loud() -> UserFunction {
    let signature = Signature::new("loud", [DataType::Utf8], DataType::Utf8).unwrap();
    UserFunction::new(signature, |arguments| {
        let texts = arguments[0].as_string::<i32>().iter();
        let loud: StringArray = texts.map(|text| text.map(str::to_uppercase)).collect();
        Ok(Arc::new(loud))
    })
}

struct Setup {
    runtime: Runtime,
    calls: Arc<AtomicUsize>,
}

impl Setup {
    fn new(builder: RuntimeBuilder) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let runtime = builder.build().unwrap();
        for function in [twice(&calls), size(), loud()] {
            runtime.register(function).unwrap();
        }
        Setup { runtime, calls }
    }

    fn query(&self, select: &str, filter: &str) -> Query {
        let known = self.runtime.functions();
        let query = match filter {
            "" => Query::all(),
            filter => Query::filter(parse_expr_with(filter, &known).unwrap()),
        };
        match select {
            "" => query,
            select => query.select(parse_select_list_with(select, &known).unwrap()),
        }
    }

    fn kernel(&self, select: &str, filter: &str, schema: &SchemaRef) -> Kernel {
        compile(&self.runtime, &self.query(select, filter), schema)
    }

    /// How often `twice` was called since it was last asked.
    fn calls(&self) -> usize {
        self.calls.swap(0, Ordering::Relaxed)
    }
}

/// A runtime that is told to have a simulated device do what it can.
fn on_sim() -> RuntimeBuilder {
    let device = SimDevice::builder(Profile::gpu()).build();
    let name = device.info().name.as_str().into();
    builder()
        .device(Arc::new(device))
        .placement(Placement::Device(name))
        .fallback(Fallback::Forbid)
        .gather_within(LONG)
}

/// Rows of numbers, some null, and texts.
fn rows(from: i64, to: i64) -> RecordBatch {
    let numbers = (from..to).map(|row| (row % 7 != 0).then_some(row % 100 - 50));
    let texts = (from..to).map(|row| (row % 5 != 0).then(|| format!("text {row}")));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("unread", Arc::new(Int64Array::from_iter_values(from..to))),
        ("n", Arc::new(numbers.collect::<Int64Array>())),
        ("text", Arc::new(texts.collect::<StringArray>())),
    ];
    batch(columns)
}

fn data(error: Result<Output, Error>) -> (Option<u64>, FunctionErrorKind, String) {
    match error {
        Err(Error::Function(error)) => (error.row, error.kind, error.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_function_that_mirrors_an_operation_has_its_results_on_every_device() {
    let batch = rows(0, 3000);
    let pairs = [
        ("twice(n)", "", "n * 2", ""),
        (
            "twice(n) as m, text",
            "twice(n) > 10",
            "n * 2 as m, text",
            "n * 2 > 10",
        ),
        (
            "twice(n + 1) - 1 as m",
            "twice(twice(n)) < 60",
            "(n + 1) * 2 - 1 as m",
            "n * 4 < 60",
        ),
        (
            "",
            "n > 0 and twice(n) % 3 = 0",
            "",
            "n > 0 and n * 2 % 3 = 0",
        ),
        (
            "case when n > 0 then twice(n) else n end as m",
            "",
            "case when n > 0 then n * 2 else n end as m",
            "",
        ),
        (
            "n",
            "coalesce(twice(n), 7) = 7",
            "n",
            "coalesce(n * 2, 7) = 7",
        ),
    ];
    for setup in [Setup::new(builder()), Setup::new(on_sim())] {
        for (select, filter, plain_select, plain_filter) in pairs {
            let called = setup
                .kernel(select, filter, &batch.schema())
                .run(&batch)
                .unwrap();
            let plain = setup.kernel(plain_select, plain_filter, &batch.schema());
            let plain = plain.run(&batch).unwrap();
            assert_eq!(
                called.batch.columns(),
                plain.batch.columns(),
                "{select} {filter}"
            );
            assert!(plain.receipt.calls.is_empty());
            let parts = |output: &Output| -> Vec<(Arc<str>, Path)> {
                let parts = output.receipt.parts.iter();
                parts
                    .map(|part| (Arc::clone(&part.device), part.path))
                    .collect()
            };
            assert_eq!(
                parts(&called),
                parts(&plain),
                "the rest runs where it was told to"
            );
        }
    }
}

#[test]
fn equal_calls_are_done_once_and_for_every_row() {
    let setup = Setup::new(builder());
    let batch = rows(0, 50);
    let kernel = setup.kernel(
        "twice(n), twice(n) + 1 as m",
        "twice(n) > 1000 and twice(n) < 0",
        &batch.schema(),
    );
    let output = kernel.run(&batch).unwrap();
    assert_eq!((setup.calls(), output.batch.num_rows()), (1, 0));
    let [CallReceipt { function, rows, .. }] = &output.receipt.calls[..] else {
        panic!("{:?}", output.receipt.calls);
    };
    assert_eq!((&**function, *rows), ("twice", 50));
    assert!(output.receipt.taken >= output.receipt.calls[0].taken);
    assert_eq!(
        kernel.input_columns(),
        [1],
        "what arguments are made of is read"
    );
    assert_eq!(kernel.input_schema(), &batch.schema());
}

#[test]
fn texts_go_in_and_out() {
    for setup in [Setup::new(builder()), Setup::new(on_sim())] {
        let batch = rows(0, 200);
        let kernel = setup.kernel(
            "loud(text) as l, size(loud(text)) as s, *",
            "size(text) > 6",
            &batch.schema(),
        );
        let output = kernel.run(&batch).unwrap().batch;
        let texts = batch.column(2).as_string::<i32>();
        let kept: Vec<&str> = texts
            .iter()
            .flatten()
            .filter(|text| text.len() > 6)
            .collect();
        let loud = output.column(0).as_string::<i32>();
        let wanted: Vec<String> = kept.iter().map(|text| text.to_uppercase()).collect();
        assert!(loud.iter().flatten().eq(wanted.iter().map(String::as_str)));
        assert_eq!(output.num_columns(), 5);
        assert!(!output.schema().field(1).is_nullable());
    }
}

#[test]
fn errors_name_the_row_of_the_callers_batch() {
    for setup in [Setup::new(builder()), Setup::new(on_sim())] {
        let large = |at: usize| {
            let numbers = (0..100).map(|row| if row == at { i64::MAX } else { 1 });
            batch(vec![(
                "n",
                Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef,
            )])
        };
        let schema = large(0).schema();
        // Behind a filter that drops the row, and in a branch that is not taken.
        for filter in [
            "n < 5 and twice(n) > 0",
            "case when n > 5 then 1 else twice(n) end > 0",
        ] {
            let kernel = setup.kernel("", filter, &schema);
            let (row, kind, message) = data(kernel.run(&large(42)));
            assert_eq!((row, kind), (Some(42), FunctionErrorKind::Failed));
            assert_eq!(
                message,
                "row 42: function `twice` failed: 9223372036854775807 is too large"
            );
        }
        // What an argument computes fails for every row, too, and is an error of the data.
        let kernel = setup.kernel("twice(n + 1)", "n < 5", &schema);
        let Err(Error::Data(error)) = kernel.run(&large(17)) else {
            panic!("it overflows");
        };
        assert_eq!(error.row, 17);
    }
}

#[test]
fn streams_have_the_results_and_errors_of_each_batch() {
    let sizes = [30, 1, 0, 77, 5, 64, 3];
    for setup in [
        Setup::new(builder().threads(3)),
        Setup::new(on_sim()),
        Setup::new(on_sim().threads(2)),
    ] {
        let mut from = 1000;
        let batches: Vec<RecordBatch> = (0..70)
            .map(|number| {
                let to = from + sizes[number % sizes.len()];
                let batch = rows(from, to);
                from = to;
                batch
            })
            .collect();
        let schema = batches[0].schema();
        let kernel = setup.kernel("twice(n) as m, loud(text) as l", "twice(n) > 0", &schema);
        let alone: Vec<Output> = batches
            .iter()
            .map(|batch| kernel.run(batch).unwrap())
            .collect();
        setup.calls();
        let reader: Vec<_> = batches.iter().cloned().map(Ok).collect();
        let stream = kernel.stream(RecordBatchIterator::new(reader, Arc::clone(&schema)));
        let together: Vec<Output> = stream.map(Result::unwrap).collect();
        assert_eq!(setup.calls(), batches.len(), "once for each batch");
        assert_eq!(alone.len(), together.len());
        for (alone, together) in alone.iter().zip(&together) {
            assert_eq!(alone.batch, together.batch);
            let calls = |output: &Output| -> Vec<(Arc<str>, u64)> {
                let calls = output.receipt.calls.iter();
                calls
                    .map(|call| (Arc::clone(&call.function), call.rows))
                    .collect()
            };
            assert_eq!(calls(alone), calls(together));
        }
        // The row is the batch's own, and results of the batches before it come first.
        let bad = batch(vec![
            ("unread", Arc::new(Int64Array::from(vec![0, 0])) as ArrayRef),
            ("n", Arc::new(Int64Array::from(vec![1, i64::MAX]))),
            ("text", Arc::new(StringArray::from(vec!["a", "b"]))),
        ]);
        let reader = batches[..20]
            .iter()
            .cloned()
            .chain([bad])
            .chain(batches[20..].iter().cloned());
        let reader: Vec<_> = reader.map(Ok).collect();
        let mut stream = kernel.stream(RecordBatchIterator::new(reader, schema));
        for expected in &alone[..20] {
            assert_eq!(stream.next().unwrap().unwrap().batch, expected.batch);
        }
        assert_eq!(data(stream.next().unwrap()).0, Some(1));
        assert!(stream.next().is_none(), "after an error there is nothing");
    }
}

#[test]
fn small_batches_of_a_stream_are_still_done_together() {
    let setup = Setup::new(on_sim());
    let batches: Vec<RecordBatch> = (0..40)
        .map(|number| rows(number * 50, number * 50 + 40))
        .collect();
    let schema = batches[0].schema();
    let kernel = setup.kernel("twice(n) + 1 as m", "twice(n) > 0", &schema);
    let reader: Vec<_> = batches.iter().cloned().map(Ok).collect();
    let outputs: Vec<Output> = kernel
        .stream(RecordBatchIterator::new(reader, schema))
        .map(Result::unwrap)
        .collect();
    assert!(outputs.iter().any(|output| output.receipt.together > 1));
    assert!(outputs.iter().all(|output| output.receipt.calls.len() == 1));
}

#[test]
fn a_large_batch_of_a_stream_is_called_for_once_and_then_cut() {
    let setup = Setup::new(builder().threads(2));
    let large = |last: i64| {
        let numbers = (0..5_000_000).map(|row| if row == 4_999_998 { last } else { row });
        batch(vec![(
            "n",
            Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef,
        )])
    };
    let good = large(1);
    let kernel = setup.kernel("twice(n) as m", "twice(n) < 1000", &good.schema());
    let stream = |last: &RecordBatch| -> Vec<Result<Output, Error>> {
        let batches = [Ok(good.clone()), Ok(last.clone())];
        let reader = RecordBatchIterator::new(batches, good.schema());
        kernel.stream(reader).collect()
    };
    // How few rows are kept is not known before anything ran.
    let learns = stream(&good);
    assert!(learns.iter().all(Result::is_ok));
    setup.calls();
    for output in stream(&good) {
        let Output { batch, receipt, .. } = output.unwrap();
        assert!(receipt.parts.len() > 1, "it is done in pieces");
        assert_eq!((receipt.calls.len(), receipt.calls[0].rows), (1, 5_000_000));
        assert!(receipt.taken >= receipt.calls[0].taken);
        let values = batch.column(0).as_primitive::<Int64Type>().values();
        let wanted = (0..500).map(|row| row * 2).chain([2]);
        assert!(values.iter().copied().eq(wanted));
    }
    assert_eq!(setup.calls(), 2);
    let failed = stream(&large(i64::MAX)).pop().expect("it has a result");
    assert_eq!(data(failed).0, Some(4_999_998));
}

#[test]
fn what_a_function_gives_must_be_what_it_promised() {
    let runtime = common::runtime();
    let int64 = || [DataType::Int64];
    let register = |name: &str, body: fn(&[ArrayRef]) -> Result<ArrayRef, FunctionFailure>| {
        let signature = Signature::new(name, int64(), DataType::Int64).unwrap();
        runtime
            .register(UserFunction::new(signature, body))
            .unwrap()
    };
    let short = register("short", |arguments| Ok(arguments[0].slice(0, 1)));
    let typed = register("typed", |arguments| {
        Ok(Arc::new(Int32Array::from(vec![0; arguments[0].len()])))
    });
    let panics = register("panics", |_| panic!("no luck"));
    let caused = register("caused", |_| Err("x".parse::<i64>().unwrap_err().into()));
    let rows = rows(0, 10);
    let run = |function: &Arc<Signature>| {
        let query = Query::all().select([function.call([unlade_expr::col("n")])]);
        compile(&runtime, &query, &rows.schema()).run(&rows)
    };
    let (row, kind, message) = data(run(&short));
    assert_eq!((row, kind), (None, FunctionErrorKind::Malformed));
    assert_eq!(
        message,
        "function `short` broke its promise: it returned 1 rows for 10"
    );
    assert_eq!(data(run(&typed)).1, FunctionErrorKind::Malformed);
    let (_, kind, message) = data(run(&panics));
    assert_eq!(
        (kind, &*message),
        (
            FunctionErrorKind::Panicked,
            "function `panics` panicked: no luck"
        )
    );
    let Err(error) = run(&caused) else {
        panic!("it fails");
    };
    let cause = error.source().expect("it has a cause");
    assert!(cause.is::<std::num::ParseIntError>(), "{cause}");
}

#[test]
fn a_query_needs_the_functions_of_its_own_runtime() {
    let setup = Setup::new(builder());
    let schema = rows(0, 1).schema();
    let query = setup.query("twice(n)", "");
    let other = common::runtime();
    let refused = |runtime: &Runtime| match runtime.compile(&query, &schema, &Semantics::arrow()) {
        Err(Error::Expr(error)) => error.kind(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&other), ExprErrorKind::Unknown);
    let signature = Signature::new("twice", [DataType::Int64], DataType::Int32).unwrap();
    other
        .register(UserFunction::new(signature, |_| unreachable!()))
        .unwrap();
    assert_eq!(refused(&other), ExprErrorKind::Type);
    let taken = setup.runtime.register(twice(&setup.calls));
    assert!(matches!(taken, Err(Error::Expr(_))), "{taken:?}");
}

#[test]
fn explain_and_traces_say_what_the_cpu_calls() {
    let setup = Setup::new(on_sim().trace(true));
    let batch = rows(0, 100);
    let kernel = setup.kernel("twice(n + 1) as m", "size(text) > 6", &batch.schema());
    let explain = kernel.explain();
    let calls: Vec<(&str, &str)> = explain
        .calls
        .iter()
        .map(|call| (&*call.call, &*call.function))
        .collect();
    let wanted = [
        ("size(text)", "size(Utf8) -> Int32, never null"),
        ("twice(n + 1)", "twice(Int64) -> Int64"),
    ];
    assert_eq!(calls, wanted);
    assert_eq!(explain.reads, ["n", "text"]);
    let text = explain.to_string();
    let line = "calls twice(n + 1) on cpu, for every row, before the rest: the user's twice(Int64) -> Int64";
    assert!(text.lines().any(|each| each == line), "{text}");
    kernel.run(&batch).unwrap();
    let on_cpu = setup
        .runtime
        .take_trace()
        .into_iter()
        .filter(|event| &*event.device == "cpu");
    assert!(on_cpu.count() >= 2, "the calls are in the trace");
}

#[test]
fn tickets_and_pinned_batches_work_and_the_ended_are_not_called() {
    let setup = Setup::new(on_sim());
    let batch = rows(0, 500);
    let kernel = setup.kernel("twice(n) as m", "twice(n) > 3", &batch.schema());
    let alone = kernel.run(&batch).unwrap().batch;
    let ticket = kernel.submit(batch.clone()).unwrap();
    assert_eq!(ticket.wait().unwrap().batch, alone);
    let resident = setup
        .runtime
        .pin(std::slice::from_ref(&batch), None)
        .unwrap();
    let outputs = kernel.run_resident(&resident).unwrap();
    assert_eq!(outputs[0].batch, alone);
    assert_eq!(outputs[0].receipt.calls.len(), 1);
    assert!(
        outputs[0].receipt.bytes_to_device > 0,
        "its results are not pinned"
    );
    let session = setup.runtime.session("ended").open().unwrap();
    let query = setup.query("twice(n) as m", "");
    let kernel = session
        .compile(&query, &batch.schema(), &Semantics::arrow())
        .unwrap();
    session.cancel();
    setup.calls();
    assert!(matches!(kernel.run(&batch), Err(Error::Cancelled)));
    assert_eq!(setup.calls(), 0);
}

#[test]
fn arguments_find_room_in_little_memory() {
    let budget = 1 << 20;
    let setup = Setup::new(builder().memory_budget(budget).pool_reserve(budget));
    let batch = rows(0, 60_000);
    let kernel = setup.kernel("n", "twice(n + 1) = 4", &batch.schema());
    // Of another runtime, whose memory results may keep.
    let expected = common::query("n", "(n + 1) * 2 = 4");
    let expected = compile(&common::runtime(), &expected, &batch.schema());
    let expected = expected.run(&batch).unwrap().batch;
    assert_eq!(
        kernel.run(&batch).unwrap().batch.columns(),
        expected.columns()
    );
    let reader = RecordBatchIterator::new([Ok(batch.clone()), Ok(batch.clone())], batch.schema());
    for output in kernel.stream(reader) {
        assert_eq!(output.unwrap().batch.columns(), expected.columns());
    }
}

/// With one thread, which they have, it would never end.
#[test]
fn who_the_runtime_calls_does_not_wait_for_its_tickets() {
    let runtime = builder().threads(1).build().unwrap();
    let plain = compile(&runtime, &Query::all(), &rows(0, 1).schema());
    let refused = |within: &str, error: String| {
        let words = format!("inside of {within} that the ticket's own runtime has called");
        assert!(error.contains(&words), "{error}");
    };

    let kernel = Arc::new(Mutex::new(Some(plain.clone())));
    let inner = Arc::clone(&kernel);
    let signature = Signature::new("waits", [DataType::Int64], DataType::Int64).unwrap();
    let waits = UserFunction::new(signature, move |arguments| {
        let kernel = inner.lock().unwrap().clone().expect("it is set");
        kernel.run(&rows(0, 3))?;
        let ticket = kernel.submit(rows(0, 3))?;
        assert!(ticket.may_wait().is_err() && !ticket.is_done());
        let ticket = ticket
            .wait_timeout(Duration::ZERO)
            .expect_err("it is not done");
        let error = ticket.wait_timeout(LONG).expect("it does not wait");
        assert!(matches!(error, Err(Error::WaitWithin(Within::Function))));
        kernel.submit(rows(0, 3))?.wait()?;
        Ok(Arc::clone(&arguments[0]))
    });
    let waits = runtime.register(waits).unwrap();
    let query = Query::all().select([waits.call([unlade_expr::col("n")])]);
    let waits = compile(&runtime, &query, &rows(0, 1).schema());
    let ticket = waits.submit(rows(0, 10)).unwrap();
    let told = ticket.wait_timeout(LONG).expect("it has an end");
    refused("a user's function", told.unwrap_err().to_string());
    kernel.lock().unwrap().take();

    // A callback has the thread; while it does, so would a reader have to wait for it.
    let (sender, receiver) = mpsc::channel();
    let (begin, begun) = mpsc::channel::<()>();
    let (go_on, gone_on) = mpsc::channel::<()>();
    let signature = Signature::new("held", [DataType::Int64], DataType::Int64).unwrap();
    let begun = Mutex::new(begun);
    let held = UserFunction::new(signature, move |arguments| {
        let _begun = begun.lock().unwrap().recv_timeout(LONG);
        Ok(Arc::clone(&arguments[0]))
    });
    let held = runtime.register(held).unwrap();
    let query = Query::all().select([held.call([unlade_expr::col("n")])]);
    let held = compile(&runtime, &query, &rows(0, 1).schema());
    let within = plain.clone();
    let ticket = held.submit(rows(0, 3)).unwrap();
    ticket.on_complete(move |_| {
        let waited = within.submit(rows(0, 3)).and_then(Ticket::wait);
        sender.send(waited.unwrap_err().to_string()).unwrap();
        let _ended = gone_on.recv_timeout(LONG);
    });
    begin.send(()).unwrap();
    let within = plain.clone();
    let schema = plain.input_schema();
    let read = move || {
        let output = within.submit(rows(0, 3)).and_then(Ticket::wait);
        Some(output.map(|output| output.batch).map_err(ArrowError::from))
    };
    let reader = RecordBatchIterator::new(std::iter::from_fn(read), Arc::clone(schema));
    refused("a callback", receiver.recv_timeout(LONG).unwrap());
    let read = plain.stream(reader).next().expect("an error");
    go_on.send(()).unwrap();
    refused("a reader", read.unwrap_err().to_string());
}

/// An executor that is driven there polls whatever it has, also what nobody there waits for.
#[test]
fn a_ticket_that_is_polled_inside_of_a_function_is_pending() {
    let runtime = builder().threads(1).build().unwrap();
    let plain = compile(&runtime, &Query::all(), &rows(0, 1).schema());
    let kernel = Arc::new(Mutex::new(Some(plain)));
    let inner = Arc::clone(&kernel);
    let (sender, receiver) = mpsc::channel();
    let signature = Signature::new("polls", [DataType::Int64], DataType::Int64).unwrap();
    let polls = UserFunction::new(signature, move |arguments| {
        let kernel = inner.lock().unwrap().clone().expect("it is set");
        let mut ticket = kernel.submit(rows(0, 3))?;
        let polled = Pin::new(&mut ticket).poll(&mut Context::from_waker(Waker::noop()));
        sender.send((polled.is_pending(), ticket)).unwrap();
        Ok(Arc::clone(&arguments[0]))
    });
    let polls = runtime.register(polls).unwrap();
    let query = Query::all().select([polls.call([unlade_expr::col("n")])]);
    let polls = compile(&runtime, &query, &rows(0, 1).schema());
    let outer = polls.submit(rows(0, 10)).unwrap();
    let (was_pending, ticket) = receiver.recv_timeout(LONG).unwrap();
    assert!(was_pending);
    let output = ticket.wait_timeout(LONG).expect("it has an end").unwrap();
    assert_eq!(output.batch, rows(0, 3));
    outer.wait_timeout(LONG).expect("it has an end").unwrap();
    kernel.lock().unwrap().take();
}

/// Items of lists are called otherwise by each who makes them.
#[test]
fn names_of_items_do_not_tell_types_apart() {
    let list = |name: &str| DataType::List(Arc::new(Field::new(name, DataType::Int64, true)));
    let lists = |name: &str| {
        let item = Arc::new(Field::new(name, DataType::Int64, true));
        let values = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let offsets = OffsetBuffer::new(vec![0, 2, 2, 3].into());
        Arc::new(ListArray::new(item, offsets, values, None)) as ArrayRef
    };
    let runtime = common::runtime();
    let signature = Signature::new("same", [list("item")], list("entry")).unwrap();
    let same = UserFunction::new(signature, move |arguments| {
        assert_eq!(arguments[0].data_type(), &list("item"));
        Ok(Arc::clone(&arguments[0]))
    });
    let same = runtime.register(same).unwrap();
    let batch = batch(vec![("l", lists("element"))]);
    let query = Query::all().select([same.call([unlade_expr::col("l")]).alias("s")]);
    let output = compile(&runtime, &query, &batch.schema())
        .run(&batch)
        .unwrap();
    assert_eq!(output.batch.column(0), &lists("entry"));
    let values = |array: &ArrayRef| array.as_list::<i32>().values().to_data().buffers()[0].as_ptr();
    assert_eq!(values(output.batch.column(0)), values(batch.column(0)));

    // What is laid out otherwise is another type; the error says what to do.
    let length = runtime.register(size()).unwrap();
    let view = DataType::Utf8View;
    let schema = Arc::new(Schema::new(vec![Field::new("t", view, true)]));
    let query = Query::all().select([length.call([unlade_expr::col("t")])]);
    let refused = runtime.compile(&query, &schema, &Semantics::arrow());
    let Err(Error::Expr(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.kind(), ExprErrorKind::Type);
    let help = error.help().unwrap_or_default();
    assert!(
        help.contains("register the function for Utf8View"),
        "{help}"
    );
}
