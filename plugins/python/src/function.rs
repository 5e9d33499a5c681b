//! Functions in Python that queries call, over pyarrow's arrays.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::Field;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use unlade::{FunctionFailure, Signature, UserFunction};

use crate::argument::{Listed, expected};
use crate::capsule::{self, GivenArray, import_field};
use crate::column::Column;
use crate::failure::{Failure, caught, refused};
use crate::interpreter::{self, ENDING};

/// A type of Arrow's, by the PyCapsule interface, with what says that it is an extension.
#[derive(Debug)]
pub(crate) struct GivenType(Field);

impl<'py> FromPyObject<'_, 'py> for GivenType {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        match object.getattr_opt(intern!(py, "__arrow_c_schema__"))? {
            Some(schema) => {
                let capsule = schema.call0()?;
                caught(|| import_field(&capsule))?.map(GivenType)
            }
            None => Err(expected(
                "a type of Arrow's such as pyarrow.int64()",
                &object,
            )),
        }
    }
}

impl Listed for GivenType {
    const LIST: &'static str = "a list of types such as [pyarrow.int64()]";
}

/// A function that a runtime can register.
pub(crate) fn function(
    name: &str,
    arguments: Vec<GivenType>,
    result: &Bound<'_, PyAny>,
    nullable: bool,
    body: Py<PyAny>,
) -> Result<UserFunction, Failure> {
    Python::attach(|py| match body.bind(py).is_callable() {
        true => Ok(()),
        false => {
            let what = body.bind(py).get_type().name()?;
            let why = format!("expected a function of pyarrow arrays, not {what}");
            Err(PyTypeError::new_err(why))
        }
    })?;
    let types = arguments.iter().map(|each| each.0.data_type().clone());
    let GivenType(gives) = result.extract()?;
    let signature = Signature::new(name, types, gives.data_type().clone());
    let signature = signature.map_err(|error| refused(&error, None))?;
    let signature = signature.with_result_metadata(gives.metadata().clone());
    let signature = match nullable {
        true => signature,
        false => signature.never_null(),
    };
    let fields = arguments.into_iter().enumerate();
    let fields = fields.map(|(position, GivenType(field))| {
        field.with_name(position.to_string()).with_nullable(true)
    });
    let callee = Callee {
        fields: fields.map(Arc::new).collect(),
        result: result.clone().unbind(),
        body,
    };
    Ok(UserFunction::new(signature, move |arguments| {
        let ending = || FunctionFailure::new(ENDING);
        let _inside = interpreter::enter().ok_or_else(ending)?;
        let called = Python::try_attach(|py| callee.call(py, arguments)).ok_or_else(ending)?;
        // Others may have the interpreter while it is looked at.
        called?.import().map_err(|error| {
            let failed = |py: Python<'_>| failed(py, capsule::refused(error));
            Python::try_attach(failed).unwrap_or_else(ending)
        })
    }))
}

/// What is called, and with what.
struct Callee {
    fields: Vec<Arc<Field>>,
    /// The type of the result, as it was given.
    result: Py<PyAny>,
    body: Py<PyAny>,
}

impl Callee {
    fn call(&self, py: Python<'_>, arguments: &[ArrayRef]) -> Result<GivenArray, FunctionFailure> {
        self.call_with(py, arguments)
            .map_err(|error| failed(py, error))
    }

    fn call_with(&self, py: Python<'_>, arguments: &[ArrayRef]) -> PyResult<GivenArray> {
        let pyarrow = py.import(intern!(py, "pyarrow"))?;
        let of_pyarrow = |(field, array): (&Arc<Field>, &ArrayRef)| {
            let column = Column::new(Arc::clone(field), Arc::clone(array));
            pyarrow.call_method1(intern!(py, "array"), (column,))
        };
        let arguments = self.fields.iter().zip(arguments).map(of_pyarrow);
        let arguments = PyTuple::new(py, arguments.collect::<PyResult<Vec<_>>>()?)?;
        let result = self.body.bind(py).call1(arguments)?;
        let result = match result.getattr_opt(intern!(py, "combine_chunks"))? {
            Some(combine) => combine.call0()?,
            None => result,
        };
        let capsules = match result.getattr_opt(intern!(py, "__arrow_c_array__"))? {
            Some(capsules) => capsules.call0()?,
            // Of NumPy, or a list.
            None => pyarrow
                .call_method1(intern!(py, "array"), (result, self.result.bind(py)))?
                .call_method0(intern!(py, "__arrow_c_array__"))?,
        };
        GivenArray::take(&capsules)
    }
}

/// An exception as the failure of the function, whose source it is, at the row that it names, if it does.
fn failed(py: Python<'_>, error: PyErr) -> FunctionFailure {
    let row = error.value(py).getattr_opt(intern!(py, "row"));
    let row = row.ok().flatten().and_then(|row| row.extract().ok());
    let failure = FunctionFailure::new(error.to_string()).because(error);
    match row {
        Some(row) => failure.at(row),
        None => failure,
    }
}
