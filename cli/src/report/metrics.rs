//! `--metrics` and `--metrics-listen`: what docs/METRICS.md lists, as Prometheus reads it.

use std::net::SocketAddr;
use std::path::Path;

use unlade::prometheus::{self, Metrics};

use crate::args::RunArgs;
use crate::error::Failure;
use crate::report::json;

/// Has metrics collected if somebody wants them; to be called before there is a runtime.
pub(crate) fn start(args: &RunArgs) -> Result<Option<Metrics>, Failure> {
    match (args.metrics_listen, &args.metrics) {
        (Some(address), _) => listen(address).map(Some),
        (None, Some(_)) => {
            let metrics = prometheus::install();
            let metrics = metrics.map_err(|error| Failure::resource(error.to_string()));
            metrics.map(Some)
        }
        (None, None) => Ok(None),
    }
}

/// Writes them as they are now.
pub(crate) fn write(path: &Path, metrics: &Metrics) -> Result<(), Failure> {
    json::whole(path, |out| out.write_all(metrics.text().as_bytes()))
}

#[cfg(feature = "prometheus")]
fn listen(address: SocketAddr) -> Result<Metrics, Failure> {
    let listening = prometheus::listen(address);
    listening.map_err(|error| Failure::resource(format!("--metrics-listen: {error}")))
}

#[cfg(not(feature = "prometheus"))]
fn listen(_: SocketAddr) -> Result<Metrics, Failure> {
    Err(Failure::usage(
        "--metrics-listen: this build of the command is without feature `prometheus`; build it with \
         `cargo install --locked --path cli --features prometheus`, or have --metrics FILE written",
    ))
}
