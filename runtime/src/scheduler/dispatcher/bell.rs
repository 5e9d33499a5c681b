//! How a thread that waits is woken.

use std::sync::Arc;
use std::task::Wake;
use std::time::Duration;

use crate::sync::modelled::thread;

/// Wakes the thread that made it.
pub(super) struct Bell(thread::Thread);

impl Bell {
    pub(super) fn new() -> Self {
        Bell(thread::current())
    }

    /// Waits until the calling thread's bell rings, or for no reason.
    pub(super) fn wait() {
        thread::park();
    }

    /// The same, for so long at most. Loom knows no time.
    pub(super) fn wait_for(longest: Duration) {
        #[cfg(not(loom))]
        thread::park_timeout(longest);
        #[cfg(loom)]
        unreachable!("nobody waits {longest:?} in a model");
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
