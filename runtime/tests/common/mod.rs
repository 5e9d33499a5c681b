//! What the tests of the runtime share.
#![allow(dead_code)] // each test binary uses a part

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema, SchemaRef};
use unlade_expr::{Expr, Query, Semantics, parse_expr, parse_select_list};
use unlade_hal::{
    AllocError, Capabilities, CompileError, Device, DeviceError, DeviceInfo, DeviceKind, DomainId,
    Executable, Health, MemoryKind, PageSize, Queue, Slab,
};
use unlade_program::Program;
use unlade_runtime::{Kernel, Runtime, RuntimeBuilder};

/// A CPU that can only be run inline.
#[derive(Debug)]
pub struct InlineCpu {
    info: DeviceInfo,
    capabilities: Capabilities,
}

pub fn cpu() -> Arc<dyn Device> {
    Arc::new(InlineCpu {
        info: DeviceInfo {
            name: "cpu".to_owned(),
            kind: DeviceKind::Cpu,
            description: String::new(),
            address: None,
            architecture: "cpu".to_owned(),
            memory: 0,
            domain: DomainId::unique(),
            clock: unlade_hal::ClockKind::Wall,
        },
        capabilities: Capabilities::none(),
    })
}

impl Device for InlineCpu {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }
    fn health(&self) -> Health {
        Health::Ready
    }
    fn compile(&self, program: &Arc<Program>) -> Result<Executable, CompileError> {
        let code = unlade_eval::Executable::new(program);
        Ok(Executable::new(Arc::clone(program), Arc::new(code)))
    }
    fn allocate(&self, kind: MemoryKind, len: u64) -> Result<Slab, AllocError> {
        Slab::host(kind, len, PageSize::Base)
    }
    fn register(&self, _slab: &Slab) -> Result<(), AllocError> {
        Ok(())
    }
    fn open_queue(&self, _depth: u32) -> Result<Box<dyn Queue>, DeviceError> {
        Err(DeviceError::Unsupported("a queue"))
    }
    fn reset(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}

pub fn builder() -> RuntimeBuilder {
    Runtime::builder().device(cpu())
}

pub fn runtime() -> Runtime {
    builder().build().unwrap()
}

pub fn expr(text: &str) -> Expr {
    parse_expr(text).unwrap()
}

/// `SELECT select WHERE filter`, of which either may be empty.
pub fn query(select: &str, filter: &str) -> Query {
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

pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

pub fn compile(runtime: &Runtime, query: &Query, schema: &SchemaRef) -> Kernel {
    runtime.compile(query, schema, &Semantics::arrow()).unwrap()
}
