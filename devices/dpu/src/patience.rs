//! Whether a wait looks again and again before it sleeps.

use std::time::Duration;

/// How long a wait asks again and again before it sleeps until the card interrupts.
pub(crate) const SPIN: Duration = Duration::from_micros(50);

/// How many waits sleep at once after the first in which looking again and again was in vain.
const FEWEST: u16 = 32;

/// How many do so at most: what was in vain has then cost each of them 50 ns.
const MOST: u16 = 1024;

/// What looking again and again has brought so far. Where it was in vain, the card is slower than
/// that, or needs the processor: the next waits sleep at once, and each time that trying it anew is
/// in vain, twice as many.
#[derive(Debug)]
pub(crate) struct Patience {
    /// Waits that are still to sleep at once.
    sleepers: u16,
    /// How many there are to be once it is in vain again.
    next: u16,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Patience {
            sleepers: 0,
            next: FEWEST,
        }
    }

    /// Whether the wait that begins is to look again and again.
    pub(crate) fn begin(&mut self) -> bool {
        let spins = self.sleepers == 0;
        self.sleepers = self.sleepers.saturating_sub(1);
        spins
    }

    /// Looking again and again has found what was waited for.
    pub(crate) fn rewarded(&mut self) {
        self.next = FEWEST;
    }

    /// It has found nothing.
    pub(crate) fn in_vain(&mut self) {
        self.sleepers = self.next;
        self.next = MOST.min(2 * self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many waits sleep at once, until one does not.
    fn sleepers(patience: &mut Patience) -> usize {
        (0..).take_while(|_| !patience.begin()).count()
    }

    #[test]
    fn what_is_in_vain_is_tried_less_and_less_until_it_helps() {
        let mut patience = Patience::new();
        assert_eq!(sleepers(&mut patience), 0);
        for wanted in [32, 64, 128, 256, 512, 1024, 1024, 1024] {
            patience.in_vain();
            assert_eq!(sleepers(&mut patience), wanted);
        }
        patience.rewarded();
        assert_eq!(sleepers(&mut patience), 0);
        patience.in_vain();
        assert_eq!(sleepers(&mut patience), 32);
    }
}
