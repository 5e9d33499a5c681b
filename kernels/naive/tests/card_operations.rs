//! docs/card/operations.toml, which says what a card has to compute at the edges of its types, and
//! the oracle say the same.

use std::collections::BTreeSet;

use unlade_naive::{Inputs, run};
use unlade_program::{Cell, OPS, Op, OpRow, Program, Ty, verify};

#[test]
fn the_oracle_computes_what_the_document_says() {
    let text = include_str!("../../../docs/card/operations.toml");
    let cases: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix('"')?.strip_suffix("\","))
        .collect();
    let lines = text.lines().filter(|line| line.contains(" : ")).count();
    // Its header describes the form of a case in one line more.
    assert_eq!(
        cases.len(),
        lines - 1,
        "a case is not in the form of the others"
    );
    let mut differ = Vec::new();
    let mut covered = BTreeSet::new();
    for case in cases {
        let case = Case::parse(case);
        let found = case.compute();
        covered.insert(case.cell.op);
        if found != case.result {
            differ.push(format!("{} but the oracle says {found:x}", case.text));
        }
    }
    assert!(
        differ.is_empty(),
        "{} differ:\n{}",
        differ.len(),
        differ.join("\n")
    );
    let missing: Vec<Op> = OPS
        .iter()
        .map(|row| row.op)
        .filter(|op| !covered.contains(op))
        .collect();
    // What depends on an execution's inputs has no case.
    let by_input = [
        Op::Load,
        Op::Validity,
        Op::Param,
        Op::Const,
        Op::Lookup,
        Op::InBounds,
        Op::InSet,
        Op::Trap,
    ];
    assert_eq!(missing, by_input);
}

/// One line: operation, operand type, result type, variant, immediate : sources = result.
struct Case<'a> {
    text: &'a str,
    cell: Cell,
    immediate: i8,
    sources: Vec<u128>,
    result: u128,
}

impl<'a> Case<'a> {
    fn parse(text: &'a str) -> Self {
        let (operation, values) = text.split_once(" : ").expect("` : `");
        let [name, operand, result, variant, immediate] =
            operation.split(' ').collect::<Vec<_>>()[..]
        else {
            panic!("`{text}` has not five fields before its values");
        };
        let (sources, value) = values.split_once(" = ").expect("` = `");
        let bits = |hex| u128::from_str_radix(hex, 16).expect("hex digits");
        Case {
            text,
            cell: Cell {
                op: row(name).op,
                operand: operand.parse().expect("a type"),
                result: result.parse().expect("a type"),
                variant: variant.parse().expect("a number"),
            },
            immediate: immediate.parse().expect("a number"),
            sources: sources.split(' ').map(bits).collect(),
            result: bits(value),
        }
    }

    /// The bits that the oracle computes: by a program of that operation alone, on parameters.
    fn compute(&self) -> u128 {
        let program = self.program();
        let inputs = Inputs {
            rows: 1,
            params: self.sources.iter().map(|bits| bits.to_le_bytes()).collect(),
            ..Inputs::default()
        };
        let outputs = run(&program, &inputs).expect("nothing traps");
        let mut bytes = [0; 16];
        let values = &outputs.columns[0].values;
        bytes[..values.len()].copy_from_slice(values);
        u128::from_le_bytes(bytes)
    }

    fn program(&self) -> Program {
        let Cell {
            op,
            operand,
            result,
            variant,
        } = self.cell;
        let count = self.sources.len();
        let params: Vec<String> = (0..count)
            .map(|index| {
                let mask = op == Op::Select && index == 0;
                format!("p{index}: {}", if mask { Ty::Mask } else { operand })
            })
            .collect();
        let sources: String = (0..count)
            .map(|index| format!("%{index} = param p{index}\n"))
            .collect();
        let operands: Vec<String> = (0..count).map(|index| format!("%{index}")).collect();
        let rule = match (op, variant) {
            (Op::Rescale, 0 | 1) => ".half_away",
            (Op::Rescale, 2) => ".truncate",
            (Op::Rescale, _) => ".floor",
            (_, 0) => "",
            (_, 1) => ".total",
            (_, _) => ".spark",
        };
        let tail = match op {
            Op::CastWrap | Op::CastSaturate | Op::CastFails => format!(" to {result}"),
            Op::Rescale | Op::RescaleFails | Op::Digits => format!(" by {}", self.immediate),
            _ => String::new(),
        };
        let text = format!(
            "params {}\n{sources}%{count} = {op}{rule} {}{tail}\noutput %{count}\n",
            params.join(", "),
            operands.join(", ")
        );
        let program: Program = text
            .parse()
            .unwrap_or_else(|error| panic!("{}: {error}\n{text}", self.text));
        assert_eq!(verify(&program), Ok(()), "{}", self.text);
        let types = program.types();
        let cell = Cell::of(&program, &types, &program.insts[count]);
        assert_eq!(cell, self.cell, "{}", self.text);
        program
    }
}

/// The operation that the document calls `CAST_WRAP` and programs `cast.wrap`.
fn row(name: &str) -> &'static OpRow {
    let in_programs = name.to_lowercase().replace('_', ".");
    let row = OPS.iter().find(|row| row.name == in_programs);
    row.unwrap_or_else(|| panic!("no operation is called {name}"))
}
