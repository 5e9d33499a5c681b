//! Arrays of foreign origin, such that arrow-rs cuts them rightly.

use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType, UnionMode};

/// The same rows, on the same memory, with what is below them cut to them: to be done with what comes
/// in by the C Data Interface, before an array is made of it.
///
/// There an offset of a struct, a list of fixed size or a sparse union goes for its children, which keep
/// offsets of their own. arrow-rs 59 cuts children as it makes the array, and where one is a struct in
/// its turn it cuts that one's children twice, and panics.
///
/// # Errors
/// Where the data is not valid, as far as it is looked at.
pub fn settled(data: &ArrayData) -> Result<ArrayData, ArrowError> {
    match data.child_data().is_empty() {
        true => Ok(data.clone()),
        false => cut(data, 0, data.len()),
    }
}

/// So many rows from one on.
fn cut(data: &ArrayData, from: usize, rows: usize) -> Result<ArrayData, ArrowError> {
    if data.child_data().is_empty() {
        return Ok(data.slice(from, rows));
    }
    // What is before the first row is before it in whatever follows the rows.
    let first = data.offset() + from;
    let each = |first: usize, rows: usize| -> Result<Vec<ArrayData>, ArrowError> {
        let children = data.child_data().iter();
        children.map(|child| cut(child, first, rows)).collect()
    };
    let mut buffers = data.buffers().to_vec();
    let (offset, children) = match data.data_type() {
        DataType::Struct(_) => (0, each(first, rows)?),
        DataType::FixedSizeList(_, width) => {
            let width = usize::try_from(*width).unwrap_or(0);
            (0, each(first * width, rows * width)?)
        }
        DataType::Union(_, UnionMode::Sparse) => {
            buffers[0] = buffers[0].slice_with_length(first, rows);
            (0, each(first, rows)?)
        }
        _ => {
            let whole = data.child_data().iter();
            let whole = whole.map(|child| cut(child, 0, child.len()));
            (first, whole.collect::<Result<_, _>>()?)
        }
    };
    ArrayData::builder(data.data_type().clone())
        .len(rows)
        .offset(offset)
        .nulls(data.nulls().map(|nulls| nulls.slice(from, rows)))
        .buffers(buffers)
        .child_data(children)
        .build()
}
