//! What is to be given back to the card, and may not be where it was dropped.
//!
//! A drop neither blocks nor calls the card: it puts a name on this list. The device empties the
//! list when it is next asked for memory, a queue or a compiled program.

use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use unlade_hal::CommandList;

use crate::admin::Handle;
use crate::dma::DmaMemory;
use crate::iova::Iova;

/// Something that nobody uses any more.
#[derive(Debug)]
pub(crate) enum Returned {
    /// Addresses at which pages are mapped. The pages themselves may go first: the system keeps
    /// what a card can reach from being used for anything else.
    Mapping(Iova),
    /// A program that is loaded.
    Program { generation: u64, handle: Handle },
    /// A queue that was dropped without being ended. Where the card is never told, what it may
    /// still touch is abandoned.
    Queue {
        generation: u64,
        number: u16,
        remains: ManuallyDrop<Remains>,
    },
}

/// What the card may still touch for a queue: to be dropped once that is deleted.
#[derive(Debug)]
pub(crate) struct Remains {
    _lists: Vec<CommandList>,
    _memory: Vec<Arc<DmaMemory>>,
}

impl Remains {
    pub(crate) fn new(lists: Vec<CommandList>, memory: Vec<Arc<DmaMemory>>) -> Self {
        Remains {
            _lists: lists,
            _memory: memory,
        }
    }
}

/// The list. Clones are one list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Returns {
    list: Arc<Mutex<Vec<Returned>>>,
}

impl Returns {
    pub(crate) fn push(&self, returned: Returned) {
        self.lock().push(returned);
    }

    pub(crate) fn take(&self) -> Vec<Returned> {
        std::mem::take(&mut *self.lock())
    }

    /// What gives this back when it is dropped.
    pub(crate) fn on_drop(&self, returned: Returned) -> Arc<OnDrop> {
        Arc::new(OnDrop {
            returned: Some(returned),
            returns: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Returned>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
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
