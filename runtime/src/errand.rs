//! What a device's driver does and may never end: on a thread that may never come back, so that who
//! waits for it can give it up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::{Condvar, Instant, LOOK_UP, Mutex, lock, thread};

/// How long a driver may take at least to compile or to reset before its device is held to have failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Something under way on a thread of its own.
pub(crate) struct Errand<T> {
    since: Instant,
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    ended: Condvar,
}

enum State<T> {
    UnderWay,
    /// What came of it; nothing where its thread panicked, or there was none for it.
    Ended(Option<T>),
}

/// How waiting for it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It has ended.
    Ended,
    /// It takes longer than it may.
    Late,
    /// Whoever waited does not any more.
    GivenUp,
}

impl<T: Send + 'static> Errand<T> {
    /// Begins it. What `act` holds is let go before it counts as ended.
    pub(crate) fn begin(act: impl FnOnce() -> T + Send + 'static) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::UnderWay),
            ended: Condvar::new(),
        });
        let end = End {
            shared: Arc::clone(&shared),
            result: None,
        };
        let run = move || end.tell(act());
        // Where there is no thread for it, it ends at once, without a result.
        let _detached = thread::Builder::new()
            .name("unlade-errand".to_owned())
            .spawn(run);
        Errand {
            since: Instant::now(),
            shared,
        }
    }

    /// Waits until it has ended, for so long from its beginning on.
    pub(crate) fn wait(&self, within: Duration, given_up: impl Fn() -> bool) -> Waited {
        let mut state = lock(&self.shared.state);
        loop {
            if let State::Ended(_) = *state {
                return Waited::Ended;
            }
            if given_up() {
                return Waited::GivenUp;
            }
            let left = within.saturating_sub(self.age());
            if left.is_zero() {
                return Waited::Late;
            }
            let waited = self.shared.ended.wait_timeout(state, left.min(LOOK_UP));
            (state, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Takes what came of it, once it has ended; `None` of what has no result, or was taken before.
    pub(crate) fn take(&self) -> Option<T> {
        match &mut *lock(&self.shared.state) {
            State::UnderWay => None,
            State::Ended(result) => result.take(),
        }
    }

    /// How long ago it began.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(*lock(&self.shared.state), State::Ended(_))
    }
}

impl<T> fmt::Debug for Errand<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand").finish_non_exhaustive()
    }
}

/// Tells that it has ended, in whatever way.
struct End<T> {
    shared: Arc<Shared<T>>,
    result: Option<T>,
}

impl<T> End<T> {
    fn tell(mut self, result: T) {
        self.result = Some(result);
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        *lock(&self.shared.state) = State::Ended(self.result.take());
        self.shared.ended.notify_all();
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_waits_has_its_result_once() {
        let errand = Errand::begin(|| 7);
        assert_eq!(errand.wait(LONG, || false), Waited::Ended);
        assert_eq!((errand.take(), errand.take()), (Some(7), None));
        // Its time does not count any more.
        assert_eq!(errand.wait(Duration::ZERO, || true), Waited::Ended);
    }

    #[test]
    fn what_does_not_end_is_given_up_or_late_and_may_still_end() {
        let (open, gate) = mpsc::channel::<()>();
        let errand = Errand::begin(move || gate.recv().is_ok());
        assert_eq!(errand.wait(LONG, || true), Waited::GivenUp);
        assert_eq!(
            errand.wait(Duration::from_millis(1), || false),
            Waited::Late
        );
        assert!(!errand.has_ended() && errand.take().is_none());
        open.send(()).unwrap();
        assert_eq!(errand.wait(LONG, || false), Waited::Ended);
        assert_eq!(errand.take(), Some(true));
    }

    #[test]
    fn what_panics_ends_without_a_result() {
        let errand = Errand::begin(|| -> u32 { panic!("as it may") });
        assert_eq!(errand.wait(LONG, || false), Waited::Ended);
        assert!(errand.has_ended() && errand.take().is_none());
    }

    #[test]
    fn what_it_held_is_let_go_before_it_has_ended() {
        for _ in 0..200 {
            let held = Arc::new(());
            let there = Arc::clone(&held);
            let errand = Errand::begin(move || Arc::strong_count(&there));
            assert_eq!(errand.wait(LONG, || false), Waited::Ended);
            assert_eq!((errand.take(), Arc::strong_count(&held)), (Some(2), 1));
        }
    }
}
