//! Cards on the PCI bus, and what keeps one from being opened, as the kernel's files tell.

use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;

/// Ids of section 2 of docs/CARD.md: vendor, device.
const EXPERIMENTAL: [u16; 2] = [0x1AF4, 0x10F5];

/// The signature capability: its id, and what it holds from offset 4 on.
const VENDOR_SPECIFIC: u8 = 0x09;
const SIGNATURE: &[u8; 4] = b"UNLD";

/// Where configuration space has the first capability, and the place below which none can be.
const FIRST_CAPABILITY: usize = 0x34;
const CAPABILITIES: usize = 0x40;

/// Bytes of configuration space in which capabilities are. Users other than root see 64 of them.
const WHOLE: usize = 256;

/// Where the class code is, and that of cards: subclass and class, for a processing accelerator.
const CLASS: usize = 0x0A;
const ACCELERATOR: [u8; 2] = [0x00, 0x12];

/// Configuration space of a virtual function's physical function, from the folder of the first.
const PHYSICAL: &str = "physfn/config";

/// iommufd, and where functions have files of their own; the latter's names are those of this folder's
/// entries.
const IOMMUFD: &str = "dev/iommu";
const OWN_FILES: &str = "dev/vfio/devices";
const OWN_NAMES: &str = "vfio-dev";

const DEVICES: &str = "sys/bus/pci/devices";
const VFIO: &str = "vfio-pci";

/// A card on the PCI bus.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PciCard {
    /// Its address, as `0000:3b:00.0`: what `dpu:` takes.
    pub address: String,
    /// Whether it is one for certain. Where this user sees too little of its configuration space to
    /// tell, it only may be: root sees whether it is.
    pub certain: bool,
    /// The node of memory that it is nearest to, where the machine has several.
    pub numa_node: Option<u32>,
    /// What has to be done before it can be opened by its group, as `dpu:` and its address, in this
    /// order. Nothing, and it may still be in use.
    pub obstacles: Vec<Obstacle>,
    /// The same of iommufd and the function's own file, as `dpu:iommufd:` and its address; `None` where
    /// the kernel has no iommufd. A build without feature `iommufd` does not go that way.
    pub iommufd: Option<Vec<Obstacle>>,
}

/// Something that keeps a card from being opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// It is in no IOMMU group: the IOMMU is off.
    NoGroup,
    /// Another driver has it, or none.
    Driver {
        /// The card's address.
        address: String,
        /// Who has it.
        driver: Option<String>,
    },
    /// Others of its IOMMU group are not handed over, and VFIO hands over whole groups.
    Group {
        /// The group.
        group: u32,
        /// Addresses of the others, each with the driver that has it.
        others: Vec<(String, String)>,
    },
    /// This user may not open a file that has to be opened.
    Permission {
        /// The file.
        file: PathBuf,
    },
    /// The kernel gives functions no files of their own, which iommufd needs.
    NoOwnFile,
    /// The group has no file: the kernel's VFIO does not know it yet.
    NoFile {
        /// The file that is missing.
        file: PathBuf,
    },
}

impl Obstacle {
    /// The commands, to be run by root, that remove it; in words where no command does.
    pub fn advice(&self) -> String {
        match self {
            Obstacle::NoGroup => "enable VT-d or AMD-Vi in the firmware, and intel_iommu=on on \
                                  Intel's kernel command line"
                .to_owned(),
            Obstacle::Driver { address, driver } => {
                let folder = format!("/sys/bus/pci/devices/{address}");
                let unbind = match driver {
                    Some(_) => format!("echo {address} > {folder}/driver/unbind; "),
                    None => String::new(),
                };
                format!(
                    "modprobe vfio-pci; echo vfio-pci > {folder}/driver_override; {unbind}echo \
                     {address} > /sys/bus/pci/drivers_probe"
                )
            }
            Obstacle::Group { others, .. } => {
                let unbind = others.iter().map(|(address, _)| {
                    format!("echo {address} > /sys/bus/pci/devices/{address}/driver/unbind")
                });
                format!(
                    "if you can do without them: {}; else put the card into a slot of its own group",
                    unbind.collect::<Vec<_>>().join("; ")
                )
            }
            Obstacle::Permission { file } => {
                format!(
                    "chown USER {0}, or chgrp and chmod g+rw {0}",
                    file.display()
                )
            }
            Obstacle::NoOwnFile => {
                "the kernel needs CONFIG_VFIO_DEVICE_CDEV; without it the card is \
                                    opened by its group, as `dpu:` with its address alone"
                    .to_owned()
            }
            Obstacle::NoFile { .. } => "modprobe vfio-pci, and bind the card again".to_owned(),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::NoGroup => f.write_str("the IOMMU is off"),
            Obstacle::Driver { driver, .. } => match driver {
                Some(driver) => write!(f, "driver {driver} has it, not vfio-pci"),
                None => f.write_str("no driver has it, and vfio-pci has to"),
            },
            Obstacle::Group { group, others } => {
                let others = others
                    .iter()
                    .map(|(address, driver)| format!("{address} (driver {driver})"));
                let others = others.collect::<Vec<_>>().join(", ");
                write!(f, "its IOMMU group {group} also holds {others}")
            }
            Obstacle::Permission { file } => {
                write!(f, "this user may not open {}", file.display())
            }
            Obstacle::NoOwnFile => f.write_str("the kernel gives it no file of its own"),
            Obstacle::NoFile { file } => write!(f, "there is no {}", file.display()),
        }
    }
}

/// The cards on the bus of the machine whose file system begins at `root`, by address.
///
/// A card is told by the ids that experiments use, or by its signature, which only root sees. A virtual
/// function shows no ids of its own: it is a card where its physical function is one. For other users, whatever may have one is listed as not certain: processing accelerators, and what is
/// bound to vfio-pci.
///
/// ```
/// use std::path::Path;
///
/// for card in unlade_dpu::find_cards(Path::new("/")) {
///     println!("{}", card.address);
///     for obstacle in card.obstacles {
///         println!("    {obstacle}: {}", obstacle.advice());
///     }
/// }
/// ```
pub fn find_cards(root: &Path) -> Vec<PciCard> {
    let devices = root.join(DEVICES);
    let addresses = entries(&devices).into_iter();
    let addresses = addresses.filter(|name| is_address(name));
    let cards = addresses.filter_map(|address| {
        let folder = devices.join(&address);
        let config = read(&folder.join("config"))?;
        let physical = || read(&folder.join(PHYSICAL));
        let certain = is_card(&config) || physical().is_some_and(|config| is_card(&config));
        (certain || may_be_card(&config, &folder)).then(|| look(root, address, certain))
    });
    cards.collect()
}

fn look(root: &Path, address: String, certain: bool) -> PciCard {
    let folder = root.join(DEVICES).join(&address);
    let numa_node = read(&folder.join("numa_node"));
    let numa_node = numa_node.and_then(|text| String::from_utf8(text).ok());
    let mut obstacles = Vec::new();
    let group = linked_name(&folder.join("iommu_group")).and_then(|name| name.parse().ok());
    let driver = linked_name(&folder.join("driver"));
    if group.is_none() {
        obstacles.push(Obstacle::NoGroup);
    }
    let bound = driver.as_deref() == Some(VFIO);
    if !bound {
        obstacles.push(Obstacle::Driver {
            address: address.clone(),
            driver,
        });
    }
    if let Some(group) = group {
        obstacles.extend(mates(&folder, &address, group));
    }
    let iommufd = root.join(IOMMUFD).exists().then(|| {
        let own = bound.then(|| own_files(root, &folder));
        let own = own.into_iter().flatten();
        obstacles.iter().cloned().chain(own).collect()
    });
    if let Some(group) = group.filter(|_| bound) {
        obstacles.extend(blocked(root, Path::new("dev/vfio").join(group.to_string())));
    }
    PciCard {
        // Without several nodes it says -1.
        numa_node: numa_node.and_then(|text| text.trim().parse().ok()),
        address,
        certain,
        obstacles,
        iommufd,
    }
}

/// Others of the card's group that a driver of the kernel has. Bridges may stay as they are.
fn mates(folder: &Path, address: &str, group: u32) -> Option<Obstacle> {
    const HARMLESS: [&str; 3] = [VFIO, "pci-stub", "pcieport"];
    let devices = folder.join("iommu_group/devices");
    let others = entries(&devices).into_iter();
    let others = others.filter(|other| other != address && is_address(other));
    let others = others.filter_map(|other| {
        let driver = linked_name(&devices.join(&other).join("driver"))?;
        (!HARMLESS.contains(&driver.as_str())).then_some((other, driver))
    });
    let others: Vec<(String, String)> = others.collect();
    (!others.is_empty()).then_some(Obstacle::Group { group, others })
}

/// What keeps a function from being opened by its own file, once it is bound.
fn own_files(root: &Path, folder: &Path) -> Vec<Obstacle> {
    let names = entries(&folder.join(OWN_NAMES)).into_iter();
    let own: Vec<PathBuf> = names.map(|name| Path::new(OWN_FILES).join(name)).collect();
    if own.is_empty() {
        return vec![Obstacle::NoOwnFile];
    }
    let files = [PathBuf::from(IOMMUFD)].into_iter().chain(own);
    files.filter_map(|file| blocked(root, file)).collect()
}

/// Whether a file can be opened; the name is the one on the machine itself.
fn blocked(root: &Path, file: PathBuf) -> Option<Obstacle> {
    let found = access(root.join(&file), Access::READ_OK | Access::WRITE_OK);
    let file = Path::new("/").join(file);
    match found {
        Ok(()) => None,
        Err(Errno::NOENT) => Some(Obstacle::NoFile { file }),
        Err(_) => Some(Obstacle::Permission { file }),
    }
}

/// Whether configuration space is a card's.
fn is_card(config: &[u8]) -> bool {
    let ids: Vec<u16> = config
        .chunks_exact(2)
        .take(EXPERIMENTAL.len())
        .map(|id| u16::from_le_bytes([id[0], id[1]]))
        .collect();
    ids == EXPERIMENTAL || has_signature(config)
}

/// Whether a function, which has not shown that it is a card, may be one by what is seen of it.
fn may_be_card(config: &[u8], folder: &Path) -> bool {
    let is_hidden = config.len() < WHOLE && config.get(FIRST_CAPABILITY).is_some_and(|at| *at > 0);
    let is_accelerator = config
        .get(CLASS..)
        .is_some_and(|rest| rest.starts_with(&ACCELERATOR));
    let is_handed_over = || linked_name(&folder.join("driver")).as_deref() == Some(VFIO);
    is_hidden && (is_accelerator || is_handed_over())
}

fn has_signature(config: &[u8]) -> bool {
    let mut at = config.get(FIRST_CAPABILITY).copied().unwrap_or(0);
    // As many as fit: a list that is longer goes in circles.
    for _ in 0..config.len() / size_of::<u32>() {
        // The two lowest bits are reserved.
        let place = usize::from(at & !3);
        if place < CAPABILITIES {
            return false;
        }
        let Some(capability) = config.get(place..place + 8) else {
            return false;
        };
        if capability[0] == VENDOR_SPECIFIC && &capability[4..] == SIGNATURE {
            return true;
        }
        at = capability[1];
    }
    false
}

/// Whether a name is an address of PCI, as `0000:3b:00.0`: they stand in commands for root.
fn is_address(name: &str) -> bool {
    let mut digits = name.chars();
    let hex = |digits: &mut std::str::Chars<'_>, count| {
        digits
            .by_ref()
            .take(count)
            .filter(char::is_ascii_hexdigit)
            .count()
            == count
    };
    // A domain has four digits at least.
    let domain = name.find(':').unwrap_or(0);
    (4..=8).contains(&domain)
        && hex(&mut digits, domain)
        && digits.next() == Some(':')
        && hex(&mut digits, 2)
        && digits.next() == Some(':')
        && hex(&mut digits, 2)
        && digits.next() == Some('.')
        && digits
            .next()
            .is_some_and(|digit| ('0'..='7').contains(&digit))
        && digits.next().is_none()
}

/// The start of a file: all of it, of what the kernel has there. Nothing else is opened, which could
/// wait for somebody, or have no end.
fn read(file: &Path) -> Option<Vec<u8>> {
    const MOST: u64 = 4096;
    fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
    let mut read = Vec::new();
    fs::File::open(file)
        .ok()?
        .take(MOST)
        .read_to_end(&mut read)
        .ok()?;
    Some(read)
}

/// The last part of what a link points to, fit to be shown.
fn linked_name(link: &Path) -> Option<String> {
    let target = fs::read_link(link).ok()?;
    let name = target.file_name()?.to_string_lossy().into_owned();
    let shown = |character: char| match character.is_control() {
        true => char::REPLACEMENT_CHARACTER,
        false => character,
    };
    Some(name.chars().map(shown).collect())
}

fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::vectors::Vector;

    /// A function of other ids is a card by this capability, and by no other.
    pub(crate) fn reads(vector: &Vector) {
        let mut config = vec![0; 256];
        config[..4].copy_from_slice(&[0x34, 0x12, 1, 0]);
        config[FIRST_CAPABILITY] = 0x50;
        config[0x50..][..vector.hex.len()].copy_from_slice(&vector.hex);
        assert!(is_card(&config), "{}", vector.name);
        for byte in [0, 4, 5, 6, 7] {
            let mut other = config.clone();
            other[0x50 + byte] ^= 1;
            assert!(!is_card(&other), "{}: byte {byte}", vector.name);
        }
    }

    const ADDRESS: &str = "0000:3b:00.0";

    /// A machine made of files, with one card.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            let machine = Machine(tempfile::tempdir().unwrap());
            machine.device(ADDRESS, &[0xF4, 0x1A, 0xF5, 0x10]);
            machine
        }

        fn device(&self, address: &str, config: &[u8]) {
            let folder = self.0.path().join(DEVICES).join(address);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("config"), config).unwrap();
        }

        fn link(&self, address: &str, name: &str, target: &str) {
            let link = self.0.path().join(DEVICES).join(address).join(name);
            let _none_before = fs::remove_file(&link);
            symlink(target, link).unwrap();
        }

        /// Puts devices into a group.
        fn group(&self, group: u32, members: &[&str]) {
            let folder = self
                .0
                .path()
                .join(format!("sys/kernel/iommu_groups/{group}"));
            fs::create_dir_all(folder.join("devices")).unwrap();
            for member in members {
                self.link(member, "iommu_group", folder.to_str().unwrap());
                let device = self.0.path().join(DEVICES).join(member);
                symlink(device, folder.join("devices").join(member)).unwrap();
            }
        }

        fn card(&self) -> PciCard {
            let found = find_cards(self.0.path());
            assert_eq!(found.len(), 1, "{found:?}");
            found.into_iter().next().unwrap()
        }
    }

    #[test]
    fn each_obstacle_is_seen_until_it_is_gone() {
        let machine = Machine::new();
        let unbound = Obstacle::Driver {
            address: ADDRESS.to_owned(),
            driver: None,
        };
        assert_eq!(
            machine.card().obstacles,
            [Obstacle::NoGroup, unbound.clone()]
        );

        machine.device("0000:3b:00.1", &[0x86, 0x80, 0, 0]);
        machine.link("0000:3b:00.1", "driver", "../drivers/e1000e");
        machine.group(7, &[ADDRESS, "0000:3b:00.1"]);
        let mate = Obstacle::Group {
            group: 7,
            others: vec![("0000:3b:00.1".to_owned(), "e1000e".to_owned())],
        };
        assert_eq!(machine.card().obstacles, [unbound, mate.clone()]);
        assert!(mate.to_string().contains("0000:3b:00.1 (driver e1000e)"));
        assert!(mate.advice().contains("0000:3b:00.1/driver/unbind"));

        machine.link("0000:3b:00.1", "driver", "../drivers/pcieport");
        machine.link(ADDRESS, "driver", "../drivers/nvme");
        let taken = &machine.card().obstacles[..];
        assert!(
            matches!(taken, [Obstacle::Driver { driver: Some(driver), .. }] if driver == "nvme"),
            "{taken:?}"
        );
        let advice = taken[0].advice();
        let unbind = format!("echo {ADDRESS} > /sys/bus/pci/devices/{ADDRESS}/driver/unbind");
        assert!(advice.contains(&unbind), "{advice}");

        machine.link(ADDRESS, "driver", "../drivers/vfio-pci");
        let file = PathBuf::from("/dev/vfio/7");
        assert_eq!(machine.card().obstacles, [Obstacle::NoFile { file }]);

        fs::create_dir_all(machine.0.path().join("dev/vfio")).unwrap();
        fs::write(machine.0.path().join("dev/vfio/7"), "").unwrap();
        assert_eq!(machine.card().obstacles, []);
    }

    #[test]
    fn iommufd_is_another_way_with_obstacles_of_its_own() {
        let machine = Machine::new();
        assert_eq!(machine.card().iommufd, None, "a kernel without");
        let folder = machine.0.path().join(DEVICES).join(ADDRESS);
        let files = machine.0.path().join(OWN_FILES);
        fs::create_dir_all(&files).unwrap();
        fs::write(machine.0.path().join(IOMMUFD), "").unwrap();
        let card = machine.card();
        assert_eq!(
            card.iommufd,
            Some(card.obstacles),
            "neither bound nor grouped"
        );

        machine.group(7, &[ADDRESS]);
        machine.link(ADDRESS, "driver", "../drivers/vfio-pci");
        assert_eq!(machine.card().iommufd, Some(vec![Obstacle::NoOwnFile]));
        assert!(
            Obstacle::NoOwnFile
                .advice()
                .contains("CONFIG_VFIO_DEVICE_CDEV")
        );
        fs::create_dir_all(folder.join(OWN_NAMES).join("vfio3")).unwrap();
        let missing = Obstacle::NoFile {
            file: "/dev/vfio/devices/vfio3".into(),
        };
        assert_eq!(machine.card().iommufd, Some(vec![missing]));
        fs::write(files.join("vfio3"), "").unwrap();
        let card = machine.card();
        // Of the group there is no file, which this way does not need.
        let file = PathBuf::from("/dev/vfio/7");
        assert_eq!(card.obstacles, [Obstacle::NoFile { file }]);
        assert_eq!(card.iommufd, Some(Vec::new()));
    }

    /// Root may open everything, so that this is of others alone.
    #[test]
    fn files_that_this_user_may_not_open_are_named() {
        use std::os::unix::fs::PermissionsExt;

        let machine = Machine::new();
        machine.group(7, &[ADDRESS]);
        machine.link(ADDRESS, "driver", "../drivers/vfio-pci");
        let folder = machine.0.path().join(DEVICES).join(ADDRESS);
        fs::create_dir_all(folder.join(OWN_NAMES).join("vfio3")).unwrap();
        fs::create_dir_all(machine.0.path().join(OWN_FILES)).unwrap();
        let names = ["dev/vfio/7", IOMMUFD, "dev/vfio/devices/vfio3"];
        for name in names {
            let file = machine.0.path().join(name);
            fs::write(&file, "").unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o000)).unwrap();
        }
        let denied = |names: &[&str]| -> Vec<Obstacle> {
            let denied = names
                .iter()
                .filter(|_| !rustix::process::geteuid().is_root());
            let file = |name: &&str| Path::new("/").join(name);
            denied
                .map(|name| Obstacle::Permission { file: file(name) })
                .collect()
        };
        let card = machine.card();
        assert_eq!(card.obstacles, denied(&names[..1]));
        assert_eq!(card.iommufd, Some(denied(&names[1..])));
    }

    #[test]
    fn a_card_is_told_by_its_ids_or_its_signature() {
        let mut config = vec![0; 256];
        config[..4].copy_from_slice(&[0x34, 0x12, 1, 0]);
        assert!(!is_card(&config));
        config[FIRST_CAPABILITY] = 0x50;
        config[0x50..0x52].copy_from_slice(&[0x05, 0x60]);
        config[0x60..0x68].copy_from_slice(b"\x09\x00\x10\x01UNLD");
        assert!(is_card(&config));
        assert!(!is_card(&config[..64]), "a user sees the ids alone");
        config[0x61] = 0x50;
        config[0x64] = b'X';
        assert!(!is_card(&config), "a list that goes in circles ends");
        assert!(is_card(&[0xF4, 0x1A, 0xF5, 0x10]));
        assert!(!is_card(&[]));
    }

    /// PCI Express has virtual functions read all ones for their ids.
    #[test]
    fn a_virtual_function_is_told_by_its_physical_one() {
        const VIRTUAL: &str = "0000:3b:00.1";
        let mut config = [0; 64];
        config[..4].fill(0xFF);
        let of = |physical: &[u8]| {
            let machine = Machine(tempfile::tempdir().unwrap());
            machine.device(ADDRESS, physical);
            machine.device(VIRTUAL, &config);
            machine.link(VIRTUAL, "physfn", &format!("../{ADDRESS}"));
            let found = find_cards(machine.0.path()).into_iter();
            let found = found.map(|card| (card.address, card.certain));
            found.collect::<Vec<_>>()
        };
        let both = [ADDRESS, VIRTUAL].map(|address| (address.to_owned(), true));
        assert_eq!(of(&[0xF4, 0x1A, 0xF5, 0x10]), both);
        assert_eq!(of(&[0x86, 0x80, 0, 0]), [], "of a network card");
        let machine = Machine(tempfile::tempdir().unwrap());
        machine.device(VIRTUAL, &config);
        assert_eq!(find_cards(machine.0.path()), [], "of nothing");
    }

    #[test]
    fn what_may_be_a_card_is_listed_as_such_to_who_cannot_tell() {
        const OTHER: &str = "0000:4c:00.0";
        let listed = |config: &[u8], driver: &str| {
            let machine = Machine(tempfile::tempdir().unwrap());
            machine.device(OTHER, config);
            machine.link(OTHER, "driver", driver);
            let found = find_cards(machine.0.path());
            found.first().map(|card| card.certain)
        };
        let (vfio, nvme) = ("../drivers/vfio-pci", "../drivers/nvme");
        let mut config = vec![0; 256];
        config[..4].copy_from_slice(&[0x34, 0x12, 1, 0]);
        config[FIRST_CAPABILITY] = 0x50;
        assert_eq!(listed(&config[..64], nvme), None, "any other function");
        assert_eq!(listed(&config[..64], vfio), Some(false));
        config[CLASS..CLASS + 2].copy_from_slice(&ACCELERATOR);
        assert_eq!(listed(&config[..64], nvme), Some(false));
        assert_eq!(listed(&config, vfio), None, "root sees that it is none");
        config[0x50..0x58].copy_from_slice(b"\x09\x00\x10\x01UNLD");
        assert_eq!(listed(&config, nvme), Some(true));
        config[FIRST_CAPABILITY] = 0;
        assert_eq!(listed(&config[..64], vfio), None, "without capabilities");
        assert_eq!(listed(&[0xF4, 0x1A, 0xF5, 0x10], nvme), Some(true));
    }

    #[test]
    fn the_node_is_that_of_the_kernel() {
        let machine = Machine::new();
        let node = machine
            .0
            .path()
            .join(DEVICES)
            .join(ADDRESS)
            .join("numa_node");
        assert_eq!(machine.card().numa_node, None);
        fs::write(&node, "-1\n").unwrap();
        assert_eq!(machine.card().numa_node, None);
        fs::write(&node, "1\n").unwrap();
        assert_eq!(machine.card().numa_node, Some(1));
    }

    #[test]
    fn a_machine_without_a_bus_has_no_cards() {
        assert_eq!(find_cards(Path::new("/nowhere")), []);
    }

    #[test]
    fn what_no_kernel_has_there_is_passed_over() {
        let machine = Machine::new();
        let card = [0xF4, 0x1A, 0xF5, 0x10];
        for name in ["$(touch pwned)", "0000:3b:00.9", "3b:00.0", "0000:3b:00.0x"] {
            machine.device(name, &card);
        }
        machine.device("0000:3c:00.0", &card);
        let config = machine.0.path().join(DEVICES).join("0000:3c:00.0/config");
        for kind in ["pipe", "without end"] {
            fs::remove_file(&config).unwrap();
            match kind {
                "pipe" => rustix::fs::mknodat(
                    rustix::fs::CWD,
                    &config,
                    rustix::fs::FileType::Fifo,
                    rustix::fs::Mode::RUSR,
                    0,
                )
                .unwrap(),
                _ => symlink("/dev/zero", &config).unwrap(),
            }
            let found = find_cards(machine.0.path());
            let addresses: Vec<&str> = found.iter().map(|card| &*card.address).collect();
            assert_eq!(addresses, [ADDRESS], "{kind}");
        }
        machine.link(ADDRESS, "driver", "../drivers/\u{1b}[5mvfio");
        let obstacles = &find_cards(machine.0.path())[0].obstacles;
        let told = obstacles
            .iter()
            .map(Obstacle::to_string)
            .collect::<String>();
        assert!(
            told.contains("vfio") && !told.contains('\u{1b}'),
            "{told:?}"
        );
    }
}
