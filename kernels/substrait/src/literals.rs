//! Substrait's literals.

use std::any::type_name;

use arrow_schema::DataType;
use substrait::proto::expression::Literal as Given;
use substrait::proto::expression::literal::user_defined::{TypeAnchorType, Val};
use substrait::proto::expression::literal::{LiteralType, PrecisionTimestamp, UserDefined};
use unlade_expr::{Literal, physical_type};
use unlade_program::{Imm, Ty};

use crate::error::{SubstraitError, unsupported};
use crate::extensions::Extensions;
use crate::types::{Names, data_type, decimal, declared_type, unit};
use crate::upgrade::decode;

/// What a literal is: text is not computed with, and stands in casts alone.
pub(crate) enum Constant {
    Typed(Literal),
    Text(String),
}

pub(crate) fn literal(given: &Given, extensions: &Extensions) -> Result<Constant, SubstraitError> {
    let value = given.literal_type.as_ref();
    let value = value.ok_or(SubstraitError::Unset("the value of a literal"))?;
    let variation = given.type_variation_reference;
    if variation > 0 && !is_varied(value, variation) {
        return unsupported(format!("variation {variation} of a literal is not known"));
    }
    let is_unsigned = variation == 1;
    let literal = match value {
        LiteralType::Boolean(value) => Literal::from(*value),
        LiteralType::I8(value) if is_unsigned => narrow::<u8>(*value)?.into(),
        LiteralType::I8(value) => narrow::<i8>(*value)?.into(),
        LiteralType::I16(value) if is_unsigned => narrow::<u16>(*value)?.into(),
        LiteralType::I16(value) => narrow::<i16>(*value)?.into(),
        // Unsigned ones of 32 and 64 bits are held by their bits.
        LiteralType::I32(value) if is_unsigned => value.cast_unsigned().into(),
        LiteralType::I32(value) => Literal::from(*value),
        LiteralType::I64(value) if is_unsigned => value.cast_unsigned().into(),
        LiteralType::I64(value) => Literal::from(*value),
        LiteralType::Fp32(value) => Literal::from(*value),
        LiteralType::Fp64(value) => Literal::from(*value),
        LiteralType::Date(days) => typed(DataType::Date32, Imm::integer(Ty::I32, (*days).into()))?,
        LiteralType::PrecisionTimestamp(value) => timestamp(value, None)?,
        LiteralType::PrecisionTimestampTz(value) => timestamp(value, Some("UTC"))?,
        LiteralType::Decimal(value) => {
            let (precision, scale) = decimal(value.precision, value.scale)?;
            let bytes: [u8; 16] = match value.value.as_slice().try_into() {
                Ok(bytes) if precision <= 38 => bytes,
                _ => return unsupported("a decimal literal is not one of 16 bytes and 38 digits"),
            };
            let unscaled = i128::from_le_bytes(bytes);
            if unscaled.unsigned_abs() >= 10_u128.pow(precision.into()) {
                return Err(SubstraitError::Malformed(format!(
                    "a decimal literal of {precision} digits has more"
                )));
            }
            let data_type = DataType::Decimal128(precision, scale);
            typed(data_type, Imm::integer(Ty::I128, unscaled))?
        }
        LiteralType::Null(of) => Literal::null(data_type(of, extensions, &mut Names::Nowhere)?.0),
        LiteralType::UserDefined(value) => user_defined(value, extensions)?,
        LiteralType::String(text) | LiteralType::FixedChar(text) => {
            return Ok(Constant::Text(text.clone()));
        }
        LiteralType::VarChar(text) => return Ok(Constant::Text(text.value.clone())),
        other => {
            let shown: String = format!("{other:?}").chars().take(60).collect();
            return unsupported(format!("literals such as {shown} are not computed with"));
        }
    };
    Ok(Constant::Typed(literal))
}

/// Whether a literal may be of a variation, which only DataFusion's numbers are.
fn is_varied(value: &LiteralType, variation: u32) -> bool {
    use LiteralType::{I8, I16, I32, I64, String};
    match value {
        I8(_) | I16(_) | I32(_) | I64(_) => variation == 1,
        String(_) => variation <= 2,
        _ => false,
    }
}

fn narrow<T: TryFrom<i32>>(value: i32) -> Result<T, SubstraitError> {
    T::try_from(value).map_err(|_| {
        SubstraitError::Malformed(format!("{value} is no value of type {}", type_name::<T>()))
    })
}

fn typed(data_type: DataType, value: Option<Imm>) -> Result<Literal, SubstraitError> {
    match value {
        Some(value) => Ok(Literal {
            data_type,
            value: Some(value),
        }),
        None => Err(SubstraitError::Malformed(format!(
            "a literal is no value of type {data_type}"
        ))),
    }
}

fn timestamp(value: &PrecisionTimestamp, zone: Option<&str>) -> Result<Literal, SubstraitError> {
    let data_type = DataType::Timestamp(unit(value.precision)?, zone.map(Into::into));
    typed(data_type, Imm::integer(Ty::I64, value.value.into()))
}

/// An unsigned integer as Arrow writes it: the number in one of Protobuf's wrappers.
fn user_defined(value: &UserDefined, extensions: &Extensions) -> Result<Literal, SubstraitError> {
    let anchor = match value.type_anchor_type {
        Some(TypeAnchorType::TypeReference(anchor)) => anchor,
        // Version 0.44 does not write an anchor that is 0.
        None => 0,
        Some(TypeAnchorType::TypeAliasReference(_)) => {
            return unsupported("literals of an alias of a type are not known");
        }
    };
    let data_type = declared_type(anchor, extensions)?;
    let Some(Val::Value(any)) = value.val.as_ref() else {
        return Err(SubstraitError::Unset("the value of a user-defined literal"));
    };
    let wrapper = any.type_url.rsplit('/').next().unwrap_or_default();
    let number: u64 = match wrapper {
        "google.protobuf.UInt64Value" => decode(&any.value)?,
        "google.protobuf.UInt32Value" => decode::<u32>(&any.value)?.into(),
        _ => {
            return unsupported(format!(
                "a literal of type {data_type} is given as {wrapper:?}"
            ));
        }
    };
    match physical_type(&data_type).filter(|_| data_type.is_unsigned_integer()) {
        Some(ty) => typed(data_type, Imm::integer(ty, number.into())),
        None => unsupported(format!(
            "literals of type {data_type} are not computed with"
        )),
    }
}
