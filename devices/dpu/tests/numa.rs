//! The node of memory that a card is nearest to.

mod common;

use std::sync::Arc;

use common::*;
use unlade_dpu::{DpuDevice, Options, VfioUser};
use unlade_hal::{Device, MemoryKind, PageSize, Slab};
use unlade_sim_card::Config;

/// From where the kernel takes a slab's pages: `prefer:0`, or `default`.
fn policy(slab: &Slab) -> String {
    let maps = "/proc/self/numa_maps";
    let maps = std::fs::read_to_string(maps).unwrap_or_else(|error| {
        panic!("{maps}: {error}: this test needs a kernel with CONFIG_NUMA")
    });
    let start = slab.pages().unwrap().as_ptr().addr();
    let line = maps
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{start:x} ")));
    let line = line.unwrap_or_else(|| panic!("{start:x} is not in {maps}"));
    line.split_once(' ').unwrap().0.to_owned()
}

/// The policies of a slab that the device makes, and of one that it is told of.
fn policies(node: Option<u32>) -> [String; 2] {
    let card = Model::start(Config::default());
    let way = Arc::new(VfioUser::connect(card.path()).unwrap());
    let way = Arc::new(Meddler::new(way).at_node(node));
    let device = DpuDevice::open(way, &Options::default()).unwrap();
    let own = device.allocate(MemoryKind::Readback, 1 << 20).unwrap();
    let told = Slab::host(MemoryKind::Readback, 1 << 20, PageSize::Base).unwrap();
    device.register(&told).unwrap();
    works(&device);
    [policy(&own), policy(&told)]
}

#[test]
fn slabs_are_of_the_node_of_the_card() {
    assert_eq!(policies(Some(0)), ["prefer:0", "prefer:0"]);
    assert_eq!(policies(None), ["default", "default"]);
    // A node that the machine has not: the memory serves all the same.
    assert_eq!(policies(Some(900)), ["default", "default"]);
}
