//! The types that vectors are made of, and views of bytes as slices of them.

use unlade_program::Ty;

/// A scalar operand: the little-endian bytes of its value, zeros or sign above.
pub(crate) type Scalar = [u8; 16];

/// A type without padding of which every bit pattern is a value.
///
/// # Safety
/// Exactly that must hold.
pub(crate) unsafe trait Plain: Copy + Default + 'static {}

/// Views bytes as values, or `None` where they are not aligned for it. A partial value at the end
/// is left out.
#[inline(always)]
pub(crate) fn typed<T: Plain>(bytes: &[u8]) -> Option<&[T]> {
    let pointer = bytes.as_ptr().cast::<T>();
    if !pointer.is_aligned() {
        return None;
    }
    let count = bytes.len() / size_of::<T>();
    // SAFETY: aligned as just checked; the length in values is rounded down, so that the view
    // lies within the bytes and shares their borrow; every bit pattern is a `T`, as `Plain` says.
    Some(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// [`typed`], to write.
#[inline(always)]
pub(crate) fn typed_mut<T: Plain>(bytes: &mut [u8]) -> Option<&mut [T]> {
    let count = bytes.len() / size_of::<T>();
    let pointer = bytes.as_mut_ptr().cast::<T>();
    if !pointer.is_aligned() {
        return None;
    }
    // SAFETY: as in `typed`; the borrow is exclusive, nothing else is taken from it any more, and
    // without padding every `T` written leaves initialised bytes behind.
    Some(unsafe { std::slice::from_raw_parts_mut(pointer, count) })
}

/// Views values as bytes, to write.
#[cfg(test)]
pub(crate) fn typed_bytes_mut<T: Plain>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: values without padding are initialised bytes, of which each pattern is a value.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

/// A value of a program that is not a mask.
pub(crate) trait Element: Plain + PartialOrd {
    const TY: Ty;

    /// The value whose little-endian bytes begin here; longer input is cut.
    fn from_bytes(bytes: &[u8]) -> Self;
}

macro_rules! elements {
    ($($type:ident $ty:ident),*) => {$(
        // SAFETY: a primitive number: no padding, no invalid bit pattern.
        unsafe impl Plain for $type {}

        impl Element for $type {
            const TY: Ty = Ty::$ty;

            #[inline(always)]
            fn from_bytes(bytes: &[u8]) -> Self {
                let bytes: [u8; size_of::<$type>()] =
                    bytes[..size_of::<$type>()].try_into().expect("cut to size");
                $type::from_le_bytes(bytes)
            }
        }
    )*};
}

elements!(i8 I8, i16 I16, i32 I32, i64 I64, i128 I128);
elements!(u8 U8, u16 U16, u32 U32, u64 U64, u128 I128, f32 F32, f64 F64);

/// The integer types and their total operations, as `unlade_program` defines them.
pub(crate) trait Integer: Element + Ord {
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn rem(self, other: Self) -> Self;
    fn floor_div(self, other: Self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    fn add_overflows(self, other: Self) -> bool;
    fn sub_overflows(self, other: Self) -> bool;
    fn mul_overflows(self, other: Self) -> bool;
    fn div_overflows(self, other: Self) -> bool;

    /// The value as a position, or `usize::MAX`, which no table reaches, where it is negative or
    /// too large.
    fn index(self) -> usize;

    /// The value nearest to `value`.
    fn clamped(value: i128) -> Self;
}

macro_rules! integers {
    ($($type:ident, $wide:ident, $signed:literal);* $(;)?) => {$(
        impl Integer for $type {
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }

            #[inline(always)]
            fn div(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_div(other) }
            }

            #[inline(always)]
            fn rem(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_rem(other) }
            }

            #[inline(always)]
            fn floor_div(self, other: Self) -> Self {
                if other == 0 {
                    return 0;
                }
                let quotient = self.wrapping_div(other);
                let remainder = self.wrapping_rem(other);
                #[allow(unused_comparisons)] // never negative where the type is unsigned
                let inexact_below_zero = remainder != 0 && ((remainder < 0) != (other < 0));
                quotient.wrapping_sub(inexact_below_zero as $type)
            }

            #[inline(always)]
            fn neg(self) -> Self {
                self.wrapping_neg()
            }

            #[inline(always)]
            fn abs(self) -> Self {
                #[allow(unused_comparisons)] // never negative where the type is unsigned
                if self < 0 { self.wrapping_neg() } else { self }
            }

            #[inline(always)]
            fn add_overflows(self, other: Self) -> bool {
                let sum = self.wrapping_add(other);
                #[allow(unused_comparisons)]
                if $signed {
                    // Both operands have the sign that the sum has not.
                    ((self ^ sum) & (other ^ sum)) < 0
                } else {
                    sum < self
                }
            }

            #[inline(always)]
            fn sub_overflows(self, other: Self) -> bool {
                #[allow(unused_comparisons)]
                if $signed {
                    let difference = self.wrapping_sub(other);
                    ((self ^ other) & (self ^ difference)) < 0
                } else {
                    self < other
                }
            }

            #[inline(always)]
            fn mul_overflows(self, other: Self) -> bool {
                if size_of::<$wide>() > size_of::<$type>() {
                    let product = (self as $wide).wrapping_mul(other as $wide);
                    product as $type as $wide != product
                } else {
                    self.overflowing_mul(other).1
                }
            }

            #[inline(always)]
            fn div_overflows(self, other: Self) -> bool {
                $signed && self == $type::MIN && other == (0 as $type).wrapping_sub(1)
            }

            #[inline(always)]
            fn index(self) -> usize {
                usize::try_from(self).unwrap_or(usize::MAX)
            }

            #[inline(always)]
            fn clamped(value: i128) -> Self {
                // No 128-bit type but i128 gets here, so that the bounds fit.
                value.clamp($type::MIN as i128, $type::MAX as i128) as $type
            }
        }
    )*};
}

integers!(
    i8, i16, true;
    i16, i32, true;
    i32, i64, true;
    i64, i128, true;
    i128, i128, true;
    u8, u16, false;
    u16, u32, false;
    u32, u64, false;
    u64, u128, false;
);

/// The float types and their operations, as `unlade_program` defines them.
pub(crate) trait Float: Element {
    /// The quiet NaN that arithmetic yields.
    const CANONICAL_NAN: Self;
    /// The signed integer of the same size and alignment.
    type Key: Integer;

    fn is_nan(self) -> bool;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn rem(self, other: Self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    fn round(self) -> Self;
    fn trunc(self) -> Self;
    /// The bits as a signed integer.
    fn signed_bits(self) -> Self::Key;
    /// The number, which must be a power of two or one less than it, negated or not; exact.
    fn from_bound(value: f64) -> Self;

    /// The value, or the one NaN there is after arithmetic.
    #[inline(always)]
    fn canonical(self) -> Self {
        if self.is_nan() {
            Self::CANONICAL_NAN
        } else {
            self
        }
    }
}

macro_rules! floats {
    ($($type:ident, $bits:ident, $key:ident, $nan:literal);* $(;)?) => {$(
        impl Float for $type {
            const CANONICAL_NAN: Self = $type::from_bits($nan);
            type Key = $key;

            #[inline(always)]
            fn is_nan(self) -> bool {
                $type::is_nan(self)
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                (self + other).canonical()
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                (self - other).canonical()
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                (self * other).canonical()
            }

            #[inline(always)]
            fn div(self, other: Self) -> Self {
                (self / other).canonical()
            }

            #[inline(always)]
            fn rem(self, other: Self) -> Self {
                (self % other).canonical()
            }

            #[inline(always)]
            fn neg(self) -> Self {
                $type::from_bits(self.to_bits() ^ (1 << ($bits::BITS - 1)))
            }

            #[inline(always)]
            fn abs(self) -> Self {
                $type::from_bits(self.to_bits() & !(1 << ($bits::BITS - 1)))
            }

            #[inline(always)]
            fn round(self) -> Self {
                $type::round(self).canonical()
            }

            #[inline(always)]
            fn trunc(self) -> Self {
                $type::trunc(self)
            }

            #[inline(always)]
            fn signed_bits(self) -> $key {
                self.to_bits() as $key
            }

            #[inline(always)]
            fn from_bound(value: f64) -> Self {
                value as $type
            }
        }
    )*};
}

floats!(
    f32, u32, i32, 0x7fc0_0000;
    f64, u64, i64, 0x7ff8_0000_0000_0000;
);

/// Evaluates an expression with a type name bound to the integer type that `$ty` is.
macro_rules! with_integer {
    ($ty:expr, $name:ident => $body:expr) => {{
        macro_rules! arm {
            ($type:ty) => {{
                type $name = $type;
                $body
            }};
        }
        match $ty {
            Ty::I8 => arm!(i8),
            Ty::I16 => arm!(i16),
            Ty::I32 => arm!(i32),
            Ty::I64 => arm!(i64),
            Ty::I128 => arm!(i128),
            Ty::U8 => arm!(u8),
            Ty::U16 => arm!(u16),
            Ty::U32 => arm!(u32),
            Ty::U64 => arm!(u64),
            other => unreachable!("{other} is no integer type: the program was not verified"),
        }
    }};
}

/// [`with_integer`] for the float types.
macro_rules! with_float {
    ($ty:expr, $name:ident => $body:expr) => {{
        macro_rules! arm {
            ($type:ty) => {{
                type $name = $type;
                $body
            }};
        }
        match $ty {
            Ty::F32 => arm!(f32),
            Ty::F64 => arm!(f64),
            other => unreachable!("{other} is no float type: the program was not verified"),
        }
    }};
}

/// [`with_integer`] for the unsigned integer as wide as `$ty`, where only bits matter.
macro_rules! with_bits_of {
    ($ty:expr, $name:ident => $body:expr) => {{
        macro_rules! arm {
            ($type:ty) => {{
                type $name = $type;
                $body
            }};
        }
        match $ty.bits() {
            8 => arm!(u8),
            16 => arm!(u16),
            32 => arm!(u32),
            64 => arm!(u64),
            128 => arm!(u128),
            _ => unreachable!("masks are not made of bytes"),
        }
    }};
}

pub(crate) use {with_bits_of, with_float, with_integer};
