//! The functions of one card, docs/CARD.md, section 2, SR-IOV: which virtual ones there are, and the
//! engine, which all of them share.

use std::cell::Cell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use crate::card::Shared;
use crate::dma::{Dma, DmaError};
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

/// Why a virtual function is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoFunction {
    /// Only physical functions have any.
    #[error(
        "it is virtual function {0} of its card, and the physical one makes them: ask that one"
    )]
    OfVirtual(u16),
    /// Number 0 is no virtual one's.
    #[error("number 0 is the physical function: virtual ones are counted from 1")]
    Physical,
    /// The card has fewer.
    #[error(
        "the card has {most} virtual functions, and {asked} is beyond them: give its profile \
         `virtual_functions` as many"
    )]
    NotSoMany {
        /// The number of the one, or of how many, that were asked for.
        asked: u16,
        /// How many there can be.
        most: u16,
    },
    /// Somebody has it.
    #[error("virtual function {0} is started already: drop that one first")]
    Started(u16),
}

/// What all functions of a card know of each other.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    enabled: Mutex<Enabled>,
    /// The virtual ones that somebody has, by their numbers.
    started: Mutex<BTreeMap<u16, Weak<Shared>>>,
    engine: Mutex<Engine>,
    ended: Condvar,
}

/// Who has the engine, in turns.
#[derive(Debug, Default)]
struct Engine {
    /// Turns that were asked for.
    asked: u64,
    /// Those that have not ended, nor were given up: the first has the engine.
    line: VecDeque<u64>,
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

    /// Notes a virtual function, which nobody else has until it [ends](Self::end).
    pub(crate) fn start(&self, number: u16, function: &Arc<Shared>) -> Result<(), NoFunction> {
        match lock(&self.started).entry(number) {
            Entry::Occupied(_) => Err(NoFunction::Started(number)),
            Entry::Vacant(free) => {
                free.insert(Arc::downgrade(function));
                Ok(())
            }
        }
    }

    /// Somebody has let go of a function.
    pub(crate) fn end(&self, number: u16) {
        lock(&self.started).remove(&number);
    }

    /// Has virtual functions that are not there any more end what they have on the bus. They begin anew
    /// when they are there again.
    pub(crate) fn follow(&self) {
        // One may wait for the engine that another has.
        self.abandon(false);
        let started = lock(&self.started).clone();
        for function in started.values().filter_map(Weak::upgrade) {
            let state = function.lock();
            if !self.has(state.function) {
                function.reset(state);
                function.notify();
            }
        }
    }

    /// Has those virtual functions that are not there any more, or all, let go of what they do, without
    /// waiting for that.
    pub(crate) fn abandon(&self, all: bool) {
        let started = lock(&self.started).clone();
        for function in started.values().filter_map(Weak::upgrade) {
            let mut state = function.lock();
            if all || !self.has(state.function) {
                state.abandon();
            }
        }
    }

    /// Waits for the engine: who asks first has it first, so that nobody waits for ever. `None` where
    /// the function is reset meanwhile, by whoever then [wakes](Self::wake) it.
    pub(crate) fn turn(&self, dma: &Dma) -> Option<Turn<'_>> {
        let free = self.wait_in_line(dma)?;
        Some(Turn {
            functions: self,
            held: Cell::new(true),
            free,
        })
    }

    /// Waits for the engine, and gives when it was free.
    fn wait_in_line(&self, dma: &Dma) -> Option<Nanos> {
        let mut engine = lock(&self.engine);
        let own = engine.asked;
        engine.asked += 1;
        engine.line.push_back(own);
        let waits = |engine: &mut Engine| engine.line[0] != own && !dma.is_abandoned();
        let waited = self.ended.wait_while(engine, waits);
        let mut engine = waited.unwrap_or_else(PoisonError::into_inner);
        if engine.line[0] != own {
            engine.line.retain(|other| *other != own);
            return None;
        }
        Some(engine.free)
    }

    /// Has all who wait for the engine look whether they still do.
    pub(crate) fn wake(&self) {
        drop(lock(&self.engine));
        self.ended.notify_all();
    }
}

/// The engine is this function's, until this is dropped; but for the time for which it is given back.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    functions: &'a Functions,
    held: Cell<bool>,
    /// When the engine was free, on the simulated clock.
    pub(crate) free: Nanos,
}

impl Turn<'_> {
    /// Lets others have the engine, in the middle of a job that cannot go on. The simulated clock of the
    /// job does not see what they do meanwhile.
    pub(crate) fn give_back(&self) {
        if self.held.replace(false) {
            lock(&self.functions.engine).line.pop_front();
            self.functions.ended.notify_all();
        }
    }

    /// Waits for the engine as [`Functions::turn`] does, behind those who wait already.
    pub(crate) fn take_again(&self, dma: &Dma) -> Result<(), DmaError> {
        let free = self.functions.wait_in_line(dma);
        self.held.set(free.is_some());
        free.map(drop).ok_or(DmaError::Abandoned)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut engine = lock(&self.functions.engine);
        engine.free = engine.free.max(self.free);
        drop(engine);
        self.give_back();
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
        let (functions, dma) = (Functions::default(), Dma::default());
        let order = Mutex::new(Vec::new());
        let waiting = AtomicU32::new(0);
        thread::scope(|scope| {
            let mut first = functions.turn(&dma).unwrap();
            for number in 0..4 {
                let (functions, order, waiting, dma) = (&functions, &order, &waiting, &dma);
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
                    let mut turn = functions.turn(dma).unwrap();
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
