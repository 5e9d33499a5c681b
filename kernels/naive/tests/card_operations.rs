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
    let by_input = [Op::Load, Op::Validity, Op::Param, Op::Const, Op::Trap];
    assert_eq!(missing, by_input);
}

/// One line: operation, operand type, result type, variant, immediate : sources | entries = result.
struct Case<'a> {
    text: &'a str,
    cell: Cell,
    immediate: i8,
    sources: Vec<u128>,
    /// Of the table or set.
    entries: Vec<u128>,
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
        let (sources, entries) = sources.split_once(" |").unwrap_or((sources, ""));
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
            entries: entries.split_whitespace().map(bits).collect(),
            result: bits(value),
        }
    }

    /// The bits that the oracle computes: by a program of that operation alone, on parameters.
    fn compute(&self) -> u128 {
        let program = self.program();
        let entries = self.bytes_of_entries();
        let one = |is_one: bool| is_one.then_some(entries.as_slice()).into_iter().collect();
        let inputs = Inputs {
            rows: 1,
            tables: one(!program.tables.is_empty()),
            sets: one(!program.sets.is_empty()),
            params: self.sources.iter().map(|bits| bits.to_le_bytes()).collect(),
            ..Inputs::default()
        };
        let outputs = run(&program, &inputs).expect("nothing traps");
        let mut bytes = [0; 16];
        let values = &outputs.columns[0].values;
        bytes[..values.len()].copy_from_slice(values);
        u128::from_le_bytes(bytes)
    }

    /// The type of what is in the table or set, where the operation has one.
    fn entry(&self) -> Option<Ty> {
        match self.cell.op {
            Op::Lookup => Some(self.cell.result),
            Op::InBounds => Some(Ty::U8),
            Op::InSet => Some(self.cell.operand),
            _ => None,
        }
    }

    fn bytes_of_entries(&self) -> Vec<u8> {
        match self.entry() {
            Some(Ty::Mask) => {
                let byte = |bits: &[u128]| {
                    let bit = |(at, bit): (usize, &u128)| u8::from(*bit == 1) << at;
                    bits.iter().enumerate().map(bit).sum()
                };
                self.entries.chunks(8).map(byte).collect()
            }
            Some(ty) => {
                let width = ty.bytes_for(1) as usize;
                let bytes = |entry: &u128| entry.to_le_bytes().into_iter().take(width);
                self.entries.iter().flat_map(bytes).collect()
            }
            None => Vec::new(),
        }
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
        let (declared, named) = match (op, self.entry()) {
            (Op::InSet, Some(ty)) => (format!("sets s0: {ty}\n"), "s0, "),
            (_, Some(ty)) => (format!("tables t0: {ty}\n"), "t0, "),
            (_, None) => (String::new(), ""),
        };
        let text = format!(
            "params {}\n{declared}{sources}%{count} = {op}{rule} {named}{}{tail}\noutput %{count}\n",
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
    let plain = |name: &str| name.to_lowercase().replace('_', ".");
    let row = OPS.iter().find(|row| plain(row.name) == plain(name));
    row.unwrap_or_else(|| panic!("no operation is called {name}"))
}
