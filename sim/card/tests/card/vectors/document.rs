//! docs/card/vectors.toml.
#![allow(dead_code)] // each test uses some of it

use std::collections::BTreeMap;

const VECTORS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/card/vectors.toml"
));

/// An example.
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) hex: Vec<u8>,
    /// What a descriptor runs.
    pub(crate) program: Option<String>,
    fields: BTreeMap<String, String>,
}

impl Vector {
    pub(crate) fn number(&self, field: &str) -> u128 {
        parse_number(&self.fields[field])
    }

    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    /// Status, DW0 and DW1.
    pub(crate) fn outcome(&self) -> (u16, u32, u32) {
        let long = |field: &str| u32::try_from(self.number(field)).unwrap();
        (
            u16::try_from(self.number("status")).unwrap(),
            long("dw0"),
            long("dw1"),
        )
    }

    /// How many things of a kind the fields describe, like `column.0.type`.
    pub(crate) fn count(&self, kind: &str, part: &str) -> usize {
        (0..)
            .take_while(|n| self.fields.contains_key(&format!("{kind}.{n}{part}")))
            .count()
    }
}

fn parse_number(text: &str) -> u128 {
    match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

pub(crate) fn parse_hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

pub(crate) fn vectors() -> Vec<Vector> {
    let text: toml::Table = VECTORS.parse().unwrap();
    let string = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let vector = |vector: &toml::Value| Vector {
        name: string(&vector["name"]),
        kind: string(&vector["kind"]),
        hex: parse_hex(vector["hex"].as_str().unwrap()),
        program: vector.get("program").map(string),
        fields: vector["fields"]
            .as_table()
            .unwrap()
            .iter()
            .map(|(key, value)| (key.clone(), string(value)))
            .collect(),
    };
    text["vector"]
        .as_array()
        .unwrap()
        .iter()
        .map(vector)
        .collect()
}

pub(crate) fn named<'a>(vectors: &'a [Vector], name: &str) -> &'a Vector {
    vectors
        .iter()
        .find(|vector| vector.name == name)
        .expect(name)
}
