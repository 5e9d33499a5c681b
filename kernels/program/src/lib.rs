//! The program: what Unlade's devices execute.
#![forbid(unsafe_code)]

pub mod args;
mod cells;
mod hash;
mod imm;
mod inst;
pub mod limits;
mod ops;
pub mod passes;
mod program;
pub mod text;
mod ty;
mod verify;

pub use cells::{Cell, CellSet, cells, unsupported};
pub use hash::ShapeHash;
pub use imm::Imm;
pub use inst::{
    BinaryOp, CastRule, CompareOp, FloatOrder, Inst, MaskOp, OverflowOp, Rounding, TrapCode,
    UnaryOp, Val,
};
pub use ops::{Cost, NullRule, OPS, Op, OpRow};
pub use program::{Column, Output, Program, Trap};
pub use text::ParseError;
pub use ty::{Ty, UnknownTy};
pub use verify::{BrokenRule, Place, VerifyError, verify};
