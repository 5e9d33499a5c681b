//! What devices reach of the host's memory, and of the results.

mod common;

use std::ops::Range;
use std::sync::{Arc, Mutex};

use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray};
use common::{batch, builder, compile, query, runtime};
use unlade_hal::{AllocError, Device, DeviceWrapper, MemoryKind, Slab};
use unlade_runtime::{Placement, Trust};
use unlade_sim_device::{Profile, SimDevice};

const ROWS: usize = 100_000;

fn input() -> RecordBatch {
    let numbers = Int32Array::from_iter((0..ROWS as i32).map(|row| (row % 11 != 5).then_some(row)));
    let texts = StringArray::from_iter_values((0..ROWS).map(|row| format!("text {row}")));
    batch(vec![
        ("a", Arc::new(numbers) as ArrayRef),
        ("text", Arc::new(texts)),
    ])
}

/// The addresses of a batch's memory.
fn addresses(batch: &RecordBatch) -> Vec<Range<usize>> {
    let buffers = batch.columns().iter().flat_map(|column| {
        let data = column.to_data();
        let validity = data.nulls().map(|nulls| nulls.buffer().clone());
        let buffers: Vec<_> = data.buffers().iter().cloned().chain(validity).collect();
        buffers
    });
    let ranges = buffers.map(|buffer| {
        let start = buffer.as_ptr() as usize;
        start..start + buffer.len()
    });
    ranges.filter(|range| !range.is_empty()).collect()
}

/// Whether any of it lies where the device reaches.
fn is_reached(batch: &RecordBatch, reached: &[Range<usize>]) -> bool {
    let meets = |a: &Range<usize>, b: &Range<usize>| a.start < b.end && b.start < a.end;
    addresses(batch)
        .iter()
        .any(|memory| reached.iter().any(|each| meets(each, memory)))
}

#[test]
fn results_are_out_of_reach_of_a_device_that_is_not_trusted() {
    let batch = input();
    for (select, filter) in [("a, a + 1 as b, text", "a % 3 = 1"), ("a * 2 as c", "")] {
        let query = query(select, filter);
        let expected = compile(&runtime(), &query, &batch.schema());
        let expected = expected.run(&batch).unwrap().batch;
        for (trust, device_reaches) in [(Trust::Trusted, true), (Trust::Untrusted, false)] {
            let device = Arc::new(Watched::new());
            let name: Arc<str> = Device::info(&*device).name.as_str().into();
            let runtime = builder()
                .device(device.clone())
                .placement(Placement::Device(name.clone()))
                .trust(trust)
                .build()
                .unwrap();
            let kernel = compile(&runtime, &query, &batch.schema());
            let output = kernel.run(&batch).unwrap();
            assert_eq!(output.receipt.parts[0].device, name);
            assert_eq!(output.batch, expected);
            let reached = device.reached();
            assert_eq!(
                is_reached(&output.batch, &reached),
                device_reaches,
                "{trust:?}"
            );
            drop(output);
            assert_eq!(runtime.memory().leased, 0, "{:?}", runtime.memory().holders);
        }
    }
}

#[test]
fn what_the_cpu_makes_is_out_of_its_reach_too() {
    let batch = input();
    let query = query("a + 1 as b", "a % 3 = 1");
    for (trust, device_reaches) in [(Trust::Trusted, true), (Trust::Untrusted, false)] {
        let device = Arc::new(Watched::new());
        let runtime = builder()
            .device(device.clone())
            .placement(Placement::Device("cpu".into()))
            .trust(trust)
            .build()
            .unwrap();
        let kernel = compile(&runtime, &query, &batch.schema());
        let output = kernel.run(&batch).unwrap();
        assert_eq!(is_reached(&output.batch, &device.reached()), device_reaches);
    }
}

#[test]
fn both_pools_keep_to_the_budget_together() {
    let budget = 64 << 20;
    let runtime = builder()
        .device(Arc::new(Watched::new()))
        .trust(Trust::Untrusted)
        .memory_budget(budget)
        .build()
        .unwrap();
    assert_eq!(runtime.memory().budget, budget);
}

/// A simulated device that notes which memory of the host it is told of.
#[derive(Debug)]
struct Watched {
    sim: SimDevice,
    reached: Mutex<Vec<Range<usize>>>,
}

impl Watched {
    fn new() -> Self {
        Watched {
            sim: SimDevice::builder(Profile::gpu()).build(),
            reached: Mutex::default(),
        }
    }

    fn reached(&self) -> Vec<Range<usize>> {
        self.reached.lock().unwrap().clone()
    }

    fn note(&self, slab: &Slab) {
        if let Some(pages) = slab.pages() {
            let start = pages.as_ptr().as_ptr() as usize;
            let end = start + pages.len() as usize;
            self.reached.lock().unwrap().push(start..end);
        }
    }
}

impl DeviceWrapper for Watched {
    fn inner(&self) -> &dyn Device {
        &self.sim
    }

    fn allocate(&self, kind: MemoryKind, len: u64) -> Result<Slab, AllocError> {
        let slab = self.sim.allocate(kind, len)?;
        self.note(&slab);
        Ok(slab)
    }

    fn register(&self, slab: &Slab) -> Result<(), AllocError> {
        self.note(slab);
        self.sim.register(slab)
    }
}
