//! `unlade functions`: the expression language, from its own table.

use std::sync::Arc;

use arrow_schema::{DataType, Schema};
use serde_json::json;
use unlade::{CASTS, CastRow, Dialect, FUNCTIONS, Function, Query, Semantics, check, parse_expr};

use crate::args::FunctionsArgs;
use crate::error::Failure;
use crate::report;
use crate::report::table::{Align, table};

pub(crate) fn run(args: &FunctionsArgs) -> Result<(), Failure> {
    let word = args.word.as_deref().unwrap_or("").to_lowercase();
    let wanted: Vec<&Function> = FUNCTIONS
        .iter()
        .filter(|function| mentions(function, &word))
        .collect();
    let casts: Vec<&CastRow> = match args.casts {
        true => CASTS.iter().filter(|row| converts(row, &word)).collect(),
        false => Vec::new(),
    };
    if wanted.is_empty() && casts.is_empty() {
        let what = if args.casts {
            "function and no cast"
        } else {
            "function"
        };
        return Err(Failure::usage(format!(
            "no {what} mentions `{word}`; `unlade functions` lists them all"
        )));
    }
    if args.json {
        return as_json(&wanted, args.casts.then_some(&casts));
    }
    let mut text = String::new();
    let mut group = None;
    for function in wanted {
        if group.replace(function.group) != Some(function.group) {
            text.push_str(&format!("\n{}\n", function.group.title().to_uppercase()));
        }
        text.push_str(&format!("\n  {}\n", function.syntax));
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                text.push_str(&format!("      {name:<9}{value}\n"));
            }
        };
        line("takes", function.operands);
        line("gives", function.result);
        line("nulls", function.nulls);
        line("rules", function.differs);
        line("example", function.example);
    }
    if !casts.is_empty() {
        text.push_str(&format!("\nCASTS\n\n{}\n", as_table(&casts)));
    }
    report::print(text.trim_start_matches('\n').as_bytes())
}

fn mentions(function: &Function, word: &str) -> bool {
    [
        function.name,
        function.syntax,
        function.operands,
        function.result,
        function.differs,
    ]
    .iter()
    .any(|text| text.to_lowercase().contains(word))
}

/// Whether a cast is from or to the type that the word names, or of the rules that it names, or is
/// described with it.
fn converts(row: &CastRow, word: &str) -> bool {
    if let Some(data_type) = type_named(word) {
        return row.concerns(&data_type);
    }
    let names = row.dialects.iter().map(|dialect| dialect_name(*dialect));
    [row.from, row.to, row.computes]
        .map(str::to_lowercase)
        .into_iter()
        .chain(names)
        .any(|text| text.contains(word))
}

/// The type of this name in an expression.
fn type_named(word: &str) -> Option<DataType> {
    let null = parse_expr(&format!("cast(NULL as {word})")).ok()?;
    let query = Query::all().select([null.alias("x")]);
    let checked = check(&query, &Arc::new(Schema::empty()), &Semantics::arrow()).ok()?;
    Some(checked.output.field(0).data_type().clone())
}

fn as_table(casts: &[&CastRow]) -> String {
    let rows: Vec<Vec<String>> = casts
        .iter()
        .map(|row| {
            vec![
                row.from.to_owned(),
                row.to.to_owned(),
                joined(row.dialects.iter().map(|dialect| dialect_name(*dialect))),
                joined(row.modes.iter().map(ToString::to_string)),
                row.computes.to_owned(),
            ]
        })
        .collect();
    let header = [
        ("from", Align::Left),
        ("to", Align::Left),
        ("rules", Align::Left),
        ("on failure", Align::Left),
        ("computes", Align::Left),
    ];
    table(&header, &rows)
}

fn as_json(wanted: &[&Function], casts: Option<&Vec<&CastRow>>) -> Result<(), Failure> {
    let functions: Vec<_> = wanted
        .iter()
        .map(|function| {
            json!({
                "group": function.group.title(),
                "name": function.name,
                "syntax": function.syntax,
                "operands": function.operands,
                "result": function.result,
                "nulls": function.nulls,
                "differs": function.differs,
                "example": function.example,
            })
        })
        .collect();
    let mut document = json!({ "version": 1, "functions": functions });
    if let Some(casts) = casts {
        document["casts"] = casts
            .iter()
            .map(|row| {
                json!({
                    "from": row.from,
                    "to": row.to,
                    "dialects": row.dialects.iter().map(|d| dialect_name(*d)).collect::<Vec<_>>(),
                    "modes": row.modes.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    "computes": row.computes,
                })
            })
            .collect();
    }
    report::print(format!("{document:#}\n").as_bytes())
}

fn dialect_name(dialect: Dialect) -> String {
    match dialect {
        Dialect::Arrow => "arrow".to_owned(),
        Dialect::Spark => "spark".to_owned(),
    }
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}
