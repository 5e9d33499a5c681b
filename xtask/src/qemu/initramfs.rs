//! What the machine boots into: an archive of a shell, modules of the kernel, and programs.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::Command;

use cpio::newc::{self, Builder};

use super::failed;
use super::packages::Packages;

/// The first process.
const INIT: &str = include_str!("init.sh");

/// Modules that `init.sh` loads, each below those that need it.
const MODULES: [&str; 5] = [
    "virt/lib/irqbypass",
    "drivers/vfio/vfio",
    "drivers/vfio/vfio_iommu_type1",
    "drivers/vfio/pci/vfio-pci-core",
    "drivers/vfio/pci/vfio-pci",
];

// Modes of files in the archive, with their type.
const DIRECTORY: u32 = 0o040_755;
pub(super) const PROGRAM: u32 = 0o100_755;
const DATA: u32 = 0o100_644;

/// The folder of the libraries, in which the loader looks, too.
pub(super) const LIBRARIES: &str = "lib64";

/// A file of the archive: its name, its mode, and what it holds.
pub(super) type File = (String, u32, Vec<u8>);

/// Writes the archive. It is not compressed: to unpack it would take the machine longer than to
/// read it.
pub(super) fn write(
    to: &Path,
    packages: &Packages,
    with_modules: bool,
    programs: &[File],
) -> Result<(), String> {
    let mut files = vec![
        ("init".to_owned(), PROGRAM, INIT.as_bytes().to_vec()),
        (
            "bin/busybox".to_owned(),
            PROGRAM,
            read(&packages.busybox())?,
        ),
    ];
    files.extend_from_slice(programs);
    for module in MODULES.iter().filter(|_| with_modules) {
        let name = module.rsplit('/').next().unwrap_or(module);
        let text = unpacked(packages, &packages.module(module)?)?;
        files.push((format!("modules/{name}.ko"), DATA, text));
    }
    archive(to, &files).map_err(failed(to))
}

fn archive(to: &Path, files: &[File]) -> io::Result<()> {
    let mut out = BufWriter::new(fs::File::create(to)?);
    let directories = ["bin", LIBRARIES, "modules", "proc", "sys", "dev"];
    let directories = directories.map(|name| (name.to_owned(), DIRECTORY, Vec::new()));
    for ((name, mode, text), number) in directories.iter().chain(files).zip(1..) {
        let len = u32::try_from(text.len()).map_err(io::Error::other)?;
        // Without a number of its own, each file would be a link to the one before.
        let mut entry = Builder::new(name).ino(number).mode(*mode).write(out, len);
        entry.write_all(text)?;
        out = entry.finish()?;
    }
    newc::trailer(out)?.flush()
}

/// A module as the kernel loads it: Debian compresses them.
fn unpacked(packages: &Packages, module: &Path) -> Result<Vec<u8>, String> {
    let mut unpack = Command::new(packages.busybox());
    unpack.args(["unxz", "-c"]).arg(module);
    let out = unpack
        .output()
        .map_err(|error| format!("{unpack:?}: {error}"))?;
    match out.status.success() && !out.stdout.is_empty() {
        true => Ok(out.stdout),
        false => Err(format!(
            "{unpack:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        )),
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(failed(path))
}
