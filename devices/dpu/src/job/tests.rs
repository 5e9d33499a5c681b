use std::ops::Range;
use std::sync::Arc;

use unlade_hal::{DeviceAddr, EntryLimits, Lease, Slab, SlotId};
use unlade_program::{Program, Trap};

use super::*;
use crate::admin::Handle;
use crate::returns::{Returned, Returns};
use crate::vectors::{self, Vector};

const LIMITS: JobLimits = JobLimits {
    steps: 256,
    descriptor: 65_536,
    rows: 1 << 20,
    entries: EntryLimits::NONE,
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
        let slab = Slab::device(self.domain, DeviceAddr(0x2000_0000), 1 << 30, keep);
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

fn run_mask(card: &Card) -> Command {
    Command::Dispatch {
        exe: card.exe(vectors::program("program_mask"), 7),
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

/// The driver describes such a job, which then is the vector; where that has a list of segments it
/// names the range of these, as slabs are whole ranges.
pub(crate) fn reads(vector: &Vector) {
    let card = Card::new();
    let mut list = card.list();
    let mut blocks = Blocks {
        report: block(vector.u64("report_iova")),
        checksums: None,
    };
    for step in 0..vector.count("step", ".kind") {
        let field = |name: &str| format!("step.{step}.{name}");
        let span = |name: &str| match vector.operand(&field(name)) {
            Operand::Memory { iova, len, .. } => from(iova.0, len),
            other => panic!("{}: {other:?}", vector.name),
        };
        list.push(match vector.number(&field("kind")) {
            1 => Command::Copy {
                from: span("from"),
                to: span("to"),
            },
            2 => Command::Fill {
                to: span("to"),
                byte: vector.number(&field("value")).try_into().unwrap(),
            },
            3 => Command::CopyCounted {
                from: span("from"),
                to: span("to"),
                count: span("count"),
                unit_bits: vector.u32(&field("unit_bits")),
            },
            4 => {
                blocks.checksums = block(vector.u64(&field("checksums_iova")));
                let program = vectors::program(vector.program.expect("a RUN has a program"));
                let argument = |number| match vector.operand(&field(&format!("argument.{number}")))
                {
                    Operand::Absent => Arg::Absent,
                    Operand::Scalar(value) => Arg::Scalar(value),
                    Operand::Memory {
                        iova,
                        len,
                        bit_offset,
                    } => memory(iova.0, len, bit_offset),
                };
                let arguments = vector.u32(&field("arguments"));
                Command::Dispatch {
                    exe: card.exe(program, vector.u32(&field("program"))),
                    rows: vector.u64(&field("rows")),
                    args: (0..arguments).map(argument).collect(),
                    status: from(vector.u64(&field("result_iova")), 24),
                }
            }
            other => panic!("{}: there is no step of kind {other}", vector.name),
        });
    }
    let described = card.describe(&list, blocks).unwrap();
    assert_eq!(vector.with_lists(described), vector.hex, "{}", vector.name);
}

fn block(iova: u64) -> Option<Iova> {
    (iova != 0).then_some(Iova(iova))
}

/// The block is in the list's own memory.
pub(crate) fn reads_result(vector: &Vector) {
    let slab = Slab::host(
        unlade_hal::MemoryKind::Readback,
        24,
        unlade_hal::PageSize::Base,
    );
    let mut lease = slab.unwrap().lease_whole().unwrap();
    lease.bytes_mut().unwrap()[..24].copy_from_slice(&vector.hex);
    let mut list = CommandList::new();
    let slot = list.slot(Slot::Owned(lease));
    let found = status(&list, &Span { slot, bytes: 0..24 });
    let row = vector.u64("row_of_the_trap");
    let ordinal = vector.u32("ordinal_of_the_trap");
    let wanted = Status {
        kept: vector.u64("rows_kept"),
        trap: (row != u64::MAX).then_some(Trap { row, ordinal }),
    };
    assert_eq!(found, Some(wanted), "{}", vector.name);
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
