//! Order of evaluation, laziness, and the words of errors.

use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use unlade_expr::{
    ArithmeticOp, Checked, Dialect, FloatZeroDivision, Literal, Node, OnError, OutputColumn, Typed,
};
use unlade_program::{CompareOp, FloatOrder, Imm, TrapCode, Ty};

use super::{Kept, QueryError, describe, evaluate, evaluate_query};

fn node(node: Node, data_type: DataType) -> Typed {
    Typed {
        node,
        data_type,
        nullable: true,
        ordinal: 0,
        span: None,
    }
}

fn column(index: usize) -> Typed {
    node(Node::Column(index), DataType::Int32)
}

fn number(value: i32) -> Typed {
    node(Node::Literal(value.into()), DataType::Int32)
}

fn arithmetic(op: ArithmeticOp, lhs: Typed, rhs: Typed) -> Typed {
    let node_of = Node::Arithmetic {
        op,
        overflow: OnError::Trap,
        zero: OnError::Trap,
        float_zero: FloatZeroDivision::Ieee,
        lhs: Box::new(lhs),
        rhs: Box::new(rhs),
    };
    node(node_of, DataType::Int32)
}

fn compare(op: CompareOp, lhs: Typed, rhs: Typed) -> Typed {
    let node_of = Node::Compare {
        op,
        order: FloatOrder::Ieee,
        lhs: Box::new(lhs),
        rhs: Box::new(rhs),
    };
    node(node_of, DataType::Boolean)
}

fn narrowed(arg: Typed) -> Typed {
    let node_of = Node::Cast {
        on_error: OnError::Trap,
        dialect: Dialect::Arrow,
        arg: Box::new(arg),
    };
    node(node_of, DataType::Int8)
}

fn widened(arg: Typed) -> Typed {
    node(narrowed(arg).node, DataType::Int32)
}

/// Numbers the nodes in order of evaluation, as the check does.
fn numbered(mut tree: Typed, next: &mut u32) -> Typed {
    fn visit(tree: &mut Typed, next: &mut u32) {
        match &mut tree.node {
            Node::Arithmetic { lhs, rhs, .. } | Node::Compare { lhs, rhs, .. } => {
                visit(lhs, next);
                visit(rhs, next);
            }
            Node::Cast { arg, .. } | Node::Try(arg) => visit(arg, next),
            Node::And(args) | Node::Or(args) | Node::Coalesce(args) => {
                args.iter_mut().for_each(|arg| visit(arg, next));
            }
            Node::Case {
                branches,
                otherwise,
            } => {
                for (condition, value) in branches {
                    visit(condition, next);
                    visit(value, next);
                }
                otherwise.iter_mut().for_each(|value| visit(value, next));
            }
            _ => {}
        }
        tree.ordinal = *next;
        *next += 1;
    }
    visit(&mut tree, next);
    tree
}

/// Columns `a` = 7, 0, null, 2 and `b` = 1000, 5, 0, -1000.
fn batch() -> RecordBatch {
    let columns: [(&str, ArrayRef); 2] = [
        (
            "a",
            Arc::new(Int32Array::from(vec![Some(7), Some(0), None, Some(2)])),
        ),
        ("b", Arc::new(Int32Array::from(vec![1000, 5, 0, -1000]))),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn query(filter: Option<Typed>, output: Typed) -> Checked {
    let mut next = 0;
    let filter = filter.map(|tree| numbered(tree, &mut next));
    let output = numbered(output, &mut next);
    let field = Field::new("out", output.data_type.clone(), true);
    Checked {
        input: batch().schema(),
        output: Arc::new(Schema::new(vec![field])),
        filter,
        columns: vec![OutputColumn::Computed(output)],
        emit_mask: false,
        notes: Vec::new(),
    }
}

fn values(kept: &[Kept]) -> Vec<(usize, Option<i128>)> {
    let first = |row: &Kept| (row.row, row.values[0].map(Imm::as_integer));
    kept.iter().map(first).collect()
}

#[test]
fn outputs_are_evaluated_only_on_rows_that_the_filter_keeps() {
    let quotient = || arithmetic(ArithmeticOp::Div, number(14), column(0));
    let filter = compare(CompareOp::Ne, column(0), number(0));
    let kept = evaluate_query(&query(Some(filter), quotient()), &batch()).expect("no zero is kept");
    assert_eq!(values(&kept), [(0, Some(2)), (3, Some(7))]);

    let unfiltered = evaluate_query(&query(None, quotient()), &batch());
    let error = unfiltered.expect_err("row 1 divides by zero");
    assert_eq!((error.row, error.error.code), (1, TrapCode::DivideByZero));
}

#[test]
fn a_decided_side_hides_the_errors_after_it() {
    let zero = || compare(CompareOp::Eq, column(0), number(0));
    let quotient = || {
        let quotient = arithmetic(ArithmeticOp::Div, number(14), column(0));
        compare(CompareOp::Gt, quotient, number(2))
    };
    let row = |tree: Node, row| evaluate(&node(tree, DataType::Boolean), &batch(), row);
    let lazy = row(Node::Or(vec![zero(), quotient()]), 1);
    assert_eq!(lazy, Ok(Some(Imm::mask(true))));
    let not_zero = compare(CompareOp::Ne, column(0), number(0));
    let lazy = row(Node::And(vec![not_zero, quotient()]), 1);
    assert_eq!(lazy, Ok(Some(Imm::mask(false))));
    assert!(row(Node::And(vec![quotient(), zero()]), 1).is_err());
    // A null leaves the decision open: the right side is evaluated.
    let null = || {
        node(
            Node::Literal(Literal::null(DataType::Boolean)),
            DataType::Boolean,
        )
    };
    assert!(row(Node::And(vec![null(), quotient()]), 1).is_err());
    assert_eq!(row(Node::And(vec![null(), quotient()]), 2), Ok(None));
    assert_eq!(
        row(Node::And(vec![null(), zero()]), 0),
        Ok(Some(Imm::mask(false)))
    );
}

#[test]
fn branches_and_later_operands_are_evaluated_only_where_needed() {
    let quotient = || arithmetic(ArithmeticOp::Div, number(14), column(0));
    let case = Node::Case {
        branches: vec![(compare(CompareOp::Eq, column(0), number(0)), number(-1))],
        otherwise: Some(Box::new(quotient())),
    };
    let kept = evaluate_query(&query(None, node(case, DataType::Int32)), &batch());
    let expected = [(0, Some(2)), (1, Some(-1)), (2, None), (3, Some(7))];
    assert_eq!(values(&kept.expect("no branch divides by zero")), expected);

    let narrow = || widened(narrowed(column(1)));
    let coalesce = Node::Coalesce(vec![column(0), narrow()]);
    let kept = evaluate_query(&query(None, node(coalesce, DataType::Int32)), &batch());
    let expected = [(0, Some(7)), (1, Some(0)), (2, Some(0)), (3, Some(2))];
    assert_eq!(values(&kept.expect("1000 is never narrowed")), expected);

    let attempt = node(Node::Try(Box::new(narrow())), DataType::Int32);
    let kept = evaluate_query(&query(None, attempt), &batch()).expect("TRY never fails");
    let expected = [(0, None), (1, Some(5)), (2, Some(0)), (3, None)];
    assert_eq!(values(&kept), expected);
}

#[test]
fn the_first_error_in_order_of_evaluation_wins() {
    // The sum of two failing casts: the left cast is the error, and the sum is none.
    let sum = arithmetic(
        ArithmeticOp::Div,
        widened(narrowed(column(1))),
        widened(narrowed(arithmetic(
            ArithmeticOp::Mul,
            column(1),
            number(2),
        ))),
    );
    let query = query(None, sum);
    let QueryError { row, error } = evaluate_query(&query, &batch()).expect_err("1000 in Int8");
    assert_eq!((row, error.ordinal), (0, 1));
    assert_eq!(error.operands, [Literal::from(1000)]);
}

#[test]
fn errors_have_words() {
    let sum = arithmetic(ArithmeticOp::Add, column(1), number(i32::MAX));
    let query = query(None, arithmetic(ArithmeticOp::Mul, sum, column(0)));
    let description = describe(&query, &batch(), 0).expect("row 0 overflows");
    assert_eq!(
        description.to_string(),
        "row 0: `b + 2147483647` overflows Int32: 1000 + 2147483647"
    );
    assert_eq!(description.spark_class(), Some("ARITHMETIC_OVERFLOW"));
    assert_eq!(describe(&query, &batch(), 2), None, "row 2 is null");
}

#[test]
fn nulls_of_keys_and_of_values_are_nulls() {
    let keys = vec![Some(1), None, Some(0), Some(2)].into();
    let values = Arc::new(Int32Array::from(vec![Some(10), Some(20), None]));
    let array = DictionaryArray::<Int8Type>::try_new(keys, values).expect("keys are in bounds");
    let array: ArrayRef = Arc::new(array);
    let dictionary = node(Node::Column(0), array.data_type().clone());
    let tree = node(Node::Decode(Box::new(dictionary)), DataType::Int32);
    let batch = RecordBatch::try_from_iter([("d", array)]).expect("one column");
    let row = |row| evaluate(&tree, &batch, row).expect("keys are in bounds");
    let ten = Imm::integer(Ty::I32, 10);
    assert_eq!([row(1), row(2), row(3)], [None, ten, None]);
    let sliced = batch.slice(2, 2);
    assert_eq!(
        evaluate(&tree, &sliced, 0),
        Ok(ten),
        "rows count from the slice's first"
    );
}
