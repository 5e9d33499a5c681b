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
            Inst::Digits { arg, by } => {
                self.admitted(op, arg)?;
                if !(0..=limits::RESCALE_DIGITS).contains(&by) {
                    let admitted = "0 to 38 after the point are defined";
                    return Err(BrokenRule::Digits { by, admitted });
                }
                Ty::I128
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
mod tests;
