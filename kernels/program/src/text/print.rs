//! Printing a program, an instruction or an immediate.

use std::fmt::{self, Display, Formatter};

use crate::{FloatOrder, Imm, Inst, Op, Program, Ty};

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let columns = self.columns.iter().map(|column| {
            let mark = if column.nullable { "?" } else { "" };
            format!("{}{mark}", column.ty)
        });
        inputs(f, "columns", 'c', columns)?;
        inputs(f, "params", 'p', self.params.iter())?;
        inputs(f, "tables", 't', self.tables.iter())?;
        inputs(f, "sets", 's', self.sets.iter())?;
        for (index, inst) in self.insts.iter().enumerate() {
            writeln!(f, "%{index} = {inst}")?;
        }
        if let Some(keep) = self.keep {
            writeln!(f, "keep {keep}")?;
        }
        if self.emit_mask {
            writeln!(f, "emit mask")?;
        }
        for output in &self.outputs {
            match output.valid {
                Some(valid) => writeln!(f, "output {} valid {valid}", output.value)?,
                None => writeln!(f, "output {}", output.value)?,
            }
        }
        Ok(())
    }
}

/// One header line, left out where there is nothing to say.
fn inputs(
    f: &mut Formatter<'_>,
    what: &str,
    letter: char,
    types: impl Iterator<Item = impl Display>,
) -> fmt::Result {
    let mut any = false;
    for (index, ty) in types.enumerate() {
        if any {
            write!(f, ", ")?;
        } else {
            write!(f, "{what} ")?;
        }
        write!(f, "{letter}{index}: {ty}")?;
        any = true;
    }
    if any { writeln!(f) } else { Ok(()) }
}

impl Display for Inst {
    /// The right-hand side of a line: `add %1, %2`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = Op::of(self).name();
        match self {
            Inst::Load { column } | Inst::Validity { column } => write!(f, "{name} c{column}"),
            Inst::Param { index } => write!(f, "{name} p{index}"),
            Inst::Const { value } => write!(f, "{name} {} {value}", value.ty()),
            Inst::Unary { arg, .. } | Inst::Not { arg } => write!(f, "{name} {arg}"),
            Inst::Binary { lhs, rhs, .. }
            | Inst::Overflow { lhs, rhs, .. }
            | Inst::Mask { lhs, rhs, .. } => write!(f, "{name} {lhs}, {rhs}"),
            Inst::Compare {
                order, lhs, rhs, ..
            } => match order {
                FloatOrder::Ieee => write!(f, "{name} {lhs}, {rhs}"),
                _ => write!(f, "{name}.{} {lhs}, {rhs}", order.name()),
            },
            Inst::Range { arg, low, high } => write!(f, "{name} {arg}, {low}, {high}"),
            Inst::Cast { arg, to, .. } | Inst::CastFails { arg, to } => {
                write!(f, "{name} {arg} to {to}")
            }
            Inst::Rescale { arg, by, rounding } => {
                write!(f, "{name}.{} {arg} by {by}", rounding.name())
            }
            Inst::RescaleFails { arg, by } | Inst::Digits { arg, by } => {
                write!(f, "{name} {arg} by {by}")
            }
            Inst::Select { mask, then, other } => write!(f, "{name} {mask}, {then}, {other}"),
            Inst::Lookup { table, index } | Inst::InBounds { table, index } => {
                write!(f, "{name} t{table}, {index}")
            }
            Inst::InSet { set, arg } => write!(f, "{name} s{set}, {arg}"),
            Inst::Trap {
                when,
                code,
                ordinal,
            } => write!(f, "{name}.{} {when}, ordinal {ordinal}", code.name()),
        }
    }
}

impl Display for Imm {
    /// The value without its type: `-7`, `true`, `1.5`. A NaN is printed by its bits, which a
    /// number cannot tell.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.ty() {
            Ty::Mask => write!(f, "{}", self.as_mask()),
            Ty::F32 if self.as_f32().is_nan() => write!(f, "{:#010x}", self.bits()),
            Ty::F64 if self.as_f64().is_nan() => write!(f, "{:#018x}", self.bits()),
            // The shortest text that reads back as the same float.
            Ty::F32 => write!(f, "{:?}", self.as_f32()),
            Ty::F64 => write!(f, "{:?}", self.as_f64()),
            _ => write!(f, "{}", self.as_integer()),
        }
    }
}
