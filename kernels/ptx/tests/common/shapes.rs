//! A program for each shape of kernel, and for what makes its text differ.

use unlade_program::{Program, verify};
use unlade_ptx::{Module, Offsets, compact_strings, copy_counted, empty, lower};

/// Names, which golden files have too, and programs in their text form.
const SHAPES: [(&str, &str); 17] = [
    (
        "mask",
        "columns c0: i32
         params p0: i32
         %0 = load c0
         %1 = param p0
         %2 = cmp.gt %0, %1
         keep %2
         emit mask",
    ),
    (
        "mask-nullable",
        "columns c0: i32?
         params p0: i32
         %0 = load c0
         %1 = valid c0
         %2 = param p0
         %3 = cmp.gt %0, %2
         %4 = and %1, %3
         keep %4
         emit mask",
    ),
    (
        "mask-and-of-three",
        "columns c0: i32?, c1: i64?, c2: f64?
         params p0: i32, p1: i32, p2: i64, p3: f64
         %0 = load c0
         %1 = param p0
         %2 = param p1
         %3 = range %0, %1, %2
         %4 = valid c0
         %5 = and %3, %4
         %6 = load c1
         %7 = param p2
         %8 = cmp.lt %6, %7
         %9 = valid c1
         %10 = and %8, %9
         %11 = load c2
         %12 = param p3
         %13 = cmp.ge.total %11, %12
         %14 = valid c2
         %15 = and %13, %14
         %16 = and %5, %10
         %17 = and %16, %15
         keep %17
         emit mask",
    ),
    (
        "mask-narrow",
        "columns c0: i8, c1: u16, c2: mask
         params p0: i8, p1: u16
         %0 = load c0
         %1 = param p0
         %2 = cmp.eq %0, %1
         %3 = load c1
         %4 = param p1
         %5 = cmp.le %3, %4
         %6 = or %2, %5
         %7 = load c2
         %8 = xor %6, %7
         keep %8
         emit mask",
    ),
    (
        "mask-traps",
        "columns c0: i32?, c1: i32?
         params p0: i32
         %0 = load c0
         %1 = load c1
         %2 = valid c0
         %3 = valid c1
         %4 = and %2, %3
         %5 = const i32 0
         %6 = cmp.eq %1, %5
         %7 = and %6, %4
         %8 = trap.divide_by_zero %7, ordinal 1
         %9 = overflow.div %0, %1
         %10 = and %9, %4
         %11 = trap.overflow %10, ordinal 2
         %12 = div %0, %1
         %13 = param p0
         %14 = cmp.gt %12, %13
         %15 = and %14, %4
         keep %15
         emit mask",
    ),
    (
        "mask-decimal",
        "columns c0: i128?
         params p0: i128, p1: i128
         %0 = load c0
         %1 = valid c0
         %2 = param p0
         %3 = param p1
         %4 = range %0, %2, %3
         %5 = and %4, %1
         keep %5
         emit mask",
    ),
    (
        "mask-dictionary",
        "columns c0: i8?
         tables t0: mask, t1: i64
         %0 = load c0
         %1 = valid c0
         %2 = in_bounds t1, %0
         %3 = andnot %1, %2
         %4 = trap.invalid_key %3, ordinal 0
         %5 = lookup t0, %0
         %6 = and %5, %1
         keep %6
         emit mask",
    ),
    (
        "mask-in-set",
        "columns c0: i64?
         sets s0: i64
         %0 = load c0
         %1 = valid c0
         %2 = in_set s0, %0
         %3 = and %2, %1
         keep %3
         emit mask",
    ),
    (
        "columns",
        "columns c0: i32?, c1: i32
         params p0: i32
         %0 = load c0
         %1 = valid c0
         %2 = load c1
         %3 = add %0, %2
         %4 = overflow.add %0, %2
         %5 = and %4, %1
         %6 = trap.overflow %5, ordinal 1
         %7 = param p0
         %8 = cmp.lt %3, %7
         output %3 valid %1
         output %8 valid %1",
    ),
    (
        "columns-floats",
        "columns c0: f64?, c1: f32
         params p0: f64
         %0 = load c0
         %1 = valid c0
         %2 = load c1
         %3 = cast.wrap %2 to f64
         %4 = param p0
         %5 = mul %0, %4
         %6 = add %5, %3
         %7 = cast.saturate %6 to i64
         %8 = cast.fails %6 to i64
         %9 = andnot %1, %8
         %10 = round %6
         %11 = neg %10
         output %7 valid %9
         output %11 valid %1",
    ),
    (
        "columns-remainders",
        "columns c0: f64, c1: f64, c2: i128, c3: i128
         %0 = load c0
         %1 = load c1
         %2 = rem %0, %1
         %3 = load c2
         %4 = load c3
         %5 = floordiv %3, %4
         %6 = rescale.half_away %3 by -4
         %7 = cast.wrap %5 to f32
         output %2
         output %5
         output %6
         output %7",
    ),
    (
        "columns-digits",
        "columns c0: f64?, c1: f32
         %0 = load c0
         %1 = valid c0
         %2 = digits %0 by 2
         %3 = load c1
         %4 = cast.wrap %3 to f64
         %5 = digits %4 by 38
         output %2 valid %1
         output %5",
    ),
    (
        "compact",
        "columns c0: i32
         params p0: i32
         %0 = load c0
         %1 = param p0
         %2 = cmp.gt %0, %1
         keep %2
         output %0",
    ),
    (
        "compact-nullable",
        "columns c0: i32?, c1: f64?, c2: mask?
         params p0: i32
         %0 = load c0
         %1 = valid c0
         %2 = param p0
         %3 = cmp.gt %0, %2
         %4 = and %1, %3
         %5 = load c1
         %6 = valid c1
         %7 = load c2
         %8 = valid c2
         keep %4
         emit mask
         output %5 valid %6
         output %7 valid %8",
    ),
    (
        "compact-eight",
        "columns c0: i32, c1: i64, c2: f64, c3: i16, c4: i8, c5: i128, c6: f32, c7: i32
         params p0: i32
         %0 = load c0
         %1 = param p0
         %2 = cmp.gt %0, %1
         %3 = load c1
         %4 = load c2
         %5 = load c3
         %6 = load c4
         %7 = load c5
         %8 = load c6
         %9 = load c7
         keep %2
         output %0
         output %3
         output %4
         output %5
         output %6
         output %7
         output %8
         output %9",
    ),
    (
        "compact-computed",
        "columns c0: i64?, c1: i64?
         params p0: i64
         %0 = load c0
         %1 = load c1
         %2 = valid c0
         %3 = valid c1
         %4 = and %2, %3
         %5 = param p0
         %6 = cmp.gt %0, %5
         %7 = and %6, %2
         %8 = and %7, %4
         %9 = overflow.mul %0, %1
         %10 = and %9, %8
         %11 = trap.overflow %10, ordinal 3
         %12 = mul %0, %1
         keep %7
         output %12 valid %4",
    ),
    (
        "compact-loops",
        "columns c0: i128?, c1: i32
         params p0: i32
         %0 = load c0
         %1 = valid c0
         %2 = load c1
         %3 = param p0
         %4 = cmp.gt %2, %3
         %5 = rescale.half_away %0 by -2
         keep %4
         output %5 valid %1",
    ),
];

/// All shapes, parsed and verified.
pub(crate) fn shapes() -> impl Iterator<Item = (&'static str, Program)> {
    SHAPES.iter().map(|(name, text)| {
        let program: Program = text
            .parse()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        verify(&program).unwrap_or_else(|error| panic!("{name}: {error}"));
        (*name, program)
    })
}

/// The text of each shape, and those that are made from no program.
#[allow(dead_code)] // not all tests that include this file have need of it
pub(crate) fn modules() -> impl Iterator<Item = (&'static str, Module)> {
    let lowered = shapes().map(|(name, program)| {
        let module = lower(&program).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, module)
    });
    lowered.chain([
        ("strings-i32", compact_strings(Offsets::I32)),
        ("strings-i64", compact_strings(Offsets::I64)),
        ("copy-counted", copy_counted()),
        ("empty", empty()),
    ])
}
