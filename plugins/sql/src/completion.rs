//! What the shell's line editor is helped with: when a statement is whole, and what a word may become.

use std::collections::BTreeSet;

use datafusion::catalog::information_schema::INFORMATION_SCHEMA;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::ALL_KEYWORDS;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use crate::commands::COMMANDS;
use crate::session::Session;

/// Helps the editor.
#[derive(Debug, Default)]
pub(crate) struct Assistant {
    /// Names of tables, columns, functions and options, as they are written.
    names: BTreeSet<String>,
}

impl Assistant {
    /// Takes note of the names that a session has now.
    pub(crate) fn learn(&mut self, session: &Session) {
        self.names = session.wait(names(&session.context));
    }

    /// What a word may become. Keywords are written as the word is, small or large.
    fn candidates(&self, word: &str) -> Vec<String> {
        let lower = word.to_lowercase();
        let begins = |name: &str| name.to_lowercase().starts_with(&lower);
        let is_large = word.chars().any(char::is_uppercase);
        let keywords = ALL_KEYWORDS.iter().filter(|keyword| begins(keyword));
        let keywords = keywords.map(|keyword| match is_large {
            true => (*keyword).to_owned(),
            false => keyword.to_lowercase(),
        });
        let names = self.names.iter().filter(|name| begins(name)).cloned();
        let mut found: Vec<String> = names.chain(keywords).collect();
        found.sort();
        found.dedup();
        found
    }
}

/// What a session's statements may name.
async fn names(context: &SessionContext) -> BTreeSet<String> {
    let state = context.state();
    let mut names = BTreeSet::new();
    for catalog in state.catalog_list().catalog_names() {
        let Some(catalog) = state.catalog_list().catalog(&catalog) else {
            continue;
        };
        let schemas = catalog.schema_names().into_iter();
        for schema in schemas.filter(|schema| schema != INFORMATION_SCHEMA) {
            let Some(schema) = catalog.schema(&schema) else {
                continue;
            };
            for table in schema.table_names() {
                if let Ok(Some(provider)) = schema.table(&table).await {
                    let fields = provider.schema();
                    names.extend(fields.fields().iter().map(|field| written(field.name())));
                }
                names.insert(written(&table));
            }
        }
    }
    names.extend(state.scalar_functions().keys().cloned());
    names.extend(state.aggregate_functions().keys().cloned());
    names.extend(state.window_functions().keys().cloned());
    names.extend(state.table_functions().keys().cloned());
    names.extend(
        state
            .config_options()
            .entries()
            .into_iter()
            .map(|entry| entry.key),
    );
    names
}

/// A name as SQL has it: in quotes where it is not all small letters, digits and underscores.
fn written(name: &str) -> String {
    let is_small = |c: char| c.is_ascii_lowercase() || c == '_';
    let is_plain =
        name.starts_with(is_small) && name.chars().all(|c| is_small(c) || c.is_ascii_digit());
    match is_plain {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = &line[..at];
        if before.starts_with('\\') {
            let written = COMMANDS
                .iter()
                .filter_map(|(command, _)| command.split(' ').next());
            let mut found: Vec<String> = written
                .filter(|command| command.starts_with(before))
                .map(str::to_owned)
                .collect();
            found.dedup();
            return Ok((0, found));
        }
        let is_within = |c: char| c.is_alphanumeric() || "_.\"".contains(c);
        let start = before
            .char_indices()
            .rev()
            .take_while(|(_, c)| is_within(*c))
            .last()
            .map_or(at, |(index, _)| index);
        match &before[start..] {
            "" => Ok((at, Vec::new())),
            word => Ok((start, self.candidates(word))),
        }
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match is_whole(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

/// Whether what was entered can be run: a command, nothing, or statements up to a semicolon.
fn is_whole(input: &str) -> bool {
    if input.trim().is_empty() || input.trim_start().starts_with('\\') {
        return true;
    }
    // An error is that of a quotation or a comment without end.
    let tokens = Tokenizer::new(&GenericDialect {}, input).tokenize();
    tokens.is_ok_and(|tokens| {
        let mut backwards = tokens.iter().rev();
        let last = backwards.find(|token| !matches!(token, Token::Whitespace(_)));
        last.is_none_or(|token| *token == Token::SemiColon)
    })
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {}

impl Helper for Assistant {}

#[cfg(test)]
mod tests {
    use rustyline::history::DefaultHistory;

    use super::*;

    #[test]
    fn a_statement_is_whole_at_its_semicolon() {
        for whole in [
            "",
            "  ",
            "\\d",
            "SELECT 1;",
            "SELECT ';' ; ",
            "SELECT 1; -- all\n",
            "-- none",
        ] {
            assert!(is_whole(whole), "{whole}");
        }
        for part in [
            "SELECT 1",
            "SELECT ';",
            "SELECT 1 /* ;",
            "SELECT 1; SELECT 2",
            "SELECT \";",
        ] {
            assert!(!is_whole(part), "{part}");
        }
    }

    #[test]
    fn words_become_keywords_names_and_commands() {
        let names = ["trips", "total", "\"Total Fare\"", "unlade.mode"];
        let assistant = Assistant {
            names: names.map(str::to_owned).into(),
        };
        let history = DefaultHistory::new();
        let complete = |line: &str| {
            let context = Context::new(&history);
            assistant
                .complete(line, line.len(), &context)
                .expect("it cannot fail")
        };
        assert_eq!(complete("SELECT * FROM trip"), (14, vec!["trips".into()]));
        let (start, both) = complete("SELECT * FROM tri");
        assert!(start == 14 && both.contains(&"trim".into()) && both.contains(&"trips".into()));
        assert_eq!(complete("SELE"), (0, vec!["SELECT".into()]));
        assert_eq!(complete("sele"), (0, vec!["select".into()]));
        assert_eq!(complete("SET unlade.m"), (4, vec!["unlade.mode".into()]));
        assert_eq!(complete("SELECT \"To"), (7, vec!["\"Total Fare\"".into()]));
        assert_eq!(complete("\\fo"), (0, vec!["\\format".into()]));
        assert_eq!(complete("\\d"), (0, vec!["\\d".into()]));
        assert_eq!(complete("SELECT "), (7, Vec::new()));
        assert_eq!(complete("SELECT 'größe', trip"), (18, vec!["trips".into()]));
    }

    #[test]
    fn names_are_written_as_sql_has_them() {
        assert_eq!(written("a_1"), "a_1");
        assert_eq!(written("A"), "\"A\"");
        assert_eq!(written("1st"), "\"1st\"");
        assert_eq!(written("say \"so\""), "\"say \"\"so\"\"\"");
    }
}
