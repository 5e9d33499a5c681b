//! Physical types: what a value of a program is made of.

use std::fmt;
use std::str::FromStr;

/// The physical type of a value.
///
/// Logical Arrow types are mapped onto these before a program exists: `Date32` is [`Ty::I32`],
/// a timestamp of any unit is [`Ty::I64`], `Decimal128` is [`Ty::I128`] and `Boolean` is
/// [`Ty::Mask`]. Validity is never part of a type; it is a mask of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ty {
    /// One bit per row, least significant bit first, as in Arrow bitmaps.
    Mask,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// Signed 128-bit integer; the storage of `Decimal128`.
    I128,
    /// Unsigned 8-bit integer.
    U8,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 64-bit integer.
    U64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl Ty {
    /// Every type, in a fixed order.
    pub const ALL: [Ty; 12] = [
        Ty::Mask,
        Ty::I8,
        Ty::I16,
        Ty::I32,
        Ty::I64,
        Ty::I128,
        Ty::U8,
        Ty::U16,
        Ty::U32,
        Ty::U64,
        Ty::F32,
        Ty::F64,
    ];

    /// Width of one value in bits: 1 for a mask, else 8 to 128.
    pub const fn bits(self) -> u32 {
        match self {
            Ty::Mask => 1,
            Ty::I8 | Ty::U8 => 8,
            Ty::I16 | Ty::U16 => 16,
            Ty::I32 | Ty::U32 | Ty::F32 => 32,
            Ty::I64 | Ty::U64 | Ty::F64 => 64,
            Ty::I128 => 128,
        }
    }

    /// Bytes that `rows` values take, the last byte of a mask being padded.
    pub const fn bytes_for(self, rows: u64) -> u64 {
        match self {
            Ty::Mask => rows.div_ceil(8),
            _ => rows * (self.bits() as u64 / 8),
        }
    }

    /// Whether this is one of the integer types, 128 bits included.
    pub const fn is_integer(self) -> bool {
        !matches!(self, Ty::Mask | Ty::F32 | Ty::F64)
    }

    /// Whether this is a signed integer type, 128 bits included.
    pub const fn is_signed(self) -> bool {
        matches!(self, Ty::I8 | Ty::I16 | Ty::I32 | Ty::I64 | Ty::I128)
    }

    /// Whether this is `F32` or `F64`.
    pub const fn is_float(self) -> bool {
        matches!(self, Ty::F32 | Ty::F64)
    }

    /// The least and greatest value of an integer type, or `None` for masks and floats.
    ///
    /// `u64::MAX` fits in the `i128` that is returned.
    pub const fn integer_range(self) -> Option<(i128, i128)> {
        Some(match self {
            Ty::I8 => (i8::MIN as i128, i8::MAX as i128),
            Ty::I16 => (i16::MIN as i128, i16::MAX as i128),
            Ty::I32 => (i32::MIN as i128, i32::MAX as i128),
            Ty::I64 => (i64::MIN as i128, i64::MAX as i128),
            Ty::I128 => (i128::MIN, i128::MAX),
            Ty::U8 => (0, u8::MAX as i128),
            Ty::U16 => (0, u16::MAX as i128),
            Ty::U32 => (0, u32::MAX as i128),
            Ty::U64 => (0, u64::MAX as i128),
            Ty::Mask | Ty::F32 | Ty::F64 => return None,
        })
    }

    /// The name used in the text form: `mask`, `i8` ... `f64`.
    pub const fn name(self) -> &'static str {
        match self {
            Ty::Mask => "mask",
            Ty::I8 => "i8",
            Ty::I16 => "i16",
            Ty::I32 => "i32",
            Ty::I64 => "i64",
            Ty::I128 => "i128",
            Ty::U8 => "u8",
            Ty::U16 => "u16",
            Ty::U32 => "u32",
            Ty::U64 => "u64",
            Ty::F32 => "f32",
            Ty::F64 => "f64",
        }
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Ty {
    type Err = UnknownTy;

    fn from_str(text: &str) -> Result<Self, UnknownTy> {
        Ty::ALL
            .into_iter()
            .find(|ty| ty.name() == text)
            .ok_or_else(|| UnknownTy(text.to_owned()))
    }
}

/// A type name that the text form does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown physical type `{0}`")]
pub struct UnknownTy(pub String);
