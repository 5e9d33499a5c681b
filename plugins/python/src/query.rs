//! Queries, and the rules that they are read by.

use arrow_schema::SchemaRef;
use pyo3::prelude::*;
use unlade::{
    Clause, Error, ExprError, FloatOrder, Kernel, OnError, Query, Runtime, Select, Semantics,
    Session, parse_expr, parse_select_list,
};

use crate::failure::{Failure, config, refused};

/// A list of columns: one text, or one for each.
#[derive(Debug, FromPyObject)]
pub(crate) enum Columns {
    Text(String),
    Each(Vec<String>),
}

impl Columns {
    fn text(self) -> String {
        match self {
            Columns::Text(text) => text,
            Columns::Each(each) => each.join(", "),
        }
    }
}

/// What to compute, as callers spell it.
#[derive(Debug)]
pub(crate) struct Asked {
    filter: Option<String>,
    select: Option<String>,
    mask: bool,
}

impl Asked {
    pub(crate) fn new(filter: Option<String>, select: Option<Columns>, mask: bool) -> Self {
        Asked {
            filter,
            select: select.map(Columns::text),
            mask,
        }
    }

    /// The query, compiled by `compile`; what is wrong with it is shown in its text.
    pub(crate) fn compile(
        &self,
        compile: impl FnOnce(&Query) -> Result<Kernel, Error>,
    ) -> Result<Kernel, Failure> {
        let query = self.query()?;
        compile(&query).map_err(|error| match error {
            Error::Expr(error) => refused(&error, self.text_of(&error)),
            other => other.into(),
        })
    }

    fn query(&self) -> Result<Query, Failure> {
        let mut query = Query::all();
        query.mask = self.mask;
        if let Some(text) = &self.filter {
            let predicate = parse_expr(text).map_err(|error| refused(&error, Some(text)))?;
            query.filter = Some(predicate);
        }
        if let Some(text) = &self.select {
            let columns = parse_select_list(text).map_err(|error| refused(&error, Some(text)))?;
            query.select = Select::Columns(columns);
        }
        Ok(query)
    }

    /// The text that an error of the check is about.
    fn text_of(&self, error: &ExprError) -> Option<&str> {
        match error.clause()? {
            Clause::Filter => self.filter.as_deref(),
            Clause::Select => self.select.as_deref(),
        }
    }
}

/// The rules of a name, with the modes that are chosen apart.
pub(crate) fn rules(
    name: &str,
    overflow: Option<&str>,
    cast: Option<&str>,
    float_order: Option<&str>,
) -> Result<Semantics, Failure> {
    let named = name.replace('_', "-").parse::<Semantics>();
    let mut rules = named.map_err(|error| config(format!("semantics: {error}")))?;
    if let Some(overflow) = overflow {
        let modes = [("trap", OnError::Trap), ("wrap", OnError::Wrap)];
        rules = rules.with_overflow(one_of("overflow", overflow, &modes)?);
    }
    if let Some(cast) = cast {
        let modes = [("trap", OnError::Trap), ("null", OnError::Null)];
        rules = rules.with_cast(one_of("cast", cast, &modes)?);
    }
    if let Some(order) = float_order {
        let orders = [
            ("total", FloatOrder::Total),
            ("ieee", FloatOrder::Ieee),
            ("spark", FloatOrder::Spark),
        ];
        rules = rules.with_float_order(one_of("float_order", order, &orders)?);
    }
    Ok(rules)
}

/// The value of a word out of a few.
pub(crate) fn one_of<T: Copy>(option: &str, word: &str, words: &[(&str, T)]) -> Result<T, Failure> {
    let found = words.iter().find(|(known, _)| *known == word);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<String> = words
            .iter()
            .map(|(known, _)| format!("`{known}`"))
            .collect();
        config(format!("{option} is {}, not `{word}`", known.join(" or ")))
    })
}

/// Where kernels are compiled: by a runtime, or for a session of its.
#[derive(Clone, Copy, Debug)]
pub(crate) enum For<'a> {
    Runtime(&'a Runtime),
    Session(&'a Session),
}

impl For<'_> {
    pub(crate) fn compile(
        self,
        py: Python<'_>,
        asked: &Asked,
        schema: &SchemaRef,
        rules: &Semantics,
    ) -> Result<Kernel, Failure> {
        py.detach(|| {
            asked.compile(|query| match self {
                For::Runtime(runtime) => runtime.compile(query, schema, rules),
                For::Session(session) => session.compile(query, schema, rules),
            })
        })
    }
}
