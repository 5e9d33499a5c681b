//! Streams and tickets.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Int32Array, RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use common::{builder, compile, query};
use unlade_hal::{Clock, ClockKind, Timestamp};
use unlade_runtime::{Error, Kernel, KernelStream};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, true)]))
}

fn numbered(number: usize) -> RecordBatch {
    // Of uneven lengths, so that they end out of order.
    let rows = 1 + (number * 37) % 5000;
    let values = Int32Array::from_iter_values((0..rows).map(|_| number as i32));
    RecordBatch::try_new(schema(), vec![Arc::new(values)]).unwrap()
}

fn kernel(threads: usize) -> Kernel {
    let runtime = builder().threads(threads).build().unwrap();
    compile(&runtime, &query("a, 100 / (a - 90)", "a >= 0"), &schema())
}

/// A reader of so many batches that counts how many were read.
fn reader(batches: usize, read: &Arc<AtomicUsize>) -> impl RecordBatchReader + Send + 'static {
    let read = Arc::clone(read);
    let batches = (0..batches).map(move |number| {
        read.fetch_add(1, Ordering::SeqCst);
        Ok(numbered(number))
    });
    RecordBatchIterator::new(batches, schema())
}

fn stream(threads: usize, batches: usize) -> KernelStream {
    kernel(threads).stream(reader(batches, &Arc::default()))
}

#[test]
fn results_come_in_order_on_any_number_of_threads() {
    for threads in [1, 2, 4] {
        let mut count = 0;
        for (number, output) in stream(threads, 80).enumerate() {
            let output = output.unwrap();
            assert_eq!(output.batch.num_rows(), numbered(number).num_rows());
            assert_eq!(
                output.batch.column(0).as_primitive::<Int32Type>().value(0),
                number as i32
            );
            count += 1;
        }
        assert_eq!(count, 80);
    }
}

#[test]
fn no_more_is_read_than_there_is_room_for() {
    for threads in [1, 2, 3] {
        let read = Arc::new(AtomicUsize::new(0));
        let mut stream = kernel(threads).stream(reader(60, &read));
        for taken in 1..=50 {
            stream.next().unwrap().unwrap();
            std::thread::sleep(Duration::from_millis(1));
            let ahead = read.load(Ordering::SeqCst) - taken;
            assert!(ahead <= 2 * threads, "{ahead} ahead on {threads} threads");
        }
    }
}

#[test]
fn an_error_ends_the_stream_in_its_place() {
    for threads in [1, 3] {
        let mut stream = stream(threads, 200);
        for _ in 0..90 {
            stream.next().unwrap().unwrap();
        }
        let Some(Err(Error::Data(error))) = stream.next() else {
            panic!("batch 90 divides by 0")
        };
        assert_eq!(error.row, 0);
        assert!(stream.next().is_none());
    }
}

#[test]
fn errors_and_panics_of_the_reader_are_the_streams() {
    for threads in [1, 2] {
        let failing = (0..10).map(|number| match number {
            5 => Err(ArrowError::ParseError("cut off".to_owned())),
            _ => Ok(numbered(number)),
        });
        let mut stream = kernel(threads).stream(RecordBatchIterator::new(failing, schema()));
        assert_eq!((&mut stream).take(5).filter(Result::is_ok).count(), 5);
        let error = stream.next().unwrap().unwrap_err();
        assert!(error.to_string().contains("cut off"), "{error}");
        assert!(stream.next().is_none());

        let panicking = (0..10).map(|number| match number {
            5 => panic!("no more"),
            _ => Ok(numbered(number)),
        });
        let mut stream = kernel(threads).stream(RecordBatchIterator::new(panicking, schema()));
        assert_eq!((&mut stream).take(5).filter(Result::is_ok).count(), 5);
        let error = stream.next().unwrap().unwrap_err();
        assert!(
            matches!(&error, Error::Panicked(message) if message == "no more"),
            "{error}"
        );
        assert!(stream.next().is_none());
    }
}

#[test]
fn a_dropped_stream_reads_no_further() {
    let read = Arc::new(AtomicUsize::new(0));
    let mut stream = kernel(3).stream(reader(1000, &read));
    stream.next().unwrap().unwrap();
    drop(stream);
    // Whoever was reading may still finish one.
    std::thread::sleep(Duration::from_millis(20));
    let after = read.load(Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(read.load(Ordering::SeqCst), after);
    assert!(after < 20, "{after} batches read");
}

#[test]
fn a_stream_is_a_reader() {
    let reader = stream(2, 20).into_reader();
    assert_eq!(reader.schema().fields().len(), 2);
    let rows: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(
        rows,
        (0..20)
            .map(|number| numbered(number).num_rows())
            .sum::<usize>()
    );
}

#[test]
fn tickets_are_waited_for_awaited_and_called_back() {
    let kernel = kernel(2);
    let waited = kernel.submit(numbered(3)).unwrap().wait().unwrap();
    assert_eq!(waited.batch.num_rows(), numbered(3).num_rows());

    let ticket = kernel.submit(numbered(4)).unwrap();
    let timed = ticket
        .wait_timeout(Duration::from_secs(60))
        .unwrap()
        .unwrap();
    assert_eq!(timed.batch.num_rows(), numbered(4).num_rows());

    let (sender, receiver) = mpsc::channel();
    let ticket = kernel.submit(numbered(90)).unwrap();
    ticket.on_complete(move |outcome| sender.send(outcome.map(|output| output.receipt)).unwrap());
    assert!(matches!(receiver.recv().unwrap(), Err(Error::Data(_))));

    let ticket = kernel.submit(numbered(5)).unwrap();
    assert_eq!(
        block_on(ticket).unwrap().batch.num_rows(),
        numbered(5).num_rows()
    );
}

/// A clock that can be held: whoever asks for the time waits.
#[derive(Debug, Default)]
struct HeldClock(Mutex<()>);

impl Clock for HeldClock {
    fn kind(&self) -> ClockKind {
        ClockKind::Wall
    }

    fn now(&self) -> Timestamp {
        let _free = self.0.lock().unwrap();
        Timestamp::default()
    }
}

#[test]
fn tickets_are_bounded() {
    let clock = Arc::new(HeldClock::default());
    let runtime = builder()
        .max_tickets(2)
        .clock(clock.clone())
        .build()
        .unwrap();
    let kernel = compile(&runtime, &query("a", "a >= 0"), &schema());
    let held = clock.0.lock().unwrap();
    let first = kernel.submit(numbered(1)).unwrap();
    let second = kernel.submit(numbered(1)).unwrap();
    let refused = kernel.submit(numbered(1));
    assert!(
        matches!(refused, Err(Error::Limit { limit: 2, .. })),
        "{refused:?}"
    );
    second.cancel();
    drop(held);
    first.wait().unwrap();
    let third = loop {
        // The cancelled one makes room when its turn comes.
        match kernel.submit(numbered(1)) {
            Err(Error::Limit { .. }) => std::thread::yield_now(),
            other => break other,
        }
    };
    third.unwrap().wait().unwrap();
}

#[test]
fn a_ticket_of_a_bad_batch_is_never_made() {
    let other = RecordBatch::new_empty(Arc::new(Schema::empty()));
    assert!(matches!(kernel(1).submit(other), Err(Error::Schema(_))));
}

fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = Box::pin(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
