//! What came of a job, by what the card wrote: nothing of it is believed that cannot be.

use std::time::Duration;

use unlade_hal::{ClockKind, CommandList, Outcome, Status, Timestamp, Timing};
use unlade_program::{Inst, Trap};

use crate::entry::Answer;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::job::{self, Dispatched};
use crate::status::StatusCode;

/// The outcome of a job that has been answered; a fault where the card failed it, or lies.
pub(crate) fn outcome(list: &CommandList, answer: &Answer) -> Result<Outcome, Fault> {
    match answer.status {
        StatusCode::SUCCESS => done(list, answer),
        StatusCode::TRAPPED => trapped(list, answer),
        status => Err(Fault::Refused {
            what: "a job",
            status,
            dw0: answer.dw0,
            dw1: answer.dw1,
        }),
    }
}

fn done(list: &CommandList, answer: &Answer) -> Result<Outcome, Fault> {
    let steps = list.commands.len();
    if answer.dw0 as usize != steps {
        return Err(Fault::Lie(format!(
            "it reports success of {} steps of a job of {steps}",
            answer.dw0
        )));
    }
    // In one piece of memory that fits, which collecting does not see to.
    let mut written = Vec::with_capacity(job::dispatches(list).count());
    for dispatch in job::dispatches(list) {
        written.push(kept(list, &dispatch)?);
    }
    Ok(Outcome::Done {
        written: written.into(),
    })
}

/// The rows that a dispatch has kept, by its status.
fn kept(list: &CommandList, dispatch: &Dispatched<'_>) -> Result<u64, Fault> {
    let status = written_status(list, dispatch)?;
    let Dispatched {
        position,
        exe,
        rows,
        ..
    } = *dispatch;
    if let Some(trap) = status.trap {
        return Err(Fault::Lie(format!(
            "it reports success, and a trap of step {position} at row {}",
            trap.row
        )));
    }
    let filters = exe.program().keep.is_some();
    match status.kept {
        kept if kept == rows || (filters && kept < rows) => Ok(kept),
        kept => Err(Fault::Lie(format!(
            "step {position} of {rows} rows reports {kept} rows kept"
        ))),
    }
}

fn trapped(list: &CommandList, answer: &Answer) -> Result<Outcome, Fault> {
    let step = answer.dw0 as usize;
    let dispatch = job::dispatches(list).find(|dispatch| dispatch.position == step);
    let dispatch = dispatch.ok_or_else(|| {
        Fault::Lie(format!(
            "it reports a trap of step {step}, which runs no program"
        ))
    })?;
    let Status { trap, .. } = written_status(list, &dispatch)?;
    let Some(Trap { row, ordinal }) = trap else {
        return Err(Fault::Lie(format!(
            "it reports a trap of step {step}, and no row that traps"
        )));
    };
    let mut insts = dispatch.exe.program().insts.iter();
    let known = insts.any(|inst| matches!(inst, Inst::Trap { ordinal: of, .. } if *of == ordinal));
    if row >= dispatch.rows || !known {
        return Err(Fault::Lie(format!(
            "it reports a trap of step {step} at row {row} of {}, with ordinal {ordinal}, which {}",
            dispatch.rows,
            if known {
                "it has"
            } else {
                "its program has not"
            }
        )));
    }
    Ok(Outcome::Trapped(Trap { row, ordinal }))
}

fn written_status(list: &CommandList, dispatch: &Dispatched<'_>) -> Result<Status, Fault> {
    job::status(list, dispatch.status).ok_or_else(|| {
        Fault::Lie(format!(
            "it reports that step {} ran, and has not written its result block",
            dispatch.position
        ))
    })
}

/// Bytes of a report.
pub(crate) const REPORT: usize = 64;

/// How much longer than it was under way a job may have taken by the card's clock, which does
/// not go as the host's does: a part of that, and what a coarse one rounds.
const DRIFT: u32 = 8;
const COARSE: Duration = Duration::from_millis(1);

/// How long a job took, by its report: docs/CARD.md, section 7. The card does not say how that is
/// shared out among steps; it counts as computing. By the wall no job takes longer than has passed since
/// it was submitted, which is asked for only where it is long enough to matter.
pub(crate) fn timing(
    report: &[u8; REPORT],
    steps: usize,
    clock: ClockKind,
    passed: impl FnOnce() -> Duration,
) -> Result<Timing, Fault> {
    let fields = Fields(report);
    let (fetched, started, ended) = (fields.u64(0), fields.u64(8), fields.u64(16));
    let done = fields.u32(40) as usize;
    if done > steps || fetched > started || started > ended {
        return Err(Fault::Lie(format!(
            "it reports that {done} of {steps} steps ran, fetched at {fetched}, from {started} to \
             {ended} ns"
        )));
    }
    let took = Duration::from_nanos(ended - fetched);
    if clock == ClockKind::Wall && took > COARSE {
        let passed = passed();
        if took > passed.saturating_add(passed / DRIFT).saturating_add(COARSE) {
            return Err(Fault::Lie(format!(
                "it reports that a job took {took:?} that was submitted {passed:?} ago"
            )));
        }
    }
    Ok(Timing {
        clock: Some(clock),
        // By the wall, the card counts from another moment than the host.
        submitted: (clock == ClockKind::Virtual).then(|| Timestamp(Duration::from_nanos(fetched))),
        queued: Duration::from_nanos(started - fetched),
        compute: Duration::from_nanos(ended - started),
        ..Timing::default()
    })
}

#[cfg(test)]
pub(crate) mod tests;
