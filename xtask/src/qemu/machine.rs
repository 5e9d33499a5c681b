//! One boot of the machine, within a time.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::card::Card;
use super::failed;
use super::packages::Packages;
use crate::step::within;

/// The machine's memory, and each half of it. Cards reach it, so it is files that can be shared.
const MEMORY: &str = "512M";
const HALF: &str = "256M";

/// Pages of 2 MiB that are set aside of it.
const HUGE_PAGES: u64 = 64;

/// The place of the first card on its bus; the others follow.
const FIRST_SLOT: usize = 0x04;

/// The bus of a second node, far behind those that the first bus leads to.
const FAR_BUS: &str = "pxb-pcie,id=farbus,bus=pcie.0,bus_nr=64,numa_node=1";

/// The machine's cards.
pub(super) struct Cards<'a> {
    pub(super) cards: &'a [Card],
    /// Whether they are on the bus of a second node, with half of the memory, and none of the processors.
    pub(super) far: bool,
}

/// Boots the machine with cards, and waits until it has switched itself off, as long as it may. All that it prints
/// goes to the log.
pub(super) fn boot(
    packages: &Packages,
    kernel: &Path,
    image: &Path,
    variables: &[String],
    cards: &Cards<'_>,
    log: &Path,
    limit: Duration,
) -> Result<(), String> {
    let mut qemu = qemu(packages);
    let memory =
        |id: &str, size: &str| format!("memory-backend-memfd,id={id},size={size},share=on");
    qemu.args(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot"])
        .args(["-serial", "stdio"])
        // Interrupts of an emulated IOMMU need the split of the interrupt controller.
        .args([
            "-machine",
            "q35,accel=tcg,kernel-irqchip=split,vmport=off,hpet=off",
        ])
        .args(["-cpu", "max", "-smp", "1", "-m", MEMORY])
        .args(["-device", "intel-iommu,intremap=on,caching-mode=on"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(image)
        .args(["-append", &kernel_line(variables)]);
    match cards.far {
        false => qemu
            .args(["-object", &memory("mem", MEMORY)])
            .args(["-machine", "memory-backend=mem"]),
        true => qemu
            .args(["-object", &memory("near", HALF)])
            .args(["-object", &memory("far", HALF)])
            .args(["-numa", "node,nodeid=0,cpus=0,memdev=near"])
            .args(["-numa", "node,nodeid=1,memdev=far"])
            .args(["-device", FAR_BUS]),
    };
    for (card, slot) in cards.cards.iter().zip(FIRST_SLOT..) {
        let socket = serde_json::json!({"type": "unix", "path": card.socket()});
        let mut device = serde_json::json!({"driver": "vfio-user-pci", "socket": socket});
        match cards.far {
            false => device["addr"] = format!("{slot:#x}").into(),
            true => {
                let port = format!("port{slot}");
                let root =
                    format!("pcie-root-port,id={port},bus=farbus,chassis={slot},addr={slot:#x}");
                qemu.args(["-device", &root]);
                device["bus"] = port.into();
            }
        }
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
