//! A scheduler, executors and clients, all on the loopback interface.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use ballista::prelude::{SessionConfigExt, SessionContextExt};
use ballista_core::ConfigProducer;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use ballista_scheduler::scheduler_server::SchedulerServer;
use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use unlade_ballista::{UnladeConfig, config_producer};

use crate::data;

/// Far longer than anything here takes: what is not done by then hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// How long a scheduler hopes for an executor of which it hears nothing.
const GIVEN_UP: u64 = 6;

/// How often the executors tell that they live, in seconds.
const HEARTBEAT: &str = "1";

type Scheduler = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// A scheduler with its executors, and tables.
pub(crate) struct Cluster {
    pub(crate) folder: TempDir,
    pub(crate) executors: Vec<Executor>,
    port: u16,
    scheduler: Scheduler,
    served: JoinHandle<()>,
}

impl Cluster {
    /// One with an executor for each list of arguments, and a scheduler that lets `unlade.*` through.
    pub(crate) async fn start(executors: &[&[&str]]) -> Self {
        let sessions = config_producer(&UnladeConfig::default());
        Cluster::start_with(Some(sessions), executors).await
    }

    /// One whose scheduler makes its sessions so, or as Ballista's own command does.
    pub(crate) async fn start_with(
        sessions: Option<ConfigProducer>,
        executors: &[&[&str]],
    ) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let config = SchedulerConfig {
            bind_port: port,
            external_host: Ipv4Addr::LOCALHOST.to_string(),
            // Both have something to do.
            task_distribution: TaskDistributionPolicy::RoundRobin,
            executor_timeout_seconds: GIVEN_UP,
            expire_dead_executor_interval_seconds: 1,
            no_executors_grace_period_seconds: 2 * GIVEN_UP,
            override_config_producer: sessions,
            ..SchedulerConfig::default()
        };
        let state = BallistaCluster::new_from_config(&config).await;
        let scheduler = create_scheduler(state.expect("it is in memory"), Arc::new(config)).await;
        let scheduler: Scheduler = scheduler.expect("it is well configured");
        let serving = start_grpc_service_with_listener(listener, scheduler.clone());
        let served = tokio::spawn(async {
            serving.await.expect("the port is this process's");
        });
        let folder = data::folder();
        let executors = executors.iter().enumerate();
        let executors =
            executors.map(|(number, given)| Executor::start(folder.path(), port, number, given));
        let cluster = Cluster {
            executors: executors.collect(),
            folder,
            port,
            scheduler,
            served,
        };
        cluster.has(cluster.executors.len()).await;
        cluster
    }

    /// Waits until the scheduler knows so many executors.
    pub(crate) async fn has(&self, count: usize) {
        let begun = Instant::now();
        let manager = &self.scheduler.state.executor_manager;
        loop {
            let known = manager.get_executors_state().await;
            let known = known.expect("they are in memory").len();
            if known == count {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "{known} executors, not {count}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A client that takes all that can be taken, whose plans change while they run or not.
    pub(crate) async fn client(&self, is_adaptive: bool) -> SessionContext {
        let config = SessionConfig::new_with_ballista()
            .with_option_extension(UnladeConfig::default())
            .set_bool("unlade.force", true)
            .with_target_partitions(4)
            .with_ballista_adaptive_query_planner(is_adaptive);
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features()
            .build();
        let url = format!("df://127.0.0.1:{}", self.port);
        let client = SessionContext::remote_with_state(&url, state).await;
        let client = client.expect("the scheduler is there");
        data::tables(&client, self.folder.path()).await;
        client
    }

    /// A session of plain DataFusion over the same tables.
    pub(crate) async fn plain(&self) -> SessionContext {
        let context = SessionContext::new();
        data::tables(&context, self.folder.path()).await;
        context
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// What a query answers, within a time in which it does not hang.
pub(crate) async fn run(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    let answering = async { context.sql(sql).await?.collect().await };
    let answer = tokio::time::timeout(LIMIT, answering).await;
    answer.unwrap_or_else(|_elapsed| panic!("no answer after {LIMIT:?}: {sql}"))
}

/// A process of the command.
pub(crate) struct Executor {
    pub(crate) process: Child,
    pub(crate) metrics: PathBuf,
    receipts: PathBuf,
    /// How many lines of it were read.
    read: usize,
}

impl Executor {
    fn start(folder: &Path, scheduler: u16, number: usize, given: &[&str]) -> Self {
        let receipts = folder.join(format!("{number}.jsonl"));
        let metrics = folder.join(format!("{number}.prom"));
        let [port, grpc_port] = free_ports().map(|port| port.to_string());
        let process = command()
            .args(["--scheduler", &format!("127.0.0.1:{scheduler}")])
            .args(["--port", &port, "--grpc-port", &grpc_port])
            .args(["--task-slots", "2", "--heartbeat", HEARTBEAT])
            .arg("--receipts")
            .arg(&receipts)
            .arg("--metrics")
            .arg(&metrics)
            .args(given)
            .spawn();
        Executor {
            process: process.expect("the command can be started"),
            metrics,
            receipts,
            read: 0,
        }
    }

    /// Receipts of tasks that have ended since they were asked for last.
    pub(crate) fn receipts(&mut self) -> Vec<Value> {
        let file = File::open(&self.receipts).expect("it is made at the start");
        let lines = BufReader::new(file).lines().skip(self.read);
        let receipts = lines.map(|line| {
            let line = line.expect("it is text");
            serde_json::from_str(&line).expect("a line is written as one")
        });
        let receipts: Vec<Value> = receipts.collect();
        self.read += receipts.len();
        receipts
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(id, signal).expect("it is there");
    }

    /// How it ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("it is this process's") {
                return status;
            }
            assert!(begun.elapsed() < LIMIT, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The command, with nothing of the user's environment that it looks at.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unlade-executor"));
    command.env_remove("UNLADE_LOG").stdin(Stdio::null());
    command
}

/// Ports that nobody listens at. Both are held until both are found.
pub(crate) fn free_ports() -> [u16; 2] {
    let bound = [(); 2]
        .map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port"));
    bound.map(|listener| listener.local_addr().expect("it is bound").port())
}

/// What nodes of ours counted under a name, in all of these tasks.
pub(crate) fn counted(receipts: &[Value], name: &str) -> u64 {
    let nodes = receipts.iter().flat_map(|receipt| {
        let nodes = receipt["nodes"].as_array();
        nodes.expect("each has nodes")
    });
    let counts = nodes.filter_map(|node| node["counters"][name].as_u64());
    counts.sum()
}
