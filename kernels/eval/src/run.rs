//! The loop over tiles.

use unlade_program::{Imm, Trap};

use crate::element;
use crate::float_env::FloatEnv;
use crate::frame::{Extent, Frame, MaskRegister, MaskView, Place, Registers, Step, VectorRegister};
use crate::io::{self, Done, Failure, Inputs, Outputs, SLACK};
use crate::isa::Isa;
use crate::level::Routine;
use crate::mask::WORD;
use crate::plan::{FEW, ScalarSource};
use crate::{Executable, compact, mask};

/// Memory for the registers of an execution. Kept by a caller from one to the next, of whatever
/// program, it saves their allocation.
#[derive(Debug, Default)]
pub struct Scratch(Registers);

impl Scratch {
    /// Without any memory yet.
    pub fn new() -> Scratch {
        Scratch::default()
    }
}

/// Executes a program over all rows of its inputs.
///
/// The rounding mode is to nearest and denormals are kept, whatever the calling thread is set to.
///
/// ```
/// use unlade_eval::{
///     ColumnRef, Executable, Inputs, OutputMut, Outputs, SLACK, Scratch, run,
/// };
/// use unlade_program::{
///     Column, CompareOp, FloatOrder, Inst, Output, Program, Ty, Val,
/// };
///
/// // The values that are greater than a parameter.
/// let program = Program {
///     columns: vec![Column { ty: Ty::U8, nullable: false }],
///     params: vec![Ty::U8],
///     insts: vec![
///         Inst::Load { column: 0 },
///         Inst::Param { index: 0 },
///         Inst::Compare {
///             op: CompareOp::Gt,
///             order: FloatOrder::Ieee,
///             lhs: Val(0),
///             rhs: Val(1),
///         },
///     ],
///     keep: Some(Val(2)),
///     outputs: vec![Output { value: Val(0), valid: None }],
///     ..Program::default()
/// };
/// let executable = Executable::new(&program);
///
/// let mut parameter = [0; 16];
/// parameter[0] = 3;
/// let inputs = Inputs {
///     rows: 5,
///     columns: &[ColumnRef { values: &[1, 7, 3, 4, 2], bit_offset: 0, validity: None }],
///     params: &[parameter],
///     tables: &[],
///     sets: &[],
/// };
/// let mut values = vec![0; 5 + SLACK];
/// let mut outputs = Outputs {
///     mask: None,
///     columns: &mut [OutputMut { values: &mut values, validity: None }],
/// };
/// let done = run(&executable, &inputs, &mut outputs, &mut Scratch::new())?;
/// assert_eq!(&values[..done.kept], [7, 4]);
/// # Ok::<(), unlade_eval::Failure>(())
/// ```
///
/// # Errors
/// [`Failure::Trap`] where a row traps; of all rows and traps that do, the least row and of that
/// the least ordinal. [`Failure::BadArgs`] where inputs or outputs do not fit the program. The
/// contents of the outputs are unspecified then.
pub fn run(
    executable: &Executable,
    inputs: &Inputs<'_>,
    outputs: &mut Outputs<'_>,
    scratch: &mut Scratch,
) -> Result<Done, Failure> {
    let plan = &executable.plan;
    io::check(&executable.program, &plan.output_types, inputs, outputs)?;
    let _environment = FloatEnv::standard();
    let registers = &mut scratch.0;
    prepare(executable, inputs, registers);

    let mut mask = outputs.mask.as_deref_mut();
    let mut frame = Frame {
        inputs,
        table_types: &executable.program.tables,
        outputs: &mut *outputs.columns,
        registers,
        first_row: 0,
        tile_rows: 1,
        rows: 1,
        written: 0,
        keep: Place::AllRows,
        trap: None,
    };
    for (step, scalar) in &plan.prologue {
        execute(std::slice::from_ref(step), &mut frame);
        let value = scalar_result(step.to, &frame);
        frame.registers.scalars[*scalar] = value;
    }

    let mut most_rows = executable.tile_rows;
    while frame.first_row < inputs.rows {
        let tile_rows = (inputs.rows - frame.first_row).min(most_rows);
        frame.tile_rows = tile_rows;
        align_columns(executable, &mut frame);
        let kept = run_tile(executable, &mut frame, mask.as_deref_mut());
        if let Some((row, ordinal)) = frame.trap {
            let row = (frame.first_row + row) as u64;
            return Err(Failure::Trap(Trap { row, ordinal }));
        }
        frame.written += kept;
        frame.first_row += tile_rows;
        most_rows = executable.tile_after(tile_rows, kept);
    }
    Ok(Done {
        kept: frame.written,
    })
}

/// Computes one tile and returns how many of its rows are kept.
fn run_tile(
    executable: &Executable,
    frame: &mut Frame<'_, '_>,
    mask_out: Option<&mut [u8]>,
) -> usize {
    let plan = &executable.plan;
    frame.rows = frame.tile_rows;
    frame.keep = Place::AllRows;
    execute(&plan.first, frame);

    let mut listed = std::mem::take(&mut frame.registers.listed);
    listed.clear();
    let (view, kept) = (frame.mask(plan.keep), frame.count(plan.keep));
    if let MaskView::Some(keep) = view
        && kept <= frame.tile_rows / FEW
    {
        executable.level.call(List {
            keep: &keep[..frame.tile_rows.div_ceil(WORD)],
            kept,
            listed: &mut listed,
        });
    }
    if let Some(out) = mask_out {
        let (at, rows) = (frame.first_row, frame.tile_rows);
        match view {
            MaskView::None => mask::append(out, at, rows, |_| 0),
            MaskView::All => {
                mask::append(out, at, rows, |index| mask::low_bits(rows - index * WORD));
            }
            MaskView::Some(keep) => mask::append(out, at, rows, |index| keep[index]),
        }
    }
    frame.registers.listed = listed;
    if kept == frame.tile_rows {
        execute(&plan.dense, frame);
    } else if kept > 0 {
        frame.rows = kept;
        frame.keep = plan.keep;
        execute(&plan.compacted, frame);
    }
    kept
}

/// Lists the rows that a mask keeps.
struct List<'a> {
    keep: &'a [u64],
    kept: usize,
    listed: &'a mut Vec<u16>,
}

impl Routine for List<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        compact::list_rows(self.keep, self.kept, self.listed);
    }
}

#[inline]
fn execute(steps: &[Step], frame: &mut Frame<'_, '_>) {
    for step in steps {
        // SAFETY: a step's kernel was made for the level of its executable, and a level exists
        // only on a machine that has its features.
        unsafe { (step.run)(step, frame) }
    }
}

/// Sizes the registers and sets the scalars that no step computes.
fn prepare(executable: &Executable, inputs: &Inputs<'_>, registers: &mut Registers) {
    let plan = &executable.plan;
    let tile_rows = executable
        .tile_rows
        .max(executable.sparse_tile_rows)
        .min(inputs.rows.next_multiple_of(WORD))
        .max(WORD);
    if registers.vectors.len() < plan.vector_widths.len() {
        registers
            .vectors
            .resize_with(plan.vector_widths.len(), VectorRegister::default);
    }
    for (register, width) in registers.vectors.iter_mut().zip(&plan.vector_widths) {
        register.reserve(tile_rows * width + SLACK);
    }
    if registers.masks.len() < plan.masks {
        registers
            .masks
            .resize_with(plan.masks, MaskRegister::default);
    }
    for register in &mut registers.masks[..plan.masks] {
        if register.words.len() < tile_rows / WORD {
            register.words = vec![0; tile_rows / WORD].into_boxed_slice();
        }
    }
    registers.scalars.clear();
    registers
        .scalars
        .extend(plan.scalars.iter().map(|source| match *source {
            ScalarSource::Param(index) => inputs.params[index],
            ScalarSource::Const(value) => value,
            ScalarSource::Computed => [0; 16],
        }));
    registers.unaligned.clear();
    for (index, column) in executable.program.columns.iter().enumerate() {
        if !io::aligned(column.ty, inputs.columns[index].values) {
            registers.unaligned.push(index as u32);
            if registers.aligned.len() <= index {
                registers
                    .aligned
                    .resize_with(index + 1, VectorRegister::default);
            }
            registers.aligned[index].reserve(tile_rows * column.ty.bits() as usize / 8);
        }
    }
}

/// Copies this tile of the columns whose values lie at odd addresses.
fn align_columns(executable: &Executable, frame: &mut Frame<'_, '_>) {
    for &index in &frame.registers.unaligned {
        let index = index as usize;
        let width = executable.program.columns[index].ty.bits() as usize / 8;
        let bytes = frame.tile_rows * width;
        let values = &frame.inputs.columns[index].values[frame.first_row * width..][..bytes];
        frame.registers.aligned[index].bytes_mut()[..bytes].copy_from_slice(values);
    }
}

/// What a step of the prologue left in its register.
fn scalar_result(place: Place, frame: &Frame<'_, '_>) -> element::Scalar {
    match place {
        Place::Vector(register) => {
            let bytes = frame.registers.vectors[register as usize].bytes();
            *bytes.first_chunk().expect("a register holds a scalar")
        }
        Place::Mask(register) => {
            let extent = frame.registers.masks[register as usize].extent;
            debug_assert!(
                !matches!(extent, Extent::Some(_)),
                "one row is all rows or none"
            );
            Imm::mask(extent == Extent::All).to_le_bytes()
        }
        other => unreachable!("no scalar is left in {other:?}"),
    }
}

#[cfg(test)]
mod tests;
