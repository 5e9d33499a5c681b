//! Models of a runtime that ends while batches begin, checked by Loom over all interleavings.

use std::sync::Arc;

use loom::thread;

use super::door::{CLOSING, Door, SHUT, UnderWay};

/// Begins something, if that may be, and leaves it under way.
fn begins(runtime: &Arc<(Door, UnderWay)>) -> thread::JoinHandle<bool> {
    let runtime = Arc::clone(runtime);
    thread::spawn(move || {
        let (door, under_way) = &*runtime;
        under_way.begin(1);
        let may = door.may_begin().is_ok();
        if !may {
            under_way.end(1);
        }
        may
    })
}

#[test]
fn nothing_begins_unseen_behind_a_closed_door() {
    loom::model(|| {
        let runtime = Arc::new((Door::default(), UnderWay::default()));
        let begins = [begins(&runtime), begins(&runtime)];
        let (door, under_way) = &*runtime;
        door.close(CLOSING);
        let seen = under_way.count();
        let begun = begins.map(|each| u64::from(each.join().unwrap()));
        let begun: u64 = begun.iter().sum();
        assert!(seen >= begun, "{begun} have begun, {seen} were seen");
        assert_eq!(under_way.count(), begun);
    });
}

#[test]
fn a_door_that_is_shut_stays_so() {
    loom::model(|| {
        let door = Arc::new(Door::default());
        let closes = thread::spawn({
            let door = Arc::clone(&door);
            move || door.close(CLOSING)
        });
        door.close(SHUT);
        closes.join().unwrap();
        assert!(door.may_begin().is_err());
        assert!(door.may_go_on().is_err());
    });
}
