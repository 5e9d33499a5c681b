//! The text front: what it reads, where it says things are, and that no text makes it panic.

use arrow_schema::{DataType, TimeUnit};
use unlade_expr::*;

fn parsed(text: &str) -> Expr {
    parse_expr(text).unwrap_or_else(|error| panic!("{}", error.render(text)))
}

#[test]
fn operators_bind_as_in_sql() {
    for (text, same) in [
        ("a OR b AND c", "a OR (b AND c)"),
        ("NOT a = b AND c", "(NOT (a = b)) AND c"),
        ("a + b * c - d", "(a + (b * c)) - d"),
        ("a - b - c", "(a - b) - c"),
        ("a / b div c % d", "((a / b) div c) % d"),
        ("-a * b", "(-a) * b"),
        ("-a::int", "-(a::int)"),
        ("a + b::int", "a + (b::int)"),
        ("a < b IS TRUE", "(a < b) IS TRUE"),
        ("a BETWEEN 1 AND 2 AND b", "(a BETWEEN 1 AND 2) AND b"),
        (
            "a + 1 BETWEEN b - 1 AND b + 1",
            "(a + 1) BETWEEN (b - 1) AND (b + 1)",
        ),
        ("NOT a IN (1) OR b", "(NOT (a IN (1))) OR b"),
        (
            "a IS DISTINCT FROM b + 1 AND c",
            "(a IS DISTINCT FROM (b + 1)) AND c",
        ),
        ("a <=> b OR c", "(a <=> b) OR c"),
        ("a == b", "a = b"),
        ("a != b", "a <> b"),
        ("+a", "a"),
        ("a -- comment\n + /* more */ b", "a + b"),
    ] {
        assert_eq!(parsed(text), parsed(same), "{text}");
    }
}

#[test]
fn text_means_what_the_builder_means() {
    use DataType::*;
    let (a, b) = (|| col("a"), || col("b"));
    let zoned = Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    for (text, built) in [
        ("a > 1", a().gt(lit(1))),
        ("a >= -1.5e0", a().ge(lit(-1.5))),
        ("a + b - 1", a() + b() - lit(1)),
        ("-a % b", -a() % b()),
        ("-(5)", lit(-5)),
        ("a div b", a().int_div(b())),
        ("abs(a) / 2", a().abs() / lit(2)),
        ("NOT a", !a()),
        ("a AND b AND a", a().and(b()).and(a())),
        ("a AND (b AND a)", a().and(b().and(a()))),
        (
            "a IS NOT NULL OR b IS FALSE",
            a().is_not_null().or(b().is_false()),
        ),
        ("a IS UNKNOWN", a().is_null()),
        ("a IS NOT DISTINCT FROM b", a().not_distinct_from(b())),
        ("a NOT BETWEEN 1 AND 2", a().not_between(lit(1), lit(2))),
        ("a NOT IN (1, NULL)", a().not_in_list([lit(1), null()])),
        ("CAST(a AS decimal(12, 2))", a().cast(Decimal128(12, 2))),
        ("a::Int64::double", a().cast(Int64).cast(Float64)),
        ("TRY_CAST(a AS int unsigned)", a().try_cast(UInt32)),
        ("try(a / b)", (a() / b()).try_()),
        ("date '2020-01-01'", lit("2020-01-01").cast(Date32)),
        (
            "timestamp(9) with time zone '2020-01-01 00:00:00Z'",
            lit("2020-01-01 00:00:00Z").cast(zoned),
        ),
        (
            "timestamp 'x'",
            lit("x").cast(Timestamp(TimeUnit::Microsecond, None)),
        ),
        (
            "a::timestamp(3)",
            a().cast(Timestamp(TimeUnit::Millisecond, None)),
        ),
        (
            "a::Timestamp(s)",
            a().cast(Timestamp(TimeUnit::Second, None)),
        ),
        ("decimal(5, 2) '1.50'", lit("1.50").cast(Decimal128(5, 2))),
        ("'it''s'", lit("it's")),
        ("1L", lit(1).cast(Int64)),
        (
            "CASE a WHEN 1 THEN b END",
            case(a()).when(lit(1)).then(b()).end(),
        ),
        ("if(a, b, 1)", when(a()).then(b()).otherwise(lit(1))),
        ("coalesce(a, b)", coalesce([a(), b()])),
        ("nullif(a, b)", nullif(a(), b())),
        ("\"a b\" = `c d`", col("a b").eq(col("c d"))),
        ("date > timestamp", col("date").gt(col("timestamp"))),
        ("größe > 1", parsed("größe > 1")),
    ] {
        assert_eq!(parsed(text), built, "{text}");
        assert_eq!(
            parsed(&built.to_string()),
            built,
            "{text} prints as {built}"
        );
    }
}

#[test]
fn lists_have_names_and_a_star() {
    assert_eq!(
        parse_select_list("*, a, a + b AS s, b AS \"The B\", a as t").unwrap(),
        [
            all(),
            col("a"),
            (col("a") + col("b")).alias("s"),
            col("b").alias("The B"),
            col("a").alias("t"),
        ]
    );
    for text in ["", "a,", ", a", "a AS", "a AS 1", "a AS and", "a AS b c"] {
        assert!(parse_select_list(text).is_err(), "{text}");
    }
}

#[test]
fn a_forgotten_comma_is_no_name() {
    for (text, found) in [
        ("d e", "e"),
        ("1a", "a"),
        ("a, b c, d", "c"),
        ("a + 1 \"The B\"", "\"The B\""),
    ] {
        let error = parse_select_list(text).unwrap_err();
        let span = error.span().unwrap();
        assert_eq!(&text[span.start as usize..span.end as usize], found);
        let said = error.render(text);
        for word in [
            "a comma or `AS`",
            &format!("`AS {found}`"),
            &format!("`, {found}`"),
        ] {
            assert!(said.contains(word), "{word} is missing in: {said}");
        }
    }
}

/// The text that the span of an error covers.
fn place(text: &str) -> &str {
    let error = parse_expr(text).unwrap_err();
    let span = error
        .span()
        .unwrap_or_else(|| panic!("{text}: {error} has no place"));
    &text[span.start as usize..span.end as usize]
}

#[test]
fn errors_point_at_their_place() {
    assert_eq!(place("a > "), "");
    assert_eq!(place("a > )"), ")");
    assert_eq!(place("'ä' = \n  'ö' = sqrt(a)"), "sqrt");
    assert_eq!(place("größe > /* ü */ größe +* 1"), "*");
    assert_eq!(place("a::biginteger"), "biginteger");
    assert_eq!(place("a AND 'open"), "'");
    assert_eq!(place("a\r\n  AND  b\r\n  AND ]"), "]");
    assert_eq!(place("abs(a, b)"), "a, b)");
    assert_eq!(place("t.a > 1"), "t");
}

#[test]
fn every_expression_has_its_place() {
    let text = "  größe +\n  -b * ( c ) ";
    let expr = parsed(text);
    let span = expr.span().unwrap();
    assert_eq!(&text[span.start as usize..span.end as usize], text.trim());
}

#[test]
fn limits_are_errors() {
    let limit = |text: &str| {
        let error = parse_expr(text).unwrap_err();
        assert_eq!(error.kind(), ExprErrorKind::Limit, "{error}");
    };
    limit(&format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000)));
    limit(&format!("{}a", "NOT ".repeat(100_000)));
    limit(&format!("{}a", "- ".repeat(100_000)));
    limit(&format!("{}a", "+".repeat(100_000)));
    limit(&"abs(".repeat(100_000));
    limit(&"CASE ".repeat(100_000));
    limit(&" ".repeat(limits::MAX_TEXT_BYTES + 1));
    limit(&"9".repeat(100));

    // Flat to read; the check counts them.
    parsed(&vec!["a"; 100_000].join(" AND "));
    // Nested to the left: a marker takes its place while it is built.
    let sum = parsed(&vec!["a"; 100_000].join(" + "));
    assert_eq!(sum.to_string(), "...");
    let casts = parsed(&format!("a{}", "::int".repeat(100_000)));
    assert_eq!(casts.to_string(), "...");

    let most = limits::MAX_DEPTH as usize - 1;
    parsed(&format!("{}a{}", "(".repeat(most), ")".repeat(most)));
}

#[test]
fn the_deepest_queries_fit_the_stack_of_a_thread() {
    // One level is the column, one the name.
    let most = limits::MAX_DEPTH as usize - 2;
    let shapes = [
        ("abs(", "a", ")", 1),
        ("NOT ", "a > 1", "", 1),
        ("a + (", "a", ")", 2),
        ("CASE WHEN a > 1 THEN ", "a", " ELSE a END", 1),
        ("CASE WHEN ", "a > 1", " THEN a > 2 END", 1),
        ("coalesce(", "a", ", 1)", 1),
        ("a > 1 AND (a > 2 OR (", "a > 3", "))", 4),
        ("cast(cast(", "a", " AS bigint) AS int)", 2),
        ("try(", "a", ")", 1),
        ("a IN (a, ", "a", ")", 1),
    ];
    let read = move |(before, inner, after, levels): (&str, &str, &str, usize)| {
        // Comparisons inside and parentheses take levels of their own.
        let times = (most - 2) / levels;
        let text = format!("{}{inner}{}", before.repeat(times), after.repeat(times));
        let expr = match parse_expr(&text) {
            Ok(expr) => expr,
            Err(error) => panic!("{error} in {}", &text[..40]),
        };
        assert_eq!(expr.clone(), expr);
        assert!(format!("{expr}{expr:?}").len() > times);
        let field = arrow_schema::Field::new("a", DataType::Int32, true);
        let schema = std::sync::Arc::new(arrow_schema::Schema::new(vec![field]));
        let query = Query::all().select([expr.alias("x")]);
        if let Ok(checked) = check(&query, &schema, &Semantics::arrow()) {
            lower(&checked, Payload::Late).unwrap();
            return true;
        }
        false
    };
    let threads = shapes.map(|shape| {
        let builder = std::thread::Builder::new().stack_size(2 << 20);
        builder.spawn(move || read(shape)).unwrap()
    });
    let checked = threads.map(|thread| thread.join().unwrap());
    // A list whose members are numbers does not hold conditions.
    assert_eq!(checked.iter().filter(|checked| !**checked).count(), 1);
}

#[test]
fn types_have_many_names() {
    use DataType::*;
    for (text, data_type) in [
        ("boolean", Boolean),
        ("TINYINT", Int8),
        ("int8", Int8),
        ("Int16", Int16),
        ("integer", Int32),
        ("bigint", Int64),
        ("tinyint unsigned", UInt8),
        ("UNSIGNED bigint", UInt64),
        ("UInt32", UInt32),
        ("u8", UInt8),
        ("float", Float32),
        ("double precision", Float64),
        ("numeric(5)", Decimal128(5, 0)),
        ("Decimal128(38, 10)", Decimal128(38, 10)),
        ("date", Date32),
        ("Date64", Date64),
        (
            "timestamp without time zone",
            Timestamp(TimeUnit::Microsecond, None),
        ),
        (
            "timestamptz",
            Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ),
        (
            "timestamp(0, '+01:00')",
            Timestamp(TimeUnit::Second, Some("+01:00".into())),
        ),
    ] {
        let cast = parsed(&format!("CAST(a AS {text})"));
        assert_eq!(cast, col("a").cast(data_type), "{text}");
        assert_eq!(parsed(&cast.to_string()), cast, "{text} prints as {cast}");
    }
    for text in [
        "decimal(39, 0)",
        "decimal(5, 6)",
        "decimal(0)",
        "timestamp(2)",
        "varchar",
        "double unsigned",
    ] {
        assert!(parse_expr(&format!("CAST(a AS {text})")).is_err(), "{text}");
    }
}

/// A small generator of pseudo-random numbers: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn flip(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

fn random_expr(random: &mut Random, depth: u32) -> Expr {
    let leaf = depth == 0 || random.below(5) == 0;
    if leaf {
        return match random.below(9) {
            0 => col("a"),
            1 => col("Größe"),
            2 => col("and"),
            3 => lit(random.next() as i64),
            4 => lit(f64::from_bits(
                random.next() & !(0x7ff << 52) | (1000 << 52),
            )),
            5 => lit(random.below(1000) as f64 / 8.0),
            6 => lit("it's 'quoted'"),
            7 => lit(random.flip()),
            _ => null(),
        };
    }
    let types = computable_types();
    let sub = |random: &mut Random| random_expr(random, depth - 1);
    match random.below(24) {
        0 => sub(random) + sub(random),
        1 => sub(random) - sub(random),
        2 => sub(random) * sub(random),
        3 => sub(random) / sub(random),
        4 => sub(random) % sub(random),
        5 => sub(random).int_div(sub(random)),
        6 => -sub(random),
        7 => sub(random).abs(),
        8 => sub(random).eq(sub(random)),
        9 => sub(random).le(sub(random)),
        10 => sub(random).distinct_from(sub(random)),
        11 => sub(random).not_distinct_from(sub(random)),
        12 => sub(random).and(sub(random)),
        13 => sub(random).or(sub(random)),
        14 => !sub(random),
        15 if random.flip() => sub(random).is_not_null(),
        15 => sub(random).is_false(),
        16 if random.flip() => sub(random).between(sub(random), sub(random)),
        16 => sub(random).not_between(sub(random), sub(random)),
        17 if random.flip() => sub(random).in_list([sub(random), sub(random)]),
        17 => sub(random).not_in_list([sub(random)]),
        18 => {
            let to = types[random.below(types.len())].clone();
            let arg = sub(random);
            if random.flip() {
                arg.cast(to)
            } else {
                arg.try_cast(to)
            }
        }
        19 => sub(random).try_(),
        20 => coalesce([sub(random), sub(random), sub(random)]),
        21 => nullif(sub(random), sub(random)),
        22 => when(sub(random))
            .then(sub(random))
            .when(sub(random))
            .then(sub(random))
            .end(),
        _ => case(sub(random))
            .when(sub(random))
            .then(sub(random))
            .otherwise(sub(random)),
    }
}

#[test]
fn printed_expressions_read_back_the_same() {
    let mut random = Random(1);
    for _ in 0..6_000 {
        let expr = random_expr(&mut random, 4);
        let text = expr.to_string();
        assert_eq!(parsed(&text), expr, "{text}");
    }
}

#[test]
fn no_text_panics() {
    const PIECES: &[&str] = &[
        "(",
        ")",
        ",",
        "'",
        "\"",
        "`",
        "--",
        "/*",
        "*/",
        "::",
        "<=>",
        ".",
        "e",
        "E+",
        "\n",
        "\r\n",
        "ä",
        "\u{0}",
        "\u{301}",
        "😀",
        "NOT",
        "AND",
        "IS",
        "IN (",
        "BETWEEN",
        "CASE",
        "WHEN",
        "END",
        "date '",
        "timestamp(",
        "decimal(",
        "1e999",
        "-",
        "999999999999999999999",
        "$1",
        "?",
        "U&'",
        "E'\\",
        "x'0",
        "@",
        "#",
        "{",
        "[",
        ";",
        "\\",
        "AS",
        "unsigned",
        "div",
    ];
    let mut random = Random(2);
    let schema = std::sync::Arc::new(arrow_schema::Schema::new(vec![
        arrow_schema::Field::new("a", DataType::Int32, true),
        arrow_schema::Field::new("Größe", DataType::Float64, true),
        arrow_schema::Field::new("and", DataType::Date32, true),
    ]));
    let (mut read, mut checked) = (0, 0);
    for _ in 0..6_000 {
        let mut text = random_expr(&mut random, 3).to_string();
        for _ in 0..random.below(4) {
            let at: Vec<usize> = text
                .char_indices()
                .map(|(at, _)| at)
                .chain([text.len()])
                .collect();
            let (from, to) = (at[random.below(at.len())], at[random.below(at.len())]);
            match random.below(3) {
                0 => text.insert_str(from, PIECES[random.below(PIECES.len())]),
                1 => {
                    let last = at
                        .iter()
                        .position(|&byte| byte == from)
                        .expect("a boundary")
                        + 5;
                    let to = at.get(last).copied().unwrap_or(text.len());
                    text.replace_range(from..to, "");
                }
                _ => {
                    let copy = text[from.min(to)..from.max(to)].to_owned();
                    text.insert_str(from, &copy);
                }
            }
        }
        match parse_expr(&text) {
            Ok(expr) => {
                read += 1;
                for semantics in [Semantics::arrow(), Semantics::spark_legacy()] {
                    let query = Query::all().select([expr.clone().alias("x")]);
                    match check(&query, &schema, &semantics) {
                        Ok(query) => {
                            checked += 1;
                            let lowered = lower(&query, Payload::Fused)
                                .unwrap_or_else(|error| panic!("{text}: {error}"));
                            unlade_program::verify(&lowered.program)
                                .unwrap_or_else(|error| panic!("{text}: {error}"));
                        }
                        Err(error) => assert!(!error.render(&text).is_empty()),
                    }
                }
            }
            Err(error) => {
                let span = error.span().unwrap_or_else(|| panic!("{text:?}: {error}"));
                assert!(
                    text.get(span.start as usize..span.end as usize).is_some(),
                    "{text:?}"
                );
                assert!(error.render(&text).starts_with("error: "));
            }
        }
        let _ = parse_select_list(&text);
    }
    assert!(read > 600, "only {read} texts were read");
    assert!(checked > 30, "only {checked} texts passed the check");
}

#[test]
fn numbers_beyond_floats_are_refused() {
    for text in ["1e309", "-1e309", "1.8e308"] {
        let error = parse_expr(text).expect_err(text);
        let digits = text.trim_start_matches('-');
        let at = error
            .span()
            .map(|span| &text[span.start as usize..span.end as usize]);
        assert_eq!(at, Some(digits), "{text}");
        assert!(error.to_string().contains("beyond the range"), "{error}");
    }
    for text in [
        "1.7e308", "0e400", "0.0e-400", "5e-324", "0.1e-400", "-1e-324",
    ] {
        assert!(parse_expr(text).is_ok(), "{text}");
    }
}

#[test]
fn clauses_of_a_statement_are_no_names_without_as() {
    for (list, word) in [
        ("a, b ORDER BY a", "sorting"),
        ("a LIMIT 5", "--limit"),
        ("a x", "`AS x`"),
    ] {
        let error = parse_select_list(list).unwrap_err();
        let help = error.help().unwrap_or_default();
        assert!(help.contains(word), "{list}: {help}");
    }
    let named = parse_select_list("a AS \"limit\", b AS limit").unwrap();
    assert_eq!(named.len(), 2);
}
