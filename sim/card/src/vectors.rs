//! docs/card/vectors.toml, as far as no host can have a card write it: the rest is read by
//! `tests/card/vectors.rs`, which leaves the kinds of [`INSIDE`] to this.
#![allow(clippy::print_stdout)] // how many were read is what this test reports

#[path = "../tests/card/vectors/document.rs"]
mod document;
#[path = "../tests/card/vectors/inside.rs"]
mod inside;

pub(crate) use document::Vector;

use crate::{jobs, logs, queues};

#[test]
fn what_a_card_writes_has_the_documents_bytes() {
    let vectors = document::vectors();
    for kind in inside::INSIDE {
        let of_kind = vectors.iter().filter(|vector| vector.kind == kind);
        let mut read = 0;
        for vector in of_kind {
            match kind {
                "cqe" => queues::tests::writes(vector),
                "errors" => logs::tests::errors(vector),
                "health" => logs::tests::health(vector),
                "report" => jobs::reports(vector),
                other => panic!("{}: nobody reads vectors of the kind {other}", vector.name),
            }
            read += 1;
        }
        println!("the card reads {read} vectors of the kind {kind} beside its code");
        assert!(read > 0, "no vectors of the kind {kind}");
    }
}
