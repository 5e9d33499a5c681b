//! Whose turn it is to take what memory comes back.

use std::sync::PoisonError;

use crate::sync::{Condvar, LOOK_UP, Mutex, lock};

/// One at a time takes what memory comes back, and all that wait for their turn hold none.
#[derive(Debug, Default)]
pub(crate) struct Shortage {
    taken: Mutex<bool>,
    free: Condvar,
}

/// A turn, until it is dropped.
pub(crate) struct Turn<'a>(&'a Shortage);

impl Shortage {
    /// Waits for a turn; `None` where the caller `gives_up`.
    pub(crate) fn enter(&self, gives_up: impl Fn() -> bool) -> Option<Turn<'_>> {
        let mut taken = lock(&self.taken);
        while *taken {
            if gives_up() {
                return None;
            }
            let waited = self.free.wait_timeout(taken, LOOK_UP);
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.0.taken) = false;
        self.0.free.notify_one();
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn one_at_a_time_has_a_turn() {
        let (shortage, inside) = (Shortage::default(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let turn = shortage.enter(|| false);
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(turn);
                    }
                });
            }
        });
    }

    #[test]
    fn who_gives_up_has_none() {
        let shortage = Shortage::default();
        let turn = shortage.enter(|| true);
        assert!(turn.is_some(), "it was free");
        assert!(shortage.enter(|| true).is_none());
        drop(turn);
        assert!(shortage.enter(|| true).is_some());
    }
}
