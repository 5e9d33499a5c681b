//! What an executor has run its tasks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::extension::SessionConfigExt;
use ballista_core::{ConfigProducer, JobId};
use ballista_executor::execution_engine::{ExecutionEngine, QueryStageExecutor};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use unlade::{DeviceRequest, Runtime};
use unlade_datafusion::{UnladeConfig, UnladeRule};

use crate::receipt::TaskReceipt;
use crate::stage::{Task, UnladeStage};

/// An engine that puts nodes of Unlade's in the place of filters and projections of each task's plan, and
/// has another engine run it.
///
/// One node stands for one operator, for Ballista adds the metrics of a stage's tasks up by the positions
/// of its nodes. What becomes of a plan is said by the `unlade.*` options of the client's session, as far
/// as they [travel](config_producer).
#[derive(Clone)]
pub struct UnladeEngine {
    runtime: Runtime,
    inner: Arc<dyn ExecutionEngine>,
    pub(crate) rule: Arc<UnladeRule>,
    device: Arc<str>,
    pub(crate) tell: Option<Arc<Tell>>,
}

/// Whoever wants to know what became of tasks.
type Tell = dyn Fn(&TaskReceipt) + Send + Sync;

impl UnladeEngine {
    /// An engine for the devices of a runtime, before one that makes tasks of plans: Ballista's
    /// `DefaultExecutionEngine`, with a pool of clients where the executor has one.
    pub fn new(runtime: &Runtime, inner: Arc<dyn ExecutionEngine>) -> Self {
        UnladeEngine {
            runtime: runtime.clone(),
            inner,
            rule: Arc::new(UnladeRule::new(runtime).one_for_one()),
            device: UnladeConfig::AUTO.into(),
            tell: None,
        }
    }

    /// The device for tasks of sessions that leave it open, which is those with `unlade.device = 'auto'`:
    /// the one that is predicted to be the fastest unless told otherwise. A session that names a device
    /// that this executor does not have fails with an error.
    pub fn with_device(self, name: impl Into<Arc<str>>) -> Self {
        UnladeEngine {
            device: name.into(),
            ..self
        }
    }

    /// Has each task that has something to take ask for devices, or for parts of them, and hold these
    /// while it runs: half a device is had by two tasks at once, and a third one waits for its turn, no
    /// longer than `patience`. Then it fails with the reason.
    pub fn with_devices(self, requests: Vec<DeviceRequest>, patience: Duration) -> Self {
        let rule = UnladeRule::new(&self.runtime).one_for_one();
        UnladeEngine {
            rule: Arc::new(rule.with_devices(requests, patience)),
            ..self
        }
    }

    /// Has somebody told of each task that has ended, on the thread that it ended on.
    pub fn with_receipts(self, tell: impl Fn(&TaskReceipt) + Send + Sync + 'static) -> Self {
        UnladeEngine {
            tell: Some(Arc::new(tell)),
            ..self
        }
    }

    /// The options for a task of a session.
    pub(crate) fn options(&self, session: &SessionConfig) -> ConfigOptions {
        let mut options = session.options().as_ref().clone();
        let own = options.extensions.get::<UnladeConfig>();
        let mut own = own.cloned().unwrap_or_default();
        if own.device == UnladeConfig::AUTO {
            own.device = self.device.to_string();
        }
        options.extensions.insert(own);
        options
    }

    /// What the wrapped engine makes of a plan.
    pub(crate) fn made(
        &self,
        task: &Task,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        self.inner.create_query_stage_exec(
            task.job.clone(),
            task.stage,
            task.task,
            task.partitions.clone(),
            plan,
            &task.work_dir,
            &task.session,
        )
    }
}

impl ExecutionEngine for UnladeEngine {
    fn create_query_stage_exec(
        &self,
        job_id: JobId,
        stage_id: usize,
        task_id: usize,
        global_output_partition_ids: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        let task = Task {
            job: job_id,
            stage: stage_id,
            task: task_id,
            partitions: global_output_partition_ids,
            work_dir: work_dir.to_owned(),
            session: config.clone(),
        };
        Ok(Arc::new(UnladeStage::new(self.clone(), task, plan)))
    }
}

impl fmt::Debug for UnladeEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnladeEngine")
            .field("rule", &self.rule)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// Sessions of Ballista's that know `unlade.*`, with these values where a client says nothing.
///
/// A client's options travel as text, and what a process has no such options for it leaves out. So a
/// scheduler is given this (`SchedulerConfig::with_override_config_producer`), and an executor
/// (`ExecutorProcessConfig::override_config_producer`); a client has
/// `SessionConfig::with_option_extension(UnladeConfig::default())`, and sends all of its options.
///
/// ```
/// use unlade_ballista::{UnladeConfig, config_producer};
///
/// let mut options = UnladeConfig::default();
/// options.min_rows = 100_000;
/// let session = config_producer(&options)();
/// let found = session.options().extensions.get::<UnladeConfig>();
/// assert_eq!(found.map(|found| found.min_rows), Some(100_000));
/// ```
pub fn config_producer(options: &UnladeConfig) -> ConfigProducer {
    let options = options.clone();
    Arc::new(move || SessionConfig::new_with_ballista().with_option_extension(options.clone()))
}
