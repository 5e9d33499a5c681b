//! docs/card/operations.toml: every case, through bytecode, DMA and the interpreter.

use std::collections::BTreeMap;

use unlade_sim_card::Config;

use crate::encode::{absent, descriptor, memory, run};
use crate::host::Host;
use crate::program::{Bytecode, MASK, buffer, immediate, indexed, load, store, word};

const OPERATIONS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/card/operations.toml"
));

const NAMES: [(&str, u16); 35] = [
    ("NEG", 10),
    ("ABS", 11),
    ("ROUND", 12),
    ("ADD", 20),
    ("SUB", 21),
    ("MUL", 22),
    ("DIV", 23),
    ("REM", 24),
    ("FLOORDIV", 25),
    ("OVERFLOW_ADD", 30),
    ("OVERFLOW_SUB", 31),
    ("OVERFLOW_MUL", 32),
    ("OVERFLOW_DIV", 33),
    ("CMP_EQ", 40),
    ("CMP_NE", 41),
    ("CMP_LT", 42),
    ("CMP_LE", 43),
    ("CMP_GT", 44),
    ("CMP_GE", 45),
    ("RANGE", 50),
    ("CAST_WRAP", 60),
    ("CAST_SATURATE", 61),
    ("CAST_FAILS", 62),
    ("RESCALE", 70),
    ("RESCALE_FAILS", 71),
    ("DIGITS", 72),
    ("SELECT", 80),
    ("AND", 90),
    ("OR", 91),
    ("ANDNOT", 92),
    ("XOR", 93),
    ("NOT", 94),
    ("LOOKUP", LOOKUP),
    ("IN_BOUNDS", IN_BOUNDS),
    ("IN_SET", IN_SET),
];

const LOOKUP: u16 = 100;
const IN_BOUNDS: u16 = 101;
const IN_SET: u16 = 102;

const TYPES: [&str; 12] = [
    "mask", "i8", "i16", "i32", "i64", "i128", "u8", "u16", "u32", "u64", "f32", "f64",
];

/// What all cases of a group have in common: they are the rows of one RUN.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    operation: u16,
    operand: u8,
    result: u8,
    variant: u8,
    immediate: i32,
    /// Of the table or set, bits.
    entries: Vec<u128>,
}

/// Sources and result, as bits.
type Case = (Vec<u128>, u128);

fn parse(line: &str) -> (Group, Case) {
    let (head, tail) = line.split_once(" : ").expect(line);
    let head: Vec<&str> = head.split(' ').collect();
    let ty = |name: &str| {
        let at = TYPES.iter().position(|ty| *ty == name).expect(line);
        u8::try_from(at + 1).unwrap()
    };
    let bits = |text: &str| u128::from_str_radix(text, 16).expect(line);
    let (sources, result) = tail.split_once(" = ").expect(line);
    let (sources, entries) = sources.split_once(" |").unwrap_or((sources, ""));
    let group = Group {
        operation: NAMES
            .iter()
            .find(|(name, _)| *name == head[0])
            .expect(line)
            .1,
        operand: ty(head[1]),
        result: ty(head[2]),
        variant: head[3].parse().unwrap(),
        immediate: head[4].parse().unwrap(),
        entries: entries.split_whitespace().map(bits).collect(),
    };
    (
        group,
        (sources.split(' ').map(bits).collect(), bits(result)),
    )
}

impl Group {
    const SELECT: u16 = 80;

    fn source_type(&self, source: usize) -> u8 {
        if self.operation == Self::SELECT && source == 0 {
            MASK
        } else {
            self.operand
        }
    }

    /// The type of what is stored: of CAST_FAILS a mask.
    fn stored(&self) -> u8 {
        if self.operation == 62 {
            MASK
        } else {
            self.result
        }
    }

    /// Types of tables and sets.
    fn entries(&self) -> (Vec<u8>, Vec<u8>) {
        const U8: u8 = 7;
        match self.operation {
            LOOKUP => (vec![self.result], vec![]),
            IN_BOUNDS => (vec![U8], vec![]),
            IN_SET => (vec![], vec![self.operand]),
            _ => (vec![], vec![]),
        }
    }

    fn program(&self, sources: usize) -> Vec<u8> {
        let columns: Vec<u8> = (0..sources)
            .map(|source| self.source_type(source))
            .collect();
        let mut bytecode = Bytecode {
            columns: columns.iter().map(|&ty| (ty, 0)).collect(),
            outputs: vec![(self.stored(), 0)],
            tables: self.entries().0,
            sets: self.entries().1,
            ..Bytecode::default()
        };
        for (register, &ty) in (0..).zip(&columns) {
            bytecode.words.push(load(ty, register, register.into()));
        }
        let registers = [&[5u8][..], &[0, 1, 2][..sources]].concat();
        let operation = word(self.operation, self.operand, self.result, &registers);
        let mut operation = immediate(operation, self.immediate);
        operation[4] = self.variant;
        bytecode.words.push(indexed(operation, 0));
        bytecode.words.push(store(self.stored(), 5, 0));
        bytecode.bytes()
    }
}

#[test]
fn every_case_of_the_document_has_its_bits() {
    let text: toml::Table = OPERATIONS.parse().unwrap();
    let mut groups: BTreeMap<Group, Vec<Case>> = BTreeMap::new();
    let mut count = 0;
    for line in text["cases"].as_array().unwrap() {
        let (group, case) = parse(line.as_str().unwrap());
        groups.entry(group).or_default().push(case);
        count += 1;
    }
    assert!(count > 3000, "{count} cases");

    let mut host = Host::new(Config::default());
    for (group, cases) in &groups {
        let sources = cases[0].0.len();
        let program = host.load_well(&group.program(sources));
        let mut arguments = Vec::new();
        for source in 0..sources {
            let values: Vec<u128> = cases.iter().map(|case| case.0[source]).collect();
            let values = buffer(group.source_type(source), &values);
            arguments.push(memory(host.place(&values), values.len()));
            arguments.push(absent());
        }
        let (tables, sets) = group.entries();
        for ty in tables.into_iter().chain(sets) {
            let entries = buffer(ty, &group.entries);
            arguments.push(memory(host.place(&entries), entries.len()));
        }
        let wanted: Vec<u128> = cases.iter().map(|case| case.1).collect();
        let wanted = buffer(group.stored(), &wanted);
        let output = host.allocate(wanted.len().try_into().unwrap(), 64);
        arguments.push(memory(output, wanted.len()));
        arguments.push(absent());
        let result = host.allocate(24, 8);
        let rows = cases.len().try_into().unwrap();
        let done = host.job(&descriptor(&[run(rows, program, result, 0, &arguments)], 0));
        assert_eq!(done.outcome(), (0, 1, 0), "{group:?}");
        let stored = host.read(output, wanted.len());
        assert_eq!(stored, wanted, "{group:?}: {cases:x?}");
        let mut drop = crate::encode::entry(0x05);
        drop[32..36].copy_from_slice(&program.to_le_bytes());
        assert_eq!(host.admin(drop).status, 0);
    }
}
