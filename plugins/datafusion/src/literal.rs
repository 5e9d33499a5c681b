//! DataFusion's scalars as constants of their type.

use arrow_schema::DataType;
use datafusion::common::ScalarValue;
use unlade::{Expr, Literal, lit, null};
use unlade_expr::physical_type;
use unlade_program::Imm;

use crate::expr::Unsupported;

pub(crate) fn literal(value: &ScalarValue) -> Result<Expr, Unsupported> {
    use ScalarValue::*;
    let data_type = value.data_type();
    if data_type == DataType::Null {
        return Ok(null());
    }
    let unknown = || Unsupported(format!("a constant of type {data_type}"));
    let ty = physical_type(&data_type).ok_or_else(unknown)?;
    if let Dictionary(_, value) = value {
        return literal(value);
    }
    if value.is_null() {
        return Ok(lit(Literal::null(data_type)));
    }
    let integer = match value {
        Boolean(Some(value)) => return Ok(lit(Literal::from(*value))),
        Float32(Some(value)) => return Ok(lit(Literal::from(*value))),
        Float64(Some(value)) => return Ok(lit(Literal::from(*value))),
        Int8(Some(value)) => i128::from(*value),
        Int16(Some(value)) => i128::from(*value),
        Int32(Some(value)) | Date32(Some(value)) => i128::from(*value),
        Int64(Some(value))
        | Date64(Some(value))
        | TimestampSecond(Some(value), _)
        | TimestampMillisecond(Some(value), _)
        | TimestampMicrosecond(Some(value), _)
        | TimestampNanosecond(Some(value), _) => i128::from(*value),
        UInt8(Some(value)) => i128::from(*value),
        UInt16(Some(value)) => i128::from(*value),
        UInt32(Some(value)) => i128::from(*value),
        UInt64(Some(value)) => i128::from(*value),
        Decimal128(Some(value), ..) => *value,
        _ => return Err(unknown()),
    };
    Ok(lit(Literal {
        value: Imm::integer(ty, integer),
        data_type,
    }))
}
