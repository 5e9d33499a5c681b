//! Programs that are typical of queries, and those of docs/card/vectors.toml.

use std::fmt::Write as _;

use unlade_program::{Program, Val, verify};

/// Names, which golden files have too, and programs in their text form.
const TYPICAL: [(&str, &str); 4] = [
    // a BETWEEN ? AND ? AND b < ?, as a mask.
    (
        "mask",
        "columns c0: i32?, c1: f64?
         params p0: i32, p1: i32, p2: f64
         %0 = load c0
         %1 = valid c0
         %2 = param p0
         %3 = param p1
         %4 = range %0, %2, %3
         %5 = and %1, %4
         %6 = load c1
         %7 = valid c1
         %8 = param p2
         %9 = cmp.lt.total %6, %8
         %10 = and %7, %5
         %11 = and %9, %10
         keep %11
         emit mask",
    ),
    // TPC-H's sixth query: price * discount WHERE date, discount and quantity are in range.
    (
        "filter",
        "columns c0: i32?, c1: f64?, c2: i64?, c3: f64?
         params p0: f64, p1: f64, p2: i32, p3: i32, p4: i64
         %0 = load c0
         %1 = valid c0
         %2 = load c1
         %3 = valid c1
         %4 = param p0
         %5 = cmp.ge.total %2, %4
         %6 = param p1
         %7 = cmp.le.total %2, %6
         %8 = load c2
         %9 = valid c2
         %10 = param p2
         %11 = param p3
         %12 = range %0, %10, %11
         %13 = and %1, %12
         %14 = and %3, %13
         %15 = and %5, %14
         %16 = and %7, %15
         %17 = param p4
         %18 = cmp.lt %8, %17
         %19 = and %9, %16
         %20 = and %18, %19
         %21 = load c3
         %22 = valid c3
         %23 = mul %2, %21
         %24 = and %3, %22
         keep %20
         output %23 valid %24",
    ),
    // (a + b) * (a - ?), checked.
    (
        "checked",
        "columns c0: i32?, c1: i32?
         params p0: i32
         %0 = load c0
         %1 = valid c0
         %2 = load c1
         %3 = valid c1
         %4 = add %0, %2
         %5 = and %1, %3
         %6 = overflow.add %0, %2
         %7 = and %5, %6
         %8 = trap.overflow %7, ordinal 6
         %9 = param p0
         %10 = sub %0, %9
         %11 = overflow.sub %0, %9
         %12 = and %1, %11
         %13 = trap.overflow %12, ordinal 9
         %14 = mul %4, %10
         %15 = and %1, %5
         %16 = overflow.mul %4, %10
         %17 = and %15, %16
         %18 = trap.overflow %17, ordinal 10
         output %14 valid %15",
    ),
    // A dictionary, a set, a decimal, casts and constants.
    (
        "kinds",
        "columns c0: u8?, c1: f64, c2: i128?
         tables t0: i32
         sets s0: i32
         %0 = load c0
         %1 = valid c0
         %2 = in_bounds t0, %0
         %3 = andnot %1, %2
         %4 = trap.invalid_key %3, ordinal 0
         %5 = lookup t0, %0
         %6 = in_set s0, %5
         %7 = and %1, %6
         %8 = load c1
         %9 = cast.saturate %8 to i16
         %10 = cast.fails %8 to i16
         %11 = not %10
         %12 = digits %8 by 2
         %13 = load c2
         %14 = valid c2
         %15 = rescale.half_away %13 by -2
         %16 = add %12, %15
         %17 = const f64 1.5
         %18 = cmp.gt.spark %8, %17
         %19 = const i128 -1
         %20 = select %18, %16, %19
         %21 = rescale.fails %20 by 3
         %22 = rescale.truncate %20 by 3
         %23 = andnot %14, %21
         keep %7
         emit mask
         output %9 valid %11
         output %22 valid %23
         output %18",
    ),
];

/// The bytecode vectors of that name and what they were written from.
pub(crate) const VECTORS: [(&str, &str); 5] = [
    (
        "program_mask",
        "columns c0: i32?
         params p0: i32
         %0 = load c0
         %1 = param p0
         %2 = cmp.gt %0, %1
         %3 = valid c0
         %4 = and %2, %3
         keep %4
         emit mask",
    ),
    (
        "program_add",
        "columns c0: i32?, c1: i32?
         %0 = load c0
         %1 = load c1
         %2 = valid c0
         %3 = valid c1
         %4 = and %2, %3
         %5 = overflow.add %0, %1
         %6 = and %5, %4
         %7 = trap.overflow %6, ordinal 2
         %8 = add %0, %1
         output %8 valid %4",
    ),
    (
        "program_decimal",
        "columns c0: i128?, c1: i64
         params p0: i64
         %0 = load c1
         %1 = param p0
         %2 = const i64 1000
         %3 = range %0, %1, %2
         %4 = load c0
         %5 = rescale.half_away %4 by -2
         %6 = valid c0
         keep %3
         output %5 valid %6
         output %0",
    ),
    (
        "program_mix",
        "columns c0: f64, c1: mask, c2: u8
         params p0: f64
         tables t0: i32
         sets s0: u8
         %0 = load c0
         %1 = param p0
         %2 = cmp.le.spark %0, %1
         %3 = digits %0 by 2
         %4 = cast.fails %0 to u8
         %5 = not %4
         %6 = load c1
         %7 = const f64 0x7ff8000000000001
         %8 = select %6, %0, %7
         %9 = load c2
         %10 = lookup t0, %9
         %11 = in_set s0, %9
         keep %2
         output %3 valid %5
         output %8
         output %10
         output %11",
    ),
    (
        "program_trap",
        "params p0: mask
         %0 = param p0
         %1 = trap.decimal_precision %0, ordinal 2147483648
         %2 = trap.invalid_key %0, ordinal 5
         %3 = trap.overflow %0, ordinal 4294967295",
    ),
];

/// The typical programs by name.
pub(crate) fn typical() -> impl Iterator<Item = (&'static str, Program)> {
    TYPICAL.iter().map(|&(name, text)| (name, parse(text)))
}

/// A program of its text form.
pub(crate) fn parse(text: &str) -> Program {
    let program: Program = text
        .parse()
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    verify(&program).unwrap_or_else(|error| panic!("{error}\n{text}"));
    program
}

/// The text of instructions.
#[derive(Default)]
pub(crate) struct Insts {
    pub(crate) text: String,
    count: u32,
}

impl Insts {
    pub(crate) fn push(&mut self, inst: &str) -> Val {
        let val = Val(self.count);
        writeln!(self.text, "{val} = {inst}").unwrap();
        self.count += 1;
        val
    }
}
