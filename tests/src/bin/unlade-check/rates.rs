//! Measurements of a device through its own interface, beside the rates at which it copies.
//!
//! Times of kernels and copies are the device's own account (events, on a GPU); times over several
//! lists and on the host are the host's clock's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use unlade_hal::{
    Arg, Command, CommandList, Completion, Device, DeviceLost, Executable, Lease, MemoryKind,
    Outcome, Queue, Seq, Slot, SlotId, Span, Status, Timing, Wait,
};
use unlade_naive::generate::Rng;
use unlade_program::Program;

use crate::report::{Figure, Finding};

/// How much to measure.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// MiB that a kernel reads at once; more than any cache holds
    #[arg(long, default_value_t = 2048)]
    mib: u64,
    /// Measurements of each figure, beside three that warm up
    #[arg(long, default_value_t = 15)]
    rounds: usize,
}

const MIB: u64 = 1 << 20;

/// Longer than any list takes.
const LONG: Duration = Duration::from_secs(600);

/// Bytes of one batch that comes from the host.
const BATCH: u64 = 64 * MIB;

/// Batches from the host that are under way at once.
const UNDER_WAY: usize = 4;

type Outcomes = Result<(), String>;

/// A part of the measurements, by its name.
type Part = (&'static str, fn(&mut Bench) -> Outcomes);

/// Measures everything.
pub(crate) fn measure(device: &Arc<dyn Device>, options: &Options) -> Finding {
    let mut bench = match Bench::new(device, options) {
        Ok(bench) => bench,
        Err(what) => return Finding::new("rates", "nothing measured".to_owned(), vec![what]),
    };
    let parts: [Part; 5] = [
        ("copies", Bench::copies),
        ("masks", Bench::masks),
        ("compaction", Bench::compactions),
        ("batches from the host", Bench::batches),
        ("fixed costs", Bench::fixed_costs),
    ];
    let mut failures = Vec::new();
    for (name, part) in parts {
        if let Err(what) = part(&mut bench) {
            failures.push(format!("{name}: {what}"));
        }
    }
    let summary = format!(
        "{} figures, kernels over {} MiB",
        bench.figures.len(),
        options.mib
    );
    let mut finding = Finding::new("rates", summary, failures);
    finding.figures = bench.figures;
    finding
}

struct Bench {
    device: Arc<dyn Device>,
    queue: Box<dyn Queue>,
    /// The oldest list under way is the first.
    under_way: VecDeque<Seq>,
    options: Options,
    figures: Vec<Figure>,
    /// Bytes per second read and written by a copy inside the device.
    within: f64,
    /// Bytes per second of a copy to the device.
    copy_in: f64,
}

impl Bench {
    fn new(device: &Arc<dyn Device>, options: &Options) -> Result<Self, String> {
        let queue = device
            .open_queue(UNDER_WAY as u32 + 1)
            .map_err(|error| error.to_string())?;
        Ok(Bench {
            device: device.clone(),
            queue,
            under_way: VecDeque::new(),
            options: options.clone(),
            figures: Vec::new(),
            within: 0.0,
            copy_in: 0.0,
        })
    }

    fn bytes(&self) -> u64 {
        self.options.mib * MIB
    }

    /// Copies inside the device, to it and from it.
    fn copies(&mut self) -> Outcomes {
        let len = self.bytes();
        let mut list = CommandList::new();
        let from = list.slot(Slot::Owned(self.lease(MemoryKind::DeviceLocal, len)?));
        let to = list.slot(Slot::Owned(self.lease(MemoryKind::DeviceLocal, len)?));
        list.push(Command::Copy {
            from: span(from, 0..len),
            to: span(to, 0..len),
        });
        let times = self.repeat(list, |timing| timing.compute)?;
        self.within = 2.0 * len as f64 / median(&times);
        self.rate(
            "copy inside, read and written",
            2.0 * len as f64,
            &times,
            "GB/s",
            None,
            None,
        );

        let len = len.min(1024 * MIB);
        let mut list = CommandList::new();
        let host = list.slot(Slot::Owned(self.lease(MemoryKind::Upload, len)?));
        let own = list.slot(Slot::Owned(self.lease(MemoryKind::DeviceLocal, len)?));
        list.push(Command::Copy {
            from: span(host, 0..len),
            to: span(own, 0..len),
        });
        let times = self.repeat(list, |timing| timing.copy_in)?;
        self.copy_in = len as f64 / median(&times);
        self.rate(
            "copy to the device, pinned",
            len as f64,
            &times,
            "GB/s",
            None,
            None,
        );

        let mut list = CommandList::new();
        let host = list.slot(Slot::Owned(self.lease(MemoryKind::Readback, len)?));
        let own = list.slot(Slot::Owned(self.lease(MemoryKind::DeviceLocal, len)?));
        list.push(Command::Copy {
            from: span(own, 0..len),
            to: span(host, 0..len),
        });
        let times = self.repeat(list, |timing| timing.copy_out)?;
        self.rate(
            "copy from the device, pinned",
            len as f64,
            &times,
            "GB/s",
            None,
            None,
        );
        Ok(())
    }

    /// A predicate over a resident column of 32-bit integers, to one bit a row.
    fn masks(&mut self) -> Outcomes {
        for nullable in [false, true] {
            let rows = self.bytes() / 4;
            let exe = self.compile(&predicate(nullable, "emit mask\n", 1))?;
            let mut work = Work::new(self, 1, rows, nullable)?;
            work.mask(self)?;
            let times = self.repeat(work.list(exe, Vec::new()), |timing| timing.compute)?;
            let bytes = rows as f64 * if nullable { 4.25 } else { 4.125 };
            let name = match nullable {
                false => "int32 > k to mask, 4.125 B a row",
                true => "int32 > k to mask, with nulls, 4.25 B a row",
            };
            self.filter(name, bytes, rows, &times, 0.9);
        }
        Ok(())
    }

    /// A filter that keeps half of the rows and writes the columns, compacted.
    fn compactions(&mut self) -> Outcomes {
        for (columns, target) in [(1u64, 0.75), (8, 0.65)] {
            let rows = self.bytes() / 4 / columns;
            let outputs: String = (0..columns)
                .map(|column| format!("output %{column}\n"))
                .collect();
            let exe = self.compile(&predicate(false, &outputs, columns))?;
            let mut work = Work::new(self, columns, rows, false)?;
            for _ in 0..columns {
                work.output(self)?;
            }
            let times = self.repeat(work.list(exe, Vec::new()), |timing| timing.compute)?;
            let bytes = rows as f64 * 6.0 * columns as f64;
            let name = format!(
                "compaction of {columns} int32, half kept, {} B a row",
                6 * columns
            );
            self.filter(&name, bytes, rows, &times, target);
        }
        Ok(())
    }

    /// Batches that come from pinned memory, are filtered to a mask, and bring that back.
    fn batches(&mut self) -> Outcomes {
        let rows = BATCH / 4;
        let exe = self.compile(&predicate(false, "emit mask\n", 1))?;
        let mut lists = Vec::new();
        for _ in 0..UNDER_WAY {
            let mut work = Work::new(self, 1, rows, false)?;
            work.mask(self)?;
            let upload = self.random_upload(BATCH)?;
            let readback = self.lease(MemoryKind::Readback, rows.div_ceil(8))?;
            lists.push(work.list(exe.clone(), vec![upload, readback]));
        }
        let batches = (self.bytes() / BATCH).max(8) as usize;
        let mut times = Vec::new();
        for round in 0..self.options.rounds.min(5) + 1 {
            let began = Instant::now();
            let mut left = batches;
            let mut under_way = 0;
            while left > 0 || under_way > 0 {
                while left > 0
                    && let Some(list) = lists.pop()
                {
                    self.submit(list)?;
                    left -= 1;
                    under_way += 1;
                }
                for completion in self.next()? {
                    under_way -= 1;
                    lists.push(done(completion)?.list);
                }
            }
            if round > 0 {
                times.push(began.elapsed().as_secs_f64());
            }
        }
        let bytes = (batches as u64 * BATCH) as f64;
        let against = Some(("the copy to the device", self.copy_in));
        let name = "int32 > k to mask from pinned memory and back";
        self.rate(name, bytes, &times, "GB/s", against, Some(0.9));
        let rows = bytes / 4.0;
        self.rate(
            &format!("{name}: rows"),
            rows,
            &times,
            "G rows/s",
            None,
            None,
        );
        Ok(())
    }

    /// What a dispatch and a program cost however few rows there are.
    fn fixed_costs(&mut self) -> Outcomes {
        let rows = 4096;
        let exe = self.compile(&predicate(false, "emit mask\n", 1))?;
        let mut work = Work::new(self, 1, rows, false)?;
        work.mask(self)?;
        let mut list = work.list(exe, Vec::new());
        let (mut submits, mut trips) = (Vec::new(), Vec::new());
        for _ in 0..1000 {
            let began = Instant::now();
            self.submit(list)?;
            submits.push(began.elapsed().as_secs_f64());
            let mut completions = self.next()?;
            trips.push(began.elapsed().as_secs_f64());
            list = done(completions.remove(0))?.list;
        }
        let empty = self.empty_launches()?;
        if let Some(empty) = &empty {
            self.time("an empty launch, host time", empty, 1e6, "us");
        }
        self.time("submit of one dispatch, host time", &submits, 1e6, "us");
        if let (Some(empty), Some(figure)) = (empty, self.figures.last_mut()) {
            let share = median(&submits) / median(&empty);
            figure.against = Some(("an empty launch", share));
        }
        self.time("submit to completion, 4,096 rows", &trips, 1e6, "us");

        let (mut new, mut known, mut again) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..20 {
            // A constant is part of the program, so that each of these is a new one.
            let constant = 1_000_000 + number * 7919;
            let text = format!(
                "columns c0: i32\n%0 = load c0\n%1 = const i32 {constant}\n%2 = cmp.gt %0, %1\n\
                 keep %2\nemit mask\n"
            );
            let program: Program = text.parse().map_err(|error| format!("{error}"))?;
            let program = Arc::new(program);
            // The first find comes after a compile, which leaves nothing of it in caches.
            for times in [&mut new, &mut known, &mut again] {
                let began = Instant::now();
                self.device
                    .compile(&program)
                    .map_err(|error| error.to_string())?;
                times.push(began.elapsed().as_secs_f64());
            }
        }
        self.time("a new program, compiled", &new, 1e3, "ms");
        self.time("a known program, found", &known, 1e6, "us");
        self.time("the same, found again", &again, 1e6, "us");
        Ok(())
    }

    /// Seconds of the host for the driver's call alone that launches a kernel that does nothing;
    /// `None` where the device is not one of CUDA's.
    fn empty_launches(&self) -> Result<Option<Vec<f64>>, String> {
        let gpus = unlade_cuda::discover().unwrap_or_default();
        let name = &self.device.info().name;
        let Some(gpu) = gpus.iter().find(|gpu| gpu.info().name == *name) else {
            return Ok(None);
        };
        let times = gpu
            .empty_launches(1000)
            .map_err(|error| error.to_string())?;
        Ok(Some(times.iter().map(Duration::as_secs_f64).collect()))
    }

    fn compile(&self, text: &str) -> Result<Executable, String> {
        let program: Program = text.parse().map_err(|error| format!("{error}\n{text}"))?;
        self.device
            .compile(&Arc::new(program))
            .map_err(|error| error.to_string())
    }

    fn lease(&self, kind: MemoryKind, len: u64) -> Result<Lease, String> {
        let slab = self
            .device
            .allocate(kind, len)
            .map_err(|error| error.to_string())?;
        slab.lease_whole()
            .ok_or_else(|| "a new slab is leased already".to_owned())
    }

    /// Pinned memory with random bytes.
    fn random_upload(&self, len: u64) -> Result<Lease, String> {
        let mut lease = self.lease(MemoryKind::Upload, len)?;
        let mut rng = Rng::new(len);
        let bytes = lease
            .bytes_mut()
            .ok_or("memory for uploads is the host's")?;
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&rng.next().to_le_bytes());
        }
        Ok(lease)
    }

    /// Memory of the device with random bytes: the same 64 MiB again and again.
    fn random_local(&mut self, len: u64) -> Result<Lease, String> {
        let mut list = CommandList::new();
        let upload = self.random_upload(BATCH.min(len.next_multiple_of(8)))?;
        let step = upload.len();
        let host = list.slot(Slot::Owned(upload));
        let own = list.slot(Slot::Owned(self.lease(MemoryKind::DeviceLocal, len)?));
        let mut at = 0;
        while at < len {
            let part = step.min(len - at);
            list.push(Command::Copy {
                from: span(host, 0..part),
                to: span(own, at..at + part),
            });
            at += part;
        }
        self.submit(list)?;
        let mut completions = self.next()?;
        let mut slots = done(completions.remove(0))?.list.slots;
        match slots.pop() {
            Some(Slot::Owned(lease)) => Ok(lease),
            _ => Err("the list comes back with its slots".to_owned()),
        }
    }

    fn submit(&mut self, list: CommandList) -> Outcomes {
        let submitted = self.queue.submit(list);
        let seq = submitted.map_err(|rejected| rejected.reason.to_string())?;
        self.under_way.push_back(seq);
        Ok(())
    }

    /// Waits for the next completions.
    fn next(&mut self) -> Result<Vec<Completion>, String> {
        let oldest = *self.under_way.front().ok_or("nothing is under way")?;
        let lost = |lost: DeviceLost| lost.to_string();
        if self.queue.wait(oldest, LONG).map_err(lost)? != Wait::Reached {
            return Err(format!("no completion within {LONG:?}"));
        }
        let mut completions = Vec::new();
        self.queue.poll(&mut completions).map_err(lost)?;
        self.under_way.drain(..completions.len());
        Ok(completions)
    }

    /// Runs a list again and again; the seconds of each run.
    fn repeat(
        &mut self,
        mut list: CommandList,
        of: fn(&Timing) -> Duration,
    ) -> Result<Vec<f64>, String> {
        let mut times = Vec::new();
        for round in 0..self.options.rounds + 3 {
            self.submit(list)?;
            let completion = done(self.next()?.remove(0))?;
            if round >= 3 {
                times.push(of(&completion.timing).as_secs_f64());
            }
            list = completion.list;
        }
        Ok(times)
    }

    /// What a filter over resident columns moves, beside a copy inside the device, and its rows.
    fn filter(&mut self, name: &str, bytes: f64, rows: u64, times: &[f64], target: f64) {
        let against = Some(("the copy inside", self.within));
        self.rate(name, bytes, times, "GB/s", against, Some(target));
        let name = format!("{name}: rows");
        self.rate(&name, rows as f64, times, "G rows/s", None, None);
    }

    /// Notes how much was done in these times, in billions a second.
    fn rate(
        &mut self,
        name: &str,
        much: f64,
        times: &[f64],
        unit: &'static str,
        against: Option<(&'static str, f64)>,
        target: Option<f64>,
    ) {
        let rates: Vec<f64> = times
            .iter()
            .map(|time| much / time.max(1e-9) / 1e9)
            .collect();
        let value = median(&rates);
        self.figures.push(Figure {
            name: name.to_owned(),
            value,
            unit,
            spread: spread(&rates),
            against: against.map(|(name, whole)| (name, value * 1e9 / whole)),
            target,
        });
    }

    fn time(&mut self, name: &str, times: &[f64], scale: f64, unit: &'static str) {
        let times: Vec<f64> = times.iter().map(|time| time * scale).collect();
        self.figures.push(Figure {
            name: name.to_owned(),
            value: median(&times),
            unit,
            spread: spread(&times),
            against: None,
            target: None,
        });
    }
}

/// The text of a program: whether the first of some columns of `i32` is above a parameter.
fn predicate(nullable: bool, outputs: &str, columns: u64) -> String {
    let question = if nullable { "?" } else { "" };
    let declared: Vec<String> = (0..columns)
        .map(|column| format!("c{column}: i32{question}"))
        .collect();
    let mut text = format!("columns {}\nparams p0: i32\n", declared.join(", "));
    for column in 0..columns {
        text += &format!("%{column} = load c{column}\n");
    }
    let (param, above) = (columns, columns + 1);
    text += &format!("%{param} = param p0\n%{above} = cmp.gt %0, %{param}\n");
    let keep = if nullable {
        let (valid, both) = (columns + 2, columns + 3);
        text += &format!("%{valid} = valid c0\n%{both} = and %{above}, %{valid}\n");
        both
    } else {
        above
    };
    text + &format!("keep %{keep}\n") + outputs
}

/// A dispatch over resident columns, put together.
struct Work {
    rows: u64,
    slots: Vec<Slot>,
    args: Vec<Arg>,
    /// The mask's slot, and how long the mask is.
    mask: Option<(SlotId, u64)>,
}

impl Work {
    fn new(bench: &mut Bench, columns: u64, rows: u64, nullable: bool) -> Result<Self, String> {
        let status = bench.lease(MemoryKind::DeviceLocal, Status::BYTES)?;
        let mut work = Work {
            rows,
            slots: vec![Slot::Owned(status)],
            args: Vec::new(),
            mask: None,
        };
        for _ in 0..columns {
            let values = bench.random_local(4 * rows)?;
            work.memory(values, 4 * rows);
            if nullable {
                let validity = bench.random_local(rows.div_ceil(8))?;
                work.memory(validity, rows.div_ceil(8));
            } else {
                work.args.push(Arg::Absent);
            }
        }
        // Half of all random numbers are above 0.
        work.args.push(Arg::Scalar([0; 16]));
        Ok(work)
    }

    fn memory(&mut self, lease: Lease, len: u64) -> SlotId {
        let slot = SlotId(self.slots.len() as u16);
        self.slots.push(Slot::Owned(lease));
        self.args.push(Arg::Span {
            span: span(slot, 0..len),
            bit_offset: 0,
        });
        slot
    }

    fn mask(&mut self, bench: &Bench) -> Outcomes {
        let bits = self.rows.div_ceil(8);
        let len = bits + bench.device.capabilities().slack;
        let lease = bench.lease(MemoryKind::DeviceLocal, len)?;
        let slot = self.memory(lease, len);
        self.mask = Some((slot, bits));
        Ok(())
    }

    fn output(&mut self, bench: &Bench) -> Outcomes {
        let len = 4 * self.rows + bench.device.capabilities().slack;
        let lease = bench.lease(MemoryKind::DeviceLocal, len)?;
        self.memory(lease, len);
        self.args.push(Arg::Absent);
        Ok(())
    }

    /// The list; with memory of the host, one lease to copy the first column from and one to copy
    /// the mask to.
    fn list(self, exe: Executable, host: Vec<Lease>) -> CommandList {
        let mut list = CommandList {
            slots: self.slots,
            commands: Vec::new(),
        };
        let host: Vec<SlotId> = host
            .into_iter()
            .map(|lease| list.slot(Slot::Owned(lease)))
            .collect();
        if let Some(&upload) = host.first() {
            let len = 4 * self.rows;
            list.push(Command::Copy {
                from: span(upload, 0..len),
                to: span(SlotId(1), 0..len),
            });
        }
        list.push(Command::Dispatch {
            exe,
            rows: self.rows,
            args: self.args.into(),
            status: span(SlotId(0), 0..Status::BYTES),
        });
        if let (Some(&readback), Some((mask, bits))) = (host.get(1), self.mask) {
            list.push(Command::Copy {
                from: span(mask, 0..bits),
                to: span(readback, 0..bits),
            });
        }
        list
    }
}

fn span(slot: SlotId, bytes: std::ops::Range<u64>) -> Span {
    Span { slot, bytes }
}

fn done(completion: Completion) -> Result<Completion, String> {
    match &completion.outcome {
        Outcome::Done { .. } => Ok(completion),
        other => Err(format!("a list ends as {other:?}")),
    }
}

fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn spread(numbers: &[f64]) -> (f64, f64) {
    numbers.iter().fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), &number| (least.min(number), most.max(number)),
    )
}
