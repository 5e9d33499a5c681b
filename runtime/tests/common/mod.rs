//! What the tests of the runtime share.
#![allow(dead_code)] // each test binary uses a part

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema, SchemaRef};
use unlade_cpu::CpuDevice;
use unlade_expr::{Expr, Query, Semantics, parse_expr, parse_select_list};
use unlade_hal::Device;
use unlade_runtime::{Kernel, Placement, Runtime, RuntimeBuilder};

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
