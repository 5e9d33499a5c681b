//! How fast the machine reads: the sum of every column that a predicate reads.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;

/// Sums the named columns, wrapping; nulls' bits count like any others.
pub fn sum(batch: &RecordBatch, columns: &[&str]) -> u64 {
    columns
        .iter()
        .map(|name| {
            let column = batch
                .column_by_name(name)
                .expect("the workload names its columns");
            match column.data_type() {
                DataType::Int32 => {
                    sum_of(column.as_primitive::<Int32Type>().values(), |v| v as u64)
                }
                DataType::Int64 => {
                    sum_of(column.as_primitive::<Int64Type>().values(), |v| v as u64)
                }
                DataType::Float64 => {
                    sum_of(column.as_primitive::<Float64Type>().values(), f64::to_bits)
                }
                other => unreachable!("no workload reads {other}"),
            }
        })
        .fold(0, u64::wrapping_add)
}

/// Eight sums side by side, so that additions do not wait for each other.
fn sum_of<T: Copy>(values: &[T], number: impl Fn(T) -> u64) -> u64 {
    let mut sums = [0_u64; 8];
    let chunks = values.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(number(*value));
        }
    }
    let rest = rest
        .iter()
        .map(|value| number(*value))
        .fold(0, u64::wrapping_add);
    sums.into_iter().fold(rest, u64::wrapping_add)
}
