//! Virtual functions: what their configuration space says, what the physical one decides, and what they
//! share.

use std::thread;
use std::time::{Duration, Instant};

use unlade_sim_card::{Card, Config, FaultPlan, InterruptKind, Nanos, NoFunction, Profile, Region};

use crate::encode::{descriptor, entry, fill, memory};
use crate::host::Host;
use crate::limit::Limit;

const SR_IOV: u64 = 0x100;
const CONTROL: u64 = SR_IOV + 8;
const NUM_VFS: u64 = SR_IOV + 16;
const ENABLE: u16 = 1 << 0;
const MEMORY: u16 = 1 << 3;

/// A card that can have so many.
fn card(most: u16) -> Card {
    let mut config = Config::default();
    config.profile.virtual_functions = most;
    Card::start(config)
}

/// A virtual function, and a host on it.
fn function(card: &Card, number: u16) -> Host {
    let profile = Profile::full();
    let function = card.virtual_function(number, profile, FaultPlan::none());
    Host::of(function.unwrap(), 4)
}

fn config<const N: usize>(card: &Card, offset: u64) -> [u8; N] {
    let mut bytes = [0; N];
    card.read(Region::Config, offset, &mut bytes).unwrap();
    bytes
}

fn set_config(card: &Card, offset: u64, value: u16) {
    card.write(Region::Config, offset, &value.to_le_bytes())
        .unwrap();
}

/// A job, which has to end.
fn works(host: &mut Host) {
    let to = host.allocate(64, 64);
    let job = descriptor(&[fill(7, memory(to, 64))], 0);
    assert_eq!(host.job(&job).outcome(), (0, 1, 0));
    assert_eq!(host.read(to, 64), [7; 64]);
}

#[test]
fn a_card_without_them_has_no_capability_and_no_functions() {
    let _limit = Limit::start();
    let none = card(0);
    assert_eq!(config(&none, SR_IOV), [0; 4]);
    let start =
        |card: &Card, number| card.virtual_function(number, Profile::full(), FaultPlan::none());
    let too_many = |asked, most| NoFunction::NotSoMany { asked, most };
    assert_eq!(start(&none, 0).unwrap_err(), NoFunction::Physical);
    assert_eq!(start(&none, 1).unwrap_err(), too_many(1, 0));
    assert_eq!(none.enable_virtual_functions(0), Ok(()));
    assert_eq!(none.enable_virtual_functions(1), Err(too_many(1, 0)));
    let (physical, one) = card_with_one_function();
    assert_eq!(start(&physical, 3).unwrap_err(), too_many(3, 2));
    assert_eq!(physical.enable_virtual_functions(3), Err(too_many(3, 2)));
    // A virtual function has none itself.
    assert_eq!(start(&one, 1).unwrap_err(), NoFunction::OfVirtual(1));
    for count in [0, 1] {
        let enabled = one.enable_virtual_functions(count);
        assert_eq!(enabled, Err(NoFunction::OfVirtual(1)));
    }
}

#[test]
fn a_function_is_started_once_at_a_time() {
    let _limit = Limit::start();
    let (card, one) = card_with_one_function();
    let start = |number| card.virtual_function(number, Profile::full(), FaultPlan::none());
    assert_eq!(start(1).unwrap_err(), NoFunction::Started(1));
    let _two = start(2).unwrap();
    drop(one);
    let one = start(1).unwrap();
    assert_eq!(start(1).unwrap_err(), NoFunction::Started(1));
    // The one that has the number is the one that is made and taken away.
    card.enable_virtual_functions(1).unwrap();
    assert_eq!(config(&one, 0), [0xFF; 4]);
    assert_eq!(config(&one, 8), [1]);
    card.enable_virtual_functions(0).unwrap();
    assert_eq!(config(&one, 8), [0xFF]);
}

fn card_with_one_function() -> (Card, Card) {
    let card = card(2);
    let one = card.virtual_function(1, Profile::full(), FaultPlan::none());
    (card, one.unwrap())
}

#[test]
fn the_capability_says_how_many_and_where() {
    let _limit = Limit::start();
    let card = card(3);
    // Id 0x0010, version 1, the last of its list.
    assert_eq!(config(&card, SR_IOV), [0x10, 0, 1, 0]);
    let short = |offset: u64| u16::from_le_bytes(config(&card, SR_IOV + offset));
    // InitialVFs, TotalVFs, NumVFs; First VF Offset, VF Stride; VF Device ID.
    assert_eq!([12, 14, 16].map(short), [3, 3, 0]);
    assert_eq!([20, 22, 26].map(short), [1, 1, 0x10F5]);
    let bars = || {
        card.write(Region::Config, SR_IOV + 36, &[0xFF; 24])
            .unwrap();
        config::<24>(&card, SR_IOV + 36)
    };
    let sizes = |bars: [u8; 24]| {
        let size = |at: usize| {
            let bar = u64::from_le_bytes(bars[at..at + 8].try_into().unwrap());
            assert_eq!(bar & 0xF, 0x4, "memory, 64-bit, not prefetchable");
            (bar & !0xF).wrapping_neg()
        };
        assert_eq!(bars[8..16], [0; 8], "VF BAR2 and VF BAR3");
        [size(0), size(16)]
    };
    let own = [Region::Bar0, Region::Bar4].map(|region| card.region_size(region));
    assert_eq!(sizes(bars()), own);
    // Pages of 64 KiB: a function's piece is no smaller.
    set_config(&card, SR_IOV + 32, 1 << 4);
    assert_eq!(sizes(bars()), own.map(|size| size.max(64 << 10)));
}

#[test]
fn system_page_size_is_one_of_those_that_are_supported() {
    const SUPPORTED: u64 = SR_IOV + 28;
    const CHOSEN: u64 = SR_IOV + 32;
    let _limit = Limit::start();
    let card = card(1);
    let chosen = || u32::from_le_bytes(config(&card, CHOSEN));
    let choose = |value: u32| {
        card.write(Region::Config, CHOSEN, &value.to_le_bytes())
            .unwrap();
        chosen()
    };
    let supported = u32::from_le_bytes(config(&card, SUPPORTED));
    assert_eq!((supported, chosen()), (0x553, 1));
    for bit in (0..32).map(|bit| 1 << bit) {
        let before = chosen();
        let taken = if supported & bit == 0 { before } else { bit };
        assert_eq!(choose(bit), taken, "{bit:#x}");
    }
    assert_eq!(chosen(), 0x400);
    for value in [0, 0x3, 0x401, 0x404, 0x553, u32::MAX] {
        assert_eq!(choose(value), 0x400, "{value:#x}");
    }
    let bar = |offset| u64::from_le_bytes(config(&card, SR_IOV + offset)) & !0xF;
    card.write(Region::Config, SR_IOV + 36, &[0xFF; 8]).unwrap();
    assert_eq!(bar(36).wrapping_neg(), 4 << 20, "the size of a piece");
    // It stands while there are functions.
    card.enable_virtual_functions(1).unwrap();
    assert_eq!(choose(1), 0x400);
    card.enable_virtual_functions(0).unwrap();
    assert_eq!(choose(1), 1);
}

#[test]
fn configuration_space_is_what_pci_express_makes_of_it() {
    let _limit = Limit::start();
    let (card, one) = card_with_one_function();
    assert_eq!(config(&one, 0), [0xFF; 64], "not there yet");
    card.enable_virtual_functions(1).unwrap();
    // Ids of all ones, class and header type as of the physical function.
    assert_eq!(config(&one, 0), [0xFF; 4]);
    assert_eq!(config::<8>(&one, 8), config::<8>(&card, 8));
    let write = |offset| one.write(Region::Config, offset, &[0xFF; 4]).unwrap();
    (0x10..0x28).step_by(4).for_each(write);
    assert_eq!(config(&one, 0x10), [0; 24], "BARs");
    write(4);
    assert_eq!(config(&one, 4), [0x04, 0x00], "bus master alone can be set");
    write(0x3C);
    assert_eq!(config(&one, 0x3C), [0, 0], "no interrupt line or pin");
    assert_eq!(config(&one, SR_IOV), [0; 4], "no SR-IOV");
    let (mut at, mut ids) = (config::<1>(&one, 0x34)[0], Vec::new());
    while at != 0 {
        let [id, next] = config(&one, at.into());
        ids.push(id);
        at = next;
    }
    assert_eq!(ids, [0x10, 0x05, 0x11, 0x09]);
    assert_eq!(
        config::<4>(&one, 0x44)[3] & 0x10,
        0x10,
        "function level reset"
    );
}

#[test]
fn the_physical_function_decides_which_are_there() {
    let card = card(2);
    let [mut one, two] = [1, 2].map(|number| function(&card, number));
    let there = |host: &Host| {
        (
            config(&host.card, 8) == [1u8],
            host.register(0) == 0x444C_4E55,
        )
    };
    assert_eq!((there(&one), there(&two)), ((false, false), (false, false)));
    set_config(&card, NUM_VFS, 1);
    set_config(&card, CONTROL, ENABLE);
    // VF MSE lets the BARs answer; a function's own bit does not.
    assert_eq!((there(&one), there(&two)), ((true, false), (false, false)));
    set_config(&card, CONTROL, ENABLE | MEMORY);
    assert_eq!((there(&one), there(&two)), ((true, true), (false, false)));
    set_config(&card, NUM_VFS, 2);
    assert_eq!(config(&card, NUM_VFS), [1, 0], "not while there are any");
    one.set_command(0x0006);
    one.enable();
    works(&mut one);
    // They go as by surprise removal, and begin anew.
    set_config(&card, CONTROL, MEMORY);
    assert_eq!(one.register(0x24), u32::MAX);
    one.ring(0, 1);
    set_config(&card, NUM_VFS, 2);
    set_config(&card, CONTROL, ENABLE | MEMORY);
    assert_eq!((there(&one), there(&two)), ((true, true), (true, true)));
    assert_eq!(one.register(0x24), 0, "neither ready nor fatal");
    assert_eq!(config(&one.card, 4), [0, 0], "nor bus master");
    // A function level reset of the physical one ends them, too.
    card.reset();
    assert_eq!((there(&one), there(&two)), ((false, false), (false, false)));
}

#[test]
fn a_reset_or_a_stop_of_one_disturbs_no_other() {
    let card = card(2);
    card.enable_virtual_functions(2).unwrap();
    let [mut one, mut two] = [1, 2].map(|number| function(&card, number));
    for host in [&mut one, &mut two] {
        host.set_command(0x0006);
        host.enable();
        works(host);
    }
    one.card.reset();
    assert_eq!((one.register(0x24), two.register(0x24)), (0, 1));
    assert_eq!(one.register(0), 0x444C_4E55, "its BARs still answer");
    works(&mut two);
    one.set_command(0x0006);
    one.enable();
    one.ring(0, 0xFFFF);
    assert_eq!(one.register(0x24), 1 | 2 | 3 << 8, "fatal");
    works(&mut two);
    one.card.remove();
    works(&mut two);
    let counters = [&one, &two].map(|host| host.card.counters().jobs_succeeded);
    assert_eq!(counters, [1, 4]);
}

#[test]
fn no_line_is_asserted_for_a_virtual_function() {
    let card = card(1);
    card.enable_virtual_functions(1).unwrap();
    let mut one = function(&card, 1);
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    let events = vec![Some(event.into())];
    assert!(
        !one.card.set_events(InterruptKind::Intx, 0, events),
        "there is none"
    );
    for host in [&mut one, &mut Host::of(card, 4)] {
        host.set_command(0x0006);
        host.enable();
        let to = host.allocate(64, 64);
        let job = host.job_entry(&descriptor(&[fill(7, memory(to, 64))], 0));
        host.submit(job);
        let end = Instant::now() + Duration::from_secs(20);
        while host.card.counters().jobs_succeeded == 0 {
            assert!(Instant::now() < end, "the job does not end");
        }
        // INTS says that there is a completion, and status register bit 3 is of INTx.
        assert_eq!(host.register(0x2C), 1 << 1);
        let asserted = config::<1>(&host.card, 6)[0] & 1 << 3 != 0;
        assert_eq!(asserted, config(&host.card, 0x3D) == [1u8]);
    }
}

#[test]
fn one_engine_serves_all_in_turns() {
    let card = card(2);
    card.enable_virtual_functions(2).unwrap();
    let [mut one, mut two] = [1, 2].map(|number| function(&card, number));
    for host in [&mut one, &mut two] {
        host.set_command(0x0006);
        host.enable();
    }
    let busy = |host: &Host| host.card.counters().busy_time;
    let time = |host: &Host| host.card.counters().time;
    works(&mut one);
    works(&mut two);
    // The second began no earlier than the first had ended.
    let total = Nanos(time(&one).0 + busy(&two).0);
    assert!(time(&two) >= total, "{:?} of {total:?}", time(&two));
    // One that is no bus master in the middle of its job holds up no other, and goes on where it was.
    one.stop_in_the_middle(&[]);
    for _ in 0..3 {
        works(&mut two);
    }
    assert_eq!(one.poll(), None);
    one.set_command(0x0006);
    works(&mut two);
    assert_eq!(one.wait().outcome(), (0, 2000, 0));
    assert_eq!(one.card.counters().findings, [""; 0]);
}

/// One that waits for the bus master bit in the middle of its job is reset, and begins anew.
#[test]
fn who_has_given_the_engine_back_is_reset() {
    let card = card(2);
    card.enable_virtual_functions(2).unwrap();
    let [mut one, mut two] = [1, 2].map(|number| function(&card, number));
    for host in [&mut one, &mut two] {
        host.set_command(0x0006);
        host.enable();
    }
    one.stop_in_the_middle(&[]);
    works(&mut two);
    one.card.reset();
    works(&mut two);
    one.set_command(0x0006);
    one.enable();
    works(&mut one);
}

/// Whoever waits for the engine that another has for a long job is reset all the same, and with the
/// physical function, or its removal, both are.
#[test]
fn a_reset_does_not_wait_for_who_has_the_engine() {
    for ends in [
        "its own reset",
        "the physical function's",
        "no functions",
        "removal",
    ] {
        let card = card(2);
        card.enable_virtual_functions(2).unwrap();
        let [mut one, mut two] = [1, 2].map(|number| function(&card, number));
        for host in [&mut one, &mut two] {
            host.set_command(0x0006);
            host.enable();
        }
        let to = two.allocate(64, 64);
        let job = two.job_entry(&descriptor(&[fill(7, memory(to, 64))], 0));
        one.begin_what_does_not_end();
        two.submit(job);
        // Until it waits for the engine, which nothing tells.
        thread::sleep(Duration::from_millis(50));
        let (says, heard) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                match ends {
                    "its own reset" => two.card.reset(),
                    "the physical function's" => card.reset(),
                    "no functions" => card.enable_virtual_functions(0).unwrap(),
                    _ => card.remove(),
                }
                says.send(()).unwrap();
            });
            let ended = heard.recv_timeout(Duration::from_secs(20));
            // So that a failure is told, and does not hang.
            one.card.reset();
            assert_eq!(ended, Ok(()), "{ends}");
        });
        assert_eq!(two.card.counters().jobs_succeeded, 0, "{ends}");
    }
}

#[test]
fn each_says_which_it_is_and_all_that_they_are_one_card() {
    let card = card(3);
    card.enable_virtual_functions(3).unwrap();
    let mut three = function(&card, 3);
    three.set_command(0x0006);
    three.enable();
    let page = three.read_page(entry(0x01), 4096);
    let mut physical = Host::of(card, 4);
    physical.set_command(0x0006);
    physical.enable();
    let own = physical.read_page(entry(0x01), 4096);
    // Function, virtual functions.
    assert_eq!((&own[12..14], &own[214..216]), (&[0, 0][..], &[3, 0][..]));
    assert_eq!((&page[12..14], &page[214..216]), (&[3, 0][..], &[0, 0][..]));
    assert_eq!((&page[..12], &page[14..214]), (&own[..12], &own[14..214]));
}
