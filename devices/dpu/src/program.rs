//! Programs on the card.

use std::sync::Arc;

use unlade_hal::DomainId;

use crate::admin::Handle;
use crate::returns::OnDrop;

/// The code of an executable: a program that is loaded. Dropped, it is put on the list of what the
/// card is to be told to drop.
#[derive(Debug)]
pub(crate) struct Loaded {
    handle: Handle,
    domain: DomainId,
    generation: u64,
    _keep: Arc<OnDrop>,
}

impl Loaded {
    pub(crate) fn new(
        handle: Handle,
        domain: DomainId,
        generation: u64,
        keep: Arc<OnDrop>,
    ) -> Self {
        Loaded {
            handle,
            domain,
            generation,
            _keep: keep,
        }
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle
    }

    /// Whether it is on this card since its last reset.
    pub(crate) fn is_of(&self, domain: DomainId, generation: u64) -> bool {
        self.domain == domain && self.generation == generation
    }
}
