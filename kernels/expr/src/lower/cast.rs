//! Casts as [`CASTS`](crate::CASTS) lists them: the total conversion, and the mask of the rows
//! that it cannot represent. Where the types alone rule that out, there is no mask.

use arrow_schema::{DataType, TimeUnit};
use unlade_program::{
    BinaryOp, CastRule, CompareOp, FloatOrder, Imm, Inst, OverflowOp, Rounding, TrapCode, Ty,
    UnaryOp, Val,
};

use super::builder::FALSE;
use super::logic::Scope;
use super::{Failure, Lowering, Value, ty_of, unsupported};
use crate::check::casts::cast_row;
use crate::check::types::integer_digits;
use crate::error::ExprError;
use crate::narrow;
use crate::semantics::{Dialect, OnError};
use crate::typed::{Node, Typed};

/// Digits that an `i128` always holds.
const WIDEST_DECIMAL: i16 = 38;
const NANOSECONDS_PER_DAY: i128 = 86_400_000_000_000;
const MICROSECONDS_PER_SECOND: i128 = 1_000_000;
/// The greatest `i64` as the nearest float: one more than it, 2^63.
const GREATEST_LONG: f64 = i64::MAX as f64;

/// What a logical type is, to a cast.
#[derive(Clone, Copy)]
enum Kind {
    Boolean,
    Integer,
    Float,
    Decimal {
        precision: u8,
        scale: i8,
    },
    /// A count of units since 1970.
    Temporal {
        nanoseconds: i128,
    },
}

/// A value converted, and the rows on which that is not what it stands for.
struct Conversion {
    value: Val,
    /// The rows on which there is a value at all.
    valid: Val,
    fails: Val,
    code: TrapCode,
    on_error: OnError,
}

impl Lowering<'_> {
    /// `CAST(arg AS type)`.
    pub(super) fn cast(&mut self, tree: &Typed, scope: &Scope) -> Result<Value, ExprError> {
        let Node::Cast {
            on_error,
            dialect,
            arg,
        } = &tree.node
        else {
            unreachable!("the caller matched the node");
        };
        let (from, to) = (ty_of(arg)?, ty_of(tree)?);
        let Value { value, valid } = self.value(arg, scope)?;
        let exact = |value| Conversion {
            value,
            valid,
            fails: FALSE,
            code: TrapCode::CastOutOfRange,
            on_error: *on_error,
        };
        let conversion = match (kind(&arg.data_type), kind(&tree.data_type)) {
            _ if arg.data_type == tree.data_type => exact(value),
            (Some(Kind::Integer | Kind::Float | Kind::Decimal { .. }), Some(Kind::Boolean)) => {
                let zero = self.builder.constant(Imm::zero(from));
                let (op, order) = (CompareOp::Ne, FloatOrder::Ieee);
                exact(self.builder.compare(from, op, order, value, zero))
            }
            (Some(Kind::Boolean), Some(Kind::Integer | Kind::Float))
            | (Some(Kind::Integer | Kind::Float), Some(Kind::Float)) => {
                exact(self.wrapped(value, from, to))
            }
            (Some(Kind::Integer), Some(Kind::Integer)) => {
                self.integer_to_integer(value, from, to, exact(value))
            }
            (Some(Kind::Float), Some(Kind::Integer)) => Conversion {
                value: self.float_to_integer(value, to, *on_error, *dialect),
                fails: self.float_exceeds(value, from, to, *dialect),
                ..exact(value)
            },
            (Some(from), Some(to)) => {
                let row = cast_row(&arg.data_type, &tree.data_type, *dialect);
                let row = row.ok_or_else(|| not_listed(arg, tree))?;
                let types = Types {
                    from: &arg.data_type,
                    to: &tree.data_type,
                    ty: ty_of(arg)?,
                    to_ty: ty_of(tree)?,
                    may_fail: row.may_fail(&arg.data_type, &tree.data_type),
                    dialect: *dialect,
                };
                self.decimal_or_temporal(types, from, to, exact(value))
                    .ok_or_else(|| not_listed(arg, tree))?
            }
            _ => return Err(not_listed(arg, tree)),
        };
        let failure = Failure {
            code: conversion.code,
            ordinal: tree.ordinal,
        };
        let value = Value {
            value: conversion.value,
            valid: conversion.valid,
        };
        Ok(self.settle(conversion.on_error, value, conversion.fails, failure, scope))
    }

    fn integer_to_integer(
        &mut self,
        arg: Val,
        from: Ty,
        to: Ty,
        conversion: Conversion,
    ) -> Conversion {
        let fails = match narrow::holds_all(to, from) {
            true => FALSE,
            false => self.builder.push(Inst::CastFails { arg, to }),
        };
        Conversion {
            value: self.wrapped(arg, from, to),
            fails,
            ..conversion
        }
    }

    /// Truncates and saturates. Java, and so Spark without ANSI rules, knows that only for `int`
    /// and `long`: narrower types keep the low bits of the `int`.
    fn float_to_integer(&mut self, arg: Val, to: Ty, on_error: OnError, dialect: Dialect) -> Val {
        let rule = CastRule::Saturate;
        let through_int = on_error == OnError::Wrap
            && dialect == Dialect::Spark
            && matches!(to, Ty::I8 | Ty::I16);
        if !through_int {
            return self.builder.push(Inst::Cast { rule, arg, to });
        }
        let int = self.builder.push(Inst::Cast {
            rule,
            arg,
            to: Ty::I32,
        });
        self.wrapped(int, Ty::I32, to)
    }

    /// Where a float, truncated, is no value of an integer type. Spark compares with the greatest
    /// `long` as a float, which is 2^63: that much passes, and saturates.
    fn float_exceeds(&mut self, arg: Val, from: Ty, to: Ty, dialect: Dialect) -> Val {
        let fails = self.builder.push(Inst::CastFails { arg, to });
        if dialect != Dialect::Spark || to != Ty::I64 {
            return fails;
        }
        let greatest = self.builder.constant(match from {
            Ty::F32 => Imm::f32(GREATEST_LONG as f32),
            _ => Imm::f64(GREATEST_LONG),
        });
        let (op, order) = (CompareOp::Ne, FloatOrder::Ieee);
        let other = self.builder.compare(from, op, order, arg, greatest);
        self.builder.and(fails, other)
    }

    /// The casts with a row of their own. `None` for pairs that have no row.
    fn decimal_or_temporal(
        &mut self,
        types: Types,
        from: Kind,
        to: Kind,
        conversion: Conversion,
    ) -> Option<Conversion> {
        let arg = conversion.value;
        Some(match (from, to) {
            (Kind::Boolean | Kind::Integer, Kind::Decimal { precision, scale }) => {
                let wide = self.wrapped(arg, types.ty, Ty::I128);
                let digits = match from {
                    Kind::Boolean => 1,
                    _ => integer_digits(types.from)?,
                };
                let (value, fails) = self.rescaled(wide, digits, scale);
                self.decimal(value, fails, precision, types, conversion)
            }
            (
                Kind::Decimal {
                    precision,
                    scale: s,
                },
                Kind::Decimal {
                    precision: q,
                    scale: t,
                },
            ) => {
                let (value, fails) = self.rescaled(arg, precision, t - s);
                self.decimal(value, fails, q, types, conversion)
            }
            (Kind::Float, Kind::Decimal { precision, scale })
                if types.dialect == Dialect::Spark =>
            {
                let float = self.wrapped(arg, types.ty, Ty::F64);
                let by = scale;
                let value = self.builder.push(Inst::Digits { arg: float, by });
                let finite = self.is_finite(float);
                let conversion = Conversion {
                    valid: self.builder.and(conversion.valid, finite),
                    ..conversion
                };
                self.decimal(value, FALSE, precision, types, conversion)
            }
            (Kind::Float, Kind::Decimal { precision, scale }) => {
                let float = self.wrapped(arg, types.ty, Ty::F64);
                let scaled = self.scaled(BinaryOp::Mul, float, scale);
                let whole = self.builder.push(Inst::Unary {
                    op: UnaryOp::Round,
                    arg: scaled,
                });
                let value = self.builder.push(Inst::Cast {
                    rule: CastRule::Saturate,
                    arg: whole,
                    to: Ty::I128,
                });
                let fails = self.builder.push(Inst::CastFails {
                    arg: whole,
                    to: Ty::I128,
                });
                self.decimal(value, fails, precision, types, conversion)
            }
            (Kind::Decimal { scale, .. }, Kind::Integer) => {
                let whole = self.dropped(arg, scale, Rounding::Truncate);
                self.fitted(whole, Ty::I128, types, conversion)
            }
            (Kind::Decimal { scale, .. }, Kind::Float) => {
                let float = self.wrapped(arg, Ty::I128, Ty::F64);
                let quotient = self.scaled(BinaryOp::Div, float, scale);
                Conversion {
                    value: self.wrapped(quotient, Ty::F64, types.to_ty),
                    ..conversion
                }
            }
            (Kind::Temporal { nanoseconds: from }, Kind::Temporal { nanoseconds: to }) => {
                self.temporal(from, to, types, conversion)
            }
            (Kind::Temporal { .. }, Kind::Integer) => match types.dialect {
                Dialect::Arrow => self.fitted(arg, types.ty, types, conversion),
                // Spark reads a timestamp, which it holds in microseconds, as seconds.
                Dialect::Spark => {
                    let op = BinaryOp::FloorDiv;
                    let seconds = self.by_constant(op, arg, types.ty, MICROSECONDS_PER_SECOND);
                    let fitted = self.fitted(seconds, types.ty, types, conversion);
                    Conversion {
                        on_error: null_for_wrap(fitted.on_error),
                        ..fitted
                    }
                }
            },
            (Kind::Temporal { .. }, Kind::Float) => {
                let float = self.wrapped(arg, types.ty, Ty::F64);
                let rhs = Imm::f64(MICROSECONDS_PER_SECOND as f64);
                let rhs = self.builder.constant(rhs);
                let (op, lhs) = (BinaryOp::Div, float);
                let seconds = self.builder.push(Inst::Binary { op, lhs, rhs });
                Conversion {
                    value: self.wrapped(seconds, Ty::F64, types.to_ty),
                    ..conversion
                }
            }
            (Kind::Integer, Kind::Temporal { nanoseconds })
                if *types.from == DataType::Int32 && *types.to == DataType::Date64 =>
            {
                self.temporal(NANOSECONDS_PER_DAY, nanoseconds, types, conversion)
            }
            (Kind::Integer, Kind::Temporal { .. }) => match types.dialect {
                Dialect::Arrow => self.fitted(arg, types.ty, types, conversion),
                Dialect::Spark => Conversion {
                    value: self.seconds_to_microseconds(arg, types.ty),
                    ..conversion
                },
            },
            _ => return None,
        })
    }

    /// Dates and timestamps among themselves. To a coarser unit a timestamp's date rounds toward
    /// the past, anything else toward 1970. To a finer one Spark traps in every mode.
    fn temporal(
        &mut self,
        from: i128,
        to: i128,
        types: Types,
        conversion: Conversion,
    ) -> Conversion {
        let arg = conversion.value;
        if from < to {
            let op = match (types.from, types.to) {
                (DataType::Timestamp(..), DataType::Date32) => BinaryOp::FloorDiv,
                _ => BinaryOp::Div,
            };
            let coarser = self.by_constant(op, arg, Ty::I64, to / from);
            return self.fitted(coarser, Ty::I64, types, conversion);
        }
        let wide = self.wrapped(arg, types.ty, Ty::I64);
        if from == to {
            return Conversion {
                value: wide,
                ..conversion
            };
        }
        let ratio = self.builder.integer(Ty::I64, from / to);
        let fails = match types.may_fail {
            false => FALSE,
            true => self.builder.push(Inst::Overflow {
                op: OverflowOp::Mul,
                lhs: wide,
                rhs: ratio,
            }),
        };
        Conversion {
            value: self.by_constant(BinaryOp::Mul, wide, Ty::I64, from / to),
            fails,
            on_error: match (types.dialect, conversion.on_error) {
                (Dialect::Spark, OnError::Wrap) => OnError::Trap,
                (_, on_error) => on_error,
            },
            ..conversion
        }
    }

    /// Times a million, saturating.
    fn seconds_to_microseconds(&mut self, arg: Val, ty: Ty) -> Val {
        let lhs = self.wrapped(arg, ty, Ty::I64);
        let product = self.by_constant(BinaryOp::Mul, lhs, Ty::I64, MICROSECONDS_PER_SECOND);
        if ty != Ty::I64 {
            return product; // of 32 bits at most, and so never too large
        }
        let rhs = self.builder.integer(Ty::I64, MICROSECONDS_PER_SECOND);
        let op = OverflowOp::Mul;
        let exceeds = self.builder.push(Inst::Overflow { op, lhs, rhs });
        let zero = self.builder.integer(Ty::I64, 0);
        let (compare, order) = (CompareOp::Lt, FloatOrder::Ieee);
        let negative = self.builder.compare(Ty::I64, compare, order, lhs, zero);
        let least = self.builder.integer(Ty::I64, i64::MIN.into());
        let greatest = self.builder.integer(Ty::I64, i64::MAX.into());
        let end = self.builder.select(Ty::I64, negative, least, greatest);
        self.builder.select(Ty::I64, exceeds, end, product)
    }

    /// A whole number in the target's integer type; what does not fit fails.
    fn fitted(&mut self, arg: Val, ty: Ty, types: Types, conversion: Conversion) -> Conversion {
        let to = types.to_ty;
        let fails = match types.may_fail && ty != to {
            true => self.builder.push(Inst::CastFails { arg, to }),
            false => FALSE,
        };
        Conversion {
            value: self.wrapped(arg, ty, to),
            fails,
            ..conversion
        }
    }

    /// Digits as a decimal; too many fail, and wrapping them means null.
    fn decimal(
        &mut self,
        digits: Val,
        fails: Val,
        precision: u8,
        types: Types,
        conversion: Conversion,
    ) -> Conversion {
        let fails = match types.may_fail {
            false => FALSE,
            true => {
                let greatest = 10i128.pow(precision.into()) - 1;
                let low = self.builder.integer(Ty::I128, -greatest);
                let high = self.builder.integer(Ty::I128, greatest);
                let fits = self.builder.push(Inst::Range {
                    arg: digits,
                    low,
                    high,
                });
                let exceeds = self.builder.not(fits);
                self.builder.or(exceeds, fails)
            }
        };
        Conversion {
            value: digits,
            valid: conversion.valid,
            fails,
            code: TrapCode::DecimalPrecision,
            on_error: null_for_wrap(conversion.on_error),
        }
    }

    /// Whether a double is neither infinite nor a NaN.
    fn is_finite(&mut self, arg: Val) -> Val {
        let op = UnaryOp::Abs;
        let magnitude = self.builder.push(Inst::Unary { op, arg });
        let infinity = self.builder.constant(Imm::f64(f64::INFINITY));
        let (op, order) = (CompareOp::Lt, FloatOrder::Ieee);
        self.builder
            .compare(Ty::F64, op, order, magnitude, infinity)
    }

    /// Digits shifted by a difference of scales, and where that leaves 128 bits.
    fn rescaled(&mut self, arg: Val, digits: u8, by: i8) -> (Val, Val) {
        if by <= 0 {
            let value = self.dropped(arg, -by, Rounding::HalfAwayFromZero);
            return (value, FALSE);
        }
        let fails = match i16::from(digits) + i16::from(by) > WIDEST_DECIMAL {
            true => self.builder.push(Inst::RescaleFails { arg, by }),
            false => FALSE,
        };
        let rounding = Rounding::Truncate;
        let value = self.builder.push(Inst::Rescale { arg, by, rounding });
        (value, fails)
    }

    /// Digits without the last few.
    fn dropped(&mut self, arg: Val, digits: i8, rounding: Rounding) -> Val {
        if digits == 0 {
            return arg;
        }
        let by = -digits;
        self.builder.push(Inst::Rescale { arg, by, rounding })
    }

    /// A float multiplied with or divided by ten to the power of a scale, which it holds exactly.
    fn scaled(&mut self, op: BinaryOp, lhs: Val, scale: i8) -> Val {
        if scale == 0 {
            return lhs;
        }
        let power = 10i128.pow(scale.unsigned_abs().into()) as f64;
        let rhs = self.builder.constant(Imm::f64(power));
        self.builder.push(Inst::Binary { op, lhs, rhs })
    }

    fn by_constant(&mut self, op: BinaryOp, lhs: Val, ty: Ty, constant: i128) -> Val {
        let rhs = self.builder.integer(ty, constant);
        self.builder.push(Inst::Binary { op, lhs, rhs })
    }
}

/// For casts of which Spark, where it wraps others, makes null.
fn null_for_wrap(on_error: OnError) -> OnError {
    match on_error {
        OnError::Wrap => OnError::Null,
        on_error => on_error,
    }
}

/// The types of a cast, and whether they alone rule out that it fails.
#[derive(Clone, Copy)]
struct Types<'a> {
    from: &'a DataType,
    to: &'a DataType,
    ty: Ty,
    to_ty: Ty,
    may_fail: bool,
    dialect: Dialect,
}

fn kind(data_type: &DataType) -> Option<Kind> {
    Some(match data_type {
        DataType::Boolean => Kind::Boolean,
        DataType::Float32 | DataType::Float64 => Kind::Float,
        DataType::Decimal128(precision, scale) => Kind::Decimal {
            precision: *precision,
            scale: *scale,
        },
        DataType::Date32 => Kind::Temporal {
            nanoseconds: NANOSECONDS_PER_DAY,
        },
        DataType::Date64 => Kind::Temporal {
            nanoseconds: 1_000_000,
        },
        DataType::Timestamp(unit, _) => Kind::Temporal {
            nanoseconds: match unit {
                TimeUnit::Second => 1_000_000_000,
                TimeUnit::Millisecond => 1_000_000,
                TimeUnit::Microsecond => 1_000,
                TimeUnit::Nanosecond => 1,
            },
        },
        integer if integer.is_integer() => Kind::Integer,
        _ => return None,
    })
}

fn not_listed(arg: &Typed, tree: &Typed) -> ExprError {
    let what = format!("a cast from {} to {}", arg.data_type, tree.data_type);
    unsupported(tree, &what)
}
