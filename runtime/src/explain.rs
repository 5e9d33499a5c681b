//! What a kernel will do, and why.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use unlade_expr::Payload;
use unlade_hal::DeviceKind;
use unlade_program::{On, Part};

use crate::auto;
use crate::device_plan::DevicePlan;
use crate::kernel::KernelCore;
use crate::options::Placement;
use crate::placement::DeviceIndex;
use crate::receipt::{Reason, clock_text};

/// Version of the explanation's JSON form; raised whenever a field changes its meaning or goes.
///
/// - 2: `total` is by the candidate's clock alone, where it had the host's part in it by another;
///   `clock` of a term is new.
pub const EXPLAIN_VERSION: u32 = 2;

/// Rows of the batch that [`Candidate::cost`] is for.
pub const TYPICAL_ROWS: u64 = 1 << 20;

/// How a query runs: what of it where, why there, and with which program.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explain {
    /// [`EXPLAIN_VERSION`].
    pub version: u32,
    /// Names the program whatever its literals are.
    pub shape: String,
    /// Columns that are read, by name.
    pub reads: Vec<String>,
    /// Calls of users' functions, which the CPU does before the parts, in order.
    pub calls: Vec<ExplainCall>,
    /// What runs where, in order.
    pub parts: Vec<ExplainPart>,
    /// How payload of batches is filtered that are pinned on a device with memory of its own.
    pub pinned: Vec<ExplainPinned>,
    /// Every device of the runtime, with what speaks for or against it.
    pub candidates: Vec<Candidate>,
    /// Conversions that the query did not spell out.
    pub notes: Vec<String>,
}

/// A call of a user's function.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExplainCall {
    /// The function: its name, what it takes and what it gives.
    pub function: String,
    /// The call as text, its beginning where that is long.
    pub call: String,
    /// The device that calls it, which is the CPU.
    pub device: Arc<str>,
}

/// What one device runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExplainPart {
    /// The device.
    pub device: Arc<str>,
    /// Why this device.
    pub reason: Reason,
    /// How payload columns, those put out as they came in, are filtered.
    pub payload: &'static str,
    /// The program as text; it parses back.
    pub program: String,
}

/// What becomes of payload of batches that are pinned on a device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExplainPinned {
    /// The device.
    pub device: Arc<str>,
    /// How payload columns are filtered.
    pub payload: &'static str,
}

/// A device that was considered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// The device.
    pub device: Arc<str>,
    /// Why it does not run the query, if it does not: for good, or for as long as it is left alone after
    /// a failure.
    pub against: Option<String>,
    /// What a batch of [`TYPICAL_ROWS`] in ordinary memory is expected to take there, term by term,
    /// whether or not placement may choose it.
    pub cost: Vec<CostTerm>,
    /// The device's clock, which the total is by: `wall` or `virtual`. Times of different clocks are not
    /// compared.
    pub clock: &'static str,
}

/// One term of a prediction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CostTerm {
    /// Its name in the formula: `queue`, `link`, `compile`, `launch`, `stage`, `in`, `compute`,
    /// `out`, `gather`, and as `total` the sum of those by the device's clock.
    pub term: &'static str,
    /// Nanoseconds.
    pub nanos: u64,
    /// Which clock that is by: `wall` or `virtual`. What the host does, and waiting, is by the runtime's;
    /// it is not in the total of a device with another clock.
    pub clock: &'static str,
}

/// What a kernel will do.
pub(crate) fn explain(core: &KernelCore) -> Explain {
    let name = |column: usize| core.input.field(column).name().clone();
    let runtime = &core.runtime;
    let parts: Vec<ExplainPart> = match (&core.route.device, &core.host) {
        (Some(plan), _) => plan
            .split
            .parts
            .iter()
            .map(|part| explain_part(core, plan, part))
            .collect(),
        (None, Some(host)) => vec![ExplainPart {
            device: Arc::clone(&host.device),
            reason: core.route.inline.0.clone(),
            payload: payload_words(Payload::Fused),
            program: host.binding.lowered.program.to_string(),
        }],
        (None, None) => Vec::new(),
    };
    let work = core.forecast.typical_work(core.binding(), TYPICAL_ROWS);
    let predicted = match &core.route.auto {
        Some(auto) => auto.predict(runtime, &work),
        None => core.forecast.on_idle_devices(runtime, &work),
    };
    let slots = runtime.devices.iter().enumerate();
    let candidates = slots.map(|(position, slot)| {
        // What takes over a part that another device lacks is not passed over.
        let runs_part = parts.iter().any(|part| part.device == slot.name);
        let against = core
            .route
            .against
            .iter()
            .find(|(device, _)| *device == slot.name && !runs_part);
        let against = against.map(|(_, why)| why.clone());
        // As it is at the moment, where there is a choice.
        let resting = || {
            let _choice = core.route.auto.as_ref()?;
            Some(runtime.ineligible(DeviceIndex(position))?.to_string())
        };
        Candidate {
            device: Arc::clone(&slot.name),
            against: against.or_else(resting),
            cost: auto::cost_terms(&predicted, position, runtime.clock.kind()),
            clock: clock_text(slot.clock),
        }
    });
    let candidates = candidates.collect();
    let pinned = (0..runtime.devices.len()).filter_map(|slot| explain_pinned(core, slot));
    let pinned = pinned.collect();
    let calls = core.calls.iter().map(|call| ExplainCall {
        function: call.function().to_string(),
        call: call.name().to_owned(),
        device: cpu_name(core),
    });
    Explain {
        version: EXPLAIN_VERSION,
        shape: core.shape.to_string(),
        reads: core.plan.input_columns().into_iter().map(name).collect(),
        calls: calls.collect(),
        parts,
        pinned,
        candidates,
        notes: core.checked.notes.clone(),
    }
}

fn explain_part(core: &KernelCore, plan: &DevicePlan, part: &Part) -> ExplainPart {
    let device = &core.runtime.devices[plan.slot];
    let (device, reason) = match part.on {
        On::Device => (Arc::clone(&device.name), plan.reason.clone()),
        On::Cpu => {
            let lacks = plan.lacks().unwrap_or_else(|| "nothing".into());
            (
                cpu_name(core),
                Reason::Unsupported {
                    device: Arc::clone(&device.name),
                    lacks,
                },
            )
        }
    };
    ExplainPart {
        device,
        reason,
        payload: payload_words(plan.payload),
        program: part.program.to_string(),
    }
}

fn cpu_name(core: &KernelCore) -> Arc<str> {
    let cpu = core.runtime.cpu();
    cpu.map_or_else(|| "cpu".into(), |cpu| Arc::clone(&cpu.name))
}

/// `None` for a device that keeps no batches, or runs nothing of the query; and where there are calls,
/// whose results are nowhere pinned.
fn explain_pinned(core: &KernelCore, position: usize) -> Option<ExplainPinned> {
    let slot = &core.runtime.devices[position];
    if !slot.keeps_batches() || !core.stages.is_empty() {
        return None;
    }
    // Nobody pins on what is simulated without asking for it by name.
    let placement = &core.session.allowed.placement;
    let is_meant = matches!(placement, Placement::Device(name) if *name == slot.name);
    if slot.kind == DeviceKind::Simulator && !is_meant {
        return None;
    }
    let plans = core.plan.for_resident(&core.runtime, position).ok()?;
    if plans.staged.refuses(slot).is_some() {
        return None;
    }
    let payload = match plans.compacting.map(|plan| plan.payload) {
        Some(Payload::FusedWithStrings) => {
            "of fixed width and strings compacted there, and only what is kept crosses the bus; \
             other on the host by the mask"
        }
        Some(_) => {
            "of fixed width compacted there, and only what is kept crosses the bus; other on the \
             host by the mask"
        }
        None => payload_words(Payload::Late),
    };
    Some(ExplainPinned {
        device: Arc::clone(&slot.name),
        payload,
    })
}

fn payload_words(payload: Payload) -> &'static str {
    match payload {
        Payload::FusedWithStrings => {
            "of fixed width compacted by the program, strings behind it on the device, other by its \
             mask"
        }
        Payload::Fused => {
            "of fixed width compacted by the program while it is in cache, other by its mask"
        }
        Payload::Late => "compacted on the host by the mask that comes back",
    }
}

impl fmt::Display for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "reads {}", list(&self.reads))?;
        for ExplainCall {
            function,
            call,
            device,
        } in &self.calls
        {
            writeln!(
                f,
                "calls {call} on {device}, for every row, before the rest: the user's {function}"
            )?;
        }
        for part in &self.parts {
            writeln!(
                f,
                "on {}: {}; payload {}",
                part.device, part.reason, part.payload
            )?;
            for line in part.program.lines() {
                writeln!(f, "    {line}")?;
            }
        }
        for pinned in &self.pinned {
            writeln!(f, "pinned on {}: payload {}", pinned.device, pinned.payload)?;
        }
        let is_split = self
            .parts
            .windows(2)
            .any(|pair| pair[0].device != pair[1].device);
        for candidate in &self.candidates {
            write!(f, "{}:", candidate.device)?;
            match &candidate.against {
                Some(against) => write!(f, " not considered: {against}")?,
                None if is_split => write!(f, " runs a part of it")?,
                None if self.has_choice() => {
                    let total = candidate.cost.last().map_or(0, |term| term.nanos);
                    let (total, clock) = (micros(total), candidate.clock);
                    write!(f, " {total} ({clock}) for {TYPICAL_ROWS} rows")?;
                }
                None => write!(f, " runs it")?,
            }
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        write!(f, "shape {}", self.shape)
    }
}

impl Explain {
    /// The devices with what a batch of [`TYPICAL_ROWS`] is predicted to take on each, as a table: a
    /// column for each device, with a line for each term, and below it what speaks against one. A time by
    /// another clock than the device's has a star, and is not in the total. It is 80 columns of text wide
    /// at most, unless names are longer: further devices stand below.
    pub fn why(&self) -> impl fmt::Display {
        Why(&self.candidates)
    }

    fn has_choice(&self) -> bool {
        let considered = self.candidates.iter();
        considered.filter(|each| each.against.is_none()).count() > 1
    }
}

struct Why<'a>(&'a [Candidate]);

/// Columns of text that a terminal has at least.
const WIDTH: usize = 80;

/// Columns of text of a time at least: `99999.9 µs`.
const TIME: usize = 10;

impl Why<'_> {
    /// The candidates whose columns stand beside each other.
    fn blocks(&self, lead: usize) -> Vec<&[Candidate]> {
        let mut blocks = Vec::new();
        let mut rest = self.0;
        while !rest.is_empty() {
            let ends = rest.iter().scan(lead, |end, candidate| {
                *end += GAP + column_width(candidate);
                Some(*end)
            });
            // One stands alone if it is wider.
            let fitting = ends.take_while(|end| *end <= WIDTH).count().max(1);
            let (block, others) = rest.split_at(fitting);
            blocks.push(block);
            rest = others;
        }
        blocks
    }
}

/// Columns of text between one column and the next.
const GAP: usize = 2;

/// As wide as all that is in the column of a candidate.
fn column_width(candidate: &Candidate) -> usize {
    let cells = candidate.cost.iter().map(|term| cell(candidate, term));
    let name = candidate.device.chars().count();
    cells
        .map(|cell| cell.chars().count())
        .fold(name.max(TIME), usize::max)
}

/// A time in the column of a candidate.
fn cell(candidate: &Candidate, term: &CostTerm) -> String {
    let star = if is_by_another(candidate, term) {
        "*"
    } else {
        ""
    };
    star.to_owned() + &micros(term.nanos)
}

/// Whether something takes a time by another clock than the device's.
fn is_by_another(candidate: &Candidate, term: &CostTerm) -> bool {
    term.nanos > 0 && term.clock != candidate.clock
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms = self.0.first().map_or(&[][..], |first| &first.cost);
        let names = ["device", "clock"].into_iter();
        let names = names.chain(terms.iter().map(|each| each.term));
        let lead = names.clone().map(str::len).max().unwrap_or(0);
        if !self.0.is_empty() {
            writeln!(
                f,
                "predicted for a batch of {TYPICAL_ROWS} rows in ordinary memory:"
            )?;
        }
        for (index, block) in self.blocks(lead).into_iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "\n\n" })?;
            for (row, name) in names.clone().enumerate() {
                write!(f, "{}{name:<lead$}", if row == 0 { "" } else { "\n" })?;
                for candidate in block {
                    let width = GAP + column_width(candidate);
                    let term = |row: usize| candidate.cost.get(row);
                    let time = |row: usize| term(row).map(|term| cell(candidate, term));
                    match row.checked_sub(2) {
                        Some(row) => write!(f, "{:>width$}", time(row).unwrap_or_default())?,
                        None if row == 0 => write!(f, "{:>width$}", candidate.device)?,
                        None => write!(f, "{:>width$}", candidate.clock)?,
                    }
                }
            }
        }
        let all = self.0.iter();
        let mut starred = all.flat_map(|it| it.cost.iter().filter(|term| is_by_another(it, term)));
        if let Some(term) = starred.next() {
            write!(
                f,
                "\n* by the host's {} clock, and not in the total, which is by the device's own",
                term.clock
            )?;
        }
        for candidate in self.0 {
            if let Some(against) = &candidate.against {
                write!(f, "\n{} is not considered: {against}", candidate.device)?;
            }
        }
        Ok(())
    }
}

fn micros(nanos: u64) -> String {
    format!("{:.1} µs", nanos as f64 / 1e3)
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "no column".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(device: &str, nanos: u64, against: Option<&str>) -> Candidate {
        let cost = ["launch", "total"].map(|term| CostTerm {
            term,
            nanos,
            clock: "wall",
        });
        Candidate {
            device: device.into(),
            against: against.map(str::to_owned),
            cost: cost.into(),
            clock: "wall",
        }
    }

    #[test]
    fn devices_stand_beside_each_other_as_far_as_a_terminal_goes() {
        let two = [
            candidate("cpu", 9_087_700, None),
            candidate("cuda:0", 1_234_567_890, Some("it lacks rem.f64")),
        ];
        let expected = "\
            predicted for a batch of 1048576 rows in ordinary memory:\n\
            device         cpu        cuda:0\n\
            clock         wall          wall\n\
            launch   9087.7 µs  1234567.9 µs\n\
            total    9087.7 µs  1234567.9 µs\n\
            cuda:0 is not considered: it lacks rem.f64";
        assert_eq!(Why(&two).to_string(), expected);
        let long = "dpu:unix:/run/".to_owned() + &"x".repeat(90);
        let names = (0..9).map(|number| format!("cuda:{number}"));
        let names = names.chain([long.clone()]);
        let many: Vec<Candidate> = names.map(|name| candidate(&name, 7, None)).collect();
        let drawn = Why(&many).to_string();
        assert_eq!(drawn.split("\n\n").count(), 3, "{drawn}");
        let within = |line: &&str| line.chars().count() <= WIDTH;
        assert_eq!(
            drawn.lines().filter(|line| !within(line)).count(),
            4,
            "{drawn}"
        );
        assert!(many.iter().all(|it| drawn.contains(&*it.device)), "{drawn}");
        assert_eq!(Why(&[]).to_string(), "");
    }

    #[test]
    fn times_of_the_host_are_told_from_those_of_a_clock_of_the_devices_own() {
        let mut simulated = candidate("sim-gpu", 2_000, None);
        simulated.clock = "virtual";
        simulated.cost[1].clock = "virtual";
        let expected = "\
            predicted for a batch of 1048576 rows in ordinary memory:\n\
            device     sim-gpu\n\
            clock      virtual\n\
            launch     *2.0 µs\n\
            total       2.0 µs\n\
            * by the host's wall clock, and not in the total, which is by the device's own";
        assert_eq!(Why(&[simulated.clone()]).to_string(), expected);
        // What takes no time takes none by any clock.
        simulated.cost[0].nanos = 0;
        assert!(!Why(&[simulated]).to_string().contains('*'));
    }
}
