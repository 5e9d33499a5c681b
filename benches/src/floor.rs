//! How fast the machine reads: the sum of every column that a predicate reads.

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;

/// Sums the values of the named columns as 64-bit words, wrapping: what reading costs with as
/// little arithmetic as makes the reading necessary. Nulls' bits count like any others.
pub fn sum(batch: &RecordBatch, columns: &[&str]) -> u64 {
    columns
        .iter()
        .map(|name| {
            let column = batch
                .column_by_name(name)
                .expect("the workload names its columns");
            sum_of_words(match column.data_type() {
                DataType::Int32 => column.as_primitive::<Int32Type>().values().inner(),
                DataType::Date32 => column.as_primitive::<Date32Type>().values().inner(),
                DataType::Int64 => column.as_primitive::<Int64Type>().values().inner(),
                DataType::Float64 => column.as_primitive::<Float64Type>().values().inner(),
                other => unreachable!("no workload reads {other}"),
            })
        })
        .fold(0, u64::wrapping_add)
}

/// Sixteen sums side by side, so that additions do not wait for each other.
fn sum_of_words(bytes: &[u8]) -> u64 {
    const LANES: usize = 16;
    const WORD: usize = size_of::<u64>();
    let mut sums = [0_u64; LANES];
    let chunks = bytes.chunks_exact(LANES * WORD);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (sum, word) in sums.iter_mut().zip(chunk.as_chunks::<WORD>().0) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
        }
    }
    let rest = rest.iter().fold(0, |sum, byte| sum + u64::from(*byte));
    sums.into_iter().fold(rest, u64::wrapping_add)
}
