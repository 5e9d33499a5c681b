//! A simulated card: a PCI function in software, which is reached over vfio-user.
//!
//! It is written from docs/CARD.md alone. No driver, no compiler and no kernel of the workspace is
//! used or imitated here, so whatever a driver and this card agree on, the document says. The
//! interpreter is a second reading of the document: it computes one row after the other, and is
//! checked against every case of docs/card/operations.toml, and against the executions and refusals
//! of docs/card/vectors.toml.
//!
//! A host connects to the socket of a [`Served`] card and finds registers, configuration space and
//! interrupts as on a card of hardware. The card reaches the host's memory by nothing but what the
//! host maps: what is not in the mapping table, or not for reading or writing, is refused.
//!
//! ```
//! use unlade_sim_card::{Card, Config, Fault, FaultPlan, Profile, Region, Served};
//!
//! // For hosts, in this process or another.
//! let served = Served::start(Config::default())?;
//! assert!(served.path().exists());
//!
//! // Without a socket, and the third job goes wrong.
//! let faults = FaultPlan::none().at(3, Fault::LostCompletion);
//! let card = Card::start(Config { profile: Profile::small(), seed: 7, faults });
//! let mut vendor = [0; 2];
//! card.read(Region::Config, 0, &mut vendor).unwrap();
//! assert_eq!(u16::from_le_bytes(vendor), 0x1AF4);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Time
//! The clock is simulated: TIME stands still while the card has nothing to do, and a job moves it on
//! by what the [`Timing`] of the profile says of its bytes and words, and of the host before it. Two runs of the same jobs
//! take the same time, on any machine. The host's clock is used for [`LATE`] and [`CHANGED_AFTER`] alone.
//!
//! # What is inside
//! - [`Card`], [`Config`]: a card, or a virtual function, and what the host reaches of it; [`Counters`]: what it has done
//! - [`NoFunction`]: why a virtual function is not to be had
//! - [`Served`], [`Server`], [`Stopper`], [`Event`]: a card on a socket
//! - [`Profile`], [`Features`], [`Timing`]: kinds of cards
//! - [`Fault`], [`FaultPlan`]: what goes wrong, and when
//! - [`Iova`], [`Permissions`], [`MapError`], [`RefusedAccess`]: the mapping table
//!
//! Where to find what docs/CARD.md says: section 2 in `config_space`, `functions` and `interrupts`, 3
//! and 4 in `registers`, 5 in `queues` and `operand`, 6 in `admin` and `logs`, 7 in `jobs`, 9 in
//! `bytecode`, 10 in `firmware`, 11 in `capability` and `profile`. `state` is what all of them share,
//! `worker` the thread that does the card's work, `wire` and `session` the protocol of the socket, `peer`
//! who is at its other end.
//!
//! # What it leaves out
//! Power management and the coalescing of interrupts, both of which are optional. Each virtual function is
//! served at a socket of its own ([`Card::virtual_function`]), so none is reached by a requester id.
//! The memory that a host maps has to be in files that `pread` and `pwrite` take, or in one of
//! hugetlbfs, of which whole pages are mapped.
#![forbid(unsafe_code)]

mod admin;
mod bytecode;
mod bytes;
mod capability;
mod card;
mod config_space;
mod dma;
mod faults;
mod firmware;
mod functions;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod interrupts;
mod jobs;
mod logs;
mod operand;
mod peer;
mod profile;
mod queues;
mod registers;
mod serve;
mod session;
mod state;
mod status;
mod types;
#[cfg(test)]
mod vectors;
mod wire;
mod worker;

pub use card::{BeyondRegion, Card, Config, Counters, Region};
pub use dma::{Iova, MapError, Permissions, RefusedAccess};
pub use faults::{CHANGED_AFTER, Fault, FaultPlan, LATE};
pub use functions::NoFunction;
pub use interrupts::InterruptKind;
pub use profile::{Features, Nanos, Profile, Timing};
pub use serve::{Event, Served, Server, Stopper};
