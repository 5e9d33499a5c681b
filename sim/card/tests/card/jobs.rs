//! Jobs: what the steps that move bytes do, and how long a job takes.

use unlade_sim_card::{Config, FaultPlan, Nanos, Profile};

use crate::encode::{
    absent, copy, copy_counted, descriptor, entry, fill, memory, run, segments, with,
};
use crate::host::Host;
use crate::program::increment;

// Statuses.
const JOB_TIMED_OUT: u16 = 0x020B;

fn host() -> Host {
    Host::new(Config::default())
}

#[test]
fn copies_gather_and_scatter() {
    let mut host = host();
    let data: Vec<u8> = (0..=255).collect();
    let source = host.place(&data);
    let target = host.allocate(4096, 4096);
    let from = segments(
        &mut host,
        &[(source + 1, 3), (source + 100, 50), (source, 1)],
    );
    let to = segments(&mut host, &[(target + 5, 53), (target + 1000, 1)]);
    assert_eq!(
        host.job(&descriptor(&[copy(from, to)], 0)).outcome(),
        (0, 1, 0)
    );
    assert_eq!(host.read(target + 5, 3), [1, 2, 3]);
    assert_eq!(host.read(target + 8, 50), data[100..150]);
    assert_eq!(host.read(target + 999, 3), [0, 0, 0]);
    let counters = host.card.counters();
    assert_eq!((counters.bytes_read, counters.bytes_written), (54, 54));
}

#[test]
fn fills_set_every_byte_and_no_other() {
    let mut host = host();
    let target = host.allocate(64, 64);
    let step = fill(0xA5, memory(target + 3, 7));
    assert_eq!(host.job(&descriptor(&[step], 0)).outcome(), (0, 1, 0));
    assert_eq!(
        host.read(target + 2, 9),
        [0, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0xA5, 0]
    );
}

#[test]
fn counted_copies_copy_a_last_partial_byte_whole_and_never_more_than_there_is() {
    let mut host = host();
    let source = host.place(&[0xFF; 16]);
    let cases = [
        (0, 1, 0),
        (1, 1, 1),
        (9, 1, 2),
        (2, 12, 3),
        (u64::MAX, 128, 16),
        (16, 8, 16),
    ];
    for (count, unit_bits, copied) in cases {
        let count = host.place(&u64::to_le_bytes(count));
        let target = host.allocate(16, 8);
        let step = copy_counted(
            unit_bits,
            memory(source, 16),
            memory(target, 16),
            memory(count, 8),
        );
        assert_eq!(host.job(&descriptor(&[step], 0)).outcome(), (0, 1, 0));
        let seen = host.read(target, 16);
        assert_eq!(seen.iter().filter(|&&byte| byte == 0xFF).count(), copied);
        assert!(seen[..copied].iter().all(|&byte| byte == 0xFF));
    }
}

#[test]
fn later_steps_see_what_earlier_ones_wrote_and_the_report_counts() {
    let mut host = host();
    let program = host.load_well(&increment());
    let data = host.allocate(4000, 64);
    let (out, result, report) = (
        host.allocate(4000, 64),
        host.allocate(24, 8),
        host.allocate(64, 8),
    );
    let arguments = [memory(data, 4000), absent(), memory(out, 4000), absent()];
    let again = [memory(out, 4000), absent(), memory(data, 4000), absent()];
    let count = host.place(&500u64.to_le_bytes());
    let steps = [
        fill(0x01, memory(data, 4000)),
        run(1000, program, result, 0, &arguments),
        run(1000, program, result, 0, &again),
        copy_counted(32, memory(data, 4000), memory(out, 4000), memory(count, 8)),
    ];
    assert_eq!(host.job(&descriptor(&steps, report)).outcome(), (0, 4, 0));
    assert_eq!(host.read(data, 4), 0x0101_0103i32.to_le_bytes());
    assert_eq!(host.read(out + 1996, 8), [3, 1, 1, 1, 2, 1, 1, 1]);
    let field = |number: u64| host.read_u64(report + 8 * number);
    assert_eq!(field(3), 4000 + 4000 + 8 + 2000, "bytes read");
    assert_eq!(field(4), 4000 + (4000 + 24) * 2 + 2000, "bytes written");
    assert_eq!(host.read(report + 40, 4), 4u32.to_le_bytes());
    let counters = host.card.counters();
    assert_eq!(Nanos(field(2)), counters.time);
    assert!(field(0) <= field(1) && field(1) < field(2));
    assert_eq!(counters.busy_time, Nanos(field(2) - field(1)));
    // The health log counts operands alone.
    let (read, written) = (field(3), field(4));
    assert_eq!(counters.bytes_written, written);
    let health = host.read_page(with(entry(0x08), 32, &[1]), 144);
    let logged = |at: usize| u64::from_le_bytes(health[at..at + 8].try_into().unwrap());
    assert_eq!((logged(56), logged(64)), (read, written - 2 * 24));
}

#[test]
fn time_is_that_of_the_slower_of_bus_and_engine() {
    let mut profile = Profile::full();
    profile.timing.bus_bytes_per_second = 1_000_000_000;
    profile.timing.job_nanos = 500;
    profile.timing.interrupt_nanos = 20;
    profile.timing.host_nanos = 30;
    profile.timing.doorbell_nanos = 50;
    let mut host = Host::new(Config {
        profile,
        seed: 1,
        faults: FaultPlan::none(),
    });
    let data = host.allocate(8000, 64);
    let step = copy(memory(data, 4000), memory(data + 4000, 4000));
    host.job(&descriptor(&[step], 0));
    assert_eq!(host.card.counters().time, Nanos(8600));
    assert_eq!(host.register64(0x48), 8600, "TIME");
}

#[test]
fn a_job_that_takes_too_long_is_ended() {
    let mut profile = Profile::full();
    profile.timing.bus_bytes_per_second = 1_000_000;
    let mut host = Host::new(Config {
        profile,
        seed: 1,
        faults: FaultPlan::none(),
    });
    let limit = with(with(entry(0x06), 32, &[3]), 40, &[5]);
    assert_eq!(host.admin(limit).status, 0);
    let data = host.allocate(8000, 64);
    let short = fill(1, memory(data, 1000));
    let long = fill(1, memory(data, 8000));
    assert_eq!(
        host.job(&descriptor(std::slice::from_ref(&short), 0))
            .outcome(),
        (0, 1, 0)
    );
    let done = host.job(&descriptor(&[short, long], 0));
    assert_eq!(done.outcome(), (JOB_TIMED_OUT, 1, 0));
}

/// The fixed time of a job, and what its host takes, is hidden behind the jobs before it: with a queue
/// of jobs the engine is never idle, with one after the other it waits for each.
#[test]
fn jobs_sent_ahead_keep_the_engine_busy() {
    let mut host = host();
    let data = host.allocate(1 << 20, 64);
    let job = descriptor(&[fill(1, memory(data, 1 << 20))], 0);
    let job = host.job_entry(&job);
    for _ in 0..10 {
        host.io(job);
    }
    let alone = host.card.counters();
    let timing = Profile::full().timing;
    let host_takes = timing.interrupt_nanos + timing.host_nanos + timing.doorbell_nanos;
    let fixed = timing.job_nanos + host_takes;
    assert_eq!(alone.time.0 - alone.busy_time.0, 10 * fixed);
    // All are fetched before the first begins.
    host.set_command(0x0002);
    (0..10).for_each(|_| {
        host.submit(job);
    });
    host.set_command(0x0006);
    (0..10).for_each(|_| {
        host.wait();
    });
    let queued = host.card.counters();
    let (time, busy) = (
        queued.time.0 - alone.time.0,
        queued.busy_time.0 - alone.busy_time.0,
    );
    assert_eq!(time - busy, fixed);
}
