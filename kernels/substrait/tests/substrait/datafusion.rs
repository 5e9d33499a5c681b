//! What DataFusion 55 produces of expressions, kept as files, and what it computes of them on values at
//! the edges of their types. `tests/datafusion/make` makes both.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use unlade_expr::{Query, Semantics, check, physical_type};
use unlade_naive::evaluate;
use unlade_substrait::import;

use crate::differential::{Tally, array};

/// What is refused, and why.
const REFUSED: &[(&str, &str)] = &[
    (
        "date_part",
        "there is no function `date_part` (anchor 0, of no extension); docs/SUBSTRAIT.md lists those that \
         are read",
    ),
    (
        "date_trunc",
        "there is no function `date_trunc` (anchor 0, of no extension); docs/SUBSTRAIT.md lists those that \
         are read",
    ),
    (
        "like",
        "there is no function `like` (anchor 0, of no extension); docs/SUBSTRAIT.md lists those that \
         are read",
    ),
    (
        "starts_with",
        "there is no function `starts_with` (anchor 0, of no extension); docs/SUBSTRAIT.md lists those that \
         are read",
    ),
    (
        "text",
        "text is not computed with: a text literal stands in a cast to a date, timestamp or number \
         alone",
    ),
    (
        "interval",
        "literals such as IntervalCompound(IntervalCompound { interval_year_to_month:  are not \
         computed with",
    ),
];

/// What DataFusion computes otherwise than by the rules: `abs` of the least integer is an error where the
/// other operations wrap, and a comparison has -0 for 0.
const OTHERWISE: &[&str] = &[
    "abs(i8)",
    "abs(i16)",
    "abs(i32)",
    "abs(i64)",
    "f32 = f64",
    "f32 IS DISTINCT FROM f64",
];

#[test]
fn expressions_compute_what_datafusion_computes() {
    let answers = answers();
    for form in ["parsed", "coerced"] {
        let imported = import(&file(form)).unwrap_or_else(|error| panic!("{form}: {error}"));
        let rules = Semantics::datafusion();
        let input = &imported.input;
        let given = |name: &str| &answers.values[name];
        let columns = input
            .fields()
            .iter()
            .map(|field| match physical_type(field.data_type()) {
                Some(_) => array(field.data_type(), given(field.name())),
                None => arrow_array::new_null_array(field.data_type(), given(field.name()).len()),
            });
        let columns: Vec<ArrayRef> = columns.collect();
        let batch = RecordBatch::try_new(Arc::clone(input), columns).expect("columns fit");
        let (mut expressions, mut tally) = (0, Tally::default());
        let mut refused = Vec::new();
        for named in &imported.expressions {
            let text = &answers.texts[named.name.as_str()];
            if OTHERWISE.contains(&text.as_str()) {
                continue;
            }
            let query = Query::all().select([named.expr.clone().alias("x")]);
            let checked = match check(&query, input, &rules) {
                Ok(checked) => checked,
                Err(error) => {
                    refused.push(format!("{text}: {error}"));
                    continue;
                }
            };
            if let Some(declared) = &named.declared {
                assert_eq!(
                    declared,
                    checked.output.field(0).data_type(),
                    "{form}: {text}"
                );
            }
            let Some(tree) = checked.trees().next() else {
                // A column as it is.
                continue;
            };
            expressions += 1;
            let ty = physical_type(&tree.data_type).expect("it is computed");
            for (row, answer) in given(&named.name).iter().enumerate() {
                let context = format!("{form}, row {row}: {text}: {}", named.expr);
                tally.compare(
                    &named.expr,
                    evaluate(tree, &batch, row),
                    answer,
                    ty,
                    &context,
                );
            }
        }
        let Tally {
            values,
            errors,
            lazy,
        } = tally;
        println!(
            "{form}: {expressions} expressions, {values} values and {errors} errors as DataFusion has them, {lazy} \
             errors of what is not chosen; {} refused",
            refused.len()
        );
        assert!(
            expressions > 1_200 && values > 14_000 && errors > 500,
            "{expressions} {values} {errors}"
        );
        // What the language has no cast for, no decimal arithmetic, and of what is parsed alone what only
        // DataFusion's planner brings to one type.
        let known = [
            "do not cast",
            "compared and cast only",
            "without a cast",
            "NULL has no type here",
        ];
        let other = refused
            .iter()
            .filter(|error| !known.iter().any(|known| error.contains(known)));
        assert_eq!(other.collect::<Vec<_>>(), Vec::<&String>::new(), "{form}");
    }
}

#[test]
fn messages_that_are_beyond_the_language_are_refused() {
    for (name, expected) in REFUSED {
        let error = import(&file(name)).expect_err(name);
        assert_eq!(error.to_string(), *expected, "{name}");
    }
    let imported = import(&file("decimal_product")).expect("it is read");
    let error = imported.rules(&Semantics::datafusion()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("decimals are compared and cast only"),
        "{error}"
    );
}

struct Answers {
    /// Of columns and expressions, by their names.
    values: HashMap<String, Vec<String>>,
    /// Of expressions, as SQL.
    texts: HashMap<String, String>,
}

fn answers() -> Answers {
    let text = fs::read_to_string(folder().join("answers.txt")).expect("it is there");
    let (mut values, mut texts) = (HashMap::new(), HashMap::new());
    let mut sql = None;
    for line in text.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            sql = Some(text.to_owned());
            continue;
        }
        let mut words = line.split(' ').map(str::to_owned);
        let name = words.next().expect("a line has a name");
        if let Some(text) = sql.take() {
            texts.insert(name.clone(), text);
        }
        values.insert(name, words.collect());
    }
    Answers { values, texts }
}

fn file(name: &str) -> Vec<u8> {
    let path = folder().join(format!("{name}.bin"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/datafusion")
}
