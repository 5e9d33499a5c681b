//! Row groups that a predicate rules out by their statistics.
//!
//! Only conjuncts of the form *column compared with a literal* count, on types that programs hold
//! as integers: integers, dates, timestamps, decimals. Floats are left alone, since Parquet's
//! statistics skip NaNs, which some orders put above or below every number. A row group is never
//! ruled out by a conjunct behind one that may trap: its rows could be the error to report. For the
//! same reason, before one that may trap a conjunct has to be false on every row, since a null
//! leaves open whether the next is evaluated.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::basic::Type;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;
use unlade_expr::{Checked, IsTest, Literal, Node, OnError, Typed};
use unlade_program::CompareOp;

/// What a predicate says about single columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pruning {
    tests: Vec<ColumnTest>,
    /// Whether a conjunct behind the tests may trap where none of them is false.
    then_may_trap: bool,
}

/// One conjunct about one column.
#[derive(Clone, Debug, PartialEq)]
struct ColumnTest {
    column: usize,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Compare(CompareOp, i128),
    OneOf {
        values: Vec<i128>,
        /// Whether the list has a null, so that what matches nothing is null.
        or_null: bool,
    },
    IsNull,
    IsNotNull,
}

/// What is known of a column in one row group.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    min: Option<i128>,
    max: Option<i128>,
    nulls: Option<u64>,
    rows: u64,
}

impl Pruning {
    /// What the filter of a checked query says about single columns of its input schema.
    pub fn of(query: &Checked) -> Self {
        let mut tests = Vec::new();
        let filter = query.filter.as_ref();
        let then_may_trap = filter.is_some_and(|filter| !collect(filter, &mut tests));
        Pruning {
            tests,
            then_may_trap,
        }
    }

    /// Whether no conjunct could be used.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// The row groups that may hold rows to keep, in order.
    pub(crate) fn row_groups(&self, schema: &Schema, metadata: &ParquetMetaData) -> Vec<usize> {
        let groups = metadata.row_groups();
        let mut wanted = vec![true; groups.len()];
        for test in &self.tests {
            let Some(field) = schema.fields().get(test.column) else {
                continue;
            };
            // Statistics that cannot be read rule nothing out. By position, since two columns may
            // have one name.
            let Some((leaf, converter)) = converter_of(test.column, field, metadata) else {
                continue;
            };
            let mins = converter.row_group_mins(groups).ok();
            let maxes = converter.row_group_maxes(groups).ok();
            let nulls = converter
                .with_missing_null_counts_as_zero(false)
                .row_group_null_counts(groups)
                .ok();
            for (index, wanted) in wanted.iter_mut().enumerate() {
                let bound = |bounds: &Option<ArrayRef>| {
                    bounds
                        .as_ref()
                        .filter(|_| bounds_are_ordered(groups[index].column(leaf), field))
                        .and_then(|array| integer_at(array, index))
                };
                let known = Known {
                    min: bound(&mins),
                    max: bound(&maxes),
                    nulls: nulls
                        .as_ref()
                        .filter(|array| array.is_valid(index))
                        .map(|array| array.value(index)),
                    rows: groups[index].num_rows().max(0) as u64,
                };
                *wanted &= test.test.may_hold(known)
                    || (self.then_may_trap && test.test.may_be_null(known));
            }
        }
        (0..groups.len()).filter(|&index| wanted[index]).collect()
    }
}

/// The reader of a column's statistics, and the column's place among those of the file; none for a
/// nested column.
fn converter_of<'a>(
    column: usize,
    field: &'a Field,
    metadata: &'a ParquetMetaData,
) -> Option<(usize, StatisticsConverter<'a>)> {
    if field.data_type().is_nested() {
        return None;
    }
    let columns = metadata.file_metadata().schema_descr();
    let leaf =
        (0..columns.num_columns()).find(|&leaf| columns.get_column_root_idx(leaf) == column)?;
    let converter = StatisticsConverter::from_column_index(leaf, field, columns).ok()?;
    Some((leaf, converter))
}

/// Whether the bounds are in the order of the type. Old writers ordered all numbers as signed ones
/// and bytes as they liked; their bounds stand in fields of their own.
fn bounds_are_ordered(chunk: &ColumnChunkMetaData, field: &Field) -> bool {
    let signed = !field.data_type().is_unsigned_integer()
        && matches!(chunk.column_type(), Type::INT32 | Type::INT64);
    let old = |statistics: &Statistics| statistics.is_min_max_deprecated();
    signed || !chunk.statistics().is_some_and(old)
}

/// Takes the conjuncts in order, up to the first that may trap; whether there was none.
fn collect(tree: &Typed, tests: &mut Vec<ColumnTest>) -> bool {
    if let Node::And(args) = &tree.node {
        return args.iter().all(|arg| collect(arg, tests));
    }
    if may_trap(tree) {
        return false;
    }
    tests.extend(test_of(tree));
    true
}

fn test_of(tree: &Typed) -> Option<ColumnTest> {
    match &tree.node {
        Node::Compare { op, lhs, rhs, .. } => {
            if let (Some(column), Some(value)) = (column_of(lhs), literal_of(rhs)) {
                return Some(ColumnTest {
                    column,
                    test: Test::Compare(*op, value),
                });
            }
            let (value, column) = (literal_of(lhs)?, column_of(rhs)?);
            Some(ColumnTest {
                column,
                test: Test::Compare(mirrored(*op), value),
            })
        }
        Node::In { arg, list, .. } => {
            let column = column_of(arg)?;
            // A null in the list never makes the predicate true.
            let values = list.iter().filter(|literal| literal.value.is_some());
            let values = values.map(integer_of).collect::<Option<Vec<_>>>()?;
            let or_null = values.len() < list.len();
            Some(ColumnTest {
                column,
                test: Test::OneOf { values, or_null },
            })
        }
        Node::Is {
            test: IsTest::Null,
            negated,
            arg,
        } => {
            let Node::Column(column) = arg.node else {
                return None;
            };
            let test = if *negated {
                Test::IsNotNull
            } else {
                Test::IsNull
            };
            Some(ColumnTest { column, test })
        }
        _ => None,
    }
}

/// The column, seen through casts that widen integers.
fn column_of(tree: &Typed) -> Option<usize> {
    match &tree.node {
        Node::Column(column) if is_integer_like(&tree.data_type) => Some(*column),
        Node::Cast { arg, .. } if widens(&arg.data_type, &tree.data_type) => column_of(arg),
        _ => None,
    }
}

fn literal_of(tree: &Typed) -> Option<i128> {
    match &tree.node {
        Node::Literal(literal) => integer_of(literal),
        _ => None,
    }
}

fn integer_of(literal: &Literal) -> Option<i128> {
    let value = literal.value?;
    (value.ty().is_integer() && is_integer_like(&literal.data_type)).then(|| value.as_integer())
}

fn mirrored(op: CompareOp) -> CompareOp {
    match op {
        CompareOp::Eq | CompareOp::Ne => op,
        CompareOp::Lt => CompareOp::Gt,
        CompareOp::Le => CompareOp::Ge,
        CompareOp::Gt => CompareOp::Lt,
        CompareOp::Ge => CompareOp::Le,
    }
}

fn is_integer_like(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Date32
                | DataType::Date64
                | DataType::Timestamp(_, _)
                | DataType::Decimal128(_, _)
        )
}

fn widens(from: &DataType, to: &DataType) -> bool {
    let range = |data_type: &DataType| {
        use unlade_program::Ty;
        let ty = match data_type {
            DataType::Int8 => Ty::I8,
            DataType::Int16 => Ty::I16,
            DataType::Int32 => Ty::I32,
            DataType::Int64 => Ty::I64,
            DataType::UInt8 => Ty::U8,
            DataType::UInt16 => Ty::U16,
            DataType::UInt32 => Ty::U32,
            DataType::UInt64 => Ty::U64,
            _ => return None,
        };
        ty.integer_range()
    };
    match (range(from), range(to)) {
        (Some((from_low, from_high)), Some((to_low, to_high))) => {
            to_low <= from_low && from_high <= to_high
        }
        _ => false,
    }
}

/// Whether a row could be an error; may say so of a tree that never traps.
fn may_trap(tree: &Typed) -> bool {
    let here = match &tree.node {
        Node::Arithmetic { .. } => true,
        Node::Negate { overflow, .. } | Node::Abs { overflow, .. } => *overflow == OnError::Trap,
        Node::Cast { on_error, arg, .. } => {
            *on_error == OnError::Trap && !widens(&arg.data_type, &tree.data_type)
        }
        Node::Try(_) => return false,
        _ => false,
    };
    let mut below = false;
    tree.for_each_child(|child| below |= may_trap(child));
    here || below
}

impl Test {
    fn may_hold(&self, known: Known) -> bool {
        let all_null = known.nulls == Some(known.rows) && known.rows > 0;
        match self {
            Test::IsNull => known.nulls != Some(0),
            Test::IsNotNull => !all_null,
            Test::Compare(_, _) | Test::OneOf { .. } if all_null => false,
            Test::Compare(op, value) => match op {
                CompareOp::Eq => known.spans(*value),
                CompareOp::Ne => known.min.zip(known.max) != Some((*value, *value)),
                CompareOp::Lt => known.min.is_none_or(|min| min < *value),
                CompareOp::Le => known.min.is_none_or(|min| min <= *value),
                CompareOp::Gt => known.max.is_none_or(|max| max > *value),
                CompareOp::Ge => known.max.is_none_or(|max| max >= *value),
            },
            Test::OneOf { values, .. } => values.iter().any(|value| known.spans(*value)),
        }
    }

    fn may_be_null(&self, known: Known) -> bool {
        match self {
            Test::IsNull | Test::IsNotNull => false,
            Test::OneOf { or_null: true, .. } => true,
            Test::OneOf { .. } | Test::Compare(_, _) => known.nulls != Some(0),
        }
    }
}

impl Known {
    fn spans(&self, value: i128) -> bool {
        self.min.is_none_or(|min| min <= value) && self.max.is_none_or(|max| value <= max)
    }
}

fn integer_at(array: &ArrayRef, index: usize) -> Option<i128> {
    if array.is_null(index) {
        return None;
    }
    macro_rules! value {
        ($arrow_type:ty) => {
            Some(i128::from(array.as_primitive::<$arrow_type>().value(index)))
        };
    }
    match array.data_type() {
        DataType::Int8 => value!(Int8Type),
        DataType::Int16 => value!(Int16Type),
        DataType::Int32 => value!(Int32Type),
        DataType::Int64 => value!(Int64Type),
        DataType::UInt8 => value!(UInt8Type),
        DataType::UInt16 => value!(UInt16Type),
        DataType::UInt32 => value!(UInt32Type),
        DataType::UInt64 => value!(UInt64Type),
        DataType::Date32 => value!(Date32Type),
        DataType::Date64 => value!(Date64Type),
        DataType::Timestamp(TimeUnit::Second, _) => value!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => value!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => value!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => value!(TimestampNanosecondType),
        DataType::Decimal128(_, _) => value!(Decimal128Type),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::file::metadata::{FileMetaData, RowGroupMetaData};
    use parquet::schema::parser::parse_message_type;
    use parquet::schema::types::SchemaDescriptor;

    use super::*;

    fn known(min: i128, max: i128) -> Known {
        Known {
            min: Some(min),
            max: Some(max),
            nulls: Some(0),
            rows: 10,
        }
    }

    #[test]
    fn comparisons_against_bounds() {
        let cases = [
            (CompareOp::Eq, 5, true),
            (CompareOp::Eq, 11, false),
            (CompareOp::Ne, 5, true),
            (CompareOp::Lt, 1, false),
            (CompareOp::Lt, 2, true),
            (CompareOp::Le, 1, true),
            (CompareOp::Le, 0, false),
            (CompareOp::Gt, 10, false),
            (CompareOp::Gt, 9, true),
            (CompareOp::Ge, 10, true),
            (CompareOp::Ge, 11, false),
        ];
        for (op, value, expected) in cases {
            assert_eq!(
                Test::Compare(op, value).may_hold(known(1, 10)),
                expected,
                "{op:?} {value}"
            );
        }
        assert!(!Test::Compare(CompareOp::Ne, 3).may_hold(known(3, 3)));
        let one_of = |values| Test::OneOf {
            values,
            or_null: false,
        };
        assert!(one_of(vec![0, 4]).may_hold(known(1, 10)));
        assert!(!one_of(vec![0, 11]).may_hold(known(1, 10)));
    }

    #[test]
    fn nulls_and_missing_statistics() {
        let all_null = Known {
            nulls: Some(10),
            rows: 10,
            ..Known::default()
        };
        assert!(!Test::Compare(CompareOp::Eq, 1).may_hold(all_null));
        assert!(!Test::IsNotNull.may_hold(all_null));
        assert!(Test::IsNull.may_hold(all_null));
        assert!(!Test::IsNull.may_hold(known(1, 2)));
        let unknown = Known {
            rows: 10,
            ..Known::default()
        };
        assert!(Test::Compare(CompareOp::Eq, 1).may_hold(unknown));
        assert!(Test::IsNull.may_hold(unknown));
        assert!(Test::IsNotNull.may_hold(unknown));
    }

    #[test]
    fn a_null_before_a_trap_rules_nothing_out() {
        let one_null = Known {
            nulls: Some(1),
            ..known(1, 10)
        };
        let compare = Test::Compare(CompareOp::Gt, 10);
        assert!(!compare.may_hold(one_null) && compare.may_be_null(one_null));
        assert!(!compare.may_be_null(known(1, 10)));
        let or_null = Test::OneOf {
            values: vec![11],
            or_null: true,
        };
        assert!(!or_null.may_hold(known(1, 10)) && or_null.may_be_null(known(1, 10)));
        assert!(!Test::IsNull.may_be_null(one_null));
    }

    /// One row group of ten rows, its columns `a`, of these types and statistics.
    fn row_group(columns: &[(&str, Statistics)]) -> ParquetMetaData {
        let columns_text: String = columns
            .iter()
            .map(|(physical, _)| format!("required {physical};"))
            .collect();
        let message = parse_message_type(&format!("message m {{ {columns_text} }}")).unwrap();
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(message)));
        let chunk = |(index, (_, statistics)): (usize, &(&str, Statistics))| {
            ColumnChunkMetaData::builder(schema.column(index))
                .set_statistics(statistics.clone())
                .build()
                .unwrap()
        };
        let group = RowGroupMetaData::builder(Arc::clone(&schema))
            .set_num_rows(10)
            .set_column_metadata(columns.iter().enumerate().map(chunk).collect())
            .build()
            .unwrap();
        let file = FileMetaData::new(1, 10, None, None, schema, None);
        ParquetMetaData::new(file, vec![group])
    }

    fn is_read(metadata: &ParquetMetaData, types: &[DataType], column: usize, value: i128) -> bool {
        let fields = types.iter().map(|ty| Field::new("a", ty.clone(), false));
        let pruning = Pruning {
            tests: vec![ColumnTest {
                column,
                test: Test::Compare(CompareOp::Eq, value),
            }],
            then_may_trap: false,
        };
        let schema = Schema::new(fields.collect::<Vec<_>>());
        pruning.row_groups(&schema, metadata) == [0]
    }

    fn bounds(min: i32, max: i32, old: bool) -> Statistics {
        Statistics::int32(Some(min), Some(max), None, Some(0), old)
    }

    #[test]
    fn old_bounds_are_trusted_for_signed_numbers_only() {
        for old in [false, true] {
            let signed = row_group(&[("int32 a", bounds(-5, 5, old))]);
            assert!(!is_read(&signed, &[DataType::Int32], 0, 6), "old: {old}");
        }
        // As signed numbers, -5 is the least; as what they are, the greatest.
        let unsigned = row_group(&[("int32 a (UINT_32)", bounds(-5, 5, true))]);
        assert!(is_read(&unsigned, &[DataType::UInt32], 0, 3));
        let unsigned = row_group(&[("int32 a (UINT_32)", bounds(5, -5, false))]);
        assert!(!is_read(&unsigned, &[DataType::UInt32], 0, 3));
        assert!(is_read(&unsigned, &[DataType::UInt32], 0, 1 << 31));
    }

    #[test]
    fn columns_of_one_name_have_statistics_of_their_own() {
        let (low, high) = (bounds(0, 9, false), bounds(90, 99, false));
        let metadata = row_group(&[("int32 a", low), ("int32 a", high)]);
        let types = [DataType::Int32, DataType::Int32];
        assert!(is_read(&metadata, &types, 0, 5) && !is_read(&metadata, &types, 0, 95));
        assert!(is_read(&metadata, &types, 1, 95) && !is_read(&metadata, &types, 1, 5));
    }
}
