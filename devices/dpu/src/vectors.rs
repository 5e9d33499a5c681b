//! The examples of docs/card/vectors.toml, read by the driver: what it writes it makes from their
//! fields, and what a card writes it takes apart.
#![allow(clippy::print_stdout)] // how many were read is what the test reports

#[path = "../../../kernels/card/src/bytecode/tests/kinds.rs"]
mod compiler;
#[path = "../tests/executions/kinds.rs"]
mod executions;
#[path = "../../../kernels/card/tests/bytecode/programs.rs"]
#[allow(dead_code)] // those of the vectors are used
mod programs;

use std::collections::BTreeMap;

use crate::entry::Operand;
use crate::iova::Iova;
use crate::{
    checksum, command, completion, entry, error_log, health_log, identity, job, pci, registers,
    status,
};

/// An example.
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) hex: Vec<u8>,
    /// What a descriptor runs.
    pub(crate) program: Option<&'static str>,
    fields: BTreeMap<&'static str, &'static str>,
}

impl Vector {
    pub(crate) fn text(&self, field: &str) -> &'static str {
        let missing = || panic!("{}: there is no field {field}", self.name);
        self.fields.get(field).copied().unwrap_or_else(missing)
    }

    /// A number of up to 16 bytes; a negative one as two's complement.
    pub(crate) fn number(&self, field: &str) -> u128 {
        let text = self.text(field);
        let parsed = match text.strip_prefix("0x") {
            Some(digits) => u128::from_str_radix(digits, 16),
            None => text
                .parse()
                .or_else(|_| text.parse().map(i128::cast_unsigned)),
        };
        parsed.unwrap_or_else(|_| panic!("{}: {field} is no number: {text}", self.name))
    }

    pub(crate) fn u64(&self, field: &str) -> u64 {
        self.number(field).try_into().expect("eight bytes")
    }

    pub(crate) fn u32(&self, field: &str) -> u32 {
        self.number(field).try_into().expect("four bytes")
    }

    /// How many things of a kind the fields describe, like `step.0.kind`.
    pub(crate) fn count(&self, kind: &str, part: &str) -> usize {
        (0..)
            .take_while(|n| self.fields.contains_key(&*format!("{kind}.{n}{part}")))
            .count()
    }

    /// Of a list of segments, the range of all of them: the driver names ranges.
    pub(crate) fn operand(&self, name: &str) -> Operand {
        match self.number(&format!("{name}.kind")) {
            0 => Operand::Absent,
            1 | 2 => Operand::Memory {
                iova: Iova(self.u64(&format!("{name}.iova"))),
                len: self.u64(&format!("{name}.length")),
                bit_offset: self.u32(&format!("{name}.bit_offset")).try_into().unwrap(),
            },
            3 => Operand::Scalar(self.number(&format!("{name}.value")).to_le_bytes()),
            other => panic!("{}: there are no operands of kind {other}", self.name),
        }
    }

    /// What the driver wrote, with a list of segments wherever the example has one. Such an operand
    /// differs from a range in its kind and in the number of segments, and in nothing else.
    pub(crate) fn with_lists(&self, mut written: Vec<u8>) -> Vec<u8> {
        for (field, segments) in &self.fields {
            let Some(name) = field.strip_suffix(".segments").filter(|_| *segments != "0") else {
                continue;
            };
            let range = self.operand(name).to_bytes();
            let mut places = written.windows(range.len());
            let at = places.position(|place| place == range);
            let at = at.unwrap_or_else(|| panic!("{}: {name} is nowhere", self.name));
            written[at + 16] = 2;
            written[at + 20..at + 24].copy_from_slice(&self.u32(field).to_le_bytes());
        }
        written
    }
}

/// All of them: one line holds one key.
pub(crate) fn all() -> Vec<Vector> {
    let text = include_str!("../../../docs/card/vectors.toml");
    let mut vectors: Vec<Vector> = Vec::new();
    let mut in_fields = false;
    for line in text.lines() {
        in_fields |= line == "[vector.fields]";
        if line == "[[vector]]" {
            in_fields = false;
            vectors.push(Vector {
                name: "",
                kind: "",
                hex: Vec::new(),
                program: None,
                fields: BTreeMap::new(),
            });
        }
        let (Some(vector), Some((key, value))) = (vectors.last_mut(), line.split_once(" = "))
        else {
            continue;
        };
        let value = value.trim_matches('"');
        match key {
            field if in_fields => {
                vector.fields.insert(field.trim_matches('"'), value);
            }
            "name" => vector.name = value,
            "kind" => vector.kind = value,
            "hex" => vector.hex = bytes_of(value),
            "program" => vector.program = Some(value),
            _ => {}
        }
    }
    vectors
}

/// The text of the program whose bytecode has this name.
pub(crate) fn program(name: &str) -> &'static str {
    let mut known = programs::VECTORS.into_iter();
    let found = known.find(|(known, _)| *known == name);
    found
        .unwrap_or_else(|| panic!("there is no program {name}"))
        .1
}

/// The one of this name.
pub(crate) fn named(name: &str) -> Vector {
    let found = all().into_iter().find(|vector| vector.name == name);
    found.unwrap_or_else(|| panic!("there is no example {name}"))
}

/// The bytes of an example.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    named(name).hex
}

pub(crate) fn bytes_of(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2) && hex.is_ascii());
    (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex"))
        .collect()
}

/// Every one of them, but for those that are read where the compiler is tested or where jobs are run: a
/// list of kinds there says which, and the test beside it reads all of these.
#[test]
fn every_vector_is_read() {
    let mut read: BTreeMap<&str, u32> = BTreeMap::new();
    let mut elsewhere: BTreeMap<&str, u32> = BTreeMap::new();
    for vector in &all() {
        // A failure that names no vector is that of the last one named.
        println!("{}", vector.name);
        match vector.kind {
            "sqe" => command::tests::reads(vector),
            "cqe" => entry::tests::reads(vector),
            "segments" => entry::tests::reads_segments(vector),
            "descriptor" => job::tests::reads(vector),
            "result" => job::tests::reads_result(vector),
            "checksums" => checksum::tests::reads(vector),
            "identify" => identity::tests::reads(vector),
            "capabilities" => reads_capabilities(vector),
            "health" => health_log::tests::reads(vector),
            "errors" => error_log::tests::reads(vector),
            "report" => completion::tests::reads(vector),
            "register" => registers::tests::reads(vector),
            "signature" => pci::tests::reads(vector),
            // The driver makes none of these, and has to understand what a card answers.
            "refused" | "refused_job" | "refused_sqe" => status::tests::reads(vector),
            kind if compiler::READ.contains(&kind) || executions::READ.contains(&kind) => {
                *elsewhere.entry(kind).or_default() += 1;
                continue;
            }
            other => panic!("{}: nobody reads vectors of the kind {other}", vector.name),
        }
        *read.entry(vector.kind).or_default() += 1;
    }
    println!(
        "the driver reads {} vectors here: {read:?}; elsewhere {elsewhere:?}",
        read.values().sum::<u32>(),
    );
}

/// The list itself is taken apart by the compiler's crate, which checks the cells.
fn reads_capabilities(vector: &Vector) {
    let cells = unlade_card::cells(&vector.hex[16..]).unwrap();
    let entries = vector.count("entry", ".variants");
    let variants: u32 = (0..entries)
        .map(|entry| vector.u32(&format!("entry.{entry}.variants")).count_ones())
        .sum();
    assert_eq!(cells.iter().count(), variants as usize, "{}", vector.name);
}
