//! Programs, row at a time.
//!
//! One row after the other, one instruction after the other, every value kept: slow, and meant to
//! be read. It is what the CPU evaluator is compared with and what the plain simulated device
//! computes with, and it shares no code with either.

use unlade_program::{Imm, Inst, Output, Program, Trap, Ty};

use crate::inputs::{Bits, Inputs, OutputColumn, Outputs, RunError};
use crate::value;

/// Executes a verified program.
///
/// ```
/// use unlade_naive::{Bits, ColumnInput, Inputs, run};
/// use unlade_program::{Program, verify};
///
/// let program: Program = "
///     columns c0: i32
///     params p0: i32
///     %0 = load c0
///     %1 = param p0
///     %2 = cmp.gt %0, %1
///     keep %2
///     output %0
/// "
/// .parse()?;
/// verify(&program)?;
///
/// let values: Vec<u8> = [3i32, 8, 5, 9].iter().flat_map(|value| value.to_le_bytes()).collect();
/// let inputs = Inputs {
///     rows: 4,
///     columns: vec![ColumnInput {
///         values: Bits { bytes: &values, bit_offset: 0 },
///         validity: None,
///     }],
///     params: vec![5i128.to_le_bytes()],
///     ..Inputs::default()
/// };
/// let outputs = run(&program, &inputs)?;
/// assert_eq!(outputs.kept, 2);
/// assert_eq!(outputs.columns[0].values, [8, 0, 0, 0, 9, 0, 0, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`RunError::Trap`] with the least row that traps and its least ordinal; [`RunError::Input`]
/// where the inputs do not fit the program.
///
/// # Panics
/// Where the program is not one that [`unlade_program::verify`] accepts.
pub fn run(program: &Program, inputs: &Inputs<'_>) -> Result<Outputs, RunError> {
    inputs.check(program)?;
    let mut outputs = Outputs {
        kept: 0,
        mask: program.emit_mask.then(Vec::new),
        columns: program.outputs.iter().map(empty).collect(),
    };
    let mut values = Vec::with_capacity(program.insts.len());
    for row in 0..inputs.rows {
        evaluate(program, inputs, row, &mut values)?;
        let keep = program
            .keep
            .is_none_or(|keep| values[keep.index()].as_mask());
        if let Some(mask) = &mut outputs.mask {
            push(mask, row, Imm::mask(keep));
        }
        if !keep {
            continue;
        }
        for (output, column) in program.outputs.iter().zip(&mut outputs.columns) {
            push(
                &mut column.values,
                outputs.kept,
                values[output.value.index()],
            );
            if let (Some(valid), Some(validity)) = (output.valid, &mut column.validity) {
                push(validity, outputs.kept, values[valid.index()]);
            }
        }
        outputs.kept += 1;
    }
    Ok(outputs)
}

fn empty(output: &Output) -> OutputColumn {
    OutputColumn {
        values: Vec::new(),
        validity: output.valid.map(|_| Vec::new()),
    }
}

/// Fills `values` with the value of each instruction on one row; of a trap, a mask: whether it
/// fires.
fn evaluate(
    program: &Program,
    inputs: &Inputs<'_>,
    row: u64,
    values: &mut Vec<Imm>,
) -> Result<(), Trap> {
    values.clear();
    let mut fired: Option<u32> = None;
    for inst in &program.insts {
        let result = match *inst {
            Inst::Load { column } => {
                let ty = program.columns[column as usize].ty;
                element(ty, inputs.columns[column as usize].values, row)
            }
            Inst::Validity { column } => Imm::mask(
                inputs.columns[column as usize]
                    .validity
                    .is_none_or(|bits| bits.get(row)),
            ),
            Inst::Param { index } => Imm::from_le_bytes(
                program.params[index as usize],
                inputs.params[index as usize],
            ),
            Inst::Const { value } => value,
            Inst::Unary { op, arg } => value::unary(op, values[arg.index()]),
            Inst::Binary { op, lhs, rhs } => {
                value::binary(op, values[lhs.index()], values[rhs.index()])
            }
            Inst::Overflow { op, lhs, rhs } => Imm::mask(value::overflow(
                op,
                values[lhs.index()],
                values[rhs.index()],
            )),
            Inst::Compare {
                op,
                order,
                lhs,
                rhs,
            } => Imm::mask(value::compare(
                op,
                order,
                values[lhs.index()],
                values[rhs.index()],
            )),
            Inst::Range { arg, low, high } => Imm::mask(value::range(
                values[arg.index()],
                values[low.index()],
                values[high.index()],
            )),
            Inst::Cast { rule, arg, to } => value::cast(rule, values[arg.index()], to),
            Inst::CastFails { arg, to } => Imm::mask(value::cast_fails(values[arg.index()], to)),
            Inst::Rescale { arg, by, rounding } => {
                value::rescale(values[arg.index()], by, rounding)
            }
            Inst::RescaleFails { arg, by } => {
                Imm::mask(value::rescale_fails(values[arg.index()], by))
            }
            Inst::Digits { arg, by } => value::digits(values[arg.index()].as_f64(), by),
            // The bits of the one that is chosen, untouched.
            Inst::Select { mask, then, other } => {
                let chosen = if values[mask.index()].as_mask() {
                    then
                } else {
                    other
                };
                values[chosen.index()]
            }
            Inst::Mask { op, lhs, rhs } => Imm::mask(value::mask(
                op,
                values[lhs.index()].as_mask(),
                values[rhs.index()].as_mask(),
            )),
            Inst::Not { arg } => Imm::mask(!values[arg.index()].as_mask()),
            Inst::Lookup { table, index } => {
                let ty = program.tables[table as usize];
                let entries = inputs.tables[table as usize];
                let index = values[index.index()].as_integer();
                if (0..entry_count(ty, entries)).contains(&index) {
                    let entries = Bits {
                        bytes: entries,
                        bit_offset: 0,
                    };
                    element(ty, entries, index as u64)
                } else {
                    Imm::zero(ty)
                }
            }
            Inst::InBounds { table, index } => {
                let ty = program.tables[table as usize];
                let count = entry_count(ty, inputs.tables[table as usize]);
                Imm::mask((0..count).contains(&values[index.index()].as_integer()))
            }
            Inst::InSet { set, arg } => {
                let ty = program.sets[set as usize];
                let bytes = inputs.sets[set as usize];
                let entries = Bits {
                    bytes,
                    bit_offset: 0,
                };
                let arg = values[arg.index()];
                let count = entry_count(ty, bytes) as u64;
                Imm::mask((0..count).any(|entry| element(ty, entries, entry) == arg))
            }
            Inst::Trap { when, ordinal, .. } => {
                let fires = values[when.index()].as_mask();
                if fires {
                    fired = Some(fired.map_or(ordinal, |least| least.min(ordinal)));
                }
                Imm::mask(fires)
            }
        };
        values.push(result);
    }
    match fired {
        Some(ordinal) => Err(Trap { row, ordinal }),
        None => Ok(()),
    }
}

/// How many entries of a type a table or set has.
fn entry_count(ty: Ty, entries: &[u8]) -> i128 {
    entries.len() as i128 * 8 / i128::from(ty.bits())
}

/// The value at a position of a buffer.
fn element(ty: Ty, buffer: Bits<'_>, position: u64) -> Imm {
    if ty == Ty::Mask {
        return Imm::mask(buffer.get(position));
    }
    let width = ty.bytes_for(1) as usize;
    let start = position as usize * width;
    let mut bytes = [0; 16];
    bytes[..width].copy_from_slice(&buffer.bytes[start..start + width]);
    Imm::from_le_bytes(ty, bytes)
}

/// Appends the value of one row; `position` is how many are there already.
fn push(buffer: &mut Vec<u8>, position: u64, value: Imm) {
    if value.ty() == Ty::Mask {
        if position.is_multiple_of(8) {
            buffer.push(0);
        }
        buffer[(position / 8) as usize] |= u8::from(value.as_mask()) << (position % 8);
    } else {
        let width = value.ty().bytes_for(1) as usize;
        buffer.extend_from_slice(&value.to_le_bytes()[..width]);
    }
}

#[cfg(test)]
mod tests;
