//! The node of memory that a card is nearest to.

mod common;

use std::io::{Write, stderr};
use std::sync::Arc;

use common::*;
use unlade_dpu::{DpuDevice, Options, VfioUser};
use unlade_hal::{Device, MemoryKind, PageSize, Slab};
use unlade_sim_card::Config;

/// Where the kernel says from which nodes it takes memory; it does not where it knows of none, and a
/// container may hide it.
const MAPS: &str = "/proc/self/numa_maps";

/// From where the kernel takes a slab's pages: `prefer:0`, or `default`.
fn policy(slab: &Slab, maps: &str) -> String {
    let start = slab.pages().unwrap().as_ptr().addr();
    let line = maps
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{start:x} ")));
    let line = line.unwrap_or_else(|| panic!("{start:x} is not in {maps}"));
    line.split_once(' ').unwrap().0.to_owned()
}

/// The policies of a slab that the device makes, and of one that it is told of, on a card nearest to
/// a node, which works on them wherever they are.
fn policies(node: Option<u32>, maps: &str) -> Result<[String; 2], String> {
    let card = Model::start(Config::default());
    let way = Arc::new(VfioUser::connect(card.path()).unwrap());
    let way = Arc::new(Meddler::new(way).at_node(node));
    let device = DpuDevice::open(way, &Options::default()).unwrap();
    let own = device.allocate(MemoryKind::Readback, 1 << 20).unwrap();
    let told = Slab::host(MemoryKind::Readback, 1 << 20, PageSize::Base).unwrap();
    device.register(&told).unwrap();
    works(&device);
    let maps = std::fs::read_to_string(maps).map_err(|error| format!("{maps}: {error}"))?;
    Ok([&own, &told].map(|slab| policy(slab, &maps)))
}

#[test]
fn slabs_are_of_the_node_of_the_card() {
    for (node, wanted) in [
        (Some(0), "prefer:0"),
        (None, "default"),
        // A node that the machine has not: the memory serves all the same.
        (Some(900), "default"),
    ] {
        match policies(node, MAPS) {
            Ok(found) => assert_eq!(found, [wanted; 2], "{node:?}"),
            // Not by `eprintln!`, whose text is kept back where a test passes.
            Err(why) => drop(writeln!(
                stderr(),
                "left out: from which node slabs are is not to be seen here, a kernel without NUMA \
                 or a container: {why}; that a card at node {node:?} works on them was checked"
            )),
        }
    }
}

#[test]
fn where_nodes_are_not_to_be_seen_a_card_works_all_the_same() {
    let why = policies(Some(0), "/nowhere/numa_maps").unwrap_err();
    assert!(why.starts_with("/nowhere/numa_maps: No such file"), "{why}");
}
