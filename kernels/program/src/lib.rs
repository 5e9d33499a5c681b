//! The program: what Unlade's devices execute.
#![forbid(unsafe_code)]

pub mod args;
mod imm;
mod inst;
mod program;
mod ty;

pub use imm::Imm;
pub use inst::{
    BinaryOp, CastRule, CompareOp, FloatOrder, Inst, MaskOp, OverflowOp, Rounding, TrapCode,
    UnaryOp, Val,
};
pub use program::{Column, Output, Program, Trap};
pub use ty::{Ty, UnknownTy};
