//! Nothing but the features of dependencies that the whole workspace asks for.
//!
//! Cargo joins the features that the chosen crates ask for. Where one crate is built alone, as for its
//! models, arrow-array was without the one that only the command needs, and so everything above it was
//! built a second time. A crate that is built alone has this among what its tests need, and finds
//! everything as the workspace's tests have built it. `tests/tests/features.rs` holds that.
#![forbid(unsafe_code)]
