//! Passes by example. That they keep results, on random programs and inputs, is tested beside the
//! interpreter, in `unlade-naive`.

use super::*;

const INPUTS: &str = "columns c0: i32?, c1: mask, c2: f64, c3: mask, c4: f32\n\
                      %0 = load c0\n%1 = load c1\n%2 = load c2\n%3 = load c3\n%4 = valid c0\n\
                      %5 = load c4\n";

fn program(text: &str) -> Program {
    let program: Program = text.parse().unwrap();
    crate::verify(&program).unwrap();
    program
}

/// What `result` becomes, an expression whose last line is `%9 = ...`, printed as one instruction
/// or value of the inputs.
fn folded(lines: &str) -> String {
    let mut program = program(&format!("{INPUTS}{lines}output %9\n"));
    optimise(&mut program);
    let value = program.outputs[0].value;
    program.insts[value.index()].to_string()
}

#[test]
fn masks_fold() {
    let with = |op: &str, left: &str, right: &str| {
        folded(&format!(
            "%6 = const mask false\n%7 = const mask true\n%8 = not %1\n%9 = {op} {left}, {right}\n"
        ))
    };
    for (op, left, right, wanted) in [
        ("and", "%1", "%7", "load c1"),
        ("and", "%7", "%1", "load c1"),
        ("and", "%1", "%6", "const mask false"),
        ("and", "%6", "%1", "const mask false"),
        ("and", "%1", "%1", "load c1"),
        ("and", "%1", "%8", "const mask false"),
        ("or", "%1", "%6", "load c1"),
        ("or", "%6", "%1", "load c1"),
        ("or", "%1", "%7", "const mask true"),
        ("or", "%1", "%1", "load c1"),
        ("or", "%8", "%1", "const mask true"),
        ("andnot", "%1", "%6", "load c1"),
        ("andnot", "%1", "%7", "const mask false"),
        ("andnot", "%6", "%1", "const mask false"),
        ("andnot", "%7", "%1", "not %0"),
        ("andnot", "%1", "%1", "const mask false"),
        ("andnot", "%1", "%8", "load c1"),
        ("xor", "%1", "%6", "load c1"),
        ("xor", "%7", "%1", "not %0"),
        ("xor", "%1", "%1", "const mask false"),
        ("xor", "%1", "%8", "const mask true"),
        ("xor", "%7", "%7", "const mask false"),
    ] {
        assert_eq!(with(op, left, right), wanted, "{op} {left}, {right}");
    }
}

#[test]
fn selects_fold() {
    let with = |operands: &str| {
        folded(&format!(
            "%6 = const mask false\n%7 = const mask true\n%8 = not %1\n%9 = select {operands}\n"
        ))
    };
    for (operands, wanted) in [
        ("%7, %0, %0", "load c0"),
        ("%1, %0, %0", "load c0"),
        ("%7, %1, %3", "load c1"),
        ("%6, %1, %3", "load c3"),
        ("%1, %7, %6", "load c1"),
        ("%1, %6, %7", "not %0"),
        ("%1, %7, %3", "or %0, %1"),
        ("%1, %6, %3", "andnot %1, %0"),
        ("%1, %3, %6", "and %0, %1"),
        ("%8, %3, %4", "select %0, %2, %1"),
    ] {
        assert_eq!(with(operands), wanted, "{operands}");
    }
}

#[test]
fn negations_and_casts_fold() {
    for (first, second, wanted) in [
        ("not %1", "not %8", "load c1"),
        ("neg %0", "neg %8", "load c0"),
        ("neg %0", "abs %8", "abs %0"),
        ("abs %2", "abs %8", "abs %0"),
        ("round %2", "round %8", "round %0"),
        ("cast.wrap %0 to i64", "cast.wrap %8 to i32", "load c0"),
        (
            "cast.wrap %0 to i64",
            "cast.wrap %8 to f64",
            "cast.wrap %0 to f64",
        ),
        (
            "cast.wrap %0 to i64",
            "cast.wrap %8 to u16",
            "cast.wrap %0 to u16",
        ),
        (
            "cast.wrap %0 to i16",
            "cast.wrap %8 to i8",
            "cast.wrap %0 to i8",
        ),
        (
            "cast.wrap %0 to i16",
            "cast.wrap %8 to i64",
            "cast.wrap %1 to i64",
        ),
        (
            "cast.wrap %0 to i16",
            "cast.wrap %8 to f64",
            "cast.wrap %1 to f64",
        ),
        (
            "cast.wrap %0 to f32",
            "cast.wrap %8 to f64",
            "cast.wrap %1 to f64",
        ),
        (
            "cast.wrap %1 to f32",
            "cast.wrap %8 to f64",
            "cast.wrap %0 to f64",
        ),
        (
            "cast.wrap %5 to f64",
            "cast.wrap %8 to f32",
            "cast.wrap %1 to f32",
        ),
        (
            "cast.wrap %5 to f64",
            "cast.saturate %8 to i8",
            "cast.saturate %0 to i8",
        ),
        (
            "cast.wrap %0 to i64",
            "cast.fails %8 to i128",
            "const mask false",
        ),
        (
            "cast.wrap %0 to i64",
            "cast.fails %8 to i8",
            "cast.fails %1 to i8",
        ),
        ("cmp.lt %0, %0", "not %8", "const mask true"),
        ("cmp.eq %2, %2", "not %8", "cmp.ne %0, %0"),
        ("cmp.lt %2, %2", "not %8", "not %1"),
        ("cmp.lt.spark %2, %2", "not %8", "const mask true"),
        ("neg %2", "cmp.lt.total %2, %8", "cmp.lt.total %0, %1"),
    ] {
        let found = folded(&format!(
            "%6 = valid c1\n%7 = valid c2\n%8 = {first}\n%9 = {second}\n"
        ));
        assert_eq!(found, wanted, "{first}; {second}");
    }
}

#[test]
fn integers_fold_and_floats_do_not() {
    for (constant, second, wanted) in [
        ("i32 0", "add %0, %8", "load c0"),
        ("i32 0", "add %8, %0", "load c0"),
        ("i32 0", "sub %8, %0", "sub %1, %0"),
        ("i32 1", "mul %8, %0", "load c0"),
        ("i32 0", "mul %0, %8", "const i32 0"),
        ("i32 0", "div %0, %8", "const i32 0"),
        ("i32 1", "floordiv %0, %8", "load c0"),
        ("i32 1", "rem %0, %8", "rem %0, %1"),
        ("i32 0", "overflow.add %0, %8", "const mask false"),
        ("i32 -1", "overflow.div %0, %8", "overflow.div %0, %1"),
        ("i32 7", "overflow.div %0, %8", "const mask false"),
        ("f64 0.0", "add %2, %8", "add %0, %1"),
        ("f64 1.0", "mul %2, %8", "mul %0, %1"),
        ("i32 7", "cmp.lt %8, %0", "cmp.gt %0, %1"),
    ] {
        let found = folded(&format!(
            "%6 = valid c1\n%7 = valid c2\n%8 = const {constant}\n%9 = {second}\n"
        ));
        assert_eq!(found, wanted, "{constant}; {second}");
    }
}

#[test]
fn constants_are_computed() {
    let mut program = program(
        "%0 = const i8 100\n%1 = const i8 100\n%2 = add %0, %1\n%3 = overflow.add %0, %1\n\
         %4 = cast.wrap %2 to f32\n%5 = trap.overflow %3, ordinal 1\n%6 = not %3\n\
         %7 = trap.overflow %6, ordinal 2\noutput %4\n",
    );
    optimise(&mut program);
    // The trap that is certain stays, the one that is impossible goes.
    assert_eq!(
        program.to_string(),
        "%0 = const mask true\n%1 = const f32 -56.0\n%2 = trap.overflow %0, ordinal 1\noutput %1\n"
    );
}

#[test]
fn equal_traps_merge_into_the_least_ordinal() {
    let mut program = program(
        "columns c0: mask\n%0 = load c0\n%1 = trap.overflow %0, ordinal 5\n%2 = load c0\n\
         %3 = trap.overflow %2, ordinal 2\n%4 = trap.divide_by_zero %2, ordinal 9\n",
    );
    optimise(&mut program);
    assert_eq!(
        program.to_string(),
        "columns c0: mask\n%0 = load c0\n%1 = trap.overflow %0, ordinal 2\n\
         %2 = trap.divide_by_zero %0, ordinal 9\n"
    );
}

#[test]
fn a_mask_that_is_emitted_stays() {
    let text = "%0 = const mask true\nkeep %0\nemit mask\n";
    let mut emitted = program(text);
    optimise(&mut emitted);
    assert_eq!(emitted.to_string(), text);
}

#[test]
fn only_inputs_that_are_read_are_left() {
    let mut program = program(
        "columns c0: i32, c1: i64?, c2: f32\nparams p0: i8, p1: i32\ntables t0: i8, t1: f32\n\
         sets s0: i8, s1: i32\n%0 = valid c1\n%1 = load c2\n%2 = param p1\n%3 = lookup t1, %2\n\
         %4 = in_set s1, %2\noutput %1 valid %0\noutput %3 valid %4\n",
    );
    let map = drop_unused_inputs(&mut program);
    assert_eq!(
        map,
        InputMap {
            columns: vec![1, 2],
            params: vec![1],
            tables: vec![1],
            sets: vec![1],
        }
    );
    assert_eq!(
        program.to_string(),
        "columns c0: i64?, c1: f32\nparams p0: i32\ntables t0: f32\nsets s0: i32\n%0 = valid c0\n\
         %1 = load c1\n%2 = param p0\n%3 = lookup t0, %2\n%4 = in_set s0, %2\n\
         output %1 valid %0\noutput %3 valid %4\n"
    );
}
