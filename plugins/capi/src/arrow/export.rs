//! Record batches as arrays, on the memory where they are.

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::{Array, BooleanArray, RecordBatch, StructArray};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Schema};

use super::raw::{ArrowArray, ArrowSchema};
use crate::failure::Failure;

/// A batch as an array of struct type, and how many bytes of it were copied.
pub(crate) fn batch(batch: RecordBatch) -> (ArrowArray, u64) {
    let data = StructArray::from(batch).into_data();
    let copied = copied(&data);
    (ArrowArray::exported(FFI_ArrowArray::new(&data)), copied)
}

/// A mask as an array of booleans.
pub(crate) fn mask(mask: &BooleanArray) -> ArrowArray {
    ArrowArray::exported(FFI_ArrowArray::new(&mask.to_data()))
}

pub(crate) fn schema(schema: &Schema) -> Result<ArrowSchema, Failure> {
    let exported = FFI_ArrowSchema::try_from(schema);
    let exported = exported.map_err(|error| Failure::malformed(error.to_string()))?;
    Ok(ArrowSchema::exported(exported))
}

/// Bytes that arrow-rs copies as it exports: of a bitmap of nulls that begins at another bit than
/// the values do, which the C interface has no way to say.
fn copied(data: &ArrayData) -> u64 {
    let own = match (data.nulls(), data.data_type()) {
        (Some(nulls), of) if *of != DataType::Null && nulls.offset() != data.offset() => {
            (data.offset() + data.len()).div_ceil(8) as u64
        }
        _ => 0,
    };
    own + data.child_data().iter().map(copied).sum::<u64>()
}
