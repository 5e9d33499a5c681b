//! Portions of streams: where each is to run, and several batches as one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use unlade_expr::Called;
use unlade_hal::Timestamp;

use super::{Calling, KernelCore, Output, Plan};
use crate::auto::Placed;
use crate::call::Call;
use crate::error::Error;
use crate::halving;
use crate::inline::Evaluated;
use crate::kernel::Kernel;
use crate::placement::Work;
use crate::portion::{Portion, come_apart};
use crate::recorder::{Origin, Place};
use crate::sync::lock;
use crate::workers::panic_message;

/// A portion, and where it is to run.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) portion: Portion,
    /// Where placement has chosen.
    pub(crate) placed: Option<Placed>,
    /// When it was there and how long reading it took, where that is recorded.
    pub(crate) read: Option<(Timestamp, Duration)>,
    pub(crate) lane: Lane,
}

/// What a portion is run by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// A thread that computes, predicted to take so long.
    Inline(Duration),
    /// A device behind a queue, at this place among the runtime's.
    Queue(usize),
}

/// How something that was assigned is recorded, if anything is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record {
    Not,
    /// By itself.
    Alone,
    /// As a portion of a stream.
    At(Place),
}

/// A kernel for several batches as one: of the columns that are read, with a mask that says which
/// rows are whose.
#[derive(Debug)]
pub(crate) struct Joint {
    kernel: Arc<KernelCore>,
    columns: Vec<usize>,
}

impl KernelCore {
    /// Decides where a portion is to run, the CPU being busy for so long.
    pub(crate) fn assign(&self, portion: Portion, cpu_wait: Duration) -> Assignment {
        let placed = self.route.auto.as_ref().and_then(|auto| {
            let work = self.work_of(&portion)?;
            auto.choose(&self.runtime, work, None, cpu_wait)
        });
        Assignment {
            lane: self.lane(placed.as_ref()),
            portion,
            placed,
            read: None,
        }
    }

    /// The device behind a queue to which every batch goes as it is, if one is known.
    pub(super) fn queue_of_any_batch(&self) -> Option<usize> {
        let plan = self.route.device.as_ref();
        let plan = plan.filter(|_| self.route.auto.is_none() && self.stages.is_empty())?;
        Some(plan.slot)
    }

    /// What a batch is run by, where placement has chosen, if it has.
    fn lane(&self, placed: Option<&Placed>) -> Lane {
        match (placed, &self.route.device) {
            (Some(placed), _) => placed.lane(),
            (None, Some(plan)) => Lane::Queue(plan.slot),
            (None, None) => Lane::Inline(Duration::ZERO),
        }
    }

    /// A portion as far as its cost is concerned.
    pub(crate) fn work_of(&self, portion: &Portion) -> Option<Work> {
        let batches = portion.batches.iter();
        batches
            .map(|batch| self.work(batch))
            .reduce(|a, b| a.and(&b))
    }

    /// Runs what was assigned, each of its batches by a call as this one: a result for each of them, or
    /// for the piece, up to the first error.
    pub(crate) fn run_assigned(
        &self,
        assignment: Assignment,
        call: &Call<'_>,
        record: Record,
    ) -> (VecDeque<Result<Output, Error>>, Portion) {
        let Assignment {
            portion,
            placed,
            read,
            lane,
        } = assignment;
        let runtime = &self.runtime;
        let place = match record {
            Record::Not => None,
            Record::Alone => Some(None),
            Record::At(place) => Some(Some(place)),
        };
        let work = || {
            let chosen = placed.as_ref().map(|placed| placed.work.clone());
            place.and_then(|_| chosen.or_else(|| self.work_of(&portion)))
        };
        let begun = runtime.recorder.begin(&*runtime.clock, work);
        let call = Call {
            account: begun.as_ref().map(|begun| &begun.account),
            ..*call
        };
        let run = || self.run_portion(&portion, placed, lane, &call);
        let results = catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|panic| VecDeque::from([Err(Error::Panicked(panic_message(panic)))]));
        if let Some((begun, place)) = begun.zip(place)
            && results.iter().all(Result::is_ok)
        {
            let origin = Origin {
                batch: portion.number,
                together: portion.batches.len() as u64,
                place,
                read,
            };
            let receipts = results.iter().flatten().map(|output| &output.receipt);
            runtime.recorder.end(self, begun, origin, receipts);
        }
        (results, portion)
    }

    fn run_portion(
        &self,
        portion: &Portion,
        placed: Option<Placed>,
        lane: Lane,
        call: &Call<'_>,
    ) -> VecDeque<Result<Output, Error>> {
        let mut results = self.run_batches(portion, placed, lane, call);
        for (result, calling) in results.iter_mut().zip(&portion.calling) {
            if let Ok(output) = result {
                calling.note(&mut output.receipt);
            }
        }
        results
    }

    fn run_batches(
        &self,
        portion: &Portion,
        placed: Option<Placed>,
        lane: Lane,
        call: &Call<'_>,
    ) -> VecDeque<Result<Output, Error>> {
        let call = |number| Call { number, ..*call };
        if let [batch] = &portion.batches[..] {
            let result = self.run_called(&call(portion.number), batch, placed);
            // Placement learns it, where it has a choice.
            if let (Ok(Output { receipt, .. }), None) = (&result, &self.route.auto) {
                self.forecast.selected(receipt.rows_out, receipt.rows_in);
            }
            return VecDeque::from([result]);
        }
        if matches!(lane, Lane::Queue(_))
            && let Some(Ok(outputs)) = self.run_joined(portion, placed, call)
        {
            return outputs.into_iter().map(Ok).collect();
        }
        // Whatever went wrong with them together, each has its own result, or its own error.
        let mut results = VecDeque::with_capacity(portion.batches.len());
        for (batch, number) in portion.batches.iter().zip(portion.number..) {
            let result = self.run_called(&call(number), batch, None);
            let failed = result.is_err();
            results.push_back(result);
            if failed {
                break;
            }
        }
        results
    }

    /// Whether several batches can be one, as far as the schema tells.
    pub(crate) fn may_join(&self) -> bool {
        let queues = self.route.device.is_some() || self.route.auto.is_some();
        let mut columns = self.binding().input_columns().into_iter();
        queues && columns.all(|column| come_apart(self.checked.input.field(column).data_type()))
    }

    /// Runs several batches as one on a device; `None` where they cannot be one.
    fn run_joined<'a>(
        &self,
        portion: &Portion,
        placed: Option<Placed>,
        call: impl Fn(u64) -> Call<'a>,
    ) -> Option<Result<Vec<Output>, Error>> {
        let joint = self.joint()?;
        let batch = match portion.joined(&joint.kernel.checked.input, &joint.columns)? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(Error::Input(Arc::new(error)))),
        };
        let kernel = &joint.kernel;
        // Its numbers are this kernel's.
        let call = Call {
            together: portion.batches.len() as u64,
            ..call(portion.number)
        };
        let output = kernel.observe(&call, || kernel.run_routed(&call, &batch, placed));
        Some(output.map(|output| {
            let receipt = &output.receipt;
            self.forecast.selected(receipt.rows_out, receipt.rows_in);
            self.apart(portion, output)
        }))
    }

    /// The kernel for several batches as one, compiled when it is first asked for; `None` where
    /// there is none that runs on the same devices.
    fn joint(&self) -> Option<Arc<Joint>> {
        let mut joint = lock(&self.joint);
        joint.get_or_insert_with(|| self.compile_joint()).clone()
    }

    fn compile_joint(&self) -> Option<Arc<Joint>> {
        let columns = self.binding().input_columns();
        let of_batch = self.input.fields().len();
        let (named, results): (Vec<usize>, Vec<usize>) =
            columns.iter().partition(|column| **column < of_batch);
        let schema = Arc::new(self.input.project(&named).ok()?);
        let query = self.query.clone().with_mask();
        let (runtime, session) = (&self.runtime, &self.session);
        let kernel = match &results[..] {
            [] => Kernel::compile(runtime, session, &query, &schema, &self.semantics).ok()?,
            results => {
                let calls = results.iter().map(|result| &self.calls[result - of_batch]);
                let calls: Vec<Called> = calls.cloned().collect();
                let allowed = &session.allowed;
                let given = (&schema, &calls[..]);
                let plan =
                    Plan::of_called(runtime, allowed, &query, given, &self.semantics).ok()?;
                Kernel::of_plan(runtime, session, Arc::new(plan))
            }
        };
        let kernel = kernel.core;
        let fits = kernel.checked.output == self.checked.output;
        fits.then(|| Arc::new(Joint { kernel, columns }))
    }

    /// What became of several batches that ran as one.
    fn apart(&self, portion: &Portion, output: Output) -> Vec<Output> {
        let mut rows = 0;
        let mut kept = 0;
        let outputs = portion.batches.iter().zip(portion.number..);
        let outputs = outputs.map(|(batch, number)| {
            let of_batch = rows..rows + batch.num_rows();
            let mask = output.mask.as_ref();
            let mask = mask.map(|mask| mask.slice(of_batch.start, of_batch.len()));
            let rows_out = mask
                .as_ref()
                .map_or(of_batch.len(), |mask| mask.true_count());
            let receipt = output.receipt.share(
                number,
                of_batch.start as u64..of_batch.end as u64,
                kept as u64..(kept + rows_out) as u64,
            );
            let batch = output.batch.slice(kept, rows_out);
            rows = of_batch.end;
            kept += rows_out;
            Output {
                batch,
                mask: mask.filter(|_| self.checked.emit_mask),
                receipt,
            }
        });
        outputs.collect()
    }

    /// What became of a batch in pieces, in memory of the pool.
    ///
    /// # Errors
    /// [`Error::Exhausted`] where there is not enough for all of it beside the pieces.
    pub(crate) fn join_pieces(
        &self,
        pieces: Vec<Output>,
        calling: &[Arc<Calling>],
    ) -> Result<Output, Error> {
        let mut receipts = Vec::with_capacity(pieces.len());
        let pieces = pieces.into_iter().map(|piece| {
            let receipt = piece.receipt;
            let evaluated = Evaluated {
                columns: piece.batch.columns().to_vec(),
                rows_out: piece.batch.num_rows(),
                mask: piece.mask,
                bytes_in: receipt.bytes_in,
                bytes_out: receipt.bytes_out,
                bytes_copied: receipt.bytes_copied,
            };
            receipts.push(receipt);
            evaluated
        });
        let pieces = pieces.collect();
        let joined = halving::join(pieces, &self.session.memory)?;
        let mut receipts = receipts.into_iter();
        let first = receipts.next().expect("a batch has a piece");
        let mut receipt = receipts.fold(first, |sum, piece| sum.and(piece));
        receipt.bytes_copied = joined.bytes_copied;
        for calling in calling {
            calling.note(&mut receipt);
        }
        Ok(Output {
            batch: self.output_batch(joined.columns, joined.rows_out)?,
            mask: joined.mask,
            receipt,
        })
    }
}
