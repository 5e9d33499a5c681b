//! What two executions of one program differ in.

use unlade_program::{Program, Ty};

use crate::inputs::Outputs;

/// Clears what a program does not promise: values under a cleared validity, in which two right
/// implementations may differ.
pub fn clear_nulls(program: &Program, outputs: &mut Outputs) {
    let types = program.types();
    for (output, column) in program.outputs.iter().zip(&mut outputs.columns) {
        let (Some(ty), Some(validity)) = (types[output.value.index()], &column.validity) else {
            continue;
        };
        for row in 0..outputs.kept as usize {
            if validity[row / 8] >> (row % 8) & 1 == 1 {
                continue;
            }
            if ty == Ty::Mask {
                column.values[row / 8] &= !(1 << (row % 8));
            } else {
                let width = ty.bytes_for(1) as usize;
                column.values[row * width..][..width].fill(0);
            }
        }
    }
}

/// The first thing in which outputs that are not equal differ, in words.
pub fn difference(program: &Program, wanted: &Outputs, found: &Outputs) -> String {
    if wanted.kept != found.kept {
        return format!("{} rows kept, not {}", found.kept, wanted.kept);
    }
    if wanted.mask != found.mask {
        return "the keep masks differ".to_owned();
    }
    let types = program.types();
    for (index, (wanted, found)) in wanted.columns.iter().zip(&found.columns).enumerate() {
        if wanted.validity != found.validity {
            return format!("the validity of output {index} differs");
        }
        let value = program.outputs[index].value;
        let width = types[value.index()].map_or(1, |ty| ty.bytes_for(1) as usize);
        let rows = wanted.values.chunks(width).zip(found.values.chunks(width));
        if let Some((row, (wanted, found))) = rows.enumerate().find(|(_, (w, f))| w != f) {
            return format!(
                "output {index} ({value}), value {row}: {found:02x?}, not {wanted:02x?}"
            );
        }
    }
    "they differ in length".to_owned()
}
