//! How few registers typical programs take.

use unlade_card::{Limits, disassemble, lower};
use unlade_naive::generate::Rng;
use unlade_program::Val;

use crate::meaning::Symbols;
use crate::programs::{Insts, parse};
use crate::random::registers;
use crate::reader::read;

/// A value and the mask of the rows on which it is valid.
type Nullable = (Val, Val);

/// Random trees of thirty operators over nullable columns, each checked for overflow, filtered by
/// another such tree: what lowering makes of `SELECT ... WHERE ... > ?` under strict rules.
#[test]
fn an_expression_of_thirty_nodes_fits() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut insts = Insts::default();
        let columns: Vec<Nullable> = (0..6)
            .map(|column| {
                let load = insts.push(&format!("load c{column}"));
                (load, insts.push(&format!("valid c{column}")))
            })
            .collect();
        let everywhere = insts.push("const mask true");
        let (value, valid) = tree(&mut insts, &columns, 30, everywhere, &mut rng);
        let limit = insts.push("param p0");
        let above = insts.push(&format!("cmp.gt {value}, {limit}"));
        let keep = insts.push(&format!("and {above}, {valid}"));
        let (value, valid) = tree(&mut insts, &columns, 30, keep, &mut rng);
        let columns: Vec<String> = (0..6).map(|column| format!("c{column}: i64?")).collect();
        let program = parse(&format!(
            "columns {}\nparams p0: i64\n{}keep {keep}\noutput {value} valid {valid}\n",
            columns.join(", "),
            insts.text
        ));
        let bytes = lower(&program, &Limits::LEAST)
            .unwrap_or_else(|refused| panic!("seed {seed}: {refused}\n{program}"));
        let mut symbols = Symbols::default();
        let meaning = symbols.of_program(&program);
        assert_eq!(symbols.of_bytecode(&bytes), meaning, "seed {seed}");
    }
}

/// A tree of so many operators, which may trap where `scope` is set.
fn tree(
    insts: &mut Insts,
    columns: &[Nullable],
    operators: usize,
    scope: Val,
    rng: &mut Rng,
) -> Nullable {
    let Some(below) = operators.checked_sub(1) else {
        return rng.pick(columns);
    };
    let left = rng.below(below + 1);
    let (x, x_valid) = tree(insts, columns, left, scope, rng);
    let (y, y_valid) = tree(insts, columns, below - left, scope, rng);
    let op = rng.pick(&["add", "sub", "mul"]);
    let value = insts.push(&format!("{op} {x}, {y}"));
    let valid = insts.push(&format!("and {x_valid}, {y_valid}"));
    let overflows = insts.push(&format!("overflow.{op} {x}, {y}"));
    let of_valid = insts.push(&format!("and {valid}, {overflows}"));
    let when = insts.push(&format!("and {scope}, {of_valid}"));
    insts.push(&format!("trap.overflow {when}, ordinal {operators}"));
    (value, valid)
}

/// Each output is stored as soon as it is there and the filter is, so any number of them fits.
#[test]
fn outputs_do_not_wait_for_each_other() {
    let mut insts = Insts::default();
    let column = insts.push("load c0");
    let mut outputs = String::new();
    for number in 0..60 {
        let constant = insts.push(&format!("const i32 {number}"));
        let sum = insts.push(&format!("add {column}, {constant}"));
        outputs += &format!("output {sum}\n");
    }
    // The filter is last in the program, and first on the card.
    let limit = insts.push("param p0");
    let keep = insts.push(&format!("cmp.gt {column}, {limit}"));
    let program = parse(&format!(
        "columns c0: i32\nparams p0: i32\n{}keep {keep}\n{outputs}",
        insts.text
    ));
    let bytes = lower(&program, &Limits::LEAST).unwrap();
    assert_eq!(read(&bytes).registers, [2, 1]);
}

/// The last thing to be done with a mask or value is done where it is made, the filter and outputs
/// included: no register is held for them over the traps that the program has before them.
#[test]
fn the_filter_and_outputs_come_as_soon_as_they_can() {
    let program = parse(
        "columns c0: i64, c1: i64?
         %0 = load c0
         %1 = load c1
         %2 = cmp.gt %0, %1
         %3 = overflow.add %0, %1
         %4 = and %2, %3
         %5 = trap.overflow %4, ordinal 1
         %6 = overflow.sub %0, %1
         %7 = trap.overflow %6, ordinal 2
         %8 = not %2
         %9 = mul %0, %1
         %10 = overflow.mul %9, %0
         %11 = trap.overflow %10, ordinal 3
         %12 = neg %9
         %13 = overflow.mul %0, %1
         %14 = trap.overflow %13, ordinal 4
         %15 = valid c1
         keep %8
         output %0
         output %12 valid %15",
    );
    let text = disassemble(&lower(&program, &Limits::LEAST).unwrap()).unwrap();
    let ends: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(_, word)| word)
        .filter(|word| {
            ["keep", "store", "trap"]
                .iter()
                .any(|end| word.starts_with(end))
        })
        .collect();
    assert_eq!(
        ends,
        [
            "keep m0",
            "store o0, v0",
            "trap.overflow m1, ordinal 1",
            "trap.overflow m0, ordinal 2",
            "store o1, v2 valid m1",
            "trap.overflow m0, ordinal 3",
            "trap.overflow m0, ordinal 4",
        ],
        "{text}"
    );
}

/// An output that is there before the filter is stored right behind it.
#[test]
fn outputs_that_are_there_come_right_behind_the_filter() {
    let program = parse(
        "columns c0: i64, c1: i64?
         %0 = load c0
         %1 = load c1
         %2 = mul %0, %1
         %3 = cmp.gt %2, %0
         %4 = neg %2
         %5 = overflow.sub %0, %1
         %6 = trap.overflow %5, ordinal 1
         %7 = valid c1
         keep %3
         output %4 valid %7",
    );
    let text = disassemble(&lower(&program, &Limits::LEAST).unwrap()).unwrap();
    let words: Vec<&str> = text.lines().skip(4).collect();
    assert_eq!(
        words,
        [
            "0: v0: i64 = load c0",
            "1: v1: i64 = load c1",
            "2: v2: i64 = mul v0, v1",
            "3: m0 = cmp.gt v2, v0",
            "4: v2: i64 = neg v2",
            "5: keep m0",
            "6: m0 = valid c1",
            "7: store o0, v2 valid m0",
            "8: m0 = overflow.sub v0, v1",
            "9: trap.overflow m0, ordinal 1",
        ]
    );
}

/// What comes from inputs gives way: thirty columns in two registers.
#[test]
fn sources_are_read_again_where_registers_are_short() {
    let mut insts = Insts::default();
    let columns: Vec<Val> = (0..30)
        .map(|column| insts.push(&format!("load c{column}")))
        .collect();
    let mut product = insts.push(&format!("mul {}, {}", columns[0], columns[1]));
    for column in columns.iter().chain(&columns) {
        product = insts.push(&format!("mul {product}, {column}"));
    }
    let declared: Vec<String> = (0..30).map(|column| format!("c{column}: i64")).collect();
    let program = parse(&format!(
        "columns {}\n{}output {product}\n",
        declared.join(", "),
        insts.text
    ));
    let words = |count| {
        read(&lower(&program, &registers(count)).unwrap())
            .words
            .len()
    };
    // 61 products and a store; of two registers one has the product, and columns take turns in the
    // other. Only the first is still there when it is needed again.
    assert_eq!(words(32), 30 + 62);
    assert_eq!(words(2), 2 + 59 + 62);
    let between = words(16);
    assert!((words(32) + 1..words(2)).contains(&between), "{between}");
    assert!(lower(&program, &registers(1)).is_err());
}
