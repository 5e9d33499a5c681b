//! The demonstration's queries with arrow-rs, an operator at a time.

use std::sync::Arc;

use arrow_arith::boolean::and;
use arrow_arith::numeric::{mul, sub};
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    Scalar,
};
use arrow_cast::cast;
use arrow_ord::cmp::{gt, gt_eq, lt, lt_eq};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use arrow_select::filter::filter_record_batch;

/// Days from 1970 to the first of January of 1994 and of 1995.
const YEAR_1994: i32 = 8766;
const YEAR_1995: i32 = 9131;

/// `cast(l_linenumber as bigint) > 1`
pub(super) fn filter(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let wide = cast(column(batch, "l_linenumber")?, &DataType::Int64)?;
    let keep = gt(&wide, &Int64Array::new_scalar(1))?;
    filter_record_batch(batch, &keep)
}

/// TPC-H Q6's predicate, and the two columns that its sum needs.
pub(super) fn q6(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let shipped = column(batch, "l_shipdate")?;
    let discount = column(batch, "l_discount")?;
    let mut keep = gt_eq(shipped, &Date32Array::new_scalar(YEAR_1994))?;
    let conjuncts: [BooleanArray; 4] = [
        lt(shipped, &Date32Array::new_scalar(YEAR_1995))?,
        gt_eq(discount, &hundredths(discount, 5)?)?,
        lt_eq(discount, &hundredths(discount, 7)?)?,
        lt(
            column(batch, "l_quantity")?,
            &hundredths(column(batch, "l_quantity")?, 2400)?,
        )?,
    ];
    for conjunct in &conjuncts {
        keep = and(&keep, conjunct)?;
    }
    let schema = batch.schema();
    let wanted = [
        schema.index_of("l_extendedprice")?,
        schema.index_of("l_discount")?,
    ];
    filter_record_batch(&batch.project(&wanted)?, &keep)
}

/// `l_orderkey, l_extendedprice * (1 - l_discount)` in doubles, where `l_tax > 0`.
pub(super) fn projection(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let tax = column(batch, "l_tax")?;
    let kept = filter_record_batch(batch, &gt(tax, &hundredths(tax, 0)?)?)?;
    let price = cast(column(&kept, "l_extendedprice")?, &DataType::Float64)?;
    let discount = cast(column(&kept, "l_discount")?, &DataType::Float64)?;
    let revenue = mul(&price, &sub(&Float64Array::new_scalar(1.0), &discount)?)?;
    let schema = kept.schema();
    let fields = vec![
        schema.field_with_name("l_orderkey")?.clone(),
        Field::new(
            "revenue",
            DataType::Float64,
            schema.field_with_name("l_discount")?.is_nullable(),
        ),
    ];
    let columns: Vec<ArrayRef> = vec![column(&kept, "l_orderkey")?.clone(), revenue];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    Ok(batch.column(batch.schema_ref().index_of(name)?))
}

/// A decimal of a column's own type, counted in hundredths.
fn hundredths(like: &ArrayRef, count: i128) -> Result<Scalar<Decimal128Array>, ArrowError> {
    let value = Decimal128Array::from(vec![count]);
    Ok(Scalar::new(value.with_data_type(like.data_type().clone())))
}
