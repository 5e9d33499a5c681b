//! Row groups that a predicate rules out by their statistics.
//!
//! Only conjuncts of the form *column compared with a literal* count, on types that programs hold
//! as integers: integers, dates, timestamps, decimals. Floats are left alone, since Parquet's
//! statistics skip NaNs, which some orders put above or below every number. A row group is never
//! ruled out by a conjunct behind one that may trap: its rows could be the error to report.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Schema, TimeUnit};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::ParquetMetaData;
use unlade_expr::{Checked, IsTest, Literal, Node, OnError, Typed};
use unlade_program::CompareOp;

/// What a predicate says about single columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pruning {
    tests: Vec<ColumnTest>,
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
    OneOf(Vec<i128>),
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
        if let Some(filter) = &query.filter {
            collect(filter, &mut tests);
        }
        Pruning { tests }
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
            // Statistics that cannot be read rule nothing out.
            let Ok(converter) = StatisticsConverter::try_new(
                field.name(),
                schema,
                metadata.file_metadata().schema_descr(),
            ) else {
                continue;
            };
            let mins = converter.row_group_mins(groups).ok();
            let maxes = converter.row_group_maxes(groups).ok();
            let nulls = converter
                .with_missing_null_counts_as_zero(false)
                .row_group_null_counts(groups)
                .ok();
            for (index, wanted) in wanted.iter_mut().enumerate() {
                let known = Known {
                    min: mins.as_ref().and_then(|array| integer_at(array, index)),
                    max: maxes.as_ref().and_then(|array| integer_at(array, index)),
                    nulls: nulls
                        .as_ref()
                        .filter(|array| array.is_valid(index))
                        .map(|array| array.value(index)),
                    rows: groups[index].num_rows().max(0) as u64,
                };
                *wanted &= test.test.may_hold(known);
            }
        }
        (0..groups.len()).filter(|&index| wanted[index]).collect()
    }
}

/// Takes the conjuncts in order, up to and including the first that may trap.
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
            Some(ColumnTest {
                column,
                test: Test::OneOf(values),
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
            Test::Compare(_, _) | Test::OneOf(_) if all_null => false,
            Test::Compare(op, value) => match op {
                CompareOp::Eq => known.spans(*value),
                CompareOp::Ne => known.min.zip(known.max) != Some((*value, *value)),
                CompareOp::Lt => known.min.is_none_or(|min| min < *value),
                CompareOp::Le => known.min.is_none_or(|min| min <= *value),
                CompareOp::Gt => known.max.is_none_or(|max| max > *value),
                CompareOp::Ge => known.max.is_none_or(|max| max >= *value),
            },
            Test::OneOf(values) => values.iter().any(|value| known.spans(*value)),
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
        assert!(Test::OneOf(vec![0, 4]).may_hold(known(1, 10)));
        assert!(!Test::OneOf(vec![0, 11]).may_hold(known(1, 10)));
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
}
