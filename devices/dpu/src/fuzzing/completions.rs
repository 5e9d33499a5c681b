//! A card that completes anything: lists end as they may, or the device is lost with a reason, and
//! every list is accounted for.

use std::sync::Arc;
use std::time::Duration;

use unlade_hal::{
    Arg, Command, CommandList, Completion, Device, DeviceLost, Executable, Health, MemoryKind,
    Outcome, Slot, Span, Status,
};
use unlade_program::Program;

use super::hostile::{HostileCard, Script};
use crate::device::{DpuDevice, Options};
use crate::transport::Transport;

/// Rows of every list.
const ROWS: u64 = 100;

/// Ordinal of the program's trap.
const ORDINAL: u32 = 5;

/// Lists that are submitted at most.
const MOST: usize = 12;

/// Where in its memory a list has its input and its output; the status is before them.
const INPUT: u64 = 64;
const OUTPUT: u64 = 1024;

/// Opens a card whose script these bytes are, and has it do lists until the script is over.
///
/// # Panics
/// Where something comes back that cannot be, or does not come back.
pub fn completions(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let checksums = script.byte() % 2 == 1;
    let card = Arc::new(HostileCard::new(script));
    let transport: Arc<dyn Transport> = card.clone();
    let options = Options {
        name: None,
        place: None,
        owner: "fuzzing".to_owned(),
        checksums,
    };
    let Ok(device) = DpuDevice::open(transport, &options) else {
        return;
    };
    work(&card, &device);
    if let Health::Lost(lost) = device.health() {
        assert!(!lost.reason.is_empty());
        // Whether it comes back is the script's business.
        let _either = device.reset();
    }
    let _readings = device.readings();
    device.close();
}

fn work(card: &HostileCard, device: &DpuDevice) {
    let Ok(exe) = device.compile(&Arc::new(filter())) else {
        return;
    };
    let Ok(mut queue) = device.open_queue(3) else {
        return;
    };
    let (mut submitted, mut done) = (0, Vec::new());
    let mut lost: Result<(), DeviceLost> = Ok(());
    while !card.is_over() && submitted < MOST && lost.is_ok() {
        match list(device, &exe).map(|list| queue.submit(list)) {
            Some(Ok(_)) => submitted += 1,
            Some(Err(rejected)) => assert_eq!(rejected.list.commands.len(), 1),
            None => break,
        }
        card.go_on();
        lost = queue.poll(&mut done);
    }
    let quiesced = queue.quiesce(Duration::ZERO);
    assert_eq!(quiesced.leaked, [], "a reset makes this card quiet");
    done.extend(quiesced.completions);
    assert_eq!(done.len(), submitted, "lists that are accounted for");
    for (at, completion) in done.iter().enumerate() {
        assert!(at == 0 || done[at - 1].seq < completion.seq, "in order");
        check(completion);
    }
}

/// What a completion may say.
fn check(completion: &Completion) {
    assert_eq!(completion.list.slots.len(), 1);
    match &completion.outcome {
        Outcome::Done { written } => {
            assert!(written.len() == 1 && written[0] <= ROWS, "{written:?}");
        }
        Outcome::Trapped(trap) => {
            assert!(trap.row < ROWS && trap.ordinal == ORDINAL, "{trap:?}");
        }
        Outcome::Aborted(lost) => assert!(!lost.reason.is_empty()),
    }
}

fn filter() -> Program {
    let text = format!(
        "columns c0: i32
         %0 = load c0
         %1 = const i32 0
         %2 = cmp.lt %0, %1
         %3 = trap.overflow %2, ordinal {ORDINAL}
         keep %2
         output %0"
    );
    text.parse().expect("it is a program")
}

/// The filter over zeros; nothing where the device gives no memory.
fn list(device: &DpuDevice, exe: &Executable) -> Option<CommandList> {
    let slab = device.allocate(MemoryKind::Readback, 4096).ok()?;
    let mut list = CommandList::new();
    let slot = list.slot(Slot::Owned(slab.lease_whole()?));
    let span = |bytes| Span { slot, bytes };
    let memory = |from| Arg::Span {
        span: span(from..from + 4 * ROWS),
        bit_offset: 0,
    };
    list.push(Command::Dispatch {
        exe: exe.clone(),
        rows: ROWS,
        args: Box::new([memory(INPUT), Arg::Absent, memory(OUTPUT), Arg::Absent]),
        status: span(0..Status::BYTES),
    });
    Some(list)
}
