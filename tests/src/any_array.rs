//! Random arrays of every Arrow type.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryViewBuilder, FixedSizeBinaryBuilder, GenericBinaryBuilder, GenericStringBuilder,
    StringViewBuilder,
};
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type, RunEndIndexType};
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, FixedSizeListArray, GenericListArray,
    GenericListViewArray, MapArray, NullArray, OffsetSizeTrait, PrimitiveArray, RunArray,
    StructArray, UnionArray, make_array,
};
use arrow_buffer::{ArrowNativeType, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_data::ArrayData;
use arrow_schema::{
    DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit, UnionFields, UnionMode,
};
use unlade_naive::generate::Rng;

/// One of every Arrow type, and a few nested in each other.
pub fn every_type() -> Vec<DataType> {
    use DataType::*;
    let mut types = vec![
        Null,
        Boolean,
        Int8,
        Int16,
        Int32,
        Int64,
        UInt8,
        UInt16,
        UInt32,
        UInt64,
        Float16,
        Float32,
        Float64,
        Date32,
        Date64,
        Utf8,
        LargeUtf8,
        Utf8View,
        Binary,
        LargeBinary,
        BinaryView,
        Decimal32(9, 2),
        Decimal64(18, 2),
        Decimal128(38, 10),
        Decimal256(76, 10),
    ];
    types.extend([TimeUnit::Second, TimeUnit::Millisecond].map(Time32));
    types.extend([TimeUnit::Microsecond, TimeUnit::Nanosecond].map(Time64));
    for unit in [
        TimeUnit::Second,
        TimeUnit::Millisecond,
        TimeUnit::Microsecond,
        TimeUnit::Nanosecond,
    ] {
        types.extend([Timestamp(unit, None), Duration(unit)]);
        types.push(Timestamp(unit, Some("Europe/Berlin".into())));
    }
    types.extend(
        [
            IntervalUnit::YearMonth,
            IntervalUnit::DayTime,
            IntervalUnit::MonthDayNano,
        ]
        .map(Interval),
    );
    types.extend([1, 3, 16].map(FixedSizeBinary));

    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    // Arrow's run arrays call their children so.
    let runs = |ends, values| {
        let ends = Arc::new(Field::new("run_ends", ends, false));
        RunEndEncoded(ends, Arc::new(Field::new("values", values, true)))
    };
    let pair = Fields::from(vec![
        Field::new("number", Int32, true),
        Field::new("text", Utf8, true),
    ]);
    let entries = Struct(Fields::from(vec![
        Field::new("keys", Utf8, false),
        Field::new("values", Int64, true),
    ]));
    let either = UnionFields::try_new(
        [0, 5],
        [
            Field::new("number", Int64, true),
            Field::new("text", Utf8, true),
        ],
    )
    .expect("two type ids for two fields");
    types.extend([
        List(item(Int32)),
        LargeList(item(Utf8)),
        ListView(item(Int16)),
        LargeListView(item(Utf8View)),
        FixedSizeList(item(Int16), 3),
        Struct(pair.clone()),
        Map(Arc::new(Field::new("entries", entries, false)), false),
        Union(either.clone(), UnionMode::Sparse),
        Union(either, UnionMode::Dense),
        runs(Int32, Utf8),
        runs(Int16, Int64),
        Dictionary(Box::new(Int8), Box::new(Utf8)),
        Dictionary(Box::new(Int32), Box::new(Float64)),
        List(item(Struct(pair))),
        Struct(Fields::from(vec![Field::new(
            "list",
            List(item(Boolean)),
            true,
        )])),
    ]);
    types
}

/// An array of a type with so many nulls in a hundred, where the type has nulls of its own.
///
/// # Panics
/// On types that are not among [`every_type`] nor nested of them.
pub fn random_array(
    data_type: &DataType,
    len: usize,
    null_percent: usize,
    rng: &mut Rng,
) -> ArrayRef {
    use DataType::*;
    let nulls = |rng: &mut Rng| -> Option<NullBuffer> {
        (null_percent > 0).then(|| (0..len).map(|_| !rng.chance(null_percent)).collect())
    };
    let text = |rng: &mut Rng| (!rng.chance(null_percent)).then(|| random_text(rng));
    match data_type {
        Null => Arc::new(NullArray::new(len)),
        Boolean => {
            let bits = (0..len).map(|_| rng.chance(50)).collect();
            Arc::new(BooleanArray::new(bits, nulls(rng)))
        }
        Utf8 => texts::<i32>((0..len).map(|_| text(rng))),
        LargeUtf8 => texts::<i64>((0..len).map(|_| text(rng))),
        Utf8View => {
            let mut builder = StringViewBuilder::new();
            (0..len).for_each(|_| builder.append_option(text(rng)));
            Arc::new(builder.finish())
        }
        Binary => binaries::<i32>((0..len).map(|_| text(rng))),
        LargeBinary => binaries::<i64>((0..len).map(|_| text(rng))),
        BinaryView => {
            let mut builder = BinaryViewBuilder::new();
            (0..len).for_each(|_| builder.append_option(text(rng)));
            Arc::new(builder.finish())
        }
        FixedSizeBinary(width) => {
            let mut builder = FixedSizeBinaryBuilder::new(*width);
            for _ in 0..len {
                let bytes: Vec<u8> = (0..*width).map(|_| rng.next() as u8).collect();
                match rng.chance(null_percent) {
                    true => builder.append_null(),
                    false => builder.append_value(bytes).expect("bytes of the width"),
                }
            }
            Arc::new(builder.finish())
        }
        List(item) => random_list::<i32>(item, len, nulls(rng), rng),
        LargeList(item) => random_list::<i64>(item, len, nulls(rng), rng),
        ListView(item) => random_list_view::<i32>(item, len, nulls(rng), rng),
        LargeListView(item) => random_list_view::<i64>(item, len, nulls(rng), rng),
        FixedSizeList(item, size) => {
            let values = random_array(item.data_type(), len * *size as usize, 10, rng);
            Arc::new(FixedSizeListArray::new(
                item.clone(),
                *size,
                values,
                nulls(rng),
            ))
        }
        Struct(fields) => Arc::new(StructArray::new(
            fields.clone(),
            fields
                .iter()
                .map(|field| random_field(field, len, rng))
                .collect(),
            nulls(rng),
        )),
        Map(entries, sorted) => {
            let offsets = random_offsets::<i32>(len, rng);
            let Struct(fields) = entries.data_type() else {
                panic!("the entries of a map are a struct");
            };
            let count = offsets[len].as_usize();
            let columns = fields
                .iter()
                .map(|field| random_field(field, count, rng))
                .collect();
            let pairs = StructArray::new(fields.clone(), columns, None);
            Arc::new(MapArray::new(
                entries.clone(),
                offsets,
                pairs,
                nulls(rng),
                *sorted,
            ))
        }
        Union(fields, mode) => random_union(fields, *mode, len, rng),
        RunEndEncoded(run_ends, values) => match run_ends.data_type() {
            Int16 => random_runs::<Int16Type>(values, len, rng),
            Int32 => random_runs::<Int32Type>(values, len, rng),
            _ => random_runs::<Int64Type>(values, len, rng),
        },
        Dictionary(keys, values) => {
            let entries = 20;
            let values = random_array(values, entries, 10, rng);
            match keys.as_ref() {
                Int8 => dictionary::<Int8Type>(entries, len, nulls(rng), values, rng),
                _ => dictionary::<Int32Type>(entries, len, nulls(rng), values, rng),
            }
        }
        fixed => {
            let width = fixed.primitive_width().expect("a type of fixed width");
            let mut bytes: Vec<u8> = (0..len * width).map(|_| rng.next() as u8).collect();
            // Within the precision of any decimal, and within a day.
            let narrow = matches!(
                fixed,
                Decimal32(..)
                    | Decimal64(..)
                    | Decimal128(..)
                    | Decimal256(..)
                    | Time32(_)
                    | Time64(_)
            );
            if narrow {
                for value in bytes.chunks_mut(width) {
                    value[2..].fill(0);
                }
            }
            let data = ArrayData::builder(fixed.clone())
                .len(len)
                .nulls(nulls(rng))
                .add_buffer(Buffer::from_slice_ref(&bytes));
            make_array(data.build().expect("a buffer of the type's width"))
        }
    }
}

fn random_field(field: &FieldRef, len: usize, rng: &mut Rng) -> ArrayRef {
    let null_percent = if field.is_nullable() { 15 } else { 0 };
    random_array(field.data_type(), len, null_percent, rng)
}

/// Empty, short enough for a view to hold, and longer.
fn random_text(rng: &mut Rng) -> String {
    let words = [
        "",
        "a",
        "seven",
        "twelve bytes",
        "more than twelve bytes",
        "naïve – ünïcödé",
    ];
    let (word, count) = (rng.pick(&words), rng.below(4));
    word.repeat(count)
}

fn texts<O: OffsetSizeTrait>(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    let mut builder = GenericStringBuilder::<O>::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn binaries<O: OffsetSizeTrait>(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    let mut builder = GenericBinaryBuilder::<O>::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn random_offsets<O: OffsetSizeTrait>(len: usize, rng: &mut Rng) -> OffsetBuffer<O> {
    OffsetBuffer::from_lengths((0..len).map(|_| rng.below(4)))
}

fn random_list<O: OffsetSizeTrait>(
    item: &FieldRef,
    len: usize,
    nulls: Option<NullBuffer>,
    rng: &mut Rng,
) -> ArrayRef {
    let offsets = random_offsets::<O>(len, rng);
    let values = random_array(item.data_type(), offsets[len].as_usize(), 10, rng);
    Arc::new(GenericListArray::<O>::new(
        item.clone(),
        offsets,
        values,
        nulls,
    ))
}

/// Views in any order, overlapping.
fn random_list_view<O: OffsetSizeTrait>(
    item: &FieldRef,
    len: usize,
    nulls: Option<NullBuffer>,
    rng: &mut Rng,
) -> ArrayRef {
    let count = 50;
    let values = random_array(item.data_type(), count, 10, rng);
    let sizes: Vec<usize> = (0..len).map(|_| rng.below(4)).collect();
    let native = |value: usize| O::from_usize(value).expect("small");
    let offsets: ScalarBuffer<O> = sizes
        .iter()
        .map(|&size| native(rng.below(count - size)))
        .collect();
    let sizes: ScalarBuffer<O> = sizes.iter().map(|&size| native(size)).collect();
    Arc::new(GenericListViewArray::<O>::new(
        item.clone(),
        offsets,
        sizes,
        values,
        nulls,
    ))
}

fn random_union(fields: &UnionFields, mode: UnionMode, len: usize, rng: &mut Rng) -> ArrayRef {
    let ids: Vec<i8> = fields.iter().map(|(id, _)| id).collect();
    let chosen: ScalarBuffer<i8> = (0..len).map(|_| rng.pick(&ids)).collect();
    let child_len = |id: i8| match mode {
        UnionMode::Sparse => len,
        UnionMode::Dense => chosen.iter().filter(|&&each| each == id).count(),
    };
    let children = fields
        .iter()
        .map(|(id, field)| random_field(field, child_len(id), rng))
        .collect();
    let offsets = (mode == UnionMode::Dense).then(|| {
        let mut next = [0i32; 128];
        let offset = |&id: &i8| {
            let place = &mut next[id.unsigned_abs() as usize];
            *place += 1;
            *place - 1
        };
        chosen.iter().map(offset).collect::<ScalarBuffer<i32>>()
    });
    let union = UnionArray::try_new(fields.clone(), chosen, offsets, children);
    Arc::new(union.expect("children of the union's fields"))
}

fn random_runs<R: RunEndIndexType>(values: &FieldRef, len: usize, rng: &mut Rng) -> ArrayRef {
    let mut ends = Vec::new();
    let mut end = 0;
    while end < len {
        end = (end + 1 + rng.below(6)).min(len);
        ends.push(R::Native::from_usize(end).expect("the run ends fit their type"));
    }
    let values = random_array(values.data_type(), ends.len(), 20, rng);
    let ends = PrimitiveArray::<R>::new(ends.into(), None);
    Arc::new(RunArray::<R>::try_new(&ends, &values).expect("one value per run"))
}

fn dictionary<K>(
    entries: usize,
    len: usize,
    nulls: Option<NullBuffer>,
    values: ArrayRef,
    rng: &mut Rng,
) -> ArrayRef
where
    K: arrow_array::types::ArrowDictionaryKeyType,
{
    let key = |rng: &mut Rng| K::Native::from_usize(rng.below(entries)).expect("a small key");
    let keys = (0..len).map(|_| key(rng)).collect();
    let keys = PrimitiveArray::<K>::new(keys, nulls);
    Arc::new(DictionaryArray::<K>::try_new(keys, values).expect("keys are in bounds"))
}
