//! What pyarrow 26 serialises, kept as files, and what DataFusion 55 produces, by its form.

use std::fs;
use std::path::{Path, PathBuf};

use arrow_schema::DataType;
use substrait::proto::expression::cast::FailureBehavior;
use substrait::proto::expression::if_then::IfClause;
use substrait::proto::expression::literal::{LiteralType, PrecisionTimestamp};
use substrait::proto::expression::{
    IfThen, MultiOrList, RexType, SingularOrList, SwitchExpression, multi_or_list,
    switch_expression,
};
use substrait::proto::r#type::Kind;
use unlade_expr::{FloatZeroDivision, OnError, Semantics, Signature, Signatures};
use unlade_substrait::{FUNCTIONS, SubstraitError, import, import_with};

use crate::build::{
    NOWHERE, bool_type, bytes, call, cast, column, fp64_type, given, i32_type, i64_type, literal,
    rex, with_options,
};

/// What each message of pyarrow's is read as; the first word is its file's name.
const READ: &[(&str, &str)] = &[
    ("gt", "a > 100"),
    ("gte", "a >= 5"),
    ("lt", "a < 5"),
    ("lte", "a <= 5"),
    ("equal", "a = 100"),
    ("not_equal", "a <> 5"),
    ("column", "a"),
    ("is_null", "a IS NULL"),
    ("is_valid", "a IS NOT NULL"),
    ("not", "NOT a > 1"),
    ("and_or", "a > 1 AND b < 2.5 OR a = 7"),
    ("arithmetic", "(a + 1) * 2 - a > 5"),
    ("divide", "big / 3 = 4"),
    ("wrapping_add", "a + 1 > 0"),
    ("negate", "-a > 0"),
    ("abs", "abs(a) > 5"),
    ("floats", "b * 2.0 + 1.0 > b"),
    ("cast", "CAST(a AS bigint) > 1"),
    ("isin", "a IN (1, 2, 3)"),
    ("isin_small", "small IN (1, NULL, 300)"),
    ("if_else", "CASE WHEN a > 1 THEN b ELSE 0.0 END"),
    ("coalesce", "coalesce(a, 1) > 1"),
    (
        "case_when",
        "CASE WHEN a > 1 THEN b WHEN a > 2 THEN b + 1.0 END",
    ),
    ("dates", "d >= '1994-01-01' AND d < '1995-01-01'"),
    ("decimal", "dec < 24.00"),
    ("timestamp_tz", "ts > '1970-01-01 00:00:00.000001Z'"),
    ("timestamp", "at <= '1969-12-31 23:59:59.999999'"),
    ("unsigned", "u > 5"),
    ("arrow_xor", "a > 1 <> (b > 1.0)"),
    ("null", "a = NULL"),
    ("every_type", "last > 1"),
];

/// What is refused of pyarrow's, and why.
const REFUSED: &[(&str, &str)] = &[
    (
        "is_nan",
        "there is no function `is_nan` (anchor 0, of Substrait's functions_comparison); \
         docs/SUBSTRAIT.md lists those that are read",
    ),
    (
        "starts_with",
        "there is no function `starts_with` (anchor 0, of Substrait's functions_string); \
         docs/SUBSTRAIT.md lists those that are read",
    ),
    (
        "text",
        "text is not computed with: a text literal stands in a cast to a date, timestamp or \
         number alone",
    ),
    (
        "arrow_year",
        "there is no function `year` (anchor 0, of Arrow's own); docs/SUBSTRAIT.md lists those \
         that are read",
    ),
];

#[test]
fn messages_of_pyarrow_are_read_or_refused() {
    let mut files = vec!["several", "checked", "wrapping"];
    for (name, expected) in READ {
        let imported = import(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let [named] = imported.expressions.as_slice() else {
            panic!("{name}: {imported:?}");
        };
        assert_eq!(named.name, *name);
        assert_eq!(plain(&named.expr.to_string()), *expected, "{name}");
        let rules = imported.rules(&Semantics::arrow());
        assert!(rules.is_ok(), "{name}: {rules:?}");
        files.push(name);
    }
    for (name, expected) in REFUSED {
        let error = import(&file(name)).expect_err(name);
        assert_eq!(error.to_string(), *expected);
        files.push(name);
    }
    let entries = fs::read_dir(folder()).expect("the folder is readable");
    let paths = entries.map(|entry| entry.expect("an entry is readable").path());
    let kept = paths.filter(|path| path.extension().is_some_and(|extension| extension == "bin"));
    let names: Vec<_> = kept
        .map(|path| path.file_stem().expect("it has a name").to_owned())
        .filter(|name| !files.iter().any(|file| name == file))
        .collect();
    assert!(names.is_empty(), "not expected to be anything: {names:?}");
}

/// Without the types of literals and the quotes of names, which are checked where they matter.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("CAST(") {
        let (before, cast) = rest.split_at(at);
        out.push_str(before);
        let value = &cast["CAST(".len()..];
        let is_literal = value.starts_with(['\'', '-', 'N', 'T', 'F'])
            || value.starts_with(|c: char| c.is_ascii_digit());
        match (is_literal, value.find(" AS ")) {
            (true, Some(end)) => {
                out.push_str(&value[..end]);
                let after = &value[end..];
                rest = &after[close(after) + 1..];
            }
            _ => {
                out.push_str("CAST(");
                rest = value;
            }
        }
    }
    out.push_str(rest);
    out.replace('"', "")
}

/// Where the parenthesis closes that was opened before a text.
fn close(text: &str) -> usize {
    let mut open = 1;
    text.find(|c| {
        open += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        open == 0
    })
    .expect("it is closed")
}

#[test]
fn types_of_columns_are_those_that_pyarrow_had() {
    let input = import(&file("every_type")).expect("it is read").input;
    let shown: Vec<String> = input
        .fields()
        .iter()
        .map(|field| field.data_type().to_string())
        .collect();
    assert_eq!(
        shown,
        [
            "Null",
            "UInt8",
            "UInt16",
            "UInt64",
            "Float16",
            "Interval(MonthDayNano)",
            "List(Int32)",
            "Map(\"entries\": non-null Struct(\"key\": non-null Utf8, \"value\": Int64), unsorted)",
            "Struct(\"x\": Int8, \"y\": Struct(\"z\": Boolean))",
            "Binary",
            "FixedSizeBinary(3)",
            "Time64(µs)",
            "Float32",
            "Int16",
        ]
    );
    let input = import(&file("timestamp_tz")).expect("it is read").input;
    let ts = input.field_with_name("ts").expect("a column");
    assert_eq!(
        *ts.data_type(),
        DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, Some("UTC".into()))
    );
}

#[test]
fn several_expressions_are_columns() {
    let imported = import(&file("several")).expect("it is read");
    let query = imported.projection();
    let request = imported
        .request(query, &Semantics::arrow())
        .expect("it passes the check");
    let checked = unlade_expr::check(&request.query, &request.input, &request.semantics);
    let output = checked.expect("it passed before").output;
    let names: Vec<_> = output
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["several0", "several1"]);
    let error = imported.filter().unwrap_err();
    assert_eq!(
        error.to_string(),
        "a filter is one expression, and the message has 2"
    );
}

#[test]
fn what_options_say_is_asked_of_the_rules() {
    let rules = |name: &str, base: &Semantics| {
        let imported = import(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        imported
            .rules(base)
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let wrapping = Semantics::datafusion().with_cast(OnError::Null);
    assert_eq!(rules("gt", &wrapping), wrapping);
    assert_eq!(rules("arithmetic", &wrapping).overflow, OnError::Trap);
    assert_eq!(
        rules("wrapping_add", &Semantics::arrow()).overflow,
        OnError::Wrap
    );
    assert_eq!(rules("cast", &wrapping).cast, OnError::Trap);
    assert_eq!(rules("floats", &wrapping), wrapping);

    let two = || vec![column("b"), column("b")];
    let divided = |options: &[(&str, &[&str])]| {
        let divide = with_options(0, Some(i64_type()), two(), options);
        let imported = import(&bytes(&[(3, "divide:i64_i64")], divide))?;
        imported.rules(&Semantics::arrow())
    };
    let null = divided(&[("on_division_by_zero", &["NULL"])]).expect("it is met");
    assert_eq!(null.divide_by_zero, OnError::Null);
    // The first that can be met counts.
    let second = divided(&[("overflow", &["SATURATE", "ERROR"])]).expect("it is met");
    assert_eq!(second.overflow, OnError::Trap);
    let floats = with_options(
        0,
        Some(fp64_type()),
        vec![column("f"), column("f")],
        &[
            ("on_division_by_zero", &["ERROR"]),
            ("rounding", &["TIE_TO_EVEN"]),
        ],
    );
    let floats = import(&bytes(&[(3, "divide")], floats)).expect("it is read");
    let rules = floats.rules(&Semantics::arrow()).expect("it is met");
    assert_eq!(rules.float_divide_by_zero, FloatZeroDivision::Trap);
    for (options, message) in [
        (
            &[("overflow", &["SATURATE"][..])][..],
            "function `divide` (anchor 0): `overflow` is SATURATE, which is not computed here",
        ),
        (
            &[("on_division_by_zero", &["LIMIT"])],
            "function `divide` (anchor 0): `on_division_by_zero` is LIMIT, which is not computed here",
        ),
        (
            &[("division_type", &["FLOOR"])],
            "function `divide` (anchor 0): it has no option `division_type`",
        ),
        (
            &[
                ("on_division_by_zero", &["NULL"]),
                ("on_domain_error", &["ERROR"]),
            ],
            "`divide` with on_division_by_zero NULL and `divide` with on_domain_error ERROR ask for \
             different rules, and a kernel has one set of them; compile the expressions apart",
        ),
        (
            &[("overflow", &["SILENT"])],
            "`divide` with overflow SILENT: by the arrow rules the least integer divided by -1 is an \
             error; ask for ERROR",
        ),
    ] {
        assert_eq!(divided(options).unwrap_err().to_string(), message);
    }
}

#[test]
fn an_output_is_of_the_type_that_it_is_declared() {
    let sum = |declared: Kind| {
        let add = call(0, declared, vec![column("b"), column("b")]);
        let imported = import(&bytes(&[(3, "add")], add)).expect("it is read");
        imported.rules(&Semantics::arrow())
    };
    assert!(sum(i64_type()).is_ok());
    let error = sum(i32_type(0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "output `out` is declared int, and is bigint by these rules"
    );
    let add = call(0, i64_type(), vec![column("b"), column("p")]);
    let imported = import(&bytes(&[(3, "add")], add)).expect("it is read");
    let error = imported.rules(&Semantics::arrow()).unwrap_err();
    assert!(error.to_string().starts_with("output `out`: "), "{error}");
}

/// By the form of DataFusion's producer: no URNs, bare names, unsigned integers by a variation, the
/// operand of a `CASE` as its first condition.
#[test]
fn forms_of_datafusion_are_read() {
    let five = || literal(LiteralType::I32(5));
    let boolean = |anchor, arguments| call(anchor, bool_type(), arguments);
    let unsigned = {
        let mut unsigned = given(LiteralType::I32(-1));
        unsigned.type_variation_reference = 1;
        rex(RexType::Literal(unsigned))
    };
    let clause = |condition, value| IfClause {
        r#if: Some(condition),
        then: value,
    };
    let one_of = |value, options| {
        rex(RexType::SingularOrList(Box::new(SingularOrList {
            value: Some(Box::new(value)),
            options,
        })))
    };
    let moment = LiteralType::PrecisionTimestampTz(PrecisionTimestamp {
        precision: 3,
        value: 0,
    });
    let cases: Vec<(&str, _, &str)> = vec![
        ("lte", boolean(0, vec![column("a"), five()]), "a <= 5"),
        (
            "gt",
            boolean(0, vec![column("u"), unsigned]),
            "u > 4294967295",
        ),
        ("is_unknown", boolean(0, vec![column("p")]), "p IS NULL"),
        (
            "is_not_false",
            boolean(0, vec![column("p")]),
            "p IS NOT FALSE",
        ),
        (
            "is_distinct_from",
            boolean(0, vec![column("a"), five()]),
            "a IS DISTINCT FROM 5",
        ),
        ("negate", call(0, i32_type(0), vec![column("a")]), "-a"),
        (
            "modulus",
            call(0, i32_type(0), vec![column("a"), five()]),
            "a % 5",
        ),
        (
            "integer_divide",
            call(0, i32_type(0), vec![column("a"), five()]),
            "a div 5",
        ),
        (
            "nullif",
            call(0, i32_type(0), vec![column("a"), five()]),
            "nullif(a, 5)",
        ),
        ("xor", boolean(0, vec![column("p"), column("p")]), "p <> p"),
        (
            "not",
            boolean(0, vec![one_of(column("a"), vec![five(), column("a")])]),
            "NOT a IN (5, a)",
        ),
        (
            "",
            cast(column("b"), i32_type(1), FailureBehavior::ReturnNull),
            "TRY_CAST(b AS uinteger)",
        ),
        (
            "",
            cast(
                literal(LiteralType::String("2020-12-31".to_owned())),
                Kind::Date(Default::default()),
                FailureBehavior::ThrowException,
            ),
            "'2020-12-31'",
        ),
        (
            "",
            rex(RexType::IfThen(Box::new(IfThen {
                ifs: vec![clause(column("a"), None), clause(five(), Some(column("b")))],
                r#else: None,
            }))),
            "CASE a WHEN 5 THEN b END",
        ),
        ("", literal(moment), "'1970-01-01 00:00:00Z'"),
    ];
    for (function, expression, expected) in cases {
        let functions: &[(u32, &str)] = match function {
            "" => &[],
            name => &[(NOWHERE, name)],
        };
        let imported = import(&bytes(functions, expression));
        let imported = imported.unwrap_or_else(|error| panic!("{expected}: {error}"));
        assert_eq!(plain(&imported.expressions[0].expr.to_string()), expected);
        let rules = imported.rules(&Semantics::datafusion());
        assert!(rules.is_ok(), "{expected}: {rules:?}");
    }
}

#[test]
fn switches_and_records_are_read() {
    let value = |value, then| switch_expression::IfValue {
        r#if: Some(given(LiteralType::I32(value))),
        then: Some(then),
    };
    let switch = rex(RexType::SwitchExpression(Box::new(SwitchExpression {
        r#match: Some(Box::new(column("a"))),
        ifs: vec![
            value(1, column("b")),
            value(2, literal(LiteralType::I64(0))),
        ],
        r#else: Some(Box::new(column("b"))),
    })));
    let record = |fields: [i32; 2]| multi_or_list::Record {
        fields: vec![
            literal(LiteralType::I32(fields[0])),
            literal(LiteralType::I64(fields[1].into())),
        ],
    };
    let records = rex(RexType::MultiOrList(MultiOrList {
        value: vec![column("a"), column("b")],
        options: vec![record([1, 2]), record([3, 4])],
    }));
    for (expression, expected) in [
        (switch, "CASE a WHEN 1 THEN b WHEN 2 THEN 0 ELSE b END"),
        (records, "a = 1 AND b = 2 OR a = 3 AND b = 4"),
    ] {
        let imported = import(&bytes(&[], expression)).expect(expected);
        assert_eq!(plain(&imported.expressions[0].expr.to_string()), expected);
        assert!(imported.rules(&Semantics::arrow()).is_ok(), "{expected}");
    }
}

/// Each by its own extension, by bare name, and by its name with the types of its arguments.
#[test]
fn every_function_is_found_by_extension_and_by_bare_name() {
    let text = |urn: &str, function: &str, arguments: usize| {
        let arguments = (0..arguments).map(|_| column("p")).collect();
        let mut message = crate::build::message(&[(7, function)], call(0, bool_type(), arguments));
        message.extension_urns = vec![substrait::proto::extensions::SimpleExtensionUrn {
            extension_urn_anchor: if urn.is_empty() { 8 } else { 7 },
            urn: urn.to_owned(),
        }];
        if urn.is_empty() {
            message.extension_urns.clear();
            return import(&prost::Message::encode_to_vec(&with_bare(message)));
        }
        import(&prost::Message::encode_to_vec(&message))
    };
    for function in FUNCTIONS {
        let arguments = match function.text {
            text if text.contains('z') => 3,
            text if text.contains('y') || text.contains("...") => 2,
            _ => 1,
        };
        let bare = text("", function.name, arguments).expect(function.name);
        for file in function.files {
            let urn = format!("extension:io.substrait:{file}");
            let named = text(&urn, function.name, arguments).expect(function.name);
            assert_eq!(named.expressions, bare.expressions, "{}", function.name);
            let typed = text(&urn, &format!("{}:any_any", function.name), arguments);
            assert_eq!(typed.expect(function.name).expressions, bare.expressions);
        }
        let error = text(
            "extension:io.substrait:functions_set",
            function.name,
            arguments,
        );
        let error = error.expect_err(function.name).to_string();
        assert!(error.contains("there is one of that name"), "{error}");
        let error = text("extension:org.example:mine", function.name, arguments);
        let error = error.expect_err(function.name).to_string();
        assert!(error.contains("extension:org.example:mine"), "{error}");
    }
}

/// The same message with a function of no extension.
fn with_bare(
    mut message: substrait::proto::ExtendedExpression,
) -> substrait::proto::ExtendedExpression {
    use substrait::proto::extensions::simple_extension_declaration::MappingType;
    for extension in &mut message.extensions {
        if let Some(MappingType::ExtensionFunction(function)) = &mut extension.mapping_type {
            function.extension_urn_reference = NOWHERE;
        }
    }
    message
}

pub(crate) fn file(name: &str) -> Vec<u8> {
    let path = folder().join(format!("{name}.bin"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pyarrow")
}

/// What is refused of pyarrow's because there is no such function, a user may have.
#[test]
fn functions_that_a_user_has_registered() {
    let registered = |name: &str, takes: DataType, gives: DataType| {
        let mut known = Signatures::default();
        let signature = Signature::new(name, [takes], gives).expect("it is one");
        known.insert(signature).expect("no other has the name");
        known
    };
    for (name, known, expected) in [
        (
            "is_nan",
            registered("is_nan", DataType::Float64, DataType::Boolean),
            "is_nan(b)",
        ),
        (
            "arrow_year",
            registered("year", DataType::Date32, DataType::Int64),
            "year(d)",
        ),
    ] {
        let imported = import_with(&file(name), &known).unwrap_or_else(|error| panic!("{error}"));
        let expr = imported.expressions[0].expr.to_string();
        assert!(plain(&expr).starts_with(expected), "{name}: {expr}");
        let rules = imported.rules(&Semantics::arrow());
        assert!(rules.is_ok(), "{name}: {rules:?}");
    }
    // The message says what it gives, and the check what it takes.
    let other = registered("is_nan", DataType::Float64, DataType::Int8);
    let error = import_with(&file("is_nan"), &other).unwrap_err();
    assert!(matches!(error, SubstraitError::Call { .. }), "{error}");
    let other = registered("is_nan", DataType::Utf8, DataType::Boolean);
    let imported = import_with(&file("is_nan"), &other).expect("it is of that name");
    let error = imported.rules(&Semantics::arrow()).unwrap_err();
    assert!(matches!(error, SubstraitError::Check { .. }), "{error}");
    // Another's name is no nearer than it was.
    let other = registered("is_not_a_number", DataType::Float64, DataType::Boolean);
    let error = import_with(&file("is_nan"), &other).unwrap_err();
    assert!(
        matches!(error, SubstraitError::UnknownFunction { .. }),
        "{error}"
    );
    // What is read is read as ever, whatever has its name.
    let other = registered("equal", DataType::Int32, DataType::Boolean);
    let imported = import_with(&file("equal"), &other).expect("it is read");
    assert_eq!(plain(&imported.expressions[0].expr.to_string()), "a = 100");
}
