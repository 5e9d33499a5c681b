//! The text form, by examples. That it round-trips random programs, and survives random texts, is
//! tested beside the generator of programs, in `unlade-naive`.

use crate::{Imm, Inst, Program, Ty};

/// One line of each operation and choice.
const EVERYTHING: &str = "\
columns c0: i32?, c1: f64, c2: mask?
params p0: i64, p1: i128
tables t0: mask, t1: f32
sets s0: i32
%0 = load c0
%1 = valid c0
%2 = param p0
%3 = const i128 -170141183460469231731687303715884105728
%4 = neg %0
%5 = abs %0
%6 = load c1
%7 = round %6
%8 = add %0, %4
%9 = sub %0, %4
%10 = mul %0, %4
%11 = div %0, %4
%12 = rem %0, %4
%13 = floordiv %0, %4
%14 = overflow.add %0, %4
%15 = overflow.sub %0, %4
%16 = overflow.mul %0, %4
%17 = overflow.div %0, %4
%18 = cmp.eq %0, %4
%19 = cmp.ne.total %6, %7
%20 = cmp.lt.spark %6, %7
%21 = cmp.le %6, %7
%22 = cmp.gt %0, %4
%23 = cmp.ge %0, %4
%24 = range %0, %4, %5
%25 = cast.wrap %0 to f32
%26 = cast.saturate %6 to u8
%27 = cast.fails %6 to u8
%28 = rescale.half_away %3 by -2
%29 = rescale.truncate %3 by 38
%30 = rescale.floor %3 by -38
%31 = rescale.fails %3 by 2
%32 = select %1, %0, %4
%33 = and %1, %14
%34 = or %1, %14
%35 = andnot %1, %14
%36 = xor %1, %14
%37 = not %1
%38 = lookup t1, %0
%39 = in_bounds t0, %0
%40 = in_set s0, %0
%41 = trap.overflow %14, ordinal 4294967295
%42 = trap.divide_by_zero %14, ordinal 0
%43 = trap.cast_out_of_range %14, ordinal 1
%44 = trap.decimal_precision %14, ordinal 2
%45 = trap.invalid_key %39, ordinal 3
%46 = const mask true
%47 = const f32 0x7fc00001
%48 = const f64 -0.0
%49 = const f64 1e300
%50 = const f32 -inf
%51 = const f64 0xfff8000000000000
%52 = digits %48 by 38
keep %33
emit mask
output %0 valid %1
output %48
";

#[test]
fn every_operation_round_trips() {
    let program: Program = EVERYTHING.parse().unwrap();
    assert_eq!(program.to_string(), EVERYTHING);
    assert_eq!(crate::verify(&program), Ok(()));
    for row in &crate::OPS {
        assert!(
            program
                .insts
                .iter()
                .any(|inst| crate::Op::of(inst) == row.op),
            "no line shows `{}`",
            row.name
        );
    }
}

#[test]
fn spaces_and_comments_mean_nothing() {
    let program: Program = "; a comment\n\n  %0=const mask true ; another\r\n\tkeep   %0\n"
        .parse()
        .unwrap();
    assert_eq!(program.to_string(), "%0 = const mask true\nkeep %0\n");
}

#[test]
fn immediates_print_exactly() {
    for value in [
        Imm::f32(0.1),
        Imm::f32(f32::from_bits(1)),
        Imm::f32(f32::from_bits(0xff80_0001)),
        Imm::f64(-0.0),
        Imm::f64(f64::MAX),
        Imm::f64(f64::from_bits(0x7ff0_0000_0000_0001)),
        Imm::f64(f64::NEG_INFINITY),
        Imm::integer(Ty::U64, i128::from(u64::MAX)).unwrap(),
        Imm::integer(Ty::I128, i128::MIN).unwrap(),
        Imm::mask(false),
    ] {
        let text = format!("%0 = const {} {value}", value.ty());
        let program: Program = text.parse().unwrap();
        assert_eq!(program.insts, [Inst::Const { value }], "{text}");
    }
}

#[test]
fn errors_say_where_and_what() {
    for (text, wanted) in [
        (
            "%1 = load c0",
            "line 1, column 1: values are numbered in order: expected `%0`",
        ),
        (
            "\n  %0 = lod c0",
            "line 2, column 8: no such operation: `lod`",
        ),
        (
            "%0 = load p0",
            "line 1, column 11: expected a name such as `c0`, found `p0`",
        ),
        (
            "%0 = load",
            "column 10: expected a name such as `c0`, found the end of the line",
        ),
        ("%0 = add %1 %2", "column 13: expected `,`, found `%2`"),
        (
            "%0 = cmp.gt.sparc %0, %1",
            "no such operation: `cmp.gt.sparc`",
        ),
        ("%0 = add.total %0, %1", "no such operation: `add.total`"),
        (
            "%0 = trap %1, ordinal 1",
            "expected a reason: `trap.overflow`",
        ),
        ("%0 = rescale %1 by 2", "expected a rounding"),
        (
            "%0 = const i8 128",
            "column 15: expected a value of i8, found `128`",
        ),
        ("%0 = const f32 NaN", "expected a value of f32, found `NaN`"),
        ("%0 = const f32 0x1ffffffff", "expected a value of f32"),
        (
            "%0 = cast.wrap %1 to int",
            "expected a type such as `i32` or `mask`, found `int`",
        ),
        (
            "%0 = not %99999999999",
            "expected a value such as `%0`, found `99999999999`",
        ),
        (
            "%0 = not %1 really",
            "expected the end of the line, found `really`",
        ),
        (
            "columns c1: i32",
            "columns are numbered in order: expected `c0`",
        ),
        (
            "params p0: i32\nparams p0: i32",
            "line 2, column 1: `params` is given twice",
        ),
        ("keep %0\nkeep %0", "`keep` is given twice"),
        ("wat", "found `wat`"),
        ("é %0", "line 1, column 1: expected a value such as `%0`"),
        (
            "keep é",
            "line 1, column 6: expected a value such as `%0`, found `é`",
        ),
        (
            &format!("{}\u{e9}", "x".repeat(90)),
            "found `xxxxxxxxxxxxxxxxxxxxxxxx...`",
        ),
    ] {
        let error = text.parse::<Program>().unwrap_err().to_string();
        assert!(error.contains(wanted), "{text:?}: {error}");
    }
}

#[test]
fn lists_are_bounded() {
    let mut text = String::new();
    for index in 0..=crate::limits::INSTRUCTIONS {
        text += &format!("%{index} = const mask true\n");
    }
    let error = text.parse::<Program>().unwrap_err();
    assert_eq!(error.line, crate::limits::INSTRUCTIONS + 1);
    assert!(error.message.contains("limit of 65536"), "{error}");
}
