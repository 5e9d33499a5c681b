//! One stream over several devices, against the best of them alone.

use std::collections::VecDeque;

use super::*;

/// Streams, each with devices of its own.
const SEEDS: u64 = 100;

/// Batches of a stream.
const BATCHES: usize = 300;

/// Batches that a stream may be ahead of the oldest one that is not done.
const WINDOW: usize = 12;

/// Batches on their way through the stages of devices, each of which has one batch at a time: the
/// host's part, the link there, the device, the link back.
struct Pipelines {
    /// For each device when its stages are free.
    free_at: Vec<[f64; 4]>,
    /// What all devices but the first share.
    shared: Option<SharedLink>,
}

/// A link that moves so many bytes a second there and back.
struct SharedLink {
    rate: [f64; 2],
    /// When it is taken, from and until, in this order.
    taken: [Vec<(f64, f64)>; 2],
}

impl SharedLink {
    /// Takes one direction for so many bytes as soon as it is free, from when they are ready on;
    /// returns when that begins.
    fn take(&mut self, way: usize, ready: f64, bytes: u64) -> f64 {
        let takes = bytes as f64 / self.rate[way];
        let taken = &mut self.taken[way];
        let (mut start, mut before) = (ready, 0);
        for (from, until) in taken.iter() {
            if start + takes <= *from {
                break;
            }
            start = start.max(*until);
            before += 1;
        }
        taken.insert(before, (start, start + takes));
        start
    }
}

impl Pipelines {
    /// A link is as fast as the fastest device on it.
    fn new(truths: &[Truth], link: Link) -> Self {
        let fastest = |rate: fn(&Profile) -> f64| {
            let on_it = truths[1..].iter();
            on_it.map(|truth| rate(&truth.profile)).fold(0.0, f64::max)
        };
        Pipelines {
            free_at: vec![[0.0; 4]; truths.len()],
            shared: (link == Link::Shared).then(|| SharedLink {
                rate: [fastest(|of| of.copy_in), fastest(|of| of.copy_out)],
                taken: [Vec::new(), Vec::new()],
            }),
        }
    }

    /// When a batch is done that comes now. Copies are measured from when they could begin, had the
    /// device the link for itself.
    fn run(&mut self, device: DeviceIndex, now: f64, work: &Work, measured: &mut Measured) -> f64 {
        let of = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64();
        let stages = [
            of(measured.stage) + of(measured.gather),
            of(measured.copy_in),
            of(measured.compute),
            of(measured.copy_out),
        ];
        let mut at = now;
        for (stage, takes) in stages.into_iter().enumerate() {
            let own = &mut self.free_at[device.0][stage];
            let ready = at.max(*own);
            let mut start = ready;
            if let (Some(link), 1 | 3, 1..) = (&mut self.shared, stage, device.0) {
                let way = stage / 2;
                start = link.take(way, ready, [work.bytes_in, work.bytes_out][way]);
            }
            at = start + takes;
            *own = at;
            let took = Some(Duration::from_secs_f64(at - ready));
            match stage {
                1 => measured.copy_in = took,
                3 => measured.copy_out = took,
                _ => {}
            }
        }
        at
    }
}

/// What devices other than the first hang on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// One each.
    Own,
    /// The same one.
    Shared,
}

fn machine(random: &mut ChaCha8Rng, link: Link) -> (Vec<Truth>, Placer) {
    let (truths, modelled) = devices_as_modelled(random);
    let modelled = modelled.into_iter().enumerate();
    let modelled = modelled.map(|(device, modelled)| match (link, device) {
        (Link::Shared, 1..) => modelled.on_link(LinkId(0)),
        _ => modelled,
    });
    (truths, Placer::new(modelled.collect(), Policy::default()))
}

/// A batch on a device.
struct Running {
    done_at: f64,
    device: DeviceIndex,
    begun: Begun,
    work: Work,
    measured: Measured,
}

/// How long a stream takes whose results are taken in order, as soon as they are there; on one
/// device, or on all of them.
fn stream(seed: u64, link: Link, only: Option<usize>) -> f64 {
    let random = &mut ChaCha8Rng::seed_from_u64(seed);
    let (truths, mut placer) = machine(random, link);
    let cost_per_row = log_uniform(random, 1.0, 30.0);
    let works: Vec<Work> = (0..BATCHES)
        .map(|_| random_work(random, WorkKey::default(), cost_per_row))
        .collect();
    let mut pipelines = Pipelines::new(&truths, link);
    let mut works = VecDeque::from(works);
    let mut now = 0.0;
    // In the order of the stream; `None` once it was learnt from.
    let mut window: VecDeque<Option<Running>> = VecDeque::new();
    let mut last = 0.0f64;
    loop {
        while let Some(None) = window.front() {
            window.pop_front();
        }
        let timestamp = Timestamp(Duration::from_secs_f64(now));
        while window.len() < WINDOW
            && let Some(work) = works.pop_front()
        {
            let load = |device| Load {
                ineligible: only
                    .filter(|only| *only != device)
                    .map(|_| Ineligible::Excluded),
                ..placer.load(DeviceIndex(device), timestamp)
            };
            let loads: Vec<Load> = (0..truths.len()).map(load).collect();
            let choice = placer.place(&work, &loads).unwrap();
            let device = choice.device;
            let terms = choice.candidates.iter().nth(device.0).unwrap().terms;
            let begun = placer.begin(device, &terms, timestamp);
            let mut measured = truths[device.0].measure(&work, random);
            let done_at = pipelines.run(device, now, &work, &mut measured);
            last = last.max(done_at);
            window.push_back(Some(Running {
                done_at,
                device,
                begun,
                work: work.clone(),
                measured,
            }));
            if let Some(probe) = choice.probe {
                let Probe { device, rows, .. } = probe;
                let slice = work.slice(rows);
                let mut measured = truths[device.0].measure(&slice, random);
                let done_at = pipelines.run(device, now, &slice, &mut measured);
                placer.observe(device, &slice, &measured);
                placer.probed(&probe, Duration::from_secs_f64(done_at - now));
            }
        }
        let next = window
            .iter_mut()
            .filter(|slot| slot.is_some())
            .min_by(|a, b| {
                let at = |slot: &Option<Running>| slot.as_ref().map_or(f64::MAX, |it| it.done_at);
                at(a).total_cmp(&at(b))
            });
        let Some(running) = next.and_then(Option::take) else {
            return last;
        };
        now = running.done_at.max(now);
        placer.end(running.begun, Timestamp(Duration::from_secs_f64(now)));
        placer.observe(running.device, &running.work, &running.measured);
    }
}

/// How many times as long a stream takes over all devices as over the best of them: the mean, and
/// the worst, with their seeds.
fn beside_the_best(link: Link) -> (f64, Vec<(f64, u64)>) {
    let mut ratios = Vec::new();
    for seed in 0..SEEDS {
        let random = &mut ChaCha8Rng::seed_from_u64(seed);
        let count = machine(random, link).0.len();
        let alone = (0..count).map(|device| stream(seed, link, Some(device)));
        let best = alone.fold(f64::MAX, f64::min);
        ratios.push((stream(seed, link, None) / best, seed));
    }
    ratios.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mean = ratios.iter().map(|each| each.0).sum::<f64>() / ratios.len() as f64;
    ratios.truncate(8);
    println!("{link:?}: mean {mean:.3}, worst {ratios:.3?}");
    (mean, ratios)
}

#[test]
fn a_stream_over_all_devices_is_as_fast_as_over_the_best_and_mostly_faster() {
    let (mean, worst) = beside_the_best(Link::Own);
    assert!(worst[0].0 <= 1.05, "worst (ratio, seed): {worst:.3?}");
    assert!(mean <= 0.75, "{mean}");
}

#[test]
fn so_it_is_where_they_share_a_link() {
    let (mean, worst) = beside_the_best(Link::Shared);
    // Without an account of the link 0.996: batches go where the others' copies are in the way.
    assert!(worst[0].0 <= 0.97, "worst (ratio, seed): {worst:.3?}");
    assert!(mean <= 0.75, "{mean}");
}
