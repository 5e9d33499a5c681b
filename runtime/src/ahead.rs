//! Results that streams make before they are asked for, and who must not run short because of them.

use std::sync::PoisonError;

use crate::sync::{Condvar, LOOK_UP, Mutex, lock};

/// Counts the results that are made ahead of time, until it is known whether they are kept: so long
/// they count for nobody.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    making: usize,
    /// Those who wait until none is made.
    short: usize,
    /// Whether one of them goes on now.
    alone: bool,
}

/// A result that is made ahead of time.
pub(crate) struct Making<'a>(&'a Ahead);

/// None is made ahead of time as long as this lives.
pub(crate) struct NoneAhead<'a>(&'a Ahead);

impl Ahead {
    /// Begins to make a result; `None` where somebody is short of memory.
    pub(crate) fn try_make(&self) -> Option<Making<'_>> {
        let mut state = lock(&self.state);
        let may = state.short == 0 && !state.alone;
        state.making += usize::from(may);
        may.then(|| Making(self))
    }

    /// Waits until none is made, and keeps it so; `None` where the caller `gives_up`.
    pub(crate) fn none(&self, gives_up: impl Fn() -> bool) -> Option<NoneAhead<'_>> {
        let mut state = lock(&self.state);
        state.short += 1;
        while state.making > 0 || state.alone {
            if gives_up() {
                state.short -= 1;
                return None;
            }
            let waited = self.changed.wait_timeout(state, LOOK_UP);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.short -= 1;
        state.alone = true;
        Some(NoneAhead(self))
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.making -= 1;
        let awaited = state.short > 0 && state.making == 0;
        drop(state);
        if awaited {
            self.0.changed.notify_all();
        }
    }
}

impl Drop for NoneAhead<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).alone = false;
        self.0.changed.notify_all();
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_while_somebody_is_short() {
        let ahead = Ahead::default();
        let making = ahead.try_make().expect("nobody is short");
        assert!(ahead.none(|| true).is_none(), "one is in the making");
        drop(making);
        let none = ahead.none(|| true).expect("none is in the making");
        assert!(ahead.try_make().is_none());
        assert!(ahead.none(|| true).is_none(), "one at a time");
        drop(none);
        assert!(ahead.try_make().is_some());
    }

    #[test]
    fn who_waits_goes_before_what_is_begun() {
        let ahead = Ahead::default();
        let making = ahead.try_make();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| ahead.none(|| false).is_some());
            while ahead.try_make().is_some() {
                std::thread::yield_now();
            }
            drop(making);
            assert!(waits.join().unwrap());
        });
    }
}
