//! The rules of a command list, checked in one place for all devices.
//!
//! A device calls [`validate`] first thing in [`submit`](crate::Queue::submit) and gives the list
//! back where it fails; behind that it may rely on every rule here. Whoever receives a completion
//! calls [`check_written`] before trusting a count that a device reports.

mod strings;

use std::fmt;

use arrow_buffer::Buffer;
use unlade_program::Ty;
use unlade_program::args::Layout;

use crate::command::{Arg, Command, CommandList, Slot, Span};
use crate::completion::Status;
use crate::device::{Capabilities, DeviceInfo};
use crate::entries::Entries;
use crate::error::RejectReason;
use crate::executable::Executable;
use crate::views::{Access, overlapping};

/// Most steps of one list.
pub const MAX_COMMANDS: usize = 1 << 16;

/// Whether a list keeps all rules for a device:
/// - spans name slots that exist and lie inside them, and begin where the device's alignment
///   allows, where a dispatch uses them;
/// - what is written is in an owned slot; what one step writes it does not touch otherwise;
/// - leased memory is reachable by the device; a dispatch uses the device's own memory, unless the
///   device is coherent; foreign memory is there only where the device reads it in place, and its
///   elements lie where the device can load them;
/// - a dispatch has the arguments that [`unlade_program::args`] says, each long enough for the
///   rows, and a status of [`Status::BYTES`]; one that compacts strings those of
///   [`StringsArg`](crate::StringsArg), and a status of [`StringsStatus`](crate::StringsStatus);
/// - its tables and sets are within the device's [limits](crate::EntryLimits);
/// - copies have two spans of one length.
///
/// # Errors
/// [`RejectReason::Invalid`], naming the step, the argument and the rule.
pub fn validate(
    list: &CommandList,
    info: &DeviceInfo,
    capabilities: &Capabilities,
) -> Result<(), RejectReason> {
    let rules = Rules {
        list,
        info,
        capabilities,
    };
    rules.slots().map_err(RejectReason::Invalid)?;
    if list.commands.len() > MAX_COMMANDS {
        let steps = list.commands.len();
        return Err(invalid(format!(
            "{steps} steps are more than the limit of {MAX_COMMANDS}"
        )));
    }
    for (position, command) in list.commands.iter().enumerate() {
        rules
            .command(command)
            .map_err(|broken| invalid(format!("step {position} ({}): {broken}", name(command))))?;
    }
    Ok(())
}

/// A count of rows that cannot be: the device lies, or its memory is corrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("dispatch {dispatch} of {rows} rows reports {written} rows written")]
pub struct WrongCount {
    /// Which dispatch of the list.
    pub dispatch: usize,
    /// Rows it was given, which is also the room it had.
    pub rows: u64,
    /// Rows it claims.
    pub written: u64,
}

/// Whether the counts of a completed list can be: one per dispatch, none above the rows it was
/// given, and all of them where nothing filters.
///
/// # Errors
/// [`WrongCount`] for the first that cannot. Its device is not to be trusted until it is reset.
pub fn check_written(list: &CommandList, written: &[u64]) -> Result<(), WrongCount> {
    let mut counts = written.iter().copied();
    let mut dispatches = 0;
    for command in &list.commands {
        let Command::Dispatch { exe, rows, .. } = command else {
            continue;
        };
        let dispatch = dispatches;
        dispatches += 1;
        let filtered = exe.program().keep.is_some() || exe.strings().is_some();
        match counts.next() {
            Some(count) if count == *rows || (filtered && count < *rows) => {}
            wrong => {
                let written = wrong.unwrap_or(0);
                return Err(WrongCount {
                    dispatch,
                    rows: *rows,
                    written,
                });
            }
        }
    }
    match counts.next() {
        Some(written) => Err(WrongCount {
            dispatch: dispatches,
            rows: 0,
            written,
        }),
        None => Ok(()),
    }
}

fn invalid(message: String) -> RejectReason {
    RejectReason::Invalid(message)
}

fn name(command: &Command) -> &'static str {
    match command {
        Command::Copy { .. } => "copy",
        Command::Fill { .. } => "fill",
        Command::CopyCounted { .. } => "counted copy",
        Command::Dispatch { .. } => "dispatch",
    }
}

struct Rules<'a> {
    list: &'a CommandList,
    info: &'a DeviceInfo,
    capabilities: &'a Capabilities,
}

/// What breaks a rule, in words.
type Broken = String;

impl Rules<'_> {
    fn slots(&self) -> Result<(), Broken> {
        for (slot, memory) in self.list.slots.iter().enumerate() {
            match memory {
                Slot::Foreign(_) if self.capabilities.foreign_read => {}
                Slot::Foreign(_) => {
                    let device = &self.info.name;
                    return Err(format!(
                        "slot {slot} is foreign memory, which {device} cannot read"
                    ));
                }
                told_of => self.reachable(slot, told_of)?,
            }
        }
        Ok(())
    }

    /// A device without memory of its own works on the host's; any other has to be told of it.
    fn reachable(&self, slot: usize, memory: &Slot) -> Result<(), Broken> {
        let reachable = match self.info.memory {
            0 => memory.bytes().is_some(),
            _ => memory.address(self.info.domain).is_some(),
        };
        if reachable {
            return Ok(());
        }
        let device = &self.info.name;
        Err(format!(
            "slot {slot} is memory that {device} was not told of; register its slab first"
        ))
    }

    fn command(&self, command: &Command) -> Result<(), Broken> {
        match command {
            Command::Copy { from, to } => {
                self.inside(from)?;
                self.writable(to)?;
                equal_lengths(from, to)?;
                self.disjoint([(from, Access::Read), (to, Access::Write)])
            }
            Command::Fill { to, byte: _ } => self.writable(to).map(drop),
            Command::CopyCounted {
                from,
                to,
                count,
                unit_bits,
            } => {
                if !self.capabilities.copy_counted {
                    return Err(format!("{} does not take counted copies", self.info.name));
                }
                self.inside(from)?;
                self.inside(count)?;
                self.writable(to)?;
                equal_lengths(from, to)?;
                if count.len() != 8 {
                    return Err(format!("the count takes 8 bytes, not {}", count.len()));
                }
                if *unit_bits == 0 {
                    return Err("units of 0 bits".to_owned());
                }
                let accesses = [
                    (from, Access::Read),
                    (count, Access::Read),
                    (to, Access::Write),
                ];
                self.disjoint(accesses)
            }
            Command::Dispatch {
                exe,
                rows,
                args,
                status,
            } => self.dispatch(exe, *rows, args, status),
        }
    }

    fn dispatch(
        &self,
        exe: &Executable,
        rows: u64,
        args: &[Arg],
        status: &Span,
    ) -> Result<(), Broken> {
        if let Some(offsets) = exe.strings() {
            return self.strings(offsets, rows, args, status);
        }
        let program = exe.program();
        let layout = Layout::of(program);
        if rows > self.capabilities.max_rows {
            let most = self.capabilities.max_rows;
            return Err(format!(
                "{rows} rows are more than {most}, the most at once; split them"
            ));
        }
        if args.len() != layout.count() {
            let count = layout.count();
            return Err(format!(
                "the program takes {count} arguments, not {}",
                args.len()
            ));
        }
        if program.keep.is_some() && !program.outputs.is_empty() && !self.capabilities.compaction {
            return Err(format!(
                "{} filters no columns, it only makes masks",
                self.info.name
            ));
        }
        let check = |position: usize, role: Role| -> Result<(), Broken> {
            self.argument(&args[position], rows, role)
                .map_err(|broken| format!("argument {position}, {role}: {broken}"))
        };
        for (index, column) in program.columns.iter().enumerate() {
            check(layout.column(index), Role::Values { ty: column.ty })?;
            check(
                layout.column(index) + 1,
                Role::Validity {
                    allowed: column.nullable,
                },
            )?;
        }
        for index in 0..program.params.len() {
            check(layout.param(index), Role::Param)?;
        }
        for (index, ty) in program.tables.iter().enumerate() {
            check(layout.table(index), Role::Entries { ty: *ty })?;
        }
        for (index, ty) in program.sets.iter().enumerate() {
            check(layout.set(index), Role::Entries { ty: *ty })?;
        }
        let bytes = |position: usize| match &args[position] {
            Arg::Span { span, .. } => span.len(),
            Arg::Scalar(_) | Arg::Absent => 0,
        };
        let tables =
            (0..program.tables.len()).map(|index| Entries::Table(bytes(layout.table(index))));
        let sets = (0..program.sets.len()).map(|index| Entries::Set(bytes(layout.set(index))));
        if let Some(excess) = self.capabilities.entries.excess(tables.chain(sets)).next() {
            return Err(format!("{} has no room for {excess}", self.info.name));
        }
        if let Some(mask) = layout.mask() {
            check(mask, Role::Output { ty: Ty::Mask })?;
        }
        for (index, ty) in exe.output_types().iter().enumerate() {
            check(layout.output(index), Role::Output { ty: *ty })?;
            let wanted = program.outputs[index].valid.is_some();
            check(layout.output(index) + 1, Role::OutputValidity { wanted })?;
        }
        self.status(status)
            .map_err(|broken| format!("status: {broken}"))?;
        self.disjoint(uses(args, &layout, status))
    }

    fn argument(&self, arg: &Arg, rows: u64, role: Role) -> Result<(), Broken> {
        let (span, bit_offset) = match (arg, role) {
            (Arg::Scalar(_), Role::Param) => return Ok(()),
            (Arg::Absent, Role::Validity { .. } | Role::OutputValidity { wanted: false }) => {
                return Ok(());
            }
            (_, Role::Validity { allowed: false }) => {
                return Err("the program says that the column has no nulls".to_owned());
            }
            (_, Role::OutputValidity { wanted: false }) => {
                return Err("the program says that the output has no nulls".to_owned());
            }
            (_, Role::Param) => return Err("a scalar is needed".to_owned()),
            (Arg::Span { span, bit_offset }, _) => (span, u64::from(*bit_offset)),
            (Arg::Scalar(_) | Arg::Absent, _) => return Err("memory is needed".to_owned()),
        };
        let slot = match role.access() {
            Access::Read => self.inside(span)?,
            Access::Write => self.writable(span)?,
        };
        match slot {
            Slot::Foreign(buffer) => self.aligned(span, buffer, role)?,
            in_a_slab => self.usable(span, in_a_slab)?,
        }
        let (ty, may_begin_inside_a_byte) = match role {
            Role::Values { ty } => (ty, ty == Ty::Mask),
            Role::Validity { .. } => (Ty::Mask, true),
            Role::Entries { ty } | Role::Output { ty } => (ty, false),
            Role::OutputValidity { .. } => (Ty::Mask, false),
            Role::Param => unreachable!("dealt with above"),
        };
        if bit_offset > if may_begin_inside_a_byte { 7 } else { 0 } {
            return Err(format!("bit offset {bit_offset} is not possible here"));
        }
        if let Role::Entries { .. } = role {
            let width = u64::from(ty.bits()).div_ceil(8);
            return match span.len() % width {
                0 => Ok(()),
                _ => Err(format!("{} bytes are no whole number of {ty}", span.len())),
            };
        }
        let slack = match role.access() {
            Access::Read => 0,
            Access::Write => self.capabilities.slack,
        };
        let wanted = bytes_for(ty, rows, bit_offset).and_then(|bytes| bytes.checked_add(slack));
        match wanted {
            Some(wanted) if span.len() >= wanted => Ok(()),
            Some(wanted) => {
                let found = span.len();
                Err(format!(
                    "{rows} rows of {ty} take {wanted} bytes here, but there are {found}"
                ))
            }
            None => Err(format!("{rows} rows of {ty} are more than memory can hold")),
        }
    }

    fn status(&self, status: &Span) -> Result<(), Broken> {
        self.usable(status, self.writable(status)?)?;
        match status.len() {
            Status::BYTES => Ok(()),
            other => Err(format!("it takes {} bytes, not {other}", Status::BYTES)),
        }
    }

    /// What a dispatch uses must be aligned, and the device's own unless it is coherent.
    fn usable(&self, span: &Span, memory: &Slot) -> Result<(), Broken> {
        let at = memory.start().unwrap_or(0) + span.bytes.start;
        let alignment = self.capabilities.alignment;
        if !at.is_multiple_of(alignment) {
            return Err(format!(
                "it must begin at a multiple of {alignment} bytes of its slab"
            ));
        }
        let own = memory.bytes().is_none() || self.capabilities.coherent;
        if own {
            return Ok(());
        }
        Err(format!(
            "{} computes on its own memory only; copy it there first",
            self.info.name
        ))
    }

    /// Foreign memory lies where its owner put it: there a device must be able to load elements.
    fn aligned(&self, span: &Span, buffer: &Buffer, role: Role) -> Result<(), Broken> {
        let (Role::Values { ty } | Role::Entries { ty }) = role else {
            return Ok(());
        };
        let width = u64::from(ty.bits()).div_ceil(8);
        let wanted = width.min(self.capabilities.foreign_alignment);
        let at = buffer.as_ptr() as u64 + span.bytes.start;
        if at.is_multiple_of(wanted) {
            return Ok(());
        }
        Err(format!(
            "it is foreign memory at {at:#x}, and {} loads {ty} at multiples of {wanted} bytes; \
             copy it first",
            self.info.name
        ))
    }

    /// The slot of a span that is written.
    fn writable(&self, span: &Span) -> Result<&Slot, Broken> {
        match self.inside(span)? {
            slot @ Slot::Owned(_) => Ok(slot),
            Slot::Resident(_) => Err(format!("slot {} is resident, so read-only", span.slot.0)),
            Slot::Pinned(_) => Err(format!("slot {} is pinned, so read-only", span.slot.0)),
            Slot::Foreign(_) => Err(format!("slot {} is foreign, so read-only", span.slot.0)),
        }
    }

    fn inside(&self, span: &Span) -> Result<&Slot, Broken> {
        let count = self.list.slots.len();
        let slot = self.list.slots.get(usize::from(span.slot.0));
        let slot = slot.ok_or_else(|| format!("there is no slot {} among {count}", span.slot.0))?;
        let (start, end) = (span.bytes.start, span.bytes.end);
        if start > end || end > slot.len() {
            let (at, len) = (span.slot.0, slot.len());
            return Err(format!(
                "bytes {start}..{end} are not inside slot {at} of {len} bytes"
            ));
        }
        Ok(slot)
    }

    fn disjoint<'s>(
        &self,
        spans: impl IntoIterator<Item = (&'s Span, Access)>,
    ) -> Result<(), Broken> {
        match overlapping(spans) {
            None => Ok(()),
            Some(slot) => Err(format!(
                "it writes bytes of slot {} that it also uses",
                slot.0
            )),
        }
    }
}

/// The spans that a dispatch uses; its arguments are as many as the layout says.
fn uses<'s>(
    args: &'s [Arg],
    layout: &Layout,
    status: &'s Span,
) -> impl Iterator<Item = (&'s Span, Access)> {
    let first_written = layout.mask().unwrap_or_else(|| layout.output(0));
    let spans = args
        .iter()
        .enumerate()
        .filter_map(move |(at, arg)| match arg {
            Arg::Span { span, .. } if at < first_written => Some((span, Access::Read)),
            Arg::Span { span, .. } => Some((span, Access::Write)),
            Arg::Absent | Arg::Scalar(_) => None,
        });
    spans.chain([(status, Access::Write)])
}

/// What an argument is to its program.
#[derive(Clone, Copy)]
enum Role {
    Values { ty: Ty },
    Validity { allowed: bool },
    Param,
    Entries { ty: Ty },
    Output { ty: Ty },
    OutputValidity { wanted: bool },
}

impl Role {
    fn access(self) -> Access {
        match self {
            Role::Values { .. } | Role::Validity { .. } | Role::Param | Role::Entries { .. } => {
                Access::Read
            }
            Role::Output { .. } | Role::OutputValidity { .. } => Access::Write,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Values { .. } => "values of a column",
            Role::Validity { .. } => "validity of a column",
            Role::Param => "parameter",
            Role::Entries { .. } => "entries of a table or set",
            Role::Output { .. } => "values of an output",
            Role::OutputValidity { .. } => "validity of an output",
        })
    }
}

fn equal_lengths(from: &Span, to: &Span) -> Result<(), Broken> {
    match (from.len(), to.len()) {
        (one, other) if one == other => Ok(()),
        (one, other) => Err(format!("{one} bytes do not fit {other} bytes")),
    }
}

/// [`Ty::bytes_for`] from a bit offset on, for row counts that nobody has checked.
fn bytes_for(ty: Ty, rows: u64, bit_offset: u64) -> Option<u64> {
    let bits = rows
        .checked_mul(u64::from(ty.bits()))?
        .checked_add(bit_offset)?;
    Some(bits.div_ceil(8))
}

#[cfg(test)]
mod tests;
