//! Splitting a program between a device and the CPU.
//!
//! What a device lacks is cut off at outputs and at the conjuncts of the filter only; what lies
//! between is never cut, so that no intermediate but a mask ever crosses a bus. The keep mask of
//! one part enters the next as one more column.
//!
//! A trap goes where its condition can be computed as it stands, so a part traps on exactly the
//! rows that the whole would: **some part traps if and only if the whole does**. Which of several
//! traps is the least `(row, ordinal)` only the whole can tell, because a part that traps leaves no
//! mask for the next; whoever runs the parts answers a trap by running the whole on the CPU, where
//! it has to go for the words of the message anyway. With that, no order of the parts shows in a
//! result.
//!
//! ```
//! use unlade_program::{CellSet, Op, Program, split};
//!
//! let program: Program = "
//!     columns c0: i64, c1: f64
//!     params p0: i64, p1: f64
//!     %0 = load c0
//!     %1 = param p0
//!     %2 = cmp.gt %0, %1
//!     %3 = load c1
//!     %4 = param p1
//!     %5 = rem %3, %4
//!     %6 = cmp.lt %5, %4
//!     %7 = and %2, %6
//!     keep %7
//!     output %0
//! "
//! .parse()?;
//! let device = CellSet::full().without(|cell| cell.op == Op::Rem);
//! let split = split(&program, &device, 1000, &[]);
//! assert_eq!(split.lacks[0].to_string(), "%5: the device lacks `rem f64 -> f64`");
//! // The CPU computes the second conjunct, then the device the first and the output.
//! assert_eq!(split.parts.len(), 2);
//! assert_eq!(
//!     split.parts[1].program.to_string(),
//!     "columns c0: i64, c1: mask
//! params p0: i64
//! %0 = load c0
//! %1 = param p0
//! %2 = cmp.gt %0, %1
//! %3 = load c1
//! %4 = and %3, %2
//! keep %4
//! output %0
//! "
//! );
//! # Ok::<(), unlade_program::ParseError>(())
//! ```

mod part;
mod plan;

use std::fmt;

use crate::{Cell, CellSet, Inst, Op, Program, Val, unsupported};

/// A program cut into parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// What to run, in this order. One part where the device runs everything, or nothing.
    pub parts: Vec<Part>,
    /// Why the device does not run everything.
    pub lacks: Vec<Lack>,
}

/// A program of its own that computes some outputs and conjuncts of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Who runs it.
    pub on: On,
    /// What is run. The keep mask is emitted where a later part reads it; by the last part, where
    /// the whole emits it.
    pub program: Program,
    /// What each column of the part is.
    pub columns: Vec<ColumnSource>,
    /// Which parameter of the whole each of the part's is.
    pub params: Vec<u16>,
    /// Which table of the whole each of the part's is.
    pub tables: Vec<u16>,
    /// Which set of the whole each of the part's is.
    pub sets: Vec<u16>,
    /// Which output of the whole each of the part's is.
    pub outputs: Vec<u16>,
}

/// Who runs a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// The device that the program was split for.
    Device,
    /// The CPU, which runs everything.
    Cpu,
}

/// Where a column of a part comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnSource {
    /// A column of the whole.
    Column(u16),
    /// The keep mask of the part before, one bit per input row.
    Mask,
}

/// Something that the device cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The value, in the whole.
    pub val: Val,
    /// Why it cannot.
    pub reason: Reason,
}

/// Why a device cannot run something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It does not advertise the cell.
    Cell(Cell),
    /// It looks into a set that the device does not take.
    Set(LargeSet),
    /// The program has too many instructions: this conjunct, output or trap is the first to go
    /// beyond the limit, and the place to cut.
    TooLarge {
        /// How many instructions the device's part could have had with it.
        instructions: usize,
        /// How many the device takes.
        limit: usize,
    },
}

/// A set of a program that a device does not take, however it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeSet {
    /// Which of the program's it is.
    pub set: u16,
    /// Bytes that it has.
    pub bytes: u64,
    /// Bytes that it could have.
    pub most: u64,
}

impl fmt::Display for LargeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LargeSet { bytes, most, .. } = self;
        write!(f, "a set of {bytes} bytes ({most} at most)")
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::Cell(cell) => write!(f, "{}: the device lacks `{cell}`", self.val),
            Reason::Set(set) => write!(f, "{}: the device lacks room for {set}", self.val),
            Reason::TooLarge {
                instructions,
                limit,
            } => write!(
                f,
                "{}: with it the program has up to {instructions} instructions, and the device \
                 takes {limit}; cut here",
                self.val
            ),
        }
    }
}

/// Splits a verified program between a device that supports some cells, in programs of up to
/// `instructions` instructions, and the CPU. What the sets hold is no part of a program, so the caller
/// says which of them the device does not take.
///
/// The whole is run by the device if it can be; by the CPU if the device could only hand columns
/// on. Else the device gets every conjunct and output that it can compute.
///
/// # Panics
/// Where the program is not one that [`crate::verify`] accepts.
pub fn split(
    program: &Program,
    supported: &CellSet,
    instructions: usize,
    large_sets: &[LargeSet],
) -> Split {
    let mut lacks = lacks(program, supported, large_sets);
    if lacks.is_empty() && program.insts.len() <= instructions {
        return Split {
            parts: vec![Part::whole(program, On::Device)],
            lacks,
        };
    }
    let missing: Vec<Val> = lacks.iter().map(|lack| lack.val).collect();
    let plan = plan::plan(program, &missing, instructions);
    lacks.extend(plan.cut);
    let parts = part::build(program, &plan.stages);
    let useful = |part: &Part| {
        let computes = |op| !matches!(op, Op::Load | Op::Validity | Op::Param | Op::Const);
        part.program.insts.iter().any(|inst| computes(Op::of(inst)))
    };
    // Parts read and combine masks, which the device may be unable to do.
    let runs = |part: &Part| {
        part.program.insts.len() <= instructions && unsupported(&part.program, supported).is_empty()
    };
    let device = parts.iter().find(|part| part.on == On::Device);
    if device.is_some_and(|part| useful(part) && runs(part)) {
        Split { parts, lacks }
    } else {
        Split {
            parts: vec![Part::whole(program, On::Cpu)],
            lacks,
        }
    }
}

/// The instructions that the device cannot run, each by itself.
fn lacks(program: &Program, supported: &CellSet, large_sets: &[LargeSet]) -> Vec<Lack> {
    let types = program.types();
    let reason = |inst: &Inst| {
        let cell = Cell::of(program, &types, inst);
        if !supported.contains(cell) {
            return Some(Reason::Cell(cell));
        }
        let Inst::InSet { set: used, .. } = inst else {
            return None;
        };
        let large = large_sets.iter().find(|large| large.set == *used)?;
        Some(Reason::Set(*large))
    };
    let insts = (0u32..).map(Val).zip(&program.insts);
    insts
        .filter_map(|(val, inst)| {
            Some(Lack {
                val,
                reason: reason(inst)?,
            })
        })
        .collect()
}

impl Part {
    /// The whole as one part.
    fn whole(program: &Program, on: On) -> Part {
        Part {
            on,
            program: program.clone(),
            columns: (0..program.columns.len())
                .map(|index| ColumnSource::Column(index as u16))
                .collect(),
            params: indices(program.params.len()),
            tables: indices(program.tables.len()),
            sets: indices(program.sets.len()),
            outputs: indices(program.outputs.len()),
        }
    }
}

fn indices(count: usize) -> Vec<u16> {
    (0..count).map(|index| index as u16).collect()
}

#[cfg(test)]
mod tests;
