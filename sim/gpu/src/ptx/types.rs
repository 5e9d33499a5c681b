//! The types that instructions carry (PTX ISA 5.2).

use std::fmt;

/// A fundamental type. `.f16` and wider ones than 64 bits are not simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    Pred,
    Bits(Width),
    Unsigned(Width),
    Signed(Width),
    F32,
    F64,
}

/// A width in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Width {
    W8,
    W16,
    W32,
    W64,
}

impl Width {
    pub(crate) const fn bits(self) -> u32 {
        match self {
            Width::W8 => 8,
            Width::W16 => 16,
            Width::W32 => 32,
            Width::W64 => 64,
        }
    }

    pub(crate) const fn bytes(self) -> u32 {
        self.bits() / 8
    }

    /// Ones in the bits of a value.
    pub(crate) const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The value's sign, spread over 64 bits.
    pub(crate) const fn sign_extend(self, value: u64) -> i64 {
        let unused = 64 - self.bits();
        ((value << unused) as i64) >> unused
    }
}

impl Type {
    /// From what stands after the dot.
    pub(crate) fn parse(name: &str) -> Option<Type> {
        Some(match name {
            "pred" => Type::Pred,
            "f32" => Type::F32,
            "f64" => Type::F64,
            _ => {
                let width = match name.get(1..)? {
                    "8" => Width::W8,
                    "16" => Width::W16,
                    "32" => Width::W32,
                    "64" => Width::W64,
                    _ => return None,
                };
                match name.as_bytes()[0] {
                    b'b' => Type::Bits(width),
                    b'u' => Type::Unsigned(width),
                    b's' => Type::Signed(width),
                    _ => return None,
                }
            }
        })
    }

    /// The width; none for a predicate, which has no size.
    pub(crate) fn width(self) -> Option<Width> {
        match self {
            Type::Pred => None,
            Type::Bits(width) | Type::Unsigned(width) | Type::Signed(width) => Some(width),
            Type::F32 => Some(Width::W32),
            Type::F64 => Some(Width::W64),
        }
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Type::F32 | Type::F64)
    }

    pub(crate) fn is_signed(self) -> bool {
        matches!(self, Type::Signed(_))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Pred => write!(f, ".pred"),
            Type::Bits(width) => write!(f, ".b{}", width.bits()),
            Type::Unsigned(width) => write!(f, ".u{}", width.bits()),
            Type::Signed(width) => write!(f, ".s{}", width.bits()),
            Type::F32 => write!(f, ".f32"),
            Type::F64 => write!(f, ".f64"),
        }
    }
}
