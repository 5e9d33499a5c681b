//! What `unlade devices` and `unlade doctor` say of cards on the PCI bus, of a machine made of files.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::support::Place;

const ADDRESS: &str = "0000:3b:00.0";

/// A machine with one card, which has the ids of experiments, and a network card beside it.
fn machine() -> Place {
    let place = Place::new();
    let devices = place.path("root/sys/bus/pci/devices");
    for (address, ids) in [
        (ADDRESS, [0xF4, 0x1A, 0xF5, 0x10]),
        ("0000:3c:00.0", [0x86, 0x80, 1, 0]),
    ] {
        fs::create_dir_all(devices.join(address)).unwrap();
        fs::write(devices.join(address).join("config"), ids).unwrap();
    }
    place
}

/// Gives the card a group of its own, whose file there is, and binds it to vfio-pci.
fn set_up(place: &Place) {
    let folder = place.path("root/sys/bus/pci/devices").join(ADDRESS);
    let group = place.path("root/sys/kernel/iommu_groups/7/devices");
    fs::create_dir_all(group.join(ADDRESS)).unwrap();
    symlink(
        "../../../../kernel/iommu_groups/7",
        folder.join("iommu_group"),
    )
    .unwrap();
    symlink("../drivers/vfio-pci", folder.join("driver")).unwrap();
    fs::create_dir_all(place.path("root/dev/vfio")).unwrap();
    fs::write(place.path("root/dev/vfio/7"), "").unwrap();
}

fn unusable(place: &Place) -> Vec<(String, String)> {
    let ran = place.run(&["devices", "--sysroot", "root", "--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    let listed = document["unusable"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    listed
        .map(|card| (text(&card["name"]), text(&card["unusable"])))
        .collect()
}

fn doctor(place: &Place) -> (String, String, String) {
    check(place, "DPU cards")
}

#[test]
fn a_card_that_cannot_be_opened_is_listed_with_why_and_with_what_to_do() {
    let place = machine();
    let name = format!("dpu:{ADDRESS}");
    let [(listed, why)] = &unusable(&place)[..] else {
        panic!("one card is listed")
    };
    assert_eq!(*listed, name);
    assert!(
        why.contains("IOMMU is off") && why.contains("unlade doctor"),
        "{why}"
    );
    let (state, found, advice) = doctor(&place);
    assert_eq!(state, "problem");
    assert!(
        found.contains(ADDRESS) && found.contains("no driver"),
        "{found}"
    );
    assert!(
        advice.contains("intel_iommu=on") && advice.contains("vfio-pci"),
        "{advice}"
    );

    set_up(&place);
    let expected = (name, "of root: not opened".to_owned());
    assert_eq!(unusable(&place), [expected]);
    let (state, found, _) = doctor(&place);
    assert_eq!(
        (state.as_str(), found.as_str()),
        ("ok", "0000:3b:00.0: can be opened")
    );
    // For people, too.
    let ran = place.run(&["devices", "--sysroot", "root"]);
    assert!(ran.out.contains("dpu:0000:3b:00.0: of root"), "{}", ran.out);
}

/// Doctor's check of a name: its state, what was found, and the advice.
fn check(place: &Place, name: &str) -> (String, String, String) {
    let ran = place.run(&["doctor", "--sysroot", "root", "--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    let mut checks = document["checks"].as_array().unwrap().iter();
    let check = checks.find(|check| check["name"] == name).unwrap();
    let text = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
    (text("state"), text("found"), text("advice"))
}

/// By the group or by the function's own file, as the kernel and this build have it.
#[test]
fn iommufd_is_explained_beside_groups() {
    let place = machine();
    set_up(&place);
    let (_, found, _) = check(&place, "iommufd");
    assert!(found.contains("opened by their groups"), "{found}");

    // The kernel has it, and the function a file of its own; that of its group is gone.
    let folder = place.path("root/sys/bus/pci/devices").join(ADDRESS);
    fs::create_dir_all(folder.join("vfio-dev/vfio0")).unwrap();
    fs::create_dir_all(place.path("root/dev/vfio/devices")).unwrap();
    fs::write(place.path("root/dev/iommu"), "").unwrap();
    fs::remove_file(place.path("root/dev/vfio/7")).unwrap();
    let (_, iommufd, advice) = check(&place, "iommufd");
    let (state, cards, _) = doctor(&place);
    assert!(cards.contains("there is no /dev/vfio/7"), "{cards}");
    assert_eq!(state, "problem", "neither way is open");
    fs::write(place.path("root/dev/vfio/devices/vfio0"), "").unwrap();
    let (opened, now, _) = doctor(&place);
    let name = format!("dpu:iommufd:{ADDRESS}");
    match unlade::IOMMUFD {
        true => {
            assert!(iommufd.contains("dpu:iommufd:ADDRESS"), "{iommufd}");
            assert!(cards.contains("through iommufd: there is no /dev/vfio/devices/vfio0"));
            assert_eq!(
                (opened.as_str(), now.contains(&name)),
                ("ok", true),
                "{now}"
            );
            assert_eq!(unusable(&place)[0].0, name);
        }
        false => {
            assert!(advice.contains("--features iommufd"), "{advice}");
            assert_eq!((opened.as_str(), now), ("problem", cards));
        }
    }
}

#[test]
fn what_only_root_can_tell_is_said_with_the_command_for_it() {
    const PERHAPS: &str = "0000:4c:00.0";
    let place = Place::new();
    let folder = place.path("root/sys/bus/pci/devices").join(PERHAPS);
    fs::create_dir_all(&folder).unwrap();
    // A processing accelerator with ids of its own, as far as users other than root see it.
    let mut config = [0; 64];
    config[..4].copy_from_slice(&[0x34, 0x12, 1, 0]);
    config[0x0B] = 0x12;
    config[0x34] = 0x40;
    fs::write(folder.join("config"), config).unwrap();

    let [(name, why)] = &unusable(&place)[..] else {
        panic!("what may be a card is listed")
    };
    assert_eq!(*name, format!("dpu:{PERHAPS}"));
    assert!(
        why.contains("only root can tell") && why.contains("`sudo unlade devices`"),
        "{why}"
    );
    let (state, found, advice) = doctor(&place);
    assert_eq!(state, "missing");
    assert!(
        found.contains("0000:4c:00.0: it may be one, and only root can tell"),
        "{found}"
    );
    assert_eq!(advice, "to have root tell: sudo unlade doctor");
    // Nobody is told to bind what may be no card.
    assert!(!found.contains("no driver"), "{found}");

    // Beside one that is a card for certain, that one's state counts.
    let beside = machine();
    set_up(&beside);
    let folder = beside.path("root/sys/bus/pci/devices").join(PERHAPS);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config"), config).unwrap();
    let (state, found, advice) = doctor(&beside);
    assert_eq!(state, "ok");
    assert!(found.contains("can be opened\n0000:4c:00.0"), "{found}");
    assert!(advice.contains("sudo unlade doctor"), "{advice}");
}
