//! The node of memory that a card is nearest to.

mod common;

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use common::*;
use unlade_dpu::{
    BarOffset, CardAccess, DpuDevice, Iova, Options, Transport, TransportError, VfioUser,
};
use unlade_hal::{Device, HostPages, MemoryKind, PageSize, Slab};
use unlade_sim_card::Config;

/// A way to a card that says where it is.
#[derive(Debug)]
struct On {
    node: Option<u32>,
    way: VfioUser,
}

impl Transport for On {
    fn numa_node(&self) -> Option<u32> {
        self.node
    }

    fn address(&self) -> String {
        self.way.address()
    }

    fn bar_len(&self) -> u64 {
        self.way.bar_len()
    }

    fn read32(&self, at: BarOffset) -> Result<u32, TransportError> {
        self.way.read32(at)
    }

    fn read64(&self, at: BarOffset) -> Result<u64, TransportError> {
        self.way.read64(at)
    }

    fn write32(&self, at: BarOffset, value: u32) -> Result<(), TransportError> {
        self.way.write32(at, value)
    }

    fn write64(&self, at: BarOffset, value: u64) -> Result<(), TransportError> {
        self.way.write64(at, value)
    }

    fn read_config(&self, at: u16, bytes: &mut [u8]) -> Result<(), TransportError> {
        self.way.read_config(at, bytes)
    }

    fn write_config(&self, at: u16, bytes: &[u8]) -> Result<(), TransportError> {
        self.way.write_config(at, bytes)
    }

    fn reserved(&self) -> Result<Vec<Range<Iova>>, TransportError> {
        self.way.reserved()
    }

    fn map(&self, iova: Iova, pages: &HostPages, access: CardAccess) -> Result<(), TransportError> {
        self.way.map(iova, pages, access)
    }

    fn unmap(&self, iova: Iova, len: u64) -> Result<(), TransportError> {
        self.way.unmap(iova, len)
    }

    fn vectors(&self) -> u32 {
        self.way.vectors()
    }

    fn set_interrupts(&self, events: &[BorrowedFd<'_>]) -> Result<(), TransportError> {
        self.way.set_interrupts(events)
    }

    fn reset(&self) -> Result<(), TransportError> {
        self.way.reset()
    }

    fn renew(&self) -> Result<Arc<dyn Transport>, TransportError> {
        self.way.renew()
    }

    fn close(&self) {
        self.way.close();
    }
}

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
    let way = VfioUser::connect(card.path()).unwrap();
    let device = DpuDevice::open(Arc::new(On { node, way }), &Options::default()).unwrap();
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
