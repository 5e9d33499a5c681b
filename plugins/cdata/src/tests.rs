//! Arrays of every kind that arrow-rs exports are taken in as they are, and what is wrong in one of
//! them is found.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use arrow_array::builder::{
    FixedSizeBinaryBuilder, FixedSizeListBuilder, Int32Builder, LargeListBuilder, ListBuilder,
    MapBuilder, StringBuilder,
};
use arrow_array::ffi::{FFI_ArrowArray, from_ffi_and_data_type};
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Decimal128Array, Decimal256Array,
    DictionaryArray, Float16Array, Int32Array, IntervalMonthDayNanoArray, LargeBinaryArray,
    LargeListViewArray, LargeStringArray, ListArray, ListViewArray, NullArray, RecordBatch,
    RunArray, StringArray, StringViewArray, StructArray, TimestampNanosecondArray, UnionArray,
    make_array,
};
use arrow_buffer::{IntervalMonthDayNano, NullBuffer, OffsetBuffer, ScalarBuffer, i256};
use arrow_data::{ArrayData, BufferSpec, layout};
use arrow_schema::{DataType, Field, Schema, UnionFields};

use crate::CDataError;
use crate::check::Depth;
use crate::import::{Imported, Owned, Rules};
use crate::raw::ArrowArray;
use crate::{export, schema};

pub(crate) const ROWS: usize = 40;

const ALL: [Depth; 3] = [Depth::Shape, Depth::Offsets, Depth::Values];

#[test]
fn every_kind_of_array_comes_in_as_it_is() {
    for column in columns() {
        let batch = one(column);
        let last = batch.num_rows();
        for (start, rows) in [(0, last), (0, 1), (3, 20), (9, 0), (last - 1, 1)] {
            let part = batch.slice(start, rows);
            for depth in ALL {
                let imported = import(&part, depth, |_| {}).unwrap_or_else(|failure| {
                    panic!(
                        "{}, {rows} from {start}, {depth:?}: {}",
                        part.schema(),
                        failure
                    )
                });
                assert_eq!(imported.batch, part);
                assert_eq!(imported.realigned, 0, "{}", part.schema());
            }
        }
    }
}

/// A batch's own offset comes on top of its columns'.
#[test]
fn rows_of_a_batch_that_begin_later_come_in_as_they_are() {
    for column in columns() {
        let batch = one(column);
        let part = batch.slice(2, ROWS - 2);
        for depth in ALL {
            let (mut array, _) = export::batch(&part);
            (array.offset, array.length) = (3, 20);
            let imported = hand_over(array, &part, depth)
                .unwrap_or_else(|failure| panic!("{}, {depth:?}: {}", part.schema(), failure));
            assert_eq!(imported.batch, part.slice(3, 20));
        }
    }
}

/// An offset of a column comes on top of those of what is below it.
#[test]
fn rows_of_a_column_that_begin_later_come_in_as_they_are() {
    for column in columns() {
        let batch = one(column);
        let (mut array, _) = export::batch(&batch);
        let column = child(&mut array);
        // Ends of runs are those of all rows.
        (column.offset, column.length) = (column.offset + 3, 20);
        if column.null_count > 0 {
            column.null_count = -1;
        }
        array.length = 20;
        let imported = hand_over(array, &batch, Depth::Offsets)
            .unwrap_or_else(|failure| panic!("{}: {}", batch.schema(), failure));
        assert_eq!(imported.batch, batch.slice(3, 20));
    }
}

#[test]
fn a_column_that_was_moved_away_outlives_its_batch() {
    for column in columns() {
        let of = column.data_type().clone();
        let (mut array, _) = export::batch(&one(Arc::clone(&column)));
        let child = child(&mut array);
        // SAFETY: arrow-rs's struct is the same; the child moves, and is marked as released where it was.
        let moved = unsafe { ptr::from_ref(child).cast::<FFI_ArrowArray>().read() };
        child.release = None;
        // SAFETY: It is the batch's, which is released once.
        unsafe { array.release.unwrap()(&mut array) };
        // SAFETY: It was exported from an array of this type.
        let data = unsafe { from_ffi_and_data_type(moved, of) }.unwrap();
        assert_eq!(make_array(data).as_ref(), column.as_ref());
    }
}

#[test]
fn schemas_come_in_as_they_are() {
    for column in columns() {
        let batch = one(column);
        let mut exported = export::schema(&batch.schema()).unwrap();
        // SAFETY: arrow-rs made it.
        let read = unsafe { schema::read(&exported) }.map_err(|failure| failure.to_string());
        assert_eq!(read, Ok(batch.schema()));
        let release = exported.release.unwrap();
        // SAFETY: It was not released.
        unsafe { release(&mut exported) };
    }
}

/// Without rows there may be no offsets, or a pointer to nothing, which is not read.
#[test]
fn without_rows_no_offsets_are_wanted() {
    let pointers = [ptr::null(), ptr::without_provenance(64)];
    let unread = |array: &mut ArrowArray, pointer: *const c_void| {
        // SAFETY: Arrays with offsets come here, which have a buffer of them and one of nulls.
        unsafe { *array.buffers.add(1) = pointer };
    };
    for kind in [
        "strings",
        "large strings",
        "large binary",
        "list",
        "large list",
        "map",
    ] {
        let none = one(column(kind)).slice(0, 0);
        for (depth, pointer) in ALL
            .iter()
            .flat_map(|depth| pointers.map(|each| (*depth, each)))
        {
            let imported = import(&none, depth, |array| unread(array, pointer));
            let imported =
                imported.unwrap_or_else(|failure| panic!("{kind}, {depth:?}: {failure}"));
            assert_eq!(imported.batch, none);
        }
    }
    // Below what has rows: of empty lists, and of keys that are all null.
    let words = StringArray::from(Vec::<&str>::new());
    let field = Arc::new(Field::new("item", DataType::Utf8, true));
    let ends = OffsetBuffer::<i32>::new_zeroed(ROWS);
    let lists = ListArray::new(field, ends, Arc::new(words.clone()), None);
    let keys = Int32Array::new_null(ROWS);
    let keys = DictionaryArray::new(keys, Arc::new(words));
    for batch in [one(Arc::new(lists)), one(Arc::new(keys))] {
        for (depth, pointer) in ALL
            .iter()
            .flat_map(|depth| pointers.map(|each| (*depth, each)))
        {
            let imported = import(&batch, depth, |array| match array.dictionary.is_null() {
                true => unread(child(array), pointer),
                // SAFETY: It leads to the array of the values.
                false => unread(unsafe { &mut *array.dictionary }, pointer),
            });
            let imported = imported.unwrap_or_else(|failure| panic!("{depth:?}: {failure}"));
            assert_eq!(imported.batch, batch);
        }
    }
}

/// Buffers one byte off, which are copied where that is not how their numbers lie.
#[test]
fn buffers_that_are_not_aligned_come_in_as_copies() {
    for column in columns() {
        let batch = one(Arc::clone(&column));
        for depth in ALL {
            for only_aligned in [false, true] {
                let (array, _) = export::batch(&batch);
                // SAFETY: It was made here, with one child, of that column.
                let wide = unsafe { unalign(&mut **array.children, &column.to_data()) };
                let imported = hand_over_by(
                    array,
                    &batch,
                    Rules {
                        depth,
                        only_aligned,
                    },
                );
                let of = batch.schema();
                match imported {
                    Ok(imported) => {
                        assert!(!only_aligned || !wide, "{of}, {depth:?}");
                        assert_eq!(imported.batch, batch, "{depth:?}");
                        assert_eq!(imported.realigned > 0, wide, "{of}, {depth:?}");
                    }
                    Err(failure) => assert!(only_aligned && wide, "{of}, {depth:?}: {failure}"),
                }
            }
        }
    }
}

/// Has every buffer lie at an odd address; whether some of it has numbers of more than a byte. Copies are
/// leaked: a test's few bytes.
///
/// # Safety
/// The array is one that arrow-rs has exported of that data.
unsafe fn unalign(array: &mut ArrowArray, data: &ArrayData) -> bool {
    let layout = layout(data.data_type());
    let first = usize::from(layout.can_contain_null_mask);
    let buffers = data.buffers().iter().zip(first..);
    let mut lengths: Vec<_> = buffers.map(|(it, position)| (position, it.len())).collect();
    if let Some(nulls) = data.nulls() {
        lengths.push((0, nulls.buffer().len()));
    }
    let variadic = data.buffers().len().saturating_sub(1);
    if layout.variadic {
        lengths.push((array.n_buffers as usize - 1, variadic * size_of::<i64>()));
    }
    for (position, bytes) in lengths {
        // SAFETY: The array has this buffer, of so many bytes.
        unsafe {
            let place = array.buffers.add(position);
            let copy = vec![0_u128; bytes / 16 + 1]
                .leak()
                .as_mut_ptr()
                .cast::<u8>();
            copy.add(1).copy_from_nonoverlapping((*place).cast(), bytes);
            *place = copy.add(1).cast::<c_void>();
        }
    }
    let mut wide = layout
        .buffers
        .iter()
        .any(|spec| matches!(spec, BufferSpec::FixedWidth { alignment, .. } if *alignment > 1));
    for (position, below) in data.child_data().iter().enumerate() {
        // SAFETY: There is one for each, and of dictionaries the values.
        wide |= unsafe {
            match array.dictionary.as_mut() {
                Some(values) => unalign(values, below),
                None => unalign(&mut **array.children.add(position), below),
            }
        };
    }
    wide
}

/// An array of nulls has no buffer by the specification, and a place for a bitmap by older ones.
#[test]
fn nulls_may_have_a_place_for_a_bitmap() {
    let batch = one(column("null"));
    for (buffers, comes_in) in [(0, true), (1, true), (2, false)] {
        let mut pointers = [ptr::null(), ptr::null()];
        let imported = import(&batch, Depth::Offsets, |array| {
            (array.n_buffers, array.buffers) = (buffers, pointers.as_mut_ptr());
        });
        match imported {
            Ok(imported) => assert!(comes_in && imported.batch == batch),
            Err(failure) => {
                assert!(!comes_in);
                assert!(failure.to_string().contains("`c`"), "{failure}");
            }
        }
    }
}

/// What is done to the one column's array.
type Harm = fn(&mut ArrowArray);

#[test]
fn what_is_wrong_inside_is_found() {
    let lists: Harm = |array| child(array).length = 1;
    let cases: [(&str, Depth, Harm); 12] = [
        ("list", Depth::Shape, lists),
        ("large list", Depth::Shape, lists),
        ("list view", Depth::Shape, lists),
        ("fixed list", Depth::Shape, lists),
        ("map", Depth::Shape, lists),
        ("struct", Depth::Shape, lists),
        ("sparse union", Depth::Shape, lists),
        ("dense union", Depth::Shape, lists),
        ("runs", Depth::Shape, |array| array.length += 1),
        // Lengths of the bytes that views refer to.
        ("views", Depth::Offsets, |array| {
            overwrite_at(array, 3, 8, 0, &0_i64.to_ne_bytes());
        }),
        ("dictionary", Depth::Values, |array| {
            overwrite_at(array, 1, ROWS, 0, &[99]);
        }),
        ("dense union", Depth::Shape, |array| {
            overwrite_at(array, 0, ROWS, 0, &[77]);
        }),
    ];
    for (kind, depth, harm) in cases {
        let batch = one(column(kind));
        let failure = import(&batch, depth, harm).expect_err(kind);
        assert!(matches!(failure, CDataError::Malformed(_)), "{kind}");
        // Dictionaries' keys are found by arrow-rs, in words of its own.
        let is_ours = failure.to_string().contains("in `c`");
        assert!(is_ours || kind == "dictionary", "{}", failure);
    }
    // Offsets in the middle are looked at from the second depth on.
    for kind in ["list", "large strings", "map"] {
        let batch = one(column(kind));
        let harm: Harm = |array| overwrite_at(array, 1, 4 * (ROWS + 1), 16, &[0xff; 8]);
        assert!(import(&batch, Depth::Offsets, harm).is_err(), "{kind}");
    }
    let batch = one(column("strings"));
    let no_text: Harm = |array| overwrite_at(array, 2, ROWS, 0, &[0xff]);
    assert!(import(&batch, Depth::Offsets, no_text).is_ok());
    assert!(import(&batch, Depth::Values, no_text).is_err());
}

/// Has a batch handed over as C does, after harm was done to its one column. All of it is released
/// when this returns, harmed or not, since harm is done to copies of what is pointed to.
fn import(
    batch: &RecordBatch,
    depth: Depth,
    harm: impl FnOnce(&mut ArrowArray),
) -> Result<Imported, CDataError> {
    let (array, _) = export::batch(batch);
    // SAFETY: It was made here, with one child.
    harm(unsafe { &mut **array.children });
    hand_over(array, batch, depth)
}

fn hand_over(array: ArrowArray, batch: &RecordBatch, depth: Depth) -> Result<Imported, CDataError> {
    let only_aligned = true;
    hand_over_by(
        array,
        batch,
        Rules {
            depth,
            only_aligned,
        },
    )
}

fn hand_over_by(
    mut array: ArrowArray,
    batch: &RecordBatch,
    rules: Rules,
) -> Result<Imported, CDataError> {
    // SAFETY: It is there, and but for the harm as it should be.
    unsafe {
        let owned = Owned::take(&mut array)?;
        owned.import(&batch.schema(), rules)
    }
}

fn child(array: &mut ArrowArray) -> &mut ArrowArray {
    // SAFETY: Kinds that have children come here.
    unsafe { &mut **array.children }
}

/// Has a buffer be another one, of the same beginning of so many bytes, with other bytes at a place.
/// It is leaked: a test's few bytes.
fn overwrite_at(array: &mut ArrowArray, buffer: usize, len: usize, at: usize, bytes: &[u8]) {
    const BYTES: usize = 4096;
    let copy = vec![0_u128; BYTES / 16].leak();
    // SAFETY: These arrays' buffers have at least as many bytes as the callers say, by their types and
    // `ROWS`, and the copy has more.
    unsafe {
        let place = array.buffers.add(buffer);
        let copy = copy.as_mut_ptr().cast::<u8>();
        copy.copy_from_nonoverlapping((*place).cast(), len);
        copy.add(at)
            .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        *place = copy.cast::<c_void>();
    }
}

pub(crate) fn one(column: ArrayRef) -> RecordBatch {
    let field = Field::new("c", column.data_type().clone(), true);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).unwrap()
}

pub(crate) fn columns() -> Vec<ArrayRef> {
    KINDS.map(column).to_vec()
}

const KINDS: [&str; 31] = [
    "null",
    "booleans",
    "int32",
    "float16",
    "decimal128",
    "decimal256",
    "timestamps",
    "intervals",
    "fixed binary",
    "strings",
    "large strings",
    "large binary",
    "views",
    "short views",
    "binary views",
    "list",
    "large list",
    "list view",
    "large list view",
    "fixed list",
    "map",
    "struct",
    "sparse union",
    "dense union",
    "dictionary",
    "runs",
    "long runs",
    "lists of structs",
    "structs of structs",
    "fixed lists of structs",
    "sparse unions of structs",
];

fn column(kind: &str) -> ArrayRef {
    let some = |row: usize| row % 5 != 2;
    let numbers = || (0..ROWS as i32).map(move |row| some(row as usize).then_some(row * 3));
    let words =
        || (0..ROWS).map(move |row| some(row).then(|| format!("a word of some length {row}")));
    let ints = || Int32Array::from_iter(numbers());
    let nulls = || NullBuffer::from_iter((0..ROWS).map(some));
    let pairs = |array: Int32Array| -> (ScalarBuffer<i32>, ScalarBuffer<i32>, ArrayRef) {
        let starts = (0..ROWS as i32).rev().map(|row| row / 2).collect();
        let lengths = (0..ROWS as i32).map(|row| row % 4).collect();
        (starts, lengths, Arc::new(array))
    };
    let item = || Arc::new(Field::new("item", DataType::Int32, true));
    match kind {
        "null" => Arc::new(NullArray::new(ROWS)),
        "booleans" => Arc::new(BooleanArray::from_iter(
            (0..ROWS).map(|row| some(row).then_some(row % 3 == 0)),
        )),
        "int32" => Arc::new(ints()),
        "float16" => Arc::new(Float16Array::from_iter_values(
            (0..ROWS).map(|row| half::f16::from_f32(row as f32)),
        )),
        "decimal128" => Arc::new(Decimal128Array::from_iter_values(
            (0..ROWS).map(|row| row as i128),
        )),
        "decimal256" => Arc::new(Decimal256Array::from_iter_values(
            (0..ROWS).map(|row| i256::from_i128(row as i128)),
        )),
        "timestamps" => Arc::new(
            TimestampNanosecondArray::from_iter_values((0..ROWS).map(|row| row as i64))
                .with_timezone("Europe/Paris"),
        ),
        "intervals" => Arc::new(IntervalMonthDayNanoArray::from_iter_values(
            (0..ROWS).map(|row| IntervalMonthDayNano::new(row as i32, 1, 2)),
        )),
        "fixed binary" => {
            let mut builder = FixedSizeBinaryBuilder::new(3);
            (0..ROWS).for_each(|row| builder.append_value([row as u8; 3]).unwrap());
            Arc::new(builder.finish())
        }
        "strings" => Arc::new(StringArray::from_iter(words())),
        "large strings" => Arc::new(LargeStringArray::from_iter(words())),
        "large binary" => Arc::new(LargeBinaryArray::from_iter(words())),
        "views" => Arc::new(StringViewArray::from_iter(words())),
        "short views" => Arc::new(StringViewArray::from_iter_values(
            (0..ROWS).map(|row| row.to_string()),
        )),
        "binary views" => Arc::new(BinaryViewArray::from_iter(words())),
        "list" | "large list" => {
            let mut small = ListBuilder::new(Int32Builder::new());
            let mut large = LargeListBuilder::new(Int32Builder::new());
            for row in 0..ROWS {
                for number in 0..1 + row as i32 % 4 {
                    small.values().append_value(number);
                    large.values().append_value(number);
                }
                small.append(some(row));
                large.append(some(row));
            }
            match kind {
                "list" => Arc::new(small.finish()),
                _ => Arc::new(large.finish()),
            }
        }
        "list view" => {
            let (starts, lengths, values) = pairs(ints());
            Arc::new(ListViewArray::new(
                item(),
                starts,
                lengths,
                values,
                Some(nulls()),
            ))
        }
        "large list view" => {
            let (starts, lengths, values) = pairs(ints());
            let wide =
                |numbers: ScalarBuffer<i32>| numbers.iter().map(|it| i64::from(*it)).collect();
            Arc::new(LargeListViewArray::new(
                item(),
                wide(starts),
                wide(lengths),
                values,
                None,
            ))
        }
        "fixed list" => {
            let mut builder = FixedSizeListBuilder::new(Int32Builder::new(), 2);
            for row in 0..ROWS {
                builder.values().append_value(row as i32);
                builder.values().append_null();
                builder.append(some(row));
            }
            Arc::new(builder.finish())
        }
        "map" => {
            let mut builder = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
            for row in 0..ROWS {
                builder.keys().append_value(format!("key {row}"));
                builder.values().append_value(row as i32);
                builder.append(some(row)).unwrap();
            }
            Arc::new(builder.finish())
        }
        "struct" => Arc::new(struct_of(ints())),
        "lists of structs" => {
            let offsets = OffsetBuffer::from_lengths((0..ROWS).map(|_| 1));
            let values = struct_of(ints());
            let field = Arc::new(Field::new("item", values.data_type().clone(), true));
            let lists = ListArray::new(field, offsets, Arc::new(values), Some(nulls()));
            Arc::new(lists)
        }
        "structs of structs" => {
            let inner = struct_of(ints());
            let field = Arc::new(Field::new("s", inner.data_type().clone(), true));
            Arc::new(StructArray::new(
                vec![field].into(),
                vec![Arc::new(inner)],
                Some(nulls()),
            ))
        }
        "fixed lists of structs" => {
            let values = struct_of(ints());
            let field = Arc::new(Field::new("item", values.data_type().clone(), true));
            let lists =
                arrow_array::FixedSizeListArray::new(field, 1, Arc::new(values), Some(nulls()));
            Arc::new(lists)
        }
        "sparse union" | "sparse unions of structs" => {
            let types = (0..ROWS).map(|row| [3, 5][row % 2]).collect();
            let first: ArrayRef = match kind {
                "sparse union" => Arc::new(ints()),
                _ => Arc::new(struct_of(ints())),
            };
            let fields = union_fields(first.data_type());
            let children: Vec<ArrayRef> = vec![first, column("strings")];
            Arc::new(UnionArray::try_new(fields, types, None, children).unwrap())
        }
        "dense union" => {
            let types = (0..ROWS).map(|row| [3, 5][row % 2]).collect();
            let offsets = (0..ROWS as i32).map(|row| row / 2).collect();
            let children: Vec<ArrayRef> = vec![Arc::new(ints()), column("strings")];
            let fields = union_fields(&DataType::Int32);
            Arc::new(UnionArray::try_new(fields, types, Some(offsets), children).unwrap())
        }
        "dictionary" => {
            let words = (0..ROWS).map(|row| some(row).then_some(["one", "two", "three"][row % 3]));
            Arc::new(DictionaryArray::<Int8Type>::from_iter(words))
        }
        "runs" => Arc::new(RunArray::<Int32Type>::from_iter(
            (0..ROWS).map(|row| Some(["x", "y"][row / 7 % 2])),
        )),
        "long runs" => {
            let ends = arrow_array::PrimitiveArray::<Int64Type>::from_iter_values([5, ROWS as i64]);
            let values = arrow_array::PrimitiveArray::<Int16Type>::from_iter_values([1, 2]);
            Arc::new(RunArray::try_new(&ends, &values).unwrap())
        }
        other => unreachable!("{other}"),
    }
}

fn struct_of(ints: Int32Array) -> StructArray {
    let nulls = NullBuffer::from_iter((0..ROWS).map(|row| row % 4 != 1));
    let columns: Vec<ArrayRef> = vec![Arc::new(ints), column("strings")];
    let fields = vec![
        Field::new("i", DataType::Int32, true),
        Field::new("s", DataType::Utf8, true),
    ];
    StructArray::new(fields.into(), columns, Some(nulls))
}

fn union_fields(first: &DataType) -> UnionFields {
    let fields = [
        Field::new("i", first.clone(), true),
        Field::new("s", DataType::Utf8, true),
    ];
    UnionFields::try_new([3, 5], fields).unwrap()
}
