//! A card in the test's own process, reached without a socket: several parties may reach one.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use unlade_dpu::{BarOffset, CardAccess, Iova, Transport, TransportError};
use unlade_hal::HostPages;
use unlade_sim_card::{BeyondRegion, Card, InterruptKind, Permissions, Region};

/// A way to a card.
#[derive(Debug)]
pub struct InProcess {
    card: Arc<Card>,
    /// Whether its registers read as all ones.
    nothing: bool,
    /// The most vectors that the machine has left for it.
    vectors_left: usize,
}

impl InProcess {
    /// To this card.
    pub fn new(card: &Arc<Card>) -> Self {
        InProcess {
            card: card.clone(),
            nothing: false,
            vectors_left: usize::MAX,
        }
    }

    /// To this card, in a machine with so many vectors left.
    pub fn with_vectors(card: &Arc<Card>, vectors_left: usize) -> Self {
        InProcess {
            vectors_left,
            ..InProcess::new(card)
        }
    }

    /// To a function without registers, with the configuration space of this card.
    pub fn nothing(card: &Arc<Card>) -> Self {
        InProcess {
            nothing: true,
            ..InProcess::new(card)
        }
    }
}

fn lacks(beyond: BeyondRegion) -> TransportError {
    TransportError::Lacks(beyond.to_string())
}

fn clone(file: BorrowedFd<'_>) -> File {
    File::from(file.try_clone_to_owned().expect("a descriptor is free"))
}

impl Transport for InProcess {
    fn address(&self) -> String {
        "in process".to_owned()
    }

    fn bar_len(&self) -> u64 {
        self.card.region_size(Region::Bar0)
    }

    fn read32(&self, at: BarOffset) -> Result<u32, TransportError> {
        let mut bytes = [0xFF; 4];
        if !self.nothing {
            self.card
                .read(Region::Bar0, at.0, &mut bytes)
                .map_err(lacks)?;
        }
        Ok(u32::from_le_bytes(bytes))
    }

    fn read64(&self, at: BarOffset) -> Result<u64, TransportError> {
        let mut bytes = [0xFF; 8];
        self.card
            .read(Region::Bar0, at.0, &mut bytes)
            .map_err(lacks)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write32(&self, at: BarOffset, value: u32) -> Result<(), TransportError> {
        assert!(!self.nothing, "registers of a function that is no card");
        let bytes = value.to_le_bytes();
        self.card.write(Region::Bar0, at.0, &bytes).map_err(lacks)
    }

    fn write64(&self, at: BarOffset, value: u64) -> Result<(), TransportError> {
        assert!(!self.nothing, "registers of a function that is no card");
        let bytes = value.to_le_bytes();
        self.card.write(Region::Bar0, at.0, &bytes).map_err(lacks)
    }

    fn read_config(&self, at: u16, bytes: &mut [u8]) -> Result<(), TransportError> {
        let at = u64::from(at);
        self.card.read(Region::Config, at, bytes).map_err(lacks)
    }

    fn write_config(&self, at: u16, bytes: &[u8]) -> Result<(), TransportError> {
        let at = u64::from(at);
        self.card.write(Region::Config, at, bytes).map_err(lacks)
    }

    fn map(&self, iova: Iova, pages: &HostPages, access: CardAccess) -> Result<(), TransportError> {
        let permissions = Permissions {
            read: access != CardAccess::Write,
            write: access != CardAccess::Read,
        };
        let file = pages.file().map(clone);
        let iova = unlade_sim_card::Iova(iova.0);
        self.card
            .map(iova, pages.len(), file, 0, permissions)
            .map_err(|error| TransportError::Lacks(error.to_string()))
    }

    fn unmap(&self, iova: Iova, len: u64) -> Result<(), TransportError> {
        let iova = unlade_sim_card::Iova(iova.0);
        let unmapped = self.card.unmap(iova, len);
        unmapped.map_err(|error| TransportError::Lacks(error.to_string()))
    }

    fn vectors(&self) -> u32 {
        u32::from(self.card.vectors())
    }

    fn set_interrupts(&self, events: &[BorrowedFd<'_>]) -> Result<(), TransportError> {
        if events.len() > self.vectors_left {
            return Err(TransportError::TooFewVectors(events.len()));
        }
        let events = events.iter().map(|event| Some(clone(*event))).collect();
        assert!(self.card.set_events(InterruptKind::Msix, 0, events));
        Ok(())
    }

    fn reset(&self) -> Result<(), TransportError> {
        self.card.reset();
        Ok(())
    }

    fn renew(&self) -> Result<Arc<dyn Transport>, TransportError> {
        Err(TransportError::Unsupported("opening it again"))
    }

    fn close(&self) {
        self.card.unmap_all();
    }
}
