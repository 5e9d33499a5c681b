//! What the check makes of queries, and what it refuses.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use unlade_expr::*;
use unlade_program::Imm;

fn schema() -> SchemaRef {
    use DataType::*;
    let zoned = Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns = [
        ("b", Boolean),
        ("i8", Int8),
        ("i16", Int16),
        ("i32", Int32),
        ("i64", Int64),
        ("u8", UInt8),
        ("u32", UInt32),
        ("u64", UInt64),
        ("f32", Float32),
        ("f64", Float64),
        ("d32", Date32),
        ("d64", Date64),
        ("ts", Timestamp(TimeUnit::Microsecond, None)),
        ("tms", Timestamp(TimeUnit::Millisecond, None)),
        ("tz", zoned),
        ("dec", Decimal128(12, 2)),
        ("wide", Decimal128(38, 0)),
        ("s", Utf8),
        ("dict", Dictionary(Box::new(Int8), Box::new(Int64))),
        ("words", Dictionary(Box::new(Int8), Box::new(Utf8))),
        ("Case", Int32),
        ("CASE", Int32),
        ("Upper", Int32),
    ];
    let fields: Vec<_> = columns
        .into_iter()
        .map(|(name, data_type)| Field::new(name, data_type, !name.starts_with('i')))
        .collect();
    Arc::new(Schema::new(fields))
}

fn output(text: &str, semantics: Semantics) -> Result<Checked, ExprError> {
    let query = Query::all().select(parse_select_list(text)?);
    check(&query, &schema(), &semantics)
}

fn tree(text: &str) -> Typed {
    let checked = output(text, Semantics::arrow()).unwrap_or_else(|e| panic!("{text}: {e}"));
    match checked.columns.into_iter().next() {
        Some(OutputColumn::Computed(tree)) => tree,
        other => panic!("{text}: {other:?}"),
    }
}

/// The type that both sides of a comparison get.
fn compared(text: &str) -> DataType {
    match tree(text).node {
        Node::Compare { lhs, rhs, .. } => {
            assert_eq!(lhs.data_type, rhs.data_type, "{text}");
            lhs.data_type
        }
        other => panic!("{text}: {other:?}"),
    }
}

fn error(text: &str) -> String {
    match output(text, Semantics::arrow()) {
        Ok(checked) => panic!("{text} is accepted: {checked:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn constants_take_the_type_of_their_neighbour() {
    use DataType::*;
    assert_eq!(compared("i8 > 1"), Int8);
    assert_eq!(compared("1 > i8"), Int8);
    assert_eq!(compared("u64 > 18446744073709551615"), UInt64);
    assert_eq!(compared("f32 > 1.5"), Float32);
    assert_eq!(compared("f32 > 0.1"), Float64);
    assert_eq!(compared("f64 > 1"), Float64);
    assert_eq!(compared("dec > 1.50"), Decimal128(12, 2));
    assert_eq!(compared("i32 > 1.0"), Int32);
    assert_eq!(compared("i32 > 1.5"), Float64);
    assert_eq!(compared("d32 >= '2020-01-01'"), Date32);
    assert_eq!(
        compared("ts >= '2020-01-01 10:00:00'"),
        Timestamp(TimeUnit::Microsecond, None)
    );
    assert_eq!(
        compared("ts >= date '2020-01-01'"),
        Timestamp(TimeUnit::Microsecond, None)
    );
    assert_eq!(
        compared("tms < timestamp '2020-01-01 00:00:00.5'"),
        Timestamp(TimeUnit::Millisecond, None)
    );
    assert_eq!(compared("b = NULL"), Boolean);
    assert_eq!(compared("i32 = cast(1 as bigint)"), Int32);
}

#[test]
fn constants_that_do_not_fit_widen_the_column() {
    use DataType::*;
    assert_eq!(compared("i8 > 300"), Int16);
    assert_eq!(compared("i32 > 3000000000"), Int64);
    assert_eq!(compared("u8 > -1"), Int16);
    assert_eq!(compared("u64 > -1"), Decimal128(20, 0));
    assert_eq!(compared("dec > 1.234"), Decimal128(13, 3));
    let notes = output("i8 > 300", Semantics::arrow()).unwrap().notes;
    assert_eq!(notes, ["`i8` is widened from Int8 to Int16"]);
}

#[test]
fn columns_widen_only_without_loss() {
    use DataType::*;
    assert_eq!(compared("i32 < i64"), Int64);
    assert_eq!(compared("u32 < i8"), Int64);
    assert_eq!(compared("u64 < i8"), Decimal128(20, 0));
    assert_eq!(compared("i16 < f32"), Float32);
    assert_eq!(compared("i32 < f32"), Float64);
    assert_eq!(compared("i32 < dec"), Decimal128(12, 2));
    assert_eq!(compared("i64 < dec"), Decimal128(21, 2));
    assert_eq!(compared("d32 < d64"), Date64);
    assert_eq!(compared("dict < i8"), Int64);
    for text in [
        "i64 < f64",
        "dec < f64",
        "ts < tms",
        "ts < tz",
        "d32 < ts",
        "b < i32",
        "wide < dec",
    ] {
        let message = error(text);
        assert!(message.contains("without a cast"), "{text}: {message}");
    }
}

#[test]
fn nodes_are_numbered_in_order_of_evaluation() {
    let checked = check(
        &Query::filter(parse_expr("i32 + 1 < i64 AND b").unwrap())
            .select(parse_select_list("i32, i32 * 2, -i8").unwrap()),
        &schema(),
        &Semantics::arrow(),
    )
    .unwrap();
    fn collect(tree: &Typed, into: &mut Vec<u32>) {
        tree.for_each_child(|child| collect(child, into));
        into.push(tree.ordinal);
    }
    let mut ordinals = Vec::new();
    for tree in checked.trees() {
        collect(tree, &mut ordinals);
    }
    assert_eq!(ordinals, (0..ordinals.len() as u32).collect::<Vec<_>>());
}

#[test]
fn names_are_matched_exactly_then_letter_case_aside() {
    assert_eq!(
        output("upper", Semantics::arrow()).unwrap().columns,
        [OutputColumn::Payload(22)]
    );
    assert!(error("\"upper\"").contains("no column `upper`"));
    assert_eq!(
        output("\"CASE\"", Semantics::arrow()).unwrap().columns,
        [OutputColumn::Payload(21)]
    );
    assert_eq!(
        check(
            &Query::all().select([col("upper")]),
            &schema(),
            &Semantics::arrow()
        )
        .unwrap()
        .columns,
        [OutputColumn::Payload(22)]
    );
}

#[test]
fn what_a_reader_must_provide_is_named_once_and_in_order() {
    let named = |list: &str, predicate: &str| {
        let query =
            Query::filter(parse_expr(predicate).unwrap()).select(parse_select_list(list).unwrap());
        let checked = check(&query, &schema(), &Semantics::arrow()).unwrap();
        checked.named_columns()
    };
    // Payload, computed and filtered columns alike; each once, however often it is named.
    assert_eq!(named("s, i64 + i8, i8", "f64 > 1"), [1, 4, 9, 17]);
    // Even where folding leaves nothing of the column: the text still has to be understood.
    assert_eq!(named("i8", "i16 = 1 and false"), [1, 2]);
    assert_eq!(named("*", "true").len(), schema().fields().len());
}

#[test]
fn outputs_are_named() {
    let checked = output("i32 AS x, s, i32 + 1, *", Semantics::arrow());
    assert!(
        checked
            .unwrap_err()
            .to_string()
            .contains("two outputs have the name `s`")
    );
    let checked = output("i32 AS x, s, i32 + 1", Semantics::arrow()).unwrap();
    let names: Vec<_> = checked
        .fields()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["x", "s", "i32 + 1"]);
}

#[test]
fn spark_rules() {
    let spark = |text: &str| output(text, Semantics::spark_ansi());
    let checked = spark("i32 / 2").unwrap();
    assert_eq!(*checked.output.field(0).data_type(), DataType::Float64);
    assert_eq!(checked.notes.len(), 1);
    let checked = spark("i32 div 2").unwrap();
    assert_eq!(*checked.output.field(0).data_type(), DataType::Int64);
    assert!(
        spark("u8 + 1")
            .unwrap_err()
            .to_string()
            .contains("unsigned")
    );
    assert!(
        spark("cast(i32 as uint8)")
            .unwrap_err()
            .to_string()
            .contains("unsigned")
    );
    assert!(spark("u8").is_ok(), "payload of any type is put out");
    let error = spark("cast(d64 as int)").unwrap_err().to_string();
    assert!(error.contains("there is no cast from Date64"), "{error}");
}

#[test]
fn division_never_wraps_under_the_arrow_rules() {
    let overflow = |text: &str, semantics| {
        let checked = output(text, semantics).unwrap();
        let OutputColumn::Computed(tree) = &checked.columns[0] else {
            panic!("`{text}` is computed");
        };
        let Node::Arithmetic { overflow, .. } = tree.node else {
            panic!("`{text}` is arithmetic");
        };
        overflow
    };
    let datafusion = Semantics::datafusion();
    assert_eq!(overflow("i32 + 1", datafusion), OnError::Wrap);
    assert_eq!(overflow("i32 / -1", datafusion), OnError::Trap);
    let legacy = Semantics::spark_legacy();
    assert_eq!(overflow("i32 div -1", legacy), OnError::Wrap);
}

#[test]
fn nullability() {
    let nullable = |text: &str| tree(text).nullable;
    assert!(!nullable("i32 + 1"));
    assert!(nullable("f64 + 1"));
    assert!(!nullable("f64 IS NULL"));
    assert!(!nullable("coalesce(f64, 0)"));
    assert!(nullable("CASE WHEN i32 > 1 THEN 1 END"));
    assert!(!nullable("CASE WHEN i32 > 1 THEN 1 ELSE 2 END"));
    assert!(nullable("try_cast(i32 as tinyint)"));
    assert!(!nullable("try_cast(i32 as bigint)"));
    assert!(nullable("nullif(i32, 0)"));
    assert!(nullable("dict + 1"));
    assert!(!nullable("i32 IN (1, 2)"));
    assert!(nullable("i32 IN (1, NULL)"));
}

#[test]
fn lists_keep_what_can_match() {
    match tree("i8 IN (1, 300, NULL, 1.5, -2)").node {
        Node::In { list, .. } => {
            let values: Vec<_> = list
                .iter()
                .map(|l| l.value.map(|v| v.as_integer()))
                .collect();
            assert_eq!(values, [Some(1), None, Some(-2)]);
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(tree("i8 IN (1, i16)").node, Node::Or(parts) if parts.len() == 2));
    assert!(matches!(tree("i8 NOT IN (1, 2)").node, Node::Not(_)));
}

/// As in pyarrow, DataFusion and Spark: null is none of no values either.
#[test]
fn nothing_is_in_an_empty_list() {
    let checked = |expr| check(&Query::filter(expr), &schema(), &Semantics::arrow());
    for (expr, value) in [
        (col("f64").in_list([]), false),
        (col("b").not_in_list([]), true),
        (lit(1).in_list([]), false),
    ] {
        let filter = checked(expr).unwrap().filter.unwrap();
        assert!(!filter.nullable);
        match filter.node {
            Node::Literal(literal) => assert_eq!(literal.value, Some(Imm::mask(value))),
            other => panic!("{other:?}"),
        }
    }
    let error = checked(col("none").in_list([])).unwrap_err();
    assert_eq!(error.kind(), ExprErrorKind::Unknown);
}

#[test]
fn deep_trees_are_refused() {
    let mut expr = col("b");
    for _ in 0..100_000 {
        expr = expr.not();
    }
    let error = check(&Query::filter(expr.clone()), &schema(), &Semantics::arrow()).unwrap_err();
    assert_eq!(error.kind(), ExprErrorKind::Limit);
    drop(expr);

    let mut expr = col("b");
    for _ in 0..100_000 {
        expr = expr.and(col("b"));
    }
    let error = check(&Query::filter(expr), &schema(), &Semantics::arrow()).unwrap_err();
    assert_eq!(error.kind(), ExprErrorKind::Limit);

    let mut expr = col("b");
    for _ in 0..limits::MAX_DEPTH - 1 {
        expr = expr.not();
    }
    assert!(check(&Query::filter(expr), &schema(), &Semantics::arrow()).is_ok());
}

#[test]
fn nesting_that_doubles_is_refused() {
    let mut expr = col("i32");
    for _ in 0..40 {
        expr = nullif(expr, lit(1));
    }
    let query = Query::all().select([expr.alias("x")]);
    let error = check(&query, &schema(), &Semantics::arrow()).unwrap_err();
    assert_eq!(error.kind(), ExprErrorKind::Limit);
}

#[test]
fn decimals_that_arrow_does_not_admit_are_refused() {
    for (precision, scale) in [(0, 0), (39, 0), (255, 127), (5, 6), (5, -128)] {
        let odd = DataType::Decimal128(precision, scale);
        let schema = Arc::new(Schema::new(vec![
            Field::new("x", odd.clone(), true),
            Field::new("y", DataType::Decimal128(38, 10), true),
            Field::new("i", DataType::Int64, true),
        ]));
        for query in [
            Query::filter(col("x").lt(col("y"))),
            Query::filter(col("x").lt(lit(1.5))),
            Query::all().select([col("i").cast(odd.clone())]),
        ] {
            let error = check(&query, &schema, &Semantics::arrow()).unwrap_err();
            assert_eq!(error.kind(), ExprErrorKind::Unsupported, "{odd}: {error}");
        }
        assert!(check(&Query::all(), &schema, &Semantics::arrow()).is_ok());
    }
}

#[test]
fn whole_numbers_beyond_64_bits() {
    assert_eq!(
        compared("u64 > 18446744073709551616"),
        DataType::Decimal128(20, 0)
    );
    let checked = output("9223372036854775808", Semantics::arrow()).unwrap();
    assert_eq!(*checked.output.field(0).data_type(), DataType::UInt64);
    let checked = output("9223372036854775808", Semantics::spark_ansi()).unwrap();
    assert_eq!(
        *checked.output.field(0).data_type(),
        DataType::Decimal128(19, 0)
    );
    let error = error("170141183460469231731687303715884105727");
    assert!(error.contains("too many digits"), "{error}");
}
