//! The examples of docs/card/vectors.toml, read by the driver: what it writes it makes from their
//! fields, and what a card writes it takes apart.
#![allow(clippy::print_stdout)] // how many were read is what the test reports

#[path = "../../../sim/card/tests/card/vectors/left.rs"]
mod left;

use std::collections::BTreeMap;

use crate::entry::Operand;
use crate::iova::Iova;
use crate::{checksum, command, completion, entry, health_log, identity, job, pci, registers};

/// Kinds that the driver has nothing to do with, and who has.
const OF_OTHERS: [(&str, &str); 7] = [
    ("bytecode", "the compiler, kernels/card, and the card"),
    ("refused", "the card, sim/card"),
    ("refused_job", "the card, sim/card"),
    ("refused_sqe", "the card, sim/card"),
    ("execution", "the card, sim/card"),
    // A slab is one range of addresses.
    ("segments", "the card, sim/card"),
    // Nobody is shown the log of errors.
    ("errors", "the card, sim/card"),
];

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

    pub(crate) fn operand(&self, name: &str) -> Operand {
        match self.number(&format!("{name}.kind")) {
            0 => Operand::Absent,
            1 => Operand::Memory {
                iova: Iova(self.u64(&format!("{name}.iova"))),
                len: self.u64(&format!("{name}.length")),
                bit_offset: self.u32(&format!("{name}.bit_offset")).try_into().unwrap(),
            },
            3 => Operand::Scalar(self.number(&format!("{name}.value")).to_le_bytes()),
            other => panic!("{}: the driver has no operands of kind {other}", self.name),
        }
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

/// A kind that is new has to be read here, or be somebody else's by name.
#[test]
fn every_vector_is_read_or_somebody_elses() {
    let vectors = all();
    let (mut read, mut unread): (BTreeMap<&str, u32>, _) = (BTreeMap::new(), Vec::new());
    for vector in &vectors {
        if OF_OTHERS.iter().any(|(kind, _)| *kind == vector.kind) {
            continue;
        }
        // A failure that names no vector is that of the last one named.
        println!("{}", vector.name);
        let reads = match vector.kind {
            "sqe" => command::tests::reads(vector),
            "cqe" => entry::tests::reads(vector),
            "descriptor" => job::tests::reads(vector),
            "result" => job::tests::reads_result(vector),
            "checksums" => checksum::tests::reads(vector),
            "identify" => identity::tests::reads(vector),
            "capabilities" => reads_capabilities(vector),
            "health" => health_log::tests::reads(vector),
            "report" => completion::tests::reads(vector),
            "register" => registers::tests::reads(vector),
            "signature" => pci::tests::reads(vector),
            other => panic!("{}: nobody reads vectors of the kind {other}", vector.name),
        };
        match reads {
            true => *read.entry(vector.kind).or_default() += 1,
            false => unread.push(vector.name),
        }
    }
    println!(
        "the driver reads {} of {} vectors: {read:?}; not {unread:?}; of others are {OF_OTHERS:?}",
        read.values().sum::<u32>(),
        vectors.len(),
    );
    // Else neither side would read them.
    for name in left::LEFT_TO_THE_HOST {
        assert!(
            !unread.contains(&name),
            "{name}: the card leaves it to the driver"
        );
    }
}

/// The list itself is taken apart by the compiler's crate, which checks the cells.
fn reads_capabilities(vector: &Vector) -> bool {
    let cells = unlade_card::cells(&vector.hex[16..]).unwrap();
    let entries = vector.count("entry", ".variants");
    let variants: u32 = (0..entries)
        .map(|entry| vector.u32(&format!("entry.{entry}.variants")).count_ones())
        .sum();
    assert_eq!(cells.iter().count(), variants as usize, "{}", vector.name);
    true
}
