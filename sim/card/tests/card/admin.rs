//! Admin commands and queues.

use unlade_sim_card::{Config, FaultPlan, Profile};

use crate::encode::{
    absent, create_queue_pair, descriptor, entry, fill, list, memory, run, with, with_memory,
};
use crate::host::{BASE, ENTRIES, Host};
use crate::program::{Bytecode, U8, load};

// Statuses.
const INVALID_OPCODE: u16 = 0x0001;
const INVALID_FIELD: u16 = 0x0002;
const DUPLICATE_ID: u16 = 0x0003;
const DMA_ERROR: u16 = 0x0004;
const ABORTED: u16 = 0x0006;
const ABORTED_QUEUE_DELETED: u16 = 0x0007;
const QUEUE_EXISTS: u16 = 0x0101;
const NO_SUCH_QUEUE: u16 = 0x0102;
const TOO_MANY_PROGRAMS: u16 = 0x0103;
const UNKNOWN_FEATURE: u16 = 0x0105;
const UNKNOWN_LOG: u16 = 0x0106;
const BAD_LIST: u16 = 0x0107;
const UNKNOWN_PROGRAM: u16 = 0x0206;

const DELETE: u8 = 0x03;
const LOAD_PROGRAM: u8 = 0x04;
const DROP_PROGRAM: u8 = 0x05;
const SET_FEATURES: u8 = 0x06;
const GET_FEATURES: u8 = 0x07;
const GET_LOG: u8 = 0x08;
const ABORT: u8 = 0x09;
const NOP: u8 = 0x81;

fn host() -> Host {
    Host::new(Config::default())
}

fn tiny() -> Vec<u8> {
    Bytecode {
        columns: vec![(U8, 0)],
        words: vec![load(U8, 0, 0)],
        ..Bytecode::default()
    }
    .bytes()
}

#[test]
fn identify_says_what_the_registers_say() {
    let mut host = host();
    let page = host.read_page(entry(0x01), 4096);
    let long = |at: usize| u32::from_le_bytes(page[at..at + 4].try_into().unwrap());
    assert_eq!(&page[..4], b"UNLI");
    assert_eq!(long(4), host.register(0x04));
    assert_eq!(u64::from(long(108)), host.register64(0x08) & 0xFFFF);
    assert_eq!(u64::from(long(104)), host.register64(0x08) >> 48);
    assert_eq!(
        &page[16..36],
        b"00000000000000000001",
        "the seed is the serial number"
    );
    let short = with_memory(entry(0x01), BASE, 4088);
    assert_eq!(host.admin(short).outcome(), (INVALID_FIELD, 16, 0));
}

#[test]
fn queue_pairs_are_checked_field_by_field() {
    let mut host = host();
    let (sq, cq) = (host.allocate(4096, 4096), host.allocate(4096, 4096));
    let good = create_queue_pair(2, sq, cq);
    let cases: [(usize, &[u8], u32); 14] = [
        (1, &[1], 1),
        (4, &[1], 4),
        (8, &[8], 8),
        (8, &0x1000_0000_0000_0000u64.to_le_bytes(), 8),
        (16, &[8], 16),
        (24, &[1], 24),
        (32, &[0, 0], 32),
        (32, &[65, 0], 32),
        (34, &[65, 0], 34),
        (36, &[1, 0], 36),
        (36, &[3, 0], 36),
        (38, &[0, 8], 38),
        (40, &[3], 40),
        (63, &[1], 44),
    ];
    for (at, bytes, field) in cases {
        let done = host.admin(with(good, at, bytes));
        assert_eq!(
            done.outcome(),
            (INVALID_FIELD, field, 0),
            "{bytes:?} at {at}"
        );
    }
    let ignored_vector = with(with(good, 40, &[0]), 34, &[0xFF, 0xFF]);
    assert_eq!(host.admin(ignored_vector).outcome(), (0, 0, 0));
    assert_eq!(host.admin(good).outcome(), (QUEUE_EXISTS, 0, 0));
    let delete = with(entry(DELETE), 32, &[2]);
    assert_eq!(host.admin(delete).outcome(), (0, 0, 0));
    assert_eq!(host.admin(delete).outcome(), (NO_SUCH_QUEUE, 0, 0));
    assert_eq!(
        host.admin(with(entry(DELETE), 32, &[0])).outcome(),
        (INVALID_FIELD, 32, 0)
    );
    assert_eq!(host.admin(good).outcome(), (0, 0, 0));
}

#[test]
fn programs_are_loaded_dropped_and_counted() {
    let profile = Profile::small();
    let mut host = Host::new(Config {
        profile,
        seed: 1,
        faults: FaultPlan::none(),
    });
    let handles: Vec<u32> = (0..16).map(|_| host.load_well(&tiny())).collect();
    assert!(handles.iter().all(|&handle| handle != 0));
    assert_eq!(host.load(&tiny()), (TOO_MANY_PROGRAMS, 0, 0));
    let drop = |handle: u32| with(entry(DROP_PROGRAM), 32, &handle.to_le_bytes());
    assert_eq!(host.admin(drop(handles[3])).outcome(), (0, 0, 0));
    assert_eq!(
        host.admin(drop(handles[3])).outcome(),
        (UNKNOWN_PROGRAM, 0, 0)
    );
    host.load_well(&tiny());
}

#[test]
fn bytecode_may_lie_in_pieces() {
    let mut host = host();
    let bytecode = tiny();
    let (first, second) = bytecode.split_at(21);
    let (first_at, second_at) = (host.place(first), host.place(second));
    let segment = |iova: u64, length: usize| {
        [
            iova.to_le_bytes(),
            u64::try_from(length).unwrap().to_le_bytes(),
        ]
        .concat()
    };
    let entries = [segment(first_at, 21), segment(second_at, second.len())].concat();
    let list_at = host.place(&entries);
    let length = u64::try_from(bytecode.len()).unwrap();
    let good = with(entry(LOAD_PROGRAM), 8, &list(list_at, length, 2));
    assert_eq!(host.admin(good).status, 0);
    let longer = with(entry(LOAD_PROGRAM), 8, &list(list_at, length + 1, 2));
    assert_eq!(host.admin(longer).outcome(), (BAD_LIST, 1, 0));
    let shorter = with(entry(LOAD_PROGRAM), 8, &list(list_at, length - 1, 2));
    assert_eq!(host.admin(shorter).outcome(), (BAD_LIST, 1, 0));
    let cases = [
        (list(list_at + 8, length, 2), 8),
        (list(list_at, length, 0), 28),
        (list(list_at, length, 5000), 28),
        (list(1 << 48, length, 2), 8),
        ([0; 24], 24),
    ];
    for (operand, field) in cases {
        let done = host.admin(with(entry(LOAD_PROGRAM), 8, &operand));
        assert_eq!(done.outcome(), (INVALID_FIELD, field, 0));
    }
    let nowhere = with(entry(LOAD_PROGRAM), 8, &memory(0x40, 200));
    assert_eq!(host.admin(nowhere).outcome(), (DMA_ERROR, 0, 0));
}

#[test]
fn features_are_set_and_read() {
    let mut host = host();
    let set = |feature: u8, value: u64| {
        with(
            with(entry(SET_FEATURES), 32, &[feature]),
            40,
            &value.to_le_bytes(),
        )
    };
    let get = |feature: u8| with(entry(GET_FEATURES), 32, &[feature]);
    assert_eq!(host.admin(get(2)).outcome(), (0, 85_000, 0));
    assert_eq!(host.admin(set(2, 40_000)).outcome(), (0, 0, 0));
    assert_eq!(host.admin(get(2)).outcome(), (0, 40_000, 0));
    assert_eq!(host.admin(set(3, 250)).outcome(), (0, 0, 0));
    assert_eq!(host.admin(get(3)).outcome(), (0, 250, 0));
    assert_eq!(
        host.admin(set(3, 1 << 32)).outcome(),
        (INVALID_FIELD, 40, 0)
    );
    // Interrupts are never held back.
    assert_eq!(host.admin(get(1)).outcome(), (UNKNOWN_FEATURE, 0, 0));
    assert_eq!(host.admin(set(9, 1)).outcome(), (UNKNOWN_FEATURE, 0, 0));
    // It is warmer than the warning now.
    let health = host.read_page(with(entry(GET_LOG), 32, &[1]), 144);
    assert_eq!(health[0], 0b1111);
}

#[test]
fn logs_are_read_in_parts() {
    let mut host = host();
    let page = host.read_page(with(entry(GET_LOG), 32, &[2]), 16 + 577 * 8);
    assert_eq!(
        page[..16],
        [&577u32.to_le_bytes()[..], &8u32.to_le_bytes(), &[0; 8]].concat()
    );
    let keys: Vec<[u8; 4]> = page[16..]
        .chunks(8)
        .map(|e| [e[1], e[0], e[2], e[3]])
        .collect();
    assert!(
        keys.is_sorted(),
        "ascending by operation, operand type, result type"
    );
    let part = with(with(entry(GET_LOG), 32, &[2]), 36, &4096u32.to_le_bytes());
    let to = host.allocate(1024, 8);
    let done = host.admin(with_memory(part, to, 1024));
    assert_eq!(done.outcome(), (0, 16 + 577 * 8, 16 + 577 * 8 - 4096));
    assert_eq!(host.read(to, 8), page[4096..4104]);
    let cases = [
        (
            with_memory(with(entry(GET_LOG), 32, &[2]), to, 12),
            (INVALID_FIELD, 16, 0),
        ),
        (
            with_memory(with(entry(GET_LOG), 32, &[2]), to, 0),
            (INVALID_FIELD, 16, 0),
        ),
        (
            with_memory(with(part, 36, &[4]), to, 8),
            (INVALID_FIELD, 36, 0),
        ),
        (
            with_memory(with(part, 36, &[0, 0, 1]), to, 8),
            (INVALID_FIELD, 36, 0),
        ),
        (
            with_memory(with(entry(GET_LOG), 32, &[9]), to, 8),
            (UNKNOWN_LOG, 0, 0),
        ),
    ];
    for (sqe, wanted) in cases {
        assert_eq!(host.admin(sqe).outcome(), wanted);
    }
}

#[test]
fn errors_are_logged_newest_first() {
    let mut host = host();
    assert_eq!(host.admin(entry(0x55)).outcome(), (INVALID_OPCODE, 0, 0));
    assert_eq!(host.io(entry(0x55)).outcome(), (INVALID_OPCODE, 0, 0));
    let nop = with(entry(NOP), 63, &[1]);
    assert_eq!(host.io(nop).outcome(), (INVALID_FIELD, 32, 0));
    let page = host.read_page(with(entry(GET_LOG), 32, &[3]), 16 + 3 * 32);
    assert_eq!(page[0], 3);
    let newest = &page[16..48];
    assert_eq!(newest[..8], 3u64.to_le_bytes());
    assert_eq!(newest[16..18], [1, 0], "queue");
    assert_eq!(newest[20..22], INVALID_FIELD.to_le_bytes());
    assert_eq!(newest[24..28], 32u32.to_le_bytes());
    assert_eq!(page[16 + 64 + 16], 0, "the first was the admin queue's");
}

#[test]
fn queues_wrap_and_change_phase_and_a_full_one_waits() {
    let mut host = host();
    for _ in 0..5 * ENTRIES {
        assert_eq!(host.io(entry(NOP)).outcome(), (0, 0, 0));
    }
    // The host takes nothing until all are sent: the card keeps what has no room.
    let sent: Vec<u16> = (0..ENTRIES - 1).map(|_| host.submit(entry(NOP))).collect();
    let seen: Vec<u16> = sent.iter().map(|_| host.wait().id).collect();
    assert_eq!(seen, sent);
    assert_eq!(host.poll(), None);
}

#[test]
fn a_job_that_has_not_begun_is_aborted() {
    let mut host = host();
    let ids = host.stop_in_the_middle(&[entry(NOP)]);
    // A NOP completes when it is fetched.
    assert_eq!(host.wait().id, ids[1]);
    host.set_command(0x0006);
    assert_eq!(host.wait().id, ids[0]);

    let data = host.allocate(64, 64);
    let job = host.job_entry(&descriptor(&[fill(1, memory(data, 64))], 0));
    let ids = host.stop_in_the_middle(&[job]);
    let abort = with(with(entry(ABORT), 32, &[1]), 34, &ids[1].to_le_bytes());
    let sent = host.submit_admin(abort);
    host.set_command(0x0006);
    let done = host.wait_admin();
    assert_eq!((done.id, done.outcome()), (sent, (0, 0, 0)));
    let (first, second) = (host.wait(), host.wait());
    assert_eq!((first.id, first.outcome()), (ids[0], (0, 2000, 0)));
    assert_eq!((second.id, second.outcome()), (ids[1], (ABORTED, 0, 0)));
    assert_eq!(host.read(data, 64), [0; 64]);
}

/// They have to end in time, and a job may take longer.
#[test]
fn what_is_not_about_jobs_does_not_wait_for_the_one_that_runs() {
    let mut host = host();
    let data = host.allocate(32 << 20, 64);
    // Longer than a command is waited for here.
    let steps = vec![fill(1, memory(data, 32 << 20)); 4096];
    let job = host.job_entry(&descriptor(&steps, 0));
    host.submit(job);
    while host.read(data, 1) == [0] {
        std::thread::yield_now();
    }
    host.read_page(entry(0x01), 4096);
    host.load_well(&tiny());
    let done = host.card.counters().jobs_succeeded;
    assert_eq!((host.poll(), done), (None, 0), "the job runs");
    // A reset abandons all of it.
    host.set_register(0x20, 0);
    host.wait_status(0);
    host.enable();
    assert_eq!(host.io(entry(NOP)).outcome(), (0, 0, 0));
}

#[test]
fn an_id_in_flight_is_not_taken_twice() {
    let mut host = host();
    let data = host.allocate(64, 64);
    let job = host.job_entry(&descriptor(&[fill(1, memory(data, 64))], 0));
    host.set_command(0x0002);
    let id = host.submit(job);
    host.next_id = id;
    host.submit(job);
    host.set_command(0x0006);
    let (first, second) = (host.wait(), host.wait());
    assert_eq!((first.id, first.outcome()), (id, (DUPLICATE_ID, 0, 0)));
    assert_eq!((second.id, second.outcome()), (id, (0, 1, 0)));
}

#[test]
fn a_deleted_queue_abandons_its_jobs_and_moves_nothing_any_more() {
    let mut host = host();
    let data = host.allocate(64, 64);
    let job = host.job_entry(&descriptor(&[fill(1, memory(data, 64))], 0));
    let ids = host.stop_in_the_middle(&[job]);
    host.submit_admin(with(entry(DELETE), 32, &[1]));
    host.set_command(0x0006);
    assert_eq!(host.wait_admin().outcome(), (0, 0, 0));
    assert_eq!(host.read(data, 64), [0; 64]);
    let (first, second) = (host.wait(), host.wait());
    assert_eq!((first.id, first.status), (ids[0], 0));
    assert_eq!(
        (second.id, second.outcome()),
        (ids[1], (ABORTED_QUEUE_DELETED, 0, 0))
    );
}

#[test]
fn a_drop_completes_after_the_jobs_that_were_fetched_and_they_still_run() {
    let mut host = host();
    let handle = host.load_well(&tiny());
    let (data, result) = (host.allocate(64, 64), host.allocate(24, 8));
    let step = run(64, handle, result, 0, &[memory(data, 64), absent()]);
    let job = host.job_entry(&descriptor(&[step], 0));
    host.stop_in_the_middle(&[job]);
    host.submit_admin(with(entry(DROP_PROGRAM), 32, &handle.to_le_bytes()));
    host.set_command(0x0006);
    assert_eq!(host.wait_admin().outcome(), (0, 0, 0));
    assert_eq!(
        host.read_u64(result),
        64,
        "the job ran before the drop was done"
    );
    assert_eq!((host.wait().status, host.wait().status), (0, 0));
    assert_eq!(host.io(job).outcome(), (UNKNOWN_PROGRAM, 0, 48));
}

#[test]
fn an_abort_of_nothing_says_so_and_a_card_without_it_has_no_such_command() {
    let mut host = host();
    let abort = with(with(entry(ABORT), 32, &[1]), 34, &[9, 0]);
    assert_eq!(host.admin(abort).outcome(), (0, 1, 0));
    assert_eq!(host.admin(entry(ABORT)).outcome(), (INVALID_FIELD, 32, 0));
    let profile = Profile::small();
    let mut small = Host::new(Config {
        profile,
        seed: 1,
        faults: FaultPlan::none(),
    });
    assert_eq!(small.admin(abort).outcome(), (INVALID_OPCODE, 0, 0));
}
