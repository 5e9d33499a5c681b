//! Cards: lists to run on one, what the driver must make of one that fails, and what a runtime.
//!
//! The driver's own tests use them on a model behind a socket, `unlade-check-card` on one behind a
//! kernel's VFIO.

pub mod ends;
mod faults;
mod lists;
mod meddler;
pub mod names;

pub use ends::{Case, End, STRUCK};
pub use faults::{
    LOSSES, SAID_WHEN_ASKED, SHORT, asked_how_it_is, lies_about_lengths, lost_by, never_comes,
    removed, works, writes_outside,
};
pub use lists::{
    LONG, STATUS_AFTER, bytes, fill, filter, filter_list, finish, lease, run, span, submit, values,
};
pub use meddler::Meddler;
