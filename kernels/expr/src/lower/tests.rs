//! Lowering of trees built by hand.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use unlade_program::{CompareOp, FloatOrder, Inst, Program, TrapCode, verify};

use super::lower;
use crate::literal::Literal;
use crate::lowered::{Destination, Lowered, Payload, StringsPayload};
use crate::semantics::{Dialect, FloatZeroDivision, OnError};
use crate::typed::{ArithmeticOp, Checked, Node, OutputColumn, Typed};

/// Columns of the test's batches: `a` may be null, `b` not; `name` is payload of variable width.
fn schema() -> Schema {
    Schema::new(vec![
        Field::new("a", DataType::Int32, true),
        Field::new("b", DataType::Int32, false),
        Field::new("name", DataType::Utf8, true),
        Field::new(
            "time",
            DataType::Time32(arrow_schema::TimeUnit::Second),
            true,
        ),
    ])
}

fn query(filter: Option<Typed>, columns: Vec<OutputColumn>) -> Checked {
    let input = schema();
    let fields: Vec<Field> = columns
        .iter()
        .map(|column| match column {
            OutputColumn::Payload(column) => input.field(*column).clone(),
            OutputColumn::Computed(tree) => Field::new("", tree.data_type.clone(), tree.nullable),
        })
        .collect();
    let mut checked = Checked {
        input: Arc::new(input),
        output: Arc::new(Schema::new(fields)),
        filter,
        columns,
        emit_mask: false,
        notes: Vec::new(),
    };
    let mut next = 0;
    if let Some(filter) = &mut checked.filter {
        number(filter, &mut next);
    }
    for column in &mut checked.columns {
        if let OutputColumn::Computed(tree) = column {
            number(tree, &mut next);
        }
    }
    checked
}

/// Numbers a tree in order of evaluation.
fn number(tree: &mut Typed, next: &mut u32) {
    match &mut tree.node {
        Node::Arithmetic { lhs, rhs, .. } | Node::Compare { lhs, rhs, .. } => {
            number(lhs, next);
            number(rhs, next);
        }
        Node::Cast { arg, .. } | Node::Try(arg) => number(arg, next),
        Node::And(args) => args.iter_mut().for_each(|arg| number(arg, next)),
        _ => {}
    }
    tree.ordinal = *next;
    *next += 1;
}

fn typed(node: Node, data_type: DataType, nullable: bool) -> Typed {
    Typed {
        node,
        data_type,
        nullable,
        ordinal: 0,
        span: None,
    }
}

fn column(name: &str) -> Typed {
    let schema = schema();
    let (index, field) = schema.column_with_name(name).unwrap();
    let nullable = field.is_nullable();
    typed(Node::Column(index), field.data_type().clone(), nullable)
}

fn lit(value: impl Into<Literal>) -> Typed {
    let literal = value.into();
    let data_type = literal.data_type.clone();
    typed(Node::Literal(literal), data_type, false)
}

fn compare(op: CompareOp, lhs: Typed, rhs: Typed) -> Typed {
    let nullable = lhs.nullable || rhs.nullable;
    let node = Node::Compare {
        op,
        order: FloatOrder::Ieee,
        lhs: Box::new(lhs),
        rhs: Box::new(rhs),
    };
    typed(node, DataType::Boolean, nullable)
}

fn divide(lhs: Typed, rhs: Typed) -> Typed {
    let (data_type, nullable) = (lhs.data_type.clone(), lhs.nullable || rhs.nullable);
    let node = Node::Arithmetic {
        op: ArithmeticOp::Div,
        overflow: OnError::Trap,
        zero: OnError::Trap,
        float_zero: FloatZeroDivision::Ieee,
        lhs: Box::new(lhs),
        rhs: Box::new(rhs),
    };
    typed(node, data_type, nullable)
}

fn cast(arg: Typed, to: DataType) -> Typed {
    let nullable = arg.nullable;
    let node = Node::Cast {
        on_error: OnError::Trap,
        dialect: Dialect::Arrow,
        arg: Box::new(arg),
    };
    typed(node, to, nullable)
}

fn and(args: Vec<Typed>) -> Typed {
    let nullable = args.iter().any(|arg| arg.nullable);
    typed(Node::And(args), DataType::Boolean, nullable)
}

fn lowered(checked: &Checked) -> Lowered {
    let lowered = lower(checked, Payload::Fused).unwrap();
    verify(&lowered.program).unwrap();
    lowered
}

fn filter(predicate: Typed) -> Lowered {
    lowered(&query(Some(predicate), vec![OutputColumn::Payload(0)]))
}

fn traps(program: &Program) -> Vec<(TrapCode, u32)> {
    let traps = program.insts.iter().filter_map(|inst| match inst {
        Inst::Trap { code, ordinal, .. } => Some((*code, *ordinal)),
        _ => None,
    });
    traps.collect()
}

#[test]
fn a_compare_of_a_widened_column_is_the_compare_of_the_column() {
    for op in [CompareOp::Gt, CompareOp::Eq, CompareOp::Le] {
        let narrow = filter(compare(op, column("a"), lit(1i32)));
        let wide = filter(compare(op, cast(column("a"), DataType::Int64), lit(1i64)));
        assert_eq!(narrow, wide);
        let swapped = filter(compare(op, lit(1i64), cast(column("a"), DataType::Int64)));
        assert_eq!(narrow.program.params, swapped.program.params);
    }
}

#[test]
fn a_literal_beyond_the_narrow_type_decides_all_valid_rows() {
    let beyond = compare(
        CompareOp::Lt,
        cast(column("a"), DataType::Int64),
        lit(1i64 << 40),
    );
    let lowered = filter(beyond);
    // What is left to ask is whether `a` is null.
    let insts = &lowered.program.insts;
    let keep = lowered.program.keep.unwrap();
    assert_eq!(insts[keep.index()], Inst::Validity { column: 0 });
    assert_eq!(lowered.params, []);
}

#[test]
fn anded_bounds_are_one_range_whatever_the_literals() {
    let between = |low: i32, high: i32| {
        filter(and(vec![
            compare(CompareOp::Ge, column("a"), lit(low)),
            compare(CompareOp::Lt, column("a"), lit(high)),
        ]))
    };
    let lowered = between(3, 10);
    let ranges = |lowered: &Lowered| {
        let insts = lowered.program.insts.iter();
        insts
            .filter(|inst| matches!(inst, Inst::Range { .. }))
            .count()
    };
    assert_eq!(ranges(&lowered), 1);
    let values: Vec<i128> = lowered.params.iter().map(|imm| imm.as_integer()).collect();
    assert_eq!(values, [3, 9]);
    for (low, high) in [(0, 0), (i32::MIN, i32::MAX), (7, i32::MIN), (9, -9)] {
        assert_eq!(between(low, high).program, lowered.program);
    }
    // Nothing is less than the minimum: the range must be empty, not wrap around.
    let never = between(7, i32::MIN);
    assert!(never.params[0].as_integer() > never.params[1].as_integer());
}

#[test]
fn a_projection_traps_only_on_rows_that_the_filter_keeps() {
    let checked = query(
        Some(compare(CompareOp::Ne, column("a"), lit(0i32))),
        vec![OutputColumn::Computed(divide(lit(10i32), column("a")))],
    );
    let lowered = lowered(&checked);
    let program = &lowered.program;
    assert_eq!(
        traps(program),
        [(TrapCode::DivideByZero, 5), (TrapCode::Overflow, 5)]
    );
    let keep = program.keep.unwrap();
    for inst in &program.insts {
        if let Inst::Trap { when, .. } = inst {
            let mut operands = Vec::new();
            program.insts[when.index()].for_each_operand(|operand| operands.push(operand));
            assert!(
                operands.contains(&keep),
                "{inst:?} is not masked by the filter"
            );
        }
    }
}

#[test]
fn a_literal_divisor_needs_no_checks() {
    for divisor in [1i32, 2, 7, i32::MAX, i32::MIN] {
        let checked = query(
            None,
            vec![OutputColumn::Computed(divide(column("a"), lit(divisor)))],
        );
        assert_eq!(traps(&lowered(&checked).program), [], "{divisor}");
    }
    let by = |divisor| {
        let tree = divide(column("a"), lit(divisor));
        traps(&lowered(&query(None, vec![OutputColumn::Computed(tree)])).program)
    };
    assert_eq!(by(0i32), [(TrapCode::DivideByZero, 2)]);
    assert_eq!(by(-1i32), [(TrapCode::Overflow, 2)]);
}

#[test]
fn try_turns_traps_into_nulls() {
    let attempt = typed(
        Node::Try(Box::new(divide(lit(10i32), column("b")))),
        DataType::Int32,
        true,
    );
    let lowered = lowered(&query(None, vec![OutputColumn::Computed(attempt)]));
    assert_eq!(traps(&lowered.program), []);
    assert!(lowered.program.outputs[0].valid.is_some());
}

#[test]
fn payload_goes_through_the_program_only_if_fused_and_filtered() {
    let columns = || (0..4).map(OutputColumn::Payload).collect::<Vec<_>>();
    let predicate = || Some(compare(CompareOp::Gt, column("b"), lit(1i32)));
    let fused = lowered(&query(predicate(), columns()));
    assert_eq!(
        fused.outputs,
        [
            Destination::Program { output: 0 },
            Destination::Program { output: 1 },
            Destination::Payload { column: 2 },
            Destination::Program { output: 2 },
        ]
    );
    assert!(fused.program.emit_mask, "strings are compacted by the mask");
    assert_eq!(fused.program.outputs[1].valid, None);

    let late = lower(&query(predicate(), columns()), Payload::Late).unwrap();
    assert_eq!(late.columns, [1]);
    assert!(late.program.emit_mask && late.program.outputs.is_empty());

    let with_strings = query(predicate(), columns());
    let with_strings = lower(&with_strings, Payload::FusedWithStrings).unwrap();
    assert!(with_strings.program.emit_mask);
    let outputs = [
        Destination::Program { output: 0 },
        Destination::Program { output: 1 },
    ];
    assert_eq!(with_strings.outputs[..2], outputs);
    assert_eq!(with_strings.outputs[2], Destination::Payload { column: 2 });
    // Between them is which of the names kept are not null: all that the program reads of them.
    assert_eq!(with_strings.outputs[3], Destination::Program { output: 3 });
    let name = StringsPayload {
        column: 2,
        validity: Some(2),
    };
    assert_eq!(with_strings.strings, [name]);
    let names = with_strings.columns.iter().position(|column| *column == 2);
    assert!(with_strings.reads_validity(names.unwrap(), &DataType::Utf8));
    assert!(fused.strings.is_empty() && late.strings.is_empty());

    let whole = lower(&query(None, columns()), Payload::FusedWithStrings).unwrap();
    assert!(whole.strings.is_empty());
    let whole = lowered(&query(None, columns()));
    assert!(whole.program.insts.is_empty() && whole.program.keep.is_none());
    assert_eq!(whole.outputs[0], Destination::Payload { column: 0 });
}
