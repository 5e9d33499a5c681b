//! Calls of users' functions: what is done in which order, on what, and what is refused.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use unlade_expr::limits::MAX_CALLS;
use unlade_expr::*;

fn schema() -> SchemaRef {
    use DataType::*;
    let columns = [
        ("a", Int32, false),
        ("b", Int64, true),
        ("f", Float64, true),
        ("s", Utf8, true),
        ("dict", Dictionary(Box::new(Int8), Box::new(Int64)), true),
        ("words", Dictionary(Box::new(Int8), Box::new(Utf8)), true),
    ];
    let fields = columns.map(|(name, data_type, nullable)| Field::new(name, data_type, nullable));
    Arc::new(Schema::new(fields.to_vec()))
}

fn known() -> Signatures {
    use DataType::*;
    let mut known = Signatures::default();
    for signature in [
        Signature::new("half", [Int64], Int64),
        Signature::new("gcd", [Int64, Int64], Int64).map(Signature::never_null),
        Signature::new("length", [Utf8], Int32),
        Signature::new("shout", [Utf8], Utf8),
        Signature::new("near", [Float64, Float64], Boolean),
        Signature::new("sort", [Dictionary(Box::new(Int8), Box::new(Utf8))], Int32),
    ] {
        known.insert(signature.unwrap()).unwrap();
    }
    known
}

fn query(select: &str, filter: &str) -> Query {
    let known = known();
    let query = match filter {
        "" => Query::all(),
        filter => Query::filter(parse_expr_with(filter, &known).unwrap()),
    };
    match select {
        "" => query,
        select => query.select(parse_select_list_with(select, &known).unwrap()),
    }
}

fn staged(select: &str, filter: &str) -> Staged {
    let query = query(select, filter);
    check_staged(&query, &schema(), &Semantics::arrow()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> ExprError {
    let expr = match parse_expr_with(text, &known()) {
        Ok(expr) => expr,
        Err(error) => return error,
    };
    let query = Query::all().select([expr]);
    check_staged(&query, &schema(), &Semantics::arrow()).unwrap_err()
}

/// The calls of each stage.
fn stages(staged: &Staged) -> Vec<Vec<&str>> {
    let mut calls = staged.calls.iter().map(Called::name);
    let stages = staged.stages.iter();
    stages
        .map(|stage| calls.by_ref().take(stage.calls).collect())
        .collect()
}

#[test]
fn what_arguments_call_is_called_before() {
    let staged = staged(
        "half(half(b)) + half(a), gcd(b, half(b)) as d",
        "half(b) > 1",
    );
    assert_eq!(
        stages(&staged),
        [
            vec!["half(b)", "half(a)"],
            vec!["half(half(b))", "gcd(b, half(b))"]
        ]
    );
    let columns = schema().fields().len();
    let second = &staged.stages[1].arguments;
    assert_eq!(second.input.fields().len(), columns + 2);
    let half_of_b = OutputColumn::Payload(columns);
    let b = OutputColumn::Payload(1);
    assert_eq!(second.columns, [half_of_b.clone(), b, half_of_b]);
    assert_eq!(staged.checked.input.fields().len(), columns + 4);
    assert_eq!(
        staged.checked.columns[1],
        OutputColumn::Payload(columns + 3)
    );
    assert_eq!(
        staged.checked.output.field(0).name(),
        "half(half(b)) + half(a)"
    );
}

#[test]
fn equal_calls_are_one_and_a_query_without_any_is_as_ever() {
    let twice = staged("half(b), HALF(b) as again", "half(b) > half(b + 0)");
    assert_eq!(stages(&twice), [["half(b)", "half(b + 0)"]]);
    let none = staged("a + 1", "b > 1");
    let checked = check(&query("a + 1", "b > 1"), &schema(), &Semantics::arrow());
    assert_eq!(none.checked, checked.unwrap());
    assert!(none.stages.is_empty() && Arc::ptr_eq(&none.checked.input, &none.checked.input));
}

#[test]
fn arguments_get_the_types_that_functions_take() {
    let types = |text: &str| {
        let staged = staged(text, "");
        let stage = &staged.stages[0].arguments;
        let types = stage
            .output
            .fields()
            .iter()
            .map(|field| field.data_type().clone());
        (types.collect::<Vec<_>>(), staged.checked.notes)
    };
    let (taken, notes) = types("gcd(a, 12)");
    assert_eq!(taken, [DataType::Int64, DataType::Int64]);
    assert_eq!(notes, ["`a` is widened from Int32 to Int64"]);
    let (taken, notes) = types("near(a, 1)");
    assert_eq!(taken, [DataType::Float64, DataType::Float64]);
    assert_eq!(notes, ["`a` is widened from Int32 to Float64"]);
    assert_eq!(types("half(NULL)"), (vec![DataType::Int64], vec![]));
    assert_eq!(types("half(dict)"), (vec![DataType::Int64], vec![]));
    assert_eq!(types("half(cast(3 as int))").0, [DataType::Int64]);
    assert_eq!(types("length(s)").0, [DataType::Utf8]);
}

#[test]
fn results_are_columns_of_every_type() {
    let staged = staged(
        "*, shout(s) as loud, shout(s), gcd(a, a), half(a)",
        "shout(s) is not null and length(shout(s)) > 1",
    );
    assert_eq!(
        stages(&staged),
        [
            vec!["shout(s)", "gcd(a, a)", "half(a)"],
            vec!["length(shout(s))"]
        ]
    );
    let output = &staged.checked.output;
    let names: Vec<&str> = output
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let all = [
        "a",
        "b",
        "f",
        "s",
        "dict",
        "words",
        "loud",
        "shout(s)",
        "gcd(a, a)",
        "half(a)",
    ];
    assert_eq!(names, all, "`*` is the batch's columns alone");
    assert_eq!(output.field(6).data_type(), &DataType::Utf8);
    assert!(!output.field(8).is_nullable() && output.field(9).is_nullable());
    let every = self::staged("", "half(b) > 1");
    assert_eq!(every.checked.output, schema());
    assert!(lower(&every.checked, Payload::Late).is_ok());
    assert!(lower(&staged.stages[1].arguments, Payload::Fused).is_ok());
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    for (text, message, help) in [
        (
            "half(b, b)",
            "`half` takes 1 argument, not 2",
            "it is half(Int64) -> Int64",
        ),
        (
            "gcd(b)",
            "`gcd` takes 2 arguments, not 1",
            "it is gcd(Int64, Int64) -> Int64, never null",
        ),
        (
            "half(f)",
            "argument 1 of `half` is Float64, not Int64: `f`",
            "write cast(f as bigint)",
        ),
        (
            "gcd(1, b > 0)",
            "argument 2 of `gcd` is Boolean, not Int64: `b > 0`",
            "write cast(b > 0 as bigint)",
        ),
        (
            "near(b, 1)",
            "argument 1 of `near` is Int64, not Float64: `b`",
            "write cast(b as double)",
        ),
        (
            "haf(b)",
            "there is no function `haf`",
            "did you mean `half`?",
        ),
        (
            "shout(s) = shout(s)",
            "the result of `shout(s)` of type Utf8 is not computed with yet",
            "",
        ),
        (
            "length(b)",
            "argument 1 of `length` is Int64, not Utf8: `b`",
            "",
        ),
        (
            "length(words)",
            "argument 1 of `length` is Dictionary(Int8, Utf8), not Utf8: `words`",
            "",
        ),
        (
            "length('text')",
            "argument 1 of `length` of type Utf8 is not computed with yet",
            "",
        ),
        ("half(1.5)", "1.5 is no value of Int64", ""),
        ("half(missing)", "there is no column `missing`", ""),
        (
            "half(b as c)",
            "expected `)` to close `half`, found `as`",
            "",
        ),
        ("half(*)", "expected an expression, found `*`", ""),
    ] {
        let error = refused(text);
        assert_eq!(error.message(), message, "{text}");
        if !help.is_empty() {
            assert_eq!(error.help(), Some(help), "{text}");
        }
        assert!(error.span().is_some(), "{text}");
    }
    assert_eq!(
        staged("sort(words)", "").stages.len(),
        1,
        "a dictionary as it is"
    );
}

#[test]
fn errors_say_which_part_of_the_query_they_are_about() {
    for (select, filter, clause) in [
        ("half(f)", "", Clause::Select),
        ("a", "half(f) > 1", Clause::Filter),
    ] {
        let error = check_staged(&query(select, filter), &schema(), &Semantics::arrow());
        assert_eq!(error.unwrap_err().clause(), Some(clause));
    }
}

#[test]
fn a_check_that_calls_nothing_refuses_calls() {
    let error = check(&query("half(b)", ""), &schema(), &Semantics::arrow()).unwrap_err();
    assert_eq!(error.kind(), ExprErrorKind::Unsupported);
    assert!(error.message().contains("`half`"), "{error}");
}

#[test]
fn calls_are_at_most_so_many() {
    let items = |count: usize| {
        let items: Vec<String> = (0..count).map(|item| format!("half(b + {item})")).collect();
        let query = query(&items.join(", "), "");
        check_staged(&query, &schema(), &Semantics::arrow())
    };
    assert_eq!(items(MAX_CALLS).unwrap().calls.len(), MAX_CALLS);
    assert_eq!(
        items(MAX_CALLS + 1).unwrap_err().kind(),
        ExprErrorKind::Limit
    );
}

#[test]
fn calls_print_as_text_that_reads_back() {
    let known = known();
    for text in [
        "half(b)",
        "gcd(a + 1, half(b)) > 1 AND near(f, 0.5)",
        "-half(b) * 2",
    ] {
        let expr = parse_expr_with(text, &known).unwrap();
        assert_eq!(expr.to_string(), text);
    }
    let nested = |levels: usize| format!("{}b{}", "half(".repeat(levels), ")".repeat(levels));
    assert!(parse_expr_with(&nested(100), &known).is_ok());
    let error = parse_expr_with(&nested(1000), &known).unwrap_err();
    assert_eq!(error.kind(), ExprErrorKind::Limit);
    let deep = parse_expr_with(&nested(MAX_CALLS), &known).unwrap();
    let query = Query::all().select([deep]);
    let staged = check_staged(&query, &schema(), &Semantics::arrow()).unwrap();
    assert_eq!(staged.stages.len(), MAX_CALLS);
}
