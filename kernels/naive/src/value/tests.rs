//! Special values of each operation, worked out by hand.

use super::*;

fn int(ty: Ty, value: i128) -> Imm {
    Imm::integer(ty, value).unwrap()
}

fn nan32(bits: u32) -> Imm {
    Imm::f32(f32::from_bits(bits))
}

fn nan64(bits: u64) -> Imm {
    Imm::f64(f64::from_bits(bits))
}

const CANONICAL_32: u32 = 0x7fc0_0000;
const CANONICAL_64: u64 = 0x7ff8_0000_0000_0000;

#[test]
fn negation_and_absolute_value_wrap_at_the_minimum() {
    for ty in [Ty::I8, Ty::I16, Ty::I32, Ty::I64, Ty::I128] {
        let (low, high) = ty.integer_range().unwrap();
        for op in [UnaryOp::Neg, UnaryOp::Abs] {
            assert_eq!(unary(op, int(ty, low)), int(ty, low), "{op:?} {ty}");
        }
        assert_eq!(unary(UnaryOp::Neg, int(ty, high)), int(ty, low + 1));
        assert_eq!(unary(UnaryOp::Abs, int(ty, low + 1)), int(ty, high));
    }
}

#[test]
fn negation_and_absolute_value_of_floats_touch_the_sign_only() {
    assert_eq!(unary(UnaryOp::Neg, Imm::f32(0.0)), Imm::f32(-0.0));
    assert_eq!(unary(UnaryOp::Abs, Imm::f64(-0.0)), Imm::f64(0.0));
    assert_eq!(unary(UnaryOp::Neg, nan32(0x7f80_0001)), nan32(0xff80_0001));
    assert_eq!(unary(UnaryOp::Abs, nan32(0xff80_0001)), nan32(0x7f80_0001));
    assert_eq!(
        unary(UnaryOp::Neg, nan64(0xfff8_0000_0000_0123)),
        nan64(0x7ff8_0000_0000_0123)
    );
}

#[test]
fn round_takes_ties_away_from_zero() {
    for (value, wanted) in [
        (0.5, 1.0),
        (-0.5, -1.0),
        (1.5, 2.0),
        (2.5, 3.0),
        (-2.5, -3.0),
        (0.49999999999999994, 0.0),
        (-0.4, -0.0),
        (4_503_599_627_370_497.0, 4_503_599_627_370_497.0),
        (f64::NEG_INFINITY, f64::NEG_INFINITY),
    ] {
        assert_eq!(
            unary(UnaryOp::Round, Imm::f64(value)),
            Imm::f64(wanted),
            "{value}"
        );
    }
    assert_eq!(
        unary(UnaryOp::Round, Imm::f32(8_388_607.5)),
        Imm::f32(8_388_608.0)
    );
    assert_eq!(
        unary(UnaryOp::Round, nan32(0xff80_0001)),
        nan32(CANONICAL_32)
    );
}

#[test]
fn integers_wrap() {
    let cases = [
        (BinaryOp::Add, Ty::I8, 127, 1, -128),
        (BinaryOp::Sub, Ty::I8, -128, 1, 127),
        (BinaryOp::Mul, Ty::I8, -128, -1, -128),
        (BinaryOp::Mul, Ty::I16, 300, 300, 90_000 - 65_536),
        (BinaryOp::Add, Ty::U8, 255, 1, 0),
        (BinaryOp::Sub, Ty::U64, 0, 1, u64::MAX as i128),
        (
            BinaryOp::Mul,
            Ty::U64,
            u64::MAX as i128,
            u64::MAX as i128,
            1,
        ),
        (
            BinaryOp::Mul,
            Ty::I64,
            i64::MIN as i128,
            i64::MIN as i128,
            0,
        ),
        (BinaryOp::Add, Ty::I128, i128::MAX, 1, i128::MIN),
        (BinaryOp::Mul, Ty::I128, i128::MIN, -1, i128::MIN),
        (
            BinaryOp::Div,
            Ty::I32,
            i32::MIN as i128,
            -1,
            i32::MIN as i128,
        ),
        (BinaryOp::Div, Ty::I128, i128::MIN, -1, i128::MIN),
        (BinaryOp::Rem, Ty::I128, i128::MIN, -1, 0),
        (BinaryOp::FloorDiv, Ty::I128, i128::MIN, -1, i128::MIN),
        (BinaryOp::FloorDiv, Ty::I8, -128, -1, -128),
    ];
    for (op, ty, x, y, wanted) in cases {
        assert_eq!(
            binary(op, int(ty, x), int(ty, y)),
            int(ty, wanted),
            "{op:?} {ty} {x} {y}"
        );
    }
}

#[test]
fn quotients_truncate_or_floor_and_are_zero_by_zero() {
    for (x, y, quotient, remainder, floor) in [
        (7, 2, 3, 1, 3),
        (-7, 2, -3, -1, -4),
        (7, -2, -3, 1, -4),
        (-7, -2, 3, -1, 3),
        (-8, 2, -4, 0, -4),
        (0, -5, 0, 0, 0),
        (-1, 86_400_000, 0, -1, -1),
        (9, 0, 0, 0, 0),
    ] {
        for ty in [Ty::I32, Ty::I64, Ty::I128] {
            let (lhs, rhs) = (int(ty, x), int(ty, y));
            assert_eq!(
                binary(BinaryOp::Div, lhs, rhs),
                int(ty, quotient),
                "{x} / {y}"
            );
            assert_eq!(
                binary(BinaryOp::Rem, lhs, rhs),
                int(ty, remainder),
                "{x} % {y}"
            );
            assert_eq!(
                binary(BinaryOp::FloorDiv, lhs, rhs),
                int(ty, floor),
                "{x} // {y}"
            );
        }
    }
}

#[test]
fn float_arithmetic_follows_ieee_with_one_nan() {
    let f = Imm::f64;
    let inf = f64::INFINITY;
    assert_eq!(
        binary(BinaryOp::Add, f(0.1), f(0.2)),
        f(0.30000000000000004)
    );
    assert_eq!(binary(BinaryOp::Add, f(-0.0), f(0.0)), f(0.0));
    assert_eq!(binary(BinaryOp::Mul, f(-0.0), f(5.0)), f(-0.0));
    assert_eq!(binary(BinaryOp::Div, f(1.0), f(-0.0)), f(-inf));
    assert_eq!(binary(BinaryOp::Rem, f(-6.0), f(3.0)), f(-0.0));
    for (op, x, y) in [
        (BinaryOp::Sub, inf, inf),
        (BinaryOp::Mul, inf, 0.0),
        (BinaryOp::Div, 0.0, 0.0),
        (BinaryOp::Rem, 1.0, 0.0),
        (BinaryOp::Add, f64::from_bits(0xfff0_0000_0000_0001), 1.0),
    ] {
        assert_eq!(
            binary(op, f(x), f(y)),
            nan64(CANONICAL_64),
            "{op:?} {x} {y}"
        );
    }
    // Rounded once, in 32 bits: 1 + 2^-24 is a tie and goes to the even 1.
    let tie = 2f32.powi(-24);
    assert_eq!(
        binary(BinaryOp::Add, Imm::f32(1.0), Imm::f32(tie)),
        Imm::f32(1.0)
    );
    assert_eq!(
        binary(BinaryOp::Rem, Imm::f32(1e38), Imm::f32(1e-45)),
        Imm::f32(0.0)
    );
    assert_eq!(
        binary(BinaryOp::Rem, Imm::f32(5.5), Imm::f32(-2.0)),
        Imm::f32(1.5)
    );
}

#[test]
fn overflow_is_exact() {
    let cases = [
        (OverflowOp::Add, Ty::I8, 127, 1, true),
        (OverflowOp::Add, Ty::I8, 127, 0, false),
        (OverflowOp::Add, Ty::U8, 200, 55, false),
        (OverflowOp::Add, Ty::U8, 200, 56, true),
        (OverflowOp::Sub, Ty::U32, 0, 1, true),
        (OverflowOp::Sub, Ty::I16, -32768, 1, true),
        (OverflowOp::Mul, Ty::I64, 1 << 32, 1 << 31, true),
        (OverflowOp::Mul, Ty::I64, -(1 << 32), 1 << 31, false),
        (
            OverflowOp::Mul,
            Ty::U64,
            u64::MAX as i128,
            u64::MAX as i128,
            true,
        ),
        (OverflowOp::Add, Ty::I128, i128::MAX, 1, true),
        (OverflowOp::Sub, Ty::I128, i128::MIN, 1, true),
        (OverflowOp::Mul, Ty::I128, i128::MIN, -1, true),
        (OverflowOp::Mul, Ty::I128, i128::MIN, 1, false),
        (OverflowOp::Div, Ty::I32, i32::MIN as i128, -1, true),
        (OverflowOp::Div, Ty::I32, i32::MIN as i128, 0, false),
        (OverflowOp::Div, Ty::I32, i32::MIN as i128, 1, false),
        (OverflowOp::Div, Ty::I128, i128::MIN, -1, true),
        (OverflowOp::Div, Ty::U8, 255, 1, false),
    ];
    for (op, ty, x, y, wanted) in cases {
        assert_eq!(
            overflow(op, int(ty, x), int(ty, y)),
            wanted,
            "{op:?} {ty} {x} {y}"
        );
    }
}

/// For each pair of an ascending list, whether its members compare as their positions do.
fn assert_ascending(order: FloatOrder, ranks: &[(i32, Imm)]) {
    for &(x_rank, x) in ranks {
        for &(y_rank, y) in ranks {
            let context = format!("{order:?}: {x:?} {y:?}");
            for (op, wanted) in [
                (CompareOp::Eq, x_rank == y_rank),
                (CompareOp::Ne, x_rank != y_rank),
                (CompareOp::Lt, x_rank < y_rank),
                (CompareOp::Le, x_rank <= y_rank),
                (CompareOp::Gt, x_rank > y_rank),
                (CompareOp::Ge, x_rank >= y_rank),
            ] {
                assert_eq!(compare(op, order, x, y), wanted, "{op:?} {context}");
            }
        }
    }
}

#[test]
fn the_total_order_tells_all_bits_apart() {
    let f = Imm::f64;
    let inf = f64::INFINITY;
    let ascending = [
        nan64(u64::MAX),
        nan64(0xfff8_0000_0000_0000),
        nan64(0xfff0_0000_0000_0001),
        f(-inf),
        f(-1.0),
        f(-5e-324),
        f(-0.0),
        f(0.0),
        f(5e-324),
        f(1.0),
        f(inf),
        nan64(0x7ff0_0000_0000_0001),
        nan64(0x7ff8_0000_0000_0000),
        nan64(0x7fff_ffff_ffff_ffff),
    ];
    let ranks: Vec<_> = (0..).zip(ascending).collect();
    assert_ascending(FloatOrder::Total, &ranks);
    let narrow = [
        nan32(u32::MAX),
        nan32(0xff80_0001),
        Imm::f32(f32::NEG_INFINITY),
        Imm::f32(-0.0),
        Imm::f32(0.0),
        Imm::f32(f32::INFINITY),
        nan32(0x7f80_0001),
        nan32(CANONICAL_32),
    ];
    let ranks: Vec<_> = (0..).zip(narrow).collect();
    assert_ascending(FloatOrder::Total, &ranks);
}

#[test]
fn spark_puts_all_nans_on_top_and_zeros_together() {
    let f = Imm::f64;
    assert_ascending(
        FloatOrder::Spark,
        &[
            (0, f(f64::NEG_INFINITY)),
            (1, f(-0.0)),
            (1, f(0.0)),
            (2, f(f64::INFINITY)),
            (3, nan64(u64::MAX)),
            (3, nan64(CANONICAL_64)),
        ],
    );
}

#[test]
fn ieee_leaves_nans_unordered() {
    let f = Imm::f32;
    assert_ascending(
        FloatOrder::Ieee,
        &[
            (0, f(f32::NEG_INFINITY)),
            (1, f(-0.0)),
            (1, f(0.0)),
            (2, f(3.0)),
        ],
    );
    for (x, y) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::NAN, f32::NAN)] {
        for op in [
            CompareOp::Eq,
            CompareOp::Ne,
            CompareOp::Lt,
            CompareOp::Le,
            CompareOp::Gt,
            CompareOp::Ge,
        ] {
            let found = compare(op, FloatOrder::Ieee, f(x), f(y));
            assert_eq!(found, op == CompareOp::Ne, "{op:?} {x} {y}");
        }
    }
}

#[test]
fn integers_and_masks_compare_by_value() {
    let ranks: Vec<_> = (0..)
        .zip([0, 1, 1 << 63, u64::MAX as i128].map(|value| int(Ty::U64, value)))
        .collect();
    assert_ascending(FloatOrder::Ieee, &ranks);
    let ranks: Vec<_> = (0..)
        .zip([i128::MIN, -1, 0, i128::MAX].map(|value| int(Ty::I128, value)))
        .collect();
    assert_ascending(FloatOrder::Ieee, &ranks);
    let (no, yes) = (Imm::mask(false), Imm::mask(true));
    assert!(compare(CompareOp::Eq, FloatOrder::Ieee, yes, yes));
    assert!(compare(CompareOp::Ne, FloatOrder::Ieee, no, yes));
    assert!(range(int(Ty::I8, 3), int(Ty::I8, 3), int(Ty::I8, 3)));
    assert!(!range(int(Ty::I8, 3), int(Ty::I8, 4), int(Ty::I8, 2)));
}

#[test]
fn casts_of_integers_keep_low_bits() {
    let wrapped = |from, value, to| cast(CastRule::Wrap, int(from, value), to);
    assert_eq!(wrapped(Ty::I32, 200, Ty::I8), int(Ty::I8, -56));
    assert_eq!(wrapped(Ty::I32, -1, Ty::U16), int(Ty::U16, 65_535));
    assert_eq!(
        wrapped(Ty::U64, u64::MAX as i128, Ty::I64),
        int(Ty::I64, -1)
    );
    assert_eq!(
        wrapped(Ty::U64, u64::MAX as i128, Ty::I128),
        int(Ty::I128, u64::MAX as i128)
    );
    assert_eq!(wrapped(Ty::I128, i128::MIN, Ty::I64), int(Ty::I64, 0));
    assert_eq!(
        cast(CastRule::Wrap, Imm::mask(true), Ty::F32),
        Imm::f32(1.0)
    );
    assert_eq!(
        cast(CastRule::Wrap, Imm::mask(true), Ty::I128),
        int(Ty::I128, 1)
    );
}

#[test]
fn casts_to_floats_round_to_even_once() {
    let to32 = |ty, value| cast(CastRule::Wrap, int(ty, value), Ty::F32).as_f32();
    let to64 = |ty, value| cast(CastRule::Wrap, int(ty, value), Ty::F64).as_f64();
    assert_eq!(to32(Ty::I32, (1 << 24) + 1), 16_777_216.0);
    assert_eq!(to32(Ty::I32, (1 << 24) + 3), 16_777_220.0);
    // Above a tie by one part in 2^60: rounding by way of f64 would lose it.
    assert_eq!(
        to32(Ty::I64, (1 << 60) + (1 << 36) + 1),
        2f32.powi(60) + 2f32.powi(37)
    );
    assert_eq!(to64(Ty::U64, u64::MAX as i128), 2f64.powi(64));
    assert_eq!(
        to64(Ty::I128, (1 << 100) + (1 << 47) + 1),
        2f64.powi(100) + 2f64.powi(48)
    );
    assert_eq!(to64(Ty::I128, (1 << 100) + (1 << 47)), 2f64.powi(100));
    assert_eq!(to32(Ty::I128, i128::MIN), -(2f32.powi(127)));
    let narrowed = |value| cast(CastRule::Wrap, Imm::f64(value), Ty::F32);
    assert_eq!(narrowed(1e300), Imm::f32(f32::INFINITY));
    assert_eq!(narrowed(-1e-300), Imm::f32(-0.0));
    assert_eq!(narrowed(0.1), Imm::f32(0.1));
    assert_eq!(narrowed(f64::from_bits(u64::MAX)), nan32(CANONICAL_32));
    let widened = cast(CastRule::Wrap, nan32(0xff80_0001), Ty::F64);
    assert_eq!(widened, nan64(CANONICAL_64));
}

#[test]
fn casts_of_floats_to_integers() {
    for (value, to, saturated, fails) in [
        (127.9, Ty::I8, 127, false),
        (128.0, Ty::I8, 127, true),
        (-128.9, Ty::I8, -128, false),
        (-129.0, Ty::I8, -128, true),
        (-0.9, Ty::U8, 0, false),
        (-1.0, Ty::U8, 0, true),
        (255.99, Ty::U8, 255, false),
        (
            9_223_372_036_854_774_784.0,
            Ty::I64,
            9_223_372_036_854_774_784,
            false,
        ),
        (9_223_372_036_854_775_808.0, Ty::I64, i64::MAX as i128, true),
        (
            -9_223_372_036_854_775_808.0,
            Ty::I64,
            i64::MIN as i128,
            false,
        ),
        (
            18_446_744_073_709_551_616.0,
            Ty::U64,
            u64::MAX as i128,
            true,
        ),
        (2f64.powi(127), Ty::I128, i128::MAX, true),
        (-(2f64.powi(127)), Ty::I128, i128::MIN, false),
        (1e300, Ty::I128, i128::MAX, true),
        (f64::NEG_INFINITY, Ty::I32, i32::MIN as i128, true),
        (f64::NAN, Ty::I32, 0, true),
    ] {
        let arg = Imm::f64(value);
        assert_eq!(
            cast(CastRule::Saturate, arg, to),
            int(to, saturated),
            "{value} to {to}"
        );
        assert_eq!(cast_fails(arg, to), fails, "{value} to {to}");
    }
    // The greatest i32 is no f32: the float next to it is already beyond.
    assert!(cast_fails(Imm::f32(2_147_483_648.0), Ty::I32));
    assert!(!cast_fails(Imm::f32(2_147_483_520.0), Ty::I32));
}

#[test]
fn casts_of_integers_fail_outside_the_target() {
    assert!(!cast_fails(int(Ty::I32, 127), Ty::I8));
    assert!(cast_fails(int(Ty::I32, 128), Ty::I8));
    assert!(cast_fails(int(Ty::I8, -1), Ty::U64));
    assert!(cast_fails(int(Ty::U64, 1 << 63), Ty::I64));
    assert!(!cast_fails(int(Ty::U64, 1 << 63), Ty::I128));
}

#[test]
fn rescaling_rounds_as_asked() {
    for (value, half_away, truncated, floor) in [
        (149, 1, 1, 1),
        (150, 2, 1, 1),
        (-149, -1, -1, -2),
        (-150, -2, -1, -2),
        (-151, -2, -1, -2),
        (-100, -1, -1, -1),
        (49, 0, 0, 0),
        (-50, -1, 0, -1),
        (
            i128::MAX,
            1_701_411_834_604_692_317_316_873_037_158_841_057,
            1_701_411_834_604_692_317_316_873_037_158_841_057,
            1_701_411_834_604_692_317_316_873_037_158_841_057,
        ),
    ] {
        let arg = int(Ty::I128, value);
        for (rounding, wanted) in [
            (Rounding::HalfAwayFromZero, half_away),
            (Rounding::Truncate, truncated),
            (Rounding::Floor, floor),
        ] {
            let found = rescale(arg, -2, rounding);
            assert_eq!(found, int(Ty::I128, wanted), "{value} {rounding:?}");
        }
    }
    let huge = 10i128.pow(38);
    let rescaled = |value, by| rescale(int(Ty::I128, value), by, Rounding::HalfAwayFromZero);
    assert_eq!(rescaled(huge / 2, -38), int(Ty::I128, 1));
    assert_eq!(rescaled(huge / 2 - 1, -38), int(Ty::I128, 0));
    assert_eq!(rescaled(i128::MIN, -38), int(Ty::I128, -2));
    assert_eq!(rescaled(7, 3), int(Ty::I128, 7000));
    assert_eq!(rescaled(10, 38), int(Ty::I128, huge.wrapping_mul(10)));
    assert!(rescale_fails(int(Ty::I128, 10), 38));
    assert!(!rescale_fails(int(Ty::I128, -1), 38));
    assert!(rescale_fails(int(Ty::I128, -2), 38));
    assert!(!rescale_fails(int(Ty::I128, 0), 38));
}

#[test]
fn masks_combine() {
    for (lhs, rhs, and, or, and_not, xor) in [
        (false, false, false, false, false, false),
        (false, true, false, true, false, true),
        (true, false, false, true, true, true),
        (true, true, true, true, false, false),
    ] {
        assert_eq!(mask(MaskOp::And, lhs, rhs), and);
        assert_eq!(mask(MaskOp::Or, lhs, rhs), or);
        assert_eq!(mask(MaskOp::AndNot, lhs, rhs), and_not);
        assert_eq!(mask(MaskOp::Xor, lhs, rhs), xor);
    }
}
