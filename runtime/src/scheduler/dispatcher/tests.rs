//! Threads and futures that take turns.

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unlade_hal::WallClock;
use unlade_sim_clock::VirtualClock;

use super::*;
use crate::placement::DeviceIndex;

fn dispatcher(devices: usize, depth: u32) -> Dispatcher {
    with_clock(devices, depth, Arc::new(WallClock::new()))
}

fn with_clock(devices: usize, depth: u32, clock: Arc<dyn Clock>) -> Dispatcher {
    let limits = Limits {
        depth,
        bytes: u64::MAX,
    };
    let devices = (0..devices)
        .map(|index| (format!("d{index}").into(), limits))
        .collect();
    let quarantine = Duration::from_micros(200);
    let settings = Settings {
        quarantine,
        max_quarantine: 4 * quarantine,
        ..Settings::default()
    };
    Dispatcher::new(devices, settings, clock)
}

fn job(devices: usize) -> Job {
    Job {
        devices: (0..devices).map(DeviceIndex).collect(),
        ..Job::new(1)
    }
}

#[test]
fn a_lost_device_is_replaced_by_the_next() {
    let dispatcher = dispatcher(2, 1);
    let permit = dispatcher.enter(job(2), |_| Revival::Ready).unwrap();
    assert_eq!(permit.device(), DeviceIndex(0));
    let permit = permit.lost().wait().unwrap();
    assert_eq!(permit.device(), DeviceIndex(1));
    assert_eq!(dispatcher.device(DeviceIndex(0)).failures, 1);
    permit.done(None);
    let mut revived = Vec::new();
    while revived.is_empty() {
        let permit = dispatcher.enter(job(2), |device| {
            revived.push(device);
            Revival::Ready
        });
        permit.unwrap().done(None);
    }
    assert_eq!(revived, [DeviceIndex(0)]);
    assert!(!dispatcher.is_quarantined(DeviceIndex(0)));
}

/// To bring a device back may take long: nobody does it who wants another.
#[test]
fn who_wants_a_device_brings_back_that_alone() {
    let clock = VirtualClock::new();
    let dispatcher = with_clock(3, 1, Arc::new(clock.clone()));
    let on = |device: usize| Job {
        devices: vec![DeviceIndex(device)],
        ..Job::new(1)
    };
    for device in [0, 1] {
        let permit = dispatcher.enter(on(device), |_| Revival::Ready).unwrap();
        assert_eq!(permit.lost().wait().unwrap_err(), End::NoDevice);
        assert!(dispatcher.is_quarantined(DeviceIndex(device)));
    }
    clock.advance(Duration::from_secs(1));
    let revived = |wanted: usize| {
        let mut revived = Vec::new();
        let permit = dispatcher.enter(on(wanted), |device| {
            revived.push(device.0);
            Revival::Ready
        });
        permit.unwrap().done(None);
        revived
    };
    assert!(revived(2).is_empty());
    let due = |device| !dispatcher.is_quarantined(DeviceIndex(device));
    assert!(
        due(0) && due(1),
        "who wants them may have them brought back"
    );
    assert_eq!(revived(1), [1]);
    assert_eq!(revived(0), [0]);
}

/// What is under way counts for nothing, and whoever comes next asks again.
#[test]
fn who_does_not_wait_for_a_revival_leaves_it_to_the_next() {
    let clock = VirtualClock::new();
    let dispatcher = with_clock(2, 1, Arc::new(clock.clone()));
    let lost = DeviceIndex(0);
    let permit = dispatcher.enter(job(2), |_| Revival::Ready).unwrap();
    let elsewhere = permit.lost().wait().unwrap();
    assert_eq!(elsewhere.device(), DeviceIndex(1));
    elsewhere.done(None);
    clock.advance(Duration::from_secs(1));
    for _ in 0..3 {
        let mut asked = 0;
        let permit = dispatcher.enter(job(2), |_| {
            asked += 1;
            Revival::UnderWay
        });
        let permit = permit.unwrap();
        assert_eq!((asked, permit.device()), (1, DeviceIndex(1)));
        permit.done(None);
        let seen = dispatcher.device(lost);
        assert_eq!((seen.rests_for, seen.failures), (Some(Duration::ZERO), 1));
        assert!(!dispatcher.is_quarantined(lost), "it may be back");
    }
    let permit = dispatcher.enter(job(2), |_| Revival::Ready).unwrap();
    assert_eq!(permit.device(), lost);
    permit.done(None);
    assert_eq!(dispatcher.device(lost).failures, 0);
}

#[test]
fn without_a_device_the_job_ends() {
    let dispatcher = dispatcher(1, 1);
    assert_eq!(
        dispatcher.enter(job(0), |_| Revival::Ready).unwrap_err(),
        End::NoDevice
    );
    let permit = dispatcher.enter(job(1), |_| Revival::Ready).unwrap();
    assert_eq!(permit.lost().wait().unwrap_err(), End::NoDevice);
    assert_eq!(dispatcher.counts().submitted, dispatcher.counts().ended);
}

#[test]
fn whoever_waits_wakes_at_the_deadline_of_the_clock() {
    let virtual_clock = VirtualClock::new();
    let clocks: [Arc<dyn Clock>; 2] = [Arc::new(WallClock::new()), Arc::new(virtual_clock.clone())];
    for clock in clocks {
        let dispatcher = with_clock(1, 1, Arc::clone(&clock));
        let held = dispatcher.enter(job(1), |_| Revival::Ready).unwrap();
        let deadline = Timestamp(clock.now().0 + Duration::from_millis(2));
        let job = Job {
            deadline: Some(deadline),
            ..job(1)
        };
        thread::scope(|scope| {
            let waiter = scope.spawn(|| dispatcher.enter(job, |_| Revival::Ready).unwrap_err());
            while dispatcher.counts().submitted < 2 {
                thread::yield_now();
            }
            virtual_clock.advance(Duration::from_millis(2));
            assert_eq!(waiter.join().unwrap(), End::TimedOut);
        });
        assert!(clock.now() >= deadline);
        held.done(None);
    }
}

#[test]
fn cancelling_a_session_wakes_its_threads_and_no_others() {
    let dispatcher = dispatcher(1, 1);
    let of = |session| Job {
        session: SessionKey(session),
        ..job(1)
    };
    let held = dispatcher.enter(of(1), |_| Revival::Ready).unwrap();
    thread::scope(|scope| {
        let enter = |session| {
            let dispatcher = &dispatcher;
            scope.spawn(move || {
                dispatcher
                    .enter(of(session), |_| Revival::Ready)
                    .map(|it| it.done(None))
            })
        };
        let (cancelled, other) = (enter(1), enter(2));
        await_waiting(&dispatcher, 2);
        dispatcher.cancel_session(SessionKey(1));
        assert_eq!(cancelled.join().unwrap(), Err(End::Cancelled));
        // What was cancelled on the device occupies it until its permit comes back.
        await_waiting(&dispatcher, 1);
        held.done(None);
        assert_eq!(other.join().unwrap(), Ok(()));
    });
    dispatcher.forget_session(SessionKey(1));
    assert_eq!(dispatcher.counts().ended, 3);
    assert!(dispatcher.lock().is_silent());
}

/// Waits until so many jobs wait for the first device.
fn await_waiting(dispatcher: &Dispatcher, jobs: usize) {
    while dispatcher.lock().scheduler.waiting(DeviceIndex(0)).0 != jobs {
        thread::yield_now();
    }
}

#[test]
fn threads_never_exceed_the_depth_and_all_get_through() {
    let dispatcher = dispatcher(3, 2);
    let inside: [AtomicU32; 3] = Default::default();
    thread::scope(|scope| {
        for seed in 0..6 {
            let (dispatcher, inside) = (&dispatcher, &inside);
            scope.spawn(move || {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                for _ in 0..300 {
                    let revival = match random.random_range(0..10) {
                        0 => Revival::Failed,
                        1 | 2 => Revival::UnderWay,
                        _ => Revival::Ready,
                    };
                    let mut permit = dispatcher.enter(job(3), |_| revival);
                    while let Ok(granted) = permit {
                        let now = inside[granted.device().0].fetch_add(1, Ordering::SeqCst);
                        thread::yield_now();
                        inside[granted.device().0].fetch_sub(1, Ordering::SeqCst);
                        // A device that is declared lost may have jobs inside for a while.
                        assert!(now < 6);
                        permit = match random.random_range(0..20) {
                            0 => granted.lost().wait(),
                            1 => {
                                drop(granted);
                                break;
                            }
                            _ => {
                                granted.done(None);
                                break;
                            }
                        };
                    }
                }
            });
        }
    });
    let counts = dispatcher.counts();
    assert_eq!(counts.submitted, 1800);
    assert_eq!(counts.ended, 1800);
    assert!((0..3).all(|index| dispatcher.lock().scheduler.in_flight(DeviceIndex(index)).0 == 0));
    assert!(dispatcher.lock().is_silent());
}

/// How often something was woken.
#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<'a>(turn: &mut Turn<'a>, woken: &Arc<Woken>) -> Poll<Result<Permit<'a>, End>> {
    let waker = Waker::from(Arc::clone(woken));
    Pin::new(turn).poll(&mut Context::from_waker(&waker))
}

#[test]
fn one_thread_waits_for_many_turns_and_only_the_next_is_woken() {
    let dispatcher = dispatcher(1, 1);
    let mut turns: Vec<_> = (0..4).map(|_| dispatcher.turn(job(1))).collect();
    let woken: [Arc<Woken>; 4] = Default::default();
    let mut held = None;
    for (turn, woken) in turns.iter_mut().zip(&woken) {
        match poll(turn, woken) {
            Poll::Ready(permit) => held = Some(permit.unwrap()),
            Poll::Pending => assert!(held.is_some()),
        }
    }
    let counts = || woken.each_ref().map(|woken| woken.0.load(Ordering::SeqCst));
    assert_eq!(counts(), [0; 4]);
    held.unwrap().done(None);
    assert_eq!(counts(), [0, 1, 0, 0]);
    let Poll::Ready(second) = poll(&mut turns[1], &woken[1]) else {
        panic!("it was woken for this");
    };
    // Whoever gives up is passed over, and does not hold the device up.
    drop(turns.remove(2));
    second.unwrap().done(None);
    assert_eq!(counts(), [0, 1, 0, 1]);
    drop(turns);
    assert_eq!(dispatcher.lock().scheduler.in_flight(DeviceIndex(0)).0, 0);
    assert_eq!(dispatcher.counts().submitted, dispatcher.counts().ended);
    assert!(dispatcher.lock().is_silent());
}

#[test]
fn a_turn_that_is_cancelled_before_it_is_heard_of_leaves_the_device() {
    let dispatcher = dispatcher(1, 1);
    let held = dispatcher.enter(job(1), |_| Revival::Ready).unwrap();
    let cancelled = Job {
        session: SessionKey(1),
        ..job(1)
    };
    let woken = Arc::default();
    let mut turn = dispatcher.turn(cancelled);
    assert!(poll(&mut turn, &woken).is_pending());
    held.done(None);
    dispatcher.cancel_session(SessionKey(1));
    let Poll::Ready(permit) = poll(&mut turn, &woken) else {
        panic!("it has ended");
    };
    assert_eq!(permit.unwrap_err(), End::Cancelled);
    assert_eq!(dispatcher.lock().scheduler.in_flight(DeviceIndex(0)).0, 0);
    assert!(dispatcher.lock().is_silent());
}

#[test]
fn whoever_only_polls_keeps_time_by_ticks() {
    let clock = VirtualClock::new();
    let dispatcher = with_clock(1, 1, Arc::new(clock.clone()));
    let held = dispatcher.enter(job(1), |_| Revival::Ready).unwrap();
    let deadline = Timestamp(Duration::from_secs(1));
    let woken = Arc::default();
    let mut turn = dispatcher.turn(Job {
        deadline: Some(deadline),
        ..job(1)
    });
    assert!(poll(&mut turn, &woken).is_pending());
    assert_eq!(dispatcher.tick(), Some(deadline));
    clock.advance_to(deadline);
    assert_eq!(dispatcher.tick(), None);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert!(matches!(
        poll(&mut turn, &woken),
        Poll::Ready(Err(End::TimedOut))
    ));
    held.done(None);
}

#[test]
fn how_long_one_waits_is_guessed_from_how_long_jobs_took() {
    let clock = VirtualClock::new();
    let dispatcher = with_clock(1, 1, Arc::new(clock.clone()));
    let held = dispatcher.enter(job(1), |_| Revival::Ready).unwrap();
    clock.advance(Duration::from_millis(8));
    held.done(None);
    assert_eq!(dispatcher.queue_wait(DeviceIndex(0)), Duration::ZERO);
    let held = dispatcher.enter(job(1), |_| Revival::Ready).unwrap();
    let wait = dispatcher.queue_wait(DeviceIndex(0));
    assert!(wait.abs_diff(Duration::from_millis(8)) < Duration::from_micros(1));
    held.done(None);
}
