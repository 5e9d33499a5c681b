//! Queries, and the rules that they are read by.
//!
//! A query is text, or comes as Substrait: from pyarrow's expressions, which serialise themselves, or
//! as bytes of whoever wrote it.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use unlade::substrait::{Imported, SubstraitError, import_with};
use unlade::{
    Clause, Error, Expr, ExprError, FloatOrder, Kernel, OnError, Query, Runtime, Select, Semantics,
    Session, Signatures, parse_expr_with, parse_select_list_with,
};

use crate::argument::{List, Listed, expected};
use crate::batch::Schema;
use crate::failure::{Failure, caught, config, not_imported, not_serialised, refused};
use crate::interpreter::outside;

/// One expression, or a message of several.
#[derive(Debug)]
pub(crate) enum Spelled {
    Text(String),
    /// Of pyarrow, or of another library with `to_substrait`.
    Expression(Py<PyAny>),
    /// A serialised `ExtendedExpression`.
    Message(Vec<u8>),
}

impl<'py> FromPyObject<'_, 'py> for Spelled {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        if let Ok(text) = object.cast::<PyString>() {
            return Ok(Spelled::Text(text.to_str()?.to_owned()));
        }
        if object.hasattr(intern!(py, "to_substrait"))? {
            return Ok(Spelled::Expression(object.to_owned().unbind()));
        }
        let bytes = py.get_type::<PyBytes>();
        let view = py
            .import(intern!(py, "builtins"))?
            .call_method1(intern!(py, "memoryview"), (object,));
        let Ok(view) = view else {
            let what = "an expression: text, one of pyarrow's, or Substrait's bytes";
            return Err(expected(what, &object));
        };
        Ok(Spelled::Message(bytes.call1((view,))?.extract()?))
    }
}

/// What to put out.
#[derive(Debug)]
pub(crate) enum Columns {
    /// One list.
    List(Spelled),
    /// By their names.
    Named(Vec<(String, Spelled)>),
}

impl<'py> FromPyObject<'_, 'py> for Columns {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(named) = object.cast::<PyDict>() {
            let item = |(name, each): (Bound<'py, PyAny>, Bound<'py, PyAny>)| {
                let text = name.extract();
                let text = text.map_err(|_| expected("the name of a column", &name))?;
                Ok((text, each.extract()?))
            };
            return named
                .iter()
                .map(item)
                .collect::<PyResult<_>>()
                .map(Columns::Named);
        }
        if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
            let List(each) = object.extract::<List<Item>>()?;
            let each: Vec<String> = each.into_iter().map(|Item(text)| text).collect();
            return Ok(Columns::List(Spelled::Text(each.join(", "))));
        }
        match object.extract()? {
            Spelled::Expression(_) => Err(PyTypeError::new_err(
                "an expression that is put out needs a name: select={'name': expression}",
            )),
            spelled => Ok(Columns::List(spelled)),
        }
    }
}

/// An item of what to put out.
struct Item(String);

impl<'py> FromPyObject<'_, 'py> for Item {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        object.extract().map(Item)
    }
}

impl Listed for Item {
    const LIST: &'static str =
        "a list of text such as [\"a\", \"b + 1 as c\"], or a dictionary {\"name\": expression}";
}

/// What to compute, as callers spell it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) filter: Option<Spelled>,
    pub(crate) select: Option<Columns>,
    pub(crate) mask: bool,
}

/// The rules, as callers spell them.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) semantics: &'a str,
    pub(crate) overflow: Option<&'a str>,
    pub(crate) cast: Option<&'a str>,
    pub(crate) float_order: Option<&'a str>,
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
        schema: &SchemaRef,
        asked: &Asked,
        rules: &Rules<'_>,
    ) -> Result<Kernel, Failure> {
        let functions = match self {
            For::Runtime(runtime) => runtime.functions(),
            For::Session(session) => session.functions(),
        };
        let mut reading = Reading {
            py,
            schema,
            functions,
            imported: Vec::new(),
            of_pyarrow: false,
        };
        let (query, rules) =
            caught(|| Ok::<_, Failure>((reading.query(asked)?, reading.rules(rules)?)))??;
        let compiled = outside(py, || match self {
            For::Runtime(runtime) => runtime.compile(&query, schema, &rules),
            For::Session(session) => session.compile(&query, schema, &rules),
        })?;
        compiled.map_err(|error| match error {
            Error::Expr(error) => refused(&error, asked.text_of(&error)),
            other => other.into(),
        })
    }
}

/// A query that is being read.
struct Reading<'a, 'py> {
    py: Python<'py>,
    schema: &'a SchemaRef,
    /// Those that were registered.
    functions: Arc<Signatures>,
    /// What came as Substrait, which says some of the rules itself.
    imported: Vec<Imported>,
    /// Whether some of it was an expression of pyarrow's.
    of_pyarrow: bool,
}

impl Reading<'_, '_> {
    fn query(&mut self, asked: &Asked) -> Result<Query, Failure> {
        let mut query = Query::all();
        query.mask = asked.mask;
        if let Some(filter) = &asked.filter {
            query.filter = Some(self.expression(filter)?);
        }
        match &asked.select {
            None => {}
            Some(Columns::List(Spelled::Text(text))) => {
                let columns = parse_select_list_with(text, &self.functions);
                query.select =
                    Select::Columns(columns.map_err(|error| refused(&error, Some(text)))?);
            }
            Some(Columns::List(message)) => {
                query.select = self.message(message)?.projection().select
            }
            Some(Columns::Named(columns)) => {
                let each = columns
                    .iter()
                    .map(|(name, spelled)| Ok(self.expression(spelled)?.alias(name.as_str())));
                query.select = Select::Columns(each.collect::<Result<_, Failure>>()?);
            }
        }
        Ok(query)
    }

    fn expression(&mut self, spelled: &Spelled) -> Result<Expr, Failure> {
        if let Spelled::Text(text) = spelled {
            let parsed = parse_expr_with(text, &self.functions);
            return parsed.map_err(|error| refused(&error, Some(text)));
        }
        match self.message(spelled)?.expressions.as_slice() {
            [one] => Ok(one.expr.clone()),
            several => Err(not_imported(
                &format!(
                    "one expression is asked for, and the message has {}",
                    several.len()
                ),
                None,
            )),
        }
    }

    /// What comes as Substrait.
    fn message(&mut self, spelled: &Spelled) -> Result<&Imported, Failure> {
        let imported = match spelled {
            Spelled::Message(bytes) => {
                let imported = import_with(bytes, &self.functions).map_err(said)?;
                self.is_over_the_data(&imported)?;
                imported
            }
            Spelled::Expression(expression) => {
                self.of_pyarrow = true;
                import_with(&self.serialised(expression)?, &self.functions).map_err(said)?
            }
            Spelled::Text(_) => unreachable!("text is parsed"),
        };
        self.imported.push(imported);
        Ok(self.imported.last().expect("it was pushed"))
    }

    fn serialised(&self, expression: &Py<PyAny>) -> Result<Vec<u8>, Failure> {
        let py = self.py;
        let schema = Schema {
            inner: SchemaRef::clone(self.schema),
        };
        let pyarrow = py.import(intern!(py, "pyarrow"))?;
        let schema = pyarrow.call_method1(intern!(py, "schema"), (schema,))?;
        let message = expression
            .bind(py)
            .call_method1(intern!(py, "to_substrait"), (schema,))
            .map_err(|error| not_serialised(py, error))?;
        let bytes = py.get_type::<PyBytes>().call1((message,))?;
        Ok(bytes.extract()?)
    }

    /// A message names columns by their positions in a schema of its own.
    fn is_over_the_data(&self, imported: &Imported) -> Result<(), Failure> {
        let (theirs, ours) = (imported.input.fields(), self.schema.fields());
        let same = theirs.len() == ours.len()
            && theirs.iter().zip(ours).all(|(theirs, ours)| {
                theirs.name() == ours.name() && theirs.data_type() == ours.data_type()
            });
        if same {
            return Ok(());
        }
        let words = |fields: &arrow_schema::Fields| {
            let each = fields
                .iter()
                .map(|field| format!("{}: {}", field.name(), unlade::type_name(field.data_type())));
            each.collect::<Vec<_>>().join(", ")
        };
        Err(not_imported(
            &format!(
                "the message is over ({}), and the data is ({})",
                words(theirs),
                words(ours)
            ),
            Some("serialise it with the schema of the data"),
        ))
    }

    /// The rules that are asked for, with what messages ask for in their place.
    fn rules(&self, asked: &Rules<'_>) -> Result<Semantics, Failure> {
        let mut rules = asked.read()?;
        if self.of_pyarrow && asked.float_order.is_none() {
            // pyarrow compares as IEEE 754 says, and Substrait has no word for it.
            rules = rules.with_float_order(FloatOrder::Ieee);
        }
        for imported in &self.imported {
            rules = imported.rules(&rules).map_err(said)?;
        }
        for imported in &self.imported {
            if imported.rules(&rules).map_err(said)? != rules {
                return Err(not_imported(
                    "filter and columns ask for different rules of overflow, division or casts, and \
                     a kernel has one set of them",
                    Some("compile them apart, or use the checked functions in both"),
                ));
            }
        }
        Ok(rules)
    }
}

impl Asked {
    /// The text that an error of the check is about.
    fn text_of(&self, error: &ExprError) -> Option<&str> {
        let spelled = match error.clause()? {
            Clause::Filter => self.filter.as_ref()?,
            Clause::Select => match self.select.as_ref()? {
                Columns::List(list) => list,
                Columns::Named(_) => return None,
            },
        };
        match spelled {
            Spelled::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Rules<'_> {
    fn read(&self) -> Result<Semantics, Failure> {
        let named = self.semantics.replace('_', "-").parse::<Semantics>();
        let mut rules = named.map_err(|error| config(format!("semantics: {error}")))?;
        if let Some(overflow) = self.overflow {
            let modes = [("trap", OnError::Trap), ("wrap", OnError::Wrap)];
            rules = rules.with_overflow(one_of("overflow", overflow, &modes)?);
        }
        if let Some(cast) = self.cast {
            let modes = [("trap", OnError::Trap), ("null", OnError::Null)];
            rules = rules.with_cast(one_of("cast", cast, &modes)?);
        }
        if let Some(order) = self.float_order {
            let orders = [
                ("total", FloatOrder::Total),
                ("ieee", FloatOrder::Ieee),
                ("spark", FloatOrder::Spark),
            ];
            rules = rules.with_float_order(one_of("float_order", order, &orders)?);
        }
        Ok(rules)
    }
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

fn said(error: SubstraitError) -> Failure {
    not_imported(&error.to_string(), None)
}
