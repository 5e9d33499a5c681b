//! Cards that fail and lie, under a runtime that does not trust them: results are those of the CPU,
//! or the receipt says that nobody but the card vouches for them, and what was handed out stays as
//! it was.

use std::sync::Arc;

use arrow_array::RecordBatch;
use unlade_cpu::CpuDevice;
use unlade_dpu::{Options, connect};
use unlade_hal::Device;
use unlade_runtime::{Kernel, Output, Placement, Runtime, Trust, Verified};
use unlade_sim_card::{CHANGED_AFTER, Config, Fault, FaultPlan, LATE, Served};
use unlade_tests::cards::ends::{self, compile, on_cpu};

/// The memory that the card reaches begins here: the lowest address of the driver's at which a large
/// page may be mapped.
const POOL: u64 = 2 << 20;

/// Jobs of one card. All of them write where they should not.
const JOBS: u64 = 24;

fn batch() -> RecordBatch {
    ends::batch(0)
}

/// A card on which these faults strike these jobs, and a kernel that is to run on it.
fn on_card(plan: FaultPlan, batch: &RecordBatch) -> (Served, Kernel) {
    let config = Config {
        faults: plan,
        ..Config::default()
    };
    let card = Served::start(config).expect("a socket can be made");
    let device = connect(card.path(), &Options::default()).expect("the card is there");
    let name = device.info().name.as_str().into();
    let runtime = Runtime::builder()
        .device(Arc::new(CpuDevice::new()))
        .device(device)
        .placement(Placement::Device(name))
        .trust(Trust::Untrusted);
    let runtime = runtime.build().expect("a runtime on the card");
    let kernel = compile(&runtime, batch);
    (card, kernel)
}

/// What is in a batch's memory.
fn bytes(batch: &RecordBatch) -> Vec<Vec<u8>> {
    let buffers = batch.columns().iter().flat_map(|column| {
        let data = column.to_data();
        let nulls = data.nulls().map(|nulls| nulls.validity().to_vec());
        let values = data
            .buffers()
            .iter()
            .map(|buffer| buffer.as_slice().to_vec());
        values.chain(nulls).collect::<Vec<_>>()
    });
    buffers.collect()
}

/// Why the card was left for the CPU, where it was.
fn reason(output: &Output) -> String {
    let parts = output.receipt.parts.iter();
    parts.map(|part| part.reason.to_string() + "; ").collect()
}

#[test]
fn a_card_that_lies_is_found_out_and_the_cpu_computes() {
    let batch = batch();
    let expected = on_cpu(&batch);
    for (fault, named) in [
        (Fault::HugeCount, "rows kept"),
        (Fault::HugeTrap, "reports a trap"),
        (Fault::ForeignCommandId, "not in flight"),
        // Noticed behind the batch, which is right, so that no receipt names it.
        (Fault::DuplicateCompletion, ""),
        (Fault::WildQueueHead, "submission head"),
        (Fault::WrongPhase, "wrong phase"),
    ] {
        let (card, kernel) = on_card(FaultPlan::none().at(2, fault), &batch);
        let outputs = [0, 1, 2].map(|_| kernel.run(&batch).expect("the CPU is there"));
        for output in &outputs {
            assert_eq!(output.batch, expected, "{fault:?}");
        }
        let reasons: String = outputs.iter().map(reason).collect();
        let struck = card.counters().faults;
        assert_eq!(struck, [(2, fault)]);
        assert!(reasons.contains(named), "{fault:?}: {reasons}");
        let by_cpu = outputs.iter().filter(|output| output.receipt.retries > 0);
        for output in by_cpu {
            assert_eq!(output.receipt.verified, Verified::Reference, "{fault:?}");
        }
    }
}

#[test]
fn what_was_handed_out_stays_as_it_was() {
    let batch = batch();
    let expected = on_cpu(&batch);
    for fault in [
        |_| Fault::ChangeAfterCompletion,
        |job| Fault::WriteOutside(POOL + 4096 * job),
        |_| Fault::WriteOutside(0),
    ] {
        let plan = (1..=JOBS).fold(FaultPlan::none(), |plan, job| plan.at(job, fault(job)));
        let (card, kernel) = on_card(plan, &batch);
        let run = |_| {
            let output = kernel.run(&batch).expect("the CPU is there");
            let before = bytes(&output.batch);
            (output, before)
        };
        let outputs: Vec<(Output, Vec<Vec<u8>>)> = (1..=JOBS).map(run).collect();
        std::thread::sleep(CHANGED_AFTER + LATE);
        let counters = card.counters();
        let struck = counters.faults.len() as u64;
        // Where what it overwrites, another job's by then, makes no sense any more, the card is left
        // alone.
        let overwrites = fault(1) != Fault::WriteOutside(0);
        assert!(struck == JOBS || overwrites && struck > 0, "{struck}");
        // What the table does not refuse has arrived.
        let refused = if fault(1) == Fault::WriteOutside(0) {
            JOBS
        } else {
            0
        };
        assert_eq!(counters.dma_refused, refused, "{:?}", fault(1));
        for (output, before) in outputs {
            assert_eq!(bytes(&output.batch), before, "{:?}", fault(1));
            let believed = output.receipt.verified == Verified::Unverified;
            assert!(believed || output.batch == expected, "{:?}", fault(1));
        }
    }
}

/// Each job writes a page further into the memory that the card reaches, until it meets keys.
#[test]
fn keys_of_no_value_are_the_cards_fault() {
    let batch = batch();
    let expected = on_cpu(&batch);
    let page = |job| Fault::WriteOutside(POOL + 4096 * job);
    let plan = (1..=JOBS).fold(FaultPlan::none(), |plan, job| plan.at(job, page(job)));
    let (_card, kernel) = on_card(plan, &batch);
    let mut outputs = (1..=JOBS).map(|_| kernel.run(&batch).expect("the CPU is there"));
    let met = outputs.find(|output| reason(output).contains("makes no array"));
    let met = met.expect("some job overwrites keys");
    assert_eq!(met.batch, expected);
    assert_eq!(met.receipt.verified, Verified::Reference);
}

#[test]
fn for_data_that_are_wrong_and_make_sense_nobody_vouches() {
    let batch = batch();
    let (_card, kernel) = on_card(FaultPlan::none().at(1, Fault::PartialDma), &batch);
    let output = kernel.run(&batch).expect("the CPU is there");
    let believed = output.receipt.verified == Verified::Unverified;
    assert!(believed || output.batch == on_cpu(&batch));
}
