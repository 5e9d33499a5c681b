//! Sessions: those among whom devices and memory are shared.

use pyo3::prelude::*;
use unlade::{Placement, Priority};

use crate::failure::Failure;
use crate::given::GivenSchema;
use crate::interpreter::outside;
use crate::kernel::Kernel;
use crate::own::{Own, shown};
use crate::query::{Asked, Columns, For, Rules, Spelled, one_of};
use crate::runtime::Runtime;
use crate::status::dictionary;
use crate::time::seconds;

/// One who shares a runtime's devices and memory with others. As a context manager it is cancelled
/// at the end of its block.
#[pyclass(frozen, module = "unlade")]
#[derive(Debug)]
pub(crate) struct Session {
    inner: Own<unlade::Session>,
    threads: usize,
}

/// What a session is opened with.
#[derive(Debug)]
pub(crate) struct Wishes {
    pub(crate) weight: u32,
    pub(crate) priority: String,
    pub(crate) memory_budget: Option<u64>,
    pub(crate) deadline: Option<f64>,
    pub(crate) device: Option<String>,
    pub(crate) devices: Vec<String>,
    pub(crate) patience: f64,
}

impl Session {
    pub(crate) fn open(
        py: Python<'_>,
        runtime: &Runtime,
        label: String,
        wishes: Wishes,
    ) -> Result<Self, Failure> {
        let priorities = [
            ("background", Priority::Background),
            ("normal", Priority::Normal),
            ("interactive", Priority::Interactive),
        ];
        let mut builder = runtime
            .inner
            .get()?
            .session(label)
            .weight(wishes.weight)
            .priority(one_of("priority", &wishes.priority, &priorities)?)
            .patience(seconds("patience", wishes.patience)?);
        if let Some(bytes) = wishes.memory_budget {
            builder = builder.memory_budget(bytes);
        }
        if let Some(after) = wishes.deadline {
            builder = builder.deadline(seconds("deadline", after)?);
        }
        if let Some(device) = wishes.device {
            builder = builder.placement(Placement::Device(device.into()));
        }
        for request in &wishes.devices {
            builder = builder.device(request.parse()?);
        }
        Ok(Session {
            inner: Own::new(outside(py, || builder.open())??),
            threads: runtime.threads,
        })
    }
}

#[pymethods]
impl Session {
    /// As `Runtime.compile`, for this session.
    #[pyo3(signature = (data, *, filter=None, select=None, mask=false, semantics="arrow",
        overflow=None, cast=None, float_order=None, check_values=false))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keywords")]
    fn compile(
        &self,
        py: Python<'_>,
        data: GivenSchema,
        filter: Option<Spelled>,
        select: Option<Columns>,
        mask: bool,
        semantics: &str,
        overflow: Option<&str>,
        cast: Option<&str>,
        float_order: Option<&str>,
        check_values: bool,
    ) -> Result<Kernel, Failure> {
        let asked = Asked {
            filter,
            select,
            mask,
        };
        let rules = Rules {
            semantics,
            overflow,
            cast,
            float_order,
        };
        let kernel = For::Session(self.inner.get()?).compile(py, &data.0, &asked, &rules)?;
        Ok(Kernel::new(kernel, self.threads, check_values))
    }

    /// Ends everything that the session has under way, and refuses the rest.
    fn cancel(&self, py: Python<'_>) -> Result<(), Failure> {
        let session = self.inner.get()?;
        outside(py, || session.cancel())
    }

    /// Whether it was cancelled.
    #[getter]
    fn cancelled(&self) -> Result<bool, Failure> {
        Ok(self.inner.get()?.is_cancelled())
    }

    /// How it fares at the moment.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        dictionary(py, &self.inner.get()?.status())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, PyAny>) -> Result<(), Failure> {
        self.cancel(py)
    }

    fn __repr__(&self) -> Result<String, Failure> {
        shown("Session", || {
            let label = self.inner.get()?.status().label;
            Ok(format!("Session({label})"))
        })
    }
}
