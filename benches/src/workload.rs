//! The workloads.

use arrow_arith::boolean::and;
use arrow_array::{Array, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, Scalar};
use arrow_cast::cast;
use arrow_ord::cmp;
use arrow_schema::{ArrowError, DataType};
use arrow_select::filter::filter_record_batch;
use unlade::{Expr, Query, all, col, lit};

/// A predicate over a table and what is put out of the rows it keeps.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its name, which says the columns and how many percent of the rows are kept.
    pub name: String,
    /// The columns that the predicate reads.
    pub reads: Vec<&'static str>,
    /// Whether it runs on the table with payload columns, and puts out all of them.
    pub payload: bool,
    predicate: Predicate,
}

#[derive(Clone, Debug)]
enum Predicate {
    /// `cast(column as bigint) > k`
    WidenedAbove(&'static str, i64),
    /// `column = k`
    Equals(&'static str, i32),
    /// `a > k1 and b < k2 and c <= k3`
    AllOfThree(i32, i32, i32),
    /// `column > k`
    Above(&'static str, Bound),
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    Int32(i32),
    Int64(i64),
    Float64(f64),
}

/// Every workload; the first five are those that targets are set for.
pub fn workloads() -> Vec<Workload> {
    use Predicate::{Above, AllOfThree, Equals, WidenedAbove};
    let workload = |name: String, reads: &[&'static str], predicate| Workload {
        name,
        reads: reads.to_vec(),
        payload: false,
        predicate,
    };
    let mut list = vec![
        workload("cast-1".into(), &["a"], WidenedAbove("a", 989)),
        workload("cast-50".into(), &["a"], WidenedAbove("a", 499)),
        workload("equals-0.1".into(), &["a"], Equals("a", 100)),
        workload("and3-1".into(), &["a", "b", "c"], AllOfThree(784, 215, 214)),
        workload(
            "and3-50".into(),
            &["a", "b", "c"],
            AllOfThree(205, 794, 793),
        ),
        workload("nulls-cast-1".into(), &["n"], WidenedAbove("n", 989)),
        workload("nulls-cast-50".into(), &["n"], WidenedAbove("n", 499)),
    ];
    for kept in [1, 10, 50, 90, 99] {
        let k = 1000 - 10 * kept - 1;
        list.push(workload(
            format!("int32-{kept}"),
            &["a"],
            Above("a", Bound::Int32(k)),
        ));
        list.push(workload(
            format!("int64-{kept}"),
            &["l"],
            Above("l", Bound::Int64(k.into())),
        ));
        list.push(workload(
            format!("float64-{kept}"),
            &["d"],
            Above("d", Bound::Float64(k.into())),
        ));
        list.push(Workload {
            payload: true,
            ..workload(
                format!("payload8-{kept}"),
                &["a"],
                Above("a", Bound::Int32(k)),
            )
        });
    }
    list
}

impl Workload {
    /// What Unlade is asked: the predicate, and its first column or all of them.
    pub fn query(&self) -> Query {
        let predicate = match self.predicate {
            Predicate::WidenedAbove(name, k) => col(name).cast(DataType::Int64).gt(lit(k)),
            Predicate::Equals(name, k) => col(name).eq(lit(k)),
            Predicate::AllOfThree(a, b, c) => col("a")
                .gt(lit(a))
                .and(col("b").lt(lit(b)))
                .and(col("c").le(lit(c))),
            Predicate::Above(name, bound) => col(name).gt(match bound {
                Bound::Int32(k) => lit(k),
                Bound::Int64(k) => lit(k),
                Bound::Float64(k) => lit(k),
            }),
        };
        let output: Expr = if self.payload {
            all()
        } else {
            col(self.reads[0])
        };
        Query::filter(predicate).select([output])
    }

    /// The same as SQL, of a table by its name.
    pub fn sql(&self, table: &str) -> String {
        let predicate = match self.predicate {
            Predicate::WidenedAbove(name, k) => format!("CAST({name} AS BIGINT) > {k}"),
            Predicate::Equals(name, k) => format!("{name} = {k}"),
            Predicate::AllOfThree(a, b, c) => format!("a > {a} AND b < {b} AND c <= {c}"),
            Predicate::Above(name, bound) => match bound {
                Bound::Int32(k) => format!("{name} > {k}"),
                Bound::Int64(k) => format!("{name} > {k}"),
                Bound::Float64(k) => format!("{name} > {k:?}"),
            },
        };
        let output = match self.payload {
            true => "*",
            false => self.reads[0],
        };
        format!("SELECT {output} FROM {table} WHERE {predicate}")
    }

    /// The same with arrow-rs, an operator at a time.
    pub fn with_arrow(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .expect("the table has the column")
        };
        let keep = match self.predicate {
            Predicate::WidenedAbove(name, k) => {
                let wide = cast(column(name), &DataType::Int64)?;
                cmp::gt(&wide, &Int64Array::new_scalar(k))?
            }
            Predicate::Equals(name, k) => cmp::eq(column(name), &Int32Array::new_scalar(k))?,
            Predicate::AllOfThree(a, b, c) => {
                let first = cmp::gt(column("a"), &Int32Array::new_scalar(a))?;
                let second = cmp::lt(column("b"), &Int32Array::new_scalar(b))?;
                let both = and(&first, &second)?;
                and(&both, &cmp::lt_eq(column("c"), &Int32Array::new_scalar(c))?)?
            }
            Predicate::Above(name, bound) => above(column(name), bound)?,
        };
        if self.payload {
            return filter_record_batch(batch, &keep);
        }
        let index = batch.schema_ref().index_of(self.reads[0])?;
        filter_record_batch(&batch.project(&[index])?, &keep)
    }
}

fn above(column: &dyn Array, bound: Bound) -> Result<BooleanArray, ArrowError> {
    match bound {
        Bound::Int32(k) => cmp::gt(&column, &Int32Array::new_scalar(k)),
        Bound::Int64(k) => cmp::gt(&column, &Int64Array::new_scalar(k)),
        Bound::Float64(k) => cmp::gt(&column, &Scalar::new(Float64Array::from(vec![k]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;
    use unlade::Semantics;

    #[test]
    fn unlade_and_arrow_do_the_same_work() {
        // Enough for tiles of every length.
        let (numbers, payload) = (table::numbers(300_000), table::payload(300_000));
        let runtime = unlade::runtime().unwrap();
        for workload in workloads() {
            let batch = if workload.payload { &payload } else { &numbers };
            let kernel = runtime
                .compile(&workload.query(), &batch.schema(), &Semantics::arrow())
                .unwrap();
            let ours = kernel.run(batch).unwrap().batch;
            let theirs = workload.with_arrow(batch).unwrap();
            assert!(ours.num_rows() > 0, "{}", workload.name);
            assert_eq!(ours.columns(), theirs.columns(), "{}", workload.name);
        }
    }
}
