//! A card of which a fault strikes the second job.

use unlade_hal::{Device, Health};
use unlade_sim_card::Fault;
use unlade_tests::cards::{LOSSES, lost_by, never_comes, removed, works, writes_outside};

use super::open;
use crate::faults;

pub(crate) fn check(name: &str, address: &str) -> Result<String, String> {
    let fault = faults::named(name).ok_or_else(|| format!("there is no fault `{name}`"))?;
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
        Fault::LostCompletion | Fault::StuckDoorbell => {
            never_comes(fault, &device);
            "aborted when the queue ended".to_owned()
        }
        fault => {
            let known = LOSSES.iter().find(|(of, _)| *of == fault);
            let (_, named) = known.ok_or_else(|| format!("{fault:?} is not expected"))?;
            let (lost, quiesced) = lost_by(fault, named, &device);
            if !quiesced.leaked.is_empty() {
                return Err(format!("memory has leaked: {:?}", quiesced.leaked));
            }
            lost.reason
        }
    };
    device.reset().map_err(|error| error.to_string())?;
    if device.health() != Health::Ready {
        return Err(format!("a reset leaves it {:?}", device.health()));
    }
    works(&device);
    Ok(format!("{seen}; works again"))
}
