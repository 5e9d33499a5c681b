//! Sessions: what they share, what they may count on, and how they end.

mod common;
mod gated;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchIterator};
use arrow_schema::DataType;
use common::{batch, builder, query};
use gated::Gated;
use unlade_expr::{Query, Semantics, Signature, parse_select_list_with};
use unlade_hal::Device;
use unlade_runtime::{
    Activity, DeviceRequest, Error, Kernel, Placement, Priority, Replay, Runtime, RuntimeBuilder,
    Session, TraceEvent, UserFunction,
};
use unlade_sim_device::{Profile, SimDevice};

/// As many as a device takes lists at once.
const DEPTH: usize = 4;

const LONG: Duration = Duration::from_secs(20);

fn input(rows: i64) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    batch(vec![("n", numbers)])
}

fn sim(name: &str) -> Arc<dyn Device> {
    Arc::new(SimDevice::builder(Profile::gpu()).name(name).build())
}

fn on(device: Arc<dyn Device>) -> RuntimeBuilder {
    let name = device.info().name.as_str().into();
    builder().device(device).placement(Placement::Device(name))
}

/// `n + 1` of the rows with an even `n`.
fn kernel(session: &Session) -> Kernel {
    let query = query("n + 1", "n % 2 = 0");
    let schema = input(1).schema();
    session
        .compile(&query, &schema, &Semantics::arrow())
        .unwrap()
}

fn request(text: &str) -> DeviceRequest {
    text.parse().unwrap()
}

/// Until `is_so`, for as long as a slow machine may take.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn in_flight(runtime: &Runtime) -> u32 {
    runtime
        .devices()
        .iter()
        .map(|device| device.in_flight)
        .sum()
}

/// A runtime whose one device is full of lists that do not come back before the gate is open.
struct Full {
    runtime: Runtime,
    gate: Arc<Gated>,
    tickets: Vec<unlade_runtime::Ticket>,
    busy: Session,
    since: Instant,
}

impl Full {
    fn new() -> Self {
        let gate = Gated::new();
        let runtime = on(gate.clone()).threads(2 * DEPTH).build().unwrap();
        let busy = runtime.session("busy").open().unwrap();
        let kernel = kernel(&busy);
        let tickets = (0..DEPTH)
            .map(|_| kernel.submit(input(100)).unwrap())
            .collect();
        until("the device is full", || in_flight(&runtime) == DEPTH as u32);
        Full {
            runtime,
            gate,
            tickets,
            busy,
            since: Instant::now(),
        }
    }

    /// Those who had the device have their results, and nothing is held.
    fn end(self) {
        // Not because somebody held the device to be lost.
        assert!(self.since.elapsed() < LONG);
        self.gate.open();
        for ticket in self.tickets {
            assert_eq!(ticket.wait().unwrap().batch.num_rows(), 50);
        }
        until("memory comes back", || self.runtime.memory().leased == 0);
    }
}

#[test]
fn waiting_for_a_turn_is_traced_and_recorded_as_such() {
    let gate = Gated::new();
    let runtime = on(gate.clone()).threads(2 * DEPTH).trace(true).record(true);
    let runtime = runtime.build().unwrap();
    let kernel = kernel(&runtime.session("busy").open().unwrap());
    let submit = |_| kernel.submit(input(100)).unwrap();
    let tickets: Vec<_> = (0..DEPTH).map(submit).collect();
    until("the device is full", || in_flight(&runtime) == DEPTH as u32);
    let begins = Arc::new(AtomicU32::new(0));
    let late = thread::spawn({
        let (kernel, begins) = (kernel.clone(), Arc::clone(&begins));
        move || {
            begins.store(1, Ordering::SeqCst);
            kernel.run(&input(100)).unwrap()
        }
    });
    until("the late one is there", || {
        begins.load(Ordering::SeqCst) == 1
    });
    thread::sleep(Duration::from_millis(50)); // for which it waits, or most of it
    gate.open();
    late.join().unwrap();
    tickets
        .into_iter()
        .for_each(|ticket| drop(ticket.wait().unwrap()));

    let of_the_late_one = |event: &&TraceEvent| event.batch == DEPTH as u64;
    let trace = runtime.take_trace();
    let waits = trace.iter().filter(of_the_late_one);
    let mut waits = waits.filter(|event| event.activity == Activity::WaitForTurn);
    let wait = waits.next().expect("it waited");
    assert!(wait.queue.starts_with("waits: ") && !wait.activity.is_work());
    let recording = runtime.take_recording();
    assert_eq!(recording.batches.len(), DEPTH + 1);
    let mut batches = recording.batches.iter();
    let late = batches.find(|it| it.batch == DEPTH as u64).unwrap();
    assert_eq!(late.turn_ns, wait.duration_ns);
    // The host did not work for it meanwhile.
    let replayed = Replay::of(&recording).run().unwrap();
    assert_eq!(
        (replayed.batches, replayed.sessions.len()),
        (DEPTH as u64 + 1, 1)
    );
    assert_eq!(&*replayed.sessions[0].session, "busy");
    assert!(runtime.take_recording().batches.is_empty(), "taken once");
}

#[test]
fn a_cancelled_session_does_not_wait_for_its_turn() {
    let full = Full::new();
    let session = full.runtime.session("second").open().unwrap();
    let kernel = kernel(&session);
    let ticket = kernel.submit(input(10)).unwrap();
    let waits = thread::spawn({
        let kernel = kernel.clone();
        move || kernel.run(&input(10)).unwrap_err()
    });
    thread::sleep(Duration::from_millis(20));
    session.cancel();
    assert!(matches!(waits.join().unwrap(), Error::Cancelled));
    assert!(matches!(ticket.wait(), Err(Error::Cancelled)));
    assert!(matches!(kernel.run(&input(10)), Err(Error::Cancelled)));
    assert!(matches!(
        kernel.submit(input(10)).unwrap().wait(),
        Err(Error::Cancelled)
    ));
    assert!(session.status().cancelled);
    full.end();
}

#[test]
fn a_caller_lets_go_of_what_is_on_a_device() {
    for by_deadline in [false, true] {
        let gate = Gated::new();
        let runtime = on(gate.clone()).build().unwrap();
        let session = runtime.session("impatient");
        let session = match by_deadline {
            true => session.deadline(Duration::from_millis(300)),
            false => session,
        };
        let session = session.open().unwrap();
        let waits = thread::spawn({
            let kernel = kernel(&session);
            move || kernel.run(&input(100)).unwrap_err()
        });
        until("it is on the device", || in_flight(&runtime) == 1);
        if !by_deadline {
            session.cancel();
        }
        let error = waits.join().unwrap();
        match by_deadline {
            true => assert!(matches!(error, Error::DeadlineExceeded(_)), "{error}"),
            false => assert!(matches!(error, Error::Cancelled), "{error}"),
        }
        assert_eq!(in_flight(&runtime), 1, "the device still has it");
        assert!(runtime.memory().leased > 0);
        gate.open();
        until("memory comes back", || runtime.memory().leased == 0);
        until("the list is back", || in_flight(&runtime) == 0);
        // The device was not to blame, and has its turns again.
        assert_eq!(runtime.devices()[1].failures, 0);
        for _ in 0..2 * DEPTH {
            let other = kernel(&runtime.session("other").open().unwrap());
            let receipt = other.run(&input(10)).unwrap().receipt;
            assert_eq!(&*receipt.parts[0].device, "sim");
        }
    }
}

#[test]
fn tickets_end_at_once_and_their_memory_comes_back_with_the_device() {
    let full = Full::new();
    full.busy.cancel();
    let Full {
        runtime,
        gate,
        tickets,
        ..
    } = full;
    for ticket in tickets {
        assert!(matches!(ticket.wait(), Err(Error::Cancelled)));
    }
    assert_eq!(
        in_flight(&runtime),
        DEPTH as u32,
        "the device still has them"
    );
    assert!(runtime.memory().leased > 0);
    gate.open();
    until("memory comes back", || runtime.memory().leased == 0);
    // The device was not to blame.
    assert_eq!(runtime.devices()[1].failures, 0);
    let other = kernel(&runtime.session("other").open().unwrap());
    assert_eq!(
        &*other.run(&input(10)).unwrap().receipt.parts[0].device,
        "sim"
    );
}

/// Each thread of streams waits for its turn on a device that is full of what nobody waits for any
/// more.
#[test]
fn what_is_left_on_a_device_is_taken_back_while_all_others_wait_for_it() {
    let full = Full::new();
    let session = full.runtime.session("streaming").open().unwrap();
    let (says, heard) = mpsc::channel();
    for _ in 0..2 * DEPTH {
        let batches: Vec<_> = (0..10).map(|_| Ok(input(100))).collect();
        let reader = RecordBatchIterator::new(batches, input(1).schema());
        let stream = kernel(&session).stream(reader);
        let says = says.clone();
        thread::spawn(move || {
            let rows = stream.map(|output| output.unwrap().batch.num_rows());
            says.send(rows.sum::<usize>()).unwrap();
        });
    }
    full.busy.cancel();
    for ticket in full.tickets {
        assert!(matches!(ticket.wait(), Err(Error::Cancelled)));
    }
    let waiting = || full.runtime.devices()[1].waiting;
    until("all threads of the device wait", || waiting() >= DEPTH);
    full.gate.open();
    for _ in 0..2 * DEPTH {
        assert_eq!(heard.recv_timeout(LONG).expect("no stream hangs"), 500);
    }
}

#[test]
fn a_stream_ends_with_the_batch_at_hand() {
    for by_session in [true, false] {
        let gate = Gated::new();
        let runtime = on(gate.clone()).threads(3);
        let runtime = runtime.gather_within(Duration::ZERO).build().unwrap();
        let session = runtime.session("streaming").open().unwrap();
        let batches: Vec<_> = (0..50).map(|_| Ok(input(100))).collect();
        let reader = RecordBatchIterator::new(batches, input(1).schema());
        let mut stream = kernel(&session).stream(reader);
        let canceller = stream.canceller();
        let (says, heard) = mpsc::channel();
        let reads = thread::spawn(move || {
            says.send(stream.next().unwrap().unwrap_err()).unwrap();
            assert!(stream.next().is_none(), "there is nothing after an error");
        });
        until("batches are on the device", || in_flight(&runtime) >= 2);
        match by_session {
            true => session.cancel(),
            false => canceller.cancel(),
        }
        gate.open();
        let error = heard.recv_timeout(LONG).unwrap();
        assert!(matches!(error, Error::Cancelled));
        reads.join().unwrap();
        canceller.cancel(); // of a stream that is gone
        until("memory comes back", || runtime.memory().leased == 0);
        // A cancelled stream is no cancelled session.
        assert_eq!(kernel(&session).run(&input(10)).is_ok(), !by_session);
    }
}

#[test]
fn a_cancelled_session_does_not_wait_for_memory() {
    let gate = Gated::new();
    let budget = 1 << 20;
    let runtime = on(gate.clone())
        .threads(4)
        .memory_budget(budget)
        .pool_reserve(budget);
    let runtime = runtime.build().unwrap();
    let busy = runtime.session("busy").open().unwrap();
    let ticket = kernel(&busy).submit(input(40_000)).unwrap();
    until("it is on the device", || in_flight(&runtime) == 1);
    let session = runtime.session("second").open().unwrap();
    let waits = thread::spawn({
        let kernel = kernel(&session);
        move || kernel.run(&input(40_000)).unwrap_err()
    });
    until("it waits for memory", || runtime.memory().waiting == 1);
    let start = Instant::now();
    session.cancel();
    assert!(matches!(waits.join().unwrap(), Error::Cancelled));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "it would have waited for ten"
    );
    gate.open();
    assert_eq!(ticket.wait().unwrap().batch.num_rows(), 20_000);
}

/// Whatever ends a batch ends its wait for memory, which would take ten seconds.
#[test]
fn nobody_waits_for_memory_who_has_no_use_for_it() {
    let gate = Gated::new();
    let budget = 1 << 20;
    let runtime = on(gate.clone())
        .memory_budget(budget)
        .pool_reserve(budget)
        .gather_within(Duration::ZERO);
    let runtime = runtime.build().unwrap();
    let busy = runtime.session("busy").open().unwrap();
    let ticket = kernel(&busy).submit(input(40_000)).unwrap();
    until("it is on the device", || in_flight(&runtime) == 1);

    let session = runtime.session("second").open().unwrap();
    let waits = || until("it waits for memory", || runtime.memory().waiting == 1);
    let ended = |how: &str, since: Instant| {
        until(how, || runtime.memory().waiting == 0);
        assert!(since.elapsed() < Duration::from_secs(5), "{how}");
    };

    let dropped = kernel(&session).submit(input(40_000)).unwrap();
    waits();
    let since = Instant::now();
    drop(dropped);
    ended("a ticket is dropped", since);

    let reader = RecordBatchIterator::new([Ok(input(40_000))], input(1).schema());
    let stream = kernel(&session).stream(reader);
    let canceller = stream.canceller();
    let takes = thread::spawn(move || stream.map(|result| result.is_ok()).collect::<Vec<_>>());
    waits();
    let since = Instant::now();
    canceller.cancel();
    ended("a stream is cancelled", since);
    assert_eq!(takes.join().unwrap(), [false]);

    let since = Instant::now();
    let hasty = runtime
        .session("hasty")
        .deadline(Duration::from_millis(500));
    let late = kernel(&hasty.open().unwrap()).run(&input(40_000));
    assert!(matches!(late, Err(Error::DeadlineExceeded(_))), "{late:?}");
    ended("a deadline passes", since);

    gate.open();
    assert_eq!(ticket.wait().unwrap().batch.num_rows(), 20_000);
}

/// A batch of one row cannot be done in halves: who finds no memory for it is told so, but not who was
/// cancelled meanwhile.
#[test]
fn one_row_of_a_cancelled_session_does_not_end_for_want_of_memory() {
    let gate = Gated::new();
    let budget = 1 << 20;
    let runtime = on(gate.clone())
        .threads(4)
        .memory_budget(budget)
        .pool_reserve(budget);
    let runtime = runtime.build().unwrap();
    // More than half of the budget, which go to the device with each batch.
    let numbers: Vec<String> = (0..65_536).map(|number| number.to_string()).collect();
    let query = query("n", &format!("n in ({})", numbers.join(", ")));
    let kernel = |session: &Session| {
        let schema = input(1).schema();
        session.compile(&query, &schema, &Semantics::arrow())
    };
    let busy = runtime.session("busy").open().unwrap();
    let ticket = kernel(&busy).unwrap().submit(input(1)).unwrap();
    until("it is on the device", || in_flight(&runtime) == 1);
    let session = runtime.session("second").open().unwrap();
    let waits = thread::spawn({
        let kernel = kernel(&session).unwrap();
        move || kernel.run(&input(1)).unwrap_err()
    });
    until("it waits for memory", || runtime.memory().waiting == 1);
    session.cancel();
    let error = waits.join().unwrap();
    assert!(matches!(error, Error::Cancelled), "{error}");
    gate.open();
    assert_eq!(ticket.wait().unwrap().batch.num_rows(), 1);
}

#[test]
fn a_deadline_ends_those_who_wait_and_those_who_come() {
    let full = Full::new();
    let after = Duration::from_millis(60);
    let session = full
        .runtime
        .session("hasty")
        .deadline(after)
        .open()
        .unwrap();
    let kernel = kernel(&session);
    let error = kernel.run(&input(10)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the deadline of session `hasty` has passed; open one that has longer, or give it less to do"
    );
    assert!(matches!(
        kernel.run(&input(10)),
        Err(Error::DeadlineExceeded(_))
    ));
    full.end();
}

#[test]
fn a_budget_binds_its_session_alone() {
    let runtime = builder().build().unwrap();
    let poor = runtime
        .session("poor")
        .memory_budget(1 << 20)
        .open()
        .unwrap();
    let rich = runtime.session("rich").open().unwrap();
    let mut kept = Vec::new();
    let error = loop {
        match kernel(&poor).run(&input(20_000)) {
            Ok(output) => kept.push(output),
            Err(error) => break error,
        }
        assert!(kept.len() < 20, "80 KB each");
    };
    assert!(matches!(&error, Error::Exhausted(_)), "{error}");
    assert!(
        error.to_string().contains("poor: exported to the caller"),
        "{error}"
    );
    let held = poor.status().memory;
    assert!((800_000..=1 << 20).contains(&held), "{held}");
    kernel(&rich).run(&input(1_000_000)).unwrap();
    drop(kept);
    kernel(&poor).run(&input(20_000)).unwrap();
    assert_eq!(poor.status().memory, 0);
}

#[test]
fn a_session_has_the_devices_that_it_was_granted_and_no_others() {
    let runtime = builder()
        .device(sim("sim:0"))
        .device(sim("sim:1"))
        .build()
        .unwrap();
    let first = runtime
        .session("first")
        .device(request("sim:0"))
        .open()
        .unwrap();
    assert_eq!(first.status().devices, [("sim:0".into(), 1.0)]);
    let refused = runtime
        .session("second")
        .device(request("simulator=2"))
        .open()
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "session `second` asks for simulator=2: `first` holds 1 of sim:0; wait for it or ask for less"
    );
    let never = runtime
        .session("second")
        .device(request("gpu"))
        .patience(LONG)
        .open()
        .unwrap_err();
    assert!(
        never
            .to_string()
            .contains("there is no `gpu`; there is cpu, sim:0, sim:1"),
        "{never}"
    );

    let named = |name: &str| Placement::Device(name.into());
    let placed = runtime
        .session("third")
        .device(request("simulator=0.5"))
        .placement(named("sim:1"));
    let placed = placed.open().unwrap();
    assert_eq!(
        &*kernel(&placed).run(&input(10)).unwrap().receipt.parts[0].device,
        "sim:1"
    );
    let elsewhere = runtime.session("fourth").device(request("simulator=0.5"));
    let elsewhere = elsewhere.placement(named("sim:0")).open().unwrap();
    let schema = input(1).schema();
    let error = elsewhere
        .compile(&query("", "n > 1"), &schema, &Semantics::arrow())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("sim:0: the session was not granted it"),
        "{error}"
    );

    // It waits until the first has ended, with its kernels.
    let last_of_first = kernel(&first);
    let waits = thread::spawn({
        let runtime = runtime.clone();
        move || {
            runtime
                .session("fifth")
                .device(request("sim:0"))
                .patience(LONG)
                .open()
        }
    });
    drop(first);
    thread::sleep(Duration::from_millis(20));
    assert!(!waits.is_finished(), "a kernel still counts on the device");
    drop(last_of_first);
    let fifth = waits.join().unwrap().unwrap();
    assert_eq!(fifth.status().devices, [("sim:0".into(), 1.0)]);
    let labels: Vec<_> = runtime
        .sessions()
        .into_iter()
        .map(|session| session.label)
        .collect();
    assert_eq!(
        labels.iter().map(|label| &**label).collect::<Vec<_>>(),
        ["runtime", "third", "fourth", "fifth"]
    );
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let runtime = builder().build().unwrap();
    let error = runtime.session("x").weight(0).open().unwrap_err();
    assert!(error.to_string().contains("weight of 0"), "{error}");
    let nowhere = Placement::Device("cuda:9".into());
    let error = runtime.session("x").placement(nowhere).open().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("there is no device `cuda:9`; there is cpu"),
        "{error}"
    );
}

#[test]
fn a_device_is_meant_without_its_number_where_it_is_the_only_one() {
    let named = |name: &str| Placement::Device(name.into());
    let runtime = builder()
        .device(sim("gpu:3"))
        .placement(named("gpu"))
        .build()
        .unwrap();
    let of_runtime = runtime.session("x").open().unwrap();
    let of_session = runtime.session("y").placement(named("gpu")).open().unwrap();
    for session in [of_runtime, of_session] {
        let output = kernel(&session).run(&input(8)).unwrap();
        assert_eq!(&*output.receipt.parts[0].device, "gpu:3");
    }
    let pinned = runtime.pin(&[input(8)], Some("gpu")).unwrap();
    assert_eq!(pinned.device().as_deref(), Some("gpu:3"));

    let two = builder().device(sim("gpu:0")).device(sim("gpu:1"));
    let error = two.placement(named("gpu")).build().unwrap_err();
    let wanted = "device `gpu` may be any of gpu:0, gpu:1; name one";
    assert_eq!(error.to_string(), wanted);
    let error = runtime.pin(&[input(8)], Some("gp")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no device `gp`; there is cpu, gpu:3"
    );
}

#[test]
fn a_session_knows_what_it_used() {
    let runtime = on(sim("sim")).build().unwrap();
    let session = runtime
        .session("counted")
        .weight(3)
        .priority(Priority::Background);
    let session = session.open().unwrap();
    let kernel = kernel(&session);
    let mut worked = Duration::ZERO;
    for _ in 0..3 {
        for part in kernel.run(&input(1000)).unwrap().receipt.parts {
            worked += part.copy_in + part.compute + part.copy_out;
        }
    }
    let status = session.status();
    assert_eq!(
        (status.batches, status.weight, status.priority),
        (3, 3, "background")
    );
    assert_eq!(
        (status.device_time, status.device_clock),
        (worked, "virtual")
    );
    assert!(worked > Duration::ZERO);
    assert_eq!(status.host_time, Duration::ZERO);
    // And what the CPU did for it, which no device had.
    let runtime = common::runtime();
    let session = runtime.session("counted").open().unwrap();
    let output = self::kernel(&session).run(&input(100_000)).unwrap();
    let status = session.status();
    assert_eq!(status.device_time, Duration::ZERO);
    assert_eq!(status.host_time, output.receipt.parts[0].compute);
}

/// `note(n)` is `n`, and tells of the first of each batch; a batch from 0 waits for the gate then.
fn note(tell: mpsc::Sender<i64>, gate: mpsc::Receiver<()>) -> UserFunction {
    let signature = Signature::new("note", [DataType::Int64], DataType::Int64).unwrap();
    let (tell, gate) = (Mutex::new(tell), Mutex::new(gate));
    UserFunction::new(signature, move |arguments| {
        let first = arguments[0].as_primitive::<Int64Type>().value(0);
        tell.lock().unwrap().send(first).unwrap();
        if first == 0 {
            gate.lock().unwrap().recv().unwrap();
        }
        Ok(Arc::clone(&arguments[0]))
    })
}

#[test]
fn tickets_of_a_higher_priority_go_first() {
    // One thread, which waits until all have been handed over.
    let runtime = builder().build().unwrap();
    let (tell, told) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    runtime.register(note(tell, gate)).unwrap();
    let kernel = |label: &str, priority| {
        let session = runtime.session(label).priority(priority).open().unwrap();
        let calls = parse_select_list_with("note(n) as m", &session.functions()).unwrap();
        let query = Query::all().select(calls);
        let schema = input(1).schema();
        session
            .compile(&query, &schema, &Semantics::arrow())
            .unwrap()
    };
    let normal = kernel("normal", Priority::Normal);
    let background = kernel("background", Priority::Background);
    let interactive = kernel("interactive", Priority::Interactive);
    let from = |number: i64| input(10).slice(number as usize, 1);
    let mut tickets = vec![normal.submit(from(0)).unwrap()];
    assert_eq!(told.recv_timeout(LONG), Ok(0));
    for (number, kernel) in [(1, &background), (2, &normal), (3, &interactive)] {
        tickets.push(kernel.submit(from(number)).unwrap());
    }
    open.send(()).unwrap();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [3, 2, 1]);
}

#[test]
fn who_is_told_of_a_cancellation_may_ask_for_more() {
    let full = Full::new();
    let session = full.runtime.session("second").open().unwrap();
    let kernel = kernel(&session);
    let told = Arc::new(AtomicU32::new(0));
    for _ in 0..3 {
        let (again, told) = (kernel.clone(), Arc::clone(&told));
        kernel
            .submit(input(10))
            .unwrap()
            .on_complete(move |result| {
                assert!(matches!(result, Err(Error::Cancelled)));
                assert!(matches!(
                    again.submit(input(10)).unwrap().wait(),
                    Err(Error::Cancelled)
                ));
                told.fetch_add(1, Ordering::SeqCst);
            });
    }
    session.cancel();
    until("all are told", || told.load(Ordering::SeqCst) == 3);
    full.end();
}

#[test]
fn a_runtime_ends_once_what_is_under_way_is_done() {
    let gate = Gated::new();
    let runtime = on(gate.clone()).build().unwrap();
    let kernel = kernel(&runtime.session("busy").open().unwrap());
    let tickets: Vec<_> = (0..3).map(|_| kernel.submit(input(100)).unwrap()).collect();
    until("they are on the device", || in_flight(&runtime) >= 1);
    // More than is read ahead, however late the runtime is told to end.
    let batches = std::iter::repeat_with(|| Ok(input(100)));
    let mut stream = kernel.stream(RecordBatchIterator::new(batches, input(1).schema()));
    let ends = thread::spawn({
        let runtime = runtime.clone();
        move || runtime.shutdown(LONG)
    });
    until("nothing begins any more", || {
        matches!(runtime.session("late").open(), Err(Error::Shutdown))
    });
    assert!(matches!(kernel.run(&input(1)), Err(Error::Shutdown)));
    assert!(matches!(kernel.submit(input(1)), Err(Error::Shutdown)));
    assert!(!ends.is_finished(), "some are under way");
    gate.open();
    let ended = ends.join().unwrap();
    assert_eq!((ended.cut_off, ended.left), (0, 0));
    for ticket in tickets {
        assert_eq!(ticket.wait().unwrap().batch.num_rows(), 50);
    }
    // What was on the device is done; the next batch is not.
    let last = stream.find_map(Result::err);
    assert!(matches!(last, Some(Error::Shutdown)), "{last:?}");
    assert!(stream.next().is_none());
}

/// What nobody waits for any more keeps its device until it is back or the queue has ended.
#[test]
fn a_runtime_that_has_ended_leaves_nothing_on_its_devices() {
    let full = Full::new();
    full.busy.cancel();
    for ticket in full.tickets {
        assert!(matches!(ticket.wait(), Err(Error::Cancelled)));
    }
    let device = Arc::downgrade(&full.gate);
    assert_eq!(in_flight(&full.runtime), DEPTH as u32);
    let ended = full.runtime.shutdown(Duration::from_millis(50));
    assert_eq!((ended.cut_off, ended.left), (0, 0));
    assert_eq!(in_flight(&full.runtime), 0);
    let pinned = full.runtime.pin(&[input(1)], None);
    assert!(matches!(pinned, Err(Error::Shutdown)));
    drop((full.runtime, full.busy, full.gate));
    until("the device is let go", || device.strong_count() == 0);
}

#[test]
fn what_is_not_done_in_time_is_cut_off() {
    let gate = Gated::new();
    let runtime = on(gate).build().unwrap();
    let kernel = kernel(&runtime.session("busy").open().unwrap());
    let ticket = kernel.submit(input(100)).unwrap();
    let waits = thread::spawn({
        let kernel = kernel.clone();
        move || kernel.run(&input(100)).unwrap_err()
    });
    until("both are under way", || in_flight(&runtime) == 2);
    let start = Instant::now();
    let ended = runtime.shutdown(Duration::from_millis(50));
    assert_eq!((ended.cut_off, ended.left), (2, 0));
    assert!(start.elapsed() < LONG / 4, "{:?}", start.elapsed());
    assert!(matches!(ticket.wait(), Err(Error::Shutdown)));
    assert!(matches!(waits.join().unwrap(), Error::Shutdown));
    assert!(matches!(kernel.run(&input(1)), Err(Error::Shutdown)));
    // Once more is not less.
    assert_eq!(runtime.shutdown(Duration::ZERO).left, 0);
}

/// A device that hangs has its own threads alone, whatever streams and tickets wait for it.
#[test]
fn who_waits_for_one_device_holds_up_nobody_who_wants_another() {
    let gate = Gated::new();
    let runtime = on(gate.clone()).device(sim("other")).build().unwrap();
    let hung = runtime.session("hung").open().unwrap();
    let endless = || {
        let batches = std::iter::repeat_with(|| Ok(input(100)));
        RecordBatchIterator::new(batches, input(1).schema())
    };
    let streams: Vec<_> = (0..2 * DEPTH)
        .map(|_| kernel(&hung).stream(endless()))
        .collect();
    let tickets: Vec<_> = (0..2 * DEPTH)
        .map(|_| kernel(&hung).submit(input(100)).unwrap())
        .collect();
    until("the device is full", || in_flight(&runtime) == DEPTH as u32);

    let other = runtime.session("other");
    let other = other.placement(Placement::Device("other".into()));
    let kernel = kernel(&other.open().unwrap());
    let rows = |output: unlade_runtime::Output| output.batch.num_rows();
    assert_eq!(rows(kernel.submit(input(100)).unwrap().wait().unwrap()), 50);
    let results = kernel.stream(endless()).take(20);
    assert!(results.map(Result::unwrap).all(|output| rows(output) == 50));
    let hangs = runtime.devices()[1].in_flight;
    assert_eq!(hangs, DEPTH as u32, "the device hangs still");

    drop(streams);
    gate.open();
    for ticket in tickets {
        assert_eq!(rows(ticket.wait().unwrap()), 50);
    }
}
