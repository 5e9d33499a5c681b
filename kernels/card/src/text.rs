//! Bytecode as text.

use std::fmt::{self, Display, Formatter};

use unlade_program::{FloatOrder, Imm, Op, TrapCode};

use crate::bytecode::{Bytecode, Kind, Operation, Register, Thing, Word, decode};
use crate::malformed::Malformed;

/// The text of bytecode: the declarations, then a line for each word under its index, which is what
/// a card reports a fault by.
///
/// It reads as programs do, with registers for values: `v0` ... are V registers and named with the
/// type that they are given, `m0` ... are M registers. The crate's front page shows one.
///
/// # Errors
/// [`Malformed::Bytecode`] where every card refuses the bytes, with what it says of them.
pub fn disassemble(bytecode: &[u8]) -> Result<String, Malformed> {
    let decoded = decode(bytecode)?;
    Ok(Listing {
        bytecode: &decoded,
        bytes: bytecode.len(),
    }
    .to_string())
}

struct Listing<'a> {
    bytecode: &'a Bytecode,
    bytes: usize,
}

impl Display for Listing<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Bytecode {
            label,
            value_registers,
            mask_registers,
            columns,
            params,
            tables,
            sets,
            outputs,
            constants: _,
            words,
        } = self.bytecode;
        writeln!(f, "bytecode 1.0, {} bytes, label {label:#x}", self.bytes)?;
        writeln!(f, "registers {value_registers} v, {mask_registers} m")?;
        let mark = |nullable: bool| if nullable { "?" } else { "" };
        declarations(
            f,
            "columns",
            'c',
            columns
                .iter()
                .map(|column| format!("{}{}", column.ty, mark(column.nullable))),
        )?;
        declarations(f, "params", 'p', params.iter())?;
        declarations(f, "tables", 't', tables.iter())?;
        declarations(f, "sets", 's', sets.iter())?;
        declarations(
            f,
            "outputs",
            'o',
            outputs
                .iter()
                .map(|output| format!("{}{}", output.ty, mark(output.valid))),
        )?;
        for (index, word) in words.iter().enumerate() {
            write!(f, "{index}: ")?;
            self.word(f, word)?;
            writeln!(f)?;
        }
        Ok(())
    }
}

/// One line of what is declared, left out where there is nothing to say.
fn declarations(
    f: &mut Formatter<'_>,
    what: &str,
    letter: char,
    types: impl Iterator<Item = impl Display>,
) -> fmt::Result {
    let list: Vec<String> = types
        .enumerate()
        .map(|(index, ty)| format!("{letter}{index}: {ty}"))
        .collect();
    match list.as_slice() {
        [] => Ok(()),
        list => writeln!(f, "{what} {}", list.join(", ")),
    }
}

impl Listing<'_> {
    fn word(&self, f: &mut Formatter<'_>, word: &Word) -> fmt::Result {
        match word.dst {
            Some(dst) if dst.kind == Kind::Value => write!(f, "{dst}: {} = ", word.result)?,
            Some(dst) => write!(f, "{dst} = ")?,
            None => {}
        }
        match word.operation {
            Operation::Keep => write!(f, "keep {}", operands(word)),
            Operation::EmitMask => write!(f, "emit mask"),
            Operation::Store => match word.sources {
                [Some(value), Some(valid), _] => {
                    write!(f, "store o{}, {value} valid {valid}", word.index)
                }
                _ => write!(f, "store o{}, {}", word.index, operands(word)),
            },
            Operation::Program(op) => self.computes(f, op, word),
        }
    }

    /// An operation that programs have too, as they print it.
    fn computes(&self, f: &mut Formatter<'_>, op: Op, word: &Word) -> fmt::Result {
        let Word { index, .. } = word;
        match op {
            Op::Trap => write!(f, "trap.{}", trap_code(*index))?,
            _ => write!(f, "{op}{}", rule(op, word.variant))?,
        }
        match word.operation.form().index {
            Some(Thing::Constant) => {
                let bytes = self.bytecode.constants[usize::from(*index)];
                let value = Imm::from_le_bytes(word.result, bytes);
                return write!(f, " {} {value}", word.result);
            }
            Some(Thing::Column) => write!(f, " c{index}")?,
            Some(Thing::Param) => write!(f, " p{index}")?,
            Some(Thing::Table) => write!(f, " t{index}, {}", operands(word))?,
            Some(Thing::Set) => write!(f, " s{index}, {}", operands(word))?,
            Some(Thing::Output | Thing::Code) | None => write!(f, " {}", operands(word))?,
        }
        match op {
            Op::CastWrap | Op::CastSaturate | Op::CastFails => write!(f, " to {}", word.result),
            Op::Rescale | Op::RescaleFails | Op::Digits => write!(f, " by {}", word.immediate),
            Op::Trap => write!(f, ", ordinal {}", word.immediate.cast_unsigned()),
            _ => Ok(()),
        }
    }
}

/// The registers read, in order.
fn operands(word: &Word) -> String {
    let registers: Vec<String> = word
        .sources
        .iter()
        .flatten()
        .map(Register::to_string)
        .collect();
    registers.join(", ")
}

/// The choice that a variant is, behind the operation's name; nothing where there is none.
fn rule(op: Op, variant: u8) -> String {
    let name = match (op, variant) {
        (_, 0) => return String::new(),
        (Op::Rescale, 1) => "half_away",
        (Op::Rescale, 2) => "truncate",
        (Op::Rescale, _) => "floor",
        (_, 1) => FloatOrder::Total.name(),
        (_, _) => FloatOrder::Spark.name(),
    };
    format!(".{name}")
}

/// The name of a trap's code, or its number: no card asks what it means.
fn trap_code(code: u16) -> String {
    TrapCode::ALL
        .into_iter()
        .find(|known| *known as u16 == code)
        .map_or_else(|| code.to_string(), |known| known.name().to_owned())
}
