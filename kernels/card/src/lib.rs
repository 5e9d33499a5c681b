//! Programs as bytecode of the card, and a disassembler of it.
//!
//! [`lower()`] turns a [`Program`](unlade_program::Program) into the bytecode of docs/CARD.md,
//! section 9: straight-line words over the card's tile registers. Nothing here drives a card.
//!
//! ```
//! use unlade_card::{Limits, disassemble, lower};
//! use unlade_program::Program;
//!
//! let program: Program = "
//!     columns c0: i32?
//!     params p0: i32
//!     %0 = load c0
//!     %1 = param p0
//!     %2 = cmp.gt %0, %1
//!     %3 = valid c0
//!     %4 = and %2, %3
//!     keep %4
//!     emit mask
//! "
//! .parse()?;
//! let bytecode = lower(&program, &Limits::LEAST)?;
//! assert_eq!(bytecode.len(), 192);
//! assert_eq!(
//!     disassemble(&bytecode)?,
//!     "\
//! bytecode 1.0, 192 bytes, label 0x0
//! registers 2 v, 2 m
//! columns c0: i32?
//! params p0: i32
//! 0: v0: i32 = load c0
//! 1: v1: i32 = param p0
//! 2: m0 = cmp.gt v0, v1
//! 3: m1 = valid c0
//! 4: m0 = and m0, m1
//! 5: keep m0
//! 6: emit mask
//! "
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Registers
//! A card has as little as 16 registers for numbers and 16 for masks, and no memory to spill to.
//! So values are computed when something needs them, the operand that needs more registers first,
//! and stored as soon as they are there and the filter is. Columns, validities, parameters and
//! constants are read anew where registers are short. A program that is still too wide is
//! [`Refused`], with the instruction to cut it after.
//!
//! One program with one set of limits has one bytecode, byte for byte.
//!
//! # Capabilities
//! A card lists what it computes; [`cells`] reads the list and [`entries`] writes it:
//! ```
//! use unlade_card::{cells, entries};
//! use unlade_program::{CellSet, Op};
//!
//! let card = CellSet::full().without(|cell| cell.op == Op::Digits);
//! let list = entries(&card);
//! // Eight bytes for each operation and types that go with it.
//! assert_eq!(list.len(), 576 * 8);
//! assert_eq!(cells(&list)?, card);
//! # Ok::<(), unlade_card::Malformed>(())
//! ```
//!
//! # What is inside
//! - `lower`: [`lower()`], by its parts `order` with `readers` (what is computed when), `allocate`
//!   with `uses` (in which registers), `word` (as which word) and `prefix` (where a program is cut)
//! - `bytecode`: the bytes. `operation`: which fields a word has; `encode`; `decode`, which makes
//!   the checks that a card makes, with those of words in `check`
//! - `text`: [`disassemble`]
//! - `capabilities`: [`cells`], [`entries`]
//! - [`Limits`], [`Refused`], [`Malformed`]
//!
//! The tests decode every example of docs/card/vectors.toml, and follow the registers of thousands
//! of random programs to see that each output, filter and trap is computed from what it should be.
#![forbid(unsafe_code)]

mod bytecode;
mod capabilities;
mod limits;
mod lower;
mod malformed;
mod refused;
mod text;

pub use capabilities::{cells, entries};
pub use limits::Limits;
pub use lower::lower;
pub use malformed::{Fault, Malformed};
pub use refused::Refused;
pub use text::disassemble;
