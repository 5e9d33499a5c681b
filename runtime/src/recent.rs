//! What happened lately, for who watches a runtime: nothing is kept until somebody does.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::Duration;

use crate::device_slot::DeviceSlot;
use crate::receipt::Receipt;
use crate::sync::{Mutex, lock};

/// Receipts that are kept; the oldest go first.
const MOST: usize = 64;

/// The latest receipts, and what devices have done since somebody watches.
#[derive(Debug, Default)]
pub(crate) struct Recent(OnceLock<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    receipts: VecDeque<KernelReceipt>,
    /// By the devices' positions.
    devices: Vec<Done>,
}

/// The receipt of a batch of one kernel.
#[derive(Clone, Debug)]
pub(crate) struct KernelReceipt {
    pub(crate) kernel: u64,
    pub(crate) receipt: Receipt,
}

/// What a device has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// Parts of batches.
    pub(crate) parts: u64,
    pub(crate) rows: u64,
    /// How long it worked for them, copies included, by its own clock.
    pub(crate) busy: Duration,
}

impl Recent {
    /// From here on what happens to a runtime with so many devices is kept.
    pub(crate) fn keep(&self, devices: usize) {
        self.0.get_or_init(|| {
            Mutex::new(Kept {
                receipts: VecDeque::with_capacity(MOST),
                devices: vec![Done::default(); devices],
            })
        });
    }

    /// Takes note of a batch, or of those that were done together.
    pub(crate) fn note(&self, kernel: u64, receipt: &Receipt, devices: &[DeviceSlot]) {
        let Some(kept) = self.0.get() else {
            return;
        };
        let receipt = receipt.clone();
        let mut kept = lock(kept);
        for part in &receipt.parts {
            if let Some(at) = devices.iter().position(|slot| slot.name == part.device) {
                let done = &mut kept.devices[at];
                done.parts += 1;
                done.rows += part.rows;
                done.busy += part.copy_in + part.compute + part.copy_out;
            }
        }
        let oldest = match kept.receipts.len() {
            MOST => kept.receipts.pop_front(),
            _ => None,
        };
        kept.receipts.push_back(KernelReceipt { kernel, receipt });
        // What it holds is let go where nobody waits for that.
        drop(kept);
        drop(oldest);
    }

    /// The latest receipts, oldest first, and what each device has done; nothing where nobody has
    /// watched so far.
    pub(crate) fn kept(&self) -> Option<(Vec<KernelReceipt>, Vec<Done>)> {
        let kept = lock(self.0.get()?);
        Some((
            kept.receipts.iter().cloned().collect(),
            kept.devices.clone(),
        ))
    }
}
