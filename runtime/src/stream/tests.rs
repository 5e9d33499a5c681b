use std::time::Duration;

use arrow_array::{Int64Array, RecordBatchIterator};
use arrow_schema::{DataType, Field, Schema};
use unlade_cpu::CpuDevice;
use unlade_expr::{Query, Semantics, parse_select_list};

use super::shared::{WITHHELD, is_crowded};
use super::window::{Slot, Task};
use super::*;
use crate::portion::{Portion, Read};
use crate::runtime::Runtime;

/// A result with columns of less than 32 KiB: blocks of a size that threads keep.
const ROWS: i64 = 1000;

fn runtime(threads: usize, budget: u64) -> Runtime {
    let builder = Runtime::builder().device(Arc::new(CpuDevice::new()));
    let builder = builder.threads(threads).memory_budget(budget);
    builder.pool_reserve(budget).build().unwrap()
}

#[test]
fn many_threads_withhold_no_memory_from_the_batch_that_is_asked_for() {
    let budget = 4 << 20;
    let runtime = runtime(64, budget);
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
    let columns: Vec<String> = (0..16).map(|n| format!("a + {n} as c{n}")).collect();
    let columns = parse_select_list(&columns.join(", ")).unwrap();
    let query = Query::all().select(columns);
    let kernel = runtime
        .compile(&query, &schema, &Semantics::arrow())
        .unwrap();
    let batch = |number: i64| {
        let values = Int64Array::from_iter_values(number * ROWS..(number + 1) * ROWS);
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(values)])
    };
    let batches: Vec<_> = (0..600).map(batch).collect();
    let mut stream = kernel.stream(RecordBatchIterator::new(batches, Arc::clone(&schema)));
    for number in 0..500 {
        let output = stream.next().unwrap().expect("there is room for it");
        assert_eq!(output.batch.num_rows(), ROWS as usize, "batch {number}");
        if number % 100 == 0 {
            // While the caller takes nothing, every helper comes to its end.
            let ended = || stream.shared.lock().helping == 0;
            while !ended() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let status = runtime.memory();
            assert!(status.cached <= budget / WITHHELD, "{status:?}");
        }
    }
}

#[test]
fn a_result_ahead_is_given_up_for_one_that_finds_no_room() {
    let budget = 1 << 20;
    let runtime = runtime(1, budget);
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
    let columns = parse_select_list("a + 1 as b").unwrap();
    let query = Query::all().select(columns);
    let kernel = runtime
        .compile(&query, &schema, &Semantics::arrow())
        .unwrap();
    let batch = |bytes: u64| {
        let values = Int64Array::from_iter_values(0..bytes as i64 / 8);
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(values)]).unwrap()
    };
    let none = RecordBatchIterator::new([], Arc::clone(&schema));
    let mut stream = kernel.stream(none);
    let (large, small) = (batch(budget * 5 / 8), batch(budget * 7 / 16));
    let again = |batch: &RecordBatch| {
        let (batch, calling) = (batch.clone(), None);
        Portion::whole(Read { batch, calling }, 0)
    };
    let ahead = stream.shared.run_ahead(Task::Again(again(&small)), None);
    assert!(matches!(ahead, Slot::Done { again: Some(_), .. }));
    let results = [Slot::Held(again(&large)), ahead];
    stream.shared.lock().slots.extend(results);
    for batch in [large, small] {
        let output = stream.next().unwrap().expect("alone it finds room");
        assert_eq!(output.batch.num_rows(), batch.num_rows());
    }
    assert!(stream.next().is_none());
}

#[test]
fn threads_keep_what_they_may_where_that_is_little_of_the_memory() {
    for (threads, memory) in [(64, 8 << 20), (17, 8 << 20), (100, 100 << 20)] {
        assert!(is_crowded(threads, memory), "{threads}, {memory}");
    }
    for (threads, memory) in [(1, 1 << 20), (16, 8 << 20), (64, 256 << 20)] {
        assert!(!is_crowded(threads, memory), "{threads}, {memory}");
    }
}
