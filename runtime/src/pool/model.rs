//! Models of the pool's shared part, checked by Loom over all interleavings; `cargo xtask test`
//! builds this crate's tests with `--cfg loom` and runs them.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use super::block::{Block, Range};
use super::central::{Ask, Central, Grant};
use super::class::Class;
use super::ledger::{SessionId, Source, Use};

const FOREVER: Option<Duration> = Some(Duration::from_secs(1 << 30));

fn pool(reserve: u64, extra: u64) -> (Arc<Central<Range>>, SessionId) {
    let central = Central::new(Some(Range(0, reserve)), extra);
    let session =
        central.with_ledger(|ledger| ledger.open("model".into(), u64::MAX, Default::default()));
    (Arc::new(central), session)
}

static NEVER: AtomicBool = AtomicBool::new(false);

fn ask(session: SessionId, sizes: &[u64]) -> Ask<'_> {
    Ask {
        session,
        sizes,
        wait: FOREVER,
        given_up: &NEVER,
        ended: &|| false,
    }
}

fn blocks(grants: Vec<Grant<Range>>) -> Vec<Range> {
    let block = |grant| match grant {
        Grant::Block(free) => free.block,
        Grant::Extra(len) => panic!("{len} bytes beyond the reserve, though waiting helps"),
    };
    grants.into_iter().map(block).collect()
}

fn put(central: &Central<Range>, session: SessionId, r#use: Use, blocks: Vec<Range>) {
    central.put(session, Source::Central, r#use, blocks);
}

/// Everything is back, and joins to the whole reserve.
fn assert_whole(central: &Central<Range>, session: SessionId, reserve: u64) {
    assert_eq!(central.state().free(), reserve);
    assert_eq!(central.state().waiting(), 0);
    let whole = central
        .draw(session, Class::of(reserve).unwrap(), 1)
        .pop()
        .unwrap();
    assert_eq!(whole.block, Range(0, reserve));
}

#[test]
fn no_lease_is_lost_or_doubled() {
    loom::model(|| {
        let (central, session) = pool(256, 0);
        let other = central.clone();
        let thread = thread::spawn(move || {
            let one = other.draw(session, Class::of(128).unwrap(), 1).pop();
            one.map(|free| (free.block.start(), free.block.len(), free))
        });
        let mine = central
            .draw(session, Class::of(64).unwrap(), 1)
            .pop()
            .unwrap()
            .block;
        if let Some((start, len, free)) = thread.join().unwrap() {
            assert!(mine.start() + mine.len() <= start || start + len <= mine.start());
            central.put(session, Source::Cache, Use::Staged, vec![free.block]);
        }
        central.put(session, Source::Cache, Use::Staged, vec![mine]);
        assert_whole(&central, session, 256);
    });
}

#[test]
fn whoever_waits_is_woken_by_a_return() {
    loom::model(|| {
        let (central, session) = pool(128, 0);
        let held = blocks(central.acquire(&ask(session, &[64, 64])).unwrap());
        let other = central.clone();
        let waiter = thread::spawn(move || {
            let got = blocks(other.acquire(&ask(session, &[128])).unwrap());
            put(&other, session, Use::Staged, got);
        });
        for block in held {
            put(&central, session, Use::Staged, vec![block]);
        }
        waiter.join().unwrap();
        assert_whole(&central, session, 128);
    });
}

#[test]
fn two_who_wait_are_both_served() {
    loom::model(|| {
        let (central, session) = pool(64, 0);
        let held = blocks(central.acquire(&ask(session, &[64])).unwrap());
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let other = central.clone();
                thread::spawn(move || {
                    let got = blocks(other.acquire(&ask(session, &[64])).unwrap());
                    put(&other, session, Use::Staged, got);
                })
            })
            .collect();
        put(&central, session, Use::Staged, held);
        waiters
            .into_iter()
            .for_each(|waiter| waiter.join().unwrap());
        assert_whole(&central, session, 64);
    });
}

#[test]
fn nobody_waits_for_what_is_exported_meanwhile() {
    loom::model(|| {
        let (central, session) = pool(64, 64);
        let held = blocks(central.acquire(&ask(session, &[64])).unwrap());
        let other = central.clone();
        let waiter = thread::spawn(move || {
            let grants = other.acquire(&ask(session, &[64])).unwrap();
            assert!(matches!(grants[..], [Grant::Extra(64)]));
            other.forget_extra(session, Use::Staged, 64);
        });
        central.transfer(session, Source::Central, (Use::Staged, Use::Exported), 64);
        waiter.join().unwrap();
        put(&central, session, Use::Exported, held);
        assert_whole(&central, session, 64);
    });
}
