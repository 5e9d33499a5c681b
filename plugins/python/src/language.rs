//! The table of functions.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The language: every form that an expression in text may have, with an example.
#[pyfunction]
pub(crate) fn functions(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let form = |function: &unlade::Function| {
        let form = PyDict::new(py);
        form.set_item("group", function.group.title())?;
        form.set_item("name", function.name)?;
        form.set_item("syntax", function.syntax)?;
        form.set_item("operands", function.operands)?;
        form.set_item("result", function.result)?;
        form.set_item("nulls", function.nulls)?;
        form.set_item("differs", function.differs)?;
        form.set_item("example", function.example)?;
        Ok(form)
    };
    unlade::FUNCTIONS.iter().map(form).collect()
}
