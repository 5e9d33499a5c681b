//! The table of casts against arrow-rs: every pair that the arrow rules have, on values at the
//! edges, computed by the oracle and by `arrow-cast`.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, make_array};
use arrow_buffer::Buffer;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use unlade_expr::*;
use unlade_program::Imm;

const INTEGERS: &[i128] = &[
    0,
    1,
    -1,
    5,
    -5,
    49,
    50,
    -150,
    7,
    99,
    100,
    127,
    128,
    -128,
    -129,
    255,
    256,
    999,
    32_767,
    32_768,
    -32_769,
    65_536,
    86_399,
    86_400,
    -86_401,
    16_777_217,
    2_147_483_647,
    2_147_483_648,
    -2_147_483_649,
    4_294_967_296,
    1_600_000_000_123,
    9_007_199_254_740_993,
    86_400_000_000_001,
    -86_400_000_000_001,
    9_223_372_036_854_775_807,
    -9_223_372_036_854_775_808,
    18_446_744_073_709_551_615,
];

const FLOATS: &[f64] = &[
    0.0,
    -0.0,
    0.5,
    -0.5,
    0.99,
    1.5,
    -1.5,
    2.5,
    -2.5,
    1.005,
    127.9,
    -128.9,
    128.0,
    255.5,
    -1.0,
    2_147_483_647.5,
    2_147_483_648.0,
    9.2e18,
    9_223_372_036_854_775_808.0,
    -9_223_372_036_854_775_808.0,
    1.8e19,
    1e22,
    2e38,
    1e37,
    1e39,
    -1e300,
    f64::MIN_POSITIVE,
    f64::MAX,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

/// Days that chrono, which arrow-rs reads timestamps with, has: years to 262,142 either side.
const MOST_DAYS: i128 = 95_000_000;

#[test]
fn the_arrow_rules_are_those_of_arrow_rs() {
    let types = computable_types();
    let mut compared = 0;
    for from in &types {
        let values = edge_values(from);
        for to in types.iter().filter(|to| *to != from) {
            let Some(row) = cast_row(from, to, Dialect::Arrow) else {
                assert!(!can_cast(from, to, OnError::Trap, Dialect::Arrow));
                continue;
            };
            for value in &values {
                if !arrow_rs_is_defined(from, to, value) {
                    continue;
                }
                for mode in [OnError::Trap, OnError::Null] {
                    assert!(row.allows(from, to, mode));
                    let ours = by_the_oracle(value, to, mode, Dialect::Arrow);
                    let theirs = by_arrow_rs(value, to, mode);
                    assert!(
                        ours == theirs || is_nan(&ours) && is_nan(&theirs),
                        "{value:?} to {to}, {mode}: {ours:?}, arrow-rs {theirs:?}"
                    );
                    let failed = !matches!(ours, Some(Some(_)));
                    assert!(!failed || row.may_fail(from, to), "{value:?} to {to}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 5_000, "only {compared} casts were compared");
}

/// Whether a row that can fail does so on some edge value, so that none is called fallible in vain.
#[test]
fn what_may_fail_does() {
    for row in CASTS {
        for dialect in row.dialects {
            let pairs = computable_types().into_iter().flat_map(|from| {
                computable_types()
                    .into_iter()
                    .map(move |to| (from.clone(), to))
            });
            for (from, to) in pairs {
                let applies = cast_row(&from, &to, *dialect)
                    .is_some_and(|found| found.computes == row.computes);
                let shows = row.modes.contains(&OnError::Trap);
                if !applies || !shows || !row.may_fail(&from, &to) {
                    continue;
                }
                let fails = edge_values(&from)
                    .iter()
                    .any(|value| by_the_oracle(value, &to, OnError::Trap, *dialect).is_none());
                assert!(fails, "no edge value of {from} fails to become {to}");
            }
        }
    }
}

/// Where arrow-rs neither overflows unchecked nor leaves chrono's calendar, which it consults for
/// the date of a timestamp and to give a zone to what has none.
fn arrow_rs_is_defined(from: &DataType, to: &DataType, value: &ArrayRef) -> bool {
    let ticks_per_day = match from {
        DataType::Date32 => 1,
        DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => 86_400_000,
        DataType::Timestamp(TimeUnit::Second, _) => 86_400,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 86_400_000_000,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 86_400_000_000_000,
        _ => return true,
    };
    let ticks = scalar(value).expect("not null").as_integer();
    let zoned = |data_type: &DataType| matches!(data_type, DataType::Timestamp(_, Some(_)));
    let by_calendar = match to {
        DataType::Date32 => matches!(from, DataType::Timestamp(..)),
        _ => zoned(to) && !zoned(from),
    };
    let multiplies_unchecked = matches!((from, to), (DataType::Date64, DataType::Timestamp(..)));
    (!by_calendar || (ticks / ticks_per_day).abs() < MOST_DAYS)
        && (!multiplies_unchecked || i64::try_from(ticks * 1_000_000).is_ok())
}

/// Arrays of one value each.
fn edge_values(data_type: &DataType) -> Vec<ArrayRef> {
    match data_type {
        DataType::Boolean => [true, false]
            .into_iter()
            .map(|value| Arc::new(BooleanArray::from(vec![value])) as ArrayRef)
            .collect(),
        DataType::Float32 => FLOATS
            .iter()
            .map(|value| of_bytes(data_type, &(*value as f32).to_le_bytes()))
            .collect(),
        DataType::Float64 => FLOATS
            .iter()
            .map(|value| of_bytes(data_type, &value.to_le_bytes()))
            .collect(),
        DataType::Decimal128(precision, _) => {
            let greatest = 10_i128.pow(u32::from(*precision)) - 1;
            INTEGERS
                .iter()
                .copied()
                .filter(|value| value.abs() <= greatest)
                .chain([greatest, -greatest, greatest / 2])
                .map(|value| of_bytes(data_type, &value.to_le_bytes()))
                .collect()
        }
        _ => {
            let width = data_type.primitive_width().expect("a fixed width");
            let bits = 8 * width as u32;
            let unsigned = matches!(
                data_type,
                DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64
            );
            let (least, most) = match unsigned {
                true => (0, (1_i128 << bits) - 1),
                false => (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1),
            };
            INTEGERS
                .iter()
                .copied()
                .filter(|value| (least..=most).contains(value))
                .chain([least, most])
                .map(|value| of_bytes(data_type, &value.to_le_bytes()[..width]))
                .collect()
        }
    }
}

fn of_bytes(data_type: &DataType, bytes: &[u8]) -> ArrayRef {
    let data = ArrayData::builder(data_type.clone())
        .len(1)
        .add_buffer(Buffer::from(bytes))
        .align_buffers(true)
        .build()
        .expect("an array of one value");
    make_array(data)
}

/// The one value of an array, as the oracle reads a column.
fn scalar(array: &ArrayRef) -> Option<Imm> {
    let column = Typed {
        node: Node::Column(0),
        data_type: array.data_type().clone(),
        nullable: true,
        ordinal: 0,
        span: None,
    };
    unlade_naive::evaluate(&column, &batch(array), 0).expect("a column does not trap")
}

fn batch(array: &ArrayRef) -> RecordBatch {
    let field = Field::new("x", array.data_type().clone(), true);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::clone(array)])
        .expect("a batch of one column")
}

fn is_nan(value: &Option<Option<Imm>>) -> bool {
    match value {
        Some(Some(imm)) => match imm.ty() {
            unlade_program::Ty::F32 => imm.as_f32().is_nan(),
            unlade_program::Ty::F64 => imm.as_f64().is_nan(),
            _ => false,
        },
        _ => false,
    }
}

/// The value cast by arrow-rs; `None` where that is an error.
fn by_arrow_rs(value: &ArrayRef, to: &DataType, mode: OnError) -> Option<Option<Imm>> {
    let options = CastOptions {
        safe: mode == OnError::Null,
        ..CastOptions::default()
    };
    let to = by_offset(to);
    let from = by_offset(value.data_type());
    let data = value.to_data().into_builder().data_type(from);
    let value = make_array(data.build().expect("an array of a like type"));
    let cast = cast_with_options(&value, &to, &options).ok()?;
    assert_eq!(*cast.data_type(), to);
    Some(scalar(&cast))
}

/// UTC as an offset: arrow-rs knows names of zones only with a feature.
fn by_offset(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        other => other.clone(),
    }
}

/// The value cast by the check's tree and the oracle; `None` where that traps.
fn by_the_oracle(
    value: &ArrayRef,
    to: &DataType,
    mode: OnError,
    dialect: Dialect,
) -> Option<Option<Imm>> {
    let rules = match dialect {
        Dialect::Arrow => Semantics::arrow(),
        Dialect::Spark => Semantics::spark_ansi(),
    };
    let batch = batch(value);
    let query = Query::all().select([col("x").cast(to.clone()).alias("y")]);
    let checked = check(&query, &batch.schema(), &rules.with_cast(mode))
        .unwrap_or_else(|error| panic!("{error}"));
    let tree = checked.trees().next().expect("the output is computed");
    let result = unlade_naive::evaluate(tree, &batch, 0).ok()?;
    assert!(
        result.is_some() || tree.nullable,
        "{value:?} to {to}, {mode}"
    );
    Some(result)
}
