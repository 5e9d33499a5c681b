//! The CPU evaluator, called as the naive interpreter is, so that results can be compared.

use unlade_eval::{
    BitsRef, ColumnRef, Executable, Failure, OutputMut, SLACK, Scratch, run as evaluate,
};
use unlade_naive::{Bits, Inputs, OutputColumn, Outputs, RunError};
use unlade_program::Ty;

/// Runs a planned program and returns what the interpreter would: values and bits of kept rows,
/// bits beyond them cleared.
///
/// # Errors
/// [`RunError::Trap`] where a row traps.
///
/// # Panics
/// Where the inputs do not fit the program.
pub fn run(
    executable: &Executable,
    inputs: &Inputs<'_>,
    scratch: &mut Scratch,
) -> Result<Outputs, RunError> {
    let program = executable.program();
    let types = program.types();
    let rows = usize::try_from(inputs.rows).expect("rows fit in memory");
    let columns: Vec<ColumnRef<'_>> = inputs
        .columns
        .iter()
        .map(|column| {
            let (values, bit_offset) = byte_and_bit(column.values);
            ColumnRef {
                values,
                bit_offset,
                validity: column.validity.map(|bits| BitsRef {
                    bytes: bits.bytes,
                    offset: bits.bit_offset as usize,
                }),
            }
        })
        .collect();

    let output_types: Vec<Ty> = program
        .outputs
        .iter()
        .map(|output| types[output.value.index()].expect("an output has a type"))
        .collect();
    let mut values: Vec<Room> = output_types.iter().map(|&ty| Room::of(ty, rows)).collect();
    let mut validity: Vec<Option<Room>> = program
        .outputs
        .iter()
        .map(|output| output.valid.map(|_| Room::of(Ty::Mask, rows)))
        .collect();
    let mut mask = program.emit_mask.then(|| Room::of(Ty::Mask, rows));
    let mut outputs: Vec<OutputMut<'_>> = values
        .iter_mut()
        .zip(&mut validity)
        .map(|(values, validity)| OutputMut {
            values: values.bytes_mut(),
            validity: validity.as_mut().map(Room::bytes_mut),
        })
        .collect();
    let done = evaluate(
        executable,
        &unlade_eval::Inputs {
            rows,
            columns: &columns,
            params: &inputs.params,
            tables: &inputs.tables,
            sets: &inputs.sets,
        },
        &mut unlade_eval::Outputs {
            mask: mask.as_mut().map(Room::bytes_mut),
            columns: &mut outputs,
        },
        scratch,
    )
    .map_err(|failure| match failure {
        Failure::Trap(trap) => RunError::Trap(trap),
        failure => panic!("the evaluator refuses what the interpreter takes: {failure}"),
    })?;
    Ok(Outputs {
        kept: done.kept as u64,
        mask: mask.map(|mask| mask.first(Ty::Mask, rows)),
        columns: values
            .into_iter()
            .zip(validity)
            .zip(output_types)
            .map(|((values, validity), ty)| OutputColumn {
                values: values.first(ty, done.kept),
                validity: validity.map(|validity| validity.first(Ty::Mask, done.kept)),
            })
            .collect(),
    })
}

/// The byte that the first bit is in, and where in it; the evaluator takes offsets below 8.
fn byte_and_bit(bits: Bits<'_>) -> (&[u8], u8) {
    let byte = (bits.bit_offset / 8) as usize;
    (
        &bits.bytes[byte.min(bits.bytes.len())..],
        (bits.bit_offset % 8) as u8,
    )
}

/// The widest type, and so the strictest alignment, in bytes.
const WIDEST: usize = 16;

/// Room for an output, aligned for every type and filled with a pattern.
struct Room {
    bytes: Vec<u8>,
    start: usize,
}

impl Room {
    fn of(ty: Ty, rows: usize) -> Room {
        let bytes = vec![0xa5; ty.bytes_for(rows as u64) as usize + SLACK + WIDEST];
        let start = bytes.as_ptr().align_offset(WIDEST);
        Room { bytes, start }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.bytes.len() - WIDEST;
        &mut self.bytes[self.start..][..len]
    }

    /// The first values, bits beyond them cleared.
    fn first(self, ty: Ty, rows: usize) -> Vec<u8> {
        let len = ty.bytes_for(rows as u64) as usize;
        let mut bytes = self.bytes[self.start..][..len].to_vec();
        if ty == Ty::Mask
            && !rows.is_multiple_of(8)
            && let Some(last) = bytes.last_mut()
        {
            *last &= (1 << (rows % 8)) - 1;
        }
        bytes
    }
}
