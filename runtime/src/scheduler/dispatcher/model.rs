//! Models of threads that take turns, checked by Loom over all interleavings; `cargo xtask test`
//! builds this crate's tests with `--cfg loom` and runs them. A wake-up that is lost is a thread that
//! waits for ever, which Loom reports.

use loom::thread;
use unlade_sim_clock::VirtualClock;

use super::*;

fn dispatcher() -> Arc<Dispatcher> {
    let limits = Limits {
        depth: 1,
        bytes: u64::MAX,
    };
    let devices = vec![("device".into(), limits)];
    let clock = Arc::new(VirtualClock::new());
    Arc::new(Dispatcher::new(devices, Settings::default(), clock))
}

fn job(session: u64) -> Job {
    Job {
        session: SessionKey(session),
        devices: vec![DeviceIndex(0)],
        ..Job::new(1)
    }
}

/// Another thread that waits for a turn and gives it back.
fn takes_a_turn(dispatcher: &Arc<Dispatcher>, session: u64) -> thread::JoinHandle<Result<(), End>> {
    let dispatcher = Arc::clone(dispatcher);
    thread::spawn(move || {
        let permit = dispatcher.enter(job(session), |_| Revival::Ready)?;
        permit.done(None);
        Ok(())
    })
}

/// All jobs have ended, and nothing is left on the device or to be heard.
fn assert_quiet(dispatcher: &Dispatcher) {
    let state = dispatcher.lock();
    let counts = state.scheduler.counts();
    assert_eq!(counts.submitted, counts.ended);
    assert_eq!(state.scheduler.in_flight(DeviceIndex(0)).0, 0);
    assert!(state.is_silent());
}

#[test]
fn whoever_waits_is_woken_by_a_permit_given_back() {
    loom::model(|| {
        let dispatcher = dispatcher();
        let held = dispatcher.enter(job(0), |_| Revival::Ready).unwrap();
        let waits = takes_a_turn(&dispatcher, 1);
        held.done(None);
        assert_eq!(waits.join().unwrap(), Ok(()));
        assert_quiet(&dispatcher);
    });
}

#[test]
fn two_who_wait_are_both_woken() {
    loom::model(|| {
        let dispatcher = dispatcher();
        let held = dispatcher.enter(job(0), |_| Revival::Ready).unwrap();
        let wait = [1, 2].map(|session| takes_a_turn(&dispatcher, session));
        drop(held);
        for waits in wait {
            assert_eq!(waits.join().unwrap(), Ok(()));
        }
        assert_quiet(&dispatcher);
    });
}

#[test]
fn whoever_waits_is_woken_by_the_end_of_its_session() {
    loom::model(|| {
        let dispatcher = dispatcher();
        let held = dispatcher.enter(job(0), |_| Revival::Ready).unwrap();
        let waits = takes_a_turn(&dispatcher, 1);
        dispatcher.cancel_session(SessionKey(1));
        held.done(None);
        // It may have come too late to be cancelled.
        assert!(matches!(
            waits.join().unwrap(),
            Ok(()) | Err(End::Cancelled)
        ));
        assert_quiet(&dispatcher);
    });
}

#[test]
fn a_turn_given_while_its_session_is_cancelled_does_not_keep_the_device() {
    loom::model(|| {
        let dispatcher = dispatcher();
        let held = dispatcher.enter(job(0), |_| Revival::Ready).unwrap();
        let waits = takes_a_turn(&dispatcher, 1);
        let cancels = {
            let dispatcher = Arc::clone(&dispatcher);
            thread::spawn(move || dispatcher.forget_session(SessionKey(1)))
        };
        held.done(None);
        assert!(matches!(
            waits.join().unwrap(),
            Ok(()) | Err(End::Cancelled)
        ));
        cancels.join().unwrap();
        assert_quiet(&dispatcher);
    });
}

#[test]
fn whoever_waits_is_woken_by_the_loss_of_the_device() {
    loom::model(|| {
        let dispatcher = dispatcher();
        let held = dispatcher.enter(job(0), |_| Revival::Ready).unwrap();
        let waits = takes_a_turn(&dispatcher, 1);
        assert_eq!(held.lost().wait().unwrap_err(), End::NoDevice);
        assert_eq!(waits.join().unwrap(), Err(End::NoDevice));
        assert_quiet(&dispatcher);
    });
}
