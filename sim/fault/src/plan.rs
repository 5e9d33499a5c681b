//! When faults strike.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::kind::{Chance, FaultKind};

/// When faults strike.
#[derive(Clone, Debug)]
pub struct FaultPlan {
    rule: Rule,
    /// Chances seen so far, of all kinds.
    operations: u64,
    log: Vec<Injected>,
}

#[derive(Clone, Debug)]
enum Rule {
    Never,
    Nth {
        kind: FaultKind,
        left: u64,
    },
    Random {
        rng: Box<ChaCha8Rng>,
        rates: Vec<(FaultKind, f64)>,
    },
}

/// A fault that was injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injected {
    /// At which operation on the device, counted from 1 over all kinds of operation.
    pub operation: u64,
    /// What.
    pub kind: FaultKind,
}

impl FaultPlan {
    /// No fault, but operations are counted.
    pub fn none() -> Self {
        FaultPlan::of(Rule::Never)
    }

    /// One fault, at the `n`th operation where that kind can strike, counted from 1. None where
    /// `n` is 0.
    pub fn nth(n: u64, kind: FaultKind) -> Self {
        FaultPlan::of(if n == 0 {
            Rule::Never
        } else {
            Rule::Nth { kind, left: n }
        })
    }

    /// Faults by chance: each kind with its own probability, from 0 to 1, at every operation where
    /// it can strike. Of several that would strike at once the first listed does. Equal seeds and
    /// equal operations give equal faults.
    pub fn random(seed: u64, rates: impl IntoIterator<Item = (FaultKind, f64)>) -> Self {
        let rng = Box::new(ChaCha8Rng::seed_from_u64(seed));
        FaultPlan::of(Rule::Random {
            rng,
            rates: rates.into_iter().collect(),
        })
    }

    fn of(rule: Rule) -> Self {
        FaultPlan {
            rule,
            operations: 0,
            log: Vec::new(),
        }
    }

    /// An operation: which fault strikes, if any.
    pub(crate) fn strike(&mut self, chance: Chance) -> Option<FaultKind> {
        self.operations += 1;
        let kind = match &mut self.rule {
            Rule::Never => None,
            Rule::Nth { kind, left } if kind.chance() == chance && *left > 0 => {
                *left -= 1;
                (*left == 0).then_some(*kind)
            }
            Rule::Nth { .. } => None,
            Rule::Random { rng, rates } => roll(rng, rates, chance),
        }?;
        self.log.push(Injected {
            operation: self.operations,
            kind,
        });
        Some(kind)
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    pub(crate) fn log(&self) -> &[Injected] {
        &self.log
    }
}

/// Every kind that can strike here takes one number, struck or not, so that a fault does not shift
/// the chances of what comes later.
fn roll(rng: &mut impl Rng, rates: &[(FaultKind, f64)], chance: Chance) -> Option<FaultKind> {
    let mut struck = None;
    for (kind, rate) in rates.iter().filter(|(kind, _)| kind.chance() == chance) {
        if rng.random::<f64>() < *rate {
            struck = struck.or(Some(*kind));
        }
    }
    struck
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once() {
        let mut all = FaultKind::ALL.to_vec();
        all.dedup();
        assert_eq!(all.len(), FaultKind::ALL.len());
        assert!(all.is_sorted());
        assert_eq!(FaultKind::ALL.last(), Some(&FaultKind::CountTooLarge));
    }

    #[test]
    fn the_nth_chance_of_its_own_kind_strikes_once() {
        let mut plan = FaultPlan::nth(2, FaultKind::QueueFull);
        let operations = [
            Chance::Submit,
            Chance::Wait,
            Chance::Submit,
            Chance::Submit,
            Chance::Compile,
        ];
        let struck: Vec<bool> = operations
            .into_iter()
            .map(|chance| plan.strike(chance).is_some())
            .collect();
        assert_eq!(struck, [false, false, true, false, false]);
        assert_eq!(
            plan.log(),
            [Injected {
                operation: 3,
                kind: FaultKind::QueueFull
            }]
        );
        assert_eq!(
            FaultPlan::nth(0, FaultKind::QueueFull).strike(Chance::Submit),
            None
        );
    }

    #[test]
    fn equal_seeds_give_equal_faults() {
        let run = |seed| {
            let rates = [(FaultKind::QueueFull, 0.3), (FaultKind::LostAtSubmit, 0.1)];
            let mut plan = FaultPlan::random(seed, rates);
            for _ in 0..1000 {
                plan.strike(Chance::Submit);
            }
            assert_eq!(plan.strike(Chance::Compile), None);
            plan.log().to_vec()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        let full = run(3)
            .iter()
            .filter(|entry| entry.kind == FaultKind::QueueFull)
            .count();
        assert!(
            (200..400).contains(&full),
            "{full} of 1000 at a rate of 0.3"
        );
    }

    #[test]
    fn rates_of_zero_and_one() {
        let mut plan = FaultPlan::random(
            7,
            [(FaultKind::QueueFull, 0.0), (FaultKind::LostAtSubmit, 1.0)],
        );
        assert_eq!(plan.strike(Chance::Submit), Some(FaultKind::LostAtSubmit));
    }
}
