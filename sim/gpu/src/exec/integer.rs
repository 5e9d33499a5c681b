//! Integer and bit operations (PTX ISA 9.7.1, 9.7.2 and 9.7.8).

use super::row::{Row, map, map2, map3};
use crate::ptx::inst::{Int, IntegerOp, UnaryOp};
use crate::ptx::types::Width;

/// `poison` is what a result is that the PTX ISA leaves open.
pub(super) fn integer(op: IntegerOp, ty: Int, a: &Row, b: &Row, poison: u64) -> Row {
    let (width, mask) = (ty.width, ty.width.mask());
    let sign = |value| width.sign_extend(value);
    match op {
        IntegerOp::Add => map2(a, b, |a, b| a.wrapping_add(b) & mask),
        IntegerOp::Sub => map2(a, b, |a, b| a.wrapping_sub(b) & mask),
        IntegerOp::MulLo => map2(a, b, |a, b| a.wrapping_mul(b) & mask),
        IntegerOp::MulHi => map2(a, b, |a, b| high(ty, a, b)),
        IntegerOp::Div if ty.signed => map2(a, b, |a, b| {
            // By zero: machine-specific (9.7.1.8). Its overflow is not described at all.
            sign(a)
                .checked_div(sign(b))
                .filter(|&q| sign(q as u64) == q)
                .map_or(poison, |q| q as u64)
                & mask
        }),
        IntegerOp::Div => map2(a, b, |a, b| a.checked_div(b).unwrap_or(poison) & mask),
        IntegerOp::Rem if ty.signed => map2(a, b, |a, b| {
            let overflows = sign(b) == -1 && sign(a) == -1 << (width.bits() - 1);
            let rem = if overflows {
                None
            } else {
                sign(a).checked_rem(sign(b))
            };
            rem.map_or(poison, |r| r as u64) & mask
        }),
        IntegerOp::Rem => map2(a, b, |a, b| a.checked_rem(b).unwrap_or(poison) & mask),
        IntegerOp::Min if ty.signed => map2(a, b, |a, b| if sign(a) < sign(b) { a } else { b }),
        IntegerOp::Max if ty.signed => map2(a, b, |a, b| if sign(a) > sign(b) { a } else { b }),
        IntegerOp::Min => map2(a, b, u64::min),
        IntegerOp::Max => map2(a, b, u64::max),
        IntegerOp::And => map2(a, b, |a, b| a & b),
        IntegerOp::Or => map2(a, b, |a, b| a | b),
        IntegerOp::Xor => map2(a, b, |a, b| a ^ b),
        // Amounts above the width count as the width (9.7.8.7 and 9.7.8.8).
        IntegerOp::Shl => map2(a, b, |a, by| a.checked_shl(by as u32).unwrap_or(0) & mask),
        IntegerOp::Shr if ty.signed => {
            let most = u64::from(width.bits()) - 1;
            map2(a, b, |a, by| (sign(a) >> by.min(most)) as u64 & mask)
        }
        IntegerOp::Shr => map2(a, b, |a, by| a.checked_shr(by as u32).unwrap_or(0)),
    }
}

fn high(ty: Int, a: u64, b: u64) -> u64 {
    let bits = ty.width.bits();
    let product = if ty.signed {
        let (a, b) = (ty.width.sign_extend(a), ty.width.sign_extend(b));
        (i128::from(a) * i128::from(b)) >> bits
    } else {
        ((u128::from(a) * u128::from(b)) >> bits) as i128
    };
    product as u64 & ty.width.mask()
}

pub(super) fn multiply_wide(ty: Int, a: &Row, b: &Row) -> Row {
    let mask = u64::MAX >> (64 - 2 * ty.width.bits());
    if ty.signed {
        let sign = |value| ty.width.sign_extend(value);
        return map2(a, b, |a, b| sign(a).wrapping_mul(sign(b)) as u64 & mask);
    }
    map2(a, b, |a, b| a.wrapping_mul(b) & mask)
}

/// Sums, or differences, and the carries, or borrows, out of each lane (PTX ISA 9.7.2).
pub(super) fn carry(subtract: bool, width: Width, a: &Row, b: &Row, carries: u32) -> (Row, u32) {
    let (mut out, mut carried) = (Row::splat(0), 0);
    for lane in 0..super::row::LANES {
        let (a, b) = (u128::from(a.0[lane]), u128::from(b.0[lane]));
        let carry = u128::from(carries >> lane & 1);
        let full = if subtract {
            a.wrapping_sub(b).wrapping_sub(carry)
        } else {
            a + b + carry
        };
        out.0[lane] = full as u64 & width.mask();
        carried |= ((full >> width.bits() & 1) as u32) << lane;
    }
    (out, carried)
}

pub(super) fn unary(op: UnaryOp, ty: Int, a: &Row) -> Row {
    let (width, mask) = (ty.width, ty.width.mask());
    let unused = u64::from(64 - width.bits());
    let zeros = |value: u64| u64::from(value.leading_zeros()) - unused;
    let top = u64::from(width.bits()) - 1;
    // The highest bit that differs from the sign (9.7.1.17); none is all ones.
    let find = |value: u64| {
        let negative = ty.signed && value >> top == 1;
        let value = if negative { !value & mask } else { value };
        (value != 0).then(|| top - zeros(value))
    };
    let none = u64::from(u32::MAX);
    match op {
        UnaryOp::Neg => map(a, |a| a.wrapping_neg() & mask),
        UnaryOp::Abs => map(a, |a| width.sign_extend(a).wrapping_abs() as u64 & mask),
        UnaryOp::Not => map(a, |a| !a & mask),
        UnaryOp::Popc => map(a, |a| u64::from(a.count_ones())),
        UnaryOp::Clz => map(a, zeros),
        UnaryOp::Brev => map(a, |a| a.reverse_bits() >> unused),
        UnaryOp::Bfind => map(a, |a| find(a).unwrap_or(none)),
        UnaryOp::BfindShift => map(a, |a| find(a).map_or(none, |bit| top - bit)),
    }
}

/// `bfe` (PTX ISA 9.7.1.19).
pub(super) fn extract(ty: Int, a: &Row, at: &Row, length: &Row) -> Row {
    let (bits, mask) = (ty.width.bits(), ty.width.mask());
    map3(a, at, length, |a, at, length| {
        let (at, length) = ((at & 0xff) as u32, (length & 0xff) as u32);
        if length == 0 {
            return 0;
        }
        let field = a.checked_shr(at).unwrap_or(0);
        let kept = u64::MAX.checked_shl(length).unwrap_or(0);
        let sign_bit = (at + length - 1).min(bits - 1);
        let fill = if ty.signed && a >> sign_bit & 1 == 1 {
            u64::MAX
        } else {
            0
        };
        // Bits of the field that lie above the value are the sign, too.
        let beyond = u64::MAX.checked_shl(bits.saturating_sub(at)).unwrap_or(0);
        let field = field & !beyond | fill & beyond;
        (field & !kept | fill & kept) & mask
    })
}

/// `bfi` (PTX ISA 9.7.1.20).
pub(super) fn insert(width: Width, a: &Row, b: &Row, at: &Row, length: &Row) -> Row {
    let mut out = Row::splat(0);
    for lane in 0..super::row::LANES {
        let (at, length) = ((at.0[lane] & 0xff) as u32, (length.0[lane] & 0xff) as u32);
        let ones = !u64::MAX.checked_shl(length).unwrap_or(0);
        let field = ones.checked_shl(at).unwrap_or(0) & width.mask();
        let value = a.0[lane].checked_shl(at).unwrap_or(0);
        out.0[lane] = b.0[lane] & !field | value & field;
    }
    out
}

/// `prmt` (PTX ISA 9.7.9.7): bytes of `b` and `a` side by side, chosen by four digits.
pub(super) fn permute(a: &Row, b: &Row, selector: &Row) -> Row {
    map3(a, b, selector, |a, b, selector| {
        let bytes = (b << 32 | a).to_le_bytes();
        let chosen = std::array::from_fn(|i| {
            let digit = selector >> (4 * i) & 0xf;
            let byte = bytes[digit as usize & 7];
            match (digit & 8 != 0, byte & 0x80 != 0) {
                (false, _) => byte,
                (true, sign) => {
                    if sign {
                        0xff
                    } else {
                        0
                    }
                }
            }
        });
        u64::from(u32::from_le_bytes(chosen))
    })
}

/// `lop3` (PTX ISA 9.7.8.6): the table's bit at the number that the three bits make.
pub(super) fn logic3(a: &Row, b: &Row, c: &Row, table: u8) -> Row {
    map3(a, b, c, |a, b, c| {
        let term = |i: u8, value: u64| if i == 1 { value } else { !value };
        let bits = (0..8u8).filter(|i| table >> i & 1 == 1).fold(0, |bits, i| {
            bits | term(i >> 2 & 1, a) & term(i >> 1 & 1, b) & term(i & 1, c)
        });
        bits & Width::W32.mask()
    })
}

/// `shf` (PTX ISA 9.7.8.9): `b` above `a`, shifted together.
pub(super) fn funnel(left: bool, wrap: bool, a: &Row, b: &Row, by: &Row) -> Row {
    map3(a, b, by, |a, b, by| {
        let by = if wrap { by & 31 } else { by.min(32) };
        let both = b << 32 | a;
        if left {
            both << by >> 32
        } else {
            both >> by & Width::W32.mask()
        }
    })
}
