//! Devices that fail: what of a batch is done elsewhere, and when they are used again.

mod common;
mod disguised;
mod stuck;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{builder, compile, input, on, query, runtime, sim, told};
use disguised::Disguised;
use stuck::{Call, Stuck};
use unlade_expr::Semantics;
use unlade_runtime::{
    DeviceState, Error, Fallback, Kernel, Reason, Runtime, RuntimeBuilder, Session,
};
use unlade_sim_clock::VirtualClock;
use unlade_sim_device::{Profile, SimDevice};
use unlade_sim_fault::{FaultDevice, FaultKind, FaultPlan};

/// How long a device may take in these tests.
const PATIENCE: Duration = Duration::from_millis(50);

fn faulty(plan: FaultPlan) -> (Arc<FaultDevice>, Runtime) {
    let device = Arc::new(FaultDevice::new(sim(Profile::gpu()), plan));
    let runtime = on(device.clone()).device_timeout(PATIENCE).build().unwrap();
    (device, runtime)
}

#[test]
fn every_fault_is_survived_at_every_operation() {
    let whole = input(300);
    let wanted = query("text, a + 1", "a > 41");
    let expected = compile(&runtime(), &wanted, &whole.schema())
        .run(&whole)
        .unwrap()
        .batch;
    for kind in FaultKind::ALL {
        let mut struck = 0;
        for nth in 1..40 {
            let (device, runtime) = faulty(FaultPlan::nth(nth, kind));
            let kernel = compile(&runtime, &wanted, &whole.schema());
            for _ in 0..2 {
                let output = kernel.run(&whole).unwrap();
                // Nothing tells of a wrong bit, which is why the receipt says `unverified`.
                if kind != FaultKind::Corruption {
                    assert_eq!(output.batch, expected, "{kind:?} at {nth}");
                }
                let failed = output
                    .receipt
                    .parts
                    .iter()
                    .filter(|part| !part.completed)
                    .count();
                assert!(failed == 0 || output.receipt.retries > 0);
                // What was waited for in vain is part of what the batch took.
                if failed > 0 && kind == FaultKind::LostCompletion {
                    assert!(output.receipt.taken >= PATIENCE, "{:?}", output.receipt);
                }
            }
            if device.log().is_empty() {
                break;
            }
            struck += 1;
        }
        // A reset is only tried after a loss, of which a plan of one fault has none.
        assert_eq!(struck > 0, kind != FaultKind::ResetFails, "{kind:?}");
    }
}

#[test]
fn a_failed_device_is_left_alone_and_brought_back() {
    let whole = input(100);
    let clock = VirtualClock::new();
    let sim = Arc::new(SimDevice::builder(Profile::gpu()).build());
    let runtime = on(sim.clone())
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    let kernel = compile(&runtime, &query("text", "a > 41"), &whole.schema());
    assert_eq!(&*kernel.run(&whole).unwrap().receipt.parts[0].device, "sim");

    sim.lose("pulled out");
    assert!(
        runtime.devices()[1]
            .lost
            .as_ref()
            .unwrap()
            .contains("pulled out")
    );
    assert_eq!(runtime.devices()[1].state, DeviceState::Lost);
    // It is brought back before a batch is lost on it.
    let output = kernel.run(&whole).unwrap();
    assert_eq!(&*output.receipt.parts[0].device, "sim");
    assert!(output.receipt.parts[0].completed);
    assert_eq!(runtime.devices()[1].lost, None);
}

#[test]
fn a_device_that_cannot_be_reset_rests_while_others_do_its_work() {
    let whole = input(100);
    let clock = VirtualClock::new();
    let plan = FaultPlan::nth(1, FaultKind::ResetFails);
    let device = Arc::new(FaultDevice::new(sim(Profile::gpu()), plan));
    let runtime = on(device.clone())
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    let kernel = compile(&runtime, &query("text, a", "a > 41"), &whole.schema());
    let ran = |on: &str| {
        let output = kernel.run(&whole).unwrap();
        let parts = &output.receipt.parts;
        assert!(parts.iter().all(|part| part.completed), "{parts:?}");
        assert_eq!(&*parts[0].device, on, "{parts:?}");
        output
    };
    let expected = ran("sim").batch;

    device.lose("pulled out");
    let output = ran("cpu");
    assert_eq!(output.batch, expected);
    let reason = &output.receipt.parts[0].reason;
    assert!(matches!(reason, Reason::Quarantined { device } if &**device == "sim"));
    assert_eq!(device.log().len(), 1, "the reset failed");
    let status = runtime.devices().remove(1);
    assert_eq!(
        (status.lost.as_deref(), status.failures),
        (Some("pulled out"), 1)
    );
    assert_eq!((status.state, status.times_lost), (DeviceState::Resting, 1));
    let rests_for = status.rests_for.unwrap();
    assert!(rests_for > Duration::ZERO);
    clock.advance(rests_for / 2);
    let left = runtime.devices().remove(1).rests_for.unwrap();
    assert_eq!(left, rests_for - rests_for / 2);

    // While it rests nobody tries again.
    assert_eq!(ran("cpu").batch, expected);
    assert!(runtime.devices()[1].lost.is_some());

    clock.advance(Duration::from_secs(2));
    assert_eq!(ran("sim").batch, expected);
    let status = runtime.devices().remove(1);
    assert_eq!((status.lost, status.failures), (None, 0));
    assert_eq!((status.state, status.times_lost), (DeviceState::Ready, 1));
    assert_eq!(status.rests_for, None);
}

#[test]
fn a_fault_without_fallback_is_the_batchs_error() {
    let whole = input(100);
    let device = Arc::new(FaultDevice::new(sim(Profile::gpu()), FaultPlan::none()));
    let runtime = on(device.clone()).fallback(Fallback::Forbid);
    let runtime = runtime
        .device_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let kernel = compile(&runtime, &query("text", "a > 41"), &whole.schema());
    kernel.run(&whole).unwrap();
    device.lose("pulled out");
    match kernel.run(&whole) {
        Ok(output) => assert_eq!(&*output.receipt.parts[0].device, "sim", "brought back"),
        Err(Error::DeviceFault(lost)) => assert_eq!(lost.device, "sim"),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_device_that_is_not_trusted_yet_says_why() {
    let whole = input(100);
    let plan = FaultPlan::nth(1, FaultKind::ResetFails);
    let device = Arc::new(FaultDevice::new(sim(Profile::gpu()), plan));
    let runtime = on(device.clone())
        .fallback(Fallback::Forbid)
        .build()
        .unwrap();
    let kernel = compile(&runtime, &query("text", "a > 41"), &whole.schema());
    device.lose("pulled out");
    let error = kernel.run(&whole).unwrap_err().to_string();
    assert!(error.contains("not trusted yet: pulled out"), "{error}");
}

/// A device that placement chose fails: the next best of the devices takes the batch, not the CPU,
/// and the failed part keeps the reason for which its device was chosen.
#[test]
fn a_batch_that_fails_is_retried_on_another_device() {
    let whole = input(2000);
    let wanted = query("text", "a > 41");
    let expected = compile(&runtime(), &wanted, &whole.schema())
        .run(&whole)
        .unwrap();
    let mut retried = 0;
    // The first list is that of who has it compiled.
    for nth in 2..20 {
        let plan = FaultPlan::nth(nth, FaultKind::LostInFlight);
        let first = FaultDevice::new(disguised("gpu 0"), plan);
        let runtime = builder()
            .device(Arc::new(first))
            .device(disguised("gpu 1"))
            .device_timeout(Duration::from_secs(1))
            .build()
            .unwrap();
        for gpu in ["gpu 0", "gpu 1"] {
            let compiles = told(&runtime, gpu, &wanted, &whole.schema());
            compiles.run(&whole).unwrap();
        }
        let kernel = compile(&runtime, &wanted, &whole.schema());
        for _ in 0..30 {
            let output = kernel.run(&whole).unwrap();
            assert_eq!(output.batch, expected.batch);
            let parts = &output.receipt.parts;
            let Some(failed) = parts.iter().find(|part| !part.completed) else {
                continue;
            };
            assert_eq!((&*failed.device, parts.len()), ("gpu 0", 2), "{parts:?}");
            assert!(
                matches!(failed.reason, Reason::Cheapest { .. }),
                "{parts:?}"
            );
            assert_eq!(&*parts[1].device, "gpu 1");
            assert!(
                matches!(parts[1].reason, Reason::DeviceFault { .. }),
                "{parts:?}"
            );
            assert_eq!(output.receipt.retries, 1);
            retried += 1;
        }
    }
    assert!(retried > 0, "the device was chosen and failed");
}

/// A simulated device that passes for a GPU on the wall clock.
fn disguised(name: &str) -> Arc<Disguised> {
    let sim = SimDevice::builder(Profile::gpu()).name(name).build();
    Arc::new(Disguised::new(sim, Duration::ZERO))
}

/// A session that ends soon, and one that ends when it is told to.
fn sessions(runtime: &Runtime) -> (Session, Session) {
    let soon = runtime.session("soon").deadline(PATIENCE).open().unwrap();
    (soon, runtime.session("until told").open().unwrap())
}

fn kernel_of(session: &Session) -> Kernel {
    let wanted = query("text", "a > 41");
    session
        .compile(&wanted, &input(1).schema(), &Semantics::arrow())
        .unwrap()
}

/// Runs batches until one was done on the device.
fn until_on_the_device(kernel: &Kernel) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let output = kernel.run(&input(100)).unwrap();
        if &*output.receipt.parts[0].device == "sim" {
            return;
        }
        assert!(Instant::now() < deadline, "{:?}", output.receipt);
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_driver_that_does_not_come_back_holds_nobody_up_whose_time_is_over() {
    for call in [Call::Compile, Call::OpenQueue, Call::Allocate] {
        holds_nobody_up_whose_time_is_over(call);
    }
}

fn holds_nobody_up_whose_time_is_over(call: Call) {
    let device = Stuck::in_each(call);
    let runtime = on(device.clone()).build().unwrap();
    let (soon, told) = sessions(&runtime);
    let late = kernel_of(&soon).run(&input(100)).unwrap_err();
    assert!(
        matches!(late, Error::DeadlineExceeded { .. }),
        "{call:?}: {late}"
    );
    let kernel = kernel_of(&told);
    let cancelled = thread::scope(|scope| {
        let runs = scope.spawn(|| kernel.run(&input(100)));
        device.wait_until_stuck();
        told.cancel();
        runs.join().unwrap().unwrap_err()
    });
    assert!(matches!(cancelled, Error::Cancelled), "{cancelled}");
    // The device has done nothing wrong, and what it gives in the end is used.
    assert_eq!(runtime.devices()[1].times_lost, 0);
    device.come_back();
    let output = kernel_of(&sessions(&runtime).1).run(&input(100)).unwrap();
    assert_eq!(&*output.receipt.parts[0].device, "sim");
    assert!(output.receipt.parts[0].completed);
}

#[test]
fn a_driver_that_does_not_come_back_in_its_time_has_failed() {
    for call in [Call::Compile, Call::OpenQueue, Call::Allocate] {
        let device = Stuck::in_each(call);
        let driver_may = Duration::from_millis(20);
        let runtime = on(device.clone()).driver_timeout(driver_may);
        let runtime = runtime.build().unwrap();
        let kernel = kernel_of(&sessions(&runtime).1);
        let output = kernel.run(&input(100)).unwrap();
        let parts = &output.receipt.parts;
        assert_eq!(
            (&*parts[0].device, parts[0].completed, &*parts[1].device),
            ("sim", false, "cpu"),
            "{call:?}"
        );
        assert_eq!(output.receipt.retries, 1);
        let why = match call {
            Call::Compile => "its compiler gave nothing within 20ms",
            Call::OpenQueue => "its driver opened no queue within 20ms",
            Call::Allocate => "its driver gave no memory within 20ms",
            Call::Reset => unreachable!("it is not tried"),
        };
        let reason = parts[1].reason.to_string();
        assert!(reason.contains(why), "{reason}");
        assert_eq!(runtime.devices()[1].times_lost, 1, "{call:?}");
        device.come_back();
        until_on_the_device(&kernel);
    }
}

/// A runtime whose device was lost once it had worked, and is stuck as soon as it is reset.
fn lost_and_stuck(options: RuntimeBuilder, device: &Stuck) -> (Runtime, Kernel) {
    let runtime = options.build().unwrap();
    let kernel = kernel_of(&sessions(&runtime).1);
    until_on_the_device(&kernel);
    device.sim.lose("pulled out");
    (runtime, kernel)
}

#[test]
fn a_reset_holds_nobody_up_who_can_go_elsewhere() {
    let device = Stuck::in_each(Call::Reset);
    let (runtime, kernel) = lost_and_stuck(on(device.clone()), &device);
    let before = runtime.devices().remove(1);
    for _ in 0..3 {
        let output = kernel.run(&input(100)).unwrap();
        let part = &output.receipt.parts[0];
        assert_eq!(&*part.device, "cpu");
        assert!(
            matches!(part.reason, Reason::Quarantined { .. }),
            "{part:?}"
        );
        device.wait_until_stuck();
        // It is one reset, and nothing is known of it yet.
        let status = runtime.devices().remove(1);
        assert_eq!(status.lost.as_deref(), Some("pulled out"));
        assert_eq!(
            (status.state, status.rests_for),
            (DeviceState::Reviving, None)
        );
        assert_eq!(status.failures, before.failures);
        assert_eq!(status.times_lost, before.times_lost + 1);
        assert_eq!(device.stuck(), 1);
    }
    device.come_back();
    until_on_the_device(&kernel);
    assert_eq!(runtime.devices()[1].state, DeviceState::Ready);
}

#[test]
fn a_reset_that_takes_longer_than_it_may_has_failed() {
    let device = Stuck::in_each(Call::Reset);
    let options = on(device.clone()).driver_timeout(PATIENCE);
    let (runtime, kernel) = lost_and_stuck(options, &device);
    let before = runtime.devices().remove(1);
    let output = kernel.run(&input(100)).unwrap();
    assert_eq!(&*output.receipt.parts[0].device, "cpu");
    let status = runtime.devices().remove(1);
    assert_eq!(status.failures, before.failures + 1);
    assert_eq!(status.times_lost, before.times_lost + 1);
    device.come_back();
    until_on_the_device(&kernel);
}

/// Where nothing else may do the work, whoever it is that has begun it.
#[test]
fn a_reset_is_waited_for_by_who_cannot_go_elsewhere() {
    let device = Stuck::in_each(Call::Reset);
    let options = on(device.clone()).fallback(Fallback::Forbid);
    let (runtime, kernel) = lost_and_stuck(options, &device);
    let before = runtime.devices().remove(1);
    let impatient = runtime.session("impatient").open().unwrap();
    let cancelled = kernel_of(&impatient);
    thread::scope(|scope| {
        let cancelled = scope.spawn(|| cancelled.run(&input(100)));
        device.wait_until_stuck();
        impatient.cancel();
        let cancelled = cancelled.join().unwrap().unwrap_err();
        assert!(matches!(cancelled, Error::Cancelled), "{cancelled}");
        assert_eq!(
            runtime.devices()[1].failures,
            before.failures,
            "it says nothing of the device"
        );
        let waiting = [(); 2].map(|()| scope.spawn(|| kernel.run(&input(100))));
        // For longer than who can go elsewhere, which is half a second.
        thread::sleep(Duration::from_millis(700));
        assert!(waiting.iter().all(|waits| !waits.is_finished()));
        device.come_back();
        for waits in waiting {
            let output = waits.join().unwrap().unwrap();
            assert_eq!(&*output.receipt.parts[0].device, "sim");
        }
    });
}

#[test]
fn placement_passes_a_device_by_while_it_is_reset() {
    let device = Stuck::in_each(Call::Reset);
    let runtime = builder().device(device.clone()).build().unwrap();
    let (wanted, schema) = (query("text", "a > 41"), input(1).schema());
    let (placed, forced) = (
        compile(&runtime, &wanted, &schema),
        told(&runtime, "sim", &wanted, &schema),
    );
    let against = || {
        let candidates = placed.explain().candidates;
        let device = candidates.into_iter().find(|each| &*each.device == "sim");
        device.unwrap().against
    };
    until_on_the_device(&forced);
    assert_eq!(against(), None);
    device.sim.lose("pulled out");
    forced.run(&input(100)).unwrap();
    device.wait_until_stuck();
    let why = against().unwrap_or_default();
    assert!(why.contains("is being reset"), "{why}");
    device.come_back();
    until_on_the_device(&forced);
    assert_eq!(against(), None);
}
