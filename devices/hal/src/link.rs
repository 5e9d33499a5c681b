//! Which devices share a way to the host.

use std::path::{Component, Path};

/// The root port below which a PCI device is, by address (`0000:3a:00.0`); devices below one share
/// its link to the host. `None` for a device that is on the root complex itself, that does not exist,
/// or that this system does not tell about.
///
/// The kernel has each device in a folder within that of the bridge above it, and a link to the folder
/// in `/sys/bus/pci/devices`.
pub fn root_port(address: &str) -> Option<String> {
    root_port_in(Path::new("/sys"), address)
}

fn root_port_in(sysfs: &Path, address: &str) -> Option<String> {
    if address.contains('/') {
        return None;
    }
    let device = sysfs.join("bus/pci/devices").join(address);
    let folder = device.canonicalize().ok()?;
    let mut names = folder.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    // The root complex, `pci0000:3a`; what is below it may be the device itself.
    names.find(|name| name.starts_with("pci") && name.contains(':'))?;
    let port = names.next()?;
    names.next().map(|_below| port.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn devices_below_one_root_port_share_it() {
        let sysfs = tempfile::tempdir().unwrap();
        let bus = sysfs.path().join("bus/pci/devices");
        fs::create_dir_all(&bus).unwrap();
        let below = [
            "0000:3a:00.0/0000:3b:00.0/0000:3c:00.0/0000:3d:00.0",
            "0000:3a:00.0/0000:3b:00.0/0000:3c:01.0/0000:3e:00.0",
            "0000:3a:02.0/0000:40:00.0",
            "0000:3a:04.0",
        ];
        for place in below {
            let folder = sysfs.path().join("devices/pci0000:3a").join(place);
            fs::create_dir_all(&folder).unwrap();
            symlink(&folder, bus.join(folder.file_name().unwrap())).unwrap();
        }
        let port = |address| root_port_in(sysfs.path(), address);
        let first = Some("0000:3a:00.0".to_owned());
        assert_eq!(port("0000:3d:00.0"), first);
        assert_eq!(port("0000:3e:00.0"), first);
        assert_eq!(port("0000:40:00.0").as_deref(), Some("0000:3a:02.0"));
        assert_eq!(port("0000:3a:04.0"), None, "on the root complex");
        assert_eq!(port("0000:99:00.0"), None, "there is none");
        assert_eq!(port("/run/card.sock"), None, "no address of PCI");
    }
}
