//! Immediates: the value of a constant or of a parameter, as bits with a type.

use crate::Ty;

/// One scalar of a physical type, stored as its bits.
///
/// Integers are sign- or zero-extended to 128 bits, floats hold their IEEE bits zero-extended, a
/// mask holds 0 or 1. Two immediates are equal exactly when type and bits are, so a NaN equals
/// itself and -0 differs from +0: an immediate is a bit pattern, not a number. Every immediate is
/// well formed: its bits are those of some value of its type.
///
/// ```
/// use unlade_program::{Imm, Ty};
///
/// let limit = Imm::integer(Ty::I16, -300).expect("-300 fits");
/// assert_eq!(limit.to_le_bytes()[..2], (-300i16).to_le_bytes());
/// assert_eq!(Imm::from_le_bytes(Ty::I16, limit.to_le_bytes()), limit);
/// assert_eq!(Imm::integer(Ty::U16, -300), None);
/// assert_ne!(Imm::f32(0.0), Imm::f32(-0.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Imm {
    ty: Ty,
    bits: i128,
}

impl Imm {
    /// An immediate mask: all rows or none.
    pub const fn mask(value: bool) -> Self {
        Imm {
            ty: Ty::Mask,
            bits: value as i128,
        }
    }

    /// An integer immediate, or `None` where `ty` is no integer type or cannot hold `value`.
    pub const fn integer(ty: Ty, value: i128) -> Option<Self> {
        match ty.integer_range() {
            Some((low, high)) if low <= value && value <= high => Some(Imm { ty, bits: value }),
            _ => None,
        }
    }

    /// A binary32 immediate, bits kept.
    pub const fn f32(value: f32) -> Self {
        Imm {
            ty: Ty::F32,
            bits: value.to_bits() as i128,
        }
    }

    /// A binary64 immediate, bits kept.
    pub const fn f64(value: f64) -> Self {
        Imm {
            ty: Ty::F64,
            bits: value.to_bits() as i128,
        }
    }

    /// The zero of any type.
    pub const fn zero(ty: Ty) -> Self {
        Imm { ty, bits: 0 }
    }

    /// The value whose little-endian bytes these are; bytes beyond the type's width are ignored.
    pub fn from_le_bytes(ty: Ty, bytes: [u8; 16]) -> Self {
        let raw = i128::from_le_bytes(bytes);
        let bits = match ty {
            Ty::Mask => raw & 1,
            Ty::I8 => raw as i8 as i128,
            Ty::I16 => raw as i16 as i128,
            Ty::I32 => raw as i32 as i128,
            Ty::I64 => raw as i64 as i128,
            Ty::I128 => raw,
            Ty::U8 => raw as u8 as i128,
            Ty::U16 => raw as u16 as i128,
            Ty::U32 | Ty::F32 => raw as u32 as i128,
            Ty::U64 | Ty::F64 => raw as u64 as i128,
        };
        Imm { ty, bits }
    }

    /// The little-endian bytes, extended to 16: what a device is handed as an argument.
    pub const fn to_le_bytes(self) -> [u8; 16] {
        self.bits.to_le_bytes()
    }

    /// The physical type.
    pub const fn ty(self) -> Ty {
        self.ty
    }

    /// The bits, extended as the type's documentation says.
    pub const fn bits(self) -> i128 {
        self.bits
    }

    /// The value of a mask.
    ///
    /// # Panics
    /// Where this is no mask.
    pub fn as_mask(self) -> bool {
        assert_eq!(self.ty, Ty::Mask, "immediate is {}, not a mask", self.ty);
        self.bits != 0
    }

    /// The value of an integer.
    ///
    /// # Panics
    /// Where this is no integer.
    pub fn as_integer(self) -> i128 {
        assert!(
            self.ty.is_integer(),
            "immediate is {}, not an integer",
            self.ty
        );
        self.bits
    }

    /// The value of an `f32`.
    ///
    /// # Panics
    /// Where this is no `f32`.
    pub fn as_f32(self) -> f32 {
        assert_eq!(self.ty, Ty::F32, "immediate is {}, not f32", self.ty);
        f32::from_bits(self.bits as u32)
    }

    /// The value of an `f64`.
    ///
    /// # Panics
    /// Where this is no `f64`.
    pub fn as_f64(self) -> f64 {
        assert_eq!(self.ty, Ty::F64, "immediate is {}, not f64", self.ty);
        f64::from_bits(self.bits as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip_for_every_type() {
        for ty in Ty::ALL {
            let all_ones = Imm::from_le_bytes(ty, [0xff; 16]);
            assert_eq!(
                Imm::from_le_bytes(ty, all_ones.to_le_bytes()),
                all_ones,
                "{ty}"
            );
        }
        assert_eq!(Imm::from_le_bytes(Ty::I16, [0xff; 16]).as_integer(), -1);
        assert_eq!(
            Imm::from_le_bytes(Ty::U64, [0xff; 16]).as_integer(),
            u64::MAX as i128
        );
    }

    #[test]
    fn integers_out_of_range_are_refused() {
        assert_eq!(Imm::integer(Ty::U8, 256), None);
        assert_eq!(Imm::integer(Ty::U8, -1), None);
        assert_eq!(Imm::integer(Ty::F32, 1), None);
        assert_eq!(Imm::integer(Ty::I8, -128).map(Imm::as_integer), Some(-128));
    }
}
