//! Every fault, seen from the host.

use std::time::{Duration, Instant};

use unlade_sim_card::{CHANGED_AFTER, Config, Counters, Fault, FaultPlan, LATE, Profile, Region};

use crate::encode::{absent, copy, descriptor, entry, fill, memory, run, with, with_memory};
use crate::host::{Cqe, Host};
use crate::program::{Bytecode, U8, load};

/// A host whose card does this to its second job.
fn host(fault: Fault) -> Host {
    let faults = FaultPlan::none().at(2, fault);
    Host::new(Config {
        profile: Profile::full(),
        seed: 1,
        faults,
    })
}

/// Two buffers of 64 bytes, and the entry of a job that copies ones from the first to the second.
fn copying(host: &mut Host) -> (u64, [u8; 64]) {
    let from = host.place(&[1; 64]);
    let to = host.allocate(64, 64);
    let job = descriptor(&[copy(memory(from, 64), memory(to, 64))], 0);
    (to, host.job_entry(&job))
}

/// Waits until something holds of the host.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::yield_now();
    }
}

fn succeeded(host: &Host, jobs: u64) {
    until("the jobs have run", || {
        host.card.counters().jobs_succeeded == jobs
    });
}

/// Whether a NOP that is sent now is completed, by the next entry or one behind it.
fn nop(host: &mut Host) -> Cqe {
    host.submit(entry(0x81));
    host.wait()
}

fn injected(counters: &Counters) -> Vec<Fault> {
    counters
        .faults
        .iter()
        .map(|&(job, fault)| {
            assert_eq!(job, 2);
            fault
        })
        .collect()
}

#[test]
fn a_late_completion_comes_after_its_job_is_long_done() {
    let mut host = host(Fault::LateCompletion);
    let (_, job) = copying(&mut host);
    host.io(job);
    let id = host.submit(job);
    let sent = Instant::now();
    let other = host.submit(entry(0x81));
    let mut seen = vec![host.wait().id];
    while seen.last() != Some(&id) {
        seen.push(host.wait().id);
    }
    assert!(sent.elapsed() >= LATE);
    // Others go on, if the host sends them in time.
    assert!(seen == [other, id] || host.wait().id == other);
    assert_eq!(injected(&host.card.counters()), [Fault::LateCompletion]);
}

#[test]
fn a_lost_completion_never_comes() {
    let mut host = host(Fault::LostCompletion);
    let (to, job) = copying(&mut host);
    host.io(job);
    host.write(to, &[0; 64]);
    let id = host.submit(job);
    succeeded(&host, 2);
    assert_eq!(nop(&mut host).id, id + 1);
    std::thread::sleep(2 * LATE);
    assert_eq!(host.poll(), None);
    assert_eq!(host.read(to, 64), [1; 64], "the job itself is done");
}

#[test]
fn a_duplicate_completion_comes_twice() {
    let mut host = host(Fault::DuplicateCompletion);
    let (_, job) = copying(&mut host);
    host.io(job);
    let id = host.submit(job);
    assert_eq!((host.wait().id, host.wait().id), (id, id));
    assert_eq!(nop(&mut host).id, id + 1);
}

#[test]
fn a_reordered_completion_comes_behind_the_next_or_by_itself() {
    let mut host = host(Fault::ReorderedCompletion);
    let (_, job) = copying(&mut host);
    host.io(job);
    // The card sees both at once.
    host.set_command(0x0002);
    let (second, third) = (host.submit(job), host.submit(job));
    host.set_command(0x0006);
    assert_eq!((host.wait().id, host.wait().id), (third, second));
    let faults = FaultPlan::none().at(1, Fault::ReorderedCompletion);
    let mut alone = Host::new(Config {
        profile: Profile::full(),
        seed: 1,
        faults,
    });
    let (_, job) = copying(&mut alone);
    alone.io(job);
}

#[test]
fn a_wrong_phase_hides_the_completion() {
    let mut host = host(Fault::WrongPhase);
    let (_, job) = copying(&mut host);
    host.io(job);
    host.submit(job);
    succeeded(&host, 2);
    host.submit(entry(0x81));
    std::thread::sleep(LATE);
    assert_eq!(
        host.poll(),
        None,
        "the slot looks old, and what comes behind is not looked at"
    );
}

#[test]
fn partial_dma_leaves_the_second_half() {
    let mut host = host(Fault::PartialDma);
    let (to, job) = copying(&mut host);
    host.io(job);
    host.write(to, &[9; 64]);
    assert_eq!(host.io(job).outcome(), (0, 1, 0));
    assert_eq!(host.read(to, 64), [[1; 32], [9; 32]].concat());
}

#[test]
fn corrupt_data_differ_in_a_bit() {
    let mut host = host(Fault::CorruptData);
    let (to, job) = copying(&mut host);
    host.io(job);
    assert_eq!(host.read(to, 64), [1; 64]);
    assert_eq!(host.io(job).outcome(), (0, 1, 0));
    let mut wanted = [1; 64];
    wanted[0] = 0;
    assert_eq!(host.read(to, 64), wanted);
}

#[test]
fn a_stuck_doorbell_is_not_heard_until_a_reset() {
    let mut host = host(Fault::StuckDoorbell);
    let (_, job) = copying(&mut host);
    host.io(job);
    host.io(job);
    host.submit(job);
    let health = host.read_page(with(entry(0x08), 32, &[1]), 144);
    assert_eq!(health[32..40], 2u64.to_le_bytes(), "the admin queue works");
    std::thread::sleep(LATE);
    assert_eq!(host.poll(), None);
    host.set_register(0x20, 0);
    host.wait_status(0);
    host.enable();
    host.io(job);
}

#[test]
fn a_card_may_reset_itself_in_the_middle() {
    let mut host = host(Fault::ResetInTheMiddle);
    let (to, job) = copying(&mut host);
    host.io(job);
    host.write(to, &[9; 64]);
    host.submit(job);
    host.wait_status(0);
    assert_eq!(host.register(0x20), 0, "CC");
    assert_eq!(host.read(to, 64), [[1; 32], [9; 32]].concat());
    assert_eq!(host.poll(), None);
    host.enable();
    host.io(job);
}

#[test]
fn a_card_may_stop_in_the_middle() {
    let mut host = host(Fault::Fatal);
    let (_, job) = copying(&mut host);
    host.io(job);
    host.submit(job);
    host.wait_status(1 | 2 | 1 << 8);
    assert_eq!(host.poll(), None);
    host.set_register(0x20, 0);
    host.wait_status(0);
    host.enable();
    host.io(job);
}

#[test]
fn a_card_that_is_gone_reads_as_ones_and_stays_away() {
    let mut host = host(Fault::Removal);
    let (_, job) = copying(&mut host);
    host.io(job);
    host.submit(job);
    host.wait_status(u32::MAX);
    let mut id = [0; 4];
    for region in [Region::Config, Region::Bar0, Region::Bar4] {
        host.card.read(region, 0, &mut id).unwrap();
        assert_eq!(id, [0xFF; 4]);
    }
    host.card.reset();
    host.set_command(0x0006);
    host.set_register(0x20, 0);
    assert_eq!(host.register(0x24), u32::MAX);
    assert_eq!(host.poll(), None);
}

#[test]
fn a_card_can_be_taken_out_at_any_time() {
    let mut host = Host::new(Config::default());
    host.stop_in_the_middle(&[]);
    host.card.remove();
    assert_eq!(host.register(0x24), u32::MAX);
    let quiet = host.card.counters();
    host.set_command(0x0006);
    assert_eq!(host.poll(), None);
    assert_eq!(quiet.bus_written, host.card.counters().bus_written);
}

/// What is held back while the function is no bus master waits for it: nothing else does.
#[test]
fn a_late_change_waits_for_the_bus() {
    let mut host = host(Fault::ChangeAfterCompletion);
    let (to, job) = copying(&mut host);
    host.io(job);
    host.io(job);
    host.set_command(0x0002);
    std::thread::sleep(CHANGED_AFTER + LATE);
    assert_eq!(host.register(0x24), 1, "the card answers");
    host.set_command(0x0006);
    until("the data have changed", || host.read(to, 1) == [0xFE]);
}

#[test]
#[should_panic(expected = "address_bits of the profile is 20, and has to be 32 to 64")]
fn a_card_that_cannot_be_is_not_started() {
    let mut profile = Profile::full();
    profile.address_bits = 20;
    Host::off(Config {
        profile,
        seed: 1,
        faults: FaultPlan::none(),
    });
}

#[test]
fn a_foreign_command_id_is_none_that_the_host_chose() {
    let mut host = host(Fault::ForeignCommandId);
    let (_, job) = copying(&mut host);
    host.io(job);
    let id = host.submit(job);
    assert_eq!(host.wait().id, !id);
}

#[test]
fn a_wild_queue_head_is_beyond_the_queue() {
    let mut host = host(Fault::WildQueueHead);
    let (_, job) = copying(&mut host);
    assert!(host.io(job).sq_head < crate::host::ENTRIES);
    assert!(host.io(job).sq_head >= crate::host::ENTRIES);
    assert!(host.io(job).sq_head < crate::host::ENTRIES);
}

#[test]
fn a_huge_count_is_more_than_there_are_rows() {
    let mut host = host(Fault::HugeCount);
    let program = Bytecode {
        columns: vec![(U8, 0)],
        words: vec![load(U8, 0, 0)],
        ..Bytecode::default()
    };
    let program = host.load_well(&program.bytes());
    let (data, result) = (host.allocate(64, 64), host.allocate(24, 8));
    let job = descriptor(
        &[run(64, program, result, 0, &[memory(data, 64), absent()])],
        0,
    );
    assert_eq!(host.job(&job).outcome(), (0, 1, 0));
    assert_eq!(host.read_u64(result), 64);
    assert_eq!(host.job(&job).outcome(), (0, 1, 0));
    assert!(host.read_u64(result) > 64);
}

#[test]
fn a_huge_trap_is_in_a_row_that_there_is_not() {
    let mut host = host(Fault::HugeTrap);
    let program = Bytecode {
        columns: vec![(U8, 0)],
        words: vec![load(U8, 0, 0)],
        ..Bytecode::default()
    };
    let program = host.load_well(&program.bytes());
    let (data, result) = (host.allocate(64, 64), host.allocate(24, 8));
    let step = run(64, program, result, 0, &[memory(data, 64), absent()]);
    let job = descriptor(&[step], 0);
    assert_eq!(host.job(&job).outcome(), (0, 1, 0));
    assert_eq!(host.read_u64(result + 8), u64::MAX);
    assert_eq!(host.job(&job).outcome(), (0x0209, 0, 0));
    assert!((65..u64::MAX).contains(&host.read_u64(result + 8)));
}

#[test]
fn huge_steps_are_those_of_a_completion() {
    let mut host = host(Fault::HugeSteps);
    let (_, job) = copying(&mut host);
    assert_eq!(host.io(job).outcome(), (0, 1, 0));
    assert_eq!(host.io(job).outcome(), (0, u32::MAX, 0));
    assert_eq!(host.io(job).outcome(), (0, 1, 0));
}

#[test]
fn a_huge_report_says_more_steps_and_bytes_than_there_are() {
    let mut host = host(Fault::HugeReport);
    let (to, report) = (host.allocate(64, 64), host.allocate(64, 8));
    let job = descriptor(&[fill(1, memory(to, 64))], report);
    host.job(&job);
    assert_eq!(host.read_u64(report + 24), 0);
    assert_eq!(host.read(report + 40, 4), [1, 0, 0, 0]);
    host.job(&job);
    assert_eq!(host.read_u64(report + 24), u64::MAX);
    assert_eq!(host.read(report + 40, 4), [0xFF; 4]);
}

#[test]
fn a_huge_list_is_of_logs_until_a_reset() {
    let mut host = host(Fault::HugeList);
    let (_, job) = copying(&mut host);
    let header =
        |host: &mut Host, page| host.read_page(with(entry(0x08), 32, &[page]), 8192)[..8].to_vec();
    host.io(job);
    assert_eq!(header(&mut host, 3), [0, 0, 0, 0, 32, 0, 0, 0]);
    host.io(job);
    for page in [2, 3] {
        assert_eq!(header(&mut host, page), [0xFF; 8], "page {page}");
    }
    assert_eq!(header(&mut host, 1)[..4], [7, 0, 0, 0]);
    host.set_register(0x20, 0);
    host.wait_status(0);
    host.enable();
    assert_eq!(header(&mut host, 3), [0, 0, 0, 0, 32, 0, 0, 0]);
}

#[test]
fn a_huge_identity_is_said_once() {
    let mut host = host(Fault::HugeIdentity);
    let (_, job) = copying(&mut host);
    host.io(job);
    let honest = host.read_page(entry(0x01), 4096);
    host.io(job);
    let huge = host.read_page(entry(0x01), 4096);
    assert_eq!(huge[104..184], [0xFF; 80]);
    assert_eq!(
        (&huge[..104], &huge[184..]),
        (&honest[..104], &honest[184..])
    );
    assert_eq!(host.read_page(entry(0x01), 4096), honest);
}

#[test]
fn a_huge_length_is_of_a_log_until_a_reset() {
    let mut host = host(Fault::HugeLength);
    let (_, job) = copying(&mut host);
    let to = host.allocate(144, 8);
    let get_health = |host: &mut Host| {
        let health = with_memory(with(entry(0x08), 32, &[1]), to, 144);
        host.admin(health).outcome()
    };
    host.io(job);
    assert_eq!(get_health(&mut host), (0, 144, 144));
    assert_eq!(host.io(job).outcome(), (0, 1, 0));
    assert_eq!(get_health(&mut host), (0, u32::MAX, u32::MAX));
    host.set_register(0x20, 0);
    host.wait_status(0);
    host.enable();
    assert_eq!(get_health(&mut host), (0, 144, 144));
}

#[test]
fn a_write_outside_arrives_only_where_something_is_mapped() {
    let mut refused = host(Fault::WriteOutside(0x1000));
    let (_, job) = copying(&mut refused);
    refused.io(job);
    assert_eq!(refused.io(job).outcome(), (0, 1, 0));
    let access = refused.card.counters().first_refused[0];
    assert_eq!(
        (access.iova.0, access.length, access.write),
        (0x1000, 64, true)
    );

    let inside = crate::host::BASE + 0x20_0000;
    let mut hit = host(Fault::WriteOutside(inside));
    let (_, job) = copying(&mut hit);
    hit.io(job);
    hit.io(job);
    assert_eq!(hit.read(inside, 65), [&[0xA5; 64][..], &[0]].concat());
    assert_eq!(hit.card.counters().dma_refused, 0);
}

#[test]
fn data_may_change_after_the_completion() {
    let mut host = host(Fault::ChangeAfterCompletion);
    let (to, job) = copying(&mut host);
    host.io(job);
    assert_eq!(host.io(job).outcome(), (0, 1, 0));
    until("the data have changed", || host.read(to, 1) == [0xFE]);
    assert_eq!(host.read(to + 1, 63), [1; 63]);
}

/// A run with a seeded plan can be repeated: the same jobs meet the same faults.
#[test]
fn a_seed_repeats_itself() {
    let run = |seed| {
        let faults = FaultPlan::none()
            .seed(seed)
            .chance(3000, Fault::CorruptData);
        let mut host = Host::new(Config {
            profile: Profile::full(),
            seed,
            faults,
        });
        let (_, job) = copying(&mut host);
        for _ in 0..40 {
            host.io(job);
        }
        host.card.counters().faults
    };
    let first = run(5);
    assert!((1..40).contains(&first.len()));
    assert_eq!(first, run(5));
    assert_ne!(first, run(6));
}
