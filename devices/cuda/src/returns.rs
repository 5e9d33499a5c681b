//! What is to be given back to the driver, and may not be where it was dropped.
//!
//! A drop neither blocks nor calls the driver: it puts a name on this list. The device empties the
//! list when it is next asked for memory, a queue or a compiled program.

use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, PoisonError};

use unlade_hal::HostPages;

use crate::context::{Entered, Event, Module, Stream};
use crate::driver::Fault;

/// Something that nobody uses any more.
#[derive(Debug)]
pub(crate) enum Returned {
    /// Memory of the GPU.
    Memory(u64),
    /// Registered pages, kept mapped until the registration is taken back: where that cannot be
    /// done, for as long as the process lives, as the driver may still reach them.
    Pages(ManuallyDrop<Arc<HostPages>>),
    Module(Module),
    Stream(Stream),
    Event(Event),
}

/// The list. Clones are one list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Returns {
    list: Arc<Mutex<List>>,
}

#[derive(Debug, Default)]
struct List {
    returned: Vec<Returned>,
    /// Nothing can be given back any more; whether all of it is gone.
    ended: Option<bool>,
}

impl Returns {
    pub(crate) fn push(&self, returned: Returned) {
        let mut list = self.lock();
        match (list.ended, returned) {
            (None, returned) => list.returned.push(returned),
            (Some(true), Returned::Pages(pages)) => drop(ManuallyDrop::into_inner(pages)),
            (Some(_), _) => {}
        }
    }

    pub(crate) fn take(&self) -> Vec<Returned> {
        std::mem::take(&mut self.lock().returned)
    }

    /// The context was left: from now on nothing is given back. Nothing need be, if it is gone.
    /// Only the first time counts.
    pub(crate) fn end(&self, gone: bool) {
        let returned = {
            let mut list = self.lock();
            list.ended.get_or_insert(gone);
            std::mem::take(&mut list.returned)
        };
        returned
            .into_iter()
            .for_each(|returned| self.push(returned));
    }

    /// Whether two handles are one list.
    pub(crate) fn same(&self, other: &Returns) -> bool {
        Arc::ptr_eq(&self.list, &other.list)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What gives this back when it is dropped.
    pub(crate) fn on_drop(&self, returned: Returned) -> Arc<OnDrop> {
        Arc::new(OnDrop {
            returned: Some(returned),
            returns: self.clone(),
        })
    }
}

/// Puts something on the list when it is dropped.
#[derive(Debug)]
pub(crate) struct OnDrop {
    returned: Option<Returned>,
    returns: Returns,
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(returned) = self.returned.take() {
            self.returns.push(returned);
        }
    }
}

/// Destroys what is no memory of the GPU; that is [`Memory`](crate::memory::Memory)'s.
pub(crate) fn destroy(gpu: &Entered<'_>, returned: Returned) -> Result<(), Fault> {
    match returned {
        Returned::Memory(_) => unreachable!("memory goes back to where it came from"),
        Returned::Pages(pages) => {
            gpu.unregister(pages.as_ptr().as_ptr())?;
            drop(ManuallyDrop::into_inner(pages));
            Ok(())
        }
        // SAFETY: What is on the list is used by nobody: its last owner put it there.
        Returned::Module(module) => unsafe { gpu.unload(module) },
        // SAFETY: As above.
        Returned::Stream(stream) => unsafe { gpu.destroy_stream(stream) },
        // SAFETY: As above.
        Returned::Event(event) => unsafe { gpu.destroy_event(event) },
    }
}
