//! The card's registers at work: who owns it, and enabling and disabling it (docs/CARD.md,
//! sections 3 and 4).

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::config_space;
use crate::error::CannotOpen;
use crate::fault::Fault;
use crate::fields::printable;
use crate::pair::Place;
use crate::registers::{
    ACQ, AQA, ASQ, CAP, CC, CC_ENABLE, CSTS, Cap, Csts, GONE, MAGIC, MAGIC_VALUE, MAJOR, OWNER,
    OWNER_NAME, OWNER_NAME_LEN, VERSION, Version, aqa,
};
use crate::transport::{Transport, TransportError};

/// How often a register is asked while it is waited for.
const NAP: Duration = Duration::from_millis(1);

/// A card that was found to be one.
#[derive(Clone, Debug)]
pub(crate) struct Controller {
    transport: Arc<dyn Transport>,
    cap: Cap,
    /// By which its owner is known.
    number: u32,
}

impl Controller {
    /// Looks whether a card is there that this driver knows.
    pub(crate) fn find(transport: Arc<dyn Transport>) -> Result<Self, CannotOpen> {
        let address = transport.address();
        let unreachable = |error| CannotOpen::Transport {
            address: address.clone(),
            error,
        };
        // Registers answer only behind this; nothing else is changed before MAGIC is known.
        config_space::enable_memory(&*transport).map_err(unreachable)?;
        let magic = transport.read32(MAGIC).map_err(unreachable)?;
        if magic != MAGIC_VALUE {
            return Err(CannotOpen::NotACard { address, magic });
        }
        let version = Version(transport.read32(VERSION).map_err(unreachable)?);
        if version.major() != MAJOR {
            let version = version.to_string();
            return Err(CannotOpen::Version { address, version });
        }
        let cap = transport.read64(CAP).map_err(unreachable)?;
        let unusable = |reason| CannotOpen::Unusable {
            address: address.clone(),
            reason,
        };
        let cap = Cap::decode(cap).map_err(unusable)?;
        let (pairs, room) = (cap.queue_pairs, cap.pairs_within(transport.bar_len()));
        if room < u64::from(pairs) {
            return Err(unusable(format!(
                "its BAR0 has room for the doorbells of {room} queue pairs, and CAP says {pairs}"
            )));
        }
        Ok(Controller {
            transport,
            cap,
            number: random_number(),
        })
    }

    /// As [`find`](Self::find), for the owner of this one, behind a transport that may be another.
    pub(crate) fn find_again(&self, transport: Arc<dyn Transport>) -> Result<Self, CannotOpen> {
        let found = Controller::find(transport)?;
        Ok(Controller {
            number: self.number,
            ..found
        })
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    pub(crate) fn shared_transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    pub(crate) fn cap(&self) -> &Cap {
        &self.cap
    }

    /// Takes the card for whoever has this name; an error names who has it already.
    pub(crate) fn claim(&self, name: &str) -> Result<(), CannotOpen> {
        let address = self.transport.address();
        let unreachable = |error| CannotOpen::Transport {
            address: address.clone(),
            error,
        };
        if self.transport.read32(OWNER).map_err(unreachable)? == 0 {
            let own = self.transport.write32(OWNER, self.number);
            own.map_err(unreachable)?;
        }
        if self.owns().map_err(unreachable)? {
            return self.sign(name).map_err(unreachable);
        }
        let holder = self.owner_name().map_err(unreachable)?;
        Err(CannotOpen::InUse { address, holder })
    }

    /// Whether it still is whose it was made by [`claim`](Self::claim): a function level reset takes that.
    pub(crate) fn owns(&self) -> Result<bool, TransportError> {
        Ok(self.transport.read32(OWNER)? == self.number)
    }

    /// Lets go of the card.
    pub(crate) fn release(&self) -> Result<(), TransportError> {
        self.transport.write32(OWNER, 0)
    }

    fn sign(&self, name: &str) -> Result<(), TransportError> {
        let mut bytes = [0; OWNER_NAME_LEN];
        let mut len = name.len().min(OWNER_NAME_LEN);
        while !name.is_char_boundary(len) {
            len -= 1;
        }
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        for (at, word) in (0..).step_by(4).zip(bytes.chunks_exact(4)) {
            let word = u32::from_le_bytes(word.try_into().expect("four bytes"));
            self.transport.write32(OWNER_NAME.plus(at), word)?;
        }
        Ok(())
    }

    fn owner_name(&self) -> Result<String, TransportError> {
        let mut bytes = Vec::with_capacity(OWNER_NAME_LEN);
        for at in (0..OWNER_NAME_LEN as u64).step_by(4) {
            bytes.extend(self.transport.read32(OWNER_NAME.plus(at))?.to_le_bytes());
        }
        let name = printable(&bytes);
        Ok(match name.is_empty() {
            true => "somebody who has given no name".to_owned(),
            false => name,
        })
    }

    /// An error where the card is gone, has stopped, or is not enabled any more.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let status = self.status()?;
        if status.is_fatal() {
            return Err(Fault::Fatal(status.reason()));
        }
        match status.is_ready() {
            true => Ok(()),
            false => Err(Fault::NotReady),
        }
    }

    /// Enables the card with an admin queue. It has to be disabled.
    pub(crate) fn enable(&self, admin: &Place) -> Result<(), Fault> {
        config_space::enable_memory(&*self.transport)?;
        config_space::enable_bus_master(&*self.transport)?;
        self.transport
            .write32(AQA, aqa(admin.entries, admin.entries))?;
        self.transport.write64(ASQ, admin.submission_iova().0)?;
        self.transport.write64(ACQ, admin.completion_iova().0)?;
        self.transport.write32(CC, CC_ENABLE)?;
        self.wait("enabling", |status| match status {
            status if status.is_fatal() => Some(Err(Fault::Fatal(status.reason()))),
            status => status.is_ready().then_some(Ok(())),
        })
    }

    /// Controller reset: when it returns without an error, the host's memory is quiet.
    pub(crate) fn disable(&self) -> Result<(), Fault> {
        self.transport.write32(CC, 0)?;
        self.wait("a controller reset", |status| {
            (!status.is_ready() && !status.is_fatal()).then_some(Ok(()))
        })
    }

    /// Has the card leave memory alone, by the one reset or the other. Whether that is certain: of a
    /// card that is not seen any more it is not.
    pub(crate) fn silence(&self) -> bool {
        self.disable().is_ok() || self.reset_function().is_ok()
    }

    /// Function level reset. That it has happened is seen by the card's status.
    pub(crate) fn reset_function(&self) -> Result<(), Fault> {
        self.transport.reset()?;
        config_space::enable_memory(&*self.transport)?;
        let status = self.status()?;
        match status.is_ready() || status.is_fatal() {
            true => Err(Fault::Lie(
                "a function level reset has changed nothing".to_owned(),
            )),
            false => Ok(()),
        }
    }

    fn status(&self) -> Result<Csts, Fault> {
        let status = Csts(self.transport.read32(CSTS)?);
        match status.is_gone() {
            true => Err(Fault::Gone("CSTS")),
            false => Ok(status),
        }
    }

    /// Waits for the status to say something, at most as long as the card may take.
    fn wait(
        &self,
        what: &'static str,
        said: impl Fn(Csts) -> Option<Result<(), Fault>>,
    ) -> Result<(), Fault> {
        let after = self.cap.timeout;
        let deadline = Instant::now() + after;
        loop {
            // Asked after the time is read, so that a late thread still asks once.
            let late = Instant::now() >= deadline;
            if let Some(said) = said(self.status()?) {
                return said;
            }
            if late {
                return Err(Fault::TimedOut { what, after });
            }
            thread::sleep(NAP);
        }
    }
}

/// A number that others do not choose: not 0, and not all ones.
fn random_number() -> u32 {
    let [a, b, c, d, ..] = RandomState::new()
        .hash_one(std::process::id())
        .to_le_bytes();
    u32::from_le_bytes([a, b, c, d]).clamp(1, GONE - 1)
}
