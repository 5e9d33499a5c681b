//! Clients at their work, and what must hold meanwhile and afterwards.
//!
//! Meanwhile: a result is the right one, or an error that the client has earned; results of a stream
//! come in order; nobody holds more than its budget, all of them together no more than the pool's.
//! Afterwards: every ticket, job, session and grant has ended, no list is on a device, and all memory
//! is back but for what was abandoned to a lost device.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchIterator};
use unlade_cpu::CpuDevice;
use unlade_expr::{Checked, Query, Semantics, parse_expr, parse_select_list};
use unlade_hal::{Clock, DeviceKind};
use unlade_naive::Kept;
use unlade_sim_clock::VirtualClock;
use unlade_sim_device::{Profile, SimDevice};
use unlade_sim_fault::{FaultDevice, FaultKind, FaultPlan};

use super::history::{Act, Client, Device, History, Place};
use super::schedule::KEEPER;
use crate::device_slot::{DeviceState, DeviceStatus};
use crate::error::Error;
use crate::kernel::{Kernel, Output};
use crate::options::{Placement, Trust};
use crate::pool::Pool;
use crate::receipt::{PartReceipt, Reason};
use crate::resources::DeviceRequest;
use crate::runtime::{Core, Runtime};
use crate::session::Session;
use crate::sync::{Mutex, simulated, thread};
use crate::ticket::Ticket;

/// How long a device may take for a batch before it is held to be lost.
const PATIENCE: Duration = Duration::from_millis(2);

/// How long its driver may.
const DRIVER_PATIENCE: Duration = Duration::from_secs(1);

/// How much of what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    done: u64,
    on_devices: u64,
    /// Where placement has chosen a device.
    placed: u64,
    retries: u64,
    trapped: u64,
    cancelled: u64,
    too_late: u64,
    exhausted: u64,
    limited: u64,
    refused: u64,
    shut: u64,
    cut_off: u64,
    losses: u64,
    /// Results while a device was being brought back.
    revivals: u64,
    /// Results of devices that had been lost.
    back: u64,
    leaked: u64,
    /// Simulated nanoseconds.
    time: u64,
}

impl Seen {
    pub(super) fn add(&mut self, more: &Seen) {
        for (sum, more) in self.fields().into_iter().zip(more.clone().fields()) {
            *sum += *more;
        }
    }

    /// Whether all of it happened more than once in a while.
    pub(super) fn is_rich(&self) -> bool {
        self.clone().fields().into_iter().all(|count| *count > 20)
    }

    fn fields(&mut self) -> [&mut u64; 17] {
        [
            &mut self.done,
            &mut self.on_devices,
            &mut self.placed,
            &mut self.retries,
            &mut self.trapped,
            &mut self.cancelled,
            &mut self.too_late,
            &mut self.exhausted,
            &mut self.limited,
            &mut self.refused,
            &mut self.shut,
            &mut self.cut_off,
            &mut self.losses,
            &mut self.revivals,
            &mut self.back,
            &mut self.leaked,
            &mut self.time,
        ]
    }
}

/// Runs a history on Shuttle's threads.
pub(super) fn run(history: &History) -> Seen {
    in_time(|clock| {
        let world = Arc::new(World::new(history, clock));
        let clients: Vec<_> = (0..history.clients.len())
            .map(|number| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.client(number))
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        let world = Arc::into_inner(world).expect("all clients have ended");
        world.end(clock)
    })
}

/// Runs something on Shuttle's threads by a clock that goes when all of them wait.
pub(super) fn in_time<T>(run: impl FnOnce(&VirtualClock) -> T) -> T {
    let clock = VirtualClock::new();
    simulated::begin(&clock);
    let keeper = thread::Builder::new().name(KEEPER.to_owned());
    let keeper = keeper.spawn(simulated::keep_time).unwrap();
    let result = run(&clock);
    simulated::end();
    keeper.join().unwrap();
    result
}

/// Waits until a runtime whose sessions have ended is at rest: what was detached may be under way
/// still.
pub(super) fn come_to_rest(core: &Core) {
    let is_quiet = || {
        let counts = core.dispatcher.counts();
        let lists: u32 = core
            .devices
            .iter()
            .map(|slot| slot.driver.in_flight())
            .sum();
        counts.submitted == counts.ended
            && lists == 0
            && core.tickets.count() == 0
            && core.sessions.status().len() == 1
            && core.workers.is_idle()
            && core.devices.iter().all(|slot| slot.workers.is_idle())
            && core.devices.iter().all(|slot| slot.collector.is_idle())
    };
    while !is_quiet() {
        simulated::sleep(Duration::from_millis(1));
    }
}

struct World {
    history: History,
    clock: VirtualClock,
    runtime: Runtime,
    /// Every client's, once it is open.
    sessions: Mutex<Vec<Option<Session>>>,
    seen: Mutex<Seen>,
    batches: AtomicU64,
    /// Whether somebody has ended the runtime.
    shut: AtomicBool,
}

/// Where a client is.
struct At<'w> {
    world: &'w World,
    number: usize,
    session: Session,
    even: Kernel,
    quotient: Kernel,
    /// With what was handed over.
    tickets: VecDeque<(RecordBatch, Ticket)>,
    kept: VecDeque<Output>,
}

impl World {
    fn new(history: &History, clock: &VirtualClock) -> Self {
        let mut builder = Runtime::builder()
            .device(Arc::new(CpuDevice::new()))
            .clock(Arc::new(clock.clone()))
            .memory_budget(history.memory)
            .pool_reserve(history.memory / 2)
            .threads(history.threads)
            .max_tickets(history.max_tickets)
            .device_timeout(PATIENCE)
            .driver_timeout(DRIVER_PATIENCE)
            .trust(match history.untrusted {
                true => Trust::Untrusted,
                false => Trust::Trusted,
            });
        for (number, device) in history.devices.iter().enumerate() {
            builder = builder.device(Arc::new(faulty(number, device, clock)));
        }
        World {
            runtime: builder.build().unwrap(),
            sessions: Mutex::new(history.clients.iter().map(|_| None).collect()),
            seen: Mutex::default(),
            batches: AtomicU64::new(0),
            shut: AtomicBool::new(false),
            history: history.clone(),
            clock: clock.clone(),
        }
    }

    fn see(&self, count: impl FnOnce(&mut Seen)) {
        count(&mut self.seen.lock().unwrap());
    }

    fn client(&self, number: usize) {
        let client = &self.history.clients[number];
        let Some(session) = self.open(number, client) else {
            return self.see(|seen| seen.refused += 1);
        };
        self.sessions.lock().unwrap()[number] = Some(session.clone());
        let compile = |select: &str, filter: &str| {
            let query = Query::filter(parse_expr(filter).unwrap());
            let query = query.select(parse_select_list(select).unwrap());
            session.compile(&query, &batch(0, 0).schema(), &Semantics::arrow())
        };
        let mut at = At {
            world: self,
            number,
            even: compile("n, n + 1 as m", "n % 2 = 0").unwrap(),
            quotient: compile("10 / n as q", "n < 1000000").unwrap(),
            session: session.clone(),
            tickets: VecDeque::new(),
            kept: VecDeque::new(),
        };
        for act in &client.acts {
            at.act(act);
            at.check();
        }
        while let Some((input, ticket)) = at.tickets.pop_front() {
            let result = ticket.wait();
            at.judge(&input, result, false);
        }
    }

    /// `None` where the devices cannot be had.
    fn open(&self, number: usize, client: &Client) -> Option<Session> {
        let mut builder = self.runtime.session(format!("client {number}"));
        builder = builder.weight(client.weight).priority(client.priority);
        if let Some(bytes) = client.memory {
            builder = builder.memory_budget(bytes);
        }
        if let Some(micros) = client.deadline {
            builder = builder.deadline(Duration::from_micros(micros));
        }
        builder = builder.placement(match client.place {
            Place::Device(device) => Placement::Device(format!("sim:{device}").into()),
            Place::Cpu => Placement::Device("cpu".into()),
            Place::Auto => Placement::Auto,
        });
        if let (Place::Device(device), Some(asks)) = (client.place, client.asks) {
            let part = f64::from(asks) / 1000.0;
            let request = DeviceRequest::device(format!("sim:{device}"), part).unwrap();
            builder = builder.device(request).patience(Duration::from_micros(500));
        }
        match builder.open() {
            Ok(session) => Some(session),
            Err(Error::Refused(_)) if client.asks.is_some() => None,
            Err(Error::Shutdown) if self.shut.load(Ordering::Relaxed) => None,
            Err(error) => panic!("client {number}: {error}"),
        }
    }

    /// What must hold once all clients have ended.
    fn end(self, clock: &VirtualClock) -> Seen {
        self.sessions.lock().unwrap().clear();
        let core = Arc::clone(&self.runtime.core);
        come_to_rest(&core);
        Pool::flush_thread();
        let leaked: u64 = self
            .runtime
            .devices()
            .iter()
            .map(|device| device.leaked_bytes)
            .sum();
        let memory = self.runtime.memory();
        // Of results that were handed over again, what a lost device may still read is kept for ever,
        // and is not counted as abandoned: it is the caller's.
        let still_read = if leaked > 0 { memory.exported } else { 0 };
        assert!(
            memory.leased <= leaked + still_read,
            "{memory:?}, {leaked} bytes abandoned"
        );
        assert_eq!(memory.waiting, 0);
        assert!(core.resources.is_free(), "somebody still holds a device");
        let mut seen = self.seen.lock().unwrap().clone();
        seen.losses = core.dispatcher.counts().losses;
        seen.leaked = leaked;
        seen.time = clock.now().0.as_nanos() as u64;
        let runtime = Arc::downgrade(&core);
        drop((core, self));
        assert_eq!(
            runtime.strong_count(),
            0,
            "the runtime outlives its handles"
        );
        seen
    }
}

impl At<'_> {
    fn act(&mut self, act: &Act) {
        match *act {
            Act::Run { rows } => self.run(&self.next(rows)),
            Act::Again => {
                if let Some(last) = self.kept.pop_back() {
                    let input = last.batch.project(&[0]).unwrap();
                    drop(last);
                    self.run(&input);
                }
            }
            Act::Trap { rows, row } => {
                let result = self.quotient.run(&batch(-(row as i64), rows));
                match result {
                    Err(Error::Data(error)) => {
                        assert_eq!(error.row, row as u64);
                        self.world.see(|seen| seen.trapped += 1);
                    }
                    Err(error) => self.judge(&batch(0, 0), Err(error), false),
                    Ok(_) => panic!("divides by zero"),
                }
            }
            Act::Pinned { rows } => {
                let input = self.next(rows);
                let device = match self.world.history.clients[self.number].place {
                    Place::Device(device) => Some(format!("sim:{device}")),
                    Place::Auto => Some("sim:0".to_owned()),
                    Place::Cpu => None,
                };
                let batches = std::slice::from_ref(&input);
                let pinned = match self.world.runtime.pin(batches, device.as_deref()) {
                    Ok(pinned) => pinned,
                    Err(error) => return self.judge(&input, Err(error), false),
                };
                for _ in 0..2 {
                    let result = self.even.run_resident(&pinned);
                    let result = result.map(|mut outputs| outputs.remove(0));
                    self.judge(&input, result, false);
                }
            }
            Act::Submit { rows } => {
                let input = self.next(rows);
                match self.even.submit(input.clone()) {
                    Ok(ticket) => self.tickets.push_back((input, ticket)),
                    Err(error) => self.judge(&input, Err(error), false),
                }
            }
            Act::Wait => {
                if let Some((input, ticket)) = self.tickets.pop_front() {
                    let result = ticket.wait();
                    self.judge(&input, result, false);
                }
            }
            Act::DropTicket => drop(self.tickets.pop_front()),
            Act::Pause { millis } => simulated::sleep(Duration::from_millis(millis)),
            Act::DropResult => drop(self.kept.pop_front()),
            Act::Stream {
                batches,
                rows,
                take,
                cancel,
            } => self.stream(batches, rows, take, cancel),
            Act::Shutdown { within } => {
                self.world.shut.store(true, Ordering::Relaxed);
                let ended = self.world.runtime.shutdown(Duration::from_micros(within));
                assert_eq!(ended.left, 0, "{ended:?}");
                assert!(matches!(self.even.run(&batch(0, 1)), Err(Error::Shutdown)));
                self.world.see(|seen| seen.shut += 1);
            }
            Act::Cancel { client } => {
                let session = self.world.sessions.lock().unwrap()[client].clone();
                if let Some(session) = session {
                    session.cancel();
                }
            }
        }
    }

    fn run(&mut self, input: &RecordBatch) {
        let result = self.even.run(input);
        self.judge(input, result, false);
    }

    fn stream(&mut self, batches: usize, rows: usize, take: usize, cancel: bool) {
        let inputs: Vec<RecordBatch> = (0..batches).map(|_| self.next(rows)).collect();
        let read: Vec<_> = inputs.iter().cloned().map(Ok).collect();
        let reader = RecordBatchIterator::new(read, batch(0, 0).schema());
        let mut stream = self.even.stream(reader);
        let canceller = stream.canceller();
        for taken in 0..take {
            match (stream.next(), inputs.get(taken)) {
                (None, None) => return,
                (Some(Err(error)), _) => return self.judge(&batch(0, 0), Err(error), false),
                (Some(result), Some(input)) => self.judge(input, result, false),
                (next, input) => panic!("after {taken}: {} for {input:?}", next.is_some()),
            }
        }
        if cancel {
            let cancels = thread::spawn(move || canceller.cancel());
            for input in inputs.iter().skip(take) {
                match stream.next() {
                    Some(Err(error)) => {
                        self.judge(input, Err(error), true);
                        assert!(stream.next().is_none(), "an error is the last");
                        break;
                    }
                    Some(result) => self.judge(input, result, true),
                    None => panic!("a stream ends with an error or with its reader"),
                }
            }
            cancels.join().unwrap();
        }
    }

    /// The next batch: no two that are not results have a row in common.
    fn next(&self, rows: usize) -> RecordBatch {
        let start = self.world.batches.fetch_add(rows as u64, Ordering::Relaxed);
        batch(start as i64, rows)
    }

    /// The right result, or an error that there is a reason for.
    fn judge(&mut self, input: &RecordBatch, result: Result<Output, Error>, cancelled: bool) {
        let (world, client) = (self.world, &self.world.history.clients[self.number]);
        match result {
            Ok(output) => {
                assert_eq!(rows(&output.batch), expected(input));
                if input.num_rows() <= MOST_NAIVE {
                    assert_eq!(rows(&output.batch), naive(self.even.checked(), input));
                }
                assert_eq!(output.receipt.rows_out, output.batch.num_rows() as u64);
                let devices = world.runtime.devices();
                let is_reviving = |status: &DeviceStatus| status.state == DeviceState::Reviving;
                let is_back = |status: &DeviceStatus| {
                    let mut parts = output.receipt.parts.iter();
                    let did_it = |part: &PartReceipt| part.completed && part.device == status.name;
                    status.times_lost > 0 && parts.any(did_it)
                };
                world.see(|seen| {
                    seen.done += 1;
                    seen.revivals += u64::from(devices.iter().any(is_reviving));
                    seen.back += u64::from(devices.iter().any(is_back));
                    seen.retries += u64::from(output.receipt.retries);
                    let parts = output.receipt.parts.iter();
                    seen.on_devices += u64::from(parts.clone().any(|part| &*part.device != "cpu"));
                    let chosen = |part: &PartReceipt| {
                        &*part.device != "cpu" && matches!(part.reason, Reason::Cheapest { .. })
                    };
                    seen.placed += u64::from(parts.clone().any(chosen));
                });
                self.kept.push_back(output);
            }
            Err(Error::Shutdown) => {
                assert!(
                    world.shut.load(Ordering::Relaxed),
                    "nobody ended the runtime"
                );
                world.see(|seen| seen.cut_off += 1);
            }
            Err(Error::Cancelled) => {
                assert!(
                    cancelled || self.session.is_cancelled(),
                    "nobody cancelled it"
                );
                world.see(|seen| seen.cancelled += 1);
            }
            Err(Error::DeadlineExceeded(_)) => {
                let deadline = Duration::from_micros(client.deadline.expect("it has one"));
                assert!(world.clock.now().0 >= deadline);
                world.see(|seen| seen.too_late += 1);
            }
            Err(Error::Exhausted(error)) => {
                let is_tight = world.history.memory < 8 << 20 || client.memory.is_some();
                assert!(is_tight, "there is plenty: {error}");
                world.see(|seen| seen.exhausted += 1);
                self.kept.clear(); // as the message says
            }
            Err(Error::Limit { limit, .. }) => {
                assert_eq!(limit, world.history.max_tickets as u64);
                world.see(|seen| seen.limited += 1);
            }
            Err(error) => panic!("client {}: {error}", self.number),
        }
    }

    fn check(&self) {
        let memory = self.world.runtime.memory();
        assert!(memory.leased + memory.cached <= memory.budget, "{memory:?}");
        let status = self.session.status();
        assert!(status.memory <= status.memory_budget, "{status:?}");
    }
}

/// Most rows of a batch whose result is the naive interpreter's as well: that takes its time.
const MOST_NAIVE: usize = 256;

/// The two columns of a result, row by row.
fn rows(output: &RecordBatch) -> Vec<(i64, i64)> {
    let column = |at: usize| output.column(at).as_primitive::<Int64Type>().values();
    column(0)
        .iter()
        .copied()
        .zip(column(1).iter().copied())
        .collect()
}

/// What `even` makes of a batch.
fn expected(input: &RecordBatch) -> Vec<(i64, i64)> {
    let numbers = input.column(0).as_primitive::<Int64Type>().values();
    let even = numbers.iter().filter(|n| **n % 2 == 0);
    even.map(|n| (*n, n + 1)).collect()
}

/// The same by the naive interpreter.
fn naive(even: &Checked, input: &RecordBatch) -> Vec<(i64, i64)> {
    let numbers = input.column(0).as_primitive::<Int64Type>();
    let kept = unlade_naive::evaluate_query(even, input).unwrap();
    let row = |kept: &Kept| match kept.values[..] {
        [Some(m)] => (numbers.value(kept.row), m.as_integer() as i64),
        ref other => panic!("one number, not {other:?}"),
    };
    kept.iter().map(row).collect()
}

pub(super) fn batch(start: i64, rows: usize) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(start..start + rows as i64);
    RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef)]).unwrap()
}

fn faulty(number: usize, device: &Device, clock: &VirtualClock) -> FaultDevice {
    let profile = match device.coherent {
        true => Profile::coherent_gpu(),
        false => Profile::gpu(),
    };
    let profile = Profile {
        memory: device.memory,
        ..profile
    };
    let sim = SimDevice::builder(profile)
        .name(format!("sim:{number}"))
        .clock(clock.clone())
        .passing_for(DeviceKind::Gpu)
        .build();
    let rate = f64::from(device.fault_rate) / 1000.0;
    // All but the one that only a checksum would find.
    let kinds = FaultKind::ALL
        .into_iter()
        .filter(|kind| *kind != FaultKind::Corruption);
    let rates = kinds.map(|kind| (kind, rate));
    let takes = Duration::from_millis(device.reset_takes);
    FaultDevice::new(Arc::new(sim), FaultPlan::random(device.faults, rates)).before_reset(
        move || {
            if !takes.is_zero() {
                simulated::sleep(takes);
            }
        },
    )
}
