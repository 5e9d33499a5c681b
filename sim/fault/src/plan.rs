//! When faults strike.

use std::collections::VecDeque;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::kind::FaultKind;

/// Kinds of faults that a plan can hold: those of a device, or those of what a simulator puts in
/// the place of a driver.
pub trait Fault: Copy {
    /// Where a kind can strike.
    type Chance: PartialEq;

    /// Where this kind can strike.
    fn chance(self) -> Self::Chance;
}

/// When faults strike.
#[derive(Clone, Debug)]
pub struct FaultPlan<K = FaultKind> {
    rule: Rule<K>,
    /// Chances seen so far, of all kinds.
    operations: u64,
    log: Vec<Injected<K>>,
}

#[derive(Clone, Debug)]
enum Rule<K> {
    /// One after the other: how many chances each has left.
    Nth(VecDeque<(K, u64)>),
    Random {
        rng: Box<ChaCha8Rng>,
        rates: Vec<(K, f64)>,
    },
}

/// A fault that was injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injected<K = FaultKind> {
    /// At which operation on the device, counted from 1 over all kinds of operation.
    pub operation: u64,
    /// What.
    pub kind: K,
}

impl<K: Fault> FaultPlan<K> {
    /// No fault, but operations are counted.
    pub fn none() -> Self {
        FaultPlan::of(Rule::Nth(VecDeque::new()))
    }

    /// One fault, at the `n`th operation where that kind can strike, counted from 1. None where
    /// `n` is 0.
    pub fn nth(n: u64, kind: K) -> Self {
        FaultPlan::none().then(n, kind)
    }

    /// After all faults of this plan, which is not one by chance, one more: at the `n`th operation
    /// where that kind can strike, counted from 1 after the one before. None where `n` is 0.
    ///
    /// # Panics
    /// After faults by chance, which have no last one.
    #[must_use]
    pub fn then(mut self, n: u64, kind: K) -> Self {
        let Rule::Nth(faults) = &mut self.rule else {
            panic!("nothing comes after faults by chance");
        };
        if n > 0 {
            faults.push_back((kind, n));
        }
        self
    }

    /// Faults by chance: each kind with its own probability, from 0 to 1, at every operation where
    /// it can strike. Of several that would strike at once the first listed does. Equal seeds and
    /// equal operations give equal faults.
    pub fn random(seed: u64, rates: impl IntoIterator<Item = (K, f64)>) -> Self {
        let rng = Box::new(ChaCha8Rng::seed_from_u64(seed));
        FaultPlan::of(Rule::Random {
            rng,
            rates: rates.into_iter().collect(),
        })
    }

    fn of(rule: Rule<K>) -> Self {
        FaultPlan {
            rule,
            operations: 0,
            log: Vec::new(),
        }
    }

    /// An operation: which fault strikes, if any. For who injects faults.
    pub fn strike(&mut self, chance: K::Chance) -> Option<K> {
        self.operations += 1;
        let kind = match &mut self.rule {
            Rule::Nth(faults) => count_down(faults, chance),
            Rule::Random { rng, rates } => roll(rng, rates, chance),
        }?;
        self.log.push(Injected {
            operation: self.operations,
            kind,
        });
        Some(kind)
    }

    /// Operations so far, of all kinds.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// The faults injected so far, in order.
    pub fn log(&self) -> &[Injected<K>] {
        &self.log
    }
}

/// Only the first is counted down, and goes when it strikes.
fn count_down<K: Fault>(faults: &mut VecDeque<(K, u64)>, chance: K::Chance) -> Option<K> {
    let (kind, left) = faults.front_mut()?;
    if kind.chance() != chance {
        return None;
    }
    *left -= 1;
    if *left > 0 {
        return None;
    }
    faults.pop_front().map(|(kind, _)| kind)
}

/// Every kind that can strike here takes one number, struck or not, so that a fault does not shift
/// the chances of what comes later.
fn roll<K: Fault>(rng: &mut impl Rng, rates: &[(K, f64)], chance: K::Chance) -> Option<K> {
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
    use crate::kind::Chance;

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
    fn one_fault_comes_after_another() {
        let mut plan = FaultPlan::nth(1, FaultKind::QueueFull).then(2, FaultKind::QueueFull);
        let struck: Vec<bool> = (0..5)
            .map(|_| plan.strike(Chance::Submit).is_some())
            .collect();
        assert_eq!(struck, [true, false, true, false, false]);
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
