//! One of those who use the runtime at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use unlade_expr::Semantics;
use unlade_runtime::pool::Pool;
use unlade_runtime::{DeviceRequest, Error, Kernel, Output, Placement, Resident, Session, Ticket};
use unlade_tests::table::schema;

use crate::counts::{Counts, End, Way};
use crate::operation::{Operation, Task, Wishes};
use crate::place::Place;
use crate::watch::Watch;
use crate::work::Work;

/// Results that are kept a while and looked at again.
const KEPT: usize = 4;

/// A thread's operations, and what became of them.
pub(crate) struct User {
    number: usize,
    rng: ChaCha8Rng,
    pub(crate) counts: Counts,
}

/// Where a user is at work.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) place: &'a Place,
    pub(crate) work: &'a Work,
    pub(crate) watch: &'a Watch,
    /// Whether the runtime is being shut down.
    pub(crate) ending: &'a AtomicBool,
}

/// Which errors were asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    cancelled: bool,
    deadline: bool,
    budget: bool,
}

impl User {
    pub(crate) fn new(seed: u64, number: usize) -> User {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number as u64);
        User {
            number,
            rng,
            counts: Counts::default(),
        }
    }

    /// Works until some time, or until the runtime is shut down.
    pub(crate) fn work(&mut self, at: At<'_>, until: Instant) {
        let mut shift = Shift {
            at,
            counts: &mut self.counts,
            session: None,
            asked: Asked::default(),
            pinned: None,
            kept: VecDeque::new(),
            called: channel(),
            outstanding: 0,
            is_shut: false,
        };
        let devices = at.place.names().len();
        while Instant::now() < until {
            let operation = Operation::draw(&mut self.rng, at.work, devices);
            at.watch.begins(self.number, format!("{operation:?}"));
            shift.counts.way(operation.way());
            shift.operate(operation);
            if shift.is_shut {
                break;
            }
        }
        at.watch.begins(self.number, "ends its shift".to_owned());
        shift.end();
        at.watch.rests(self.number);
    }
}

/// What a ticket's callback was told.
type Called = (usize, usize, Asked, Result<Output, Error>);

/// What a user has at hand.
struct Shift<'a> {
    at: At<'a>,
    counts: &'a mut Counts,
    /// `None` for the runtime's own.
    session: Option<Session>,
    asked: Asked,
    pinned: Option<(Resident, Vec<usize>)>,
    kept: VecDeque<(usize, usize, Output)>,
    called: (Sender<Called>, Receiver<Called>),
    /// Callbacks that are still to come.
    outstanding: usize,
    /// Whether the runtime was found shut down.
    is_shut: bool,
}

impl Shift<'_> {
    fn operate(&mut self, operation: Operation) {
        match operation {
            Operation::Open(wishes) => self.open(&wishes),
            Operation::Run(task) => {
                if let Some(kernel) = self.kernel(task.query) {
                    let batch = task.batches[0];
                    let result = kernel.run(self.at.work.batch(batch));
                    self.take(task.query, batch, result);
                }
            }
            Operation::Submit(task, way) => self.submit(&task, way),
            Operation::Stream {
                task,
                way,
                take,
                pause,
            } => self.stream(&task, way, take, pause),
            Operation::Pin { batches, device } => {
                let pinned: Vec<_> = batches
                    .iter()
                    .map(|batch| self.at.work.batch(*batch).clone())
                    .collect();
                let names = self.at.place.names();
                let resident = self.at.place.runtime.pin(&pinned, Some(names[device]));
                match resident {
                    Ok(resident) => self.pinned = Some((resident, batches)),
                    Err(error) => self.fails(error),
                }
            }
            Operation::Unpin => self.pinned = None,
            Operation::RunResident { query } => self.run_resident(query),
            Operation::CancelSession(task) => self.cancel_session(&task),
        }
        while let Ok(called) = self.called.1.try_recv() {
            self.take_called(called);
        }
    }

    /// All that was begun has an end, and all that was leased is given back.
    fn end(mut self) {
        while self.outstanding > 0 {
            let called = self.called.1.recv().expect("it is told: one end is here");
            self.take_called(called);
        }
        while let Some((query, batch, output)) = self.kept.pop_front() {
            self.at.work.check(query, batch, Ok(&output));
        }
        (self.session, self.pinned) = (None, None);
        Pool::flush_thread();
    }

    fn open(&mut self, wishes: &Wishes) {
        self.session = None;
        let mut builder = self.at.place.runtime.session("user");
        builder = builder.weight(wishes.weight).priority(wishes.priority);
        builder = wishes
            .budget
            .into_iter()
            .fold(builder, |builder, bytes| builder.memory_budget(bytes));
        builder = wishes
            .deadline
            .into_iter()
            .fold(builder, |builder, after| builder.deadline(after));
        let names = self.at.place.names();
        let placement = match wishes.device {
            Some(device) => Placement::Device(names[device].into()),
            None => Placement::Auto,
        };
        builder = builder.placement(placement).patience(wishes.patience);
        if let Some(request) = wishes.request {
            let request: DeviceRequest = request.parse().expect("it is a request");
            builder = builder.device(request);
        }
        self.asked = Asked {
            cancelled: false,
            deadline: wishes.deadline.is_some(),
            budget: wishes.budget.is_some(),
        };
        match builder.open() {
            Ok(session) => self.session = Some(session),
            Err(Error::Refused(_)) if wishes.request.is_some() => {
                self.counts.end(End::Refused);
                self.asked = Asked::default();
            }
            Err(error) => {
                self.fails(error);
                self.asked = Asked::default();
            }
        }
    }

    /// `None` where the session has ended.
    fn kernel(&mut self, query: usize) -> Option<Kernel> {
        let (query, semantics) = (self.at.work.query(query), Semantics::arrow());
        let kernel = match &self.session {
            Some(session) => session.compile(query, &schema(), &semantics),
            None => self.at.place.runtime.compile(query, &schema(), &semantics),
        };
        kernel.map_err(|error| self.fails(error)).ok()
    }

    fn submit(&mut self, task: &Task, way: Way) {
        for (batch, ticket) in self.tickets(task) {
            match way {
                Way::TicketWaited => self.take(task.query, batch, ticket.wait()),
                Way::TicketCalledBack => {
                    let (tell, asked, query) = (self.called.0.clone(), self.asked, task.query);
                    self.outstanding += 1;
                    ticket.on_complete(move |result| {
                        // Nobody listens where the user has panicked.
                        let _told = tell.send((query, batch, asked, result));
                    });
                }
                Way::TicketCancelled => ticket.cancel(),
                _ => drop(ticket),
            }
        }
    }

    fn tickets(&mut self, task: &Task) -> Vec<(usize, Ticket)> {
        let Some(kernel) = self.kernel(task.query) else {
            return Vec::new();
        };
        let mut tickets = Vec::new();
        for batch in &task.batches {
            match kernel.submit(self.at.work.batch(*batch).clone()) {
                Ok(ticket) => tickets.push((*batch, ticket)),
                Err(error) => self.fails(error),
            }
        }
        tickets
    }

    fn stream(&mut self, task: &Task, way: Way, take: usize, pause: Duration) {
        let Some(kernel) = self.kernel(task.query) else {
            return;
        };
        let mut stream = kernel.stream(self.at.work.reader(&task.batches));
        let mut batches = task.batches.iter();
        for batch in batches.by_ref().take(take) {
            let result = stream.next().expect("a result for each batch");
            let is_last = result.is_err();
            self.take(task.query, *batch, result);
            if is_last {
                assert!(stream.next().is_none(), "nothing follows an error");
                return;
            }
        }
        if way != Way::StreamCancelled {
            assert!(take < task.batches.len() || stream.next().is_none());
            return;
        }
        self.asked.cancelled = true;
        let canceller = stream.canceller();
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(pause);
                canceller.cancel();
            });
            while let Some(result) = stream.next() {
                let batch = batches.next();
                let is_last = result.is_err();
                match (batch, result) {
                    (Some(batch), result) => self.take(task.query, *batch, result),
                    (None, Err(error)) => self.fails(error),
                    (None, Ok(_)) => panic!("more results than batches"),
                }
                if is_last {
                    assert!(stream.next().is_none(), "nothing follows an error");
                    return;
                }
            }
            assert_eq!(
                batches.next(),
                None,
                "a stream ended early and did not say why"
            );
        });
        self.asked.cancelled = false;
    }

    fn run_resident(&mut self, query: usize) {
        let Some((resident, batches)) = self.pinned.take() else {
            return;
        };
        if let Some(kernel) = self.kernel(query) {
            let has_none = |batch: &&usize| !self.at.work.has_result(query, **batch);
            let bad = batches.iter().find(has_none).copied();
            match (kernel.run_resident(&resident), bad) {
                (Ok(outputs), None) => {
                    assert_eq!(outputs.len(), batches.len());
                    for (batch, output) in batches.iter().zip(outputs) {
                        self.take(query, *batch, Ok(output));
                    }
                }
                (Ok(_), Some(bad)) => panic!("query {query} on pinned batch {bad} has a result"),
                (Err(error @ Error::Data(_)), Some(bad)) => self.take(query, bad, Err(error)),
                (Err(error), _) => self.fails(error),
            }
        }
        self.pinned = Some((resident, batches));
    }

    /// A session ends while it has tickets and a stream under way.
    fn cancel_session(&mut self, task: &Task) {
        let Some(session) = self.session.clone() else {
            return;
        };
        if let Some(kernel) = self.kernel(task.query) {
            let stream = kernel.stream(self.at.work.reader(&task.batches));
            let tickets = self.tickets(task);
            self.asked.cancelled = true;
            session.cancel();
            for (batch, ticket) in tickets {
                self.take(task.query, batch, ticket.wait());
            }
            for (batch, result) in task.batches.iter().zip(stream) {
                self.take(task.query, *batch, result);
            }
            let batch = self.at.work.batch(task.batches[0]);
            let after = kernel.run(batch);
            self.fails(after.expect_err("its session was cancelled"));
        }
        self.session = None;
        self.asked = Asked::default();
    }

    fn take_called(&mut self, (query, batch, asked, result): Called) {
        self.outstanding -= 1;
        let now = std::mem::replace(&mut self.asked, asked);
        // A session that was cancelled meanwhile ended its tickets.
        self.asked.cancelled = true;
        self.take(query, batch, result);
        self.asked = now;
    }

    /// It is what the CPU makes of the batch, or an error that was asked for.
    fn take(&mut self, query: usize, batch: usize, result: Result<Output, Error>) {
        match result {
            Ok(output) => {
                self.at.work.check(query, batch, Ok(&output));
                self.counts.output(&output);
                self.counts.end(End::Result);
                self.kept.push_back((query, batch, output));
                if self.kept.len() > KEPT
                    && let Some((query, batch, output)) = self.kept.pop_front()
                {
                    // Nobody has written into its memory since.
                    self.at.work.check(query, batch, Ok(&output));
                }
            }
            Err(Error::Data(error)) => {
                self.at
                    .work
                    .check(query, batch, Err((error.row, error.ordinal)));
                self.counts.end(End::DataError);
            }
            Err(error) => self.fails(error),
        }
    }

    /// It is an error that was asked for.
    fn fails(&mut self, error: Error) {
        let is_ending = self.at.ending.load(Ordering::SeqCst);
        let (end, was_asked) = match error {
            Error::Cancelled => (End::Cancelled, self.asked.cancelled),
            Error::DeadlineExceeded(_) => (End::Deadline, self.asked.deadline),
            Error::Exhausted(_) => (End::Exhausted, self.asked.budget),
            Error::Shutdown => (End::Shutdown, is_ending),
            error => panic!("{error}"),
        };
        self.is_shut |= end == End::Shutdown;
        assert!(was_asked, "nobody asked for {end:?}: {:?}", self.asked);
        self.counts.end(end);
    }
}
