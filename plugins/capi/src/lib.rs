//! The C interface of Unlade: `unlade.h` and `libunlade.so`.
//!
//! [docs/C.md](../../../docs/C.md) is its guide: how to build against it, who owns what, threads,
//! forks, errors. `include/unlade.h`, made of the comments here, is its reference. What is here for
//! Rust is the same functions, for tests and benchmarks.
//!
//! | module | what it has |
//! |---|---|
//! | [`mod@code`], [`error`] | codes and errors |
//! | [`runtime`], [`session`], [`devices`], [`memory`] | devices and memory, and who shares them |
//! | [`query`], [`function`], [`kernel`], [`output`], [`receipt`] | what is computed, on a batch, and what became of it |
//! | [`ticket`] | the same, later: a callback, a descriptor to poll, waiting |
//! | [`stream`], [`scan`] | batch after batch, from Arrow streams and from files |
//! | [`resident`] | batches that stay in a device's memory |
//! | [`device_data`], [`device_export`] | the same with Arrow's C Device Data |
//! | [`log`] | what the library has to say |
//! | `border`, `handles`, `sized`, `text`, `failure` | how every call comes in and goes out |
//!
//! Arrow's structs are `unlade_cdata`'s, which looks at them before they are trusted.
//!
//! `unsafe` is for what C hands over: pointers to read and to write. Handles are no pointers.

mod border;
pub mod code;
#[cfg(feature = "device-data")]
pub mod device_data;
#[cfg(feature = "device-data")]
pub mod device_export;
pub mod devices;
pub mod error;
mod failure;
pub mod function;
mod handles;
pub mod kernel;
pub mod log;
pub mod memory;
pub mod output;
pub mod query;
pub mod receipt;
pub mod resident;
pub mod runtime;
pub mod scan;
pub mod session;
mod sized;
pub mod stream;
pub mod text;
pub mod ticket;
pub mod version;

#[cfg(feature = "device-data")]
pub use unlade_cdata::raw::ArrowDeviceArray;
pub use unlade_cdata::raw::{ArrowArray, ArrowArrayStream, ArrowSchema};
