//! `unlade devices`: what there is to run on.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use unlade::{ClockKind, Device, DeviceInfo, DeviceKind, Health, MemoryKind, PageSize, Reading};

use crate::args::DevicesArgs;
use crate::cards::OnBus;
use crate::commands::doctor;
use crate::error::Failure;
use crate::report;
use crate::report::readings;
use crate::report::table::{Align, bytes, table};
use crate::{cards, session};

/// Devices that are there only when they are asked for.
const BY_NAME: &str =
    "by name alone, in software: --device sim-gpu, an NVIDIA GPU; --device sim-dpu, a DPU card\n";

/// Most of the errors that a device has noted which are shown to people.
const SHOWN: usize = 3;

pub(crate) fn run(args: &DevicesArgs) -> Result<(), Failure> {
    cards::check_root(&args.sysroot)?;
    let mut devices = session::listed(args.device.as_deref())?;
    let mut unusable = Vec::new();
    if args.device.is_none() {
        for card in cards::on_bus(&args.sysroot) {
            let name = card
                .way()
                .unwrap_or_else(|| format!("dpu:{}", card.address));
            match open(&name, &card, &args.sysroot) {
                Ok(card) => devices.push(card),
                Err(why) => unusable.push((name, why)),
            }
        }
    }
    let text = if args.json {
        let unusable: Vec<_> = unusable
            .iter()
            .map(|(name, why)| json!({ "name": name, "kind": "dpu", "unusable": why }))
            .collect();
        let devices: Vec<_> = devices
            .iter()
            .map(|device| {
                let (info, capabilities) = (device.info(), device.capabilities());
                let errors = device.errors();
                json!({
                    "name": info.name,
                    "kind": info.kind.name(),
                    "description": info.description,
                    "address": info.address,
                    "architecture": info.architecture,
                    "memory_bytes": info.memory,
                    "clock": clock(info.clock),
                    "operations": capabilities.cells.len(),
                    "compaction": capabilities.compaction,
                    "coherent": capabilities.coherent,
                    "health": health(&device.health()),
                    "pages": pages(&**device).map(|pages| match pages {
                        PageSize::Huge => "huge",
                        PageSize::Base => "ordinary",
                    }),
                    "errors": errors.as_ref().ok(),
                    "errors_unknown": errors.as_ref().err(),
                    "readings": device.readings().iter().map(reading).collect::<Vec<_>>(),
                })
            })
            .collect();
        let document = json!({ "version": 1, "devices": devices, "unusable": unusable });
        format!("{document:#}\n")
    } else {
        let rows: Vec<Vec<String>> = devices
            .iter()
            .map(|device| {
                let info = device.info();
                vec![
                    info.name.clone(),
                    info.kind.name().to_owned(),
                    info.description.clone(),
                    if info.memory == 0 {
                        "host".to_owned()
                    } else {
                        bytes(info.memory)
                    },
                    info.address.clone().unwrap_or_default(),
                    clock(info.clock).to_owned(),
                    health(&device.health()),
                ]
            })
            .collect();
        let header = [
            ("name", Align::Left),
            ("kind", Align::Left),
            ("description", Align::Left),
            ("memory", Align::Right),
            ("address", Align::Left),
            ("clock", Align::Left),
            ("health", Align::Left),
        ];
        let details = devices.iter().filter_map(|device| {
            let readings = readings::text(&device.readings())?;
            let DeviceInfo {
                name, architecture, ..
            } = device.info();
            let buffers = match pages(&**device) {
                None => "",
                Some(PageSize::Huge) => "; buffers in huge pages",
                Some(PageSize::Base) if doctor::free_huge_pages() > 0 => {
                    "; buffers in ordinary pages: it takes no huge ones"
                }
                Some(PageSize::Base) => "; buffers in ordinary pages",
            };
            let errors = noted(name, device.errors());
            Some(format!(
                "{name}: {architecture}; {readings}{buffers}\n{errors}"
            ))
        });
        let unusable = unusable
            .iter()
            .map(|(name, why)| format!("{name}: {why}\n"));
        let others = args.device.is_none().then(|| BY_NAME.to_owned());
        let below = details.chain(unusable).chain(others).collect::<String>();
        format!("{}\n{below}", table(&header, &rows))
    };
    report::print(text.as_bytes())
}

fn open(name: &str, card: &OnBus, root: &Path) -> Result<Arc<dyn Device>, String> {
    if !card.certain {
        let why = "it may be a card, and only root can tell: `sudo unlade devices`";
        return Err(why.to_owned());
    }
    match card.by_group.first().filter(|_| card.way().is_none()) {
        Some(blocked) => Err(format!("{}; `unlade doctor` says what to do", blocked.why)),
        None if root != Path::new("/") => Err(format!("of {}: not opened", root.display())),
        None => unlade::open_card(name),
    }
}

/// Which pages buffers lie in that the device reaches by itself, if it is one that does.
fn pages(device: &dyn Device) -> Option<PageSize> {
    /// As many bytes as a huge page has.
    const BUFFER: u64 = 2 << 20;

    let info = device.info();
    if info.kind == DeviceKind::Cpu || info.memory > 0 {
        return None;
    }
    device
        .allocate(MemoryKind::Readback, BUFFER)
        .ok()?
        .page_size()
}

/// A line for each of the newest errors that a device has noted, or for why they are not known.
fn noted(name: &str, errors: Result<Vec<String>, String>) -> String {
    let lines = match errors {
        Ok(mut errors) => {
            errors.truncate(SHOWN);
            errors
        }
        Err(why) => vec![format!("the errors that it has noted are not known: {why}")],
    };
    let lines = lines.iter().map(|line| format!("{name}: {line}\n"));
    lines.collect()
}

/// What a sensor says; `value` is null where it says nothing, and `unknown` tells why.
fn reading(reading: &Reading) -> Value {
    json!({
        "name": reading.quantity.name(),
        "unit": reading.quantity.unit(),
        "value": reading.value.as_ref().ok(),
        "unknown": reading.value.as_ref().err(),
    })
}

fn clock(clock: ClockKind) -> &'static str {
    match clock {
        ClockKind::Wall => "wall",
        ClockKind::Virtual => "virtual",
    }
}

fn health(health: &Health) -> String {
    match health {
        Health::Ready => "ready".to_owned(),
        Health::Lost(lost) => format!("lost: {}", lost.reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_errors_are_shown_or_why_none_is() {
        let errors = ["4th", "3rd", "2nd", "1st"].map(str::to_owned).to_vec();
        assert_eq!(noted("dpu", Ok(errors)), "dpu: 4th\ndpu: 3rd\ndpu: 2nd\n");
        assert_eq!(noted("cpu", Ok(Vec::new())), "");
        assert_eq!(
            noted("dpu", Err("it refuses".to_owned())),
            "dpu: the errors that it has noted are not known: it refuses\n"
        );
    }
}
