//! Single rules. All of them together are under test in `simulation`.

use std::time::Duration;

use super::*;

fn at(millis: u64) -> Timestamp {
    Timestamp(Duration::from_millis(millis))
}

fn device(index: usize) -> DeviceIndex {
    DeviceIndex(index)
}

fn one_device(depth: u32) -> Scheduler {
    Scheduler::new(
        vec![Limits {
            depth,
            bytes: u64::MAX,
        }],
        Settings::default(),
    )
}

fn job(bytes: u64) -> Job {
    Job {
        devices: vec![device(0)],
        ..Job::new(bytes)
    }
}

fn submit(scheduler: &mut Scheduler, id: u64, job: Job) -> Vec<Action> {
    scheduler.step(Event::Submit { id: JobId(id), job }, at(0))
}

/// Lets the device do one job after the other; returns the order.
fn drain(scheduler: &mut Scheduler, first: u64) -> Vec<u64> {
    let mut order = vec![first];
    loop {
        let id = JobId(*order.last().unwrap());
        let actions = scheduler.step(
            Event::Completed {
                id,
                device: device(0),
                used: Duration::ZERO,
            },
            at(0),
        );
        let next = actions.iter().find_map(|action| match action {
            Action::Dispatch { id, .. } => Some(id.0),
            _ => None,
        });
        match next {
            Some(next) => order.push(next),
            None => return order,
        }
    }
}

#[test]
fn a_session_that_was_idle_has_no_credit() {
    let mut scheduler = one_device(1);
    submit(&mut scheduler, 0, job(1));
    for id in 1..=20 {
        submit(
            &mut scheduler,
            id,
            Job {
                session: SessionKey(1),
                ..job(100)
            },
        );
    }
    for id in 0..10 {
        scheduler.step(
            Event::Completed {
                id: JobId(id),
                device: device(0),
                used: Duration::ZERO,
            },
            at(0),
        );
    }
    for id in 21..=40 {
        submit(
            &mut scheduler,
            id,
            Job {
                session: SessionKey(2),
                ..job(100)
            },
        );
    }
    let order = drain(&mut scheduler, 10);
    let late = order[1..11].iter().filter(|id| **id > 20).count();
    assert!((4..=6).contains(&late), "{order:?}");
}

#[test]
fn higher_priority_goes_first() {
    let mut scheduler = one_device(1);
    submit(&mut scheduler, 0, job(1));
    for (id, priority) in [
        (1, Priority::Background),
        (2, Priority::Normal),
        (3, Priority::Interactive),
    ] {
        submit(&mut scheduler, id, Job { priority, ..job(1) });
    }
    assert_eq!(drain(&mut scheduler, 0), [0, 3, 2, 1]);
}

#[test]
fn a_full_queue_is_tried_again_after_a_completion() {
    let mut scheduler = one_device(4);
    submit(&mut scheduler, 0, job(1));
    submit(&mut scheduler, 1, job(1));
    let full = Event::Full {
        id: JobId(1),
        device: device(0),
    };
    assert_eq!(scheduler.step(full, at(0)), []);
    assert_eq!(submit(&mut scheduler, 2, job(1)), []);
    let done = Event::Completed {
        id: JobId(0),
        device: device(0),
        used: Duration::ZERO,
    };
    let dispatched = |id| Action::Dispatch {
        id: JobId(id),
        device: device(0),
    };
    let actions = scheduler.step(done, at(0));
    assert_eq!(actions[1..], [dispatched(1), dispatched(2)]);
    assert_eq!(scheduler.counts().retries, 0);
}

#[test]
fn a_cancelled_job_on_a_device_keeps_its_place_until_the_device_lets_go() {
    let mut scheduler = one_device(1);
    submit(&mut scheduler, 0, job(10));
    let actions = scheduler.step(Event::Cancel { id: JobId(0) }, at(0));
    assert_eq!(
        actions,
        [Action::End {
            id: JobId(0),
            end: End::Cancelled
        }]
    );
    assert_eq!(scheduler.in_flight(device(0)), (1, 10));
    assert_eq!(submit(&mut scheduler, 1, job(10)), []);
    let actions = scheduler.step(
        Event::Completed {
            id: JobId(0),
            device: device(0),
            used: Duration::ZERO,
        },
        at(0),
    );
    assert_eq!(
        actions,
        [Action::Dispatch {
            id: JobId(1),
            device: device(0)
        }]
    );
}

#[test]
fn cancelling_a_session_ends_what_it_has_and_nothing_else() {
    let mut scheduler = one_device(1);
    for (id, session) in [(0, 1), (1, 1), (2, 2)] {
        let job = Job {
            session: SessionKey(session),
            ..job(1)
        };
        submit(&mut scheduler, id, job);
    }
    let ended = |id| Action::End {
        id: JobId(id),
        end: End::Cancelled,
    };
    let session = SessionKey(1);
    let actions = scheduler.step(Event::CancelSession { session }, at(0));
    assert_eq!(actions, [ended(0), ended(1)]);
    assert_eq!(scheduler.step(Event::ForgetSession { session }, at(0)), []);
    assert_eq!(scheduler.in_flight(device(0)).0, 1);
    assert_eq!(drain(&mut scheduler, 0), [0, 2]);
}

#[test]
fn a_deadline_passes_while_waiting() {
    let mut scheduler = one_device(1);
    submit(&mut scheduler, 0, job(1));
    submit(
        &mut scheduler,
        1,
        Job {
            deadline: Some(at(5)),
            ..job(1)
        },
    );
    assert_eq!(scheduler.next_tick(), Some(at(5)));
    assert_eq!(scheduler.step(Event::Tick, at(4)), []);
    let actions = scheduler.step(Event::Tick, at(5));
    assert_eq!(
        actions,
        [Action::End {
            id: JobId(1),
            end: End::TimedOut
        }]
    );
    assert_eq!(scheduler.next_tick(), None);
}

#[test]
fn a_device_that_is_found_lost_is_brought_back_at_once_and_rests_if_that_fails() {
    let mut scheduler = one_device(2);
    submit(&mut scheduler, 0, job(1));
    let found = Event::FoundLost {
        device: device(0),
        by: Some(JobId(0)),
    };
    let elsewhere = Action::End {
        id: JobId(0),
        end: End::NoDevice,
    };
    let revive = Action::Revive { device: device(0) };
    assert_eq!(scheduler.step(found, at(5)), [elsewhere, revive.clone()]);
    assert_eq!(scheduler.counts().losses, 1);
    assert_eq!(scheduler.next_tick(), None);
    let failed = Event::Revived {
        device: device(0),
        ready: false,
    };
    assert_eq!(scheduler.step(failed, at(5)), []);
    assert_eq!(scheduler.next_tick(), Some(at(1005)));
    assert_eq!(scheduler.step(Event::Tick, at(1005)), [revive]);
}

#[test]
fn a_device_that_is_found_lost_by_one_while_another_was_on_it_rests() {
    let mut scheduler = one_device(2);
    submit(&mut scheduler, 0, job(1));
    submit(&mut scheduler, 1, job(1));
    let found = Event::FoundLost {
        device: device(0),
        by: Some(JobId(1)),
    };
    let ended = scheduler.step(found, at(5));
    assert_eq!(ended.len(), 2);
    assert_eq!(scheduler.next_tick(), Some(at(1005)));
}

#[test]
fn a_lost_device_rests_twice_as_long_each_time_and_returns_on_trial() {
    let mut scheduler = one_device(2);
    let lost = || Event::Lost {
        device: device(0),
        leaked: vec![],
    };
    scheduler.step(lost(), at(0));
    assert!(scheduler.is_quarantined(device(0)));
    assert_eq!(scheduler.next_tick(), Some(at(1000)));
    let refused = submit(&mut scheduler, 0, job(1));
    assert_eq!(
        refused,
        [Action::End {
            id: JobId(0),
            end: End::NoDevice
        }]
    );
    let revive = [Action::Revive { device: device(0) }];
    assert_eq!(scheduler.step(Event::Tick, at(1000)), revive);
    scheduler.step(
        Event::Revived {
            device: device(0),
            ready: false,
        },
        at(1000),
    );
    assert_eq!(scheduler.next_tick(), Some(at(3000)));
    assert_eq!(scheduler.step(Event::Tick, at(3000)), revive);
    scheduler.step(
        Event::Revived {
            device: device(0),
            ready: true,
        },
        at(3000),
    );
    assert_eq!(submit(&mut scheduler, 1, job(1)).len(), 1);
    assert_eq!(
        submit(&mut scheduler, 2, job(1)),
        [],
        "one at a time while on trial"
    );
    let done = Event::Completed {
        id: JobId(1),
        device: device(0),
        used: Duration::ZERO,
    };
    scheduler.step(done, at(3001));
    assert_eq!(submit(&mut scheduler, 3, job(1)).len(), 1);
}

#[test]
fn what_a_device_says_twice_counts_once() {
    let mut scheduler = one_device(2);
    submit(&mut scheduler, 0, job(1));
    submit(&mut scheduler, 1, job(1));
    let full = || Event::Full {
        id: JobId(1),
        device: device(0),
    };
    assert_eq!(scheduler.step(full(), at(0)), []);
    assert_eq!(scheduler.step(full(), at(0)), []);
    assert_eq!(scheduler.in_flight(device(0)), (1, 1));
    let done = |id| Event::Completed {
        id: JobId(id),
        device: device(0),
        used: Duration::ZERO,
    };
    assert_eq!(scheduler.step(done(0), at(0)).len(), 2);
    assert_eq!(scheduler.step(done(0), at(0)), []);
    assert_eq!(scheduler.in_flight(device(0)), (1, 1));
}
