//! `unlade functions`: the expression language, from its own tables.

mod casts;

use serde_json::{Value, json};
use unlade::{FUNCTIONS, Function, type_spellings};

use self::casts::{About, Cast};
use crate::args::FunctionsArgs;
use crate::error::Failure;
use crate::report;
use crate::report::paragraph::paragraph_within;

/// Columns of text that a line has at most, where no terminal has fewer.
const WIDTH: usize = 100;
/// The word that asks for the types.
const TYPES: &str = "types";

pub(crate) fn run(args: &FunctionsArgs) -> Result<(), Failure> {
    let word = args.word.as_deref().unwrap_or("").to_lowercase();
    if word == TYPES {
        return types(args.json);
    }
    let about = About::of(&word);
    // What is asked of casts by a type is about no function.
    let only_casts = args.casts && matches!(about, About::Types(_));
    let wanted: Vec<&Function> = FUNCTIONS
        .iter()
        .filter(|function| !only_casts && mentions(function, &word))
        .collect();
    let casts = match args.casts {
        true => about.casts(),
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
        text.push_str(&format!("\n{}", paragraph("  ", function.syntax)));
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                text.push_str(&paragraph(&format!("      {name:<9}"), value));
            }
        };
        line("takes", function.operands);
        line("gives", function.result);
        line("nulls", function.nulls);
        line("rules", function.differs);
        line("example", function.example);
    }
    if !casts.is_empty() {
        text.push_str("\nCASTS\n");
        text.extend(casts.iter().map(Cast::text));
    } else if word.is_empty() {
        let more = "`unlade functions types` lists how types are written, `--casts` every cast, and \
                    `--casts TYPE` those of one.";
        text.push_str(&format!("\n{}", paragraph("", more)));
    }
    report::print(text.trim_start_matches('\n').as_bytes())
}

/// How each type is written.
fn types(as_json: bool) -> Result<(), Failure> {
    let types = type_spellings();
    if as_json {
        let types: Vec<Value> = types
            .iter()
            .map(|each| {
                json!({ "name": each.name, "others": each.others, "constant": each.constant })
            })
            .collect();
        let document = json!({ "version": 1, "types": types });
        return report::print(format!("{document:#}\n").as_bytes());
    }
    let mut text = "TYPES\n".to_owned();
    for each in types {
        text.push_str(&format!("\n  {}\n", each.name));
        if !each.others.is_empty() {
            text.push_str(&paragraph("      also      ", &each.others.join(", ")));
        }
        text.push_str(&paragraph("      constant  ", each.constant));
    }
    let rest = "Columns of other types, texts among them, are put out and asked for nulls. `unlade \
                functions --casts TYPE` lists what a type is cast to.";
    text.push_str(&format!("\n{}", paragraph("", rest)));
    report::print(text.as_bytes())
}

/// A paragraph of a page that is no wider than is good for reading.
fn paragraph(label: &str, text: &str) -> String {
    let width = report::width().map_or(WIDTH, |width| width.min(WIDTH));
    paragraph_within(Some(width), label, text)
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

fn as_json(wanted: &[&Function], casts: Option<&Vec<Cast>>) -> Result<(), Failure> {
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
        document["casts"] = casts.iter().map(Cast::json).collect();
    }
    report::print(format!("{document:#}\n").as_bytes())
}
