//! Metrics of this process in Prometheus' text form: as text, and with feature `prometheus` over HTTP.
//!
//! docs/METRICS.md lists them. [`install`] comes before any runtime is built: what was made before
//! tells nobody.
//!
//! ```
//! use unlade::prometheus;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let metrics = prometheus::install()?;
//! let runtime = unlade::runtime()?;
//! metrics.watch(&runtime);
//! assert!(metrics.text().contains("unlade_device_state{device=\"cpu\",state=\"ready\"} 1"));
//! # Ok(())
//! # }
//! ```

use std::fmt;
#[cfg(feature = "prometheus")]
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::{Runtime, WeakRuntime};

/// Bounds of the buckets of all histograms, in seconds: from what a small batch takes to what a
/// device may at most, each about three times the one before.
pub const BUCKETS: [f64; 17] = [
    1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0,
    100.0,
];

/// How often gauges are set, and the values of histograms are put into their buckets: until then each
/// takes some memory.
const OFTEN: Duration = Duration::from_secs(1);

/// Why this process has no metrics of this kind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CannotInstall {
    /// The process has another recorder, or this one already.
    #[error(
        "this process has a recorder of metrics already, which is for good; install this one first, \
         once, or take the metrics from the other"
    )]
    Taken,
    /// A thread cannot be started.
    #[error("no thread can be started for metrics: {0}")]
    Thread(std::io::Error),
    /// Nobody can be served at the address.
    #[error("metrics cannot be served at {address}: {why}; name another address and port")]
    Address {
        /// The address.
        address: String,
        /// What the system says.
        why: String,
    },
}

/// The metrics of this process, from [`install`] on. When it is dropped, nothing is served any more;
/// the recorder stays, as every one does.
pub struct Metrics {
    handle: PrometheusHandle,
    watched: Arc<Mutex<Vec<WeakRuntime>>>,
    upkeep: Option<(Sender<()>, JoinHandle<()>)>,
    #[cfg(feature = "prometheus")]
    server: Option<tokio::runtime::Runtime>,
}

/// Has all runtimes that are built from now on tell their metrics here.
///
/// # Errors
/// [`CannotInstall::Taken`] where the process has a recorder; [`CannotInstall::Thread`].
pub fn install() -> Result<Metrics, CannotInstall> {
    let recorder = builder().build_recorder();
    Metrics::of(recorder)
}

/// As [`install`], and serves the metrics over HTTP at every path of this address, without
/// authentication or encryption: for a network that is trusted, or the local host.
///
/// # Errors
/// As [`install`], and [`CannotInstall::Address`] where the address is taken, is none of this machine,
/// or has port 0.
#[cfg(feature = "prometheus")]
pub fn listen(address: SocketAddr) -> Result<Metrics, CannotInstall> {
    let refused = |why: String| CannotInstall::Address {
        address: address.to_string(),
        why,
    };
    if address.port() == 0 {
        return Err(refused("port 0 is none that others could know".to_owned()));
    }
    let server = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("unlade-metrics")
        .enable_all()
        .build()
        .map_err(CannotInstall::Thread)?;
    let built = {
        let _within = server.enter();
        builder().with_http_listener(address).build()
    };
    let (recorder, exporter) = built.map_err(|error| refused(error.to_string()))?;
    let mut metrics = Metrics::of(recorder)?;
    server.spawn(exporter);
    metrics.server = Some(server);
    Ok(metrics)
}

fn builder() -> PrometheusBuilder {
    PrometheusBuilder::new()
        .set_buckets(&BUCKETS)
        .expect("there are buckets")
}

impl Metrics {
    fn of(recorder: PrometheusRecorder) -> Result<Self, CannotInstall> {
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| CannotInstall::Taken)?;
        let watched = Arc::default();
        let (end, ended) = mpsc::channel::<()>();
        let keep_up = {
            let (handle, watched) = (handle.clone(), Arc::clone(&watched));
            move || {
                while ended.recv_timeout(OFTEN) == Err(RecvTimeoutError::Timeout) {
                    sample(&watched);
                    handle.run_upkeep();
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("unlade-metrics".to_owned())
            .spawn(keep_up)
            .map_err(CannotInstall::Thread)?;
        Ok(Metrics {
            handle,
            watched,
            upkeep: Some((end, thread)),
            #[cfg(feature = "prometheus")]
            server: None,
        })
    }

    /// Has the gauges of a runtime [set](Runtime::sample_metrics) before each text, and every second,
    /// as long as it has not ended.
    pub fn watch(&self, runtime: &Runtime) {
        lock(&self.watched).push(runtime.downgrade());
    }

    /// All metrics as they are now, in Prometheus' text form, sorted by name.
    pub fn text(&self) -> String {
        sample(&self.watched);
        let text = self.handle.render();
        // The families come in no order.
        let mut families: Vec<&str> = text.split_terminator("\n\n").collect();
        families.sort_unstable();
        families
            .iter()
            .map(|family| format!("{family}\n\n"))
            .collect()
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        #[cfg(feature = "prometheus")]
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
        if let Some((end, thread)) = self.upkeep.take() {
            drop(end);
            // A panic of it was told where it happened.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Sets the gauges of the runtimes that have not ended.
fn sample(watched: &Mutex<Vec<WeakRuntime>>) {
    let mut watched = lock(watched);
    let runtimes: Vec<Option<Runtime>> = watched.iter().map(WeakRuntime::upgrade).collect();
    watched.retain(|weak| weak.upgrade().is_some());
    drop(watched);
    // Not under the lock: the last reference to a runtime may be this one.
    for runtime in runtimes.into_iter().flatten() {
        runtime.sample_metrics();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
