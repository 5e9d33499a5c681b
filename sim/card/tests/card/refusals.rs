//! Jobs that are refused, before their first step or where their memory ends.

use unlade_sim_card::{Config, FaultPlan, Iova, Permissions, Profile};

use crate::encode::{
    absent, bits, copy, copy_counted, descriptor, entry, fill, list, memory, run, scalar, segments,
    with_memory,
};
use crate::host::Host;
use crate::program::{Bytecode, I32, U8, filter, increment, load, word};

// Statuses.
const UNSUPPORTED_FEATURE: u16 = 0x0008;
const BAD_DESCRIPTOR: u16 = 0x0201;
const BAD_STEP: u16 = 0x0202;
const BAD_OPERAND: u16 = 0x0203;
const BAD_SEGMENTS: u16 = 0x0204;
const JOB_LIMIT: u16 = 0x0205;
const BAD_ARGUMENT: u16 = 0x0208;
const JOB_DMA_ERROR: u16 = 0x020A;
const MISALIGNED: u16 = 0x020C;
const NONE: u32 = u32::MAX;

fn host() -> Host {
    Host::new(Config::default())
}

fn small() -> Host {
    Host::new(Config {
        profile: Profile::small(),
        seed: 2,
        faults: FaultPlan::none(),
    })
}

/// What is wrong is found before the first step, which would write.
#[test]
fn descriptors_are_checked_whole_before_anything_is_written() {
    let mut host = host();
    let data = host.allocate(4096, 4096);
    let program = host.load_well(&increment());
    let first = fill(0xEE, memory(data, 64));
    let result = host.allocate(24, 8);
    let good = memory(data + 1024, 64);
    let at = |step: u32| 32 + 40 + step;
    let misaligned_list = list(data + 8, 32, 1);
    let empty_segment = segments(&mut host, &[(data, 0), (data, 64)]);
    let short_list = segments(&mut host, &[(data, 32), (data + 64, 32)]);
    let mut wrong_sum = short_list;
    wrong_sum[8] += 16;
    let beyond = segments(&mut host, &[(1 << 48, 64)]);
    let arguments = |values, output| vec![values, absent(), output, absent()];
    let run_with = |arguments: &[[u8; 24]]| run(16, program, result, 0, arguments);
    let mut odd_kind = good;
    odd_kind[16] = 4;
    let mut scalar_with_reserved = scalar(1);
    scalar_with_reserved[20] = 1;
    let cases: Vec<(Vec<u8>, (u16, u32, u32))> = vec![
        (copy(good, absent()), (BAD_OPERAND, 1, at(40))),
        (copy(scalar(1), good), (BAD_OPERAND, 1, at(16))),
        (copy(odd_kind, good), (BAD_OPERAND, 1, at(16))),
        (copy(good, memory(data, 63)), (BAD_OPERAND, 1, at(40))),
        (copy(bits(data, 64, 1), good), (BAD_OPERAND, 1, at(16))),
        (
            copy(misaligned_list, memory(data, 32)),
            (BAD_OPERAND, 1, at(16)),
        ),
        (
            copy(list(data, 0, 1), memory(data, 0)),
            (BAD_OPERAND, 1, at(16)),
        ),
        (copy(list(data, 64, 4097), good), (JOB_LIMIT, 1, at(16))),
        (copy(list(data, 64, 0), good), (BAD_OPERAND, 1, at(16))),
        (
            copy(memory(u64::MAX - 8, 64), good),
            (BAD_OPERAND, 1, at(16)),
        ),
        (copy(empty_segment, good), (BAD_SEGMENTS, 1, at(16))),
        (copy(wrong_sum, memory(data, 80)), (BAD_SEGMENTS, 1, at(16))),
        (copy(beyond, good), (BAD_SEGMENTS, 1, at(16))),
        (copy(list(0x10, 64, 1), good), (JOB_DMA_ERROR, 1, at(16))),
        (
            copy_counted(0, good, good, memory(result, 8)),
            (BAD_STEP, 1, at(8)),
        ),
        (
            copy_counted(1, good, good, memory(result, 9)),
            (BAD_OPERAND, 1, at(64)),
        ),
        (
            run_with(&arguments(memory(data, 63), good)),
            (BAD_ARGUMENT, 1, 0),
        ),
        (
            run_with(&arguments(good, memory(data, 63))),
            (BAD_ARGUMENT, 1, 2),
        ),
        (run_with(&arguments(absent(), good)), (BAD_ARGUMENT, 1, 0)),
        (
            run_with(&[good, good, good, absent()]),
            (BAD_ARGUMENT, 1, 1),
        ),
        (
            run_with(&[good, absent(), good, good]),
            (BAD_ARGUMENT, 1, 3),
        ),
        (
            run_with(&arguments(good, scalar_with_reserved)),
            (BAD_OPERAND, 1, at(40 + 48)),
        ),
        (
            run_with(&arguments(memory(data + 16, 64), good)),
            (MISALIGNED, 1, 0),
        ),
        (run_with(&arguments(short_list, good)), (MISALIGNED, 1, 0)),
        (
            run(1 << 32, program, result, 0, &arguments(good, good)),
            (JOB_LIMIT, 1, at(8)),
        ),
        (
            run(1, program, 0, 0, &arguments(good, good)),
            (BAD_STEP, 1, at(24)),
        ),
        (
            run(1, program, result, 4, &arguments(good, good)),
            (BAD_STEP, 1, at(32)),
        ),
    ];
    for (number, (second, wanted)) in cases.into_iter().enumerate() {
        let done = host.job(&descriptor(&[first.clone(), second], 0));
        assert_eq!(done.outcome(), wanted, "case {number}");
        assert_eq!(host.read(data, 64), [0; 64], "case {number}");
    }
    assert_eq!(host.card.counters().bytes_written, 0);
}

/// Several may name the same memory, so what a card makes of a job is no less for that.
#[test]
fn tables_and_sets_have_a_limit_together() {
    // Its tables have 1 MiB and its sets 128 KiB: together the 2 MiB of every card.
    let mut host = Host::new(Config {
        profile: Profile::narrow(),
        seed: 2,
        faults: FaultPlan::none(),
    });
    const MIB: usize = 1 << 20;
    let program = Bytecode {
        tables: vec![U8; 2],
        sets: vec![U8; 2],
        ..Bytecode::default()
    };
    let program = host.load_well(&program.bytes());
    let data = host.allocate(1 << 20, 4096);
    let result = host.allocate(24, 8);
    let at = |argument: u32| 32 + 40 + 24 * argument;
    for (lengths, wanted) in [
        ([MIB, MIB, 0, 0], (0, 1, 0)),
        ([MIB, MIB - 4096, 2048, 2048], (0, 1, 0)),
        ([MIB, MIB, 1, 0], (JOB_LIMIT, 0, at(2))),
        ([MIB, MIB - 4096, 4096, 1], (JOB_LIMIT, 0, at(3))),
        ([MIB, MIB + 1, 0, 0], (JOB_LIMIT, 0, at(1))),
        ([0, 0, 131_073, 0], (JOB_LIMIT, 0, at(2))),
    ] {
        let arguments = lengths.map(|length| memory(data, length));
        let step = run(0, program, result, 0, &arguments);
        let done = host.job(&descriptor(&[step], 0));
        assert_eq!(done.outcome(), wanted, "{lengths:?}");
    }
}

#[test]
fn headers_are_checked() {
    let mut host = host();
    let data = host.allocate(4096, 4096);
    let good = descriptor(&[fill(0xEE, memory(data, 64))], 0);
    let cases: [(usize, u8, (u16, u32, u32)); 8] = [
        (0, 1, (BAD_DESCRIPTOR, NONE, 0)),
        (4, 2, (BAD_DESCRIPTOR, NONE, 4)),
        (6, 1, (BAD_DESCRIPTOR, NONE, 6)),
        (12, 0, (BAD_DESCRIPTOR, NONE, 12)),
        (12, 2, (BAD_DESCRIPTOR, NONE, 8)),
        (16, 4, (BAD_DESCRIPTOR, NONE, 16)),
        (24, 1, (BAD_DESCRIPTOR, NONE, 24)),
        (36, 48, (BAD_STEP, 0, 36)),
    ];
    for (at, value, wanted) in cases {
        let mut bytes = good.clone();
        bytes[at] = value;
        assert_eq!(host.job(&bytes).outcome(), wanted, "byte {at}");
    }
    let mut steps = good.clone();
    steps[12..16].copy_from_slice(&5000u32.to_le_bytes());
    assert_eq!(host.job(&steps).outcome(), (JOB_LIMIT, NONE, 12));
    let mut longer = good;
    longer.extend([0; 8]);
    longer[8] += 8;
    assert_eq!(host.job(&longer).outcome(), (BAD_DESCRIPTOR, NONE, 8));
    assert_eq!(host.read(data, 64), [0; 64]);
    // Where there is no memory.
    let nowhere = with_memory(entry(0x80), 0x40, 64);
    assert_eq!(host.io(nowhere).outcome(), (JOB_DMA_ERROR, NONE, 0));
    let huge = with_memory(entry(0x80), data, 1 << 30);
    assert_eq!(host.io(huge).outcome(), (JOB_LIMIT, NONE, 8));
}

#[test]
fn memory_that_is_not_mapped_ends_the_job_where_it_is_used() {
    let mut host = host();
    let data = host.allocate(4096, 4096);
    let program = host.load_well(&increment());
    let unmapped = 0x4000;
    let result = host.allocate(24, 8);
    let good = memory(data, 64);
    let arguments = |values, output| [values, absent(), output, absent()];
    let steps: [(Vec<u8>, u32); 5] = [
        (fill(1, memory(unmapped, 64)), 16),
        (copy(memory(unmapped, 64), good), 16),
        (
            run(
                16,
                program,
                result,
                0,
                &arguments(memory(unmapped, 64), good),
            ),
            40,
        ),
        (
            run(
                16,
                program,
                result,
                0,
                &arguments(good, memory(unmapped, 64)),
            ),
            88,
        ),
        (run(16, program, unmapped, 0, &arguments(good, good)), 24),
    ];
    for (step, at) in steps {
        let done = host.job(&descriptor(&[fill(1, good), step], 0));
        assert_eq!(done.outcome(), (JOB_DMA_ERROR, 1, 32 + 40 + at));
    }
    let done = host.job(&descriptor(&[fill(1, good)], unmapped));
    assert_eq!(done.outcome(), (JOB_DMA_ERROR, NONE, 16));
    // Readable memory cannot be written.
    let read_only = Permissions {
        read: true,
        write: false,
    };
    let memory_file = Some(host.memory.try_clone().unwrap());
    host.card
        .map(Iova(unmapped), 4096, memory_file, 0, read_only)
        .unwrap();
    let done = host.job(&descriptor(&[fill(1, memory(unmapped, 64))], 0));
    assert_eq!(done.outcome(), (JOB_DMA_ERROR, 0, 48));
    let done = host.job(&descriptor(&[copy(memory(unmapped, 64), good)], 0));
    assert_eq!(done.outcome(), (0, 1, 0));
}

#[test]
fn a_small_card_refuses_what_it_has_not() {
    let mut host = small();
    let data = host.allocate(8192, 4096);
    let result = host.allocate(24, 8);
    let good = memory(data, 128);
    let counted = copy_counted(1, good, good, memory(result, 8));
    let done = host.job(&descriptor(&[counted], 0));
    assert_eq!(done.outcome(), (UNSUPPORTED_FEATURE, 0, 32));
    let done = host.job(&descriptor(&[fill(1, good)], result));
    assert_eq!(done.outcome(), (UNSUPPORTED_FEATURE, NONE, 16));
    let program = host.load_well(&increment());
    let arguments = [good, absent(), good, absent()];
    let done = host.job(&descriptor(
        &[run(16, program, result, result, &arguments)],
        0,
    ));
    assert_eq!(done.outcome(), (UNSUPPORTED_FEATURE, 0, 64));
    // 64 bytes of slack behind the output: 16 rows just fit into 128 bytes.
    let done = host.job(&descriptor(&[run(16, program, result, 0, &arguments)], 0));
    assert_eq!(done.outcome(), (0, 1, 0));
    let done = host.job(&descriptor(&[run(17, program, result, 0, &arguments)], 0));
    assert_eq!(done.outcome(), (BAD_ARGUMENT, 0, 2));
    // KEEP is word 5 of the filter, and the program stores.
    let (status, at, _) = host.load(&filter());
    assert_eq!((status, at), (0x030B, 5));
    // It has no division.
    let mut divide = Bytecode {
        columns: vec![(I32, 0)],
        words: vec![load(I32, 0, 0), word(23, I32, I32, &[0, 0, 0])],
        ..Bytecode::default()
    };
    assert_eq!(host.load(&divide.bytes()).0, 0x030B);
    divide.words[1] = word(20, I32, I32, &[0, 0, 0]);
    assert_eq!(host.load(&divide.bytes()).0, 0);
}

/// One wrong bit anywhere: the card refuses the job or does another, and goes on.
#[test]
fn every_bit_of_a_descriptor_may_be_wrong() {
    let mut host = host();
    let program = host.load_well(&increment());
    // So far up that no single bit leads from here to the queues.
    let data = host.allocate(0x100_0000, 0x100_0000) + 0x80_0000;
    let count = host.place(&1u64.to_le_bytes());
    let list = segments(&mut host, &[(data + 4096, 64), (data + 8192, 64)]);
    let out = memory(data + 0x2000, 128);
    let arguments = [
        memory(data, 64),
        absent(),
        memory(data + 0x1000, 64),
        absent(),
    ];
    let steps = [
        copy(memory(data, 128), list),
        copy_counted(8, memory(data, 128), out, memory(count, 8)),
        run(16, program, data + 0x4000, data + 0x4040, &arguments),
    ];
    let good = descriptor(&steps, data + 0x5000);
    assert_eq!(host.job(&good).outcome(), (0, 3, 0));
    let at = host.place(&good);
    let entry = with_memory(entry(0x80), at, good.len());
    let mut refused = 0;
    for bit in 0..8 * good.len() {
        let mut wrong = good.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        host.write(at, &wrong);
        let (status, step, _) = host.io(entry).outcome();
        assert!(
            status == 0 || (0x0201..=0x020C).contains(&status),
            "bit {bit}: {status:#x}"
        );
        assert!(status != 0 || step == 3);
        refused += u32::from(status != 0);
    }
    assert!(refused > 1000, "{refused} of {}", 8 * good.len());
    host.write(at, &good);
    assert_eq!(host.io(entry).outcome(), (0, 3, 0));
}
