//! The verifier: what every device may take for granted.
//!
//! A program that [`verify`] accepts uses only values made earlier, of the types its instructions
//! are defined on, and stays within [`crate::limits`]. Nothing behind the verifier checks that
//! again, and no device needs to.

use std::fmt;

use crate::cells::results;
use crate::{FloatOrder, Inst, Op, Program, Ty, Val, limits};

/// Checks a program.
///
/// ```
/// use unlade_program::{Inst, Output, Program, Val, verify};
///
/// let program = Program {
///     insts: vec![Inst::Not { arg: Val(0) }],
///     ..Program::default()
/// };
/// let error = verify(&program).unwrap_err();
/// assert_eq!(error.to_string(), "%0 (not) uses %0, which is not made before it");
/// ```
///
/// # Errors
/// The first rule broken, with the value that breaks it.
pub fn verify(program: &Program) -> Result<(), VerifyError> {
    check_limits(program)?;
    check_sets(program)?;
    let mut types: Vec<Option<Ty>> = Vec::with_capacity(program.insts.len());
    for inst in &program.insts {
        let ty = Checker {
            program,
            types: &types,
            inst,
        }
        .check()
        .map_err(|rule| VerifyError {
            place: Place::Inst(Val(types.len() as u32), Op::of(inst)),
            rule,
        })?;
        types.push(ty);
    }
    check_results(program, &types)
}

/// A rule that a program breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place} {rule}")]
#[non_exhaustive]
pub struct VerifyError {
    /// What breaks the rule.
    pub place: Place,
    /// The rule, as what is wrong.
    pub rule: BrokenRule,
}

/// A part of a program that an error speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The program as a whole.
    Program,
    /// A set, by its index.
    Set(usize),
    /// An instruction and its operation.
    Inst(Val, Op),
    /// The keep mask.
    Keep,
    /// The values of an output, by its index.
    Output(usize),
    /// The validity of an output, by its index.
    OutputValidity(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Program => f.write_str("the program"),
            Place::Set(index) => write!(f, "set s{index}"),
            Place::Inst(val, op) => write!(f, "{val} ({op})"),
            Place::Keep => f.write_str("keep"),
            Place::Output(index) => write!(f, "output {index}"),
            Place::OutputValidity(index) => write!(f, "the validity of output {index}"),
        }
    }
}

/// A rule of the verifier that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenRule {
    /// A list is longer than [`crate::limits`] allows.
    #[error("has {count} {what}, more than the limit of {limit}; split it")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// An operand is the instruction itself, a later one, or none.
    #[error("uses {operand}, which is not made before it")]
    NotMadeBefore {
        /// The operand.
        operand: Val,
    },
    /// An operand is a trap.
    #[error("uses {operand}, a trap, which has no value")]
    NoValue {
        /// The operand.
        operand: Val,
    },
    /// An index points outside a list of the program.
    #[error("refers to {what} {index}, but there are {count}")]
    OutOfRange {
        /// What kind of thing.
        what: &'static str,
        /// The index.
        index: u16,
        /// How many there are.
        count: usize,
    },
    /// The operation is not defined on the operand's type.
    #[error("is not defined on {found}; it takes {}", Names(.admitted))]
    OperandType {
        /// The operand's type.
        found: Ty,
        /// The types admitted.
        admitted: Vec<Ty>,
    },
    /// Two types that must be equal are not.
    #[error("needs {wanted} where it has {found}")]
    Mismatch {
        /// What the other operands demand.
        wanted: Ty,
        /// What was found.
        found: Ty,
    },
    /// No such conversion.
    #[error("cannot turn {from} into {to}{}", if .from == .to { "; leave it out" } else { "" })]
    Cast {
        /// The operand's type.
        from: Ty,
        /// The target.
        to: Ty,
    },
    /// An order of floats on something else.
    #[error("orders {found} as floats; only `ieee` fits integers and masks")]
    OrderOfNonFloat {
        /// The operands' type.
        found: Ty,
    },
    /// A number of decimal digits that means nothing.
    #[error("by {by} digits; {admitted}")]
    Digits {
        /// The number.
        by: i8,
        /// What would do.
        admitted: &'static str,
    },
    /// The keep mask is wanted but there is none.
    #[error("emits the keep mask but has no keep")]
    NoMaskToEmit,
}

struct Names<'a>(&'a [Ty]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, ty) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{ty}")?;
        }
        Ok(())
    }
}

fn check_limits(program: &Program) -> Result<(), VerifyError> {
    for (what, count, limit) in [
        ("instructions", program.insts.len(), limits::INSTRUCTIONS),
        ("columns", program.columns.len(), limits::COLUMNS),
        ("parameters", program.params.len(), limits::PARAMS),
        ("tables", program.tables.len(), limits::TABLES),
        ("sets", program.sets.len(), limits::SETS),
        ("outputs", program.outputs.len(), limits::OUTPUTS),
    ] {
        if count > limit {
            return Err(VerifyError {
                place: Place::Program,
                rule: BrokenRule::TooMany { what, count, limit },
            });
        }
    }
    Ok(())
}

fn check_sets(program: &Program) -> Result<(), VerifyError> {
    for (index, &ty) in program.sets.iter().enumerate() {
        admit(Op::InSet, ty).map_err(|rule| VerifyError {
            place: Place::Set(index),
            rule,
        })?;
    }
    Ok(())
}

fn check_results(program: &Program, types: &[Option<Ty>]) -> Result<(), VerifyError> {
    let value = |val| value_type(types, val);
    let mask = |val| value_type(types, val).and_then(|found| equal(Ty::Mask, found));
    if program.emit_mask && program.keep.is_none() {
        return Err(VerifyError {
            place: Place::Program,
            rule: BrokenRule::NoMaskToEmit,
        });
    }
    if let Some(keep) = program.keep {
        mask(keep).map_err(|rule| VerifyError {
            place: Place::Keep,
            rule,
        })?;
    }
    for (index, output) in program.outputs.iter().enumerate() {
        value(output.value).map_err(|rule| VerifyError {
            place: Place::Output(index),
            rule,
        })?;
        if let Some(valid) = output.valid {
            mask(valid).map_err(|rule| VerifyError {
                place: Place::OutputValidity(index),
                rule,
            })?;
        }
    }
    Ok(())
}

/// One instruction among those already checked.
struct Checker<'a> {
    program: &'a Program,
    types: &'a [Option<Ty>],
    inst: &'a Inst,
}

impl Checker<'_> {
    /// The type of the result, `None` for a trap.
    fn check(&self) -> Result<Option<Ty>, BrokenRule> {
        let op = Op::of(self.inst);
        let program = self.program;
        Ok(Some(match *self.inst {
            Inst::Load { column } => entry("column", &program.columns, column)?.ty,
            Inst::Validity { column } => {
                entry("column", &program.columns, column)?;
                Ty::Mask
            }
            Inst::Param { index } => *entry("parameter", &program.params, index)?,
            Inst::Const { value } => value.ty(),
            Inst::Unary { arg, .. } => self.admitted(op, arg)?,
            Inst::Binary { lhs, rhs, .. } => {
                let ty = self.admitted(op, lhs)?;
                self.same(ty, rhs)?;
                ty
            }
            Inst::Overflow { lhs, rhs, .. } | Inst::Mask { lhs, rhs, .. } => {
                let ty = self.admitted(op, lhs)?;
                self.same(ty, rhs)?;
                Ty::Mask
            }
            Inst::Compare {
                order, lhs, rhs, ..
            } => {
                let ty = self.admitted(op, lhs)?;
                self.same(ty, rhs)?;
                if order != FloatOrder::Ieee && !ty.is_float() {
                    return Err(BrokenRule::OrderOfNonFloat { found: ty });
                }
                Ty::Mask
            }
            Inst::Range { arg, low, high } => {
                let ty = self.admitted(op, arg)?;
                self.same(ty, low)?;
                self.same(ty, high)?;
                Ty::Mask
            }
            Inst::Cast { arg, to, .. } => {
                self.target(op, arg, to)?;
                to
            }
            Inst::CastFails { arg, to } => {
                self.target(op, arg, to)?;
                Ty::Mask
            }
            Inst::Rescale { arg, by, .. } => {
                let ty = self.admitted(op, arg)?;
                let digits = by.unsigned_abs();
                if digits == 0 || digits > limits::RESCALE_DIGITS as u8 {
                    let admitted = "-38 to 38 but not 0 are defined";
                    return Err(BrokenRule::Digits { by, admitted });
                }
                ty
            }
            Inst::RescaleFails { arg, by } => {
                self.admitted(op, arg)?;
                if !(1..=limits::RESCALE_DIGITS).contains(&by) {
                    let admitted = "only adding digits, 1 to 38, can fail";
                    return Err(BrokenRule::Digits { by, admitted });
                }
                Ty::Mask
            }
            Inst::Select { mask, then, other } => {
                self.same(Ty::Mask, mask)?;
                let ty = self.admitted(op, then)?;
                self.same(ty, other)?;
                ty
            }
            Inst::Not { arg } => self.admitted(op, arg)?,
            Inst::Lookup { table, index } => {
                self.admitted(op, index)?;
                *entry("table", &program.tables, table)?
            }
            Inst::InBounds { table, index } => {
                self.admitted(op, index)?;
                entry("table", &program.tables, table)?;
                Ty::Mask
            }
            Inst::InSet { set, arg } => {
                let ty = self.admitted(op, arg)?;
                equal(*entry("set", &program.sets, set)?, ty)?;
                Ty::Mask
            }
            Inst::Trap { when, .. } => {
                self.admitted(op, when)?;
                return Ok(None);
            }
        }))
    }

    /// The type of the operand that decides, checked against the op table.
    fn admitted(&self, op: Op, operand: Val) -> Result<Ty, BrokenRule> {
        let ty = value_type(self.types, operand)?;
        admit(op, ty)?;
        Ok(ty)
    }

    fn same(&self, wanted: Ty, operand: Val) -> Result<(), BrokenRule> {
        equal(wanted, value_type(self.types, operand)?)
    }

    fn target(&self, op: Op, arg: Val, to: Ty) -> Result<(), BrokenRule> {
        let from = self.admitted(op, arg)?;
        if results(op, from).any(|result| result == to) {
            Ok(())
        } else {
            Err(BrokenRule::Cast { from, to })
        }
    }
}

fn value_type(types: &[Option<Ty>], operand: Val) -> Result<Ty, BrokenRule> {
    match types.get(operand.index()) {
        Some(Some(ty)) => Ok(*ty),
        Some(None) => Err(BrokenRule::NoValue { operand }),
        None => Err(BrokenRule::NotMadeBefore { operand }),
    }
}

fn admit(op: Op, found: Ty) -> Result<(), BrokenRule> {
    let admitted = op.row().operands;
    if admitted.contains(&found) {
        Ok(())
    } else {
        Err(BrokenRule::OperandType {
            found,
            admitted: admitted.to_vec(),
        })
    }
}

fn equal(wanted: Ty, found: Ty) -> Result<(), BrokenRule> {
    if wanted == found {
        Ok(())
    } else {
        Err(BrokenRule::Mismatch { wanted, found })
    }
}

fn entry<'a, T>(what: &'static str, list: &'a [T], index: u16) -> Result<&'a T, BrokenRule> {
    list.get(index as usize).ok_or(BrokenRule::OutOfRange {
        what,
        index,
        count: list.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        BinaryOp, CastRule, Column, CompareOp, Imm, MaskOp, Output, OverflowOp, Rounding, TrapCode,
        UnaryOp,
    };

    /// A program of one value of each type, `%0` to `%11` in the order of [`Ty::ALL`], a trap
    /// `%12`, and then `inst`.
    fn with(inst: Inst) -> Program {
        let mut program = Program {
            columns: vec![Column {
                ty: Ty::I32,
                nullable: true,
            }],
            params: vec![Ty::I64],
            tables: vec![Ty::Mask, Ty::F64],
            sets: vec![Ty::I64],
            ..Program::default()
        };
        for ty in Ty::ALL {
            let value = Imm::zero(ty);
            program.insts.push(Inst::Const { value });
        }
        program.insts.push(Inst::Trap {
            when: Val(0),
            code: TrapCode::Overflow,
            ordinal: 0,
        });
        program.insts.push(inst);
        program
    }

    fn val(ty: Ty) -> Val {
        Val(Ty::ALL.iter().position(|each| *each == ty).unwrap() as u32)
    }

    fn error(program: &Program) -> String {
        verify(program).unwrap_err().to_string()
    }

    #[test]
    fn each_rule_has_its_error() {
        let (mask, i32, i64, f64) = (val(Ty::Mask), val(Ty::I32), val(Ty::I64), val(Ty::F64));
        let compare = |order, lhs, rhs| Inst::Compare {
            op: CompareOp::Lt,
            order,
            lhs,
            rhs,
        };
        let rescale = |by| Inst::Rescale {
            arg: val(Ty::I128),
            by,
            rounding: Rounding::Floor,
        };
        for (inst, wanted) in [
            (
                Inst::Load { column: 1 },
                "refers to column 1, but there are 1",
            ),
            (Inst::Validity { column: 9 }, "refers to column 9"),
            (Inst::Param { index: 1 }, "refers to parameter 1"),
            (
                Inst::Not { arg: Val(13) },
                "uses %13, which is not made before it",
            ),
            (
                Inst::Not { arg: Val(12) },
                "uses %12, a trap, which has no value",
            ),
            (
                Inst::Not { arg: i32 },
                "%13 (not) is not defined on i32; it takes mask",
            ),
            (
                Inst::Unary {
                    op: UnaryOp::Round,
                    arg: i32,
                },
                "%13 (round) is not defined on i32; it takes f32, f64",
            ),
            (
                Inst::Unary {
                    op: UnaryOp::Neg,
                    arg: val(Ty::U8),
                },
                "is not defined on u8",
            ),
            (
                Inst::Binary {
                    op: BinaryOp::Add,
                    lhs: i32,
                    rhs: i64,
                },
                "%13 (add) needs i32 where it has i64",
            ),
            (
                Inst::Binary {
                    op: BinaryOp::FloorDiv,
                    lhs: f64,
                    rhs: f64,
                },
                "is not defined on f64",
            ),
            (
                Inst::Overflow {
                    op: OverflowOp::Mul,
                    lhs: f64,
                    rhs: f64,
                },
                "is not defined on f64",
            ),
            (
                compare(FloatOrder::Total, i32, i32),
                "orders i32 as floats; only `ieee` fits integers and masks",
            ),
            (
                compare(FloatOrder::Ieee, mask, mask),
                "is not defined on mask",
            ),
            (
                compare(FloatOrder::Ieee, i32, f64),
                "needs i32 where it has f64",
            ),
            (
                Inst::Range {
                    arg: i32,
                    low: i32,
                    high: i64,
                },
                "needs i32 where it has i64",
            ),
            (
                Inst::Cast {
                    rule: CastRule::Wrap,
                    arg: f64,
                    to: Ty::I32,
                },
                "cannot turn f64 into i32",
            ),
            (
                Inst::Cast {
                    rule: CastRule::Wrap,
                    arg: i32,
                    to: Ty::I32,
                },
                "cannot turn i32 into i32; leave it out",
            ),
            (
                Inst::Cast {
                    rule: CastRule::Saturate,
                    arg: i32,
                    to: Ty::I8,
                },
                "is not defined on i32",
            ),
            (
                Inst::CastFails {
                    arg: f64,
                    to: Ty::F32,
                },
                "cannot turn f64 into f32",
            ),
            (rescale(0), "by 0 digits"),
            (rescale(39), "by 39 digits"),
            (rescale(-128), "by -128 digits"),
            (
                Inst::RescaleFails {
                    arg: val(Ty::I128),
                    by: -1,
                },
                "only adding digits",
            ),
            (
                Inst::Select {
                    mask: i32,
                    then: i32,
                    other: i32,
                },
                "needs mask where it has i32",
            ),
            (
                Inst::Select {
                    mask,
                    then: i32,
                    other: f64,
                },
                "needs i32 where it has f64",
            ),
            (
                Inst::Mask {
                    op: MaskOp::And,
                    lhs: mask,
                    rhs: i32,
                },
                "needs mask where it has i32",
            ),
            (
                Inst::Lookup {
                    table: 2,
                    index: i32,
                },
                "refers to table 2",
            ),
            (
                Inst::Lookup {
                    table: 0,
                    index: val(Ty::I128),
                },
                "is not defined on i128",
            ),
            (
                Inst::InBounds {
                    table: 0,
                    index: f64,
                },
                "is not defined on f64",
            ),
            (
                Inst::InSet { set: 0, arg: i32 },
                "needs i64 where it has i32",
            ),
            (Inst::InSet { set: 1, arg: i64 }, "refers to set 1"),
            (
                Inst::Trap {
                    when: i32,
                    code: TrapCode::Overflow,
                    ordinal: 0,
                },
                "is not defined on i32",
            ),
        ] {
            let found = error(&with(inst));
            assert!(found.contains(wanted), "{inst:?}: {found}");
        }
    }

    #[test]
    fn results_are_checked() {
        let base = with(Inst::Not { arg: Val(0) });
        let with_keep = |keep| Program {
            keep,
            emit_mask: true,
            ..base.clone()
        };
        assert_eq!(verify(&with_keep(Some(Val(13)))), Ok(()));
        assert_eq!(
            error(&with_keep(None)),
            "the program emits the keep mask but has no keep"
        );
        assert_eq!(
            error(&with_keep(Some(Val(1)))),
            "keep needs mask where it has i8"
        );
        assert_eq!(
            error(&with_keep(Some(Val(14)))),
            "keep uses %14, which is not made before it"
        );
        let with_output = |value, valid| Program {
            outputs: vec![Output { value, valid }],
            ..base.clone()
        };
        assert_eq!(verify(&with_output(Val(1), Some(Val(0)))), Ok(()));
        assert_eq!(
            error(&with_output(Val(12), None)),
            "output 0 uses %12, a trap, which has no value"
        );
        assert_eq!(
            error(&with_output(Val(1), Some(Val(1)))),
            "the validity of output 0 needs mask where it has i8"
        );
    }

    #[test]
    fn limits_hold() {
        let value = Imm::mask(true);
        let program = Program {
            insts: vec![Inst::Const { value }; limits::INSTRUCTIONS + 1],
            ..Program::default()
        };
        assert_eq!(
            error(&program),
            "the program has 65537 instructions, more than the limit of 65536; split it"
        );
        let sets = Program {
            sets: vec![Ty::I8, Ty::F32],
            ..Program::default()
        };
        assert!(error(&sets).starts_with("set s1 is not defined on f32"));
    }
}
