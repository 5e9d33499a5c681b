//! Registers, states, resets and interrupts.

use std::fs::File;
use std::io::Read;

use unlade_sim_card::{Card, Config, FaultPlan, InterruptKind, Profile, Region};

use crate::encode::{descriptor, entry, fill, memory, run, with};
use crate::host::{BASE, Host};
use crate::limit::Limit;
use crate::program::Bytecode;

const CSTS: u64 = 0x24;
const FATAL: u32 = 2;
const READY: u32 = 1;
const NOP: u8 = 0x81;

fn host() -> Host {
    Host::new(Config::default())
}

fn event() -> (File, File) {
    let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
    let event = File::from(rustix::event::eventfd(0, flags).unwrap());
    (event.try_clone().unwrap(), event)
}

/// Takes what an event has counted.
fn count(mut event: &File) -> u64 {
    let mut bytes = [0; 8];
    match event.read_exact(&mut bytes) {
        Ok(()) => u64::from_ne_bytes(bytes),
        Err(_) => 0,
    }
}

fn config_u16(card: &Card, offset: u64) -> u16 {
    let mut bytes = [0; 2];
    card.read(Region::Config, offset, &mut bytes).unwrap();
    u16::from_le_bytes(bytes)
}

#[test]
fn fixed_registers() {
    let host = host();
    assert_eq!(host.register(0x00), 0x444C_4E55);
    assert_eq!(host.register(0x04), 0x0001_0000);
    assert_eq!(
        host.register64(0x10),
        0b1101_1111,
        "every feature but coalescing"
    );
    assert_eq!(host.register(0x1000), 0, "doorbells read as 0");
    host.set_register(0x00, 7);
    host.set_register(0x70, 7);
    assert_eq!((host.register(0x00), host.register(0x70)), (0x444C_4E55, 0));
}

#[test]
fn accesses_that_no_register_takes_do_nothing() {
    let host = Host::off(Config::default());
    host.card.write(Region::Bar0, 0x28, &[1, 0]).unwrap();
    host.card.write(Region::Bar0, 0x2A, &[1, 0, 0, 0]).unwrap();
    host.card.write(Region::Bar0, 0x2C, &[1; 8]).unwrap();
    assert_eq!(host.register(0x28), 0);
    let beyond = host.card.read(Region::Bar0, 8190, &mut [0; 4]).unwrap_err();
    assert_eq!(
        beyond.to_string(),
        "4 bytes at 0x1ffe end beyond the 8192 bytes of Bar0"
    );
    assert!(host.card.write(Region::Config, u64::MAX, &[0]).is_err());
}

#[test]
fn bars_do_not_answer_without_memory_space() {
    let host = host();
    host.set_command(0x0004);
    assert_eq!(host.register(0), u32::MAX);
    host.set_register(0x20, 0);
    host.set_command(0x0006);
    assert_eq!(host.register(CSTS), READY);
}

#[test]
fn an_illegal_admin_pair_is_fatal() {
    let legal = (4u32 | 4 << 16, BASE, BASE + 4096);
    let illegal = [
        (4, BASE, BASE),
        (4 | 3 << 16, BASE, BASE),
        (1 | 4 << 16, BASE, BASE),
        (8192 | 4 << 16, BASE, BASE),
        (4 | 4 << 16, BASE + 64, BASE),
        (4 | 4 << 16, BASE, 1 << 48),
    ];
    let mut host = Host::off(Config::default());
    for (aqa, asq, acq) in illegal {
        host.set_register(0x28, aqa);
        host.set_register64(0x30, asq);
        host.set_register64(0x38, acq);
        host.set_register(0x20, 1);
        assert_eq!(
            host.register(CSTS),
            FATAL | 2 << 8,
            "{aqa:#x} {asq:#x} {acq:#x}"
        );
        host.set_register(0x20, 0);
        host.wait_status(0);
    }
    host.set_register(0x28, legal.0);
    // In halves, low before high.
    host.set_register64(0x30, 0);
    host.set_register(0x30, u32::try_from(legal.1).unwrap());
    host.set_register(0x34, 0);
    host.set_register64(0x38, legal.2);
    host.set_register(0x20, 1);
    assert_eq!(host.register(CSTS), READY);
    host.set_register(0x28, 7);
    assert_eq!(
        host.register(0x28),
        legal.0,
        "taken only while the card is off"
    );
    host.set_register(0x20, 0);
    host.wait_status(0);
    assert_eq!(host.register64(0x38), legal.2, "kept by a controller reset");
    host.enable();
}

#[test]
fn illegal_doorbells_are_fatal_and_strange_ones_are_counted() {
    for (doorbell, value) in [(0, 16), (2, 0x1_0000), (3, 16), (3, 1), (1, 7)] {
        let mut host = host();
        host.ring(doorbell, value);
        assert_eq!(
            host.register(CSTS),
            READY | FATAL | 3 << 8,
            "{value} to {doorbell}"
        );
        assert!(host.card.counters().findings[0].contains("illegal value"));
        // Nothing is fetched any more; a reset leaves the state.
        host.submit(entry(NOP));
        host.set_register(0x20, 0);
        host.wait_status(0);
        assert_eq!(host.poll(), None);
        host.enable();
        assert_eq!(host.io(entry(NOP)).status, 0);
    }
    let mut host = host();
    host.ring(20, 3);
    assert_eq!(host.register(CSTS), READY);
    let health = host.read_page(with(entry(0x08), 32, &[1]), 144);
    assert_eq!(health[96..104], 1u64.to_le_bytes());
}

#[test]
fn the_first_owner_wins_and_names_itself() {
    let host = host();
    host.set_register(0x50, 0x6161_6161);
    assert_eq!(host.register(0x50), 0, "no name without an owner");
    host.set_register(0x40, 7);
    host.set_register(0x40, 8);
    assert_eq!(host.register(0x40), 7);
    host.set_register(0x50, 0x6161_6161);
    host.set_register(0x6C, 0x6262_6262);
    assert_eq!(
        (host.register(0x50), host.register(0x6C)),
        (0x6161_6161, 0x6262_6262)
    );
    host.set_register(0x20, 0);
    host.wait_status(0);
    assert_eq!(host.register(0x40), 7, "survives a controller reset");
    host.set_register(0x40, 0);
    assert_eq!((host.register(0x40), host.register(0x50)), (0, 0));
    host.set_register(0x40, 9);
    host.card.reset();
    host.set_command(0x0006);
    assert_eq!(host.register(0x40), 0, "a function level reset clears it");
}

#[test]
fn nothing_moves_while_the_function_is_no_bus_master() {
    let mut host = host();
    let data = host.allocate(4096, 64);
    let job = descriptor(&[fill(7, memory(data, 4096))], 0);
    let job = host.job_entry(&job);
    host.set_command(0x0002);
    let before = host.card.counters();
    let id = host.submit(job);
    host.set_register(0x18, 0);
    assert_eq!(host.poll(), None);
    let after = host.card.counters();
    assert_eq!(
        (before.bus_read, before.bus_written),
        (after.bus_read, after.bus_written)
    );
    // The doorbell was remembered.
    host.set_command(0x0006);
    assert_eq!(host.wait().id, id);
    assert_eq!(host.read(data, 1), [7]);
}

#[test]
fn a_controller_reset_ends_all_work_and_forgets_programs_and_settings() {
    let mut host = host();
    // A time limit that the job below does not reach, however late it is stopped.
    let limit = 60_000u32.to_le_bytes();
    assert_eq!(
        host.admin(with(with(entry(0x06), 32, &[3]), 40, &limit))
            .status,
        0
    );
    host.stop_in_the_middle(&[]);
    host.set_register(0x20, 0);
    host.wait_status(0);
    assert_eq!(host.register(0x20), 0);
    host.set_command(0x0006);
    let quiet = host.card.counters();
    assert_eq!(host.poll(), None);
    let later = host.card.counters();
    assert_eq!(
        (quiet.bus_read, quiet.bus_written),
        (later.bus_read, later.bus_written)
    );
    host.enable();
    assert_eq!(host.admin(with(entry(0x07), 32, &[3])).outcome(), (0, 0, 0));
    let health = host.read_page(with(entry(0x08), 32, &[1]), 144);
    assert_eq!(health[32..56], [0; 24], "the job is not counted as ended");
    assert_eq!(health[112..120], 1u64.to_le_bytes(), "controller resets");
}

#[test]
fn a_function_level_reset_by_configuration_space_is_over_when_the_write_is() {
    let mut host = host();
    host.stop_in_the_middle(&[]);
    // Device control of the PCI Express capability, bit 15.
    host.card
        .write(Region::Config, 0x48, &0x8000u16.to_le_bytes())
        .unwrap();
    let quiet = host.card.counters();
    assert_eq!(config_u16(&host.card, 0x04), 0);
    assert_eq!(config_u16(&host.card, 0x48), 0, "the bit reads as 0");
    host.set_command(0x0006);
    assert_eq!(host.register(CSTS), 0);
    assert_eq!(host.register64(0x30), 0);
    let later = host.card.counters();
    assert_eq!(
        (quiet.bus_read, quiet.bus_written),
        (later.bus_read, later.bus_written)
    );
    host.enable();
    assert_eq!(host.io(entry(NOP)).status, 0);
}

/// Nothing moves here that a reset could stop: the engine itself looks for one.
#[test]
fn a_reset_ends_a_run_that_moves_no_bytes() {
    let mut host = host();
    let nothing = host.load_well(&Bytecode::default().bytes());
    let result = host.allocate(24, 8);
    let endless = descriptor(&vec![run(1 << 31, nothing, result, 0, &[]); 4000], 0);
    let endless = host.job_entry(&endless);
    host.submit(endless);
    host.set_register(0x20, 0);
    host.wait_status(0);
    host.enable();
    assert_eq!(host.io(entry(NOP)).status, 0);
}

#[test]
fn configuration_space_says_who_and_where() {
    let _limit = Limit::start();
    let card = Card::start(Config::default());
    let mut space = [0; 64];
    card.read(Region::Config, 0, &mut space).unwrap();
    assert_eq!(space[..4], [0xF4, 0x1A, 0xF5, 0x10]);
    assert_eq!(space[8..12], [1, 0, 0, 0x12]);
    assert_eq!(space[0x3D], 1, "INTA");
    // Sizes, as a host finds them out.
    for (bar, region) in [(0x10, Region::Bar0), (0x20, Region::Bar4)] {
        card.write(Region::Config, bar, &[0xFF; 8]).unwrap();
        let mut bytes = [0; 8];
        card.read(Region::Config, bar, &mut bytes).unwrap();
        let read = u64::from_le_bytes(bytes);
        assert_eq!(read & 0xF, 4, "64-bit memory");
        assert_eq!((!(read & !0xF)).wrapping_add(1), card.region_size(region));
    }
    card.write(Region::Config, 0x18, &[0xFF; 8]).unwrap();
    assert_eq!(config_u16(&card, 0x18), 0, "BAR2 is absent");
}

#[test]
fn msix_sends_one_message_per_completion_and_keeps_the_masked_ones() {
    let mut host = host();
    let (given, event) = event();
    assert!(
        host.card
            .set_events(InterruptKind::Msix, 1, vec![Some(given)])
    );
    host.io(entry(NOP));
    assert_eq!(count(&event), 1);
    // Masked in its table entry: pending.
    host.card
        .write(Region::Bar4, 16 + 12, &[1, 0, 0, 0])
        .unwrap();
    host.io(entry(NOP));
    assert_eq!(count(&event), 0);
    let mut pending = [0; 8];
    host.card.read(Region::Bar4, 4096, &mut pending).unwrap();
    assert_eq!(pending[0], 0b10);
    host.card
        .write(Region::Bar4, 16 + 12, &[0, 0, 0, 0])
        .unwrap();
    assert_eq!(count(&event), 1);
    // Masked by the function mask.
    host.card
        .write(Region::Config, 0x92, &0xC000u16.to_le_bytes())
        .unwrap();
    host.io(entry(NOP));
    assert_eq!(count(&event), 0);
    host.card
        .write(Region::Config, 0x92, &0x8000u16.to_le_bytes())
        .unwrap();
    assert_eq!(count(&event), 1);
    assert!(!host.card.set_events(InterruptKind::Msix, 65, vec![None]));
    host.card.clear_events(InterruptKind::Msix);
    assert_eq!(config_u16(&host.card, 0x92) & 0x8000, 0);
}

#[test]
fn msi_obeys_the_mask_register() {
    let mut host = host();
    let (given, event) = event();
    assert!(
        host.card
            .set_events(InterruptKind::Msi, 0, vec![Some(given)])
    );
    host.io(entry(NOP));
    assert_eq!(count(&event), 1);
    host.set_register(0x18, 0b10);
    assert_eq!(host.register(0x1C), 0b10);
    host.submit(entry(NOP));
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while host.register(0x2C) & 0b10 == 0 {
        assert!(
            std::time::Instant::now() < end,
            "INTS does not show the completion"
        );
    }
    assert_eq!(count(&event), 0);
    host.set_register(0x1C, 0b10);
    assert_eq!(count(&event), 1);
    host.wait();
    assert_eq!(host.register(0x2C), 0, "INTS");
}

#[test]
fn intx_follows_the_news_and_the_masks() {
    let mut host = host();
    let (given, event) = event();
    assert!(
        host.card
            .set_events(InterruptKind::Intx, 0, vec![Some(given)])
    );
    let status = |host: &Host| config_u16(&host.card, 0x06) >> 3 & 1;
    assert_eq!(status(&host), 0);
    host.submit(entry(NOP));
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while status(&host) == 0 {
        assert!(
            std::time::Instant::now() < end,
            "the interrupt status does not rise"
        );
    }
    assert_eq!(count(&event), 1);
    // Still asserted: it fires again when the host has handled it.
    host.card.unmask_intx();
    assert_eq!(count(&event), 1);
    // Interrupt disable: the line falls, the status stays.
    host.set_command(0x0406);
    host.card.unmask_intx();
    assert_eq!((count(&event), status(&host)), (0, 1));
    host.set_command(0x0006);
    assert_eq!(count(&event), 1);
    host.set_register(0x18, u32::MAX);
    assert_eq!(status(&host), 0);
    host.set_register(0x1C, u32::MAX);
    assert_eq!(count(&event), 1);
    host.wait();
    assert_eq!(status(&host), 0);
    host.card.unmask_intx();
    assert_eq!(count(&event), 0);
}

#[test]
fn a_small_card_has_wide_doorbells() {
    let profile = Profile::small();
    let mut host = Host::new(Config {
        profile,
        seed: 1,
        faults: FaultPlan::none(),
    });
    assert_eq!(host.register64(0x08) >> 16 & 0xF, 3);
    assert_eq!(host.io(entry(NOP)).status, 0);
}
