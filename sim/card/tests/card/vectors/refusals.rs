//! What the document says that a card refuses.

use std::os::unix::fs::FileExt;

use unlade_sim_card::{Config, FaultPlan, Profile};

use super::{Vector, named, parse_hex};
use crate::host::Host;

pub(super) fn bytecode(vector: &Vector) {
    let mut host = host_of(vector);
    assert_eq!(host.load(&vector.hex), vector.outcome(), "{}", vector.name);
}

pub(super) fn job(vector: &Vector, vectors: &[Vector]) {
    let mut host = host_of(vector);
    let program = named(vectors, vector.text("program").unwrap());
    // Handles count up from 1.
    while u128::from(host.load_well(&program.hex)) < vector.number("handle") {}
    let done = host.job(&vector.hex);
    assert_eq!(done.outcome(), vector.outcome(), "{}", vector.name);
    assert_nothing_was_used(&host, vector);
}

pub(super) fn entry(vector: &Vector) {
    let mut host = host_of(vector);
    let entry = vector.hex.as_slice().try_into().unwrap();
    let done = match vector.number("queue") {
        0 => host.admin(entry),
        _ => host.io(entry),
    };
    assert_eq!(done.outcome(), vector.outcome(), "{}", vector.name);
    assert_nothing_was_used(&host, vector);
}

/// A host whose card lacks what the vector says, and whose memory has the vector's segment list.
fn host_of(vector: &Vector) -> Host {
    let mut profile = Profile::full();
    for lacking in vector.text("lacks").unwrap_or_default().split(' ') {
        let features = &mut profile.features;
        match lacking {
            // The simulated card never has the second.
            "" | "COALESCING" => {}
            "ABORT" => features.abort = false,
            "CHECKSUM" => features.checksum = false,
            "COMPACTION" => features.compaction = false,
            "COUNTED_COPY" => features.counted_copy = false,
            "REPORT" => features.report = false,
            "ADD" => profile = profile.without(|operation, _, _| operation == 20),
            other => panic!("{}: {other} is not known here", vector.name),
        }
    }
    let host = Host::new(Config {
        profile,
        seed: 1,
        faults: FaultPlan::none(),
    });
    if let Some(list) = vector.text("list") {
        let iova = vector.number("list_iova").try_into().unwrap();
        host.map_more(iova, 4096)
            .write_all_at(&parse_hex(list), 0)
            .unwrap();
    }
    host
}

/// No operand of the vector is mapped, so that a card that tried to use one is found out.
fn assert_nothing_was_used(host: &Host, vector: &Vector) {
    assert_eq!(host.card.counters().dma_refused, 0, "{}", vector.name);
}
