//! Queries whose tables and sets are more than a card takes: what it lacks room for is done elsewhere, and
//! the card goes on with the rest.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch};
use unlade_cpu::CpuDevice;
use unlade_dpu::{Options, connect};
use unlade_expr::{Query, Semantics, parse_expr, parse_select_list};
use unlade_hal::{Device, Health};
use unlade_runtime::{Fallback, Kernel, Placement, Reason, Runtime, RuntimeBuilder};
use unlade_sim_card::{Config, Profile, Served};

/// Bytes that the card takes of a table and of a set.
const TABLE: usize = 1 << 20;
const SET: usize = 131_072;

#[test]
fn what_a_card_has_no_room_for_is_done_elsewhere_and_the_card_goes_on() {
    let config = Config {
        profile: Profile::narrow(),
        ..Config::default()
    };
    let served = Served::start(config).unwrap();
    let card =
        connect(served.path(), &Options::default()).unwrap_or_else(|error| panic!("{error}"));
    let limits = card.capabilities().entries;
    assert_eq!((limits.table, limits.set), (TABLE as u64, SET as u64));
    let name: Arc<str> = card.info().name.as_str().into();
    let cpu = || Runtime::builder().device(Arc::new(CpuDevice::new()));
    let on_card = || {
        let device: Arc<dyn Device> = card.clone();
        let builder = cpu().device(device);
        builder.placement(Placement::Device(name.clone()))
    };
    let (reference, runtime) = (built(cpu()), built(on_card()));
    let strict = built(on_card().fallback(Fallback::Forbid));

    let fits = batch(120_000);
    for (members, fits_in) in [(SET / 8, true), (17_000, false)] {
        let filter = in_list(members);
        let expected = compile(&reference, "b", &filter, &fits).run(&fits).unwrap();
        let kernel = compile(&runtime, "b", &filter, &fits);
        let output = kernel.run(&fits).unwrap();
        assert_eq!(output.batch, expected.batch);
        let parts = &output.receipt.parts;
        assert_eq!(parts.len(), if fits_in { 1 } else { 2 });
        assert!(parts.iter().any(|part| part.device == name));
        if !fits_in {
            let lacks = "room for a set of 136000 bytes (131072 at most)";
            let reason = unsupported(&name, lacks);
            assert_eq!(parts[0].reason, reason);
            assert!(kernel.explain().to_string().contains(lacks));
        }
    }
    // The query has two tables of values, and one of bits.
    let together = "room for a table of 1048576 bytes (1032192 at most)";
    let one = "room for a table of 1048584 bytes (1048576 at most)";
    for (batch, lacks) in [
        (&fits, None),
        (&batch(TABLE / 8), Some(together)),
        (&batch(TABLE / 8 + 1), Some(one)),
        (&fits, None),
    ] {
        let (select, filter) = ("d + 1 as e", "b > 5");
        let expected = compile(&reference, select, filter, batch).run(batch);
        let output = compile(&runtime, select, filter, batch).run(batch).unwrap();
        assert_eq!(output.batch, expected.unwrap().batch);
        let [part] = &output.receipt.parts[..] else {
            panic!("one part")
        };
        let reason = lacks.map(|lacks| unsupported(&name, lacks));
        assert_eq!(part.reason, reason.unwrap_or(Reason::Forced));
        let strict = compile(&strict, select, filter, batch).run(batch);
        match (strict, lacks) {
            (Ok(_), None) => {}
            (Err(error), Some(lacks)) => {
                let error = error.to_string();
                assert!(error.contains(&format!("it lacks {lacks}")), "{error}");
            }
            (ran, lacks) => panic!("{ran:?}, where it lacks {lacks:?}"),
        }
    }
    assert_eq!(card.health(), Health::Ready);
    assert_eq!(served.counters().findings, [""; 0]);
}

/// Numbers, and keys of a dictionary of so many.
fn batch(values: usize) -> RecordBatch {
    let rows = 1000;
    let keys = Int32Array::from_iter_values((0..rows).map(|row| row * 7 % 1000));
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..values as i64));
    let keyed = DictionaryArray::<Int32Type>::try_new(keys, values).unwrap();
    let numbers = Int64Array::from_iter_values((0..i64::from(rows)).map(|row| row * 11));
    let columns: [(&str, ArrayRef); 2] = [("d", Arc::new(keyed)), ("b", Arc::new(numbers))];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A conjunct with a set of so many members, and one without.
fn in_list(members: usize) -> String {
    let members: Vec<String> = (0..members)
        .map(|member| (member * 3).to_string())
        .collect();
    format!("b in ({}) and b > 100", members.join(", "))
}

fn unsupported(device: &Arc<str>, lacks: &str) -> Reason {
    Reason::Unsupported {
        device: Arc::clone(device),
        lacks: lacks.into(),
    }
}

fn built(builder: RuntimeBuilder) -> Runtime {
    builder.build().unwrap()
}

fn compile(runtime: &Runtime, select: &str, filter: &str, batch: &RecordBatch) -> Kernel {
    let query = Query::filter(parse_expr(filter).unwrap());
    let query = query.select(parse_select_list(select).unwrap());
    let compiled = runtime.compile(&query, &batch.schema(), &Semantics::arrow());
    compiled.unwrap()
}
