//! How logical Arrow types map onto the physical types of a program.

use arrow_schema::{DataType, IntervalUnit};
use unlade_program::Ty;

/// The physical type that programs compute with for a logical type, `None` for types that they do
/// not compute with. Of a dictionary type the values are meant.
///
/// ```
/// use arrow_schema::{DataType, TimeUnit};
/// use unlade_expr::physical_type;
/// use unlade_program::Ty;
///
/// assert_eq!(physical_type(&DataType::Timestamp(TimeUnit::Second, None)), Some(Ty::I64));
/// assert_eq!(physical_type(&DataType::Utf8), None);
/// ```
pub fn physical_type(data_type: &DataType) -> Option<Ty> {
    Some(match data_type {
        DataType::Boolean => Ty::Mask,
        DataType::Int8 => Ty::I8,
        DataType::Int16 => Ty::I16,
        DataType::Int32 | DataType::Date32 => Ty::I32,
        DataType::Int64 | DataType::Date64 | DataType::Timestamp(..) => Ty::I64,
        DataType::UInt8 => Ty::U8,
        DataType::UInt16 => Ty::U16,
        DataType::UInt32 => Ty::U32,
        DataType::UInt64 => Ty::U64,
        DataType::Float32 => Ty::F32,
        DataType::Float64 => Ty::F64,
        DataType::Decimal128(..) => Ty::I128,
        DataType::Dictionary(_, values) => return physical_type(values),
        _ => return None,
    })
}

/// Whether a type's own validity bitmap tells which of its rows are null. Where it does not, nulls
/// come from the values that rows refer to.
pub(crate) fn has_bitmap(data_type: &DataType) -> bool {
    !matches!(
        data_type,
        DataType::Null
            | DataType::Union(..)
            | DataType::RunEndEncoded(..)
            | DataType::Dictionary(..)
    )
}

/// The physical type that holds the bits of one value of a column without child or variable-width
/// buffers, `None` where there is none. Of a dictionary type the keys are meant.
pub(crate) fn raw(data_type: &DataType) -> Option<Ty> {
    Some(match data_type {
        DataType::Float16 => Ty::I16,
        DataType::Time32(_) | DataType::Decimal32(..) => Ty::I32,
        DataType::Time64(_) | DataType::Duration(_) | DataType::Decimal64(..) => Ty::I64,
        DataType::Interval(IntervalUnit::YearMonth) => Ty::I32,
        DataType::Interval(IntervalUnit::DayTime) => Ty::I64,
        DataType::Interval(IntervalUnit::MonthDayNano) => Ty::I128,
        DataType::FixedSizeBinary(1) => Ty::I8,
        DataType::FixedSizeBinary(2) => Ty::I16,
        DataType::FixedSizeBinary(4) => Ty::I32,
        DataType::FixedSizeBinary(8) => Ty::I64,
        DataType::FixedSizeBinary(16) => Ty::I128,
        DataType::Dictionary(keys, _) => return physical_type(keys),
        other => return physical_type(other),
    })
}
