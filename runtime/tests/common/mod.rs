//! What the tests of the runtime share.
#![allow(dead_code)] // each test binary uses a part

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder, StringViewBuilder};
use arrow_array::types::Int8Type;
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int8Array, Int32Array, Int64Array,
    RecordBatch, StringArray,
};
use arrow_schema::{Field, Schema, SchemaRef};
use unlade_cpu::CpuDevice;
use unlade_expr::{Expr, Query, Semantics, parse_expr, parse_select_list};
use unlade_hal::Device;
use unlade_runtime::{Kernel, Placement, Runtime, RuntimeBuilder};
use unlade_sim_device::{Profile, SimDevice};

pub(crate) fn cpu() -> Arc<dyn Device> {
    Arc::new(CpuDevice::new())
}

pub(crate) fn builder() -> RuntimeBuilder {
    Runtime::builder().device(cpu())
}

pub(crate) fn runtime() -> Runtime {
    builder().build().unwrap()
}

pub(crate) fn expr(text: &str) -> Expr {
    parse_expr(text).unwrap()
}

/// `SELECT select WHERE filter`, of which either may be empty.
pub(crate) fn query(select: &str, filter: &str) -> Query {
    let query = if filter.is_empty() {
        Query::all()
    } else {
        Query::filter(expr(filter))
    };
    match select {
        "" => query,
        list => query.select(parse_select_list(list).unwrap()),
    }
}

pub(crate) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

pub(crate) fn compile(runtime: &Runtime, query: &Query, schema: &SchemaRef) -> Kernel {
    runtime.compile(query, schema, &Semantics::arrow()).unwrap()
}

/// The same query, told to run on a device.
pub(crate) fn told(runtime: &Runtime, device: &str, query: &Query, schema: &SchemaRef) -> Kernel {
    let session = runtime.session(format!("told {device}"));
    let session = session.placement(Placement::Device(device.into())).open();
    let session = session.unwrap();
    session.compile(query, schema, &Semantics::arrow()).unwrap()
}

/// Rows of every kind of column.
pub(crate) fn input(rows: usize) -> RecordBatch {
    let a: Int32Array = (0..rows)
        .map(|row| (row % 11 != 5).then_some(row as i32 % 100))
        .collect();
    let f: Float64Array = (0..rows).map(|row| Some(row as f64 / 4.0)).collect();
    let flag: BooleanArray = (0..rows)
        .map(|row| (row % 7 != 0).then_some(row % 2 == 0))
        .collect();
    let mut views = StringViewBuilder::new();
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in 0..rows {
        views.append_option((row % 5 != 0).then(|| format!("a string view of row {row}")));
        lists.values().append_value(format!("{row}"));
        lists.append(row % 3 != 0);
    }
    let keys: Int8Array = (0..rows).map(|row| Some((row % 3) as i8)).collect();
    let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(10), None, Some(30)]));
    batch(vec![
        ("a", Arc::new(a)),
        (
            "b",
            Arc::new(Int64Array::from_iter_values(
                (0..rows).map(|row| row as i64 * 3),
            )),
        ),
        ("f", Arc::new(f)),
        ("flag", Arc::new(flag)),
        (
            "text",
            Arc::new(StringArray::from_iter_values(
                (0..rows).map(|row| format!("{row}")),
            )),
        ),
        ("view", Arc::new(views.finish())),
        ("list", Arc::new(lists.finish())),
        (
            "d",
            Arc::new(DictionaryArray::<Int8Type>::new(keys, values)),
        ),
    ])
}

/// A runtime that runs all on a device.
pub(crate) fn on(device: Arc<dyn Device>) -> RuntimeBuilder {
    let name = device.info().name.as_str().into();
    builder().device(device).placement(Placement::Device(name))
}

pub(crate) fn sim(profile: Profile) -> Arc<dyn Device> {
    Arc::new(SimDevice::builder(profile).build())
}
