use std::ops::Range;
use std::sync::Arc;

use unlade_hal::{DeviceAddr, Lease, Slab, SlotId};
use unlade_program::Program;

use super::*;
use crate::admin::Handle;
use crate::returns::{Returned, Returns};
use crate::vectors;

const LIMITS: JobLimits = JobLimits {
    steps: 256,
    descriptor: 65_536,
    rows: 1 << 20,
    table: 65_536,
    set: 65_536,
};

/// Memory of a card, and lists that use it.
struct Card {
    domain: DomainId,
}

impl Card {
    fn new() -> Self {
        Card {
            domain: DomainId::unique(),
        }
    }

    fn target(&self) -> Target<'_> {
        Target {
            device: "dpu",
            domain: self.domain,
            generation: 0,
            limits: &LIMITS,
        }
    }

    fn describe(&self, list: &CommandList, blocks: Blocks) -> Result<Vec<u8>, String> {
        // What was there before leaves no trace.
        let mut draft = Draft {
            bytes: vec![0xFF; 100],
            places: vec![None; 3],
        };
        self.target().describe(list, blocks, &mut draft)?;
        Ok(draft.bytes)
    }

    /// A list with one slot, whose first byte the card has at 0x2000_0000.
    fn list(&self) -> CommandList {
        let keep = Arc::new(());
        let slab = Slab::device(self.domain, DeviceAddr(0x2000_0000), 1 << 29, keep);
        let mut list = CommandList::new();
        list.slot(Slot::Owned(slab.lease_whole().unwrap()));
        list
    }

    fn exe(&self, program: &str, handle: u32) -> Executable {
        let program: Program = program.parse().unwrap();
        let keep = Returns::default().on_drop(Returned::Mapping(Iova(0)));
        let loaded = Loaded::new(Handle(handle), self.domain, 0, keep);
        Executable::new(Arc::new(program), Arc::new(loaded))
    }
}

/// Of slot 0, by the card's addresses.
fn at(bytes: Range<u64>) -> Span {
    let slot = SlotId(0);
    let bytes = bytes.start - 0x2000_0000..bytes.end - 0x2000_0000;
    Span { slot, bytes }
}

fn from(start: u64, len: u64) -> Span {
    at(start..start + len)
}

fn memory(start: u64, len: u64, bit_offset: u8) -> Arg {
    let span = from(start, len);
    Arg::Span { span, bit_offset }
}

fn described(command: Command, blocks: Blocks) -> Vec<u8> {
    let card = Card::new();
    let mut list = card.list();
    list.push(command);
    card.describe(&list, blocks).unwrap()
}

#[test]
fn copies_and_fills_are_the_documents_bytes() {
    let none = Blocks::default();
    let copy = Command::Copy {
        from: from(0x2000_0003, 1000),
        to: from(0x2010_0000, 1000),
    };
    assert_eq!(described(copy, none), vectors::bytes("descriptor_copy"));
    let fill = Command::Fill {
        to: from(0x2010_0000, 65_536),
        byte: 0xA5,
    };
    assert_eq!(described(fill, none), vectors::bytes("descriptor_fill"));
    let counted = Command::CopyCounted {
        from: from(0x2020_0000, 125),
        to: from(0x2030_0000, 125),
        count: from(0x2040_0000, 8),
        unit_bits: 1,
    };
    let wanted = vectors::bytes("descriptor_copy_counted");
    assert_eq!(described(counted, none), wanted);
}

const MASK: &str = "columns c0: i32?
    params p0: i32
    %0 = load c0
    %1 = param p0
    %2 = cmp.gt %0, %1
    %3 = valid c0
    %4 = and %2, %3
    keep %4
    emit mask";

fn run_mask(card: &Card) -> Command {
    Command::Dispatch {
        exe: card.exe(MASK, 7),
        rows: 1000,
        args: Box::new([
            memory(0x3000_0000, 4000, 0),
            memory(0x3000_1000, 126, 3),
            Arg::Scalar((-7_i128).to_le_bytes()),
            memory(0x3000_2000, 125, 0),
        ]),
        status: from(0x3000_3000, 24),
    }
}

#[test]
fn runs_are_the_documents_bytes() {
    let card = Card::new();
    let mut list = card.list();
    list.push(run_mask(&card));
    let blocks = Blocks {
        report: Some(Iova(0x3000_3040)),
        checksums: None,
    };
    let bytes = card.describe(&list, blocks).unwrap();
    assert_eq!(bytes, vectors::bytes("descriptor_run_mask"));

    let add = "columns c0: i32?, c1: i32?
         %0 = load c0
         %1 = load c1
         %2 = add %0, %1
         output %2";
    list.commands[0] = Command::Dispatch {
        exe: card.exe(add, 8),
        rows: 100,
        args: Box::new([
            memory(0x3000_0000, 400, 0),
            Arg::Absent,
            memory(0x3000_0400, 400, 0),
            memory(0x3000_0800, 14, 7),
            memory(0x3000_0C00, 400, 0),
            memory(0x3000_1000, 13, 0),
        ]),
        status: from(0x3000_3000, 24),
    };
    let blocks = Blocks {
        report: None,
        checksums: Some(Iova(0x3000_3020)),
    };
    let bytes = card.describe(&list, blocks).unwrap();
    assert_eq!(bytes, vectors::bytes("descriptor_run_absent_validity"));
}

#[test]
fn what_the_card_would_refuse_is_named() {
    let card = Card::new();
    let refused = |list: &CommandList| {
        let described = card.describe(list, Blocks::default());
        described.unwrap_err()
    };
    let mut list = card.list();
    for _ in 0..257 {
        list.push(Command::Fill {
            to: from(0x2000_0000, 8),
            byte: 0,
        });
    }
    assert!(refused(&list).contains("257 steps are more than the 256"));

    list.commands = vec![run_mask(&Card::new())];
    assert!(refused(&list).contains("compiled for another device"));

    list.commands.clear();
    let unknown = list.slot(Slot::Owned(Lease::pageable(64).unwrap()));
    list.push(Command::Fill {
        to: Span {
            slot: unknown,
            bytes: 0..8,
        },
        byte: 0,
    });
    let refusal = refused(&list);
    assert!(refusal.starts_with("step 0: slot 1") && refusal.contains("register"));

    let lookup = "columns c0: i32
         tables t0: i32
         %0 = load c0
         %1 = lookup t0, %0
         output %1";
    list.commands = vec![Command::Dispatch {
        exe: card.exe(lookup, 9),
        rows: 1,
        args: Box::new([
            memory(0x2000_0000, 4, 0),
            Arg::Absent,
            memory(0x2100_0000, 65_540, 0),
            memory(0x2200_0000, 4, 0),
            Arg::Absent,
        ]),
        status: from(0x2300_0000, 24),
    }];
    assert!(refused(&list).contains("a table of 65540 bytes is more than the card's 65536"));
}

#[test]
fn a_status_is_no_other_steps_business() {
    let card = Card::new();
    let copy = |start, to| Command::Copy {
        from: from(start, 24),
        to: from(to, 24),
    };
    let check = |before: Option<Command>, after: Option<Command>| {
        let mut list = card.list();
        list.commands.extend(before);
        list.push(run_mask(&card));
        list.commands.extend(after);
        check_statuses(&list)
    };
    const STATUS: u64 = 0x3000_3000;
    const ELSEWHERE: u64 = 0x3000_4000;
    assert_eq!(check(None, None), Ok(()));
    assert_eq!(check(None, Some(copy(STATUS, ELSEWHERE))), Ok(()));
    assert_eq!(check(Some(copy(ELSEWHERE, STATUS + 24)), None), Ok(()));
    let error = check(None, Some(copy(ELSEWHERE, STATUS + 23))).unwrap_err();
    assert!(
        error.starts_with("step 1 uses the status of step 0"),
        "{error}"
    );
    assert!(check(Some(copy(STATUS, ELSEWHERE)), None).is_err());
    assert!(check(Some(run_mask(&card)), None).is_err());
}
