//! TPC-H: all 22 queries, with the plugin and without. docs/DATAFUSION.md has a table of what is taken
//! of each, and why the rest is not.

use std::sync::Arc;

use datafusion::prelude::{SessionConfig, SessionContext};

use crate::common::{DEVICES, forced_with, rows, run, runtime, table};
use crate::taken::Taken;
use crate::tpch_data::{queries, tables};

/// Of the size that the specification calls 1.
const SCALE: f64 = 0.1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_queries_have_one_answer() {
    // Batches of the size that everybody has: DataFusion groups many values slowly in small ones.
    let config = || SessionConfig::new().with_target_partitions(2);
    let reference = SessionContext::new_with_config(config());
    let contexts = DEVICES.map(|device| forced_with(&runtime(device), config(), Arc::default()));
    for (name, batches) in tables(SCALE) {
        table(&reference, name, &batches);
        contexts
            .iter()
            .for_each(|context| table(context, name, &batches));
    }
    let mut taken = Taken::new();
    for (name, sql) in queries() {
        let (_, expected) = run(&reference, &sql)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        for (device, context) in DEVICES.iter().zip(&contexts) {
            let (plan, answer) = run(context, &sql)
                .await
                .unwrap_or_else(|error| panic!("{name} on {device}: {error}"));
            assert_eq!(rows(&answer), rows(&expected), "{name} on {device}");
            if *device == DEVICES[0] {
                taken.ran(&name, &plan);
            }
        }
    }
    taken.is_in_the_page("tpch");
}
