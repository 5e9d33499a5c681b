//! Arguments, refused in words that say what came and what is expected.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString};

use crate::failure::{Failure, config};

/// A whole number, which [`named`](Number::named) wants not to be negative.
#[derive(Debug)]
pub(crate) struct Number(Result<u64, String>);

impl Number {
    pub(crate) const fn new(number: u64) -> Self {
        Number(Ok(number))
    }

    /// As an option of this name, of a type that may hold less.
    pub(crate) fn named<T: TryFrom<u64>>(self, option: &str) -> Result<T, Failure> {
        let most = u64::MAX >> (64 - 8 * size_of::<T>());
        let wrong = |came: &str| {
            config(format!(
                "{option} is a whole number of at most {most}, and not below zero: not {came}"
            ))
        };
        let number = self.0.map_err(|came| wrong(&came))?;
        T::try_from(number).map_err(|_| wrong(&number.to_string()))
    }
}

impl<'py> FromPyObject<'_, 'py> for Number {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.extract::<u64>() {
            Ok(number) => Ok(Number(Ok(number))),
            // NumPy's, too, say what they are as Python's.
            Err(_) => match object.call_method0("__index__") {
                Ok(number) if number.is_instance_of::<PyInt>() => {
                    Ok(Number(Err(number.to_string())))
                }
                _ => Err(expected("a whole number", &object)),
            },
        }
    }
}

/// A list of things of one kind.
#[derive(Debug)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

/// What [`List`]s are of.
pub(crate) trait Listed {
    /// A list of them, with an example.
    const LIST: &'static str;
}

impl Listed for String {
    const LIST: &'static str = "a list of names such as [\"cpu\"]";
}

impl<'py, T: Listed + for<'a> FromPyObject<'a, 'py>> FromPyObject<'_, 'py> for List<T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let is_text = object.is_instance_of::<PyString>() || object.is_instance_of::<PyBytes>();
        let items = object.try_iter().ok().filter(|_| !is_text);
        let items = items.ok_or_else(|| expected(T::LIST, &object))?;
        let item = |item: PyResult<Bound<'py, PyAny>>| {
            let item = item?;
            let found = item.extract::<T>().ok();
            found.ok_or_else(|| expected(T::LIST, &item))
        };
        items.map(item).collect::<PyResult<_>>().map(List)
    }
}

/// What came in the place of what is expected.
pub(crate) fn expected(what: &str, came: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!("expected {what}, not {}", shown(came)))
}

/// A value as Python would write it, with its type where that does not tell it.
pub(crate) fn shown(value: &Bound<'_, PyAny>) -> String {
    /// Characters of it.
    const MOST: usize = 40;
    let kind = value.get_type().name();
    let kind = kind.map_or_else(|_| "this".to_owned(), |name| name.to_string());
    match value.repr() {
        Ok(text) if text.to_string().chars().count() <= MOST => format!("{text} ({kind})"),
        _ => format!("one of type {kind}"),
    }
}
