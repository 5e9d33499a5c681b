//! What is fuzzed: bodies of the targets of `tests/fuzz`, which say what must hold for any bytes.

mod bytecode;
mod requests;

pub use bytecode::{Verdict, bytecode, sealed};
pub use requests::requests;
