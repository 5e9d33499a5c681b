//! The programs that queries lower to, word for word.
//!
//! `UPDATE_GOLDEN=1 cargo test -p unlade-expr --test lowering` writes what is in
//! `tests/lowering/golden/` anew; the difference is then to be read.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use unlade_expr::{
    Destination, Lowered, Payload, Query, Semantics, check, lower, parse_expr, parse_select_list,
};
use unlade_program::{ShapeHash, verify};

/// `a`, `b` and what is named after a type may be null; `n` and `m` never are.
fn schema() -> SchemaRef {
    use DataType::{Boolean, Date32, Date64, Decimal128, Float64, Int8, Int32, Int64, Utf8};
    let dictionary = |values: DataType| DataType::Dictionary(Box::new(Int8), Box::new(values));
    Arc::new(Schema::new(vec![
        Field::new("a", Int32, true),
        Field::new("b", Int32, true),
        Field::new("n", Int32, false),
        Field::new("m", Int32, false),
        Field::new("p", Boolean, true),
        Field::new("q", Boolean, true),
        Field::new("f64", Float64, true),
        Field::new("i8", Int8, true),
        Field::new("i64", Int64, true),
        Field::new("d32", Date32, true),
        Field::new("d64", Date64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("dec", Decimal128(12, 2), true),
        Field::new("text", Utf8, true),
        Field::new("time", DataType::Time32(TimeUnit::Second), true),
        Field::new("code", dictionary(Int32), true),
        Field::new("key", dictionary(Int32), false),
        Field::new("flag", dictionary(Boolean), false),
        Field::new("word", dictionary(Utf8), true),
    ]))
}

const ARROW: Semantics = Semantics::arrow();
const LEGACY: Semantics = Semantics::spark_legacy();
const ANSI: Semantics = Semantics::spark_ansi();
const DATAFUSION: Semantics = Semantics::datafusion();

fn lowered(text: &str, semantics: &Semantics, payload: Payload) -> Lowered {
    // `SELECT list WHERE predicate`, either of which may be missing.
    let (list, predicate) = match text.split_once("WHERE ") {
        Some((list, predicate)) => (list, Some(predicate)),
        None => (text, None),
    };
    let mut query = match list.trim().strip_prefix("SELECT ") {
        Some(list) => {
            Query::all().select(parse_select_list(list).unwrap_or_else(|e| panic!("{text}: {e}")))
        }
        None => Query::mask(parse_expr("true").expect("a literal")),
    };
    query.filter = predicate.map(|text| parse_expr(text).unwrap_or_else(|e| panic!("{text}: {e}")));
    let checked = check(&query, &schema(), semantics).unwrap_or_else(|e| panic!("{text}: {e}"));
    let lowered = lower(&checked, payload).unwrap_or_else(|e| panic!("{text}: {e}"));
    verify(&lowered.program).unwrap_or_else(|e| panic!("{text}: {e}"));
    for (field, destination) in checked.fields().zip(&lowered.outputs) {
        if let Destination::Program { output } = destination {
            let valid = lowered.program.outputs[*output].valid;
            assert!(field.is_nullable() || valid.is_none(), "{text}: {field}");
        }
    }
    lowered
}

fn golden(name: &str, queries: &[(&str, Semantics, Payload)]) {
    let mut found = String::new();
    for (text, semantics, payload) in queries {
        let lowered = lowered(text, semantics, *payload);
        let rules = if *semantics == LEGACY {
            "spark-legacy"
        } else {
            "arrow"
        };
        writeln!(found, "== {text} ({rules}, {payload:?})").expect("a string grows");
        describe(&mut found, &lowered);
    }
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/lowering/golden/{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
        std::fs::write(&path, &found).expect("a writable file");
    }
    let wanted = std::fs::read_to_string(&path).expect("a golden file; UPDATE_GOLDEN=1 makes it");
    assert!(
        found == wanted,
        "{} differs; it would be\n{found}\nUPDATE_GOLDEN=1 accepts that",
        path.display()
    );
}

fn describe(out: &mut String, lowered: &Lowered) {
    write!(out, "{}", lowered.program).expect("a string grows");
    let schema = schema();
    let mut note = |what: &str, text: String| writeln!(out, "; {what}: {text}").expect("grows");
    let names: Vec<&str> = lowered
        .columns
        .iter()
        .map(|at| schema.field(*at).name().as_str())
        .collect();
    if !names.is_empty() {
        note("columns", names.join(", "));
    }
    if !lowered.params.is_empty() {
        let values: Vec<String> = lowered
            .params
            .iter()
            .map(|imm| match imm.ty() {
                unlade_program::Ty::F64 => imm.as_f64().to_string(),
                _ => imm.bits().to_string(),
            })
            .collect();
        note("params", values.join(", "));
    }
    for (at, table) in lowered.tables.iter().enumerate() {
        note(&format!("t{at}"), format!("{table:?}"));
    }
    for (at, set) in lowered.sets.iter().enumerate() {
        note(&format!("s{at}"), format!("{set:?}"));
    }
    for destination in &lowered.outputs {
        note("output", format!("{destination:?}"));
    }
    for (at, stage) in lowered.stages.iter().enumerate() {
        let column = schema.field(stage.column).name();
        writeln!(out, "-- stage {at} over {column}").expect("grows");
        write!(out, "{}", stage.program).expect("grows");
        if !stage.params.is_empty() {
            let values: Vec<String> = stage.params.iter().map(|p| p.bits().to_string()).collect();
            writeln!(out, "; params: {}", values.join(", ")).expect("grows");
        }
    }
    out.push('\n');
}

fn arrow(queries: &[&'static str]) -> Vec<(&'static str, Semantics, Payload)> {
    queries
        .iter()
        .map(|text| (*text, ARROW, Payload::Fused))
        .collect()
}

#[test]
fn logic() {
    golden(
        "logic",
        &arrow(&[
            "WHERE n > 1 AND m > 2",
            "WHERE a > 1 AND b = 2",
            "WHERE a = 1 AND a <> 7",
            "WHERE a > 1 OR n > 2",
            "WHERE NOT (a > 1 OR b = 2)",
            "SELECT p AND q AS x",
            "SELECT p OR n > 1 AS x",
            "SELECT n > 1 AND NOT m = 2 AS x",
            "WHERE (p AND q) IS NOT TRUE",
            "WHERE a IS NULL OR p IS FALSE",
            "SELECT CASE WHEN a > 1 THEN b WHEN p THEN n END AS x",
            "SELECT COALESCE(a, b, n) AS x",
            "SELECT NULLIF(a, n) AS x",
            "WHERE a IS DISTINCT FROM b",
            "WHERE n IS NOT DISTINCT FROM m",
        ]),
    );
}

#[test]
fn laziness() {
    golden(
        "laziness",
        &arrow(&[
            "SELECT 10 / a AS x WHERE a <> 0",
            "WHERE a <> 0 AND 10 / a > 1",
            "WHERE n = 0 OR 10 / n > 1",
            "SELECT CASE WHEN n <> 0 THEN 10 / n ELSE -1 END AS x",
            "SELECT COALESCE(a, 10 / n) AS x",
            "SELECT TRY_CAST(a AS tinyint) AS x",
            "SELECT CAST(a AS tinyint) AS x WHERE p",
        ]),
    );
}

#[test]
fn arithmetic() {
    let legacy = |text| (text, LEGACY, Payload::Fused);
    let mut queries = arrow(&[
        "SELECT n + m AS x",
        "SELECT a * a AS x, a * a + 1 AS y",
        "SELECT n / 2 AS x, n % 2 AS y",
        "SELECT n / 0 AS x",
        "SELECT n / -1 AS x",
        "SELECT n / m AS x, n % m AS y",
        "SELECT -n AS x, abs(n) AS y",
        "SELECT f64 / 0.5 AS x",
        "SELECT n + (1 + 2) AS x",
    ]);
    queries.extend([
        legacy("SELECT n + m AS x"),
        legacy("SELECT n % m AS x"),
        legacy("SELECT f64 / f64 AS x"),
    ]);
    golden("arithmetic", &queries);
}

#[test]
fn casts() {
    let legacy = |text| (text, LEGACY, Payload::Fused);
    let mut queries = arrow(&[
        "SELECT CAST(n AS bigint) AS x",
        "SELECT CAST(i64 AS int) AS x",
        "SELECT CAST(f64 AS int) AS x",
        "SELECT CAST(p AS int) AS x, CAST(f64 AS boolean) AS y",
        "SELECT CAST(ts AS date) AS x",
        "SELECT CAST(d64 AS date) AS x",
        "SELECT CAST(d32 AS timestamp) AS x",
        "SELECT CAST(n AS decimal(12, 2)) AS x",
        "SELECT CAST(dec AS decimal(10, 1)) AS x",
        "SELECT CAST(dec AS bigint) AS x",
        "SELECT CAST(f64 AS decimal(12, 2)) AS x",
        "SELECT CAST(dec AS double) AS x",
    ]);
    queries.extend([
        legacy("SELECT CAST(i64 AS int) AS x"),
        legacy("SELECT CAST(f64 AS tinyint) AS x"),
        legacy("SELECT CAST(dec AS decimal(3, 1)) AS x"),
    ]);
    golden("casts", &queries);
}

#[test]
fn comparisons() {
    golden(
        "comparisons",
        &arrow(&[
            "WHERE CAST(a AS bigint) > 1",
            "WHERE CAST(i8 AS bigint) = CAST(a AS bigint)",
            "WHERE CAST(i8 AS bigint) < 1000",
            "WHERE CAST(i8 AS int) BETWEEN 2 AND 5",
            "WHERE a >= 2 AND b > 1 AND a < 9 AND a <= 7",
            "WHERE a > 1 AND a > 2",
            "WHERE a < 1 AND a > 2147483647",
            "WHERE NOT (a < 5) AND a < 9",
            "WHERE f64 BETWEEN 0.5 AND 0.7",
            "WHERE a IN (1, 2, 3)",
            "WHERE a IN (1, NULL)",
            "WHERE a IN (9, 8, 7, 6, 5, 4, 3, 2, 1, 9)",
            "WHERE NOT a IN (9, 8, 7, 6, 5, 4, 3, 2, 1, NULL)",
            "WHERE f64 IN (9, 8, 7, 6, 5, 4, 3, 2, 0)",
            "WHERE p = q",
            "WHERE dec > 1.50",
            "WHERE d32 >= DATE '1994-01-01' AND d32 < DATE '1995-01-01'",
        ]),
    );
}

#[test]
fn dictionaries() {
    golden(
        "dictionaries",
        &arrow(&[
            "WHERE key > 5",
            "WHERE code > 5",
            "WHERE code IS NULL",
            "WHERE code > n",
            "SELECT COALESCE(code, 7) AS x",
            "SELECT 10 / code AS x WHERE n > 1",
            "SELECT code + 1 AS x, code + 1 > 3 AS y",
            "WHERE flag = p",
            "WHERE NOT flag",
            "SELECT word, code WHERE key IN (1, 2)",
        ]),
    );
}

#[test]
fn payload() {
    golden(
        "payload",
        &[
            (
                "SELECT n, a, p, time, word, text WHERE n > 1",
                ARROW,
                Payload::Fused,
            ),
            (
                "SELECT n, a, p, time, word WHERE n > 1",
                ARROW,
                Payload::Fused,
            ),
            (
                "SELECT n, a, text, n + 1 AS x WHERE n > 1",
                ARROW,
                Payload::Late,
            ),
            ("SELECT n, text, m + 1 AS x", ARROW, Payload::Fused),
            ("SELECT n, text WHERE true", ARROW, Payload::Late),
            ("WHERE true", ARROW, Payload::Fused),
            ("WHERE a > NULL", ARROW, Payload::Fused),
        ],
    );
}

#[test]
fn ten_thousand_literals_are_one_shape() {
    let shape = |text: &str, rules| ShapeHash::of(&lowered(text, rules, Payload::Fused).program);
    let literal: [fn(i32) -> String; 7] = [
        |i| format!("WHERE a > {i}"),
        |i| {
            format!(
                "WHERE CAST(a AS bigint) BETWEEN {i} AND {} AND b <> {i}",
                20_000 - i
            )
        },
        |i| format!("WHERE a IN ({i}, 5000) OR f64 < {i}.5"),
        |i| format!("WHERE a IN (1,2,3,4,5,6,7,8,{i})"),
        |i| format!("SELECT CASE WHEN a = {i} THEN b + {i} ELSE 5000 END AS x WHERE n < {i}"),
        |i| format!("WHERE i8 + {i} > {}", i - 1),
        |i| format!("SELECT coalesce(a, {i}) * 3 AS x WHERE f64 > {i}.5 AND f64 * {i} < 7"),
    ];
    for rules in [&ARROW, &LEGACY, &ANSI] {
        for (text, least) in literal.into_iter().zip([1, 1, 1, 1, 1, 2, 1]) {
            let first = shape(&text(least), rules);
            for i in least..=1_000 {
                if *rules == ARROW && text(i).contains("i8 +") && i > 127 {
                    break;
                }
                assert_eq!(shape(&text(i), rules), first, "{}", text(i));
            }
        }
    }
}

#[test]
fn a_widened_compare_is_the_narrow_one() {
    let same = |wide, narrow| {
        let lowered = |text| lowered(text, &ARROW, Payload::Fused);
        assert_eq!(lowered(wide), lowered(narrow));
    };
    same("WHERE CAST(a AS bigint) > 1", "WHERE a > 1");
    same(
        "WHERE CAST(i8 AS bigint) BETWEEN 1 AND 7",
        "WHERE i8 BETWEEN 1 AND 7",
    );
    same("WHERE CAST(a AS bigint) IN (1, 2)", "WHERE a IN (1, 2)");
    same(
        "WHERE CAST(a AS bigint) IS DISTINCT FROM CAST(b AS bigint)",
        "WHERE a IS DISTINCT FROM b",
    );
}

#[test]
fn an_engines_wider_type_costs_a_comparison_nothing() {
    let same = |wide, rules, narrow| {
        let lowered = |text, rules| lowered(text, rules, Payload::Fused);
        assert_eq!(lowered(wide, rules), lowered(narrow, &ARROW), "{wide}");
    };
    for rules in [&LEGACY, &ANSI, &DATAFUSION] {
        same("WHERE i8 > 100", rules, "WHERE i8 > 100");
        same("WHERE 100 <= i8", rules, "WHERE i8 >= 100");
        same("WHERE i8 > 300", rules, "WHERE i8 > 300");
        same("WHERE i8 IN (1, 2)", rules, "WHERE i8 IN (1, 2)");
        same(
            "WHERE i64 BETWEEN 1 AND 2.0",
            rules,
            "WHERE i64 BETWEEN 1 AND 2",
        );
        // No sum of an Int8 and such a constant leaves the wider type.
        same("WHERE i8 + 1 > 5", rules, "WHERE i8 > 4");
        same("WHERE 5 > i8 - 1", rules, "WHERE i8 < 6");
        same("WHERE 100 + i8 = 300", rules, "WHERE i8 = 200");
    }
    same("WHERE CAST(a AS bigint) + 1 > 5", &ARROW, "WHERE a > 4");
    // An Int32 may overflow when 1 is added: it is added, and compared as it is.
    let text = lowered("WHERE a + 1 > 5", &ANSI, Payload::Fused);
    assert_eq!(text, lowered("WHERE a + 1 > 5", &ARROW, Payload::Fused));
    assert!(
        text.program.to_string().contains("trap"),
        "{}",
        text.program
    );
    assert!(
        !text.program.to_string().contains("cast"),
        "{}",
        text.program
    );
    // Products of widened columns fit, and are not checked.
    let wide = "SELECT CAST(n AS bigint) * CAST(m AS bigint) AS x";
    let program = lowered(wide, &ARROW, Payload::Fused).program.to_string();
    assert!(!program.contains("trap"), "{program}");
}
