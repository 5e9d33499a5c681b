//! The data: columns of uniform numbers below a thousand, the same in every run.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, RecordBatch, StringArray, UInt16Array,
};

/// Exclusive upper bound of the numbers.
pub const BOUND: u64 = 1000;

/// A table of [`BOUND`]ed numbers: `a`, `b`, `c` as int32; `n` as `a` with every tenth row null;
/// `l` as int64; `d` as float64.
pub fn numbers(rows: usize) -> RecordBatch {
    let mut random = Random(42);
    let mut ints = || -> Vec<i32> { (0..rows).map(|_| random.below(BOUND) as i32).collect() };
    let (a, b, c, l, d) = (ints(), ints(), ints(), ints(), ints());
    let nulled = a
        .iter()
        .enumerate()
        .map(|(row, value)| (row % 10 != 3).then_some(*value));
    let n: ArrayRef = Arc::new(Int32Array::from_iter(nulled));
    let l: ArrayRef = Arc::new(Int64Array::from_iter_values(l.into_iter().map(i64::from)));
    let d: ArrayRef = Arc::new(Float64Array::from_iter_values(d.into_iter().map(f64::from)));
    let int32 = |values: Vec<i32>| Arc::new(Int32Array::from(values)) as ArrayRef;
    let columns = [
        ("a", int32(a)),
        ("b", int32(b)),
        ("c", int32(c)),
        ("n", n),
        ("l", l),
        ("d", d),
    ];
    RecordBatch::try_from_iter(columns).expect("columns are of one length")
}

/// A table of `a` and eight payload columns of mixed types, strings among them.
pub fn payload(rows: usize) -> RecordBatch {
    let mut random = Random(7);
    let a: Vec<i32> = (0..rows).map(|_| random.below(BOUND) as i32).collect();
    let words = ["alpha", "be", "gamma ray", "delta of a river", ""];
    let columns: [(&str, ArrayRef); 9] = [
        ("a", Arc::new(Int32Array::from(a.clone()))),
        (
            "p1",
            Arc::new(Int64Array::from_iter_values(
                a.iter().map(|v| i64::from(*v)),
            )),
        ),
        (
            "p2",
            Arc::new(Float64Array::from_iter_values(
                a.iter().map(|v| f64::from(*v)),
            )),
        ),
        (
            "p3",
            Arc::new(Float32Array::from_iter_values(a.iter().map(|v| *v as f32))),
        ),
        ("p4", Arc::new(Date32Array::from(a.clone()))),
        (
            "p5",
            Arc::new(BooleanArray::from_iter(a.iter().map(|v| Some(v % 3 == 0)))),
        ),
        (
            "p6",
            Arc::new(Decimal128Array::from_iter_values(
                a.iter().map(|v| i128::from(*v)),
            )),
        ),
        (
            "p7",
            Arc::new(UInt16Array::from_iter_values(a.iter().map(|v| *v as u16))),
        ),
        (
            "p8",
            Arc::new(StringArray::from_iter_values(
                a.iter().map(|v| words[*v as usize % words.len()]),
            )),
        ),
    ];
    RecordBatch::try_from_iter(columns).expect("columns are of one length")
}

/// Slices of a batch, in order.
pub fn sliced(batch: &RecordBatch, rows: usize) -> Vec<RecordBatch> {
    (0..batch.num_rows())
        .step_by(rows)
        .map(|start| batch.slice(start, rows.min(batch.num_rows() - start)))
        .collect()
}

/// Xorshift64*, seeded: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}
