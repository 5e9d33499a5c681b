//! `unlade doctor`: what is present, what is missing and how to get it.
//!
//! Everything is read from files below `--sysroot`, so that each check can be shown either state;
//! but for the GPU, whose driver is opened where that is this machine.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use unlade::{DeviceInfo, DeviceKind, Reading, printable};

use crate::args::DoctorArgs;
use crate::cards::{self, Blocked, OnBus};
use crate::error::Failure;
use crate::report;
use crate::report::readings;
use crate::report::style;
use crate::report::table::bytes;

/// Locked memory below which a card's buffers do not fit.
const USEFUL_MEMLOCK: u64 = 1 << 30;

/// Most bytes that are read of a file; those that are looked into have fewer, or their first will do.
const MOST_READ: u64 = 1 << 20;

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    /// What was found.
    found: String,
    /// What to do about it; empty where nothing need be done.
    advice: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It is there and works.
    Ok,
    /// It is not there; something is slower or a kind of device cannot be used.
    Missing,
    /// It is there and does not do what it should.
    Problem,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    cards::check_root(&args.sysroot)?;
    let system = System {
        root: args.sysroot.clone(),
    };
    let checks = [
        system.processor(),
        system.memory(),
        system.huge_pages(),
        system.locked_memory(),
        system.nvidia_gpu(system.open_driver()),
        system.iommu(),
        system.vfio(),
        system.iommufd(),
        system.cards(),
    ];
    let text = if args.json {
        let document = serde_json::json!({ "version": 1, "checks": checks });
        format!("{document:#}\n")
    } else {
        let width = checks
            .iter()
            .map(|check| check.name.len())
            .max()
            .unwrap_or(0);
        checks.iter().map(|check| check.text(width)).collect()
    };
    report::print(text.as_bytes())
}

/// Huge pages of this machine that nobody has taken or been promised.
pub(crate) fn free_huge_pages() -> u64 {
    let system = System {
        root: PathBuf::from("/"),
    };
    system.free_huge_pages()
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Check {
            name,
            state: State::Ok,
            found: found.into(),
            advice: String::new(),
        }
    }

    fn missing(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Check {
            name,
            state: State::Missing,
            found: found.into(),
            advice: advice.into(),
        }
    }

    fn problem(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Check {
            name,
            state: State::Problem,
            found: found.into(),
            advice: advice.into(),
        }
    }

    fn text(&self, width: usize) -> String {
        let state = match self.state {
            State::Ok => style::green("ok     "),
            State::Missing => style::yellow("missing"),
            State::Problem => style::red("problem"),
        };
        // What is of several things has a line for each.
        let indent = format!("\n{:1$}", "", width + 11);
        let shown = |text: &str| printable(text).replace('\n', &indent);
        let found = shown(&self.found);
        let advice = match self.advice.as_str() {
            "" => String::new(),
            advice => format!("{indent}{}", shown(advice)),
        };
        format!("{state}  {:width$}  {found}{advice}\n", self.name)
    }
}

/// A GPU, in a line.
fn found(info: &DeviceInfo, readings: &[Reading]) -> String {
    let address = info.address.as_deref().unwrap_or("at no known address");
    let mut parts = vec![
        info.description.clone(),
        address.to_owned(),
        bytes(info.memory),
        info.architecture.clone(),
    ];
    parts.extend(readings::text(readings));
    format!("{}: {}", info.name, parts.join(", "))
}

/// By which ways a card can be opened, and what keeps it from the others.
fn ways(card: &OnBus) -> String {
    let told = |blocked: &[Blocked]| {
        let why: Vec<&str> = blocked.iter().map(|one| one.why.as_str()).collect();
        why.join(", ")
    };
    let by_group = match card.by_group.as_slice() {
        [] => "can be opened".to_owned(),
        blocked => told(blocked),
    };
    match card.by_iommufd.as_deref() {
        // What keeps it from both ways is said once.
        None => by_group,
        Some(blocked) if blocked == card.by_group && !blocked.is_empty() => by_group,
        Some([]) if cards::IOMMUFD => format!(
            "{by_group}; through iommufd, as dpu:iommufd:{}, it can be opened",
            card.address
        ),
        Some(_) if !cards::IOMMUFD => by_group,
        Some(blocked) => format!("{by_group}; through iommufd: {}", told(blocked)),
    }
}

/// A machine's file system.
struct System {
    root: PathBuf,
}

impl System {
    fn path(&self, below: &str) -> PathBuf {
        self.root.join(below.trim_start_matches('/'))
    }

    /// The start of a file: all of it, of what a kernel has there. Nothing else is opened, which could
    /// wait for somebody, or have no end.
    fn read(&self, below: &str) -> Option<String> {
        let path = self.path(below);
        std::fs::metadata(&path)
            .ok()
            .filter(std::fs::Metadata::is_file)?;
        let mut read = Vec::new();
        std::fs::File::open(path)
            .ok()?
            .take(MOST_READ)
            .read_to_end(&mut read)
            .ok()?;
        Some(String::from_utf8_lossy(&read).into_owned())
    }

    /// The names in a folder, each on one line.
    fn entries(&self, below: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(below)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .map(|name| printable(&name).replace(['\n', '\t'], " "))
            .collect();
        names.sort();
        names
    }

    /// The GPUs that the driver of this machine shows, or why there are none; `None` where the
    /// file system is another machine's.
    fn open_driver(&self) -> Option<Result<Vec<String>, String>> {
        if self.root != Path::new("/") {
            return None;
        }
        if let Some(why) = unlade::why_no_gpu() {
            return Some(Err(why));
        }
        let devices = unlade::discover();
        let gpus = devices
            .iter()
            .filter(|device| device.info().kind == DeviceKind::Gpu)
            .map(|device| found(device.info(), &device.readings()));
        Some(Ok(gpus.collect()))
    }

    fn processor(&self) -> Check {
        const NAME: &str = "processor";
        let Some(text) = self.read("/proc/cpuinfo") else {
            return Check::problem(NAME, "/proc/cpuinfo cannot be read", "mount /proc");
        };
        // x86 lists `flags`, Arm `Features`.
        let flags = text
            .lines()
            .find(|line| line.starts_with("flags") || line.starts_with("Features"))
            .and_then(|line| line.split_once(':'))
            .map_or("", |(_, flags)| flags);
        let has = |names: &[&str]| {
            names
                .iter()
                .all(|name| flags.split_whitespace().any(|flag| flag == *name))
        };
        if has(&["avx512f", "avx512bw", "avx512dq", "avx512vl"]) {
            Check::ok(NAME, "AVX-512: the fastest path")
        } else if has(&["avx2", "bmi2"]) {
            Check::ok(NAME, "AVX2")
        } else {
            Check::missing(
                NAME,
                "neither AVX-512 nor AVX2: the portable path",
                "nothing is wrong; a newer x86-64 processor filters faster",
            )
        }
    }

    fn memory(&self) -> Check {
        const NAME: &str = "memory";
        match self.meminfo("MemTotal:").zip(self.meminfo("MemAvailable:")) {
            Some((total, available)) => Check::ok(
                NAME,
                format!(
                    "{} of {} available",
                    bytes(available * 1024),
                    bytes(total * 1024)
                ),
            ),
            None => Check::problem(NAME, "/proc/meminfo cannot be read", "mount /proc"),
        }
    }

    fn huge_pages(&self) -> Check {
        const NAME: &str = "huge pages";
        let free = self.free_huge_pages();
        let size = self.meminfo("Hugepagesize:").unwrap_or(0) * 1024;
        if free > 0 {
            return Check::ok(NAME, format!("{free} free pages of {}", bytes(size)));
        }
        Check::missing(
            NAME,
            "none free: buffers lie in ordinary pages, which works",
            "sysctl vm.nr_hugepages=512 reserves 1 GiB and makes mapping for a card fast",
        )
    }

    fn free_huge_pages(&self) -> u64 {
        let count = |name| self.meminfo(name).unwrap_or(0);
        count("HugePages_Free:").saturating_sub(count("HugePages_Rsvd:"))
    }

    fn locked_memory(&self) -> Check {
        const NAME: &str = "locked memory";
        let limits = self.read("/proc/self/limits");
        let limit = limits.as_deref().and_then(|text| {
            let line = text
                .lines()
                .find(|line| line.starts_with("Max locked memory"))?;
            line["Max locked memory".len()..].split_whitespace().next()
        });
        match limit {
            Some("unlimited") => Check::ok(NAME, "unlimited"),
            Some(limit) => match limit.parse::<u64>() {
                Ok(limit) if limit >= USEFUL_MEMLOCK => Check::ok(NAME, bytes(limit)),
                Ok(limit) => Check::missing(
                    NAME,
                    format!("at most {}", bytes(limit)),
                    "a card needs more: ulimit -l unlimited, or LimitMEMLOCK=infinity in a unit",
                ),
                Err(_) => Check::problem(
                    NAME,
                    format!("/proc/self/limits says `{limit}`"),
                    "expected a number of bytes or `unlimited`",
                ),
            },
            None => Check::problem(NAME, "/proc/self/limits cannot be read", "mount /proc"),
        }
    }

    /// Opens the driver where the machine is this one; elsewhere looks at files alone.
    fn nvidia_gpu(&self, opened: Option<Result<Vec<String>, String>>) -> Check {
        const NAME: &str = "NVIDIA GPU";
        let why = match opened {
            Some(Ok(gpus)) => return Check::ok(NAME, gpus.join("; ")),
            Some(Err(why)) => Some(why),
            None => None,
        };
        let driver = self.read("/proc/driver/nvidia/version");
        let gpus = self.entries("/proc/driver/nvidia/gpus");
        let on_bus = self.pci_devices("0x10de", "0x03");
        match (driver, gpus.is_empty(), on_bus.is_empty()) {
            (Some(driver), false, _) => {
                let version = driver.lines().next().unwrap_or("").trim();
                let found = format!("{} present ({version})", gpus.join(", "));
                match why {
                    Some(why) => Check::problem(NAME, format!("{found}, not used"), why),
                    None => Check::ok(NAME, format!("{found}, not opened: it is not this machine")),
                }
            }
            (None, _, false) => Check::missing(
                NAME,
                format!("{} on the bus, but no driver is loaded", on_bus.join(", ")),
                "install NVIDIA's driver; nothing else of CUDA is needed",
            ),
            _ => Check::missing(
                NAME,
                "none found: the CPU runs everything",
                why.unwrap_or_default(),
            ),
        }
    }

    fn iommu(&self) -> Check {
        const NAME: &str = "IOMMU";
        let groups = self.entries("/sys/kernel/iommu_groups");
        if groups.is_empty() {
            return Check::missing(
                NAME,
                "off: no groups in /sys/kernel/iommu_groups",
                "a DPU card needs one: enable VT-d or AMD-Vi in the firmware, and \
                 intel_iommu=on on Intel's kernel command line",
            );
        }
        Check::ok(NAME, format!("{} groups", groups.len()))
    }

    fn vfio(&self) -> Check {
        const NAME: &str = "vfio-pci";
        if !self.path("/sys/bus/pci/drivers/vfio-pci").is_dir() {
            return Check::missing(
                NAME,
                "not loaded",
                "modprobe vfio-pci, where there is a DPU card to bind to it",
            );
        }
        let bound = self.entries("/sys/bus/pci/drivers/vfio-pci");
        let bound: Vec<&String> = bound.iter().filter(|name| name.contains(':')).collect();
        match bound.as_slice() {
            [] => Check::ok(NAME, "loaded, no card bound"),
            bound => Check::ok(
                NAME,
                format!(
                    "loaded, bound: {}",
                    bound
                        .iter()
                        .map(|name| name.as_str())
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            ),
        }
    }

    /// The kernel's newer way to hand a function over.
    fn iommufd(&self) -> Check {
        const NAME: &str = "iommufd";
        if self.path("/dev/iommu").exists() {
            return match cards::IOMMUFD {
                true => Check::ok(
                    NAME,
                    "present: `dpu:iommufd:ADDRESS` opens a card by its own file, `dpu:ADDRESS` by its \
                     group",
                ),
                false => Check::missing(
                    NAME,
                    "present, but this build is without it: cards are opened by their groups",
                    "nothing is wrong; `cargo build -p unlade-cli --features iommufd` builds one with it",
                ),
            };
        }
        let (why, advice) = match self.kernel_has("CONFIG_IOMMUFD") {
            Some(true) => (
                "not loaded",
                "nothing is wrong; modprobe iommufd for the newer way",
            ),
            Some(false) => (
                "the kernel was built without CONFIG_IOMMUFD",
                "nothing is wrong",
            ),
            None => (
                "there is no /dev/iommu",
                "nothing is wrong; modprobe iommufd, where the kernel has CONFIG_IOMMUFD, for the newer \
                 way",
            ),
        };
        let found = format!("{why}: cards are opened by their groups");
        Check::missing(NAME, found, advice)
    }

    /// Whether the kernel that runs was built with an option, if that is told.
    fn kernel_has(&self, option: &str) -> Option<bool> {
        let release = self.read("/proc/sys/kernel/osrelease")?;
        let config = self.read(&format!("/boot/config-{}", release.trim()))?;
        let is_set = |line: &str| line.split_once('=').is_some_and(|(name, _)| name == option);
        Some(config.lines().any(is_set))
    }

    fn cards(&self) -> Check {
        const NAME: &str = "DPU cards";
        let cards = cards::on_bus(&self.root);
        if cards.is_empty() {
            return Check::missing(
                NAME,
                "none on the PCI bus",
                "nothing is wrong; `--device sim-dpu` is one in software",
            );
        }
        let (cards, uncertain): (Vec<_>, Vec<_>) = cards.into_iter().partition(|card| card.certain);
        let perhaps = uncertain
            .iter()
            .map(|card| format!("{}: it may be one, and only root can tell", card.address));
        let found = cards.iter().map(|card| {
            let node = card.numa_node.map(|node| format!(", NUMA node {node}"));
            let state = ways(card);
            format!("{}{}: {state}", card.address, node.unwrap_or_default())
        });
        let found = found.chain(perhaps).collect::<Vec<_>>().join("\n");
        let none_is_certain = cards.is_empty();
        let blocked = cards.iter().filter(|card| card.way().is_none());
        let mut advice: Vec<String> = blocked
            .map(|card| {
                let advice = card.by_group.iter().map(|blocked| blocked.advice.as_str());
                let advice = advice.collect::<Vec<_>>().join("; ");
                match cards.len() {
                    1 => advice,
                    _ => format!("for {}: {advice}", card.address),
                }
            })
            .collect();
        let is_ready = advice.is_empty();
        if !uncertain.is_empty() {
            advice.push("to have root tell: sudo unlade doctor".to_owned());
        }
        let advice = advice.join("\n");
        let state = match is_ready {
            _ if none_is_certain => State::Missing,
            true => State::Ok,
            false => State::Problem,
        };
        Check {
            name: NAME,
            state,
            found,
            advice,
        }
    }

    /// A line of /proc/meminfo: a count, or KiB.
    fn meminfo(&self, name: &str) -> Option<u64> {
        let text = self.read("/proc/meminfo")?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Addresses of PCI devices of a vendor whose class begins like this.
    fn pci_devices(&self, vendor: &str, class: &str) -> Vec<String> {
        const FOLDER: &str = "/sys/bus/pci/devices";
        let is = |address: &str, file: &str, start: &str| {
            let name = Path::new(FOLDER).join(address).join(file);
            self.read(&name.to_string_lossy())
                .is_some_and(|text| text.starts_with(start))
        };
        self.entries(FOLDER)
            .into_iter()
            .filter(|address| is(address, "vendor", vendor) && is(address, "class", class))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use unlade::Quantity;

    use super::*;

    /// A machine made of files.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            Machine(tempfile::tempdir().unwrap())
        }

        fn with(self, path: &str, content: &str) -> Self {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
            self
        }

        fn system(&self) -> System {
            System {
                root: self.0.path().to_owned(),
            }
        }
    }

    #[test]
    fn processor_in_each_state() {
        let state = |flags: &str| {
            let machine = Machine::new().with("proc/cpuinfo", flags);
            let check = machine.system().processor();
            (check.state, check.found)
        };
        let avx512 = "flags\t: fpu avx2 bmi2 avx512f avx512bw avx512dq avx512vl";
        assert!(state(avx512).1.contains("AVX-512"));
        assert_eq!(
            state("flags\t: avx2 bmi2 avx512f"),
            (State::Ok, "AVX2".to_owned())
        );
        assert_eq!(state("Features\t: fp asimd").0, State::Missing);
        assert_eq!(Machine::new().system().processor().state, State::Problem);
    }

    #[test]
    fn memory_in_each_state() {
        let machine = Machine::new().with(
            "proc/meminfo",
            "MemTotal: 1000000 kB\nMemAvailable: 500000 kB\n",
        );
        assert_eq!(machine.system().memory().state, State::Ok);
        assert_eq!(machine.system().huge_pages().state, State::Missing);
        let machine =
            Machine::new().with("proc/meminfo", "HugePages_Free: 4\nHugepagesize: 2048 kB\n");
        assert_eq!(machine.system().memory().state, State::Problem);
        assert_eq!(machine.system().huge_pages().state, State::Ok);
        // Promised to somebody, none is free.
        let machine = Machine::new().with("proc/meminfo", "HugePages_Free: 4\nHugePages_Rsvd: 4\n");
        assert_eq!(machine.system().huge_pages().state, State::Missing);
    }

    #[test]
    fn locked_memory_in_each_state() {
        let state = |limit: &str| {
            let line = format!("Limit\nMax locked memory         {limit}    {limit}    bytes\n");
            Machine::new()
                .with("proc/self/limits", &line)
                .system()
                .locked_memory()
                .state
        };
        assert_eq!(state("unlimited"), State::Ok);
        assert_eq!(state("8589934592"), State::Ok);
        assert_eq!(state("65536"), State::Missing);
        assert_eq!(state("many"), State::Problem);
        assert_eq!(
            Machine::new().system().locked_memory().state,
            State::Problem
        );
    }

    #[test]
    fn gpu_in_each_state() {
        let none = Machine::new().system().nvidia_gpu(None);
        assert!(none.found.contains("none"), "{none:?}");
        let why = || Some(Err("it is too old".to_owned()));
        let without_driver = Machine::new().system().nvidia_gpu(why());
        assert_eq!(without_driver.state, State::Missing);
        assert_eq!(without_driver.advice, "it is too old");
        let on_bus = Machine::new()
            .with("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
            .with("sys/bus/pci/devices/0000:01:00.0/class", "0x030200\n");
        let check = on_bus.system().nvidia_gpu(None);
        assert!(check.found.contains("0000:01:00.0") && check.advice.contains("driver"));
        let driven = on_bus
            .with("proc/driver/nvidia/version", "NVRM version: 580.65\n")
            .with("proc/driver/nvidia/gpus/0000:01:00.0/information", "");
        let check = driven.system().nvidia_gpu(None);
        assert!(check.state == State::Ok && check.found.contains("580.65"));
        let check = driven.system().nvidia_gpu(why());
        assert!(check.state == State::Problem && check.advice == "it is too old");
        let gpus = vec!["cuda:0: an H200".to_owned()];
        let check = driven.system().nvidia_gpu(Some(Ok(gpus)));
        assert!(check.state == State::Ok && check.found == "cuda:0: an H200");
    }

    #[test]
    fn a_gpu_is_shown_with_what_its_sensors_say() {
        let devices = unlade::discover();
        let mut info = devices[0].info().clone();
        info.name = "cuda:0".to_owned();
        info.description = "NVIDIA H200".to_owned();
        info.address = Some("0000:3b:00.0".to_owned());
        info.memory = 150_000_000_000;
        info.architecture = "sm_90".to_owned();
        let warm = Reading::new(Quantity::Temperature, Ok(31));
        let line = "cuda:0: NVIDIA H200, 0000:3b:00.0, 150 GB, sm_90, temperature 31 °C";
        assert_eq!(found(&info, &[warm]), line);
    }

    #[test]
    fn the_driver_of_another_machine_is_not_opened() {
        assert_eq!(Machine::new().system().open_driver(), None);
    }

    #[test]
    #[cfg(feature = "dpu")]
    fn cards_in_each_state() {
        use std::os::unix::fs::symlink;

        assert_eq!(Machine::new().system().cards().state, State::Missing);
        let machine = Machine::new()
            .with("sys/bus/pci/devices/0000:3b:00.0/config", "")
            .with("sys/bus/pci/devices/0000:3b:00.0/numa_node", "1\n");
        let folder = machine.0.path().join("sys/bus/pci/devices/0000:3b:00.0");
        std::fs::write(folder.join("config"), [0xF4, 0x1A, 0xF5, 0x10]).unwrap();
        let check = machine.system().cards();
        assert_eq!(check.state, State::Problem);
        assert!(
            check
                .found
                .starts_with("0000:3b:00.0, NUMA node 1: the IOMMU is off, no driver")
        );
        assert!(check.advice.contains("intel_iommu=on"), "{}", check.advice);
        assert!(check.advice.contains("drivers_probe"), "{}", check.advice);

        let ready = machine
            .with("sys/kernel/iommu_groups/7/type", "")
            .with("dev/vfio/7", "");
        symlink("../drivers/vfio-pci", folder.join("driver")).unwrap();
        symlink("../kernel/iommu_groups/7", folder.join("iommu_group")).unwrap();
        let check = ready.system().cards();
        assert_eq!(check.state, State::Ok, "{check:?}");
        assert_eq!(check.found, "0000:3b:00.0, NUMA node 1: can be opened");

        let several = ["0000:3c:00.0", "0000:3d:00.0"]
            .iter()
            .fold(ready, |machine, card| {
                let config = format!("sys/bus/pci/devices/{card}/config");
                let machine = machine.with(&config, "");
                let config = machine.0.path().join(config);
                std::fs::write(config, [0xF4, 0x1A, 0xF5, 0x10]).unwrap();
                machine
            });
        let text = several.system().cards().text(9);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[1].starts_with("0000:3c:00.0: "), "{text}");
        assert!(lines[4].starts_with("for 0000:3d:00.0: "), "{text}");
    }

    #[test]
    #[cfg(feature = "dpu")]
    fn a_card_by_either_way() {
        let card = |by_group: &[&str], by_iommufd: Option<&[&str]>| {
            let blocked = |why: &&str| Blocked {
                why: (*why).to_owned(),
                advice: String::new(),
            };
            OnBus {
                address: "0000:3b:00.0".to_owned(),
                certain: true,
                numa_node: None,
                by_group: by_group.iter().map(blocked).collect(),
                by_iommufd: by_iommufd.map(|way| way.iter().map(blocked).collect()),
            }
        };
        let (group, own) = (&["no /dev/vfio/7"][..], &["no file of its own"][..]);
        let (open, as_it_is) = ("can be opened", "dpu:0000:3b:00.0");
        let told = |card: OnBus| (ways(&card), card.way().unwrap_or_default());
        assert_eq!(told(card(&[], None)), (open.into(), as_it_is.into()));
        assert_eq!(told(card(group, None)), (group[0].into(), String::new()));
        // What keeps it from both is said once.
        assert_eq!(
            told(card(group, Some(group))),
            (group[0].into(), String::new())
        );
        let newer = "dpu:iommufd:0000:3b:00.0";
        let (too, alone, neither, way) = match cards::IOMMUFD {
            true => (
                format!("{open}; through iommufd, as {newer}, it can be opened"),
                format!(
                    "{}; through iommufd, as {newer}, it can be opened",
                    group[0]
                ),
                format!("{}; through iommufd: {}", group[0], own[0]),
                newer,
            ),
            // It does not go that way, so nothing of it helps.
            false => (open.into(), group[0].into(), group[0].into(), ""),
        };
        assert_eq!(told(card(&[], Some(&[]))), (too, as_it_is.into()));
        assert_eq!(told(card(group, Some(&[]))), (alone, way.into()));
        assert_eq!(told(card(group, Some(own))), (neither, String::new()));
    }

    #[test]
    fn iommufd_in_each_state() {
        let bare = Machine::new();
        let check = bare.system().iommufd();
        assert_eq!(check.state, State::Missing);
        assert!(check.found.contains("by their groups"), "{check:?}");
        let kernel = |config: &str| {
            let machine = Machine::new()
                .with("proc/sys/kernel/osrelease", "6.12.1\n")
                .with("boot/config-6.12.1", config);
            machine.system().iommufd()
        };
        let check = kernel("# CONFIG_IOMMUFD is not set\nCONFIG_IOMMUFD_DRIVER=y\n");
        assert!(check.found.contains("built without"), "{check:?}");
        assert!(!check.advice.contains("modprobe"), "{check:?}");
        let check = kernel("CONFIG_IOMMUFD=m\n");
        assert!(check.advice.contains("modprobe iommufd"), "{check:?}");
        let check = bare.with("dev/iommu", "").system().iommufd();
        let wanted = if cards::IOMMUFD {
            State::Ok
        } else {
            State::Missing
        };
        assert_eq!(check.state, wanted);
        assert!(check.found.starts_with("present"), "{check:?}");
        assert_eq!(check.advice.contains("--features iommufd"), !cards::IOMMUFD);
    }

    #[test]
    fn iommu_and_vfio_in_each_state() {
        let bare = Machine::new();
        assert_eq!(bare.system().iommu().state, State::Missing);
        assert_eq!(bare.system().vfio().state, State::Missing);
        let ready = bare
            .with("sys/kernel/iommu_groups/0/type", "")
            .with("sys/bus/pci/drivers/vfio-pci/new_id", "");
        assert_eq!(ready.system().iommu().state, State::Ok);
        assert!(ready.system().vfio().found.contains("no card"));
        let bound = ready.with("sys/bus/pci/drivers/vfio-pci/0000:02:00.0/vendor", "");
        assert!(bound.system().vfio().found.contains("0000:02:00.0"));
    }

    #[test]
    fn names_and_contents_control_no_terminal_and_make_no_lines() {
        let limit = "Max locked memory         \x1b[31m\u{9b}31m    bytes\n";
        let machine = Machine::new()
            .with("proc/self/limits", limit)
            .with("sys/bus/pci/drivers/vfio-pci/\x1b]0;a:\nok/vendor", "");
        let system = machine.system();
        for (check, shown) in [
            (system.vfio(), "bound: \u{fffd}]0;a: ok"),
            (system.locked_memory(), "`\u{fffd}[31m\u{fffd}31m`"),
        ] {
            let advice = usize::from(!check.advice.is_empty());
            let text = check.text(9);
            assert!(text.contains(shown), "{text:?}");
            assert_eq!(text.lines().count(), 1 + advice, "{text:?}");
        }
    }

    #[test]
    fn no_more_is_read_of_a_file_than_is_looked_into() {
        let machine = Machine::new().with("proc/cpuinfo", "flags: avx2 bmi2\n");
        let path = machine.0.path().join("proc/cpuinfo");
        let file = std::fs::File::options().append(true).open(path);
        file.unwrap().set_len(3 * MOST_READ).unwrap();
        let read = machine.system().read("/proc/cpuinfo").unwrap();
        assert_eq!(read.len() as u64, MOST_READ);
        assert_eq!(machine.system().processor().found, "AVX2");
    }
}
