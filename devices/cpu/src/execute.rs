//! The steps of a list, on host memory.

use unlade_eval::{BitsRef, ColumnRef, Failure, Inputs, OutputMut, Outputs, Scratch};
use unlade_hal::{
    Access, Arg, Clock, Command, CommandList, Executable, Outcome, Slot, Span, Status, Timing,
    View, borrow,
};
use unlade_program::Trap;
use unlade_program::args::Layout;

use crate::device::Shared;

/// Runs a validated list. `timing` grows by what the steps take: copies before the first dispatch
/// count as copies in, later ones as copies out.
pub(crate) fn execute(
    list: &mut CommandList,
    scratch: &mut Scratch,
    shared: &Shared,
    timing: &mut Timing,
) -> Outcome {
    let CommandList { slots, commands } = list;
    let mut written = Vec::new();
    for (position, command) in commands.iter().enumerate() {
        let begun = shared.clock.now();
        let done = step(slots, command, scratch);
        let took = shared.clock.now().since(begun);
        match command {
            Command::Dispatch { .. } | Command::Fill { .. } => timing.compute += took,
            _ if written.is_empty() => timing.copy_in += took,
            _ => timing.copy_out += took,
        }
        match done {
            Ok(Some(kept)) => written.push(kept),
            Ok(None) => {}
            Err(Stop::Trap(trap)) => return Outcome::Trapped(trap),
            Err(Stop::Declined(reason)) => {
                return Outcome::Aborted(shared.lose(format!("step {position}: {reason}")));
            }
        }
    }
    Outcome::Done {
        written: written.into(),
    }
}

/// Why later steps do not run.
enum Stop {
    Trap(Trap),
    /// What validation should have found; it is in words, for whoever mends it.
    Declined(String),
}

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Declined(error.to_string())
    }
}

/// Runs one step; of a dispatch, returns the rows kept.
fn step(slots: &mut [Slot], command: &Command, scratch: &mut Scratch) -> Result<Option<u64>, Stop> {
    match command {
        Command::Copy { from, to } => copy(slots, from, to)?,
        Command::Fill { to, byte } => {
            let [to] = views(slots, [(to, Access::Write)])?;
            writable(to)?.fill(*byte);
        }
        Command::CopyCounted {
            from,
            to,
            count,
            unit_bits,
        } => {
            let [count] = views(slots, [(count, Access::Read)])?;
            let count = u64::from_le_bytes(count.into_read().try_into()?);
            let bytes = (u128::from(count) * u128::from(*unit_bits)).div_ceil(8);
            let len = u64::try_from(bytes).unwrap_or(u64::MAX).min(from.len());
            copy(slots, &prefix(from, len), &prefix(to, len))?;
        }
        Command::Dispatch {
            exe,
            rows,
            args,
            status,
        } => {
            return dispatch(slots, exe, *rows, args, status, scratch).map(Some);
        }
    }
    Ok(None)
}

fn copy(slots: &mut [Slot], from: &Span, to: &Span) -> Result<(), Stop> {
    let [from, to] = views(slots, [(from, Access::Read), (to, Access::Write)])?;
    writable(to)?.copy_from_slice(from.into_read());
    Ok(())
}

fn dispatch(
    slots: &mut [Slot],
    exe: &Executable,
    rows: u64,
    args: &[Arg],
    status: &Span,
    scratch: &mut Scratch,
) -> Result<u64, Stop> {
    let program = exe.program();
    let layout = Layout::of(program);
    let code: &unlade_eval::Executable = exe.code().ok_or_else(not_ours)?;
    let first_written = layout.mask().unwrap_or_else(|| layout.output(0));
    let spans = args
        .iter()
        .enumerate()
        .filter_map(|(position, arg)| match arg {
            Arg::Span { span, .. } if position < first_written => {
                Some((span.clone(), Access::Read))
            }
            Arg::Span { span, .. } => Some((span.clone(), Access::Write)),
            Arg::Absent | Arg::Scalar(_) => None,
        });
    let spans = spans.chain([(status.clone(), Access::Write)]);
    let mut views = borrow(slots, spans)?.into_iter();

    let mut arguments = args.iter();
    let mut columns = Vec::with_capacity(program.columns.len());
    for _ in &program.columns {
        let values = read(&mut arguments, &mut views)?.ok_or_else(missing)?;
        let validity = read(&mut arguments, &mut views)?.map(|(bytes, offset)| BitsRef {
            bytes,
            offset: usize::from(offset),
        });
        columns.push(ColumnRef {
            values: values.0,
            bit_offset: values.1,
            validity,
        });
    }
    let mut params = Vec::with_capacity(program.params.len());
    for _ in &program.params {
        match arguments.next() {
            Some(Arg::Scalar(bytes)) => params.push(*bytes),
            Some(Arg::Span { .. } | Arg::Absent) | None => return Err(missing()),
        }
    }
    let mut entries = |count: usize| -> Result<Vec<&[u8]>, Stop> {
        let one = |_| Ok(read(&mut arguments, &mut views)?.ok_or_else(missing)?.0);
        (0..count).map(one).collect()
    };
    let tables = entries(program.tables.len())?;
    let sets = entries(program.sets.len())?;
    let mask = match program.emit_mask {
        true => write(&mut arguments, &mut views)?,
        false => None,
    };
    let mut outputs = Vec::with_capacity(program.outputs.len());
    for _ in &program.outputs {
        let values = write(&mut arguments, &mut views)?.ok_or_else(missing)?;
        outputs.push(OutputMut {
            values,
            validity: write(&mut arguments, &mut views)?,
        });
    }
    let status = writable(views.next().ok_or_else(missing)?)?;

    let rows = usize::try_from(rows)?;
    let inputs = Inputs {
        rows,
        columns: &columns,
        params: &params,
        tables: &tables,
        sets: &sets,
    };
    let mut outputs = Outputs {
        mask,
        columns: &mut outputs,
    };
    let (block, result) = match unlade_eval::run(code, &inputs, &mut outputs, scratch) {
        Ok(done) => {
            let kept = done.kept as u64;
            (Status { kept, trap: None }, Ok(kept))
        }
        Err(Failure::Trap(trap)) => (
            Status {
                kept: 0,
                trap: Some(trap),
            },
            Err(Stop::Trap(trap)),
        ),
        Err(other) => return Err(other.into()),
    };
    status.copy_from_slice(&block.to_bytes());
    result
}

/// The next argument's memory to read, with its bit offset.
fn read<'a, 'v>(
    arguments: &mut impl Iterator<Item = &'a Arg>,
    views: &mut impl Iterator<Item = View<'v>>,
) -> Result<Option<(&'v [u8], u8)>, Stop> {
    match arguments.next() {
        Some(Arg::Span { bit_offset, .. }) => {
            let view = views.next().ok_or_else(missing)?;
            Ok(Some((view.into_read(), *bit_offset)))
        }
        Some(Arg::Absent | Arg::Scalar(_)) => Ok(None),
        None => Err(missing()),
    }
}

/// The next argument's memory to write.
fn write<'a, 'v>(
    arguments: &mut impl Iterator<Item = &'a Arg>,
    views: &mut impl Iterator<Item = View<'v>>,
) -> Result<Option<&'v mut [u8]>, Stop> {
    match arguments.next() {
        Some(Arg::Span { .. }) => views
            .next()
            .ok_or_else(missing)
            .and_then(writable)
            .map(Some),
        Some(Arg::Absent | Arg::Scalar(_)) => Ok(None),
        None => Err(missing()),
    }
}

fn views<'a, const N: usize>(
    slots: &'a mut [Slot],
    spans: [(&Span, Access); N],
) -> Result<[View<'a>; N], Stop> {
    let views = borrow(slots, spans.map(|(span, access)| (span.clone(), access)))?;
    <[View<'a>; N]>::try_from(views).map_err(|_| missing())
}

fn writable(view: View<'_>) -> Result<&mut [u8], Stop> {
    view.into_write().ok_or_else(missing)
}

fn prefix(span: &Span, len: u64) -> Span {
    Span {
        slot: span.slot,
        bytes: span.bytes.start..span.bytes.start + len,
    }
}

fn missing() -> Stop {
    Stop::Declined("an argument is not what its program needs".to_owned())
}

fn not_ours() -> Stop {
    Stop::Declined("the program was compiled for another device".to_owned())
}
