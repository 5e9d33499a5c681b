//! Columns that are put out as they came in.

use arrow_schema::DataType;
use unlade_program::{Column, Val};

use super::Value;
use super::builder::{Builder, TRUE};
use crate::lowered::{Destination, Payload};
use crate::physical::raw;
use crate::typed::Checked;

/// Makes a payload column an output of the program, or says why it is none.
///
/// With nothing to drop, a column is put out whole and costs nothing. Otherwise a column of fixed
/// width is compacted by the program if it is asked to; its values are read as raw bits, which a
/// load keeps.
pub(super) fn place(
    builder: &mut Builder,
    checked: &Checked,
    column: usize,
    payload: Payload,
    keep: Val,
) -> Result<Value, Destination> {
    let field = checked.input.field(column);
    match raw(field.data_type()) {
        Some(ty) if payload != Payload::Late && keep != TRUE => {
            let as_bits = Column {
                ty,
                nullable: field.is_nullable(),
            };
            Ok(Value {
                value: builder.load(column, as_bits),
                valid: builder.validity(column, as_bits),
            })
        }
        _ => Err(Destination::Payload { column }),
    }
}

/// Whether a column has offsets and bytes, for whoever compacts strings by the mask.
pub(super) fn is_strings(checked: &Checked, column: usize) -> bool {
    matches!(
        checked.input.field(column).data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary
    )
}

/// Where an output of the program goes that holds a payload column's values.
pub(super) fn destination(checked: &Checked, column: usize, output: usize) -> Destination {
    match checked.input.field(column).data_type() {
        DataType::Dictionary(..) => Destination::Keys { output, column },
        _ => Destination::Program { output },
    }
}
