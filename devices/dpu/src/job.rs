//! A command list as the card's descriptor: docs/CARD.md, section 7.
//!
//! Steps are the list's commands, one for one. A slab is one range of IOVAs, however many pages it
//! has, so every operand is one range too, and no segment lists are needed.

use unlade_hal::{Access, Arg, Command, CommandList, DomainId, Executable, Slot, Span, Status};
use unlade_program::args::Layout;

use crate::checksum;
use crate::entry::Operand;
use crate::identity::JobLimits;
use crate::iova::Iova;
use crate::program::Loaded;

/// The bytes `UNLJ`.
const MAGIC: u32 = 0x4A4C_4E55;
const VERSION: u32 = 1;

const HEADER: usize = 32;
const COPY: usize = 64;
const FILL: usize = 40;
const COPY_COUNTED: usize = 88;
const RUN: usize = 40;

/// What result blocks hold until the card writes them: nothing that it could write.
const UNWRITTEN: [u8; Status::BYTES as usize] = [0xA5; Status::BYTES as usize];

/// Whose card a job is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) device: &'a str,
    pub(crate) domain: DomainId,
    /// How often the card had been reset when what the list uses was made.
    pub(crate) generation: u64,
    pub(crate) limits: &'a JobLimits,
}

/// Where the card is to write what it says beside results, if it is to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Blocks {
    pub(crate) report: Option<Iova>,
    /// The checksums of all dispatches, one block behind the other.
    pub(crate) checksums: Option<Iova>,
}

/// A descriptor that is being made. Kept for the next one, it need not allocate.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    bytes: Vec<u8>,
    /// Where the card has the beginning of each slot, if it has it: steps name a slot several times,
    /// and to ask a slab takes a lock.
    places: Vec<Option<Iova>>,
}

impl Draft {
    /// The descriptor that was made last.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Target<'_> {
    /// Makes the descriptor of a list that keeps the rules of devices; an error says what the card
    /// would refuse. Empty lists have none.
    pub(crate) fn describe(
        &self,
        list: &CommandList,
        blocks: Blocks,
        draft: &mut Draft,
    ) -> Result<(), String> {
        let Draft { bytes, places } = draft;
        let steps = list.commands.len();
        if steps as u64 > u64::from(self.limits.steps) {
            let most = self.limits.steps;
            return Err(format!(
                "{steps} steps are more than the {most} that the card takes at once; split the list"
            ));
        }
        bytes.clear();
        bytes.resize(HEADER, 0);
        places.clear();
        let place = |slot: &Slot| slot.address(self.domain).map(|at| Iova(at.0));
        places.extend(list.slots.iter().map(place));
        let mut checksums = blocks.checksums;
        for (position, command) in list.commands.iter().enumerate() {
            self.step(places, command, &mut checksums, bytes)
                .map_err(|broken| format!("step {position}: {broken}"))?;
        }
        let len = bytes.len();
        let most = self.limits.descriptor;
        let fits = u32::try_from(len).ok().filter(|len| *len <= most);
        let len = fits.ok_or_else(|| {
            format!("its {len} bytes of steps are more than the {most} that the card takes at once; split the list")
        })?;
        let steps = u32::try_from(steps).expect("checked against the card's limit");
        let report = blocks.report.map_or(0, |iova| iova.0);
        let header = bytes.first_chunk_mut::<HEADER>().expect("put there above");
        put(header, 0, MAGIC.to_le_bytes());
        put(header, 4, VERSION.to_le_bytes());
        put(header, 8, len.to_le_bytes());
        put(header, 12, steps.to_le_bytes());
        put(header, 16, report.to_le_bytes());
        Ok(())
    }

    fn step(
        &self,
        places: &[Option<Iova>],
        command: &Command,
        checksums: &mut Option<Iova>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), String> {
        let place = |span: &Span| self.iova(places, span);
        let operand =
            |span: &Span| Ok::<_, String>(Operand::memory(place(span)?, span.len()).to_bytes());
        match command {
            Command::Copy { from, to } => {
                let mut step = begin::<COPY>(1, 0);
                put(&mut step, 16, operand(from)?);
                put(&mut step, 40, operand(to)?);
                bytes.extend_from_slice(&step);
            }
            Command::Fill { to, byte } => {
                let mut step = begin::<FILL>(2, 0);
                put(&mut step, 8, [*byte]);
                put(&mut step, 16, operand(to)?);
                bytes.extend_from_slice(&step);
            }
            Command::CopyCounted {
                from,
                to,
                count,
                unit_bits,
            } => {
                let mut step = begin::<COPY_COUNTED>(3, 0);
                put(&mut step, 8, u64::from(*unit_bits).to_le_bytes());
                put(&mut step, 16, operand(from)?);
                put(&mut step, 40, operand(to)?);
                put(&mut step, 64, operand(count)?);
                bytes.extend_from_slice(&step);
            }
            Command::Dispatch {
                exe,
                rows,
                args,
                status,
            } => {
                let loaded = self.loaded(exe)?;
                let mut step = begin::<RUN>(4, args.len());
                let count = u32::try_from(args.len()).map_err(|_| "too many arguments")?;
                put(&mut step, 8, rows.to_le_bytes());
                put(&mut step, 16, loaded.handle().0.to_le_bytes());
                put(&mut step, 20, count.to_le_bytes());
                put(&mut step, 24, place(status)?.0.to_le_bytes());
                let block = *checksums;
                put(&mut step, 32, block.map_or(0, |iova| iova.0).to_le_bytes());
                *checksums = block.map(|iova| iova.plus(checksum::block_len(exe)));
                bytes.extend_from_slice(&step);
                for arg in args {
                    let operand = match arg {
                        Arg::Absent => Operand::Absent,
                        Arg::Scalar(value) => Operand::Scalar(*value),
                        Arg::Span { span, bit_offset } => Operand::Memory {
                            iova: place(span)?,
                            len: span.len(),
                            bit_offset: *bit_offset,
                        },
                    };
                    bytes.extend_from_slice(&operand.to_bytes());
                }
            }
        }
        Ok(())
    }

    /// Where the card has the first byte of a span.
    fn iova(&self, places: &[Option<Iova>], span: &Span) -> Result<Iova, String> {
        let start = places[usize::from(span.slot.0)].ok_or_else(|| {
            format!(
                "slot {} is memory that {} was not told of; register its slab first",
                span.slot.0, self.device
            )
        })?;
        Ok(start.plus(span.bytes.start))
    }

    fn loaded<'e>(&self, exe: &'e Executable) -> Result<&'e Loaded, String> {
        exe.code::<Loaded>()
            .filter(|loaded| loaded.is_of(self.domain, self.generation))
            .ok_or_else(|| {
                format!(
                    "the program was compiled for another device, or before {} was reset",
                    self.device
                )
            })
    }
}

/// The first bytes of a step of a kind, with so many operands behind them: zeros but for the kind
/// and the length.
fn begin<const N: usize>(kind: u8, operands: usize) -> [u8; N] {
    let mut step = [0; N];
    let len = u32::try_from(N + Operand::LEN * operands);
    let len = len.expect("a list's arguments are checked against its program");
    put(&mut step, 0, [kind]);
    put(&mut step, 4, len.to_le_bytes());
    step
}

/// Writes a field at its offset.
fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&field);
}

/// Sees to it that what the card reports of each dispatch is still there when the list is done:
/// steps before it leave its status alone, and steps behind it only read that.
///
/// # Errors
/// What breaks the rule.
pub(crate) fn check_statuses(list: &CommandList) -> Result<(), String> {
    if list.commands.len() == 1 {
        return Ok(());
    }
    let statuses: Vec<_> = dispatches(list).collect();
    for (position, command) in list.commands.iter().enumerate() {
        for (span, access) in uses(command) {
            let spoilt = statuses.iter().find(|dispatch| {
                let may = position == dispatch.position
                    || (position > dispatch.position && access == Access::Read);
                !may && overlap(span, dispatch.status)
            });
            if let Some(dispatch) = spoilt {
                return Err(format!(
                    "step {position} uses the status of step {}, which the card reports by; give \
                     it memory of its own",
                    dispatch.position
                ));
            }
        }
    }
    Ok(())
}

/// Writes into each status what no card writes.
pub(crate) fn spoil_statuses(list: &mut CommandList) {
    let CommandList { slots, commands } = list;
    for command in commands {
        let Command::Dispatch { status, .. } = command else {
            continue;
        };
        if let Some(Slot::Owned(lease)) = slots.get_mut(usize::from(status.slot.0))
            && let Some(bytes) = lease.bytes_mut()
            && let Some(block) = range(status).and_then(|range| bytes.get_mut(range))
        {
            block.copy_from_slice(&UNWRITTEN);
        }
    }
}

/// The status block of a dispatch; `None` where the card has not written it.
pub(crate) fn status(list: &CommandList, span: &Span) -> Option<Status> {
    let Slot::Owned(lease) = list.slots.get(usize::from(span.slot.0))? else {
        return None;
    };
    let block = lease.bytes()?.get(range(span)?)?;
    // Copied once, so that what is looked at is what was checked.
    let block: [u8; Status::BYTES as usize] = block.try_into().ok()?;
    (block != UNWRITTEN).then(|| Status::from_bytes(block))
}

/// A dispatch of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dispatched<'a> {
    /// Which step it is.
    pub(crate) position: usize,
    pub(crate) exe: &'a Executable,
    pub(crate) rows: u64,
    pub(crate) status: &'a Span,
}

/// The list's dispatches, in order.
pub(crate) fn dispatches(list: &CommandList) -> impl Iterator<Item = Dispatched<'_>> {
    let commands = list.commands.iter().enumerate();
    commands.filter_map(|(position, command)| match command {
        Command::Dispatch {
            exe, rows, status, ..
        } => Some(Dispatched {
            position,
            exe,
            rows: *rows,
            status,
        }),
        _ => None,
    })
}

/// The spans that a step uses.
pub(crate) fn uses(command: &Command) -> Vec<(&Span, Access)> {
    match command {
        Command::Copy { from, to } => vec![(from, Access::Read), (to, Access::Write)],
        Command::Fill { to, .. } => vec![(to, Access::Write)],
        Command::CopyCounted {
            from, to, count, ..
        } => vec![
            (from, Access::Read),
            (count, Access::Read),
            (to, Access::Write),
        ],
        Command::Dispatch {
            exe, args, status, ..
        } => {
            let layout = Layout::of(exe.program());
            let first_written = layout.mask().unwrap_or_else(|| layout.output(0));
            let used = args.iter().enumerate().filter_map(|(at, arg)| match arg {
                Arg::Span { span, .. } if at < first_written => Some((span, Access::Read)),
                Arg::Span { span, .. } => Some((span, Access::Write)),
                Arg::Absent | Arg::Scalar(_) => None,
            });
            used.chain([(status, Access::Write)]).collect()
        }
    }
}

/// Whether two spans have a byte in common.
pub(crate) fn overlap(one: &Span, other: &Span) -> bool {
    one.slot == other.slot
        && one.bytes.start < other.bytes.end
        && other.bytes.start < one.bytes.end
        && !one.is_empty()
}

/// The bytes of a span in its slot.
pub(crate) fn range(span: &Span) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(span.bytes.start).ok()?;
    Some(start..usize::try_from(span.bytes.end).ok()?)
}

#[cfg(test)]
pub(crate) mod tests;
