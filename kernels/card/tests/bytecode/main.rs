//! What lowering writes: read back by the rules of docs/CARD.md, with none of the crate's own code.
#![forbid(unsafe_code)]

mod capabilities;
mod damage;
mod golden;
mod limits;
mod meaning;
mod pressure;
mod programs;
mod random;
mod reader;
mod vectors;
