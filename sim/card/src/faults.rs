//! What a card may do wrong, and when: for tests of what a driver makes of it.

use std::time::Duration;

/// How long a completion is held back that comes late. On the host's clock: the host's patience is
/// what is tested.
pub const LATE: Duration = Duration::from_millis(20);

/// How long after a completion data are changed that must not be. On the host's clock, and long: also
/// a slow host has handed out by then what was completed, else it would only see a wrong result.
pub const CHANGED_AFTER: Duration = Duration::from_millis(500);

/// One thing that goes wrong with one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The completion comes [`LATE`], though the job is done.
    LateCompletion,
    /// The job is done, and its completion never comes.
    LostCompletion,
    /// The completion is posted twice.
    DuplicateCompletion,
    /// The completion comes behind the next one of its queue, or [`LATE`] where none follows. This
    /// is legal: entries may complete out of order.
    ReorderedCompletion,
    /// The completion has the phase of the pass before, so that it looks like an old one.
    WrongPhase,
    /// Of every operand write the second half stays behind, and the job reports success.
    PartialDma,
    /// A bit of the first operand write is wrong, and the job reports success.
    CorruptData,
    /// From this job on, the card takes no notice of the doorbells of I/O queues, until a reset.
    StuckDoorbell,
    /// The card resets itself in the middle of the job: CC and CSTS are 0, all queues are lost.
    ResetInTheMiddle,
    /// The card is FATAL by itself, reason 1, in the middle of the job.
    Fatal,
    /// The card is gone in the middle of the job: everything reads as all ones, and nothing will
    /// come. It does not come back.
    Removal,
    /// The completion carries a command id that the host did not choose: the right one with all
    /// bits inverted.
    ForeignCommandId,
    /// The completion's SQ head is beyond the end of the queue.
    WildQueueHead,
    /// The result blocks of the job say that more rows were kept than the RUN had.
    HugeCount,
    /// The job says that it trapped, in a row far behind its last. One without a RUN is done.
    HugeTrap,
    /// The completion says that 2^32 - 1 steps succeeded.
    HugeSteps,
    /// The report says that 2^32 - 1 steps succeeded, and that as many bytes moved as 64 bits can say.
    HugeReport,
    /// From this job on, GET_LOG says that its page has 2^32 - 1 bytes and that it has written them all,
    /// until a reset. What it has written is the page.
    HugeLength,
    /// From this job on, the headers of log pages say that there are 2^32 - 1 entries of as many bytes,
    /// until a reset.
    HugeList,
    /// The next IDENTIFY says of every limit that it is all ones.
    HugeIdentity,
    /// Before it completes the job, the card writes 64 bytes of `0xA5` to this IOVA, which the job
    /// does not name. Whether they arrive is decided by the mapping table.
    WriteOutside(u64),
    /// A byte of the job's first output is changed [`CHANGED_AFTER`] the completion was posted.
    ChangeAfterCompletion,
}

impl Fault {
    /// All kinds; [`Fault::WriteOutside`] with an address that nobody maps.
    pub const ALL: [Fault; 22] = [
        Fault::LateCompletion,
        Fault::LostCompletion,
        Fault::DuplicateCompletion,
        Fault::ReorderedCompletion,
        Fault::WrongPhase,
        Fault::PartialDma,
        Fault::CorruptData,
        Fault::StuckDoorbell,
        Fault::ResetInTheMiddle,
        Fault::Fatal,
        Fault::Removal,
        Fault::ForeignCommandId,
        Fault::WildQueueHead,
        Fault::HugeCount,
        Fault::HugeTrap,
        Fault::HugeSteps,
        Fault::HugeReport,
        Fault::HugeLength,
        Fault::HugeList,
        Fault::HugeIdentity,
        Fault::WriteOutside(0),
        Fault::ChangeAfterCompletion,
    ];
}

/// Which jobs a rule strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// The one of this number, counted over the card's life from 1.
    Job(u64),
    /// Each with this chance, in ten thousandths.
    Chance(u32),
}

/// Which faults strike which jobs.
///
/// ```
/// use unlade_sim_card::{Fault, FaultPlan};
///
/// let plan = FaultPlan::none().at(3, Fault::LostCompletion).chance(100, Fault::LateCompletion);
/// assert_eq!(plan.fault_of(3), Some(Fault::LostCompletion));
/// // The chances are drawn from the seed and the number of the job, so a run can be repeated.
/// assert_eq!(plan.clone().seed(7).fault_of(8), plan.seed(7).fault_of(8));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    rules: Vec<(When, Fault)>,
    seed: u64,
}

impl FaultPlan {
    /// Nothing goes wrong.
    pub fn none() -> FaultPlan {
        FaultPlan::default()
    }

    /// Every kind of fault, each with a chance of one half of a percent in every job.
    pub fn seeded(seed: u64) -> FaultPlan {
        Fault::ALL
            .into_iter()
            .fold(FaultPlan::none().seed(seed), |plan, fault| {
                plan.chance(50, fault)
            })
    }

    /// Adds a fault of the job with this number. Jobs are counted over the card's life, from 1, in
    /// the order in which they are fetched.
    pub fn at(mut self, job: u64, fault: Fault) -> FaultPlan {
        self.rules.push((When::Job(job), fault));
        self
    }

    /// Adds a fault that strikes every job with a chance, given in ten thousandths.
    pub fn chance(mut self, ten_thousandths: u32, fault: Fault) -> FaultPlan {
        self.rules.push((When::Chance(ten_thousandths), fault));
        self
    }

    /// Draws chances from another seed.
    pub fn seed(mut self, seed: u64) -> FaultPlan {
        self.seed = seed;
        self
    }

    /// The fault of the job with this number: that of the first rule that strikes it.
    pub fn fault_of(&self, job: u64) -> Option<Fault> {
        let strikes = |(rule, (when, _)): &(u64, &(When, Fault))| match when {
            When::Job(number) => *number == job,
            When::Chance(chance) => mix(mix(self.seed ^ job) ^ rule) % 10_000 < u64::from(*chance),
        };
        let (_, (_, fault)) = (0..).zip(&self.rules).find(strikes)?;
        Some(*fault)
    }
}

/// The output function of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_about_what_they_say_and_depend_on_the_seed() {
        let plan = |seed| {
            FaultPlan::none()
                .chance(1000, Fault::LostCompletion)
                .seed(seed)
        };
        let struck = |plan: FaultPlan| -> Vec<bool> {
            (1..=10_000)
                .map(|job| plan.fault_of(job).is_some())
                .collect()
        };
        let count = struck(plan(1)).into_iter().filter(|&struck| struck).count();
        assert!((900..1100).contains(&count), "{count} of 10000");
        assert_ne!(struck(plan(1)), struck(plan(2)));
    }

    #[test]
    fn a_seeded_plan_has_every_kind() {
        let plan = FaultPlan::seeded(1);
        let seen: std::collections::HashSet<_> =
            (1..100_000).filter_map(|job| plan.fault_of(job)).collect();
        assert_eq!(seen.len(), Fault::ALL.len());
    }
}
