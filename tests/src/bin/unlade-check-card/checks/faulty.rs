//! A card of which a fault strikes the second job.

use std::sync::Arc;

use unlade_dpu::DpuDevice;
use unlade_hal::{Device, Health};
use unlade_runtime::{Fallback, Trust};
use unlade_sim_card::Fault;
use unlade_tests::cards::{
    Case, End, LOSSES, SAID_WHEN_ASKED, lies_about_lengths, lost_by, names, never_comes, removed,
    works, writes_outside,
};

use super::{meddled, open, open_card};

pub(crate) fn check(name: &str, address: &str) -> Result<String, String> {
    let fault = names::named(name).ok_or_else(|| format!("there is no fault `{name}`"))?;
    if let Some(ended) = through_a_runtime(fault, address) {
        let (device, seen) = ended?;
        return restored(&device, &seen);
    }
    if fault == Fault::ForeignCommandId {
        return cut_off(fault, address);
    }
    let device = open(address)?;
    let seen = match fault {
        Fault::Removal => {
            removed(&device);
            // To close it would take the kernel a minute, in which it waits for it to come back.
            std::mem::forget(device);
            return Ok("gone for good".to_owned());
        }
        Fault::WriteOutside(iova) => {
            writes_outside(&device);
            format!("a write to {iova:#x} has reached nothing")
        }
        fault if SAID_WHEN_ASKED.contains(&fault) => lies_about_lengths(fault, &device),
        Fault::LostCompletion | Fault::StuckDoorbell => {
            never_comes(fault, &device);
            "aborted when the queue ended".to_owned()
        }
        fault => reason_of_loss(fault, &device)?,
    };
    restored(&device, &seen)
}

/// Of a card that hears no reset the kernel takes all memory out of the IOMMU, so that lists come back.
fn cut_off(fault: Fault, address: &str) -> Result<String, String> {
    let (meddler, device) = meddled(address)?;
    let hears = |hears: bool| {
        meddler.deafen(!hears);
        meddler.refuse_resets(!hears);
    };
    hears(false);
    let reason = reason_of_loss(fault, &device)?;
    hears(true);
    restored(&device, &format!("{reason}; its memory was taken from it"))
}

/// Why the device is lost to a fault, which leaves nothing with the card.
fn reason_of_loss(fault: Fault, device: &DpuDevice) -> Result<String, String> {
    let known = LOSSES.iter().find(|(of, _)| *of == fault);
    let (_, named) = known.ok_or_else(|| format!("{fault:?} is not expected"))?;
    let (lost, quiesced) = lost_by(fault, named, device);
    match quiesced.leaked.is_empty() {
        true => Ok(lost.reason),
        false => Err(format!("memory has leaked: {:?}", quiesced.leaked)),
    }
}

/// What a batch comes to of which only a runtime, or whoever has it, sees that something is wrong:
/// one that does not trust the card, has checksums compared, and may use the CPU.
fn through_a_runtime(
    fault: Fault,
    address: &str,
) -> Option<Result<(Arc<DpuDevice>, String), String>> {
    let wanted = match fault {
        Fault::LateCompletion | Fault::ReorderedCompletion | Fault::ChangeAfterCompletion => {
            End::Card
        }
        Fault::PartialDma | Fault::CorruptData | Fault::HugeCount | Fault::HugeTrap => End::Cpu,
        _ => return None,
    };
    let case = Case {
        fault: Some(fault),
        trust: Trust::Untrusted,
        fallback: Fallback::Allow,
        checksums: true,
    };
    let ended = open_card(address, &case.options()).map_err(|error| error.to_string());
    Some(ended.and_then(|device| {
        let end = case.run(&device);
        let seen = match end {
            End::Card => "a right result of the card's, which stays as it was",
            End::Believed => "a wrong result, for which nobody vouches",
            End::Cpu => "the CPU's result",
            End::Error => "an error",
        };
        match end == wanted {
            true => Ok((device, seen.to_owned())),
            false => Err(format!("the batch ends with {seen}")),
        }
    }))
}

/// Resets the card, and sees that it works.
fn restored(device: &DpuDevice, seen: &str) -> Result<String, String> {
    device.reset().map_err(|error| error.to_string())?;
    if device.health() != Health::Ready {
        return Err(format!("a reset leaves it {:?}", device.health()));
    }
    works(device);
    Ok(format!("{seen}; works again"))
}
