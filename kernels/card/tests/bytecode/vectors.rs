//! docs/card/vectors.toml: what lowering makes of the programs that its bytecode was written from.

use toml::Table;
use unlade_card::{Limits, disassemble, lower};

use crate::meaning::Symbols;
use crate::programs::{VECTORS, parse};

/// The bytes of the bytecode vectors, by name.
pub(crate) fn vectors() -> Vec<(String, Vec<u8>)> {
    let text = include_str!("../../../../docs/card/vectors.toml");
    let document: Table = text.parse().unwrap();
    let vectors = document["vector"].as_array().unwrap();
    vectors
        .iter()
        .filter(|vector| vector["kind"].as_str() == Some("bytecode"))
        .map(|vector| {
            let hex = vector["hex"].as_str().unwrap();
            let bytes = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            (vector["name"].as_str().unwrap().to_owned(), bytes.collect())
        })
        .collect()
}

#[test]
fn programs_mean_what_the_vectors_mean() {
    let vectors = vectors();
    assert_eq!(vectors.len(), VECTORS.len());
    for ((name, bytes), (wanted, text)) in vectors.into_iter().zip(VECTORS) {
        assert_eq!(name, wanted);
        let program = parse(text);
        let lowered = lower(&program, &Limits::LEAST).unwrap();
        let mut symbols = Symbols::default();
        let meaning = symbols.of_program(&program);
        assert_eq!(symbols.of_bytecode(&bytes), meaning, "{name}");
        assert_eq!(symbols.of_bytecode(&lowered), meaning, "{name}");
        // No longer than by hand.
        assert!(lowered.len() <= bytes.len(), "{name}");
        if name == "program_mask" {
            assert_eq!(lowered, bytes, "byte for byte");
        }
    }
}

#[test]
fn vectors_are_listed() {
    let (_, bytes) = &vectors()[2];
    assert_eq!(
        disassemble(bytes).unwrap(),
        "\
bytecode 1.0, 272 bytes, label 0x0
registers 4 v, 2 m
columns c0: i128?, c1: i64
params p0: i64
outputs o0: i128?, o1: i64
0: v0: i64 = load c1
1: v1: i64 = param p0
2: v2: i64 = const i64 1000
3: m0 = range v0, v1, v2
4: keep m0
5: store o1, v0
6: v3: i128 = load c0
7: v3: i128 = rescale.half_away v3 by -2
8: m1 = valid c0
9: store o0, v3 valid m1
"
    );
}
