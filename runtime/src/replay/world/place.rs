//! Where a batch goes, and what it takes there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::run::{Run, Service, Step};
use super::{World, nanos, timestamp};
use crate::placement::{DeviceIndex, HostBuffer, Ineligible, Load, Terms, Work};
use crate::recording::RecordedBatch;
use crate::replay::ReplayError;

impl World<'_> {
    /// Chooses a device for a batch; returns that where it is behind a queue, and how long the batch
    /// keeps busy what it runs on.
    pub(super) fn place(&mut self, job: usize) -> Result<(Option<usize>, Duration), ReplayError> {
        let batch = &self.replay.recording.batches[job];
        let loads = self.loads(job);
        let work = self.work(job);
        let choice = self.placer.place(&work, &loads).map_err(|none| {
            let why = none.iter().filter_map(|candidate| {
                let why = candidate.ineligible.as_ref()?;
                Some(format!("{}: {why}", candidate.device))
            });
            ReplayError::Nowhere {
                kernel: batch.kernel,
                why: why.collect::<Vec<_>>().join("; "),
                ran_on: Arc::clone(&batch.device),
            }
        })?;
        let device = choice.device.0;
        let inline = self.replay.devices[device].is_inline();
        let terms = choice.chosen().terms;
        let takes = terms.per_batch();
        let now = timestamp(self.now);
        let begun = (!inline).then(|| self.placer.begin(choice.device, &terms, now));
        let mut runs = VecDeque::from([Run {
            begun,
            takes,
            ..self.run_of(device, work.clone(), self.service(batch, &work, device))
        }]);
        if let Some(probe) = choice.probe {
            let device = probe.device.0;
            let slice = work.slice(probe.rows);
            let service = self.modelled(device, &slice);
            runs.push_back(Run {
                probe: Some(probe),
                ..self.run_of(device, slice, service)
            });
        }
        self.jobs[job].runs = runs;
        Ok(((!inline).then_some(device), takes))
    }

    /// A batch as far as its cost is concerned, on these devices: what lay on one of the recorded ones
    /// lies on it, or on all of the same by turns.
    fn work(&self, job: usize) -> Work {
        let recording = self.replay.recording;
        let work = &recording.batches[job].work;
        let HostBuffer::Resident { on, compacts } = work.buffer else {
            return work.clone();
        };
        let had = &recording.devices[on.0].name;
        let devices = self.replay.devices.iter().enumerate();
        let same = devices.filter(|(_, device)| device.like.as_ref() == Some(had));
        let same: Vec<usize> = same.map(|(index, _)| index).collect();
        let buffer = match same.len() {
            0 => HostBuffer::Pageable,
            several => HostBuffer::Resident {
                on: DeviceIndex(same[job % several]),
                compacts,
            },
        };
        Work {
            buffer,
            ..work.clone()
        }
    }

    /// How each device is at the moment, for a batch.
    fn loads(&self, job: usize) -> Vec<Load> {
        let recording = self.replay.recording;
        let batch = &recording.batches[job];
        let now = timestamp(self.now);
        let kernel = self.kernels.get(&batch.kernel);
        let cannot = |name: &Arc<str>| kernel.is_some_and(|kernel| kernel.cannot.contains(name));
        let devices = self.replay.devices.iter().enumerate();
        let loads = devices.map(|(index, device)| {
            let stream = self.jobs[job].of.map(|(stream, _)| &self.streams[stream]);
            let load = match device.is_inline() {
                true => Load {
                    queue_wait: stream.map_or(Duration::ZERO, |stream| stream.cpu.wait(now)),
                    ..Load::default()
                },
                false => {
                    let device = DeviceIndex(index);
                    let load = self.placer.load(device, now);
                    let waiting = self.services[index].queue_wait(&self.scheduler, device);
                    Load {
                        queue_wait: load.queue_wait.max(waiting),
                        ..load
                    }
                }
            };
            let ineligible = match &device.like {
                Some(like) if cannot(like) => {
                    Some(Ineligible::Unsupported("what the kernel needs".to_owned()))
                }
                like if !self.replay.places_anew && like.as_ref() != Some(&batch.device) => {
                    Some(Ineligible::Excluded)
                }
                _ => None,
            };
            Load { ineligible, ..load }
        });
        loads.collect()
    }

    fn run_of(&self, device: usize, work: Work, service: Service) -> Run {
        Run {
            device,
            work,
            probe: None,
            service: match self.replay.is_free {
                true => Service::default(),
                false => service,
            },
            begun: None,
            takes: Duration::ZERO,
            asked: 0,
            waited: 0,
            step: Step::Host,
        }
    }

    /// What a batch takes on a device: what it took there, or what is to be expected.
    fn service(&self, batch: &RecordedBatch, work: &Work, device: usize) -> Service {
        let on = &self.replay.devices[device];
        let stages = [batch.copy_in_ns, batch.compute_ns, batch.copy_out_ns];
        let is_known = stages.iter().any(|time| *time > 0);
        if on.like.as_ref() != Some(&batch.device) || !is_known {
            return self.modelled(device, work);
        }
        if batch.retries > 0 {
            // What was in vain is among the rest.
            let modelled = self.modelled(device, work);
            return Service { stages, ..modelled };
        }
        let taken = batch.done_ns.saturating_sub(batch.began_ns);
        let elsewhere = match batch.submitted_ns.zip(batch.left_ns) {
            Some((submitted, left)) => left.saturating_sub(submitted),
            None => batch.compute_ns,
        };
        let others = [elsewhere, batch.turn_ns, batch.probe_ns].into_iter();
        let host = others.fold(taken, u64::saturating_sub);
        Service {
            host: self.by_the_wall(host),
            staged: self.by_the_wall(batch.staged_ns),
            gathered: self.by_the_wall(batch.gathered_ns),
            stages,
        }
    }

    /// What work is to be expected to take on a device.
    fn modelled(&self, device: usize, work: &Work) -> Service {
        let loads = vec![Load::default(); self.replay.devices.len()];
        let candidates = self.truth.predict(work, &loads);
        let candidate = candidates.iter().nth(device);
        let Terms {
            launch,
            stage,
            copy_in,
            compute,
            copy_out,
            host_gather,
            ..
        } = candidate.expect("one for every device").terms;
        Service {
            host: self.by_the_wall(nanos(stage + host_gather)),
            staged: self.by_the_wall(nanos(stage)),
            gathered: self.by_the_wall(nanos(host_gather)),
            stages: [copy_in, launch + compute, copy_out].map(nanos),
        }
    }
}
