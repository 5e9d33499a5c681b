//! The text of each shape of kernel: word for word, and against the rules that it keeps.
#![forbid(unsafe_code)]

mod golden;
mod lint;
#[path = "../common/shapes.rs"]
mod shapes;
