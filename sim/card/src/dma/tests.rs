//! The mapping table and the gate.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::*;

const READ: Permissions = Permissions {
    read: true,
    write: false,
};
const BOTH: Permissions = Permissions {
    read: true,
    write: true,
};

fn memory(bytes: u64) -> File {
    let memory = rustix::fs::memfd_create("dma", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let memory = File::from(memory);
    memory.set_len(bytes).unwrap();
    memory
}

fn open() -> Dma {
    let dma = Dma::default();
    dma.set_bus_master(true);
    dma
}

#[test]
fn an_access_may_span_mappings_that_touch() {
    let dma = open();
    let (low, high) = (memory(4096), memory(8192));
    dma.map(Iova(0x1000), 4096, Some(low.try_clone().unwrap()), 0, BOTH)
        .unwrap();
    dma.map(
        Iova(0x2000),
        4096,
        Some(high.try_clone().unwrap()),
        4096,
        BOTH,
    )
    .unwrap();
    dma.write(Iova(0x1FFE), &[1, 2, 3, 4]).unwrap();
    let mut seen = [0; 2];
    low.read_exact_at(&mut seen, 4094).unwrap();
    assert_eq!(seen, [1, 2]);
    high.read_exact_at(&mut seen, 4096).unwrap();
    assert_eq!(seen, [3, 4]);
    let mut back = [0; 4];
    dma.read(Iova(0x1FFE), &mut back).unwrap();
    assert_eq!(back, [1, 2, 3, 4]);
    assert_eq!((dma.traffic().read, dma.traffic().written), (4, 4));
}

#[test]
fn what_is_not_mapped_or_not_for_this_is_refused_and_changes_nothing() {
    let dma = open();
    let file = memory(8192);
    dma.map(Iova(0x1000), 4096, Some(file.try_clone().unwrap()), 0, BOTH)
        .unwrap();
    dma.map(
        Iova(0x2000),
        4096,
        Some(file.try_clone().unwrap()),
        4096,
        READ,
    )
    .unwrap();
    dma.map(Iova(0x4000), 4096, None, 0, BOTH).unwrap();
    assert_eq!(
        dma.write(Iova(0x1FFE), &[1, 2, 3, 4]),
        Err(DmaError::Refused)
    );
    assert_eq!(dma.read(Iova(0x2FFF), &mut [0; 2]), Err(DmaError::Refused));
    assert_eq!(dma.read(Iova(0x4000), &mut [0; 2]), Err(DmaError::Refused));
    assert_eq!(
        dma.read(Iova(u64::MAX), &mut [0; 2]),
        Err(DmaError::Refused)
    );
    let mut seen = [9; 2];
    file.read_exact_at(&mut seen, 4094).unwrap();
    assert_eq!(seen, [0, 0]);
    let refused = RefusedAccess {
        iova: Iova(0x1FFE),
        length: 4,
        write: true,
    };
    assert_eq!(dma.traffic().first_refused[0], refused);
    assert_eq!(dma.traffic().refused, 4);
}

#[test]
fn a_file_that_ends_before_its_mapping_is_refused() {
    let dma = open();
    dma.map(Iova(0), 8192, Some(memory(4096)), 0, READ).unwrap();
    assert_eq!(dma.read(Iova(4096), &mut [0; 1]), Err(DmaError::Refused));
}

#[test]
fn mappings_do_not_overlap_and_are_unmapped_whole() {
    let dma = open();
    dma.map(Iova(0x1000), 0x1000, None, 0, BOTH).unwrap();
    dma.map(Iova(0x2000), 0x1000, None, 0, BOTH).unwrap();
    let overlap = dma.map(Iova(0x1FFF), 1, None, 0, BOTH);
    assert_eq!(
        overlap,
        Err(MapError::Overlap {
            iova: 0x1FFF,
            length: 1,
            mapped: 0x1000
        })
    );
    assert!(matches!(
        dma.map(Iova(0), 0, None, 0, BOTH),
        Err(MapError::NoRange { .. })
    ));
    assert!(matches!(
        dma.unmap(Iova(0x1800), 0x1000),
        Err(MapError::Cut { .. })
    ));
    assert!(matches!(
        dma.unmap(Iova(0x1000), 0x1800),
        Err(MapError::Cut { .. })
    ));
    dma.unmap(Iova(0x1000), 0x2000).unwrap();
    dma.map(Iova(0x1FFF), 1, None, 0, BOTH).unwrap();
}

#[test]
fn a_range_may_end_with_the_address_space_and_not_beyond_it() {
    const LAST_PAGE: u64 = u64::MAX - 4095;

    let dma = open();
    let file = memory(4096);
    dma.map(
        Iova(LAST_PAGE),
        4096,
        Some(file.try_clone().unwrap()),
        0,
        BOTH,
    )
    .unwrap();
    dma.write(Iova(u64::MAX - 1), &[1, 2]).unwrap();
    let mut seen = [0; 2];
    file.read_exact_at(&mut seen, 4094).unwrap();
    assert_eq!(seen, [1, 2]);
    assert_eq!(
        dma.read(Iova(u64::MAX), &mut [0; 2]),
        Err(DmaError::Refused)
    );
    assert!(matches!(
        dma.map(Iova(u64::MAX), 1, None, 0, BOTH),
        Err(MapError::Overlap { .. })
    ));
    let beyond = Err(MapError::NoRange {
        iova: LAST_PAGE,
        length: 4097,
    });
    assert_eq!(dma.map(Iova(LAST_PAGE), 4097, None, 0, BOTH), beyond);
    assert_eq!(dma.unmap(Iova(LAST_PAGE), 4097), beyond);
    assert!(matches!(
        dma.unmap(Iova(u64::MAX), 1),
        Err(MapError::Cut { .. })
    ));
    dma.unmap(Iova(1), u64::MAX).unwrap();
    assert_eq!(dma.mapped_ranges(), 0);
}

#[test]
fn a_reset_ends_a_transfer_that_waits_for_the_bus() {
    let dma = Arc::new(Dma::default());
    let (sender, read) = mpsc::channel();
    let waiting = Arc::clone(&dma);
    std::thread::spawn(move || sender.send(waiting.read(Iova(0), &mut [0; 1])));
    dma.abandon(true);
    let read = read.recv_timeout(Duration::from_secs(30));
    assert_eq!(read, Ok(Err(DmaError::Abandoned)));
}

/// A host's IOMMU maps page by page, and a process has about a thousand descriptors.
#[test]
fn thousands_of_mappings_of_a_file_need_one_descriptor() {
    let dma = open();
    let file = memory(4096 * 3000);
    for page in 0..3000 {
        let at = 4096 * page;
        dma.map(Iova(at), 4096, Some(file.try_clone().unwrap()), at, BOTH)
            .unwrap();
    }
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(descriptors < 1000, "{descriptors} descriptors are open");
    dma.write(Iova(4096 * 1500 - 1), &[1, 2]).unwrap();
    let mut seen = [0; 2];
    file.read_exact_at(&mut seen, 4096 * 1500 - 1).unwrap();
    assert_eq!(seen, [1, 2]);
}

/// A descriptor that cannot write is not taken for one that can.
#[test]
fn descriptors_opened_otherwise_are_not_shared() {
    let dma = open();
    let file = memory(8192);
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let read_only = File::open(path).unwrap();
    dma.map(Iova(0), 4096, Some(read_only), 0, BOTH).unwrap();
    dma.map(Iova(4096), 4096, Some(file), 4096, BOTH).unwrap();
    assert_eq!(dma.write(Iova(0), &[1]), Err(DmaError::Refused));
    assert_eq!(dma.write(Iova(4096), &[1]), Ok(()));
}

/// Bytes of a huge page of [`huge`].
const HUGE: u64 = 2 << 20;

/// A file of huge pages, whether the system has any or not: they are asked for when it is mapped.
fn huge(pages: u64) -> File {
    use rustix::fs::MemfdFlags;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
    let memory = File::from(rustix::fs::memfd_create("huge", flags).unwrap());
    memory.set_len(pages * HUGE).unwrap();
    memory
}

/// Huge pages that nobody has taken or been promised.
fn free_huge_pages() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let count = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |count| count.trim().parse().unwrap())
    };
    count("HugePages_Free:") - count("HugePages_Rsvd:")
}

/// Where there are none, the error says so; `cargo xtask qemu` has a machine that has some.
#[test]
fn huge_pages_are_written_where_there_are_any() {
    let dma = open();
    let file = huge(2);
    let free = free_huge_pages();
    let mapped = dma.map(
        Iova(HUGE),
        HUGE,
        Some(file.try_clone().unwrap()),
        HUGE,
        BOTH,
    );
    if free == 0 {
        let error = mapped.unwrap_err();
        assert!(
            matches!(error, MapError::HugePages { length: HUGE, .. }),
            "{error}"
        );
        assert!(
            error.to_string().contains("Cannot allocate memory"),
            "{error}"
        );
        return;
    }
    mapped.unwrap();
    dma.write(Iova(2 * HUGE - 3), &[1, 2, 3]).unwrap();
    dma.publish(Iova(HUGE), [7, 8], 1, 0).unwrap();
    let (mut last, mut first) = ([0; 3], [0; 2]);
    file.read_exact_at(&mut last, 2 * HUGE - 3).unwrap();
    file.read_exact_at(&mut first, HUGE).unwrap();
    assert_eq!((last, first), ([1, 2, 3], [7, 8]));
    let mut back = [0; 3];
    dma.read(Iova(2 * HUGE - 3), &mut back).unwrap();
    assert_eq!(back, [1, 2, 3]);
    assert_eq!(
        dma.write(Iova(2 * HUGE - 1), &[1, 2]),
        Err(DmaError::Refused)
    );
    assert_eq!((dma.traffic().written, dma.traffic().refused), (5, 1));
    // The host takes the page out of its file, and there is no other.
    file.set_len(0).unwrap();
    assert_eq!(dma.write(Iova(HUGE), &[1]), Err(DmaError::Refused));
    assert_eq!(dma.read(Iova(HUGE), &mut back), Err(DmaError::Refused));
    dma.unmap(Iova(HUGE), HUGE).unwrap();
}

#[test]
fn of_huge_pages_whole_ones_of_the_file_are_mapped() {
    let dma = open();
    let map = |offset, length| {
        let file = Some(huge(2));
        dma.map(Iova(0x1000), length, file, offset, BOTH)
            .unwrap_err()
    };
    for (offset, length) in [(4096, HUGE), (0, 4096), (0, HUGE + 4096)] {
        let page = HUGE;
        let wanted = MapError::Misaligned {
            offset,
            length,
            page,
        };
        assert_eq!(map(offset, length), wanted);
    }
    assert!(matches!(map(0, 0), MapError::NoRange { .. }));
    // Mapping them would make the file longer.
    for (offset, length) in [
        (2 * HUGE, HUGE),
        (0, 3 * HUGE),
        (0u64.wrapping_sub(HUGE), HUGE),
    ] {
        let error = map(offset, length).to_string();
        assert!(error.contains("the file has 4194304 bytes"), "{error}");
    }
    // Nothing is left of what was refused.
    dma.map(Iova(0x1000), 4096, None, 0, BOTH).unwrap();
}
