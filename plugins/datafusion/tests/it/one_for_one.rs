//! The rule where somebody else knows nodes by their positions, and where plans are granted devices.

use std::sync::Arc;
use std::time::Duration;

use datafusion::physical_plan::{ExecutionPlan, displayable};
use unlade_datafusion::{UnladeExec, UnladeRule};

use crate::answers::all;
use crate::common::{chosen, forced_by, metric, nodes, plain, rows, run, runtime, table};
use crate::tables::mixed;

#[tokio::test]
async fn one_node_stands_for_one_operator() {
    let batches = mixed();
    let runtime = runtime("cpu");
    let context = forced_by(&runtime, UnladeRule::new(&runtime).one_for_one());
    let reference = plain();
    table(&context, "t", &batches);
    table(&reference, "t", &batches);
    let mut taken = 0;
    for (sql, _) in all() {
        let (without, expected) = run(&reference, sql).await.expect(sql);
        let (with, answer) = run(&context, sql).await.expect(sql);
        assert_eq!(rows(&answer), rows(&expected), "{sql}");
        taken += compared(&with, &without, sql);
    }
    assert!(taken > 20, "{taken} nodes");

    // Both of these are one node for the rule that fuses and halves.
    for (sql, count) in [
        ("SELECT a + 1 AS x FROM t WHERE a > 3", 2),
        ("SELECT a FROM t WHERE a > 3 AND s LIKE '%9'", 0),
    ] {
        let (plan, _) = run(&context, sql).await.expect(sql);
        let shown = displayable(plan.as_ref()).indent(false).to_string();
        assert_eq!(nodes(&plan).len(), count, "{sql}: {shown}");
        assert!(!shown.contains("LeftExec"), "{shown}");
    }
}

/// Compares plans node by node; how many are the plugin's.
fn compared(with: &Arc<dyn ExecutionPlan>, without: &Arc<dyn ExecutionPlan>, sql: &str) -> usize {
    let own = with.downcast_ref::<UnladeExec>();
    let stands_for = own.map_or(with.name(), |node| node.replaced().name());
    assert_eq!(stands_for, without.name(), "{sql}");
    let (one, other) = (with.children(), without.children());
    assert_eq!(one.len(), other.len(), "{sql}");
    let below = one.into_iter().zip(other);
    let below: usize = below.map(|(one, other)| compared(one, other, sql)).sum();
    usize::from(own.is_some()) + below
}

#[tokio::test]
async fn a_plan_has_its_devices_as_long_as_it_is_there() {
    let batches = mixed();
    let runtime = runtime("sim");
    let device = chosen(&runtime);
    let whole = vec![format!("{device}=1").parse().expect("it is a request")];
    let rule = UnladeRule::new(&runtime).with_devices(whole, Duration::ZERO);
    let context = forced_by(&runtime, rule);
    table(&context, "t", &batches);

    let sql = "SELECT a FROM t WHERE a > 3";
    let (plan, _) = run(&context, sql).await.expect(sql);
    assert!(metric(&plan, &format!("rows_on_{device}")) > 0, "{plan:?}");
    let error = run(&context, sql).await.expect_err("the device is held");
    let words = format!("asks for {device}=1");
    assert!(error.to_string().contains(&words), "{error}");
    // What has no use for it does not ask.
    let (other, _) = run(&context, "SELECT a FROM t").await.unwrap();
    assert!(nodes(&other).is_empty());

    drop(plan);
    run(&context, sql).await.expect("it is free again");
}

#[tokio::test]
async fn a_device_that_is_not_there_is_refused_with_the_reason() {
    let runtime = runtime("cpu");
    let wanted = vec!["gpu=0.5".parse().expect("it is a request")];
    let rule = UnladeRule::new(&runtime).with_devices(wanted, Duration::from_secs(3600));
    let context = forced_by(&runtime, rule);
    table(&context, "t", &mixed());
    let error = run(&context, "SELECT a FROM t WHERE a > 3").await;
    let error = error.expect_err("nobody has it").to_string();
    assert!(error.contains("there is no `gpu`"), "{error}");
}
