//! One boot of the machine, within a time.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::card::Card;
use super::failed;
use super::packages::Packages;
use crate::step::within;

/// The machine's memory. Cards reach it, so it is a file that can be shared.
const MEMORY: &str = "512M";

/// Pages of 2 MiB that are set aside of it.
const HUGE_PAGES: u64 = 64;

/// The place of the first card on its bus; the others follow.
const FIRST_SLOT: usize = 0x04;

/// Boots the machine with cards, and waits until it has switched itself off, as long as it may. All that it prints
/// goes to the log.
pub(super) fn boot(
    packages: &Packages,
    kernel: &Path,
    image: &Path,
    variables: &[String],
    cards: &[Card],
    log: &Path,
    limit: Duration,
) -> Result<(), String> {
    let mut qemu = qemu(packages);
    let memory = format!("memory-backend-memfd,id=mem,size={MEMORY},share=on");
    qemu.args(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot"])
        .args(["-serial", "stdio"])
        // Interrupts of an emulated IOMMU need the split of the interrupt controller.
        .args([
            "-machine",
            "q35,accel=tcg,kernel-irqchip=split,memory-backend=mem,vmport=off,hpet=off",
        ])
        .args(["-cpu", "max", "-smp", "1", "-m", MEMORY])
        .args(["-object", &memory])
        .args(["-device", "intel-iommu,intremap=on,caching-mode=on"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(image)
        .args(["-append", &kernel_line(variables)]);
    for (card, slot) in cards.iter().zip(FIRST_SLOT..) {
        let socket = serde_json::json!({"type": "unix", "path": card.socket()});
        let device = serde_json::json!({
            "driver": "vfio-user-pci",
            "socket": socket,
            "addr": format!("{slot:#x}"),
        });
        qemu.args(["-device", &device.to_string()]);
    }
    let output = File::create(log).map_err(failed(log))?;
    let errors = output.try_clone().map_err(failed(log))?;
    qemu.stdin(Stdio::null()).stdout(output).stderr(errors);
    let ended = qemu.spawn().and_then(|machine| within(machine, limit));
    match ended {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(format!("QEMU ended with {status}")),
        Ok(None) => Err(format!("the machine was not done after {limit:.0?}")),
        Err(error) => Err(format!("{qemu:?}: {error}")),
    }
}

/// Debian's QEMU from the folder that it was unpacked in, with the C library it was built for,
/// whatever this machine's is.
fn qemu(packages: &Packages) -> Command {
    let root = packages.root();
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let mut qemu = Command::new(root.join("usr/lib64/ld-linux-x86-64.so.2"));
    qemu.arg("--library-path")
        .arg(&libraries)
        .arg(root.join("usr/bin/qemu-system-x86_64"))
        .arg("-L")
        .arg(root.join("usr/share/qemu"))
        .arg("-L")
        .arg(root.join("usr/share/seabios"))
        .env("QEMU_MODULE_DIR", libraries.join("qemu"));
    qemu
}

/// The kernel's command line. What it does not know itself becomes a variable of the first process.
fn kernel_line(variables: &[String]) -> String {
    // The timer's check fails now and then on an emulated processor that others slow down. A panic
    // ends the machine.
    let kernel = "console=ttyS0 intel_iommu=on iommu=nopt panic=-1 no_timer_check loglevel=4";
    format!("{kernel} hugepages={HUGE_PAGES} {}", variables.join(" "))
}
