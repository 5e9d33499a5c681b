//! A device is lost while all of them are busy with streams and tickets: all work is done, and no
//! more of it is repeated than the device had in its hands.
#![allow(clippy::print_stdout)] // how much was repeated is what this test reports

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::{RecordBatch, RecordBatchIterator};
use unlade_cpu::CpuDevice;
use unlade_expr::Semantics;
use unlade_hal::{
    AllocError, CommandList, Completion, Device, DeviceError, DeviceLost, DeviceWrapper,
    MemoryKind, Queue, Quiesced, RejectReason, Rejected, Seq, Slab, Wait,
};
use unlade_runtime::{Output, Placement, Runtime, Session, Ticket};
use unlade_sim_device::{Profile, SimDevice};
use unlade_sim_fault::{FaultDevice, FaultKind, FaultPlan};
use unlade_tests::devices::simulated_card;
use unlade_tests::table;

/// Batches of a stream, and as many with tickets.
const BATCHES: usize = 48;

/// Rows of a batch: small ones would be done together.
const ROWS: usize = 3000;

/// The completion at which the device is lost: as the load begins, in its middle, near its end.
const LOST_AT: [u64; 4] = [2, 15, 40, 70];

#[test]
fn a_simulator_is_lost_under_load() {
    // Its time is virtual: a list is back as soon as somebody waits for it.
    is_lost_under_load("sim");
}

#[test]
fn a_card_is_lost_under_load() {
    let in_flight = is_lost_under_load("sim-dpu");
    let most = in_flight.iter().max().expect("it was lost");
    assert!(*most > 1, "it was never under load: {in_flight:?}");
}

/// Returns how many lists it had each time.
fn is_lost_under_load(name: &str) -> Vec<u64> {
    let expected = expected();
    let card = simulated_card();
    let mut in_flight = Vec::new();
    for lost_at in LOST_AT {
        let sim: Arc<dyn Device> = Arc::new(SimDevice::builder(Profile::gpu()).build());
        let devices = [sim, card.clone()].map(|device| {
            let plan = match device.info().name == name {
                true => FaultPlan::nth(lost_at, FaultKind::LostInFlight),
                false => FaultPlan::none(),
            };
            Arc::new(Watched::new(Arc::new(FaultDevice::new(device, plan))))
        });
        let builder = Runtime::builder()
            .device(Arc::new(CpuDevice::new()))
            .threads(5)
            .device_timeout(Duration::from_secs(30));
        let builder = devices
            .iter()
            .fold(builder, |builder, device| builder.device(device.clone()));
        let runtime = builder.build().expect("devices of different names");
        let repeated: Vec<(Arc<str>, u64)> = std::thread::scope(|scope| {
            let names = runtime.devices().into_iter().map(|device| device.name);
            let working: Vec<_> = names
                .map(|name| {
                    let (runtime, expected) = (&runtime, &expected);
                    scope.spawn(move || (name.clone(), work_on(runtime, &name, expected)))
                })
                .collect();
            let results = working.into_iter().map(|working| working.join());
            results
                .map(|result| result.expect("it has not panicked"))
                .collect()
        });
        for (device, repeated) in repeated {
            let lists = devices
                .iter()
                .find(|watched| watched.inner().info().name == *device)
                .map_or_else(Vec::new, |watched| watched.lost_lists());
            match &*device == name {
                true => {
                    let [lists] = lists[..] else {
                        panic!("{device} was to be lost once: {lists:?}");
                    };
                    println!("{name} lost at {lost_at}: {lists} lists on it, {repeated} repeated");
                    assert!((1..=lists).contains(&repeated), "{repeated} of {lists}");
                    in_flight.push(lists);
                }
                false => assert_eq!((lists, repeated), (vec![], 0), "{device}"),
            }
        }
    }
    in_flight
}

fn batch(number: usize) -> RecordBatch {
    table::rows(number * ROWS..(number + 1) * ROWS)
}

fn expected() -> Vec<RecordBatch> {
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .build()
        .expect("a runtime with the CPU");
    let session = runtime.session("alone").open().expect("it asks for little");
    let kernel = compile(&session);
    (0..BATCHES)
        .map(|number| kernel.run(&batch(number)).expect("it has a result").batch)
        .collect()
}

fn compile(session: &Session) -> unlade_runtime::Kernel {
    let query = table::query("text, a + 1 as x", "b % 3 = 0");
    session
        .compile(&query, &table::schema(), &Semantics::arrow())
        .expect("a query of this schema")
}

/// A stream and tickets on one device; returns how often work was repeated.
fn work_on(runtime: &Runtime, device: &Arc<str>, expected: &[RecordBatch]) -> u64 {
    let session = runtime
        .session(device.clone())
        .placement(Placement::Device(device.clone()))
        .open()
        .expect("the device is there");
    let kernel = compile(&session);
    let batches: Vec<_> = (0..BATCHES).map(|number| Ok(batch(number))).collect();
    let submit = |number: usize| -> Ticket { kernel.submit(batch(number)).expect("few tickets") };
    let tickets: Vec<Ticket> = (0..BATCHES).map(submit).collect();
    let stream = kernel.stream(RecordBatchIterator::new(batches, table::schema()));
    let streamed = stream.map(|result| result.expect("all work is done"));
    let mut outputs: Vec<Output> = streamed.collect();
    let waited = tickets.into_iter().map(Ticket::wait);
    outputs.extend(waited.map(|result| result.expect("all work is done")));
    assert_eq!(outputs.len(), 2 * BATCHES);
    for (output, expected) in outputs.iter().zip(expected.iter().chain(expected)) {
        assert_eq!(&output.batch, expected);
    }
    let retries = outputs.iter().map(|output| output.receipt.retries);
    retries.map(u64::from).sum()
}

/// A device that counts what it has in its hands when it is lost: lists on its queue, and those that
/// come to it in vain, be it for the memory that they need first.
#[derive(Debug)]
struct Watched {
    inner: Arc<FaultDevice>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Lists, and memory for them, that were turned away because the device was lost.
    in_vain: AtomicU64,
    /// For each queue that ended, the lists that it had.
    on_queues: Mutex<Vec<u64>>,
}

impl Counts {
    fn turned_away(&self) {
        self.in_vain.fetch_add(1, Ordering::SeqCst);
    }
}

impl Watched {
    fn new(inner: Arc<FaultDevice>) -> Watched {
        Watched {
            inner,
            counts: Arc::default(),
        }
    }

    /// For each time that it was lost, the lists that it had in its hands.
    fn lost_lists(&self) -> Vec<u64> {
        let mut lists = self.counts.on_queues.lock().expect("nobody panics").clone();
        if let Some(last) = lists.last_mut() {
            *last += self.counts.in_vain.load(Ordering::SeqCst);
        }
        lists
    }
}

impl DeviceWrapper for Watched {
    fn inner(&self) -> &dyn Device {
        &*self.inner
    }

    fn allocate(&self, kind: MemoryKind, len: u64) -> Result<Slab, AllocError> {
        self.inner().allocate(kind, len).inspect_err(|error| {
            if matches!(error, AllocError::Lost(_)) {
                self.counts.turned_away();
            }
        })
    }

    fn open_queue(&self, depth: u32) -> Result<Box<dyn Queue>, DeviceError> {
        let inner = self
            .inner()
            .open_queue(depth)
            .inspect_err(|_lost| self.counts.turned_away())?;
        Ok(Box::new(WatchedQueue {
            inner,
            counts: self.counts.clone(),
            lists: 0,
        }))
    }
}

#[derive(Debug)]
struct WatchedQueue {
    inner: Box<dyn Queue>,
    counts: Arc<Counts>,
    lists: u64,
}

impl Queue for WatchedQueue {
    fn submit(&mut self, list: CommandList) -> Result<Seq, Rejected> {
        let submitted = self.inner.submit(list);
        match &submitted {
            Ok(_) => self.lists += 1,
            // It comes again.
            Err(rejected) if matches!(rejected.reason, RejectReason::Full) => {}
            // Or the device has been reset meanwhile, and knows nothing that the list is about.
            Err(_lost) => self.counts.turned_away(),
        }
        submitted
    }

    fn poll(&mut self, done: &mut Vec<Completion>) -> Result<(), DeviceLost> {
        let before = done.len();
        let polled = self.inner.poll(done);
        self.lists -= (done.len() - before) as u64;
        polled
    }

    fn wait(&mut self, seq: Seq, timeout: Duration) -> Result<Wait, DeviceLost> {
        self.inner.wait(seq, timeout)
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.wake_fd()
    }

    /// The runtime ends a queue so where its device is lost.
    fn quiesce(self: Box<Self>, timeout: Duration) -> Quiesced {
        let lists = self.lists;
        self.counts
            .on_queues
            .lock()
            .expect("nobody panics")
            .push(lists);
        self.inner.quiesce(timeout)
    }
}
