//! A card on which nothing goes wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use unlade_dpu::{BarOffset, CannotOpen, Transport};
use unlade_hal::{Device, Health, MemoryKind, Outcome, Quantity};
use unlade_tests::cards::{LONG, bytes, fill, submit, works};
use unlade_tests::conformance::suite;
use unlade_tests::fuzz::{Cases, fuzz};

use super::{Options, command, function, huge, meddled, open, open_card};
use crate::verdicts::Verdicts;

/// What the firmware's version follows in the name of an architecture.
const FIRMWARE: &str = "firmware ";

/// Each check opens the card anew, so that letting go of it is checked too.
pub(crate) fn check(address: &str, options: &Options, verdicts: &mut Verdicts) {
    verdicts.check("what is listed", || listed(address));
    verdicts.check("memory of its node", || near(address));
    verdicts.check("one opener", || one_opener(address));
    verdicts.check("function level reset", || function_reset(address));
    verdicts.check("reset by the driver", || driver_reset(address));
    verdicts.check("DMA outside a mapping", || outside(address));
    // The limit is one of containers.
    if cfg!(not(feature = "iommufd")) {
        verdicts.check("no more mappings", || no_more_mappings(address));
    }
    verdicts.check("huge pages", || huge::check(address));
    verdicts.check("conformance", || conformance(address));
    verdicts.check("random programs", || random_programs(address, options));
    // It opens cards by their groups.
    if cfg!(not(feature = "iommufd")) {
        command::check(address, verdicts);
    }
}

/// What `unlade devices` lists a card by: its address, its health, its firmware and its sensors.
fn listed(address: &str) -> Result<String, String> {
    let names = unlade::find_cards(Path::new("/")).into_iter();
    let mut names = names.map(|card| format!("dpu:{}", card.address));
    let name = names.find(|name| name.ends_with(address));
    let name = name.ok_or_else(|| format!("{address} is not on the bus"))?;
    let listed = match cfg!(feature = "iommufd") {
        true => name.replacen("dpu:", "dpu:iommufd:", 1),
        false => name.clone(),
    };
    let card = unlade::open_card(&listed)?;
    let info = card.info();
    if !info
        .address
        .as_ref()
        .is_some_and(|at| at.ends_with(address))
    {
        return Err(format!("its address is {:?}", info.address));
    }
    if card.health() != Health::Ready {
        return Err(format!("its health is {:?}", card.health()));
    }
    let firmware = info.architecture.split_once(FIRMWARE);
    if firmware.is_none_or(|(_, version)| version != "sim 1.0") {
        return Err(format!("its firmware is not in {}", info.architecture));
    }
    let readings = card.readings();
    let read = |quantity| readings.iter().find(|each| each.quantity == quantity);
    let temperature = read(Quantity::Temperature).and_then(|each| each.value.clone().ok());
    let power = read(Quantity::Power).and_then(|each| each.value.clone().ok());
    match (temperature, power) {
        (Some(45), Some(20_000)) => Ok(format!(
            "{name}: {}, {}, 45 degrees, 20,000 mW",
            info.description, info.architecture
        )),
        other => Err(format!("its temperature and power are {other:?}")),
    }
}

/// The kernel gives a function to one opener. A second one, of this process or of another, is told
/// who that is.
fn one_opener(address: &str) -> Result<String, String> {
    let first = open(address)?;
    let holder = format!("pid {} ", std::process::id());
    let second = match open_card(address, &unlade_dpu::Options::default()) {
        Err(CannotOpen::InUse { holder, .. }) => holder,
        other => return Err(format!("a second opener gets {other:?}")),
    };
    if !second.contains(&holder) || !second.ends_with("(this process)") {
        return Err(format!("a second opener is told: {second}"));
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let other = Command::new(program).args(["open", address]).output();
    let other = other.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&other.stdout).trim().to_owned();
    if !said.contains(&format!("is in use by {holder}")) || said.contains("this process") {
        return Err(format!("another process is told: {said}"));
    }
    let stranger = told_to_a_stranger(address)?;
    let command = fs::read_to_string("/proc/self/comm").map_err(|error| error.to_string())?;
    let named = format!("is in use by {holder}{}, of user 0;", command.trim_end());
    if !stranger.contains(&named) {
        return Err(format!("another user is told: {stranger}"));
    }
    works(&first);
    drop(first);
    // It holds the group, which iommufd passes by.
    let unknown = match cfg!(feature = "iommufd") {
        true => String::new(),
        false => told_of_another_program(address)?,
    };
    Ok(format!(
        "{said}; of another user: {stranger}; of another program: {unknown}"
    ))
}

/// What an ordinary user is told where a program has the function that is not this driver: how root finds
/// out who it is.
fn told_of_another_program(address: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| error.to_string();
    let group = fs::read_link(
        Path::new("/sys/bus/pci/devices")
            .join(address)
            .join("iommu_group"),
    );
    let group = group.map_err(failed)?;
    let group = group.file_name().ok_or("the group has no name")?;
    let file = Path::new("/dev/vfio").join(group);
    let held = fs::File::options().read(true).write(true).open(&file);
    let _held = held.map_err(failed)?;
    let said = told_to_a_stranger(address)?;
    let named = format!("(`sudo fuser -v {}", file.display());
    if !said.contains("a process that this user may not look into") || !said.contains(&named) {
        return Err(format!("of another program, another user is told: {said}"));
    }
    Ok(said)
}

/// What a user is told who may open the function and may not look into other users' processes.
fn told_to_a_stranger(address: &str) -> Result<String, String> {
    const STRANGER: u32 = 1000;

    let failed = |error: std::io::Error| error.to_string();
    // As whoever runs the machine gives it to a user.
    let folders = ["/dev/vfio", "/dev/vfio/devices"].into_iter();
    let files = folders.filter_map(|folder| fs::read_dir(folder).ok());
    let files = files.flatten().flatten().map(|entry| entry.path());
    for file in files
        .chain(["/dev/iommu".into()])
        .filter(|file| file.exists())
    {
        let mode = if file.is_dir() { 0o755 } else { 0o666 };
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).map_err(failed)?;
    }
    let program = std::env::current_exe().map_err(failed)?;
    let mut open = Command::new(program);
    open.args(["open", address]).uid(STRANGER).gid(STRANGER);
    let said = open.output().map_err(failed)?.stdout;
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

/// The card is of the machine's second node, and so are slabs for it.
fn near(address: &str) -> Result<String, String> {
    const NODE: u32 = 1;

    let failed = |error: std::io::Error| format!("/proc/self/numa_maps: {error}");
    let cards = unlade::find_cards(Path::new("/")).into_iter();
    let node = cards
        .filter(|card| card.address == address)
        .find_map(|card| card.numa_node);
    if node != Some(NODE) {
        return Err(format!("the card is of node {node:?}"));
    }
    let device = open(address)?;
    let slab = device.allocate(MemoryKind::Readback, 1 << 20);
    let slab = slab.map_err(|error| error.to_string())?;
    let start = slab.pages().ok_or("the slab has no pages")?.as_ptr().addr();
    let maps = fs::read_to_string("/proc/self/numa_maps").map_err(failed)?;
    let line = maps
        .lines()
        .find(|line| line.starts_with(&format!("{start:x} ")));
    let line = line.ok_or_else(|| format!("{start:x} is not in {maps}"))?;
    // As many pages as it has, all of that node.
    let pages = format!(" N{NODE}={}", slab.len() / 4096);
    match line.contains(&format!(" prefer:{NODE} ")) && line.contains(&pages) {
        true => Ok(line.to_owned()),
        false => Err(format!("the slab is elsewhere: {line}")),
    }
}

/// The kernel's reset clears the owner register, which a controller reset does not.
fn function_reset(address: &str) -> Result<String, String> {
    const OWNER: BarOffset = BarOffset(0x40);
    const SOMEBODY: u32 = 0x1234;

    let card = function(address).map_err(|error| error.to_string())?;
    let reset = || {
        card.write32(OWNER, SOMEBODY)?;
        let before = card.read32(OWNER)?;
        card.reset()?;
        Ok((before, card.read32(OWNER)?))
    };
    let owners = reset().map_err(|error: unlade_dpu::TransportError| error.to_string())?;
    match owners {
        (SOMEBODY, 0) => Ok("the owner is gone".to_owned()),
        _ => Err(format!("owners before and after are {owners:x?}")),
    }
}

/// Where a controller reset does not help, the driver has the kernel reset the function, and
/// everything works as before.
fn driver_reset(address: &str) -> Result<String, String> {
    let (meddler, device) = meddled(address)?;
    works(&device);
    device.reset().map_err(|error| error.to_string())?;
    works(&device);
    meddler.deafen(true);
    device.reset().map_err(|error| error.to_string())?;
    works(&device);
    Ok("a controller reset, and a function level reset in its place".to_owned())
}

/// A job whose memory is not mapped any more fails, and the memory stays as it was.
fn outside(address: &str) -> Result<String, String> {
    let (meddler, device) = meddled(address)?;
    works(&device);
    let list = fill(&device, 0xA5);
    let iova = meddler.withdraw_last().map_err(|error| error.to_string())?;
    let mut queue = device.open_queue(1).map_err(|error| error.to_string())?;
    let seq = submit(&mut *queue, list);
    let Err(lost) = queue.wait(seq, LONG) else {
        return Err(format!("the card has written to {iova}"));
    };
    if !lost.reason.contains("DMA_ERROR") {
        return Err(format!("the job fails for another reason: {lost}"));
    }
    let quiesced = queue.quiesce(LONG);
    let [aborted] = &quiesced.completions[..] else {
        return Err(format!("the list is lost: {quiesced:?}"));
    };
    if !matches!(aborted.outcome, Outcome::Aborted(_)) {
        return Err(format!("the list came to {:?}", aborted.outcome));
    }
    if bytes(&aborted.list, 0).iter().any(|byte| *byte != 0) {
        return Err("something of it was written".to_owned());
    }
    device.reset().map_err(|error| error.to_string())?;
    works(&device);
    Ok(format!("refused at {iova}: {}", lost.reason))
}

/// Where the kernel maps no more, the error says so, and the card is as good as before.
fn no_more_mappings(address: &str) -> Result<String, String> {
    /// How many mappings a container has that is opened next.
    const LIMIT: &str = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit";
    const FEW: usize = 40;

    let failed = |error: std::io::Error| format!("{LIMIT}: {error}");
    let usual = fs::read_to_string(LIMIT).map_err(failed)?;
    fs::write(LIMIT, FEW.to_string()).map_err(failed)?;
    let opened = open(address);
    fs::write(LIMIT, usual.trim()).map_err(failed)?;
    let device = opened?;
    let mut slabs = Vec::new();
    let error = loop {
        match device.allocate(MemoryKind::Upload, 4096) {
            Ok(slab) => slabs.push(slab),
            Err(error) => break error.to_string(),
        }
        if slabs.len() > FEW {
            return Err(format!("{} slabs are mapped", slabs.len()));
        }
    };
    if !error.contains("dma_entry_limit") || device.health() != Health::Ready {
        return Err(format!("{error}; the card is {:?}", device.health()));
    }
    let count = slabs.len();
    drop(slabs);
    works(&device);
    Ok(format!("{count} slabs, and then: {error}"))
}

fn conformance(address: &str) -> Result<String, String> {
    let device: Arc<dyn Device> = open(address)?;
    let report = suite(&device)?;
    match report.cells_refused {
        0 => Ok(report.to_string()),
        _ => Err(format!("a card with everything refuses cells: {report}")),
    }
}

fn random_programs(address: &str, options: &Options) -> Result<String, String> {
    let device: Arc<dyn Device> = open(address)?;
    let cases = Cases {
        first_seed: options.seed,
        count: options.cases,
        threads: 1,
    };
    let report = fuzz(&device, cases);
    match report.failures.is_empty() && report.cases > options.cases / 2 {
        true => Ok(report.to_string()),
        false => Err(format!("{report}\n{}", report.failures.join("\n"))),
    }
}
