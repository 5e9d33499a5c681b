use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unlade_hal::Lease;
use unlade_sim_device::{Profile, SimDevice};
use unlade_sim_fault::{FaultDevice, FaultKind, FaultPlan};

use super::cache::ROTATION;
use super::*;

const MIB: u64 = 1 << 20;

fn pool(reserve: u64, budget: u64) -> Pool {
    Pool::new(&PoolOptions {
        reserve,
        budget,
        page_size: PageSize::Base,
    })
    .unwrap()
}

fn request(sizes: &[u64]) -> Request<'_> {
    Request {
        sizes,
        memory: Memory::Any,
        wait: None,
    }
}

/// Long enough never to end a test that works.
const LONG: Option<Duration> = Some(Duration::from_secs(600));

#[track_caller]
fn assert_none_leaked(pool: &Pool) {
    Pool::flush_thread();
    let status = pool.status();
    assert_eq!(
        (status.leased, status.cached, status.waiting),
        (0, 0, 0),
        "{status:?}"
    );
    assert_eq!(
        (status.free, status.beyond_reserve),
        (status.reserve, 0),
        "{status:?}"
    );
    assert_eq!(status.holders, []);
}

#[test]
fn leases_go_back_to_zero() {
    let pool = pool(4 * MIB, 16 * MIB);
    let session = pool.session("test", u64::MAX);
    let sizes = [1, 64, 65, 4000, 32 << 10, 40 << 10, MIB, 5 * MIB];
    let leases: Vec<Lease> = sizes
        .iter()
        .map(|size| session.lease(*size).unwrap())
        .collect();
    for (lease, size) in leases.iter().zip(sizes) {
        assert!(lease.len() >= size);
        assert!(lease.bytes().unwrap().iter().all(|byte| *byte == 0));
    }
    let status = pool.status();
    assert!(status.leased >= sizes.iter().sum());
    assert_eq!(
        (status.beyond_reserve, status.beyond_reserve_count),
        (5 * MIB, 1)
    );
    assert_eq!(
        status.holders.iter().map(|each| each.bytes).sum::<u64>(),
        status.leased
    );
    drop(leases);
    assert_none_leaked(&pool);
    assert!(pool.status().peak >= sizes.iter().sum());
}

#[test]
fn pieces_return_on_their_own() {
    let pool = pool(4 * MIB, 4 * MIB);
    let session = pool.session("test", u64::MAX);
    for len in [4096, MIB] {
        let mut lease = session.lease(len).unwrap();
        let tail = session.mark(lease.shrink_to(100), Use::Exported);
        let lease = session.mark(lease, Use::InFlight);
        assert_eq!(pool.status().leased, len);
        drop(lease);
        assert_eq!(pool.status().leased, len - 100);
        assert_eq!(pool.status().holders[0].bytes, len - 100);
        drop(tail);
        assert_eq!(pool.status().leased, 0);
    }
    assert_none_leaked(&pool);
}

#[test]
fn large_blocks_take_turns_where_the_budget_allows() {
    const LEN: u64 = 256 << 10;
    let turns = |budget| {
        let pool = pool(8 * MIB, budget);
        let session = pool.session("test", u64::MAX);
        let start = |lease: Lease| lease.bytes().unwrap().as_ptr().addr();
        let starts: Vec<usize> = (0..32)
            .map(|_| start(session.lease(LEN).unwrap()))
            .collect();
        assert_none_leaked(&pool);
        starts
    };
    let starts = turns(256 * MIB);
    let turn = (ROTATION / LEN) as usize;
    for (first, again) in starts.iter().zip(&starts[turn..]) {
        assert_eq!(first, again, "{starts:x?}");
    }
    assert_eq!(BTreeSet::from_iter(&starts).len(), turn, "{starts:x?}");

    let starts = turns(8 * MIB);
    assert_eq!(BTreeSet::from_iter(&starts).len(), 1, "{starts:x?}");
}

#[test]
fn the_holders_are_named_by_what_they_do() {
    let pool = pool(4 * MIB, 4 * MIB);
    let [one, two] = ["one", "two"].map(|label| pool.session(label, u64::MAX));
    let flying = one.mark(one.lease(MIB).unwrap(), Use::InFlight);
    let exported = two.mark(two.lease(64).unwrap(), Use::Exported);
    let resident = two.mark(two.lease(2 * MIB).unwrap(), Use::Resident);
    let error = one.acquire(&request(&[3 * MIB])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "memory exhausted: 3145728 bytes asked for, the budget is 4194304 bytes; \
         held: 2097152 bytes two: resident, 1048576 bytes one: in flight, \
         64 bytes two: exported to the caller; \
         drop results sooner, use smaller batches or raise the budget"
    );
    // Another session's lease is not ours to mark.
    let resident = one.mark(resident, Use::Exported);
    assert_eq!(pool.status().holders[0].what, "two: resident");
    drop((flying, exported, resident));
    assert_none_leaked(&pool);
}

#[test]
fn what_is_held_is_known_whichever_threads_lease_export_and_return() {
    let pool = pool(4 * MIB, 4 * MIB);
    let session = pool.session("test", u64::MAX);
    let on_a_thread = |act: &mut (dyn FnMut() + Send)| {
        thread::scope(|scope| scope.spawn(act).join()).unwrap();
    };
    let mut leases = Vec::new();
    on_a_thread(&mut || {
        leases.push(session.lease(4096).unwrap());
        leases.push(session.mark(session.lease(64).unwrap(), Use::Exported));
    });
    // The leases keep their uses when the threads that counted these are gone.
    let exported = |bytes| {
        let holders = pool.status().holders;
        let what = "test: exported to the caller";
        let held = holders.iter().find(|holder| holder.what == what);
        assert_eq!(held.map_or(0, |holder| holder.bytes), bytes, "{holders:?}");
    };
    exported(64);
    on_a_thread(&mut || {
        let lease = leases.remove(0);
        leases.push(session.mark(lease, Use::Exported));
        exported(4096 + 64);
        leases.remove(0);
    });
    exported(4096);
    assert_eq!(pool.status().leased, 4096);
    drop(leases);
    assert_none_leaked(&pool);
}

#[test]
fn a_batch_gets_all_or_nothing() {
    let pool = pool(2 * MIB, 2 * MIB);
    let session = pool.session("test", u64::MAX);
    assert!(session.acquire(&request(&[MIB, MIB, 64])).is_err());
    assert_none_leaked(&pool);
    let all = session.acquire(&request(&[MIB, MIB])).unwrap();
    assert_eq!(all.len(), 2);
    drop(all);
    assert!(session.acquire(&request(&[u64::MAX, u64::MAX])).is_err());
    assert_none_leaked(&pool);
}

#[test]
fn a_session_keeps_to_its_budget() {
    let pool = pool(4 * MIB, 4 * MIB);
    let session = pool.session("small", MIB);
    let held = session.lease(MIB).unwrap();
    assert!(session.lease(64).is_err());
    assert!(pool.session("other", u64::MAX).lease(64).is_ok());
    drop(held);
    assert!(session.lease(64).is_ok());
    assert_none_leaked(&pool);
}

#[test]
fn exported_memory_is_not_waited_for() {
    let pool = pool(MIB, 2 * MIB);
    let session = pool.session("test", u64::MAX);
    let exported = session.mark(session.lease(MIB).unwrap(), Use::Exported);
    let waiting = Request {
        wait: LONG,
        ..request(&[MIB])
    };
    let beyond = session.acquire(&waiting).unwrap();
    assert!(beyond[0].slab().pageable());
    assert!(session.acquire(&request(&[64])).is_err()); // staged, but this one does not wait
    let beyond: Vec<Lease> = beyond
        .into_iter()
        .map(|each| session.mark(each, Use::Exported))
        .collect();
    assert!(session.acquire(&waiting).is_err());
    drop((exported, beyond));
    assert_none_leaked(&pool);
}

#[test]
fn those_who_wait_are_served_in_order() {
    let pool = pool(MIB, MIB);
    let session = pool.session("test", u64::MAX);
    let held = session.acquire(&request(&[MIB])).unwrap();
    let (sender, served) = mpsc::channel();
    thread::scope(|scope| {
        for turn in 0..3 {
            let (session, sender, pool) = (session.clone(), sender.clone(), pool.clone());
            let ahead = pool.status().waiting;
            scope.spawn(move || {
                let request = Request {
                    wait: LONG,
                    ..request(&[MIB])
                };
                let lease = session.acquire(&request).unwrap();
                sender.send(turn).unwrap();
                drop(lease);
            });
            while pool.status().waiting == ahead {
                assert!(
                    served.try_recv().is_err(),
                    "served while the memory is held"
                );
                thread::yield_now();
            }
        }
        drop(held);
    });
    assert_eq!(served.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
    assert_none_leaked(&pool);
}

#[test]
fn a_session_never_sees_another_ones_bytes() {
    let pool = pool(MIB, MIB);
    for len in [64, 4096, 32 << 10, 100 << 10, MIB] {
        let writer = pool.session("writer", u64::MAX);
        let mut lease = writer.lease(len).unwrap();
        lease.bytes_mut().unwrap().fill(7);
        drop(lease);
        let lease = writer.lease(len).unwrap();
        assert!(
            lease.bytes().unwrap().iter().all(|byte| *byte == 7),
            "one's own need no zeroing"
        );
        drop((lease, writer));
        Pool::flush_thread();
        let reader = pool.session("reader", u64::MAX);
        let lease = reader.lease(len).unwrap();
        assert!(lease.bytes().unwrap().iter().all(|byte| *byte == 0));
    }
    assert_none_leaked(&pool);
}

#[test]
fn without_a_reserve_all_memory_is_pageable() {
    let pool = pool(0, MIB);
    let session = pool.session("test", u64::MAX);
    let lease = session.lease(100).unwrap();
    assert!(lease.slab().pageable());
    assert!(session.lease(MIB).is_err());
    drop(lease);
    assert_none_leaked(&pool);
}

#[test]
fn pinned_memory_beyond_the_reserve_is_a_slab_of_its_own() {
    let pool = pool(MIB, 8 * MIB);
    let session = pool.session("test", u64::MAX);
    let request = Request {
        memory: Memory::Pinned,
        ..request(&[3 * MIB + 1])
    };
    let lease = session.acquire(&request).unwrap().remove(0);
    assert_eq!(lease.len(), 3 * MIB + 1);
    assert!(lease.slab().pages().is_some() && !lease.slab().same(pool.reserve().unwrap()));
    drop(lease);
    assert_none_leaked(&pool);
}

#[test]
fn leases_outlive_pool_and_session() {
    let pool = pool(MIB, MIB);
    let session = pool.session("test", u64::MAX);
    let leases: Vec<Lease> = [64, MIB / 2].map(|len| session.lease(len).unwrap()).into();
    drop((session, pool));
    thread::spawn(move || drop(leases)).join().unwrap();
}

/// Threads lease, write, pass on to each other, split and wait, in a pool that is too small.
#[test]
fn threads_under_pressure_neither_share_nor_lose_memory() {
    let pool = pool(2 * MIB, 3 * MIB);
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<Vec<Lease>>(4);
        for seed in 0..4u8 {
            let session = pool.session(format!("session {}", seed % 2), u64::MAX);
            let sender = sender.clone();
            scope.spawn(move || {
                let mut random = ChaCha8Rng::seed_from_u64(seed.into());
                for _ in 0..400 {
                    let sizes: Vec<u64> = (0..random.random_range(1..5))
                        .map(|_| 1u64 << random.random_range(0..19))
                        .collect();
                    let wait = random.random_bool(0.5).then_some(Duration::from_millis(1));
                    let request = Request {
                        wait,
                        ..request(&sizes)
                    };
                    let Ok(mut leases) = session.acquire(&request) else {
                        continue;
                    };
                    leases.extend(session.lease(1 << random.random_range(0..15)).ok());
                    for lease in &mut leases {
                        lease.bytes_mut().unwrap().fill(seed);
                    }
                    for lease in &leases {
                        assert!(lease.bytes().unwrap().iter().all(|byte| *byte == seed));
                    }
                    let at = leases[0].len() / 3;
                    let rest = leases[0].split_off(at);
                    leases.push(session.mark(rest, Use::Exported));
                    if random.random_bool(0.5) {
                        sender.send(leases).unwrap();
                    }
                }
                // A scope ends before its threads' destructors have run.
                Pool::flush_thread();
            });
        }
        drop(sender);
        receiver.into_iter().for_each(drop);
    });
    assert_none_leaked(&pool);
}

/// Some leases are dropped before the thread's caches are emptied, others after: by destructors of
/// the thread's own variables, which run in an order of their own.
/// Whoever is short of memory takes it from threads' caches, without their threads and sessions.
#[test]
fn a_session_that_ends_while_its_blocks_are_taken_is_open_until_they_are_back() {
    let pool = pool(4 * MIB, 16 * MIB);
    let session = pool.session("ends", u64::MAX);
    drop(session.lease(MIB).unwrap());
    let central = &pool.core.central;
    let accounts = || -> Vec<_> {
        let state = central.state();
        let accounts = state.ledger.accounts();
        let known = accounts.map(|account| (account.session, account.counters.clone()));
        known.collect()
    };
    let (id, counters) = accounts().remove(0);
    let (blocks, home) = counters.take_large();
    assert_eq!(blocks.len(), 1);
    drop(session);
    Pool::flush_thread();
    assert_eq!(accounts().len(), 1, "it ends when what was taken is back");
    central.put(id, Source::Cache, Use::Staged, blocks);
    drop(home);
    assert_eq!(accounts().len(), 0);
    assert_none_leaked(&pool);
}

#[test]
fn a_thread_that_ends_keeps_nothing() {
    thread_local! {
        static EARLY: RefCell<Vec<Lease>> = const { RefCell::new(Vec::new()) };
        static LATE: RefCell<Vec<Lease>> = const { RefCell::new(Vec::new()) };
    }
    let pool = pool(1 << 20, 1 << 20);
    let session = pool.session("ending", u64::MAX);
    let free = pool.status().free;
    thread::scope(|scope| {
        let work = || {
            EARLY.with_borrow(|leases| assert!(leases.is_empty()));
            let lease = || session.lease(1000).unwrap();
            drop(lease());
            assert!(pool.status().cached > 0);
            LATE.with_borrow_mut(|leases| leases.push(lease()));
            EARLY.with_borrow_mut(|leases| leases.push(lease()));
        };
        // Joined by hand: a scope ends before its threads' destructors have run.
        scope.spawn(work).join().unwrap();
    });
    let status = pool.status();
    assert_eq!((status.leased, status.cached, status.free), (0, 0, free));
}

/// Two pieces that are as long as a block together are none: the next lease would begin anywhere.
#[test]
fn leases_are_aligned_whatever_was_joined() {
    let pool = pool(1 << 20, 1 << 20);
    let session = pool.session("joining", u64::MAX);
    for len in [64, 128, 4096, 32 << 10, 64 << 10] {
        let mut leases: Vec<Lease> = (0..8).map(|_| session.lease(len).unwrap()).collect();
        leases.sort_by_key(|lease| lease.range().start);
        let mut joined = 0;
        while let (Some(mut second), Some(mut first)) = (leases.pop(), leases.pop()) {
            let rest = first.split_off(1);
            let end = second.split_off(1);
            // Blocks of one class need not be neighbours.
            joined += usize::from(rest.join(second).is_ok());
            drop((first, end));
        }
        assert!(joined > 0, "of {len} bytes");
        let again: Vec<Lease> = (0..16).map(|_| session.lease(len).unwrap()).collect();
        for lease in &again {
            let start = lease.range().start;
            assert!(
                start.is_multiple_of(len.min(4096)),
                "{len} bytes at {start}"
            );
        }
        drop(again);
        Pool::flush_thread();
    }
    assert_none_leaked(&pool);
}

#[test]
fn why_a_device_gives_no_more_is_in_the_error() {
    let inner = Arc::new(SimDevice::builder(Profile::gpu()).build());
    let plan = FaultPlan::nth(2, FaultKind::RegistrationFails);
    let pool = pool(0, 16 * MIB);
    let device: Arc<dyn Device> = Arc::new(FaultDevice::new(inner, plan));
    pool.attach(device.clone()).unwrap();
    let session = pool.session("test", u64::MAX);
    let request = Request {
        memory: Memory::Pinned,
        ..request(&[MIB, 2 * MIB, MIB])
    };
    let error = session.acquire(&request).unwrap_err();
    assert_eq!(
        error.cause.as_deref(),
        Some("register failed: injected fault")
    );
    let told = error.to_string();
    assert!(told.ends_with("register failed: injected fault"), "{told}");
    assert!(!told.contains("raise the budget"), "{told}");
    assert_eq!(error.holders, []);
    assert_eq!(session.acquire(&request).unwrap().len(), 3);
    // Where the budget is what is short, nothing else is blamed.
    let beyond = [17 * MIB];
    let beyond = Request {
        sizes: &beyond,
        ..request
    };
    assert_eq!(session.acquire(&beyond).unwrap_err().cause, None);
    assert_none_leaked(&pool);
}

#[test]
fn what_a_session_lacks_is_told_by_its_own_budget() {
    let pool = Pool::new(&PoolOptions::default()).unwrap();
    let whole = pool.status().budget;
    for (own, told) in [(4096, 4096), (u64::MAX, whole)] {
        let session = pool.session("tiny", own);
        let none = session.lease(whole + 1).unwrap_err();
        assert_eq!(none.budget, told);
    }
}
