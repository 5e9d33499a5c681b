//! Each kind of fault, seen from outside, over the simulated device.

use std::sync::Arc;
use std::time::Duration;

use unlade_hal::*;
use unlade_program::Program;
use unlade_sim_device::{Profile, SimDevice};
use unlade_sim_fault::{FaultDevice, FaultKind, FaultPlan};

const LONG: Duration = Duration::from_secs(3600);

fn device(plan: FaultPlan) -> FaultDevice {
    FaultDevice::new(
        Arc::new(SimDevice::builder(Profile::coherent_gpu()).build()),
        plan,
    )
}

fn compile(device: &FaultDevice) -> Result<Executable, CompileError> {
    let program: Program = "columns c0: i32\n%0 = load c0\n%1 = add %0, %0\noutput %1"
        .parse()
        .unwrap();
    device.compile(&Arc::new(program))
}

/// Doubles 1, 2, 3, 4.
fn list(device: &FaultDevice, exe: &Executable) -> Result<CommandList, AllocError> {
    let mut list = CommandList::new();
    let numbers: Vec<u8> = [1i32, 2, 3, 4]
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let input = list.slot(Slot::Foreign(numbers.into()));
    let output = device
        .allocate(MemoryKind::Readback, 4096)?
        .lease_whole()
        .unwrap();
    let output = list.slot(Slot::Owned(output));
    let memory = |slot, bytes| Arg::Span {
        span: Span { slot, bytes },
        bit_offset: 0,
    };
    list.push(Command::Dispatch {
        exe: exe.clone(),
        rows: 4,
        args: [
            memory(input, 0..16),
            Arg::Absent,
            memory(output, 0..16),
            Arg::Absent,
        ]
        .into(),
        status: Span {
            slot: output,
            bytes: 64..88,
        },
    });
    Ok(list)
}

fn doubled(list: &CommandList) -> Vec<i32> {
    let Slot::Owned(lease) = &list.slots[1] else {
        panic!("the output is owned")
    };
    let bytes = &lease.bytes().unwrap()[..16];
    bytes
        .chunks_exact(4)
        .map(|four| i32::from_le_bytes(four.try_into().unwrap()))
        .collect()
}

/// A device with a queue and a list submitted to it.
fn submitted(kind: FaultKind) -> (FaultDevice, Box<dyn Queue>, Seq) {
    let device = device(FaultPlan::nth(1, kind));
    let exe = compile(&device).unwrap();
    let mut queue = device.open_queue(4).unwrap();
    let seq = queue.submit(list(&device, &exe).unwrap()).unwrap();
    (device, queue, seq)
}

fn struck(device: &FaultDevice, kind: FaultKind) -> bool {
    device.log().iter().any(|entry| entry.kind == kind)
}

#[test]
fn without_faults_it_is_the_device_itself() {
    let device = device(FaultPlan::none());
    let exe = compile(&device).unwrap();
    let mut queue = device.open_queue(4).unwrap();
    let seq = queue.submit(list(&device, &exe).unwrap()).unwrap();
    assert_eq!(queue.wait(seq, LONG).unwrap(), Wait::Reached);
    let mut done = Vec::new();
    queue.poll(&mut done).unwrap();
    assert_eq!(doubled(&done[0].list), [2, 4, 6, 8]);
    assert!(device.log().is_empty());
    assert_eq!(
        device.operations(),
        6,
        "compile, open, allocate, submit, wait, completion"
    );
}

#[test]
fn calls_fail_once() {
    let device = device(FaultPlan::nth(1, FaultKind::CompileFails));
    assert!(matches!(compile(&device), Err(CompileError::Failed(_))));
    assert!(compile(&device).is_ok());

    let device = self::device(FaultPlan::nth(2, FaultKind::RegistrationFails));
    let slab = Slab::host(MemoryKind::Upload, 1, PageSize::Base).unwrap();
    assert!(device.register(&slab).is_ok());
    assert!(matches!(
        device.register(&slab),
        Err(AllocError::Os {
            call: "register",
            ..
        })
    ));

    let device = self::device(FaultPlan::nth(1, FaultKind::OpenQueueFails));
    assert!(device.open_queue(1).is_err());
    assert!(device.open_queue(1).is_ok());
    assert_eq!(device.log().len(), 1);
}

#[test]
fn a_full_queue_and_a_loss_at_submit_give_the_list_back() {
    for kind in [FaultKind::QueueFull, FaultKind::LostAtSubmit] {
        let device = device(FaultPlan::nth(1, kind));
        let exe = compile(&device).unwrap();
        let mut queue = device.open_queue(4).unwrap();
        let rejected = queue.submit(list(&device, &exe).unwrap()).unwrap_err();
        assert_eq!(rejected.list.slots.len(), 2);
        let lost = kind == FaultKind::LostAtSubmit;
        assert_eq!(matches!(rejected.reason, RejectReason::Lost(_)), lost);
        assert_eq!(matches!(rejected.reason, RejectReason::Full), !lost);
        assert_eq!(
            queue.submit(rejected.list).is_err(),
            lost,
            "a loss is sticky"
        );
        assert_eq!(matches!(device.health(), Health::Lost(_)), lost);
    }
}

#[test]
fn a_wait_times_out_early_once() {
    let (_device, mut queue, seq) = submitted(FaultKind::WaitTimesOut);
    assert_eq!(queue.wait(seq, LONG).unwrap(), Wait::TimedOut);
    assert_eq!(queue.wait(seq, LONG).unwrap(), Wait::Reached);
}

#[test]
fn a_late_completion_comes_in_the_end() {
    let (_device, mut queue, seq) = submitted(FaultKind::LateCompletion);
    let mut done = Vec::new();
    let mut waits = 0;
    while done.is_empty() {
        waits += u32::from(queue.wait(seq, Duration::from_secs(1)).unwrap() == Wait::TimedOut);
        queue.poll(&mut done).unwrap();
        assert!(waits < 10);
    }
    assert!(waits > 0);
    assert_eq!(doubled(&done[0].list), [2, 4, 6, 8]);
}

#[test]
fn a_reached_point_is_the_next_polls_to_deliver() {
    for kind in FaultKind::ALL {
        let plan = FaultPlan::random(3, [(kind, 0.5)]);
        let device = device(plan);
        let Ok(exe) = compile(&device) else { continue };
        let Ok(mut queue) = device.open_queue(8) else {
            continue;
        };
        for _ in 0..8 {
            let Ok(list) = list(&device, &exe) else {
                continue;
            };
            let Ok(seq) = queue.submit(list) else {
                continue;
            };
            if let Ok(Wait::Reached) = queue.wait(seq, LONG) {
                let mut done = Vec::new();
                queue.poll(&mut done).unwrap();
                assert!(
                    done.iter().any(|completion| completion.seq == seq),
                    "{kind:?}"
                );
            }
        }
    }
}

#[test]
fn a_lost_completion_is_leaked_and_holds_up_the_rest() {
    let (device, mut queue, seq) = submitted(FaultKind::LostCompletion);
    let exe = compile(&device).unwrap();
    let second = queue.submit(list(&device, &exe).unwrap()).unwrap();
    for _ in 0..10 {
        assert_eq!(
            queue.wait(second, Duration::from_secs(1)).unwrap(),
            Wait::TimedOut
        );
    }
    let mut done = Vec::new();
    queue.poll(&mut done).unwrap();
    assert!(done.is_empty());
    let left = queue.quiesce(LONG);
    assert_eq!(left.leaked, [Leaked { seq, bytes: 4096 }]);
    assert_eq!(left.completions.len(), 1);
    assert_eq!(doubled(&left.completions[0].list), [2, 4, 6, 8]);
}

#[test]
fn a_duplicate_has_the_number_but_not_the_list() {
    let (_device, mut queue, seq) = submitted(FaultKind::DuplicateCompletion);
    queue.wait(seq, LONG).unwrap();
    let mut done = Vec::new();
    queue.poll(&mut done).unwrap();
    assert_eq!((done[0].seq, done[1].seq), (seq, seq));
    assert_eq!(doubled(&done[0].list), [2, 4, 6, 8]);
    assert!(done[1].list.slots.is_empty());
}

#[test]
fn a_partial_write_loses_the_device_with_half_the_bytes() {
    let (device, mut queue, seq) = submitted(FaultKind::PartialWrite);
    assert!(queue.wait(seq, LONG).is_err());
    assert!(queue.poll(&mut Vec::new()).is_err());
    let left = queue.quiesce(LONG);
    assert!(matches!(left.completions[0].outcome, Outcome::Aborted(_)));
    assert_eq!(
        doubled(&left.completions[0].list),
        [2, 4, 0x5a5a5a5a, 0x5a5a5a5a]
    );

    assert!(device.open_queue(1).is_err());
    device.reset().unwrap();
    assert_eq!(device.health(), Health::Ready);
    assert!(device.open_queue(1).is_ok());
}

#[test]
fn corruption_flips_one_bit_and_says_nothing() {
    let (_device, mut queue, seq) = submitted(FaultKind::Corruption);
    queue.wait(seq, LONG).unwrap();
    let mut done = Vec::new();
    queue.poll(&mut done).unwrap();
    assert_eq!(
        done[0].outcome,
        Outcome::Done {
            written: [4].into()
        }
    );
    assert_eq!(doubled(&done[0].list), [3, 4, 6, 8]);
    assert!(FaultKind::Corruption.is_silent());
}

#[test]
fn a_count_too_large_is_found_by_the_check() {
    let (_device, mut queue, seq) = submitted(FaultKind::CountTooLarge);
    queue.wait(seq, LONG).unwrap();
    let mut done = Vec::new();
    queue.poll(&mut done).unwrap();
    let Outcome::Done { written } = &done[0].outcome else {
        panic!("it is done")
    };
    let wrong = check_written(&done[0].list, written).unwrap_err();
    assert_eq!((wrong.rows, wrong.written), (4, 5));
}

#[test]
fn a_failed_reset_leaves_the_device_lost_and_old_queues_stay_void() {
    let device = device(FaultPlan::nth(1, FaultKind::ResetFails));
    let mut queue = device.open_queue(1).unwrap();
    device.lose("pulled out");
    assert!(device.reset().is_err());
    assert!(matches!(device.health(), Health::Lost(lost) if lost.reason == "pulled out"));
    device.reset().unwrap();
    assert_eq!(device.health(), Health::Ready);
    assert!(
        queue
            .poll(&mut Vec::new())
            .unwrap_err()
            .reason
            .contains("was reset")
    );
}

/// The loop that users of this crate write: every chance of every kind, one at a time.
#[test]
fn every_kind_is_reached_by_a_sweep_and_nothing_is_lost_without_trace() {
    for kind in FaultKind::ALL {
        for nth in 1.. {
            let device = device(FaultPlan::nth(nth, kind));
            let ends = three_lists(&device);
            if !struck(&device, kind) {
                assert!(nth > 1, "{kind:?} never strikes");
                break;
            }
            assert!(nth < 100, "{kind:?} strikes for ever");
            assert_eq!(
                ends.submitted,
                ends.completed + ends.leaked,
                "{kind:?} {nth}"
            );
            if ends.wrong > 0 {
                assert!(kind.is_silent(), "{kind:?} {nth}");
            }
        }
    }
}

#[derive(Default)]
struct Ends {
    submitted: usize,
    completed: usize,
    leaked: usize,
    wrong: usize,
}

fn three_lists(device: &FaultDevice) -> Ends {
    let mut ends = Ends::default();
    let slab = Slab::host(MemoryKind::Upload, 1, PageSize::Base).unwrap();
    let _registered = device.register(&slab);
    let _reset = device.reset();
    let Ok(exe) = compile(device) else {
        return ends;
    };
    let Ok(mut queue) = device.open_queue(4) else {
        return ends;
    };
    let mut count = |completion: &Completion| {
        if completion.list.slots.is_empty() {
            return; // a duplicate
        }
        ends.completed += 1;
        if let Outcome::Done { written } = &completion.outcome {
            let trusted = check_written(&completion.list, written).is_ok();
            ends.wrong += usize::from(trusted && doubled(&completion.list) != [2, 4, 6, 8]);
        }
    };
    for _ in 0..3 {
        let Ok(list) = list(device, &exe) else {
            continue;
        };
        let Ok(seq) = queue.submit(list) else {
            continue;
        };
        ends.submitted += 1;
        let mut done = Vec::new();
        for _ in 0..2 {
            let _wait = queue.wait(seq, Duration::from_secs(1));
            let _poll = queue.poll(&mut done);
        }
        done.iter().for_each(&mut count);
    }
    let left = queue.quiesce(LONG);
    left.completions.iter().for_each(&mut count);
    ends.leaked = left.leaked.len();
    ends
}
