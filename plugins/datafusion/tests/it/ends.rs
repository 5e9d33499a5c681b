//! How queries end that do not run through: a device lost, a query dropped, memory used up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use unlade::{Device, Placement, Runtime};
use unlade_sim_device::{Profile, SimDevice};
use unlade_sim_fault::{FaultDevice, FaultKind, FaultPlan};

use crate::common::{forced, forced_in, metric, rows, run, runtime, table};

const ROWS: i64 = 20_000;

fn batches() -> Vec<RecordBatch> {
    let batch = |from: i64| {
        let numbers = Int64Array::from_iter_values(from..from + 1_000);
        RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef)])
            .expect("it is one column")
    };
    (0..ROWS / 1_000).map(|each| batch(each * 1_000)).collect()
}

fn context(runtime: &Runtime) -> SessionContext {
    let context = forced(runtime);
    table(&context, "t", &batches());
    context
}

const SQL: &str = "SELECT n * 2 AS x FROM t WHERE n % 3 = 0";

/// A device that fails in the middle of a query.
fn failing(nth: u64) -> (Runtime, Arc<FaultDevice>) {
    let inner = Arc::new(SimDevice::builder(Profile::gpu()).build());
    let device = Arc::new(FaultDevice::new(
        inner,
        FaultPlan::nth(nth, FaultKind::LostInFlight),
    ));
    let name = device.info().name.clone();
    let cpu = unlade::open_devices(&["cpu"])
        .expect("there is one")
        .remove(0);
    let builder = Runtime::builder()
        .device(cpu)
        .device(Arc::clone(&device) as _);
    let runtime = builder
        .placement(Placement::Device(name.into()))
        .pool_reserve(1 << 20)
        .build();
    (runtime.expect("it is well configured"), device)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_lost_costs_no_row() {
    let (_, expected) = run(&context(&runtime("cpu")), SQL).await.unwrap();
    let mut fallbacks = 0;
    for nth in 1..6 {
        let (runtime, device) = failing(nth);
        let (plan, answer) = run(&context(&runtime), SQL).await.unwrap();
        assert_eq!(rows(&answer), rows(&expected), "lost at {nth}");
        if !device.log().is_empty() {
            fallbacks += metric(&plan, "fallbacks");
        }
        let (runtime, device) = failing(nth);
        let context = context(&runtime);
        context.sql("SET unlade.mode = 'require'").await.unwrap();
        let ended = run(&context, SQL).await;
        match (ended, device.log().is_empty()) {
            (Ok((plan, _)), _) => assert_eq!(metric(&plan, "fallbacks"), 0, "lost at {nth}"),
            (Err(error), false) => {
                let error = error.to_string();
                assert!(
                    error.contains("unlade.mode is require, and cpu had to take a batch"),
                    "{error}"
                );
            }
            (Err(error), true) => panic!("nothing failed, and {error}"),
        }
    }
    assert!(fallbacks > 0, "no batch went elsewhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_is_dropped_leaves_nothing_behind() {
    let runtime = runtime("sim");
    let context = context(&runtime);
    let frame = context.sql(SQL).await.unwrap();
    let task = Arc::new(frame.task_ctx());
    let pool = Arc::clone(task.memory_pool());
    let plan = frame.create_physical_plan().await.unwrap();
    let mut stream = execute_stream(plan, task).unwrap();
    let first = stream.next().await.expect("there is a batch").unwrap();
    assert!(first.num_rows() > 0);
    drop((stream, first));
    let since = Instant::now();
    loop {
        let busy = runtime.devices().iter().any(|device| device.in_flight > 0);
        let sessions = runtime.sessions().len();
        if !busy && sessions == 1 && pool.reserved() == 0 {
            break;
        }
        let held = pool.reserved();
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "{busy} {sessions} {held}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_the_sessions_pools() {
    let runtime = runtime("sim");
    let limited = |bytes| {
        let environment = RuntimeEnvBuilder::new().with_memory_limit(bytes, 1.0);
        let context = forced_in(
            &runtime,
            environment.build_arc().expect("it is well configured"),
        );
        table(&context, "t", &batches());
        context
    };
    run(&limited(64 << 20), SQL).await.unwrap();
    let error = run(&limited(1_000), SQL).await.unwrap_err().to_string();
    assert!(error.contains("UnladeExec["), "{error}");
}
