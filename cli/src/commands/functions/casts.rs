//! Casts, all of them or those that a word is about.

use std::mem::discriminant;
use std::sync::Arc;

use arrow_schema::{DataType, Schema};
use serde_json::{Value, json};
use unlade::{
    CASTS, CastRow, Dialect, Query, Semantics, cast_row, check, computable_types, parse_expr,
    type_name,
};

use super::paragraph;

/// A cast, between the types that were asked for.
pub(super) struct Cast {
    from: String,
    to: String,
    row: &'static CastRow,
}

/// What a word is about.
pub(super) enum About {
    /// Casts from and to these types, which have one name.
    Types(Vec<DataType>),
    /// Those of a set of rules.
    Rules(Dialect),
    /// Those whose description has the word.
    Word(String),
    /// All of them.
    All,
}

impl About {
    pub(super) fn of(word: &str) -> Self {
        let types = types_named(word);
        match (word, rules_named(word)) {
            ("", _) => About::All,
            _ if !types.is_empty() => About::Types(types),
            (_, Some(dialect)) => About::Rules(dialect),
            _ => About::Word(word.to_owned()),
        }
    }

    /// The casts in question, in the order of the table.
    pub(super) fn casts(&self) -> Vec<Cast> {
        let rows = CASTS.iter();
        match self {
            About::Types(types) => rows.flat_map(|row| of_types(row, types)).collect(),
            About::Rules(dialect) => rows
                .filter(|row| row.dialects.contains(dialect))
                .map(Cast::of)
                .collect(),
            About::Word(word) => rows.filter(|row| has(row, word)).map(Cast::of).collect(),
            About::All => rows.map(Cast::of).collect(),
        }
    }
}

impl Cast {
    fn of(row: &'static CastRow) -> Self {
        Cast {
            from: row.from.to_owned(),
            to: row.to.to_owned(),
            row,
        }
    }

    /// Some lines of text.
    pub(super) fn text(&self) -> String {
        let Cast { from, to, row } = self;
        let mut text = format!("\n{}", paragraph("  ", &format!("{from} -> {to}")));
        let mut line = |name: &str, value: &str| {
            text.push_str(&paragraph(&format!("      {name:<12}"), value));
        };
        // What of the types it takes exactly.
        if *from != row.from && format!("{}{}", row.from, row.to).contains('(') {
            line("in full", &format!("{} -> {}", row.from, row.to));
        }
        line("rules", &joined(row.dialects.iter().map(dialect_name)));
        line(
            "on failure",
            &joined(row.modes.iter().map(ToString::to_string)),
        );
        line("computes", row.computes);
        text
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "from": self.from,
            "to": self.to,
            "dialects": self.row.dialects.iter().map(dialect_name).collect::<Vec<_>>(),
            "modes": self.row.modes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "computes": self.row.computes,
        })
    }
}

/// A row's casts from these types, and those to them from others.
fn of_types(row: &'static CastRow, types: &[DataType]) -> impl Iterator<Item = Cast> + use<> {
    let others = computable_types();
    let is_of_row = |from: &DataType, to: &DataType| {
        let same = |found: &CastRow| {
            let texts = |row: &CastRow| [row.from, row.to, row.computes];
            texts(found) == texts(row)
        };
        let mut dialects = row.dialects.iter();
        dialects.any(|dialect| cast_row(from, to, *dialect).is_some_and(same))
    };
    let cast = |from: Vec<&DataType>, to: Vec<&DataType>| {
        let is_any = !from.is_empty();
        is_any.then(|| Cast {
            from: names(&from),
            to: names(&to),
            row,
        })
    };
    let goes = |from: &DataType, to: &[DataType]| to.iter().any(|to| is_of_row(from, to));
    let comes = |to: &DataType, from: &[DataType]| from.iter().any(|from| is_of_row(from, to));
    let from = cast(
        types.iter().filter(|from| goes(from, &others)).collect(),
        others.iter().filter(|to| comes(to, types)).collect(),
    );
    let foreign: Vec<DataType> = { others.iter() }
        .filter(|each| !types.contains(each))
        .cloned()
        .collect();
    let to = cast(
        foreign.iter().filter(|from| goes(from, types)).collect(),
        types.iter().filter(|to| comes(to, &foreign)).collect(),
    );
    from.into_iter().chain(to)
}

/// Types as an expression has them; those that differ in parameters alone by one name.
fn names(types: &[&DataType]) -> String {
    let mut names: Vec<String> = Vec::new();
    for data_type in types {
        let name = match data_type {
            DataType::Decimal128(..) => "decimal(p, s)".to_owned(),
            other => type_name(other),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    joined(names.into_iter())
}

/// The types of this name in an expression: without parameters, of all of them.
fn types_named(word: &str) -> Vec<DataType> {
    let Some(named) = type_named(word) else {
        return Vec::new();
    };
    let has_parameters = word.contains('(') || word == "timestamptz";
    let mut types = computable_types();
    types.retain(|each| match has_parameters {
        true => *each == named,
        false => discriminant(each) == discriminant(&named),
    });
    if types.is_empty() {
        types.push(named);
    }
    types
}

fn type_named(word: &str) -> Option<DataType> {
    let null = parse_expr(&format!("cast(NULL as {word})")).ok()?;
    let query = Query::all().select([null.alias("x")]);
    let checked = check(&query, &Arc::new(Schema::empty()), &Semantics::arrow()).ok()?;
    Some(checked.output.field(0).data_type().clone())
}

fn rules_named(word: &str) -> Option<Dialect> {
    match word {
        "spark" => Some(Dialect::Spark),
        word => word.parse::<Semantics>().ok().map(|rules| rules.dialect),
    }
}

/// Whether the description has the word, whole.
fn has(row: &CastRow, word: &str) -> bool {
    let text = [row.from, row.to, row.computes].join(" ").to_lowercase();
    text.split(|c: char| !c.is_alphanumeric())
        .any(|each| each == word)
}

fn dialect_name(dialect: &Dialect) -> String {
    match dialect {
        Dialect::Arrow => "arrow".to_owned(),
        Dialect::Spark => "spark".to_owned(),
    }
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}
