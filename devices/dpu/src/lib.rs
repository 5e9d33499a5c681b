//! DMA-capable cards as devices, driven from user space.
//!
//! A card speaks the interface of docs/CARD.md: it takes programs and the addresses of columns, and
//! reads and writes host memory by itself. This crate is its driver. It reaches the card through a
//! [`Transport`]: [`VfioPci`] for a PCI function that the kernel's VFIO hands over, [`VfioUser`] for
//! a card that is served at a socket by the vfio-user protocol, which is how a model of a card, a
//! program, is used.
//!
//! ```
//! use std::path::Path;
//! use unlade_dpu::{CannotOpen, Options, connect};
//!
//! // Nobody serves a card here, and the error says how to begin.
//! let error = connect(Path::new("/nowhere/card.sock"), &Options::default()).unwrap_err();
//! assert!(matches!(error, CannotOpen::Transport { .. }));
//! assert!(error.to_string().contains("unlade card --socket"));
//! ```
//!
//! # How a list becomes a job
//! A slab is mapped once, as one range of addresses of the card's ([`Iova`]). A command list is
//! written down as a descriptor, step for step; a submission entry points to it, and a doorbell
//! tells. The card writes a completion entry, which is found by its phase bit; the queue's event is
//! signalled by the card's interrupt. Jobs may end in any order; they are delivered in that of
//! their submission.
//!
//! A list that is longer than the card takes at once is rejected, with the limit's name: nothing is
//! split behind the caller's back. The status of a dispatch is written by the card straight into
//! the list's memory, so no other step may write there.
//!
//! # Whom it trusts
//! Not the card. Ids, heads, phases, statuses, counts, lengths and times that it writes are checked
//! before they are used, and a card that says what cannot be is lost, with the reason. So is one
//! that stops by itself, that reads as all ones because it was removed, or that does not answer in
//! time. What a lost card may still write comes back to nobody until a reset has made it certain
//! that it does not; a reset brings it back ([`Device::reset`](unlade_hal::Device::reset)).
//!
//! # What is inside
//! - [`connect`], [`open_pci`], [`DpuDevice`], [`Options`], [`CannotOpen`]
//! - [`find_cards`], for those on the PCI bus and what keeps one from being opened, by its group or, in a
//!   build with [`IOMMUFD`], by its own file
//! - [`Transport`], for who reaches cards in another way
//!
//! The crate contains `unsafe` code in two files: `dma/words.rs`, accesses to memory that the card
//! shares, and `transport/vfio.rs`, accesses to registers and the calls that map memory. The order
//! of what rings and doorbells show is checked by a model of a card, `pair/model.rs`.

mod admin;
mod checksum;
mod command;
mod completion;
mod config_space;
mod controller;
mod device;
mod dma;
mod entry;
mod error;
mod error_log;
mod fault;
mod fields;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod health_log;
mod identity;
mod iova;
mod job;
mod mappings;
mod pair;
mod patience;
mod pci;
mod program;
mod queue;
mod registers;
mod returns;
mod ring;
mod shared;
mod status;
mod sync;
mod transport;
#[cfg(test)]
mod vectors;

#[cfg(feature = "iommufd")]
pub use device::open_iommufd;
pub use device::{DpuDevice, Options, connect, open_pci};
pub use error::CannotOpen;
pub use iova::Iova;
pub use pci::{Obstacle, PciCard, find_cards};
pub use registers::BarOffset;
pub use transport::{
    BadReply, CardAccess, Transport, TransportError, VfioPci, VfioUser, is_pci_address,
};

/// Whether this build opens cards through iommufd, too: feature `iommufd`.
pub const IOMMUFD: bool = cfg!(feature = "iommufd");
