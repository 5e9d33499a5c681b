//! Types of values, docs/CARD.md, section 8.

/// The type of a value; its discriminant is the number that stands in declarations and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Type {
    Mask = 1,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
}

impl Type {
    /// All types, by number.
    pub(crate) const ALL: [Type; 12] = [
        Type::Mask,
        Type::I8,
        Type::I16,
        Type::I32,
        Type::I64,
        Type::I128,
        Type::U8,
        Type::U16,
        Type::U32,
        Type::U64,
        Type::F32,
        Type::F64,
    ];

    /// The type with this number.
    pub(crate) fn from_number(number: u8) -> Option<Type> {
        Type::ALL.into_iter().find(|ty| ty.number() == number)
    }

    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    /// Bits of a value.
    pub(crate) fn bits(self) -> u32 {
        match self {
            Type::Mask => 1,
            Type::I8 | Type::U8 => 8,
            Type::I16 | Type::U16 => 16,
            Type::I32 | Type::U32 | Type::F32 => 32,
            Type::I64 | Type::U64 | Type::F64 => 64,
            Type::I128 => 128,
        }
    }

    /// Bytes of a value of a number.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Type::Mask => unreachable!("values of a mask are bits"),
            Type::I8 | Type::U8 => 1,
            Type::I16 | Type::U16 => 2,
            Type::I32 | Type::U32 | Type::F32 => 4,
            Type::I64 | Type::U64 | Type::F64 => 8,
            Type::I128 => 16,
        }
    }

    /// The value's bits, of bytes that begin with it.
    pub(crate) fn mask(self) -> u128 {
        u128::MAX >> (128 - self.bits())
    }

    pub(crate) fn is_mask(self) -> bool {
        self == Type::Mask
    }

    pub(crate) fn is_number(self) -> bool {
        self != Type::Mask
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Type::F32 | Type::F64)
    }

    pub(crate) fn is_integer(self) -> bool {
        self.is_number() && !self.is_float()
    }

    pub(crate) fn is_signed(self) -> bool {
        matches!(
            self,
            Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::I128
        )
    }

    /// Whether rows of a table may be named by it.
    pub(crate) fn is_index(self) -> bool {
        self.is_integer() && self != Type::I128
    }

    /// The least integer.
    pub(crate) fn min(self) -> i128 {
        if self.is_signed() {
            i128::MIN >> (128 - self.bits())
        } else {
            0
        }
    }

    /// The greatest integer.
    pub(crate) fn max(self) -> i128 {
        if self.is_signed() {
            i128::MAX >> (128 - self.bits())
        } else {
            self.mask().cast_signed()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_document() {
        for (number, ty) in (1..).zip(Type::ALL) {
            assert_eq!(ty.number(), number);
            assert_eq!(Type::from_number(number), Some(ty));
        }
        assert_eq!(Type::from_number(0), None);
        assert_eq!(Type::from_number(13), None);
    }

    #[test]
    fn ranges() {
        assert_eq!((Type::I8.min(), Type::I8.max()), (-128, 127));
        assert_eq!(
            (Type::U64.min(), Type::U64.max()),
            (0, i128::from(u64::MAX))
        );
        assert_eq!((Type::I128.min(), Type::I128.max()), (i128::MIN, i128::MAX));
    }
}
