//! Every example of bytecode in docs/card/vectors.toml, field by field.

mod kinds;

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::*;
use crate::malformed::Malformed;

/// The vectors of a kind: name, bytes, fields.
fn vectors(kind: &str) -> Vec<(String, Vec<u8>, BTreeMap<String, String>)> {
    let text = include_str!("../../../../docs/card/vectors.toml");
    let document: Table = text.parse().unwrap();
    let found: Vec<_> = document["vector"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|vector| vector["kind"].as_str() == Some(kind))
        .map(|vector| {
            let fields = vector["fields"].as_table().unwrap();
            let fields = fields
                .iter()
                .map(|(key, value)| (key.clone(), string(value)));
            (
                string(&vector["name"]),
                bytes(&string(&vector["hex"])),
                fields.collect(),
            )
        })
        .collect();
    assert!(!found.is_empty(), "no vector is of the kind {kind}");
    found
}

fn string(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn every_vector_is_read() {
    for kind in kinds::READ {
        for (name, bytes, fields) in vectors(kind) {
            match kind {
                "bytecode" => decodes_and_encodes(&name, &bytes, &fields),
                "refused" => is_refused(&name, &bytes, &fields),
                other => panic!("{name}: nobody reads vectors of the kind {other}"),
            }
        }
    }
}

/// To its fields, and from them to its bytes.
fn decodes_and_encodes(name: &str, bytes: &[u8], wanted: &BTreeMap<String, String>) {
    let decoded = decode(bytes).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    let encoded = encode(&decoded);
    assert_eq!(encoded, bytes, "{name}");
    assert_eq!(fields(&decoded, &encoded), *wanted, "{name}");
}

/// As a card refuses it.
fn is_refused(name: &str, bytes: &[u8], fields: &BTreeMap<String, String>) {
    // What a single card has not, others load.
    if fields.contains_key("lacks") {
        decode(bytes).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        return;
    }
    let number = |key: &str| {
        let text = &fields[key];
        match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => text.parse(),
        }
        .unwrap()
    };
    match decode(bytes) {
        Err(Malformed::Bytecode {
            fault,
            word,
            offset,
        }) => {
            assert_eq!(u32::from(fault.status()), number("status"), "{name}");
            assert_eq!(word.unwrap_or(u32::MAX), number("dw0"), "{name}");
            assert_eq!(offset, number("dw1"), "{name}");
        }
        other => panic!("{name}: {other:?}"),
    }
}

/// Bytecode in the words of the vectors. Length and checksum are taken from the bytes.
fn fields(bytecode: &Bytecode, bytes: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut set = |key: String, value: String| assert_eq!(fields.insert(key, value), None);
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    for (key, value) in [
        ("major_version", MAJOR.to_string()),
        ("minor_version", MINOR.to_string()),
        ("length", u32_at(8).to_string()),
        ("checksum", format!("{:#010x}", u32_at(CHECKSUM))),
        ("flags", u32_at(16).to_string()),
        ("words", bytecode.words.len().to_string()),
        ("constants", bytecode.constants.len().to_string()),
        ("columns", bytecode.columns.len().to_string()),
        ("parameters", bytecode.params.len().to_string()),
        ("tables", bytecode.tables.len().to_string()),
        ("sets", bytecode.sets.len().to_string()),
        ("outputs", bytecode.outputs.len().to_string()),
        ("v_registers", bytecode.value_registers.to_string()),
        ("m_registers", bytecode.mask_registers.to_string()),
        ("label", format!("{:#x}", bytecode.label)),
    ] {
        set(key.to_owned(), value);
    }
    let mut declare = |what: &str, index: usize, ty: Ty, flag: bool| {
        set(format!("{what}.{index}.type"), ty_number(ty).to_string());
        set(format!("{what}.{index}.flags"), u8::from(flag).to_string());
    };
    for (index, column) in bytecode.columns.iter().enumerate() {
        declare("column", index, column.ty, column.nullable);
    }
    for (what, types) in [
        ("parameter", &bytecode.params),
        ("table", &bytecode.tables),
        ("set", &bytecode.sets),
    ] {
        for (index, &ty) in types.iter().enumerate() {
            declare(what, index, ty, false);
        }
    }
    for (index, output) in bytecode.outputs.iter().enumerate() {
        declare("output", index, output.ty, output.valid);
    }
    for (index, constant) in bytecode.constants.iter().enumerate() {
        let value = u128::from_le_bytes(*constant);
        set(format!("constant.{index}"), format!("{value:#034x}"));
    }
    for (index, word) in bytecode.words.iter().enumerate() {
        let number = |register: Option<Register>| register.map_or(255, |found| found.number);
        let [a, b, c] = word.sources.map(number);
        for (key, value) in [
            ("operation", i64::from(word.operation.number())),
            ("operand_type", ty_number(word.operand).into()),
            ("result_type", ty_number(word.result).into()),
            ("variant", word.variant.into()),
            ("dst", number(word.dst).into()),
            ("src_a", a.into()),
            ("src_b", b.into()),
            ("src_c", c.into()),
            ("index", word.index.into()),
            ("immediate", word.immediate.into()),
        ] {
            set(format!("word.{index}.{key}"), value.to_string());
        }
    }
    fields
}
