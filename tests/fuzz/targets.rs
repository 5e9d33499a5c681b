//! What is fuzzed, by the names of targets and of the folders of their corpora.
#![allow(dead_code, unreachable_pub)] // each target is one of them

use unlade_card::{Malformed, disassemble};
use unlade_sim_card::fuzzing::{Verdict, sealed};

/// A target: it panics where something does not hold.
pub type Target = fn(&[u8]);

/// All of them.
pub const ALL: [(&str, Target); 6] = [
    ("bytecode", bytecode),
    ("completions", completions),
    ("replies", replies),
    ("requests", requests),
    ("substrait", substrait),
    ("wire", wire),
];

/// Bytecode, as it is and with the length and checksum that it should have: the card refuses it or
/// runs it, and the compiler's reader says the same of it.
pub fn bytecode(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), sealed(bytes)] {
        let verdict = unlade_sim_card::fuzzing::bytecode(&bytes);
        assert_eq!(verdict, read(&bytes), "card and reader");
    }
}

/// What a card writes into completion rings and results.
pub fn completions(bytes: &[u8]) {
    unlade_dpu::fuzzing::completions(bytes);
}

/// What a server of vfio-user replies.
pub fn replies(bytes: &[u8]) {
    unlade_dpu::fuzzing::replies(bytes);
}

/// What a host sends a simulated card.
pub fn requests(bytes: &[u8]) {
    unlade_sim_card::fuzzing::requests(bytes);
}

/// Expressions of Substrait.
pub fn substrait(bytes: &[u8]) {
    unlade_substrait::fuzzing::read(bytes);
}

/// Expressions, queries and requests for kernels on the wire.
pub fn wire(bytes: &[u8]) {
    unlade_wire::fuzzing::read(bytes);
}

fn read(bytes: &[u8]) -> Verdict {
    match disassemble(bytes) {
        Ok(_) => Ok(()),
        Err(Malformed::Bytecode {
            fault,
            word,
            offset,
        }) => Err((fault.status(), word.unwrap_or(u32::MAX), offset)),
        Err(other) => panic!("{other}"),
    }
}
