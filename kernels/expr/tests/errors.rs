//! Error messages, as a user sees them, held in `errors.txt`. `UPDATE_GOLDEN=1` rewrites it; read
//! the difference before committing it.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use unlade_expr::*;
use unlade_program::Imm;

const TEXTS: &[&str] = &[
    // What is no expression.
    "",
    "   ",
    "a >",
    "a > > 1",
    "a b",
    "(a > 1",
    "a > 1)",
    "a > 'open",
    "SELECT a FROM t",
    "a = 1 WHERE b = 2",
    "CASE WHEN flag THEN 1",
    "CASE flag END",
    "a BETWEEN 1 OR 2",
    "a IN 1",
    "a IN ()",
    "a IS 3",
    "a NOT 3",
    "a + NOT flag",
    "and + 1",
    "abs(a, b)",
    "nullif(a)",
    "cast(a, bigint)",
    "t.a > 1",
    "a LIKE 'x%'",
    "$1 + a",
    "a > 1 && b > 2",
    "a > 1 || b > 2",
    "!flag",
    "a > 1 ORDER BY b",
    "a > 1 GROUP BY b",
    "a > 1 LIMIT 5",
    "day > interval '1 day'",
    "day + INTERVAL 1 day > day",
    "a\n  AND größe >\n  flag AND",
    // What does not exist.
    "prise > 1",
    "zzz > 1",
    "\"A\" > 1",
    "flag = \"it's a text\"",
    "a + a + a + a + a + a + a + a + a + a + a + a + a + a + a + a + a + a + a + a + a + a + a + a + a + a + 1",
    "Twice > 1",
    "sqrt(a)",
    "colesce(a, b)",
    "sum(a) > 1",
    "COUNT(*) > 1",
    "f = nan",
    "f < -Infinity",
    "a::bigintt",
    "a::varchar",
    "a::decimal(50, 2)",
    "a::timestamp(4)",
    // What does not fit.
    "a",
    "a AND flag",
    "NOT a",
    "a IS TRUE",
    "flag + 1",
    "flag > 1",
    "a > 'text'",
    "a > TRUE",
    "b > f",
    "price > f",
    "price + 1 > 0",
    "day + 1 > 0",
    "day > 1",
    "day > '2020-02-30'",
    "at > '2020-01-01 25:00:00'",
    "at > '2020-01-01 00:00:00.0000001'",
    "at > '2020-01-01 00:00:00Z'",
    "at > at_ms",
    "at > at_utc",
    "day > at",
    "name = 'x'",
    "words = 'x'",
    "-u > 0",
    "f div 2 > 1",
    "CASE WHEN flag THEN b ELSE f END > 0",
    "coalesce(b, u64) > 0",
    "coalesce(NULL, NULL) = 1",
    "NULL = NULL",
    "'a' = 'b'",
    "a IN (1, 'x')",
    "a IN (1, day)",
    "cast('x' AS int) = 1",
    "cast(flag AS date) = day",
    "cast(name AS int) = 1",
    "cast(oslo AS date) = day",
    "oslo > day",
    "oslo > date '2024-01-31'",
    "oslo > timestamp '2024-01-31 12:00:00'",
    "oslo > '2024-01-31 12:00:00'",
    "oslo > at",
    "oslo > at_utc",
    "oslo > 5",
    "at > timestamp '2024-01-31 12:00:00Z'",
    "cast(hundreds AS int) = 1",
    "(a AS x) > 1",
    "f > 99999999999999999999999999999999999999.5::decimal(38, 0)",
    "f > 1e400",
    "f > -1.5e309",
    concat!(
        "f > 1",
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000",
        "e400"
    ),
    "u > 170141183460469231731687303715884105727",
];

fn schema() -> Arc<Schema> {
    use DataType::*;
    let columns = [
        ("a", Int32),
        ("b", Int64),
        ("u", UInt32),
        ("u64", UInt64),
        ("f", Float64),
        ("flag", Boolean),
        ("price", Decimal128(12, 2)),
        ("day", Date32),
        ("at", Timestamp(TimeUnit::Microsecond, None)),
        ("at_ms", Timestamp(TimeUnit::Millisecond, None)),
        (
            "at_utc",
            Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ),
        (
            "oslo",
            Timestamp(TimeUnit::Microsecond, Some("Europe/Oslo".into())),
        ),
        ("hundreds", Decimal128(5, -2)),
        ("name", Utf8),
        ("words", Dictionary(Box::new(Int32), Box::new(Utf8))),
        ("größe", Int32),
        ("twice", Int32),
        ("TWICE", Int32),
    ];
    let fields: Vec<_> = columns
        .into_iter()
        .map(|(name, data_type)| Field::new(name, data_type, true))
        .collect();
    Arc::new(Schema::new(fields))
}

#[test]
fn messages_are_as_in_the_golden_file() {
    let mut found = String::new();
    for text in TEXTS {
        let result = parse_expr(text)
            .and_then(|filter| check(&Query::filter(filter), &schema(), &Semantics::arrow()));
        let rendered = match result {
            Ok(_) => panic!("`{text}` is accepted"),
            Err(error) => error.render(text),
        };
        writeln!(found, "{text}\n----\n{rendered}\n").expect("a String takes any text");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).expect("the golden file is writable");
        return;
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file is there");
    for (found, golden) in found.split("\n\n").zip(golden.split("\n\n")) {
        assert_eq!(found, golden);
    }
    assert_eq!(found, golden);
}

#[test]
fn a_number_is_read_as_the_nearest_double_however_many_digits_it_has() {
    let zeros = "0".repeat(400);
    for (text, expected) in [
        (format!("0.{zeros}1"), 0.0),
        ("0.1e-400".to_owned(), 0.0),
        ("4.9e-324".to_owned(), f64::from_bits(1)),
        ("2.4e-324".to_owned(), 0.0),
        (format!("0.{}49", "0".repeat(323)), f64::from_bits(1)),
        (format!("0.{zeros}1e401"), 1.0),
        (format!("1{zeros}.0e-400"), 1.0),
        (format!("{}1.5", "0".repeat(400)), 1.5),
    ] {
        let query = Query::filter(parse_expr(&format!("f = {text}")).unwrap());
        let filter = check(&query, &schema(), &Semantics::arrow())
            .unwrap()
            .filter;
        let Some(Node::Compare { rhs, .. }) = filter.map(|filter| filter.node) else {
            panic!("a comparison is one");
        };
        let Node::Literal(literal) = &rhs.node else {
            panic!("{:?} is no number", rhs.node);
        };
        let start = &text[..text.len().min(20)];
        assert_eq!(literal.value, Some(Imm::f64(expected)), "{start}");
    }
    for beyond in [format!("1{zeros}.0"), "1e309".to_owned()] {
        let error = parse_expr(&format!("f < {beyond}"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("beyond the range of Float64"), "{error}");
        assert!(error.len() < 200, "{error}");
    }
}

#[test]
fn instants_are_compared_whatever_their_zones() {
    let micros = 1_704_063_600_000_000; // 2024-01-01 00:00:00+01:00
    for rules in ["arrow", "datafusion", "spark-legacy", "spark-ansi"] {
        let semantics: Semantics = rules.parse().unwrap();
        let checked = |text: &str| {
            let query = Query::filter(parse_expr(text).unwrap());
            check(&query, &schema(), &semantics).map(|checked| checked.filter)
        };
        for constant in [
            "timestamptz '2024-01-01 00:00:00+01:00'",
            "'2023-12-31 23:00:00Z'",
            "timestamp(6, 'Asia/Tokyo') '2024-01-01 08:00:00+09:00'",
        ] {
            let filter = checked(&format!("oslo >= {constant}")).unwrap();
            let Some(Node::Compare { rhs, .. }) = filter.map(|filter| filter.node) else {
                panic!("a comparison is one");
            };
            let Node::Literal(literal) = &rhs.node else {
                panic!("{:?} is no instant", rhs.node);
            };
            let value = literal.value.map(|value| value.as_integer());
            assert_eq!(value, Some(micros), "{rules}: {constant}");
        }
        let in_utc = "cast(oslo as timestamp(6) with time zone)";
        assert!(checked(&format!("{in_utc} = at_utc")).is_ok(), "{rules}");
        for other in [
            "day",
            "at",
            "date '2024-01-01'",
            "timestamp '2024-01-01 00:00:00'",
        ] {
            assert!(
                checked(&format!("oslo >= {other}")).is_err(),
                "{rules}: {other}"
            );
        }
    }
}
