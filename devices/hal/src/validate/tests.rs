//! One test per rule.

use super::*;
use crate::clock::ClockKind;
use crate::device::DeviceKind;
use crate::id::{DeviceAddr, DomainId, SlotId};
use crate::memory::{Lease, MemoryKind, PageSize, Slab};
use std::sync::Arc;
use unlade_program::{Column, Inst, Output, Program, Val};

fn span(slot: u16, bytes: std::ops::Range<u64>) -> Span {
    Span {
        slot: SlotId(slot),
        bytes,
    }
}

fn memory(slot: u16, bytes: std::ops::Range<u64>) -> Arg {
    Arg::Span {
        span: span(slot, bytes),
        bit_offset: 0,
    }
}

fn memory_at_bit(slot: u16, bytes: std::ops::Range<u64>, bit_offset: u8) -> Arg {
    Arg::Span {
        span: span(slot, bytes),
        bit_offset,
    }
}

fn info(memory: u64, domain: DomainId) -> DeviceInfo {
    DeviceInfo {
        name: "toy".to_owned(),
        kind: DeviceKind::Simulator,
        description: String::new(),
        address: None,
        architecture: String::new(),
        memory,
        domain,
        clock: ClockKind::Virtual,
        link: None,
    }
}

fn capabilities() -> Capabilities {
    Capabilities {
        max_rows: 1000,
        alignment: 8,
        compaction: true,
        copy_counted: true,
        ..Capabilities::none()
    }
}

/// Rows of an i32 column where a parameter is less, the column again with its validity, and
/// a lookup in a table of i16.
fn program() -> Executable {
    let program = Program {
        columns: vec![
            Column {
                ty: Ty::I32,
                nullable: true,
            },
            Column {
                ty: Ty::Mask,
                nullable: false,
            },
        ],
        params: vec![Ty::I32],
        tables: vec![Ty::I16],
        insts: vec![
            Inst::Load { column: 0 },
            Inst::Validity { column: 0 },
            Inst::Load { column: 1 },
            Inst::Lookup {
                table: 0,
                index: Val(0),
            },
        ],
        keep: Some(Val(2)),
        emit_mask: true,
        outputs: vec![
            Output {
                value: Val(0),
                valid: Some(Val(1)),
            },
            Output {
                value: Val(3),
                valid: None,
            },
        ],
        ..Program::default()
    };
    Executable::new(Arc::new(program), Arc::new(()))
}

/// A good list: slot 0 owned memory of the device, 1 owned upload memory, 2 resident.
struct Bench {
    info: DeviceInfo,
    capabilities: Capabilities,
    list: CommandList,
}

const ROWS: u64 = 100;

impl Bench {
    fn new() -> Self {
        let domain = DomainId::unique();
        let on_device =
            || Slab::device(domain, DeviceAddr(1 << 40), 4096, Arc::new(())).lease_whole();
        let upload = Slab::host(MemoryKind::Upload, 4096, PageSize::Base).unwrap();
        upload.set_address(domain, DeviceAddr(1 << 20), None);
        let mut list = CommandList::new();
        list.slot(Slot::Owned(on_device().unwrap()));
        list.slot(Slot::Owned(upload.lease_whole().unwrap()));
        list.slot(Slot::Resident(Arc::new(on_device().unwrap())));
        list.push(Command::Copy {
            from: span(1, 0..400),
            to: span(0, 0..400),
        });
        list.push(Command::Fill {
            to: span(0, 1000..1024),
            byte: 0,
        });
        let args = vec![
            memory(0, 0..400),
            memory_at_bit(0, 400..414, 7),
            memory_at_bit(2, 16..29, 3),
            Arg::Absent,
            Arg::Scalar([0; 16]),
            memory(2, 0..6),
            memory(0, 2048..2061),
            memory(0, 2096..2496),
            memory(0, 2496..2509),
            memory(0, 2512..2712),
            Arg::Absent,
        ];
        list.push(Command::Dispatch {
            exe: program(),
            rows: ROWS,
            args: args.into(),
            status: span(0, 1000..1024),
        });
        list.push(Command::CopyCounted {
            from: span(0, 2096..2496),
            to: span(1, 1000..1400),
            count: span(0, 1000..1008),
            unit_bits: 32,
        });
        Bench {
            info: info(1 << 30, domain),
            capabilities: capabilities(),
            list,
        }
    }

    fn verdict(&self) -> String {
        match validate(&self.list, &self.info, &self.capabilities) {
            Ok(()) => "valid".to_owned(),
            Err(reason) => reason.to_string(),
        }
    }

    #[track_caller]
    fn refused(&self, wanted: &str) {
        let found = self.verdict();
        assert!(found.contains(wanted), "wanted: {wanted}\n found: {found}");
    }

    fn arg(&mut self, position: usize) -> &mut Arg {
        let Command::Dispatch { args, .. } = &mut self.list.commands[2] else {
            panic!("the third step is the dispatch")
        };
        &mut args[position]
    }
}

#[track_caller]
fn arg_refused(position: usize, arg: Arg, wanted: &str) {
    let mut bench = Bench::new();
    *bench.arg(position) = arg;
    bench.refused(wanted);
}

#[test]
fn a_good_list_is_valid() {
    assert_eq!(Bench::new().verdict(), "valid");
    assert_eq!(
        validate(&CommandList::new(), &Bench::new().info, &capabilities()),
        Ok(())
    );
}

#[test]
fn slots_must_be_reachable() {
    let mut bench = Bench::new();
    bench.list.slot(Slot::Owned(Lease::pageable(10).unwrap()));
    bench.refused("slot 3 is memory that toy was not told of");
    let mut bench = Bench::new();
    bench.list.slot(Slot::Foreign(vec![0u8].into()));
    bench.refused("slot 3 is foreign memory, which toy cannot read");
    bench.capabilities.foreign_read = true;
    assert_eq!(bench.verdict(), "valid");
    let mut bench = Bench::new();
    bench.info.memory = 0; // works on the host's memory, so device memory is out of reach
    bench.refused("slot 0 is memory that toy was not told of");
}

#[test]
fn foreign_elements_lie_where_the_device_loads_them() {
    // Whatever address the block has, one of these is the first of a multiple of 16.
    let buffer = Buffer::from(vec![0u8; 1024]);
    let even = buffer.as_ptr().align_offset(16) as u64;
    let verdict = |alignment: u64, start: u64, bit_offset: u8, argument: usize| {
        let mut bench = Bench::new();
        bench.capabilities.foreign_read = true;
        bench.capabilities.foreign_alignment = alignment;
        let slot = bench.list.slot(Slot::Foreign(buffer.clone())).0;
        *bench.arg(argument) = memory_at_bit(slot, start..start + 401, bit_offset);
        bench.verdict()
    };
    // An i32 at any byte, for a device that takes it there; else at multiples of its four bytes.
    for at in 0..4 {
        assert_eq!(verdict(1, even + at, 0, 0), "valid", "{at}");
        let strict = verdict(8, even + at, 0, 0);
        match at {
            0 => assert_eq!(strict, "valid"),
            _ => assert!(
                strict.contains("toy loads i32 at multiples of 4 bytes; copy it first"),
                "{strict}"
            ),
        }
    }
    assert_eq!(
        verdict(8, even + 4, 0, 0),
        "valid",
        "a multiple of its width"
    );
    assert_ne!(verdict(2, even + 1, 0, 0), "valid", "no multiple of two");
    assert_eq!(
        verdict(2, even + 2, 0, 0),
        "valid",
        "as narrow as it need be"
    );
    // Bits begin in any byte.
    assert_eq!(verdict(8, even + 1, 3, 1), "valid");
}

#[test]
fn arguments_are_checked_one_by_one() {
    arg_refused(
        0,
        memory(9, 0..400),
        "step 2 (dispatch): argument 0, values of a column: \
         there is no slot 9 among 3",
    );
    arg_refused(
        0,
        memory(0, 3900..4300),
        "bytes 3900..4300 are not inside slot 0 of 4096",
    );
    #[allow(clippy::reversed_empty_ranges)] // bad input is what is tested
    arg_refused(0, memory(0, 400..0), "bytes 400..0 are not inside");
    arg_refused(
        0,
        memory(0, 0..399),
        "100 rows of i32 take 400 bytes here, but there are 399",
    );
    arg_refused(0, memory(0, 4..404), "must begin at a multiple of 8 bytes");
    arg_refused(
        0,
        memory_at_bit(0, 0..401, 1),
        "bit offset 1 is not possible here",
    );
    arg_refused(0, memory(1, 0..400), "toy computes on its own memory only");
    arg_refused(0, Arg::Absent, "memory is needed");
    arg_refused(0, Arg::Scalar([0; 16]), "memory is needed");
    arg_refused(
        1,
        memory_at_bit(0, 400..413, 7),
        "take 14 bytes here, but there are 13",
    );
    arg_refused(
        1,
        memory_at_bit(0, 400..414, 8),
        "bit offset 8 is not possible",
    );
    arg_refused(
        3,
        memory(2, 0..100),
        "argument 3, validity of a column: the program says",
    );
    arg_refused(
        4,
        memory(0, 0..16),
        "argument 4, parameter: a scalar is needed",
    );
    arg_refused(
        5,
        memory(2, 0..5),
        "entries of a table or set: 5 bytes are no whole number",
    );
    arg_refused(6, memory(2, 0..13), "slot 2 is resident, so read-only");
    arg_refused(8, Arg::Absent, "validity of an output: memory is needed");
    arg_refused(10, memory(0, 3000..3013), "the output has no nulls");
    let valid = memory(0, 400..414);
    let mut bench = Bench::new();
    *bench.arg(1) = Arg::Absent;
    assert_eq!(bench.verdict(), "valid");
    *bench.arg(1) = valid;
    assert_eq!(bench.verdict(), "valid");
}

#[test]
fn what_a_dispatch_writes_overlaps_nothing() {
    let overlap = "writes bytes of slot 0 that it also uses";
    arg_refused(6, memory(0, 408..421), overlap);
    arg_refused(9, memory(0, 2504..2704), overlap);
    let mut bench = Bench::new();
    let Command::Dispatch { status, .. } = &mut bench.list.commands[2] else {
        panic!()
    };
    *status = span(0, 2056..2080);
    bench.refused(overlap);
}

#[test]
fn slack_alignment_rows_and_status() {
    let mut bench = Bench::new();
    bench.capabilities.slack = 40;
    bench.refused("take 53 bytes here, but there are 13");
    let mut bench = Bench::new();
    bench.capabilities.max_rows = 99;
    bench.refused("100 rows are more than 99");
    let mut bench = Bench::new();
    bench.capabilities.entries.table = 5;
    bench.refused("toy has no room for a table of 6 bytes (5 at most)");
    let mut bench = Bench::new();
    bench.capabilities.entries.together = 5;
    bench.refused("toy has no room for a table of 6 bytes (5 at most)");
    bench.capabilities.entries.together = 6;
    assert_eq!(bench.verdict(), "valid");
    let mut bench = Bench::new();
    bench.capabilities.max_rows = u64::MAX;
    let Command::Dispatch { rows, .. } = &mut bench.list.commands[2] else {
        panic!()
    };
    *rows = u64::MAX / 2;
    bench.refused("more than memory can hold");
    let mut bench = Bench::new();
    bench.capabilities.compaction = false;
    bench.refused("toy filters no columns");
    let mut bench = Bench::new();
    let Command::Dispatch { status, .. } = &mut bench.list.commands[2] else {
        panic!()
    };
    *status = span(0, 1000..1016);
    bench.refused("status: it takes 24 bytes, not 16");
    let mut bench = Bench::new();
    let Command::Dispatch { args, .. } = &mut bench.list.commands[2] else {
        panic!()
    };
    *args = args[1..].into();
    bench.refused("the program takes 11 arguments, not 10");
    let mut bench = Bench::new();
    bench.capabilities.coherent = true;
    *bench.arg(0) = memory(1, 0..400);
    assert_eq!(bench.verdict(), "valid");
}

#[test]
fn copies_and_fills() {
    let copy = |from, to| Command::Copy { from, to };
    for (command, wanted) in [
        (
            copy(span(1, 0..10), span(0, 0..11)),
            "step 4 (copy): 10 bytes do not fit 11",
        ),
        (
            copy(span(0, 0..10), span(0, 9..19)),
            "writes bytes of slot 0",
        ),
        (copy(span(0, 0..10), span(2, 0..10)), "slot 2 is resident"),
        (copy(span(3, 0..0), span(0, 0..0)), "there is no slot 3"),
        (
            Command::Fill {
                to: span(2, 0..1),
                byte: 1,
            },
            "step 4 (fill): slot 2 is resident",
        ),
    ] {
        let mut bench = Bench::new();
        bench.list.push(command);
        bench.refused(wanted);
    }
    let counted = |count, unit_bits| Command::CopyCounted {
        from: span(0, 0..10),
        to: span(1, 0..10),
        count,
        unit_bits,
    };
    for (command, wanted) in [
        (
            counted(span(0, 16..23), 8),
            "the count takes 8 bytes, not 7",
        ),
        (counted(span(0, 16..24), 0), "units of 0 bits"),
        (counted(span(1, 4..12), 8), "writes bytes of slot 1"),
    ] {
        let mut bench = Bench::new();
        bench.list.push(command);
        bench.refused(wanted);
    }
    let mut bench = Bench::new();
    bench.capabilities.copy_counted = false;
    bench.refused("step 3 (counted copy): toy does not take counted copies");
}

#[test]
fn steps_are_limited() {
    let mut bench = Bench::new();
    let fill = Command::Fill {
        to: span(0, 0..1),
        byte: 0,
    };
    bench.list.commands = vec![fill; MAX_COMMANDS + 1];
    bench.refused("65537 steps are more than the limit of 65536");
}

#[test]
fn counts_that_cannot_be_are_found() {
    let mut list = Bench::new().list;
    assert_eq!(check_written(&list, &[0]), Ok(()));
    assert_eq!(check_written(&list, &[100]), Ok(()));
    let wrong = |rows, written| {
        Err(WrongCount {
            dispatch: 0,
            rows,
            written,
        })
    };
    assert_eq!(check_written(&list, &[101]), wrong(100, 101));
    assert_eq!(check_written(&list, &[]), wrong(100, 0));
    let too_many = Err(WrongCount {
        dispatch: 1,
        rows: 0,
        written: 5,
    });
    assert_eq!(check_written(&list, &[5, 5]), too_many);
    let unfiltered = Executable::new(Arc::new(Program::default()), Arc::new(()));
    let Command::Dispatch { exe, .. } = &mut list.commands[2] else {
        panic!()
    };
    *exe = unfiltered;
    assert_eq!(check_written(&list, &[100]), Ok(()));
    assert_eq!(check_written(&list, &[99]), wrong(100, 99));
}
