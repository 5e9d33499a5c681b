//! The types of constants and of results under each engine's rules.
//!
//! What Spark makes of these is recorded with its answers, see `tests/spark/record.py`.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use unlade_expr::*;

fn schema() -> SchemaRef {
    use DataType::*;
    let columns = [
        ("i8", Int8),
        ("i16", Int16),
        ("i32", Int32),
        ("i64", Int64),
        ("f32", Float32),
        ("f64", Float64),
        ("d5", Decimal128(5, 2)),
        ("d38", Decimal128(38, 10)),
        ("u8", UInt8),
        ("u64", UInt64),
        ("day", Date32),
    ];
    let fields = columns.map(|(name, data_type)| Field::new(name, data_type, true));
    Arc::new(Schema::new(fields.to_vec()))
}

fn checked(text: &str, semantics: Semantics) -> Result<Checked, ExprError> {
    let query = Query::all().select(parse_select_list(text).expect("text that parses"));
    check(&query, &schema(), &semantics)
}

fn tree(text: &str, semantics: Semantics) -> Typed {
    let checked = checked(text, semantics).unwrap_or_else(|error| panic!("{text}: {error}"));
    match checked.columns.into_iter().next() {
        Some(OutputColumn::Computed(tree)) => tree,
        other => panic!("{text}: {other:?}"),
    }
}

/// The type of a result.
fn result(text: &str, semantics: Semantics) -> DataType {
    tree(text, semantics).data_type
}

/// The type in which a comparison is made.
fn compared(text: &str, semantics: Semantics) -> DataType {
    match tree(text, semantics).node {
        Node::Compare { lhs, .. } => lhs.data_type,
        Node::In { arg, .. } => arg.data_type,
        other => panic!("{text}: {other:?}"),
    }
}

fn error(text: &str, semantics: Semantics) -> String {
    match checked(text, semantics) {
        Ok(checked) => panic!("{text} is accepted: {checked:?}"),
        Err(error) => error.to_string(),
    }
}

const ARROW: Semantics = Semantics::arrow();
const DATAFUSION: Semantics = Semantics::datafusion();
const LEGACY: Semantics = Semantics::spark_legacy();
const ANSI: Semantics = Semantics::spark_ansi();

#[test]
fn constants_alone_have_the_engines_type() {
    use DataType::*;
    for (text, arrow, spark) in [
        ("1", Int64, Int32),
        ("-2147483648", Int64, Int32),
        ("2147483648", Int64, Int64),
        ("9223372036854775808", UInt64, Decimal128(19, 0)),
        ("1.50", Float64, Decimal128(3, 2)),
        ("0.05", Float64, Decimal128(2, 2)),
        ("1.5e0", Float64, Float64),
    ] {
        assert_eq!(result(text, ARROW), arrow, "{text}");
        assert_eq!(result(text, DATAFUSION), arrow, "{text}");
        assert_eq!(result(text, LEGACY), spark, "{text}");
        assert_eq!(result(text, ANSI), spark, "{text}");
    }
}

#[test]
fn results_have_the_engines_type() {
    use DataType::*;
    let decimal = Decimal128;
    // The expression, and its type under arrow, datafusion, spark-legacy and spark-ansi.
    for (text, types) in [
        ("i8 + 100", [Int8, Int64, Int32, Int32]),
        ("100 - i16", [Int16, Int64, Int32, Int32]),
        ("i32 * 3000000000", [Int64, Int64, Int64, Int64]),
        ("i64 % 7", [Int64, Int64, Int64, Int64]),
        ("i8 / 2", [Int8, Int64, Float64, Float64]),
        ("i8 div 2", [Int8, Int64, Int64, Int64]),
        ("f32 * 2", [Float32, Float32, Float32, Float64]),
        ("f32 * 0.5", [Float32, Float64, Float64, Float64]),
        ("f64 + 1", [Float64, Float64, Float64, Float64]),
        ("i32 * 2.5e0", [Float64, Float64, Float64, Float64]),
        ("i8 + i32", [Int32, Int32, Int32, Int32]),
        ("i32 + f32", [Float64, Float32, Float32, Float64]),
        ("-(i8 + 1)", [Int8, Int64, Int32, Int32]),
        ("coalesce(i8, 0)", [Int8, Int64, Int32, Int32]),
        ("if(i8 > 0, i8, 1)", [Int8, Int64, Int32, Int32]),
        (
            "CASE WHEN i8 > 0 THEN i16 ELSE 1 END",
            [Int16, Int64, Int32, Int32],
        ),
        ("CASE WHEN i8 > 0 THEN 1 END", [Int64, Int64, Int32, Int32]),
        ("coalesce(f32, 1)", [Float32, Float32, Float32, Float64]),
        ("coalesce(f32, 0.5)", [Float32, Float64, Float64, Float64]),
        ("nullif(i8, 1)", [Int8, Int64, Int8, Int8]),
        (
            "coalesce(d5, 0)",
            [
                decimal(5, 2),
                decimal(22, 2),
                decimal(12, 2),
                decimal(12, 2),
            ],
        ),
    ] {
        for (semantics, wanted) in [ARROW, DATAFUSION, LEGACY, ANSI].into_iter().zip(types) {
            let found = result(text, semantics);
            assert_eq!(found, wanted, "{text} under {:?}", semantics.coercion);
        }
    }
    // Only the engines have a type for these.
    assert_eq!(result("i64 + f64", DATAFUSION), Float64);
    assert_eq!(result("i64 + f32", LEGACY), Float32);
    assert_eq!(result("i64 + f32", ANSI), Float64);
    assert_eq!(result("i64 + 1.5", DATAFUSION), Float64);
    assert_eq!(result("d5 * f64", ANSI), Float64);
    assert_eq!(result("coalesce(i32, 1.5)", ANSI), decimal(11, 1));
    assert_eq!(result("u8 + 1", DATAFUSION), Int64);
    let notes = checked("i64 + f64", ANSI).expect("a query").notes;
    assert_eq!(notes, ["`i64` is cast from Int64 to Float64, which rounds"]);
}

#[test]
fn a_comparison_is_made_in_the_columns_type_where_that_does_not_show() {
    use DataType::*;
    for semantics in [ARROW, DATAFUSION, LEGACY, ANSI] {
        assert_eq!(compared("i8 > 100", semantics), Int8);
        assert_eq!(compared("100 >= i64", semantics), Int64);
        assert_eq!(compared("i32 = 1.0", semantics), Int32);
        assert_eq!(compared("f32 > 0.5", semantics), Float32);
        assert_eq!(compared("f32 > 0.1", semantics), Float64);
        assert_eq!(compared("f64 > 1", semantics), Float64);
        assert_eq!(compared("i64 IN (1, 2, 3.0)", semantics), Int64);
        assert_eq!(compared("d5 > 1.5", semantics), Decimal128(5, 2));
        assert_eq!(compared("day > '2020-01-01'", semantics), Date32);
        // What no value of the column's type equals is left out.
        assert_eq!(compared("i8 IN (1, 300)", semantics), Int8);
    }
    for semantics in [DATAFUSION, LEGACY, ANSI] {
        assert_eq!(compared("i64 > 2e0", semantics), Int64);
        // A float does not tell these from their neighbours.
        assert_eq!(compared("i64 = 9007199254740992e0", semantics), Float64);
        assert_eq!(compared("i64 IN (1e16)", semantics), Float64);
        assert_eq!(compared("i64 > 1.5e0", semantics), Float64);
        assert_eq!(compared("f64 = 9007199254740993", semantics), Float64);
    }
    assert_eq!(compared("f32 = 16777217", LEGACY), Float32);
    assert_eq!(compared("f32 = 16777217", ANSI), Float64);
    assert_eq!(compared("i32 < f32", LEGACY), Float32);
    // Total order sees the sign of a zero.
    assert_eq!(compared("i32 > -0e0", DATAFUSION), Float64);
}

#[test]
fn decimal_arithmetic_is_refused_with_what_to_write() {
    for semantics in [LEGACY, ANSI] {
        for (text, help) in [
            ("i32 * 1.5", "a double is written 1.5e0"),
            ("1 - 0.05", "a double is written 0.05e0"),
            ("i32 / 0.5", "a double is written 0.5e0"),
            ("d5 + 1", "write cast(d5 as double)"),
            ("-1.5 * d5", "a double is written -1.5e0"),
            ("i64 + 9223372036854775808", "as double)"),
        ] {
            let error = error(text, semantics);
            assert!(
                error.contains("decimals are compared and cast only"),
                "{error}"
            );
            assert!(error.contains(help), "{text}: {error}");
        }
        assert_eq!(result("f64 * (1 - 0.05e0)", semantics), DataType::Float64);
        let error = error("i32 div 2.0", semantics);
        assert!(error.contains("`2.0` is Decimal128(2, 1)"), "{error}");
        // Too many digits for Spark's double to be the nearest one.
        assert!(self::error("d38 * f64", semantics).contains("do not cast to Float64"));
    }
    let error = error("u64 + 1", DATAFUSION);
    assert!(error.contains("write cast(u64 as bigint)"), "{error}");
}

#[test]
fn the_builder_means_what_the_text_means() {
    let of_builder = |expr: Expr, semantics| {
        let query = Query::all().select([expr.alias("x")]);
        let checked = check(&query, &schema(), &semantics).expect("a query");
        checked.output.field(0).data_type().clone()
    };
    for semantics in [ARROW, DATAFUSION, LEGACY, ANSI] {
        for (built, text) in [
            (col("i8") + lit(100), "i8 + 100"),
            (col("f32") * lit(0.5), "f32 * 0.5e0"),
            (col("i32") * lit(2.5), "i32 * 2.5e0"),
            (coalesce([col("i8"), lit(0_i64)]), "coalesce(i8, 0)"),
        ] {
            assert_eq!(built.to_string(), text);
            assert_eq!(of_builder(built, semantics), result(text, semantics));
        }
        // A literal with a type keeps it.
        let typed = Literal::from(1_i8).into_literal();
        assert_eq!(of_builder(col("i8") + typed, semantics), DataType::Int8);
    }
}
