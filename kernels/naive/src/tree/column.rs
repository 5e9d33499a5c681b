//! Single values of Arrow arrays.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use unlade_program::{Imm, TrapCode, Ty};

/// The value of a row of a column of a type that expressions know, `None` where it is null.
///
/// # Panics
/// On other types, and on rows outside the array.
pub fn value_at(array: &ArrayRef, row: usize) -> Option<Imm> {
    if array.is_null(row) {
        return None;
    }
    macro_rules! integer {
        ($arrow:ty, $ty:ident) => {
            Imm::integer(Ty::$ty, array.as_primitive::<$arrow>().value(row).into())
        };
    }
    match array.data_type() {
        DataType::Boolean => Some(Imm::mask(array.as_boolean().value(row))),
        DataType::Int8 => integer!(Int8Type, I8),
        DataType::Int16 => integer!(Int16Type, I16),
        DataType::Int32 => integer!(Int32Type, I32),
        DataType::Int64 => integer!(Int64Type, I64),
        DataType::UInt8 => integer!(UInt8Type, U8),
        DataType::UInt16 => integer!(UInt16Type, U16),
        DataType::UInt32 => integer!(UInt32Type, U32),
        DataType::UInt64 => integer!(UInt64Type, U64),
        DataType::Float32 => Some(Imm::f32(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => Some(Imm::f64(array.as_primitive::<Float64Type>().value(row))),
        DataType::Date32 => integer!(Date32Type, I32),
        DataType::Date64 => integer!(Date64Type, I64),
        DataType::Timestamp(TimeUnit::Second, _) => integer!(TimestampSecondType, I64),
        DataType::Timestamp(TimeUnit::Millisecond, _) => integer!(TimestampMillisecondType, I64),
        DataType::Timestamp(TimeUnit::Microsecond, _) => integer!(TimestampMicrosecondType, I64),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => integer!(TimestampNanosecondType, I64),
        DataType::Decimal128(_, _) => integer!(Decimal128Type, I128),
        other => panic!("a column of type {other} has no scalar values"),
    }
}

/// Whether a row of a column of any type is null: itself, or the value that it refers to.
///
/// # Panics
/// On rows outside the array.
pub(crate) fn is_null(array: &ArrayRef, row: usize) -> bool {
    let nulls = array.slice(row, 1).logical_nulls();
    nulls.is_some_and(|nulls| nulls.is_null(0))
}

/// The value that a row of a dictionary-encoded column refers to, `None` where key or value is
/// null.
///
/// # Errors
/// [`TrapCode::InvalidKey`] where the key points outside the dictionary.
///
/// # Panics
/// On columns that are not dictionary-encoded, and on rows outside the array.
pub(crate) fn decoded(array: &ArrayRef, row: usize) -> Result<Option<Imm>, TrapCode> {
    if array.is_null(row) {
        return Ok(None);
    }
    macro_rules! keyed {
        ($key:ty) => {{
            let array = array.as_dictionary::<$key>();
            (i128::from(array.keys().value(row)), array.values())
        }};
    }
    let DataType::Dictionary(key_type, _) = array.data_type() else {
        panic!("a column of type {} has no dictionary", array.data_type());
    };
    let (key, values) = match **key_type {
        DataType::Int8 => keyed!(Int8Type),
        DataType::Int16 => keyed!(Int16Type),
        DataType::Int32 => keyed!(Int32Type),
        DataType::Int64 => keyed!(Int64Type),
        DataType::UInt8 => keyed!(UInt8Type),
        DataType::UInt16 => keyed!(UInt16Type),
        DataType::UInt32 => keyed!(UInt32Type),
        DataType::UInt64 => keyed!(UInt64Type),
        ref other => panic!("a dictionary has no keys of type {other}"),
    };
    match usize::try_from(key) {
        Ok(key) if key < values.len() => Ok(value_at(values, key)),
        _ => Err(TrapCode::InvalidKey),
    }
}
