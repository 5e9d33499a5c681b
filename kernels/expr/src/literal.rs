//! Literals: scalars with a logical type.

use arrow_schema::DataType;
use unlade_program::Imm;

/// A scalar of a logical Arrow type, or a null of it.
///
/// The value is held as the physical immediate that a device is handed; the logical type says how
/// to read it (a `Date32` is an `i32`, a `Decimal128` an `i128` without its scale, and so on).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Literal {
    /// The logical type.
    pub data_type: DataType,
    /// The value, or `None` for null.
    pub value: Option<Imm>,
}

impl Literal {
    /// The null of a type.
    pub fn null(data_type: DataType) -> Self {
        Literal {
            data_type,
            value: None,
        }
    }
}

macro_rules! literal_from_integer {
    ($($native:ty => $data_type:ident, $ty:ident;)*) => {$(
        impl From<$native> for Literal {
            fn from(value: $native) -> Self {
                let value = Imm::integer(unlade_program::Ty::$ty, i128::from(value));
                Literal { data_type: DataType::$data_type, value }
            }
        }
    )*};
}

literal_from_integer! {
    i8 => Int8, I8;
    i16 => Int16, I16;
    i32 => Int32, I32;
    i64 => Int64, I64;
    u8 => UInt8, U8;
    u16 => UInt16, U16;
    u32 => UInt32, U32;
    u64 => UInt64, U64;
}

impl From<bool> for Literal {
    fn from(value: bool) -> Self {
        Literal {
            data_type: DataType::Boolean,
            value: Some(Imm::mask(value)),
        }
    }
}

impl From<f32> for Literal {
    fn from(value: f32) -> Self {
        Literal {
            data_type: DataType::Float32,
            value: Some(Imm::f32(value)),
        }
    }
}

impl From<f64> for Literal {
    fn from(value: f64) -> Self {
        Literal {
            data_type: DataType::Float64,
            value: Some(Imm::f64(value)),
        }
    }
}

impl<T: Into<Literal>> From<Option<T>> for Literal
where
    T: Default,
{
    fn from(value: Option<T>) -> Self {
        match value {
            Some(value) => value.into(),
            None => Literal::null(T::default().into().data_type),
        }
    }
}
