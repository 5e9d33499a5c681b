//! Placement against devices whose true speeds it does not know, on virtual time.

mod spreading;

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// A device with its true speed, which is not what its profile says.
struct Truth {
    profile: Profile,
    noise: f64,
}

impl Truth {
    /// What a batch takes, term by term, exactly.
    fn exact(&self, work: &Work) -> Measured {
        let device = Modelled::new("truth", ClockKind::Virtual, self.profile);
        let terms = device.predict(DeviceIndex(0), work, &Load::default());
        Measured {
            stage: Some(terms.stage),
            copy_in: Some(terms.copy_in),
            compute: Some(terms.launch + terms.compute),
            copy_out: Some(terms.copy_out),
            gather: Some(terms.host_gather),
        }
    }

    /// The same with noise, and now and then a disturbance.
    fn measure(&self, work: &Work, random: &mut ChaCha8Rng) -> Measured {
        let mut noisy = |time: Option<Duration>| {
            let disturbed = if random.random_bool(0.01) { 3.0 } else { 1.0 };
            let factor = 1.0 + self.noise * (random.random::<f64>() * 2.0 - 1.0);
            time.map(|time| time.mul_f64(factor * disturbed))
        };
        let exact = self.exact(work);
        Measured {
            stage: noisy(exact.stage),
            copy_in: noisy(exact.copy_in),
            compute: noisy(exact.compute),
            copy_out: noisy(exact.copy_out),
            gather: noisy(exact.gather),
        }
    }
}

fn total(measured: &Measured) -> f64 {
    let Measured {
        stage,
        copy_in,
        compute,
        copy_out,
        gather,
    } = measured;
    [stage, copy_in, compute, copy_out, gather]
        .into_iter()
        .flatten()
        .sum::<Duration>()
        .as_secs_f64()
}

fn log_uniform(random: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    (low.ln() + random.random::<f64>() * (high / low).ln()).exp()
}

/// Two to four devices with speeds over several decades. What their profiles say is off by up to
/// a factor of two either way, each figure by its own.
fn devices(random: &mut ChaCha8Rng) -> (Vec<Truth>, Placer) {
    let (truths, modelled) = devices_as_modelled(random);
    (truths, Placer::new(modelled, Policy::default()))
}

fn devices_as_modelled(random: &mut ChaCha8Rng) -> (Vec<Truth>, Vec<Modelled>) {
    let mut modelled = Vec::new();
    let mut truths = Vec::new();
    for index in 0..random.random_range(2..=4) {
        let truth = if index == 0 {
            Profile {
                read: log_uniform(random, 5e9, 20e9),
                work: log_uniform(random, 1e9, 10e9),
                gather: log_uniform(random, 3e9, 10e9),
                ..Profile::cpu()
            }
        } else {
            Profile {
                launch: Duration::from_secs_f64(log_uniform(random, 2e-6, 300e-6)),
                stage: log_uniform(random, 5e9, 20e9),
                copy_in: log_uniform(random, 2e9, 60e9),
                copy_out: log_uniform(random, 2e9, 60e9),
                read: log_uniform(random, 20e9, 3e12),
                work: log_uniform(random, 1e9, 1e12),
                ..Profile::gpu()
            }
        };
        let mut off = |rate: f64| rate * log_uniform(random, 0.5, 2.0);
        let profile = Profile {
            launch: Duration::from_secs_f64(off(truth.launch.as_secs_f64())),
            stage: off(truth.stage),
            copy_in: off(truth.copy_in),
            copy_out: off(truth.copy_out),
            read: off(truth.read),
            work: off(truth.work),
            gather: off(truth.gather),
            ..truth
        };
        modelled.push(Modelled::new(
            &format!("d{index}"),
            ClockKind::Virtual,
            profile,
        ));
        truths.push(Truth {
            profile: truth,
            noise: 0.05,
        });
    }
    (truths, modelled)
}

fn random_work(random: &mut ChaCha8Rng, key: WorkKey, cost_per_row: f64) -> Work {
    let rows = log_uniform(random, 10e3, 10e6) as u64;
    Work {
        key,
        rows,
        cost_per_row,
        bytes_in: rows * 16,
        bytes_out: rows / 8,
        bytes_gathered: rows * 4,
        ..Work::default()
    }
}

/// One batch: placed, run, learned from, probe included. Returns what it took and what the best
/// choice would have taken.
fn run(
    placer: &mut Placer,
    truths: &[Truth],
    work: &Work,
    random: &mut ChaCha8Rng,
) -> (f64, f64, u64) {
    let loads = vec![Load::default(); truths.len()];
    let choice = placer.place(work, &loads).unwrap();
    let measured = truths[choice.device.0].measure(work, random);
    placer.observe(choice.device, work, &measured);
    let mut taken = total(&truths[choice.device.0].exact(work));
    let mut probed = 0;
    if let Some(probe) = choice.probe {
        let Probe { device, rows, .. } = probe;
        let slice = work.slice(rows);
        let measured = truths[device.0].measure(&slice, random);
        placer.observe(device, &slice, &measured);
        let exact = total(&truths[device.0].exact(&slice));
        placer.probed(&probe, Duration::from_secs_f64(exact));
        taken += exact;
        probed = slice.bytes_in;
    }
    let best = truths
        .iter()
        .map(|truth| total(&truth.exact(work)))
        .fold(f64::MAX, f64::min);
    (taken, best, probed)
}

#[test]
fn total_time_is_near_the_best_choice_in_hindsight() {
    let mut ratios: Vec<(f64, u64)> = Vec::new();
    for seed in 0..1000 {
        let random = &mut ChaCha8Rng::seed_from_u64(seed);
        let (truths, mut placer) = devices(random);
        let cost_per_row = log_uniform(random, 1.0, 30.0);
        let (mut taken, mut best, mut bytes, mut probed) = (0.0, 0.0, 0, 0);
        for _ in 0..200 {
            let work = random_work(random, WorkKey::default(), cost_per_row);
            let outcome = run(&mut placer, &truths, &work, random);
            taken += outcome.0;
            best += outcome.1;
            probed += outcome.2;
            bytes += work.bytes_in;
        }
        assert!(
            probed as f64 <= bytes as f64 * 0.0101,
            "seed {seed}: {probed} of {bytes} probed"
        );
        ratios.push((taken / best, seed));
    }
    ratios.sort_by(|a, b| b.0.total_cmp(&a.0));
    let overall = ratios.iter().map(|each| each.0).sum::<f64>() / ratios.len() as f64;
    println!("mean {overall:.4}, worst {:.4?}", &ratios[..8]);
    let worst = &ratios[..8];
    assert!(overall <= 1.03, "{overall}");
    assert!(ratios[0].0 <= 1.10, "worst (ratio, seed): {worst:.3?}");
}

#[test]
fn a_rate_that_changes_fourfold_is_found_out_within_32_batches() {
    let mut worst = (0, 0);
    for seed in 0..200 {
        let random = &mut ChaCha8Rng::seed_from_u64(seed);
        let (mut truths, mut placer) = devices(random);
        let work = Work {
            rows: 4_000_000,
            bytes_in: 64_000_000,
            bytes_out: 500_000,
            cost_per_row: 8.0,
            ..Work::default()
        };
        for _ in 0..64 {
            run(&mut placer, &truths, &work, random);
        }
        // The best device becomes slow, or another one fast.
        let by_time = |a: &&mut Truth, b: &&mut Truth| {
            total(&a.exact(&work)).total_cmp(&total(&b.exact(&work)))
        };
        if seed % 2 == 0 {
            let truth = truths.iter_mut().min_by(by_time).unwrap();
            truth.profile = scaled(truth.profile, 0.25);
        } else {
            let truth = truths.iter_mut().max_by(by_time).unwrap();
            truth.profile = scaled(truth.profile, 4.0);
        }
        let last_bad = (1..=64)
            .filter(|_| {
                let (taken, best, _) = run(&mut placer, &truths, &work, random);
                taken > best * 1.15
            })
            .count();
        worst = worst.max((last_bad, seed));
        assert!(
            last_bad <= 32,
            "seed {seed}: {last_bad} bad choices after the change"
        );
    }
    println!(
        "most bad choices after a change: {} (seed {})",
        worst.0, worst.1
    );
}

/// The same device with all its rates changed.
fn scaled(profile: Profile, factor: f64) -> Profile {
    Profile {
        launch: profile.launch.div_f64(factor),
        stage: profile.stage * factor,
        copy_in: profile.copy_in * factor,
        copy_out: profile.copy_out * factor,
        read: profile.read * factor,
        work: profile.work * factor,
        gather: profile.gather * factor,
        ..profile
    }
}

fn two(first: Modelled, second: Modelled, policy: Policy) -> Placer {
    Placer::new(vec![first, second], policy)
}

fn idle() -> [Load; 2] {
    [Load::default(), Load::default()]
}

fn gpu_work() -> Work {
    Work {
        rows: 10_000_000,
        bytes_in: 80_000_000,
        bytes_out: 1_250_000,
        cost_per_row: 1.0,
        ..Work::default()
    }
}

#[test]
fn resident_data_belongs_on_the_gpu_and_pageable_data_on_the_cpu() {
    let cpu = || Modelled::new("cpu", ClockKind::Wall, Profile::cpu());
    let gpu = || Modelled::new("gpu", ClockKind::Wall, Profile::gpu());
    let chosen = |buffer| {
        let mut placer = two(cpu(), gpu(), Policy::default());
        let choice = placer
            .place(
                &Work {
                    buffer,
                    ..gpu_work()
                },
                &idle(),
            )
            .unwrap();
        placer.name(choice.device).to_owned()
    };
    assert_eq!(chosen(HostBuffer::Pageable), "cpu");
    let resident = |on| HostBuffer::Resident {
        on: DeviceIndex(on),
        compacts: false,
    };
    assert_eq!(chosen(resident(1)), "gpu");
    // On one device is not on the other.
    assert_eq!(chosen(resident(0)), "cpu");
}

#[test]
fn the_terms_add_up_by_the_formula() {
    let profile = Profile {
        launch: Duration::from_micros(5),
        stage: 1e9,
        copy_in: 2e9,
        in_place: false,
        copy_out: 4e9,
        read: 8e9,
        work: 1e9,
        gather: 1e9,
        compile: Duration::from_micros(10),
        host: false,
        link: None,
    };
    let device = Modelled::new("d", ClockKind::Wall, profile);
    let work = Work {
        rows: 1000,
        cost_per_row: 2.0,
        bytes_in: 8000,
        bytes_out: 4000,
        bytes_gathered: 3000,
        launches: 2,
        ..Work::default()
    };
    let load = Load {
        queue_wait: Duration::from_micros(100),
        compile: Duration::from_micros(500),
        compile_batches: 10,
        ..Load::default()
    };
    let terms = Terms {
        link_wait: Duration::from_micros(30),
        ..device.predict(DeviceIndex(0), &work, &load)
    };
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    assert_eq!(terms.compile, Duration::from_micros(50));
    assert!((micros(terms.launch) - 10.0).abs() < 1e-3);
    assert!((micros(terms.stage) - 8.0).abs() < 1e-3);
    assert!((micros(terms.copy_in) - 4.0).abs() < 1e-3);
    assert!((micros(terms.compute) - 2.0).abs() < 1e-3); // max(1, 2)
    assert!((micros(terms.copy_out) - 1.0).abs() < 1e-3);
    assert!((micros(terms.host_gather) - 3.0).abs() < 1e-3);
    let sum = 100.0 + 30.0 + 50.0 + 10.0 + 8.0 + 4.0 + 2.0 + 1.0 + 3.0;
    assert!((micros(terms.latency()) - sum).abs() < 1e-3);
    assert!((micros(terms.per_batch()) - (50.0 + 12.0)).abs() < 1e-3); // launch + compute
    let pinned = device.predict(
        DeviceIndex(0),
        &Work {
            buffer: HostBuffer::Pinned,
            ..work
        },
        &load,
    );
    assert_eq!(pinned.stage, Duration::ZERO);
}

#[test]
fn simulators_are_chosen_only_on_request_and_clocks_are_not_mixed() {
    let cpu = || Modelled::new("cpu", ClockKind::Wall, Profile::cpu());
    let sim = |clock| Modelled::new("sim", clock, Profile::gpu()).simulated();
    let resident = Work {
        buffer: HostBuffer::Resident {
            on: DeviceIndex(1),
            compacts: false,
        },
        ..gpu_work()
    };
    let chosen = |clock, simulators| {
        let mut placer = two(
            cpu(),
            sim(clock),
            Policy {
                simulators,
                ..Policy::default()
            },
        );
        let choice = placer.place(&resident, &idle()).unwrap();
        let why = choice.candidates.iter().nth(1).unwrap().ineligible.clone();
        (placer.name(choice.device).to_owned(), why)
    };
    assert_eq!(
        chosen(ClockKind::Wall, false),
        ("cpu".into(), Some(Ineligible::Simulator))
    );
    assert_eq!(chosen(ClockKind::Wall, true), ("sim".into(), None));
    assert_eq!(
        chosen(ClockKind::Virtual, true),
        ("cpu".into(), Some(Ineligible::OtherClock))
    );
}

#[test]
fn a_busy_or_ineligible_device_is_avoided_and_the_table_says_so() {
    let a = Modelled::new("a", ClockKind::Wall, Profile::gpu());
    let b = Modelled::new("b", ClockKind::Wall, Profile::gpu());
    let mut placer = two(a, b, Policy::default());
    let [mut busy, idle] = idle();
    busy.queue_wait = Duration::from_secs(1);
    let choice = placer
        .place(&gpu_work(), &[busy.clone(), idle.clone()])
        .unwrap();
    assert_eq!(
        (choice.device, choice.because),
        (DeviceIndex(1), Because::Cheapest)
    );
    let lost = Load {
        ineligible: Some(Ineligible::Quarantined("no answer".into())),
        ..idle
    };
    let choice = placer
        .place(&gpu_work(), &[busy.clone(), lost.clone()])
        .unwrap();
    assert_eq!(
        (choice.device, choice.because),
        (DeviceIndex(0), Because::Only)
    );
    assert!(
        choice
            .candidates
            .to_string()
            .contains("not eligible: in quarantine: no answer")
    );
    let none = placer
        .place(&gpu_work(), &[lost.clone(), lost])
        .unwrap_err();
    assert!(none.iter().all(|each| each.ineligible.is_some()));
}

#[test]
fn a_choice_is_kept_until_another_is_clearly_better() {
    let a = Modelled::new("a", ClockKind::Wall, Profile::gpu());
    let b = Modelled::new("b", ClockKind::Wall, Profile::gpu());
    let mut placer = two(a, b, Policy::default());
    let work = gpu_work();
    let latency = placer
        .predict(&work, &idle())
        .iter()
        .next()
        .unwrap()
        .terms
        .latency();
    assert_eq!(placer.place(&work, &idle()).unwrap().device, DeviceIndex(0));
    let wait = |share: f64| {
        [
            Load {
                queue_wait: latency.mul_f64(share),
                ..Load::default()
            },
            Load::default(),
        ]
    };
    let kept = placer.place(&work, &wait(0.02)).unwrap();
    assert_eq!((kept.device, kept.because), (DeviceIndex(0), Because::Kept));
    assert_eq!(
        placer.place(&work, &wait(0.05)).unwrap().device,
        DeviceIndex(1)
    );
}

#[test]
fn a_good_size_is_one_at_which_launches_hardly_count() {
    let cpu = Modelled::new("cpu", ClockKind::Wall, Profile::cpu());
    let gpu = Modelled::new("gpu", ClockKind::Wall, Profile::gpu());
    let placer = two(cpu, gpu, Policy::default());
    let small = gpu_work().slice(1000);
    assert_eq!(placer.good_rows(DeviceIndex(0), &small), 1000);
    let rows = placer.good_rows(DeviceIndex(1), &small);
    let per_row = |rows| placer.seconds(DeviceIndex(1), &small.slice(rows)) / rows as f64;
    assert!(per_row(1000) > 5.0 * per_row(1_000_000));
    assert!(per_row(rows) <= 1.13 * per_row(1_000_000), "{rows} rows");
    assert!(per_row(rows / 2) > 1.13 * per_row(1_000_000), "{rows} rows");
    // What is large enough stays as it is.
    let good = small.slice(rows);
    assert_eq!(placer.good_rows(DeviceIndex(1), &good), rows);
}

#[test]
fn a_backlog_of_several_lanes_waits_for_the_first_that_is_free() {
    let after = |millis| Timestamp(Duration::from_millis(millis));
    let takes = Duration::from_millis(10);
    let mut backlog = Backlog::new(2);
    backlog.begin(takes, after(5));
    assert_eq!(backlog.wait(after(5)), Duration::ZERO);
    backlog.begin(takes, after(5));
    assert_eq!(backlog.wait(after(9)), Duration::from_millis(6));
    backlog.begin(takes, after(9));
    backlog.end(takes, after(15));
    assert_eq!(backlog.wait(after(15)), takes);
    backlog.end(takes, after(16));
    backlog.end(takes, after(17));
    assert_eq!(backlog.wait(after(17)), Duration::ZERO);
}

#[test]
fn host_cpu_time_is_another_objective() {
    let cpu = Modelled::new("cpu", ClockKind::Wall, Profile::cpu());
    let slow = Profile {
        copy_in: 1e9,
        ..Profile::gpu()
    };
    let gpu = Modelled::new("gpu", ClockKind::Wall, slow);
    let policy = Policy {
        objective: Objective::HostCpu,
        ..Policy::default()
    };
    let work = Work {
        buffer: HostBuffer::Pinned,
        ..gpu_work()
    };
    let mut placer = two(cpu, gpu, policy);
    assert_eq!(placer.place(&work, &idle()).unwrap().device, DeviceIndex(1));
}
