//! A user's function that mirrors an operation of the language, against that operation, on devices with
//! drivers of their own: `runtime/tests/functions.rs` has the CPU and the plain simulated one.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::DataType;
use unlade_cpu::CpuDevice;
use unlade_expr::{
    Query, Semantics, Signature, Signatures, parse_expr_with, parse_select_list_with,
};
use unlade_runtime::{Fallback, FunctionFailure, Output, Placement, Runtime, UserFunction};
use unlade_tests::devices::{simulated_card, simulated_gpu};

/// `twice(x)` is `x * 2`, an error where that overflows.
fn twice() -> UserFunction {
    let signature = Signature::new("twice", [DataType::Int64], DataType::Int64).unwrap();
    UserFunction::new(signature, |arguments| {
        let numbers = arguments[0].as_primitive::<Int64Type>();
        let doubled = numbers.try_unary::<_, Int64Type, FunctionFailure>(|number| {
            number
                .checked_mul(2)
                .ok_or_else(|| FunctionFailure::new(format!("{number} is too large")))
        })?;
        Ok(Arc::new(doubled))
    })
}

fn query(known: &Signatures, select: &str, filter: &str) -> Query {
    let query = match filter {
        "" => Query::all(),
        filter => Query::filter(parse_expr_with(filter, known).unwrap()),
    };
    match select {
        "" => query,
        select => query.select(parse_select_list_with(select, known).unwrap()),
    }
}

#[test]
fn a_function_that_mirrors_an_operation_has_its_results() {
    let rows = 0..3000_i64;
    let numbers = rows
        .clone()
        .map(|row| (row % 7 != 0).then_some(row % 100 - 50));
    let texts = rows.map(|row| (row % 5 != 0).then(|| format!("text {row}")));
    let columns: [(&str, ArrayRef); 2] = [
        ("n", Arc::new(numbers.collect::<Int64Array>())),
        ("text", Arc::new(texts.collect::<StringArray>())),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let pairs = [
        ("twice(n)", "", "n * 2", ""),
        (
            "twice(n) as m, text",
            "twice(n) > 10",
            "n * 2 as m, text",
            "n * 2 > 10",
        ),
        (
            "",
            "n > 0 and twice(n) % 3 = 0",
            "",
            "n > 0 and n * 2 % 3 = 0",
        ),
        (
            "twice(n + 1) - 1 as m",
            "twice(twice(n)) < 60",
            "(n + 1) * 2 - 1 as m",
            "n * 4 < 60",
        ),
        (
            "n",
            "coalesce(twice(n), 7) = 7",
            "n",
            "coalesce(n * 2, 7) = 7",
        ),
    ];
    for device in [simulated_gpu(), simulated_card()] {
        let name = device.info().name.clone();
        let runtime = Runtime::builder()
            .device(Arc::new(CpuDevice::new()))
            .device(device)
            .placement(Placement::Device(name.as_str().into()))
            .fallback(Fallback::Forbid)
            .build()
            .unwrap();
        runtime.register(twice()).unwrap();
        let run = |select: &str, filter: &str| {
            let query = query(&runtime.functions(), select, filter);
            let kernel = runtime.compile(&query, &batch.schema(), &Semantics::arrow());
            kernel.unwrap().run(&batch).unwrap()
        };
        let ran_on = |output: &Output| {
            let parts = output.receipt.parts.iter();
            parts
                .map(|part| part.device.to_string())
                .collect::<Vec<_>>()
        };
        let mut there = 0;
        for (select, filter, plain_select, plain_filter) in pairs {
            let (called, plain) = (run(select, filter), run(plain_select, plain_filter));
            assert_eq!(
                called.batch.columns(),
                plain.batch.columns(),
                "{name}: {select} {filter}"
            );
            assert!(!called.receipt.calls.is_empty() && plain.receipt.calls.is_empty());
            // Where nothing but the call is asked for, there is nothing left for a device.
            there += usize::from(ran_on(&called).contains(&name));
        }
        assert!(there >= 4, "{there} of them ran on `{name}`");
    }
}
