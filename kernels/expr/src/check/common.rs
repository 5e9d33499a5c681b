//! The one type in which two types meet.

use arrow_schema::DataType;

use super::types::{integer_digits, integer_range, is_decimal, is_float, is_integer, is_unsigned};
use super::unify::Purpose;
use crate::semantics::Coercion;

/// The type in which operands of two types meet under a rule, if there is one.
pub(super) fn common(
    left: &DataType,
    right: &DataType,
    purpose: Purpose,
    coercion: Coercion,
) -> Option<DataType> {
    use DataType::*;
    if left == right {
        return Some(left.clone());
    }
    match (left, right) {
        (left, right) if is_integer(left) && is_integer(right) => {
            common_integer(left, right, purpose, coercion)
        }
        (Float32, Float64) | (Float64, Float32) => Some(Float64),
        (integer, float) | (float, integer) if is_integer(integer) && is_float(float) => {
            common_with_float(integer, float, coercion)
        }
        (decimal, float) | (float, decimal)
            if is_decimal(decimal) && is_float(float) && is_spark(coercion) =>
        {
            Some(Float64)
        }
        (Decimal128(..), Decimal128(..)) if purpose != Purpose::Arithmetic => {
            common_decimal(left, right)
        }
        (integer, decimal @ Decimal128(..)) | (decimal @ Decimal128(..), integer)
            if purpose != Purpose::Arithmetic =>
        {
            let digits = match integer {
                // One more than there are, which shows in the type of a choice.
                Int64 if coercion != Coercion::Lossless => 20,
                integer => integer_digits(integer)?,
            };
            common_decimal(&Decimal128(digits, 0), decimal)
        }
        (Date32, Date64) | (Date64, Date32) => Some(Date64),
        _ => None,
    }
}

/// Whether one type has every value of another number type.
pub(super) fn keeps_every_value(to: &DataType, from: &DataType) -> bool {
    use DataType::*;
    match (from, to) {
        (from, Float32 | Float64) if is_integer(from) => matches!(
            (from, to),
            (Int8 | Int16 | UInt8 | UInt16, _) | (Int32 | UInt32, Float64)
        ),
        (Decimal128(..), Float32 | Float64) => false,
        (Float64, Float32) => false,
        // Every other meeting of two types is in one that holds both.
        _ => true,
    }
}

fn is_spark(coercion: Coercion) -> bool {
    matches!(coercion, Coercion::SparkLegacy | Coercion::SparkAnsi)
}

fn common_with_float(integer: &DataType, float: &DataType, coercion: Coercion) -> Option<DataType> {
    use DataType::*;
    match (coercion, integer, float) {
        (Coercion::SparkAnsi, ..) => Some(Float64),
        (Coercion::SparkLegacy | Coercion::DataFusion, ..) => Some(float.clone()),
        (Coercion::Lossless, Int64 | UInt64, _) => None,
        (Coercion::Lossless, Int8 | Int16 | UInt8 | UInt16, Float32) => Some(Float32),
        (Coercion::Lossless, ..) => Some(Float64),
    }
}

fn common_integer(
    left: &DataType,
    right: &DataType,
    purpose: Purpose,
    coercion: Coercion,
) -> Option<DataType> {
    use DataType::*;
    let (left_low, left_high) = integer_range(left)?;
    let (right_low, right_high) = integer_range(right)?;
    let (low, high) = (left_low.min(right_low), left_high.max(right_high));
    let candidates: &[DataType] = if is_unsigned(left) && is_unsigned(right) {
        &[UInt8, UInt16, UInt32, UInt64]
    } else {
        &[Int8, Int16, Int32, Int64]
    };
    let holds = |data_type: &&DataType| {
        integer_range(data_type).is_some_and(|(least, most)| least <= low && high <= most)
    };
    let may_be_decimal = match purpose {
        Purpose::Compare => true,
        Purpose::Choose => coercion == Coercion::DataFusion,
        Purpose::Arithmetic => false,
    };
    match candidates.iter().find(holds) {
        Some(data_type) => Some(data_type.clone()),
        None if may_be_decimal => Some(Decimal128(20, 0)),
        None => None,
    }
}

fn common_decimal(left: &DataType, right: &DataType) -> Option<DataType> {
    match (left, right) {
        (
            &DataType::Decimal128(left_precision, left_scale @ 0..),
            &DataType::Decimal128(right_precision, right_scale @ 0..),
        ) => {
            let whole =
                (left_precision as i8 - left_scale).max(right_precision as i8 - right_scale);
            let scale = left_scale.max(right_scale);
            let precision = whole + scale;
            (precision <= 38).then_some(DataType::Decimal128(precision as u8, scale))
        }
        _ => None,
    }
}
