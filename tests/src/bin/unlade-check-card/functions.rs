//! The cards of this machine.

use std::fs;
use std::path::Path;

/// Ids of a card: docs/CARD.md, section 2.
const VENDOR: &str = "0x1af4";
const DEVICE: &str = "0x10f5";

/// PCI addresses of the cards, in their order.
pub(crate) fn cards() -> Result<Vec<String>, String> {
    const DEVICES: &str = "/sys/bus/pci/devices";

    let entries = fs::read_dir(DEVICES).map_err(|error| format!("{DEVICES}: {error}"))?;
    let mut addresses: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_card = id(&path, "vendor")? == VENDOR && id(&path, "device")? == DEVICE;
            let name = path.file_name()?.to_str()?.to_owned();
            is_card.then_some(name)
        })
        .collect();
    addresses.sort();
    Ok(addresses)
}

fn id(function: &Path, which: &str) -> Option<String> {
    let text = fs::read_to_string(function.join(which)).ok()?;
    Some(text.trim().to_owned())
}
