//! docs/card/vectors.toml: every example of it, read by the card. What a host writes is given to one,
//! and does there what its fields say; what a card writes is what one writes.
#![allow(clippy::print_stdout)] // how many of each kind were read is what this test reports

mod commands;
mod document;
mod inside;
mod itself;
mod jobs;
mod refusals;

use std::collections::BTreeMap;

use document::{Vector, named, parse_hex, vectors};
use inside::INSIDE;

/// A kind that is new has to be read here, or beside the card's code, where a unit test has the same
/// list of what is left to it.
#[test]
fn every_vector_is_read() {
    let vectors = vectors();
    let mut read: BTreeMap<&str, u32> = BTreeMap::new();
    for vector in &vectors {
        let name = vector.name.as_str();
        // A failure that names no vector is that of the last one named.
        println!("{name}");
        match vector.kind.as_str() {
            "sqe" => commands::read(vector, &vectors),
            "bytecode" => commands::loads(vector),
            "descriptor" | "segments" => jobs::runs(vector, &vectors),
            "execution" => jobs::executes(vector, &vectors),
            "result" => jobs::results(vector, &vectors),
            "checksums" => jobs::checksums(vector, &vectors),
            "refused" => refusals::bytecode(vector),
            "refused_job" => refusals::job(vector, &vectors),
            "refused_sqe" => refusals::entry(vector),
            "identify" => itself::identify(vector),
            "capabilities" => itself::capabilities(vector),
            "register" => itself::register(vector),
            "signature" => itself::signature(vector),
            inside if INSIDE.contains(&inside) => continue,
            other => panic!("{name}: nobody reads vectors of the kind {other}"),
        }
        *read.entry(&vector.kind).or_default() += 1;
    }
    println!(
        "the card reads {} of {} vectors here: {read:?}; beside its code those of {INSIDE:?}",
        read.values().sum::<u32>(),
        vectors.len()
    );
}
