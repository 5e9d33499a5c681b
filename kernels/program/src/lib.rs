//! The program: what Unlade's devices execute.
//!
//! A set of expressions is lowered once to a [`Program`]: a list of typed instructions in static
//! single assignment form, whose values are columns and masks. The CPU evaluates it, a GPU is sent
//! PTX text made from it, a card bytecode made from it; what an operation means is stated here,
//! once, and no device has an opinion.
//!
//! ```
//! use unlade_program::{CompareOp, FloatOrder, Column, Inst, Output, Program, Ty, Val, verify};
//!
//! // SELECT a WHERE a > ?, of a nullable column of 32-bit integers.
//! let program = Program {
//!     columns: vec![Column { ty: Ty::I32, nullable: true }],
//!     params: vec![Ty::I32],
//!     insts: vec![
//!         Inst::Load { column: 0 },
//!         Inst::Param { index: 0 },
//!         Inst::Compare { op: CompareOp::Gt, order: FloatOrder::Ieee, lhs: Val(0), rhs: Val(1) },
//!         Inst::Validity { column: 0 },
//!         Inst::Mask { op: unlade_program::MaskOp::And, lhs: Val(2), rhs: Val(3) },
//!     ],
//!     keep: Some(Val(4)),
//!     outputs: vec![Output { value: Val(0), valid: None }],
//!     ..Program::default()
//! };
//! verify(&program)?;
//!
//! // It prints, and what is printed reads back.
//! let text = "\
//! columns c0: i32?
//! params p0: i32
//! %0 = load c0
//! %1 = param p0
//! %2 = cmp.gt %0, %1
//! %3 = valid c0
//! %4 = and %2, %3
//! keep %4
//! output %0
//! ";
//! assert_eq!(program.to_string(), text);
//! assert_eq!(text.parse::<Program>()?, program);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Rules
//! - **Every data operation is total**: it has a defined result for all bits, those under a null
//!   included. What can go wrong is a mask of its own ([`Inst::Overflow`], [`Inst::CastFails`]
//!   ...), which an [`Inst::Trap`] or a cleared validity bit makes use of. So there are no
//!   branches, and a null, inactive or filtered-out row never fails.
//! - **Semantics are operands**: how a cast treats what does not fit, how floats are ordered.
//!   Nothing depends on a session or a device.
//! - **The trap reported is the least `(row, ordinal)`**; ordinals come from the source tree and
//!   survive every pass.
//! - **Validity is a mask like any other**; lowering has combined it with what needs it.
//!
//! # What is here
//! - [`Ty`], [`Imm`], [`Inst`], [`Program`]: the program itself; [`args`]: the order of an
//!   execution's arguments; [`limits`]: how large it may be.
//! - [`verify`]: what every device may rely on.
//! - [`OPS`]: the op table, a row per operation; [`Cell`], [`CellSet`] and [`cells`]: capabilities,
//!   and what conformance suites run through.
//! - [`text`]: the text form.
//! - [`ShapeHash`]: the key of compiled programs.
//! - [`passes`]: folding, common subexpressions, dead code.
//! - [`split`](split()): what a device lacks, cut off for the CPU.
#![forbid(unsafe_code)]

pub mod args;
mod cells;
mod digits;
mod hash;
mod imm;
mod inst;
pub mod limits;
mod ops;
pub mod passes;
mod program;
mod split;
mod strings;
pub mod text;
mod ty;
mod verify;

pub use cells::{Cell, CellSet, cells, unsupported};
pub use digits::shortest_decimal;
pub use hash::ShapeHash;
pub use imm::Imm;
pub use inst::{
    BinaryOp, CastRule, CompareOp, FloatOrder, Inst, MaskOp, OverflowOp, Rounding, TrapCode,
    UnaryOp, Val,
};
pub use ops::{Cost, NullRule, OPS, Op, OpRow};
pub use program::{Column, Output, Program, Trap};
pub use split::{ColumnSource, Lack, LargeSet, On, Part, Reason, Split, split};
pub use strings::{Offsets, StringsArg};
pub use text::ParseError;
pub use ty::{Ty, UnknownTy};
pub use verify::{BrokenRule, Place, VerifyError, verify};
