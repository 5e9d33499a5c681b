use std::sync::Arc;

use unlade_hal::{
    Arg, Command, DeviceAddr, DomainId, Executable, Lease, Slot, Span, Status, Timestamp, Timing,
};
use unlade_program::Program;

use super::*;
use crate::admin::Handle;
use crate::program::Loaded;
use crate::returns::{Returned, Returns};
use crate::vectors::Vector;

const ROWS: u64 = 100;

/// A list that fills something and runs a program over 100 rows, of which it keeps some and of
/// which some may trap; its status is the first 24 bytes of slot 0.
fn list(status: Option<Status>) -> CommandList {
    let program: Program = "columns c0: i32
         %0 = load c0
         %1 = overflow.add %0, %0
         %2 = trap.overflow %1, ordinal 3
         %3 = cmp.lt %0, %0
         keep %3
         output %0"
        .parse()
        .unwrap();
    let code = Loaded::new(
        Handle(7),
        DomainId::unique(),
        0,
        Returns::default().on_drop(Returned::Mapping(crate::Iova(0))),
    );
    let exe = Executable::new(Arc::new(program), Arc::new(code));
    let mut list = CommandList::new();
    let slot = list.slot(Slot::Owned(Lease::pageable(4096).unwrap()));
    let span = |bytes| Span { slot, bytes };
    list.push(Command::Fill {
        to: span(1024..2048),
        byte: 1,
    });
    list.push(Command::Dispatch {
        exe,
        rows: ROWS,
        args: Box::new([Arg::Absent, Arg::Absent, Arg::Absent, Arg::Absent]),
        status: span(0..Status::BYTES),
    });
    job::spoil_statuses(&mut list);
    if let (Some(status), Slot::Owned(lease)) = (status, &mut list.slots[0]) {
        let bytes = lease.bytes_mut().unwrap();
        bytes[..Status::BYTES as usize].copy_from_slice(&status.to_bytes());
    }
    list
}

fn answer(status: StatusCode, dw0: u32) -> Answer {
    Answer {
        dw0,
        dw1: 0,
        submission_head: 1,
        queue: 1,
        id: 1,
        status,
    }
}

fn kept(kept: u64) -> Option<Status> {
    Some(Status { kept, trap: None })
}

fn trap(row: u64, ordinal: u32) -> Option<Status> {
    let trap = Some(Trap { row, ordinal });
    Some(Status { kept: 0, trap })
}

#[test]
fn a_job_that_is_done_says_what_it_kept() {
    for count in [0, 41, ROWS] {
        let outcome = outcome(&list(kept(count)), &answer(StatusCode::SUCCESS, 2));
        let written = [count].into();
        assert_eq!(outcome, Ok(Outcome::Done { written }));
    }
}

#[test]
fn a_trap_is_found_in_its_result_block() {
    let outcome = outcome(&list(trap(99, 3)), &answer(StatusCode::TRAPPED, 1));
    let trap = Trap {
        row: 99,
        ordinal: 3,
    };
    assert_eq!(outcome, Ok(Outcome::Trapped(trap)));
}

#[test]
fn what_cannot_be_is_not_believed() {
    const SUCCESS: StatusCode = StatusCode::SUCCESS;
    const TRAPPED: StatusCode = StatusCode::TRAPPED;
    for (status, code, dw0, named) in [
        (kept(0), SUCCESS, 1, "success of 1 steps"),
        (kept(ROWS + 1), SUCCESS, 2, "101 rows kept"),
        (None, SUCCESS, 2, "not written its result block"),
        (trap(5, 3), SUCCESS, 2, "a trap of step 1 at row 5"),
        (trap(ROWS, 3), TRAPPED, 1, "row 100 of 100"),
        (trap(5, 4), TRAPPED, 1, "its program has not"),
        (trap(5, 3), TRAPPED, 0, "runs no program"),
        (trap(5, 3), TRAPPED, u32::MAX, "runs no program"),
        (kept(5), TRAPPED, 1, "no row that traps"),
        (None, TRAPPED, 1, "not written its result block"),
        (kept(5), StatusCode(0x020A), 1, "JOB_DMA_ERROR"),
        (kept(5), StatusCode(0x7FFF), 1, "unknown status"),
    ] {
        let fault = outcome(&list(status), &answer(code, dw0)).unwrap_err();
        assert!(fault.to_string().contains(named), "{fault}");
    }
}

#[test]
fn a_report_is_read_where_its_times_can_be() {
    let report = |fetched: u64, started: u64, ended: u64, steps: u32| {
        let mut bytes = [0; REPORT];
        bytes[..8].copy_from_slice(&fetched.to_le_bytes());
        bytes[8..16].copy_from_slice(&started.to_le_bytes());
        bytes[16..24].copy_from_slice(&ended.to_le_bytes());
        bytes[40..44].copy_from_slice(&steps.to_le_bytes());
        timing(&bytes, 2, ClockKind::Virtual, || Duration::ZERO)
    };
    let wanted = Timing {
        clock: Some(ClockKind::Virtual),
        submitted: Some(Timestamp(Duration::from_nanos(100))),
        queued: Duration::from_nanos(20),
        compute: Duration::from_nanos(1000),
        ..Timing::default()
    };
    assert_eq!(report(100, 120, 1120, 2), Ok(wanted));
    assert!(report(100, 99, 1120, 2).is_err());
    assert!(report(100, 120, 119, 2).is_err());
    assert!(report(100, 120, 1120, 3).is_err());
}

/// Who pays for a card's time would pay for what a report says.
#[test]
fn by_the_wall_no_job_takes_longer_than_it_was_under_way() {
    let took = |took: u64, passed: Duration, clock| {
        let mut bytes = [0; REPORT];
        bytes[..8].copy_from_slice(&7_u64.to_le_bytes());
        bytes[8..16].copy_from_slice(&8_u64.to_le_bytes());
        bytes[16..24].copy_from_slice(&(7 + took).to_le_bytes());
        timing(&bytes, 1, clock, || passed)
    };
    let passed = Duration::from_secs(1);
    assert!(took(1_000_000_000, passed, ClockKind::Wall).is_ok());
    assert!(took(1_100_000_000, passed, ClockKind::Wall).is_ok());
    for long in [1_200_000_000, u64::MAX - 7] {
        let lie = took(long, passed, ClockKind::Wall).unwrap_err().to_string();
        assert!(lie.contains("submitted 1s ago"), "{lie}");
        assert!(took(long, passed, ClockKind::Virtual).is_ok());
    }
}

/// The address does not matter to what is read back on the host.
#[test]
fn statuses_of_other_slots_are_not_there() {
    let mut list = list(kept(1));
    let device = unlade_hal::Slab::device(DomainId::unique(), DeviceAddr(0), 4096, Arc::new(()));
    list.slots[0] = Slot::Owned(device.lease_whole().unwrap());
    assert!(outcome(&list, &answer(StatusCode::SUCCESS, 2)).is_err());
}

pub(crate) fn reads(vector: &Vector) {
    let bytes: &[u8; REPORT] = vector.hex.as_slice().try_into().unwrap();
    let steps = vector.u32("steps_done") as usize;
    let found = timing(bytes, steps, ClockKind::Wall, || Duration::MAX).unwrap();
    let [fetched, started, ended] = ["fetched", "started", "ended"].map(|field| vector.u64(field));
    let wanted = Timing {
        clock: Some(ClockKind::Wall),
        queued: Duration::from_nanos(started - fetched),
        compute: Duration::from_nanos(ended - started),
        ..Timing::default()
    };
    assert_eq!(found, wanted, "{}", vector.name);
    assert!(timing(bytes, steps - 1, ClockKind::Wall, || Duration::MAX).is_err());
}
