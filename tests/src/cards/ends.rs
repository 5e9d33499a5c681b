//! How a batch ends where something goes wrong with the card that it runs on: in the result of another
//! device, in a receipt that says that nobody but the card vouches for it, or in an error that says
//! why. Each fault has the end that is listed here.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray};
use unlade_cpu::CpuDevice;
use unlade_dpu::{DpuDevice, Options};
use unlade_expr::{Query, Semantics, parse_expr, parse_select_list};
use unlade_hal::Device;
use unlade_runtime::pool::Pool;
use unlade_runtime::{Error, Fallback, Kernel, Output, Placement, Runtime, Trust, Verified};
use unlade_sim_card::{CHANGED_AFTER, Fault, LATE};

use super::faults::{SAID_WHEN_ASKED, asked_how_it_is};

/// The job that goes wrong, and with it the batch: each is one job.
pub const STRUCK: u64 = 2;

/// Batches of a run: one before, the one that is struck, and two behind.
const BATCHES: i32 = 4;

/// Longer than any job takes that ends.
const LONG: Duration = Duration::from_secs(20);

/// How a batch may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// With the right result, by the card, for which nobody else vouches.
    Card,
    /// With a wrong result, by the card, for which nobody else vouches.
    Believed,
    /// With the CPU's result, because the card had failed.
    Cpu,
    /// With an error that names the card's failure.
    Error,
}

/// How the batch ends that is struck, and what the reason names where the card is blamed: as long
/// as another device may take the work.
fn end_of(fault: Fault, trust: Trust, checksums: bool) -> (End, &'static str) {
    match fault {
        // Legal.
        Fault::LateCompletion | Fault::ReorderedCompletion => (End::Card, ""),
        // Noticed behind the batch, which is right, so that no receipt names it.
        Fault::DuplicateCompletion => (End::Card, ""),
        Fault::LostCompletion | Fault::StuckDoorbell => (End::Cpu, "no completion within"),
        Fault::WrongPhase => (End::Cpu, "wrong phase"),
        Fault::ResetInTheMiddle => (End::Cpu, "somebody has reset it"),
        Fault::Fatal => (End::Cpu, "stopped by itself"),
        Fault::Removal => (End::Cpu, "it was removed"),
        Fault::ForeignCommandId => (End::Cpu, "not in flight"),
        Fault::WildQueueHead => (End::Cpu, "submission head"),
        Fault::HugeCount => (End::Cpu, "rows kept"),
        Fault::HugeTrap => (End::Cpu, "reports a trap"),
        Fault::HugeSteps => (End::Cpu, "success of 4294967295 steps"),
        Fault::HugeReport => (End::Cpu, "4294967295 of"),
        Fault::PartialDma | Fault::CorruptData if checksums => (End::Cpu, "corrupted on the way"),
        Fault::PartialDma | Fault::CorruptData => (End::Believed, ""),
        // Noticed by who asks the card how it is, or resets it.
        Fault::HugeLength | Fault::HugeList | Fault::HugeIdentity => (End::Card, ""),
        // To where nothing is mapped, which the table refuses; behind the batch.
        Fault::WriteOutside(_) => (End::Card, ""),
        // A card that is trusted has written where the caller reads, and still can.
        Fault::ChangeAfterCompletion => match trust {
            Trust::Trusted => (End::Believed, ""),
            Trust::Untrusted => (End::Card, ""),
        },
        other => panic!("{other:?} is new: say here how it ends"),
    }
}

/// A run of batches on a card of which the second job may be struck.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What strikes it.
    pub fault: Option<Fault>,
    /// Whether the runtime trusts the card.
    pub trust: Trust,
    /// Whether another device may take the work.
    pub fallback: Fallback,
    /// Whether the driver compares checksums.
    pub checksums: bool,
}

impl Case {
    /// How the card is to be opened.
    pub fn options(&self) -> Options {
        let mut options = Options::default();
        options.checksums = self.checksums;
        options
    }

    /// Runs the batches, checks how each ended, and that every lease is back. Gives the end of the
    /// batch that was struck.
    ///
    /// # Panics
    /// Where something else came of it than is listed.
    pub fn run(&self, device: &Arc<DpuDevice>) -> End {
        let given: Vec<RecordBatch> = (0..BATCHES).map(batch).collect();
        let expected: Vec<RecordBatch> = given.iter().map(on_cpu).collect();
        let runtime = Runtime::builder()
            .device(Arc::new(CpuDevice::new()))
            .device(device.clone())
            .placement(Placement::Device(device.info().name.as_str().into()))
            .fallback(self.fallback)
            .trust(self.trust)
            .device_timeout(self.patience())
            .pool_reserve(4 << 20)
            .build()
            .expect("a runtime on the card");
        let kernel = compile(&runtime, &given[0]);
        let results: Vec<Result<Output, Error>> =
            given.iter().map(|batch| kernel.run(batch)).collect();
        // What is changed behind a batch is changed by then.
        thread::sleep(match self.fault {
            Some(Fault::ChangeAfterCompletion) => CHANGED_AFTER + LATE,
            _ => 2 * LATE,
        });
        let end = self.check(&results, &expected);
        if let Some(fault) = self.fault.filter(|fault| SAID_WHEN_ASKED.contains(fault)) {
            asked_how_it_is(fault, device);
        }
        drop(results);
        Pool::flush_thread();
        let memory = runtime.memory();
        assert_eq!(runtime.devices()[1].leaked_bytes, 0, "{self}");
        assert!(memory.holders.is_empty(), "{self}: {memory:?}");
        assert_eq!((memory.leased, memory.waiting), (0, 0), "{self}");
        end
    }

    /// What never comes is not waited for long.
    fn patience(&self) -> Duration {
        match self.fault {
            Some(Fault::LostCompletion | Fault::StuckDoorbell) => Duration::from_millis(200),
            _ => LONG,
        }
    }

    fn check(&self, results: &[Result<Output, Error>], expected: &[RecordBatch]) -> End {
        let ends: Vec<(End, String)> = results
            .iter()
            .zip(expected)
            .map(|(result, expected)| self.end(result, expected))
            .collect();
        let Some(fault) = self.fault else {
            assert!(ends.iter().all(|(end, _)| *end == End::Card), "{ends:?}");
            return End::Card;
        };
        // A job at which a doorbell sticks is done, and the next is not.
        let behind = usize::from(fault == Fault::StuckDoorbell);
        let (before, rest) = ends.split_at(STRUCK as usize - 1 + behind);
        let (struck, after) = rest.split_first().expect("there are batches behind it");
        let (end, named) = end_of(fault, self.trust, self.checksums);
        let end = match (end, self.fallback) {
            (End::Cpu, Fallback::Forbid) => End::Error,
            (end, _) => end,
        };
        assert_eq!(struck.0, end, "{self}: {ends:?}");
        assert!(
            before.iter().all(|(end, _)| *end == End::Card),
            "{self}: {ends:?}"
        );
        let reasons: String = ends.iter().map(|(_, reason)| reason.as_str()).collect();
        assert!(reasons.contains(named), "{self}: {ends:?}");
        // Whatever follows is right, or an error.
        assert!(
            after.iter().all(|(end, _)| *end != End::Believed),
            "{self}: {ends:?}"
        );
        end
    }

    /// How a batch ended, and why not on the card.
    fn end(&self, result: &Result<Output, Error>, expected: &RecordBatch) -> (End, String) {
        let output = match result {
            Ok(output) => output,
            Err(error) => {
                assert_eq!(self.fallback, Fallback::Forbid, "{self}: {error}");
                let said = matches!(error, Error::DeviceFault(_) | Error::Unplaceable(_));
                assert!(said, "{self}: {error}");
                return (End::Error, error.to_string());
            }
        };
        let receipt = &output.receipt;
        let parts = receipt.parts.iter();
        let reason: String = parts.map(|part| part.reason.to_string() + "; ").collect();
        let last = receipt.parts.last().expect("the batch has rows");
        assert!(last.completed, "{self}");
        if receipt.verified == Verified::Reference {
            assert_eq!(&output.batch, expected, "{self}");
            assert_eq!(&*last.device, "cpu", "{self}");
            assert_eq!(self.fallback, Fallback::Allow, "{self}");
            return (End::Cpu, reason);
        }
        assert_eq!(receipt.verified, Verified::Unverified, "{self}");
        assert_ne!(&*last.device, "cpu", "{self}");
        let right = &output.batch == expected;
        (if right { End::Card } else { End::Believed }, reason)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case {
            fault,
            trust,
            fallback,
            checksums,
        } = self;
        write!(
            f,
            "{fault:?}, {trust:?}, {fallback:?}, checksums {checksums}"
        )
    }
}

/// One of other data than the next: what a card leaves behind of one is wrong in another.
pub fn batch(number: i32) -> RecordBatch {
    let rows = || (0..5_000).map(move |row| row + number);
    let keys = Int32Array::from_iter(rows().map(|row| (row % 5 != 4).then_some(0)));
    let values: ArrayRef = Arc::new(StringArray::from(vec!["the only one"]));
    let keyed = DictionaryArray::<Int32Type>::try_new(keys, values).expect("the key is inside");
    let numbers = Int32Array::from_iter(rows().map(|row| (row % 7 != 3).then_some(row)));
    let columns: [(&str, ArrayRef); 2] = [("d", Arc::new(keyed)), ("a", Arc::new(numbers))];
    RecordBatch::try_from_iter(columns).expect("the columns are as long")
}

/// A query with a filter, a computed column, keys of a dictionary and a column passed through. The
/// first one's values may be any: a card that corrupts them is believed.
pub fn compile(runtime: &Runtime, batch: &RecordBatch) -> Kernel {
    let filter = parse_expr("a % 3 = 0").expect("it is an expression");
    let select = parse_select_list("a * 2 as b, d, a").expect("it is a list");
    let query = Query::filter(filter).select(select);
    let compiled = runtime.compile(&query, &batch.schema(), &Semantics::arrow());
    compiled.expect("the query is right")
}

/// Its result.
pub fn on_cpu(batch: &RecordBatch) -> RecordBatch {
    let runtime = Runtime::builder().device(Arc::new(CpuDevice::new()));
    let runtime = runtime.build().expect("a runtime on the CPU");
    let output = compile(&runtime, batch).run(batch);
    output.expect("the query has a result").batch
}
