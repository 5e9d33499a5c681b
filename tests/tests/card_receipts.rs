//! What a receipt says that a card has given back is what the card itself counts, however few rows are
//! kept.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use unlade_cpu::CpuDevice;
use unlade_dpu::{Options, connect};
use unlade_expr::{Query, Semantics, parse_expr, parse_select_list};
use unlade_hal::Device;
use unlade_runtime::{Fallback, Placement, Runtime, Trust};
use unlade_sim_card::{Config, Served};

/// No multiple of 8, nor of a cache line.
const ROWS: i32 = 5_003;

#[test]
fn a_receipt_counts_the_bytes_that_the_card_has_written() {
    for trust in [Trust::Trusted, Trust::Untrusted] {
        let served = Served::start(Config::default()).unwrap();
        let card = connect(served.path(), &Options::default());
        let card = card.unwrap_or_else(|error| panic!("{error}"));
        let name: Arc<str> = card.info().name.as_str().into();
        let runtime = Runtime::builder()
            .device(Arc::new(CpuDevice::new()))
            .device(card)
            .placement(Placement::Device(name))
            .fallback(Fallback::Forbid)
            .trust(trust)
            .build()
            .unwrap();
        let batch = batch();
        for (select, filter, kept) in [
            ("a + 1 as c", "a < 0", 0),
            ("a + 1 as c", "a < 1", 1),
            ("a + 1 as c, b * 2 as d", "a < 77", 77),
            ("a, b", "a < 77", 77),
            ("a, b * 2 as d", "b is null", 1_001),
            ("a + 1 as c, b * 2 as d", "a >= 0", 5_003),
        ] {
            let query = Query::filter(parse_expr(filter).unwrap());
            let query = query.select(parse_select_list(select).unwrap());
            let kernel = runtime
                .compile(&query, &batch.schema(), &Semantics::arrow())
                .unwrap();
            let counted = || {
                let counters = served.counters();
                counters.bytes_written - counters.block_bytes_written
            };
            let before = counted();
            let output = kernel.run(&batch).unwrap();
            let what = format!("select {select} where {filter}, {trust:?}");
            assert_eq!(output.batch.num_rows(), kept, "{what}");
            let written = counted() - before;
            assert_eq!(output.receipt.bytes_from_device, written, "{what}");
            // A bit for each row and a few numbers, far from all that there was room for.
            assert!(kept > 1_000 || written < 4_000, "{what}: {written}");
        }
    }
}

/// `a` ascending, `b` null in each fifth row.
fn batch() -> RecordBatch {
    let a: ArrayRef = Arc::new(Int32Array::from_iter_values(0..ROWS));
    let b = (0..ROWS).map(|row| (row % 5 != 0).then_some(i64::from(row)));
    let b: ArrayRef = Arc::new(Int64Array::from_iter(b));
    RecordBatch::try_from_iter_with_nullable([("a", a, false), ("b", b, true)]).unwrap()
}
