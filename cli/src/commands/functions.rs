//! `unlade functions`: the expression language, from its own table.

use serde_json::json;
use unlade::{CASTS, Dialect, FUNCTIONS, Function};

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
    if wanted.is_empty() && !args.casts {
        return Err(Failure::usage(format!(
            "no function mentions `{word}`; `unlade functions` lists them all"
        )));
    }
    if args.json {
        return as_json(&wanted, args.casts);
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
    if args.casts {
        text.push_str(&format!("\nCASTS\n\n{}\n", casts()));
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

fn casts() -> String {
    let rows: Vec<Vec<String>> = CASTS
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

fn as_json(wanted: &[&Function], with_casts: bool) -> Result<(), Failure> {
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
    if with_casts {
        document["casts"] = CASTS
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
