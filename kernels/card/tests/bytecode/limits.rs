//! Programs that a card does not take: refused, with a place to cut that fits.

use unlade_card::{Limits, Refused, disassemble, lower};
use unlade_program::passes::drop_unused_inputs;
use unlade_program::{Op, Output, Program, Val, limits, verify};

use crate::programs::{Insts, parse};
use crate::random::registers;

/// Asserts that the instructions up to the cut are a program that the card takes, and with one more
/// are not.
pub(crate) fn check_cut(program: &Program, limits: &Limits, refused: &Refused) {
    let fits = refused.cut().map_or(0, |cut| cut.index() + 1);
    if fits > 0
        && let Err(again) = lower(&prefix(program, fits), limits)
    {
        panic!("{refused}, but: {again}\n{program}");
    }
    let count = program.insts.len();
    assert!(
        fits < count.max(1),
        "cut behind the last: {refused}\n{program}"
    );
    if fits + 1 < count {
        let more = lower(&prefix(program, fits + 1), limits);
        assert!(more.is_err(), "{refused}, but one more fits\n{program}");
    }
}

/// So many instructions, with what is computed there and read behind them as outputs.
fn prefix(program: &Program, count: usize) -> Program {
    let (before, behind) = program.insts.split_at(count);
    let mut read: Vec<Val> = program.keep.into_iter().collect();
    for inst in behind {
        inst.for_each_operand(|operand| read.push(operand));
    }
    for output in &program.outputs {
        read.extend([output.value].into_iter().chain(output.valid));
    }
    read.sort_unstable();
    read.dedup();
    read.retain(|val| {
        let computes = |inst| {
            !matches!(
                Op::of(inst),
                Op::Load | Op::Validity | Op::Param | Op::Const
            )
        };
        before.get(val.index()).is_some_and(computes)
    });
    let mut prefix = Program {
        insts: before.to_vec(),
        keep: None,
        emit_mask: false,
        outputs: read
            .into_iter()
            .map(|value| Output { value, valid: None })
            .collect(),
        ..program.clone()
    };
    drop_unused_inputs(&mut prefix);
    assert_eq!(verify(&prefix), Ok(()));
    prefix
}

/// The refusal of a program, its cut checked.
fn refusal(program: &Program, limits: &Limits) -> Refused {
    let refused = lower(program, limits).expect_err("more than the card takes");
    check_cut(program, limits, &refused);
    refused
}

/// A column plus each of `count` constants, and the product of these sums, forwards and then
/// backwards: at the turn all of them are needed.
fn wide(count: u32) -> Program {
    let mut insts = Insts::default();
    let column = insts.push("load c0");
    let mut sums = Vec::new();
    for number in 0..count {
        let constant = insts.push(&format!("const i64 {number}"));
        sums.push(insts.push(&format!("add {column}, {constant}")));
    }
    let backwards = sums.clone().into_iter().rev();
    let product = sums
        .into_iter()
        .chain(backwards)
        .fold(column, |all, sum| insts.push(&format!("mul {all}, {sum}")));
    parse(&format!(
        "columns c0: i64\n{}output {product}\n",
        insts.text
    ))
}

#[test]
fn a_program_that_is_too_wide_says_where_to_cut() {
    let card = Limits::LEAST;
    assert!(lower(&wide(14), &card).is_ok());
    let refused = refusal(&wide(40), &card);
    assert!(matches!(refused, Refused::TooWide { .. }), "{refused}");
    let text = refused.to_string();
    assert!(
        text.starts_with("program is too wide for the card: %")
            && text.contains("needs one more than its 16 V registers; it would fit cut after %"),
        "{text}"
    );
    assert!(lower(&wide(40), &registers(48)).is_ok());
}

#[test]
fn each_limit_is_kept() {
    let program = parse(
        "columns c0: i32, c1: i32
         params p0: i32, p1: i32
         tables t0: i32, t1: i32
         sets s0: i32, s1: i32
         %0 = load c0
         %1 = load c1
         %2 = param p0
         %3 = param p1
         %4 = const i32 4
         %5 = const i32 5
         %6 = add %0, %2
         %7 = mul %6, %4
         %8 = lookup t0, %7
         %9 = in_set s0, %8
         %10 = sub %1, %3
         %11 = rem %10, %5
         %12 = lookup t1, %11
         %13 = in_set s1, %12
         output %8 valid %9
         output %12 valid %13
        ",
    );
    let bytes = lower(&program, &Limits::LEAST).unwrap();
    let exact = Limits {
        program_bytes: u32::try_from(bytes.len()).unwrap(),
        words: 16,
        value_registers: 2,
        mask_registers: 1,
        columns: 2,
        params: 2,
        tables: 2,
        sets: 2,
        outputs: 2,
        constants: 2,
    };
    assert_eq!(lower(&program, &exact), Ok(bytes));
    type Tighten = fn(&mut Limits);
    let cases: [(&str, Tighten); 10] = [
        ("bytes are more than its", |it| it.program_bytes -= 1),
        ("16 words are more than its 15", |it| it.words -= 1),
        ("its 1 V registers", |it| it.value_registers -= 1),
        ("its 0 M registers", |it| it.mask_registers -= 1),
        ("2 columns are more than its 1", |it| it.columns -= 1),
        ("2 parameters are more than its 1", |it| it.params -= 1),
        ("2 tables are more than its 1", |it| it.tables -= 1),
        ("2 sets are more than its 1", |it| it.sets -= 1),
        ("2 outputs are more than its 1", |it| it.outputs -= 1),
        ("2 constants are more than its 1", |it| it.constants -= 1),
    ];
    for (wanted, tighten) in cases {
        let mut card = exact;
        tighten(&mut card);
        let refused = refusal(&program, &card);
        assert!(refused.to_string().contains(wanted), "{refused}");
        let registers = wanted.ends_with("registers");
        assert_eq!(
            matches!(refused, Refused::TooWide { .. }),
            registers,
            "{refused}"
        );
        assert!(refused.cut().is_some(), "{refused}");
    }
}

#[test]
fn a_card_without_anything_takes_nothing() {
    let none = Limits {
        program_bytes: 0,
        words: 0,
        value_registers: 0,
        mask_registers: 0,
        columns: 0,
        params: 0,
        tables: 0,
        sets: 0,
        outputs: 0,
        constants: 0,
    };
    let refused = refusal(&parse("columns c0: i8\n%0 = load c0\noutput %0\n"), &none);
    assert_eq!(refused.cut(), None);
    assert_eq!(
        refused.to_string(),
        "program is too large for the card: 1 columns are more than its 0; no part of it fits, run \
         it elsewhere"
    );
    assert!(lower(&Program::default(), &none).is_err());
    assert!(lower(&Program::default(), &Limits::LEAST).is_ok());
}

/// As deep as programs may be: nothing recurses.
#[test]
fn the_longest_program_is_lowered_or_cut() {
    let mut insts = Insts::default();
    let first = insts.push("load c0");
    let last = (1..limits::INSTRUCTIONS).fold(first, |val, _| insts.push(&format!("neg {val}")));
    let program = parse(&format!("columns c0: i8\n{}output {last}\n", insts.text));
    assert_eq!(program.insts.len(), limits::INSTRUCTIONS);
    let bytes = lower(&program, &Limits::FORMAT).unwrap();
    assert_eq!(
        disassemble(&bytes).unwrap().lines().nth(1),
        Some("registers 1 v, 0 m")
    );
    let refused = refusal(&program, &Limits::LEAST);
    // A load, 4094 negations and a store.
    assert_eq!(refused.cut(), Some(Val(4094)));
}

/// What is read behind a cut is an output before it, the filter and validities too; what comes from
/// an input is not.
#[test]
fn outputs_of_a_part_count() {
    let program = parse(
        "columns c0: i32, c1: i32
         %0 = load c0
         %1 = load c1
         %2 = cmp.gt %0, %1
         %3 = cmp.lt %0, %1
         %4 = add %0, %1
         %5 = neg %0
         %6 = neg %1
         keep %2
         output %4 valid %3
         output %5
         output %6",
    );
    for (outputs, cut) in [(2, 3), (1, 2), (0, 1)] {
        let card = Limits {
            outputs,
            ..Limits::LEAST
        };
        assert_eq!(
            refusal(&program, &card).cut(),
            Some(Val(cut)),
            "{outputs} outputs"
        );
    }
}
