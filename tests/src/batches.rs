//! Random columns: special values, nulls, slices at any bit offset, dictionaries.

use std::sync::Arc;

use arrow_array::types::{Int8Type, Int32Type, UInt16Type};
use arrow_array::{ArrayRef, BooleanArray, DictionaryArray, PrimitiveArray, RecordBatch};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use unlade_expr::physical_type;
use unlade_naive::generate::{Rng, random_value};
use unlade_program::{Imm, Ty};

use crate::any_array::random_array;
use crate::special_values::special_values;

/// A batch of random values for a schema of any types.
///
/// Every column is a slice of a longer array, starting at a bit offset of its own, so that nothing
/// may take an array's first byte for its first row.
pub fn random_batch(schema: &SchemaRef, rows: usize, rng: &mut Rng) -> RecordBatch {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let (before, after) = (rng.below(70), rng.below(5));
            let nulls = match field.is_nullable() {
                true => rng.pick(&[0, 5, 50, 95]),
                false => 0,
            };
            let whole = random_column(field.data_type(), before + rows + after, nulls, rng);
            whole.slice(before, rows)
        })
        .collect();
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .expect("columns are made for the schema")
}

/// A number of rows: mostly several thousand, sometimes none, one, or about a tile.
pub fn random_rows(rng: &mut Rng) -> usize {
    match rng.below(20) {
        0 => 0,
        1 => 1,
        2 => rng.below(130),
        3 => 4096 + rng.below(3) - 1,
        4..=16 => 4096 + rng.below(1000),
        _ => 8192 + rng.below(3000),
    }
}

/// The schema of some columns.
pub fn schema_of(fields: impl IntoIterator<Item = Field>) -> SchemaRef {
    Arc::new(Schema::new(fields.into_iter().collect::<Vec<_>>()))
}

/// A random scalar of a logical type: within the precision of a decimal, else any value at all.
pub fn random_scalar(data_type: &DataType, rng: &mut Rng) -> Imm {
    let value = random_value(ty_of(data_type), rng);
    match data_type {
        DataType::Decimal128(precision, _) => {
            let limit = 10i128.pow((*precision).into());
            Imm::integer(Ty::I128, value.as_integer() % limit).expect("an i128")
        }
        _ => value,
    }
}

/// The values of a logical type at which operations differ: borders of types and their neighbours,
/// zeros and NaNs of both signs, exact halves; few enough that those of two columns meet in a row.
pub fn special_scalars(data_type: &DataType) -> Vec<Imm> {
    let DataType::Decimal128(precision, _) = data_type else {
        return special_values(ty_of(data_type));
    };
    let limit = 10i128.pow((*precision).into());
    // Halves of the last digit kept, whichever that is, and what lies next to them.
    let halves = (0..*precision).flat_map(|digit| {
        let half = 5 * 10i128.pow(digit.into());
        [half - 1, half, half + 1, 3 * half]
    });
    let values = halves
        .chain([0, 1, limit - 1])
        .filter(|value| *value < limit);
    let values = values.flat_map(|value| [value, -value]);
    values
        .map(|value| Imm::integer(Ty::I128, value).expect("an i128"))
        .collect()
}

/// A scalar on which hardly any operation fails: from 1 to 9, a little more for floats.
pub fn tame_scalar(data_type: &DataType, rng: &mut Rng) -> Imm {
    let digit = 1 + rng.below(9) as i128;
    match (data_type, ty_of(data_type)) {
        (_, Ty::Mask) => Imm::mask(digit % 2 == 0),
        (_, Ty::F32) => Imm::f32(digit as f32 + 0.25),
        (_, Ty::F64) => Imm::f64(digit as f64 + 0.25),
        (DataType::Decimal128(precision, scale), ty) => {
            // The digit before the point, where there is room for one.
            let exponent = scale.unsigned_abs().min(precision - 1);
            Imm::integer(ty, digit * 10i128.pow(exponent.into())).expect("an i128")
        }
        (_, ty) => Imm::integer(ty, digit).expect("every integer type holds a digit"),
    }
}

/// A column of a type: of one in three, every value is random; of the others, one in sixteen.
fn random_column(
    data_type: &DataType,
    rows: usize,
    null_percent: usize,
    rng: &mut Rng,
) -> ArrayRef {
    if physical_type(data_type).is_none() {
        return random_array(data_type, rows, null_percent, rng);
    }
    if let DataType::Dictionary(keys, values) = data_type {
        return random_dictionary(keys, values, rows, null_percent, rng);
    }
    let wild_percent = rng.pick(&[100, 6, 6]);
    let special = special_scalars(data_type);
    let values: Vec<Imm> = (0..rows)
        .map(|_| match rng.chance(wild_percent) {
            true if rng.chance(50) => special[rng.below(special.len())],
            true => random_scalar(data_type, rng),
            false => tame_scalar(data_type, rng),
        })
        .collect();
    array_of(data_type, &values, random_nulls(rows, null_percent, rng))
}

fn random_nulls(rows: usize, percent: usize, rng: &mut Rng) -> Option<NullBuffer> {
    (percent > 0).then(|| (0..rows).map(|_| !rng.chance(percent)).collect())
}

fn random_dictionary(
    keys: &DataType,
    values: &DataType,
    rows: usize,
    null_percent: usize,
    rng: &mut Rng,
) -> ArrayRef {
    let entries = 1 + rng.below(60);
    let null_entries = rng.pick(&[0, 10]);
    // Sliced too: the dictionary need not begin where its buffer does.
    let values = random_column(values, entries + 3, null_entries, rng).slice(3, entries);
    let nulls = random_nulls(rows, null_percent, rng);
    macro_rules! dictionary {
        ($key:ty) => {{
            let keys = (0..rows).map(|_| rng.below(entries) as _).collect();
            let keys = PrimitiveArray::<$key>::new(keys, nulls);
            Arc::new(DictionaryArray::try_new(keys, values).expect("keys are in bounds"))
        }};
    }
    match keys {
        DataType::Int8 => dictionary!(Int8Type),
        DataType::Int32 => dictionary!(Int32Type),
        DataType::UInt16 => dictionary!(UInt16Type),
        other => panic!("tests make no dictionaries with keys of type {other}"),
    }
}

fn ty_of(data_type: &DataType) -> Ty {
    physical_type(data_type).unwrap_or_else(|| panic!("there are no scalars of type {data_type}"))
}

/// An array of scalars of a type that expressions compute with.
pub fn array_of(data_type: &DataType, values: &[Imm], nulls: Option<NullBuffer>) -> ArrayRef {
    if *data_type == DataType::Boolean {
        let bits: BooleanBuffer = values.iter().map(|value| value.as_mask()).collect();
        return Arc::new(BooleanArray::new(bits, nulls));
    }
    let width = ty_of(data_type).bits() as usize / 8;
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes().into_iter().take(width))
        .collect();
    // A vector of bytes is aligned for bytes alone; Arrow wants more.
    let aligned = Buffer::from_slice_ref(&bytes);
    let data = ArrayData::builder(data_type.clone())
        .len(values.len())
        .nulls(nulls)
        .add_buffer(aligned)
        .build()
        .expect("a buffer of the type's width");
    arrow_array::make_array(data)
}

/// These rows, in this order, in buffers of their own that start at their first bit.
pub fn take_rows(batch: &RecordBatch, rows: &[usize]) -> RecordBatch {
    let indices: arrow_array::UInt64Array = rows.iter().map(|&row| row as u64).collect();
    arrow_select::take::take_record_batch(batch, &indices).expect("rows of the batch")
}
