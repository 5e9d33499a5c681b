//! How what is taken becomes a kernel, for a session's options.

use std::sync::Arc;
use std::time::Duration;

use arrow_schema::Schema;
use datafusion::common::Result;
use unlade::{DeviceRequest, Kernel, Placement, Runtime, Semantics, Session, SessionBuilder};
use unlade_wire::KernelRequest;

use crate::config::{Mode, UnladeConfig};
use crate::error::from_runtime;
use crate::exec::Work;
use crate::expr::Unsupported;

/// DataFusion's own.
pub(crate) const RULES: Semantics = Semantics::datafusion();

/// Devices, or parts of them, that are asked for, and how long at most they are waited for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) requests: Vec<DeviceRequest>,
    pub(crate) patience: Duration,
}

/// Compiles for the device that a session's options ask for.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    session: Session,
    /// Whether batches may go to a device behind a queue.
    pub(crate) may_queue: bool,
}

impl Compiler {
    /// # Errors
    /// A device that the runtime does not have.
    pub(crate) fn new(runtime: &Runtime, options: &UnladeConfig) -> Result<Self> {
        Compiler::with_devices(runtime, options, &Wanted::default())
    }

    /// The same for what is granted of devices.
    ///
    /// # Errors
    /// As of [`new`](Compiler::new), and where they are not granted.
    pub(crate) fn with_devices(
        runtime: &Runtime,
        options: &UnladeConfig,
        wanted: &Wanted,
    ) -> Result<Self> {
        let placement = options.placement();
        let may_queue = may_queue(runtime, &placement);
        let session = runtime.session("datafusion").placement(placement);
        let requests = wanted.requests.iter().cloned();
        let session = requests.fold(session.patience(wanted.patience), SessionBuilder::device);
        Ok(Compiler {
            session: session.open().map_err(from_runtime)?,
            may_queue,
        })
    }

    /// What computes a request, whose results are to be of a schema's types.
    ///
    /// # Errors
    /// What no device of the session runs, and what would have another type than it is to have.
    pub(crate) fn work(
        &self,
        request: &KernelRequest,
        results: &Schema,
        mode: Mode,
    ) -> Result<Arc<Work>, Unsupported> {
        let kernel = self.kernel(request, results)?;
        Ok(Arc::new(Work::new(kernel, mode, self.clone())))
    }

    /// The kernel of that alone.
    pub(crate) fn kernel(
        &self,
        request: &KernelRequest,
        results: &Schema,
    ) -> Result<Kernel, Unsupported> {
        let KernelRequest {
            query,
            input,
            semantics,
        } = request;
        let kernel = self.session.compile(query, input, semantics);
        let kernel = kernel.map_err(|error| Unsupported(error.to_string()))?;
        let made = kernel.schema();
        let other = results.fields().iter().zip(made.fields());
        let mut other = other.filter(|(wanted, made)| wanted.data_type() != made.data_type());
        match other.next() {
            Some((wanted, made)) => Err(Unsupported(format!(
                "`{}`, which is {} there and {} here",
                wanted.name(),
                wanted.data_type(),
                made.data_type()
            ))),
            None => Ok(kernel),
        }
    }
}

fn may_queue(runtime: &Runtime, placement: &Placement) -> bool {
    let devices = runtime.devices();
    devices.iter().any(|device| match placement {
        Placement::Device(name) => device.name == *name && device.kind != "cpu",
        Placement::Auto => !["cpu", "simulator"].contains(&device.kind),
    })
}
