//! Why a card cannot be opened.

use std::borrow::Cow;

use crate::fault::Fault;
use crate::transport::TransportError;

/// Why a card cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotOpen {
    /// It cannot be reached.
    #[error("cannot reach the card at {address}: {error}; {}", advice(.error))]
    Transport {
        /// Where it was looked for.
        address: String,
        /// What happened.
        error: TransportError,
    },
    /// What is there does not speak the interface.
    #[error("{}", not_a_card(.address, *.magic))]
    NotACard {
        /// Where it is.
        address: String,
        /// What MAGIC is.
        magic: u32,
    },
    /// It speaks another major version of the interface.
    #[error(
        "the card at {address} speaks version {version} of the card interface, and this driver \
         version 1; use a driver of that version, or firmware of version 1"
    )]
    Version {
        /// Where it is.
        address: String,
        /// Its version.
        version: String,
    },
    /// Somebody else uses it.
    #[error(
        "the card at {address} is in use by {holder}; wait until that has let go of it, or open \
         another card or virtual function"
    )]
    InUse {
        /// Where it is.
        address: String,
        /// Who, as the holder has written it on the card, or as the system or the card's server tells.
        holder: String,
    },
    /// This machine has too little of something that a card needs.
    #[error("the card at {address} cannot be opened: {reason}; `unlade doctor` says what there is")]
    Short {
        /// Where it is.
        address: String,
        /// Of what, and what to do.
        reason: String,
    },
    /// It does not do what every card does.
    #[error("the card at {address} cannot be used: {reason}; reset it or its host, or replace it")]
    Unusable {
        /// Where it is.
        address: String,
        /// What it does instead.
        reason: String,
    },
}

impl CannotOpen {
    /// What an error of the way to a card means.
    pub(crate) fn reaching(address: String, error: TransportError) -> Self {
        match error {
            TransportError::InUse { holder } => CannotOpen::InUse { address, holder },
            error => CannotOpen::Transport { address, error },
        }
    }

    /// What it means that a card was found and taken, and could not be enabled. Its own doing is what is
    /// left where it is not this machine's, nor that of the way to it.
    pub(crate) fn enabling(address: String, fault: Fault) -> Self {
        let reason = fault.to_string();
        match fault {
            Fault::Memory { .. }
            | Fault::Transport(TransportError::CannotMap(_) | TransportError::TooFewVectors(_)) => {
                CannotOpen::Short { address, reason }
            }
            Fault::Gone(_) => CannotOpen::NotACard {
                address,
                magic: u32::MAX,
            },
            Fault::Transport(
                error @ (TransportError::Closed
                | TransportError::TimedOut { .. }
                | TransportError::Os { .. }
                | TransportError::Broken),
            ) => CannotOpen::Transport { address, error },
            _ => CannotOpen::Unusable { address, reason },
        }
    }
}

fn not_a_card(address: &str, magic: u32) -> String {
    match magic {
        u32::MAX => format!(
            "the card at {address} was removed: its registers read as all ones; put it back, or \
             start what serves it again"
        ),
        _ => format!(
            "{address} is no card: its register MAGIC reads {magic:#010x}, not 0x444c4e55; give \
             the address of a function that speaks the card interface"
        ),
    }
}

/// What may help.
fn advice(error: &TransportError) -> Cow<'static, str> {
    let advice = match error {
        TransportError::OnlyFunctions { first, .. } => {
            return format!("is it `dpu:unix:{first}`?").into();
        }
        TransportError::NoSocket { .. } => {
            "name the socket of a card, as `unlade card --socket PATH` makes one"
        }
        TransportError::LongPath { .. } => {
            "name a shorter one, such as one from the working directory, or a link to its folder"
        }
        TransportError::Os {
            call: "connect", ..
        } => "start one with `unlade card --socket PATH`, or correct the path",
        TransportError::Os {
            call: "opening a function through VFIO",
            ..
        } => "bind it to the driver vfio-pci, and let this user open its group in /dev/vfio",
        TransportError::Os {
            call: "binding a function to iommufd",
            ..
        } => {
            "see, as root, whether a process has its file: `fuser -v /dev/vfio/devices/*`; else \
             `dmesg` may say why the kernel does not bind it, and `dpu:` with its address alone opens it \
             by its group"
        }
        TransportError::Os {
            call: "looking for a PCI function",
            ..
        } => "`dpu:` goes before that address, or before unix: and a socket's path",
        TransportError::TimedOut { .. } => {
            "it may be serving somebody else: a socket serves one connection at a time"
        }
        // Of the kernel, once the function is open.
        TransportError::Os { .. } => "`dmesg` may say why, and `unlade doctor` what is missing",
        _ => "see whether what serves it still runs",
    };
    advice.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_not_the_cards_fault_is_not_mended_by_replacing_it() {
        let told = |fault| CannotOpen::enabling("0000:3b:00.0".to_owned(), fault).to_string();
        let card = "reset it or its host, or replace it";
        let memory = |why: &str| Fault::Memory {
            what: "interrupts",
            why: why.to_owned(),
        };
        let os = TransportError::Os {
            call: "enabling interrupts",
            message: "Invalid argument".to_owned(),
        };
        let silent = TransportError::TimedOut {
            what: "REGION_READ",
            after: Duration::from_secs(5),
        };
        for (fault, help) in [
            (memory("eventfd: raise ulimit -n"), "ulimit -n"),
            (
                TransportError::CannotMap("ulimit -l".into()).into(),
                "ulimit -l",
            ),
            (TransportError::TooFewVectors(1).into(), "add processors"),
            (os.into(), "dmesg"),
            (silent.into(), "it may be serving somebody else"),
            (TransportError::Closed.into(), "still runs"),
            (Fault::Gone("CSTS"), "put it back"),
        ] {
            let told = told(fault);
            assert!(told.contains(help) && !told.contains(card), "{told}");
        }
        for fault in [
            Fault::Lie("its identity is of 3 bytes".to_owned()),
            TransportError::Lacks("has no MSI-X, which every card has".to_owned()).into(),
            Fault::NotReady,
        ] {
            let told = told(fault);
            assert!(told.ends_with(card), "{told}");
        }
    }
}
