//! PTX text becomes kernels of decoded instructions.
//!
//! Three steps, each a file: the [lexer] cuts text into tokens that know their line; [syntax] reads
//! the directives of a module and turns every statement into a mnemonic with operands; [decode]
//! turns those into typed [instructions](inst), with every name resolved. What is not understood,
//! down to the last modifier of an instruction, is an error that names the line: nothing is guessed.
//!
//! References to sections are to the PTX ISA, release 9.0.

mod decode;
mod error;
pub(crate) mod inst;
mod lexer;
mod module;
mod symbols;
mod syntax;
pub(crate) mod types;

pub use error::{ParseError, ParseErrorKind};
pub(crate) use module::RowInit;
pub use module::{Kernel, Module, Parameter};
