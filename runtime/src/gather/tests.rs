use std::sync::Arc;

use arrow_array::builder::{
    BinaryViewBuilder, FixedSizeBinaryBuilder, FixedSizeListBuilder, Int32Builder, ListBuilder,
    MapBuilder, StringBuilder, StringDictionaryBuilder, StringRunBuilder, StringViewBuilder,
};
use arrow_array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationSecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalDayTime, IntervalDayTimeType, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalYearMonthType, Time32SecondType, Time64NanosecondType,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, DictionaryArray, Int32Array,
    Int64Array, LargeBinaryArray, LargeListArray, LargeStringArray, ListArray, ListViewArray,
    NullArray, PrimitiveArray, StringArray, StructArray, UnionArray,
};
use arrow_buffer::{OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::{DataType, Field, Fields, UnionFields};

use super::{Selection, gather};
use crate::block::Memory;
use crate::pool::{Pool, PoolOptions};

const ROWS: usize = 300;

fn nullable<V>(make: impl Fn(usize) -> V) -> impl Iterator<Item = Option<V>> {
    (0..ROWS).map(move |row| (row % 7 != 3).then(|| make(row)))
}

fn primitive<T: ArrowPrimitiveType>(make: impl Fn(usize) -> T::Native) -> ArrayRef {
    Arc::new(nullable(make).collect::<PrimitiveArray<T>>())
}

fn text(row: usize) -> String {
    // Lengths on both sides of every limit: empty, inlined in a view, longer than one short copy.
    "αb".repeat(row % 23)
}

fn lists() -> ListArray {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in 0..ROWS {
        for entry in 0..row % 4 {
            builder
                .values()
                .append_option((entry != 2).then(|| text(row)));
        }
        builder.append(row % 5 != 0);
    }
    builder.finish()
}

/// A column of every kind of Arrow type, with nulls wherever the type has them.
fn columns() -> Vec<ArrayRef> {
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(NullArray::new(ROWS)),
        Arc::new(nullable(|row| row % 3 == 0).collect::<BooleanArray>()),
        Arc::new(
            (0..ROWS)
                .map(|row| Some(row % 3 == 0))
                .collect::<BooleanArray>(),
        ),
        primitive::<Int8Type>(|row| row as i8),
        primitive::<Int16Type>(|row| row as i16),
        primitive::<Int32Type>(|row| row as i32),
        primitive::<Int64Type>(|row| row as i64),
        primitive::<UInt8Type>(|row| row as u8),
        primitive::<UInt16Type>(|row| row as u16),
        primitive::<UInt32Type>(|row| row as u32),
        primitive::<UInt64Type>(|row| row as u64),
        primitive::<Float16Type>(|row| half::f16::from_f32(row as f32)),
        primitive::<Float32Type>(|row| row as f32),
        primitive::<Float64Type>(|row| row as f64),
        primitive::<Date32Type>(|row| row as i32),
        primitive::<Date64Type>(|row| row as i64),
        primitive::<Time32SecondType>(|row| row as i32),
        primitive::<Time64NanosecondType>(|row| row as i64),
        primitive::<DurationSecondType>(|row| row as i64),
        primitive::<IntervalYearMonthType>(|row| row as i32),
        primitive::<IntervalDayTimeType>(|row| IntervalDayTime::new(row as i32, 1)),
        primitive::<IntervalMonthDayNanoType>(|row| IntervalMonthDayNano::new(1, 2, row as i64)),
        primitive::<Decimal32Type>(|row| row as i32),
        primitive::<Decimal64Type>(|row| row as i64),
        primitive::<Decimal256Type>(|row| i256::from_i128(row as i128)),
        Arc::new(
            nullable(|row| row as i128)
                .collect::<PrimitiveArray<Decimal128Type>>()
                .with_precision_and_scale(20, 3)
                .unwrap(),
        ),
        Arc::new(
            nullable(|row| row as i64)
                .collect::<PrimitiveArray<TimestampMicrosecondType>>()
                .with_timezone("+02:00"),
        ),
        Arc::new(nullable(text).collect::<StringArray>()),
        Arc::new(
            (0..ROWS)
                .map(|row| Some(text(row)))
                .collect::<StringArray>(),
        ),
        Arc::new(nullable(text).collect::<LargeStringArray>()),
        Arc::new(nullable(|row| text(row).into_bytes()).collect::<BinaryArray>()),
        Arc::new(nullable(|row| text(row).into_bytes()).collect::<LargeBinaryArray>()),
        Arc::new(lists()),
    ];

    let mut views = StringViewBuilder::new();
    let mut binary_views = BinaryViewBuilder::new();
    let mut wide = FixedSizeBinaryBuilder::new(5);
    let mut uuid = FixedSizeBinaryBuilder::new(16);
    let mut run_ends = StringRunBuilder::<Int32Type>::new();
    let mut dictionary = StringDictionaryBuilder::<Int16Type>::new();
    let mut pairs = FixedSizeListBuilder::new(Int32Builder::new(), 2);
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for row in 0..ROWS {
        let valid = row % 6 != 1;
        views.append_option(valid.then(|| text(row)));
        binary_views.append_option(valid.then(|| text(row)));
        dictionary.append_option(valid.then(|| text(row % 10)));
        run_ends.append_option(valid.then(|| text(row / 9)));
        if valid {
            wide.append_value([row as u8; 5]).unwrap();
            uuid.append_value([row as u8; 16]).unwrap();
        } else {
            wide.append_null();
            uuid.append_null();
        }
        pairs.values().append_value(row as i32);
        pairs.values().append_null();
        pairs.append(valid);
        for entry in 0..row % 3 {
            maps.keys().append_value(text(entry));
            maps.values().append_value(row as i32);
        }
        maps.append(valid).unwrap();
    }
    columns.push(Arc::new(views.finish()));
    columns.push(Arc::new(binary_views.finish()));
    columns.push(Arc::new(wide.finish()));
    columns.push(Arc::new(uuid.finish()));
    columns.push(Arc::new(run_ends.finish()));
    columns.push(Arc::new(dictionary.finish()));
    columns.push(Arc::new(pairs.finish()));
    columns.push(Arc::new(maps.finish()));

    let keys: arrow_array::UInt8Array = nullable(|row| (row % 11) as u8).collect();
    let values = Arc::new(Int64Array::from_iter_values(0..11));
    columns.push(Arc::new(DictionaryArray::new(keys, values)));

    let (field, offsets, values, nulls) = lists().into_parts();
    let offsets = offsets
        .iter()
        .map(|offset| i64::from(*offset))
        .collect::<Vec<_>>();
    columns.push(Arc::new(LargeListArray::new(
        field,
        OffsetBuffer::new(ScalarBuffer::from(offsets)),
        values,
        nulls,
    )));
    columns.push(Arc::new(ListViewArray::from(lists())));

    let fields = Fields::from(vec![
        Field::new("number", DataType::Int32, true),
        Field::new("texts", lists().data_type().clone(), true),
    ]);
    let children: Vec<ArrayRef> = vec![primitive::<Int32Type>(|row| row as i32), Arc::new(lists())];
    let nulls = primitive::<Int8Type>(|row| row as i8).nulls().cloned();
    columns.push(Arc::new(StructArray::new(fields, children, nulls)));
    columns.push(Arc::new(StructArray::new_empty_fields(ROWS, None)));

    let union_fields = UnionFields::try_new(
        [0, 1],
        [
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::Utf8, true),
        ],
    )
    .unwrap();
    let children: Vec<ArrayRef> = vec![
        primitive::<Int32Type>(|row| row as i32),
        Arc::new(nullable(text).collect::<StringArray>()),
    ];
    let ids: ScalarBuffer<i8> = (0..ROWS).map(|row| (row % 2) as i8).collect();
    columns.push(Arc::new(
        UnionArray::try_new(union_fields.clone(), ids.clone(), None, children.clone()).unwrap(),
    ));
    let offsets: ScalarBuffer<i32> = (0..ROWS as i32).collect();
    columns.push(Arc::new(
        UnionArray::try_new(union_fields, ids, Some(offsets), children).unwrap(),
    ));
    columns
}

/// Which rows to keep: none, all, few, most, runs.
fn masks(rows: usize) -> Vec<BooleanArray> {
    let make = |keep: &dyn Fn(usize) -> bool| (0..rows).map(|row| Some(keep(row))).collect();
    vec![
        make(&|_| false),
        make(&|_| true),
        make(&|row| row % 41 == 7),
        make(&|row| row % 41 != 7),
        make(&|row| row / 70 % 2 == 1),
        make(&|row| row % 2 == 0),
        make(&|row| row + 1 == rows),
    ]
}

fn memory() -> Memory {
    let options = PoolOptions {
        reserve: 1 << 20,
        ..PoolOptions::default()
    };
    Memory::of(&Pool::new(&options).unwrap())
}

fn gathered(array: &ArrayRef, mask: &BooleanArray) -> (ArrayRef, u64) {
    let packed: BooleanArray = mask.iter().collect();
    let selection = Selection::new(packed.values().values(), mask.len());
    let mut copied = 0;
    let out = gather(array, &selection, &memory(), &mut copied).unwrap();
    out.to_data().validate_full().unwrap();
    (out, copied)
}

#[test]
fn every_type_equals_arrow_select() {
    for column in columns() {
        for (offset, len) in [
            (0, ROWS),
            (1, ROWS - 1),
            (67, 130),
            (9, 64),
            (290, 10),
            (5, 0),
        ] {
            let slice = column.slice(offset, len);
            for mask in masks(len) {
                let expected = arrow_select::filter::filter(&slice, &mask).unwrap();
                let (actual, _) = gathered(&slice, &mask);
                assert_eq!(
                    &actual,
                    &expected,
                    "{} from {offset}, {len} rows, {} kept",
                    column.data_type(),
                    mask.true_count()
                );
            }
        }
    }
}

#[test]
fn bytes_copied_are_those_of_the_output() {
    for column in columns() {
        // What these refer to is shared, so that their own size does not follow from the array's.
        let sharing = matches!(
            column.data_type(),
            DataType::Utf8View
                | DataType::BinaryView
                | DataType::ListView(_)
                | DataType::Dictionary(_, _)
        );
        if sharing {
            continue;
        }
        for mask in masks(ROWS) {
            let (out, copied) = gathered(&column, &mask);
            if mask.true_count() == ROWS {
                assert_eq!(copied, 0, "{} handed on", column.data_type());
                assert!(Arc::ptr_eq(&out, &column));
            } else {
                let expected = out.to_data().get_slice_memory_size().unwrap() as u64;
                assert_eq!(copied, expected, "{}", column.data_type());
            }
        }
    }
}

#[test]
fn dictionaries_and_view_data_are_shared() {
    let keys = Int32Array::from_iter_values((0..ROWS as i32).map(|row| row % 3));
    let values: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let array: ArrayRef = Arc::new(DictionaryArray::new(keys, Arc::clone(&values)));
    let none = BooleanArray::from(vec![false; ROWS]);
    let (out, copied) = gathered(&array, &none);
    let out = out
        .as_any()
        .downcast_ref::<DictionaryArray<Int32Type>>()
        .unwrap();
    assert!(
        Arc::ptr_eq(out.values(), &values),
        "an IPC file allows one dictionary only"
    );
    assert_eq!(copied, 0);

    let few = BooleanArray::from_iter((0..ROWS).map(|row| Some(row < 10)));
    assert_eq!(gathered(&array, &few).1, 40);
}

#[test]
fn a_key_outside_its_dictionary_is_an_error() {
    // Built key by key, the array would be refused; so lengthen the keys of a valid one.
    let keys = Int32Array::from(vec![0, 1, 1, 0]);
    let array = DictionaryArray::new(keys, Arc::new(StringArray::from(vec!["a", "b"])));
    let shorter = arrow_array::make_array(array.to_data());
    let bad = arrow_buffer::Buffer::from_vec(vec![0i32, 5, 1]);
    let error = crate::arrays::from_keys(&shorter, 3, bad, None).unwrap_err();
    assert!(error.to_string().contains("malformed data"), "{error}");
}

#[test]
fn values_without_a_byte_keep_their_rows() {
    let values = arrow_buffer::Buffer::default();
    let empty = arrow_array::FixedSizeBinaryArray::try_new_with_len(0, values, None, 10).unwrap();
    let mask: BooleanArray = (0..10).map(|row| Some(row % 3 == 0)).collect();
    let (kept, copied) = gathered(&(Arc::new(empty) as ArrayRef), &mask);
    assert_eq!(
        (kept.len(), kept.data_type(), copied),
        (4, &DataType::FixedSizeBinary(0), 0)
    );
}
