//! The runtime: devices, memory and threads.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use arrow_array::RecordBatch;
use pyo3::prelude::*;
use unlade::placement::Objective;
use unlade::{Fallback, Placement, RuntimeBuilder, Trust};

use crate::argument::{List, Number};
use crate::failure::{Failure, config, refused};
use crate::function::{self, GivenType};
use crate::given::{Given, GivenSchema};
use crate::interpreter::outside;
use crate::kernel::Kernel;
use crate::own::{Own, shown};
use crate::query::{Asked, Columns, For, Rules, Spelled, one_of};
use crate::resident::Resident;
use crate::session::{Session, Wishes};
use crate::status::dictionary;
use crate::time::seconds;

/// Devices, memory and threads, shared by all kernels that are compiled with it. As a context
/// manager it is shut down at the end of its block.
#[pyclass(frozen, weakref, module = "unlade")]
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    pub(crate) inner: Own<unlade::Runtime>,
    pub(crate) threads: usize,
}

/// The runtime that all of the process shares, made when it is first asked for: with every device
/// that is present, and as many threads as there are processors.
#[pyfunction]
pub(crate) fn runtime(py: Python<'_>) -> Result<Runtime, Failure> {
    static SHARED: Mutex<Option<Runtime>> = Mutex::new(None);
    outside(py, || {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*shared {
            return Ok(runtime.clone());
        }
        let threads = processors();
        let inner = unlade::builder().threads(threads).build()?;
        let inner = Own::new(inner);
        let made = Runtime { inner, threads };
        Ok(shared.insert(made).clone())
    })?
}

#[pymethods]
impl Runtime {
    #[new]
    #[pyo3(signature = (*, devices=None, device=None, threads=None, memory_budget=None,
        pool_reserve=None, fallback=true, trust="trusted", objective="latency", calibration=None,
        background_compile=false, host_cpu=false, predictions=false, device_timeout=None))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keywords")]
    fn new(
        py: Python<'_>,
        devices: Option<List<String>>,
        device: Option<String>,
        threads: Option<Number>,
        memory_budget: Option<Number>,
        pool_reserve: Option<Number>,
        fallback: bool,
        trust: &str,
        objective: &str,
        calibration: Option<PathBuf>,
        background_compile: bool,
        host_cpu: bool,
        predictions: bool,
        device_timeout: Option<f64>,
    ) -> Result<Self, Failure> {
        let threads = match threads {
            Some(threads) => threads.named("threads")?,
            None => processors(),
        };
        let trusts = [("trusted", Trust::Trusted), ("untrusted", Trust::Untrusted)];
        let objectives = [
            ("latency", Objective::Latency),
            ("host_cpu", Objective::HostCpu),
        ];
        let mut builder = unlade::Runtime::builder()
            .threads(threads)
            .trust(one_of("trust", trust, &trusts)?)
            .objective(one_of("objective", objective, &objectives)?)
            .fallback(if fallback {
                Fallback::Allow
            } else {
                Fallback::Forbid
            })
            .background_compile(background_compile)
            .host_cpu(host_cpu)
            .predictions(predictions);
        if let Some(name) = device {
            builder = builder.placement(Placement::Device(name.into()));
        }
        if let Some(bytes) = budget(memory_budget)? {
            builder = builder.memory_budget(bytes);
        }
        if let Some(bytes) = pool_reserve {
            builder = builder.pool_reserve(bytes.named("pool_reserve")?);
        }
        if let Some(file) = calibration {
            builder = builder.calibration(file);
        }
        if let Some(timeout) = device_timeout {
            builder = builder.device_timeout(seconds("device_timeout", timeout)?);
        }
        let inner = outside(py, || {
            with_devices(builder, devices.map(|devices| devices.0))?
                .build()
                .map_err(Failure::from)
        })??;
        let inner = Own::new(inner);
        Ok(Runtime { inner, threads })
    }

    /// Prepares a query for data of a schema.
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
        let kernel = For::Runtime(self.inner.get()?).compile(py, &data.0, &asked, &rules)?;
        Ok(Kernel::new(kernel, self.threads, check_values))
    }

    /// Registers a function for queries to call.
    #[pyo3(signature = (name, arguments, result, function, *, nullable=true))]
    fn register_function(
        &self,
        py: Python<'_>,
        name: &str,
        arguments: List<GivenType>,
        result: &Bound<'_, PyAny>,
        function: Py<PyAny>,
        nullable: bool,
    ) -> Result<(), Failure> {
        let function = function::function(name, arguments.0, result, nullable, function)?;
        let runtime = self.inner.get()?;
        match outside(py, || runtime.register(function))? {
            Ok(_) => Ok(()),
            Err(unlade::Error::Expr(error)) => Err(refused(&error, None)),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a session.
    #[pyo3(signature = (label, *, weight=Number::new(1), priority="normal", memory_budget=None,
        deadline=None, device=None, devices=List(Vec::new()), patience=0.0))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keywords")]
    fn session(
        &self,
        py: Python<'_>,
        label: String,
        weight: Number,
        priority: &str,
        memory_budget: Option<Number>,
        deadline: Option<f64>,
        device: Option<String>,
        devices: List<String>,
        patience: f64,
    ) -> Result<Session, Failure> {
        let wishes = Wishes {
            weight: weight.named("weight")?,
            priority: priority.to_owned(),
            memory_budget: budget(memory_budget)?,
            deadline,
            device,
            devices: devices.0,
            patience,
        };
        Session::open(py, self, label, wishes)
    }

    /// Keeps the columns of data in a device's memory across calls.
    #[pyo3(signature = (data, *, device=None))]
    fn pin(&self, py: Python<'_>, data: Given, device: Option<&str>) -> Result<Resident, Failure> {
        let runtime = self.inner.get()?;
        let inner = outside(py, || {
            let batches: Vec<RecordBatch> = match data {
                Given::Batch(imported) => vec![imported.batch],
                Given::Stream(incoming) => incoming
                    .collect::<Result<_, _>>()
                    .map_err(crate::given::unlade_input)?,
            };
            runtime.pin(&batches, device)
        })??;
        let inner = Own::new(inner);
        Ok(Resident { inner })
    }

    /// The devices, as they are at the moment.
    fn devices<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>, Failure> {
        let runtime = self.inner.get()?;
        let devices = outside(py, || runtime.devices())?;
        Ok(dictionary(py, &devices)?)
    }

    /// How memory is used at the moment, and by whom.
    fn memory<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        dictionary(py, &self.inner.get()?.memory())
    }

    /// The sessions that have not ended, the runtime's own first.
    fn sessions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        dictionary(py, &self.inner.get()?.sessions())
    }

    /// Why work went elsewhere than it was meant to, and how often.
    fn fallbacks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        dictionary(py, &self.inner.get()?.fallbacks())
    }

    /// How the cache of compiled programs fares.
    fn cache<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        dictionary(py, &self.inner.get()?.cache())
    }

    /// Ends the runtime for all that was made with it: what is under way is done, within so many
    /// seconds. Returns how many batches were cut off.
    #[pyo3(signature = (within=10.0))]
    fn shutdown(&self, py: Python<'_>, within: f64) -> Result<u64, Failure> {
        let within: Duration = seconds("within", within)?;
        let runtime = self.inner.get()?;
        Ok(outside(py, || runtime.shutdown(within))?.cut_off)
    }

    /// On how many threads a table or stream is computed.
    #[getter]
    fn threads(&self) -> usize {
        self.threads
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, PyAny>) -> Result<(), Failure> {
        self.shutdown(py, 10.0).map(drop)
    }

    fn __repr__(&self) -> Result<String, Failure> {
        shown("Runtime", || {
            let devices = self.inner.get()?.devices();
            let names: Vec<&str> = devices.iter().map(|device| &*device.name).collect();
            let (names, threads) = (names.join(", "), self.threads);
            Ok(format!("Runtime({names}; {threads} threads)"))
        })
    }
}

/// Bytes that were asked for as a budget; without, what it is otherwise.
fn budget(bytes: Option<Number>) -> Result<Option<u64>, Failure> {
    let bytes = bytes
        .map(|bytes| bytes.named("memory_budget"))
        .transpose()?;
    match bytes {
        Some(0) => Err(config(
            "memory_budget is 0 bytes, within which no batch is computed; leave it out for the usual one",
        )),
        bytes => Ok(bytes),
    }
}

/// As many threads as this process may run on.
fn processors() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Those that are named, or all that are present.
fn with_devices(
    builder: RuntimeBuilder,
    names: Option<Vec<String>>,
) -> Result<RuntimeBuilder, Failure> {
    let devices = match names {
        None => unlade::discover(),
        Some(names) if names.is_empty() => {
            return Err(config(
                "devices: name one at least, such as [\"cpu\"]; without the argument all that are \
                 present are opened, which unlade.devices() lists",
            ));
        }
        Some(names) => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            unlade::open_devices(&names).map_err(config)?
        }
    };
    Ok(devices.into_iter().fold(builder, RuntimeBuilder::device))
}
