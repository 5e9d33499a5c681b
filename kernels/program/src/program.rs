//! The program: inputs, instructions, outputs.

use crate::{Inst, Ty, Val};

/// A column that a program reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    /// Physical type of the values.
    pub ty: Ty,
    /// Whether a validity bitmap may come with it.
    pub nullable: bool,
}

/// A column that a program writes, one value per row kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// The values; arbitrary bits where `valid` is clear.
    pub value: Val,
    /// Which rows are not null, or `None` where all are.
    pub valid: Option<Val>,
}

/// A fused set of expressions in static single assignment form.
///
/// One execution takes `rows` rows of every column, one scalar per parameter, one array per table
/// and one sorted array per set. It yields, unless it traps:
/// - the keep mask itself, one bit per input row, where `emit_mask` is set;
/// - each output, compacted to the rows that `keep` selects (all rows where there is no `keep`);
/// - the number of rows kept.
///
/// A null in `keep` does not exist: lowering has already folded validity into it.
///
/// The crate's front page builds one by hand; [`crate::text`] is the form that programs are
/// written and printed in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Program {
    /// What [`Inst::Load`] and [`Inst::Validity`] refer to.
    pub columns: Vec<Column>,
    /// Types of what [`Inst::Param`] refers to.
    pub params: Vec<Ty>,
    /// Types of the tables that [`Inst::Lookup`] and [`Inst::InBounds`] refer to.
    pub tables: Vec<Ty>,
    /// Types of the sets that [`Inst::InSet`] refers to; entries ascend, without duplicates, floats
    /// by their bits read as an unsigned integer.
    pub sets: Vec<Ty>,
    /// The instructions, operands before uses.
    pub insts: Vec<Inst>,
    /// Which rows are kept; all of them where there is none.
    pub keep: Option<Val>,
    /// Whether the keep mask is itself an output. Needs `keep`.
    pub emit_mask: bool,
    /// The columns written.
    pub outputs: Vec<Output>,
}

impl Program {
    /// The type of each instruction's result, `None` for a trap.
    ///
    /// # Panics
    /// Where the program is malformed; [`crate::verify`] finds that out without a panic.
    pub fn types(&self) -> Vec<Option<Ty>> {
        let mut types: Vec<Option<Ty>> = Vec::with_capacity(self.insts.len());
        for inst in &self.insts {
            types.push(self.result_type(&types, inst));
        }
        types
    }

    /// The type of an instruction's result, given those of the instructions before it.
    pub(crate) fn result_type(&self, types: &[Option<Ty>], inst: &Inst) -> Option<Ty> {
        let of = |val: Val| types[val.index()];
        match *inst {
            Inst::Load { column } => Some(self.columns[column as usize].ty),
            Inst::Param { index } => Some(self.params[index as usize]),
            Inst::Const { value } => Some(value.ty()),
            Inst::Lookup { table, .. } => Some(self.tables[table as usize]),
            Inst::Unary { arg, .. } | Inst::Rescale { arg, .. } => of(arg),
            Inst::Binary { lhs, .. } => of(lhs),
            Inst::Select { then, .. } => of(then),
            Inst::Cast { to, .. } => Some(to),
            Inst::Digits { .. } => Some(Ty::I128),
            Inst::Validity { .. }
            | Inst::Overflow { .. }
            | Inst::Compare { .. }
            | Inst::Range { .. }
            | Inst::CastFails { .. }
            | Inst::RescaleFails { .. }
            | Inst::Mask { .. }
            | Inst::Not { .. }
            | Inst::InBounds { .. }
            | Inst::InSet { .. } => Some(Ty::Mask),
            Inst::Trap { .. } => None,
        }
    }

    /// Whether any instruction can trap.
    pub fn can_trap(&self) -> bool {
        self.insts
            .iter()
            .any(|inst| matches!(inst, Inst::Trap { .. }))
    }

    /// The positions, in [`crate::args`] order, of everything an execution is handed.
    pub fn arg_count(&self) -> usize {
        crate::args::Layout::of(self).count()
    }
}

/// The error of one row.
///
/// A device reports only this; the host finds the value and the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Trap {
    /// The row, counted from the first row of the execution.
    pub row: u64,
    /// Which node of the source tree, in order of evaluation: operands before the operation.
    pub ordinal: u32,
}
