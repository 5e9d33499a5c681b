//! The functions of one card, docs/CARD.md, section 2, SR-IOV: which virtual ones there are, and the
//! engine, which all of them share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use crate::card::Shared;
use crate::profile::Nanos;

/// The number of the physical function.
pub(crate) const PHYSICAL: u16 = 0;

/// What the physical function says of the virtual ones, by its SR-IOV capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Enabled {
    /// How many there are.
    pub(crate) count: u16,
    /// VF MSE: whether their BARs answer.
    pub(crate) memory: bool,
}

/// What all functions of a card know of each other.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    enabled: Mutex<Enabled>,
    /// The virtual ones that somebody has.
    started: Mutex<Vec<Weak<Shared>>>,
    engine: Mutex<Engine>,
    ended: Condvar,
}

/// Who has the engine, in turns.
#[derive(Debug, Default)]
struct Engine {
    /// Turns that were asked for.
    asked: u64,
    /// Turns that have ended.
    ended: u64,
    /// When the job of the last turn ended.
    free: Nanos,
}

impl Functions {
    /// Notes what the physical function's configuration space says. What that ends or begins
    /// [`follow`](Self::follow) sees to, once no function is locked.
    pub(crate) fn enable(&self, enabled: Enabled) {
        *lock(&self.enabled) = enabled;
    }

    /// Whether a function is there.
    pub(crate) fn has(&self, number: u16) -> bool {
        number <= lock(&self.enabled).count
    }

    /// Whether the BARs of virtual functions answer.
    pub(crate) fn memory(&self) -> bool {
        lock(&self.enabled).memory
    }

    pub(crate) fn start(&self, function: &Arc<Shared>) {
        let mut started = lock(&self.started);
        started.retain(|one| one.strong_count() > 0);
        started.push(Arc::downgrade(function));
    }

    /// Has virtual functions that are not there any more end what they have on the bus. They begin anew
    /// when they are there again.
    pub(crate) fn follow(&self) {
        let started = lock(&self.started).clone();
        for function in started.iter().filter_map(Weak::upgrade) {
            let state = function.lock();
            if !self.has(state.function) {
                function.reset(state);
                function.notify();
            }
        }
    }

    /// Waits for the engine: who asks first has it first, so that nobody waits for ever.
    pub(crate) fn turn(&self) -> Turn<'_> {
        let mut engine = lock(&self.engine);
        let own = engine.asked;
        engine.asked += 1;
        let waits = |engine: &mut Engine| engine.ended < own;
        let waited = self.ended.wait_while(engine, waits);
        let free = waited.unwrap_or_else(PoisonError::into_inner).free;
        Turn {
            functions: self,
            free,
        }
    }
}

/// The engine is this function's, until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    functions: &'a Functions,
    /// When the engine was free, on the simulated clock.
    pub(crate) free: Nanos,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut engine = lock(&self.functions.engine);
        engine.ended += 1;
        engine.free = engine.free.max(self.free);
        self.functions.ended.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn who_asks_first_has_the_engine_first_and_time_goes_on() {
        let functions = Functions::default();
        let order = Mutex::new(Vec::new());
        let waiting = AtomicU32::new(0);
        thread::scope(|scope| {
            let mut first = functions.turn();
            for number in 0..4 {
                let (functions, order, waiting) = (&functions, &order, &waiting);
                scope.spawn(move || {
                    while waiting.load(Ordering::SeqCst) != number {
                        thread::yield_now();
                    }
                    // The next may ask once this one has.
                    let asked = lock(&functions.engine).asked;
                    scope.spawn(move || {
                        while lock(&functions.engine).asked == asked {
                            thread::yield_now();
                        }
                        waiting.store(number + 1, Ordering::SeqCst);
                    });
                    let mut turn = functions.turn();
                    order.lock().unwrap().push((number, turn.free.0));
                    turn.free.0 += 10;
                });
            }
            while waiting.load(Ordering::SeqCst) < 4 {
                thread::yield_now();
            }
            assert_eq!(*order.lock().unwrap(), [], "nobody has it beside the first");
            first.free = Nanos(100);
        });
        assert_eq!(
            *order.lock().unwrap(),
            [(0, 100), (1, 110), (2, 120), (3, 130)]
        );
    }
}
