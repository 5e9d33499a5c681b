//! One card that several share, by its virtual functions, and a card of a later minor version.

mod common;

use std::sync::Arc;
use std::thread;

use common::*;
use unlade_dpu::{CannotOpen, DpuDevice, Options, connect};
use unlade_hal::{Device, Health};
use unlade_sim_card::{Card, Config, Fault, FaultPlan, Profile, Served};

/// Two functions of a card, of which a fault strikes the first's second job.
fn functions(fault: Option<Fault>) -> (Card, [Served; 2]) {
    let mut config = Config::default();
    config.profile.virtual_functions = 2;
    let card = Card::start(config);
    card.enable_virtual_functions(2).unwrap();
    let function = |number, faults| {
        let mut profile = Profile::full();
        profile.queue_pairs = 2;
        let function = card.virtual_function(number, profile, faults);
        Served::of(function.unwrap()).unwrap()
    };
    let faults = fault
        .into_iter()
        .fold(FaultPlan::none(), |plan, fault| plan.at(2, fault));
    let served = [function(1, faults), function(2, FaultPlan::none())];
    (card, served)
}

fn open(served: &Served) -> Arc<DpuDevice> {
    connect(served.path(), &Options::default()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_physical_function_says_how_many_virtual_ones_it_can_have() {
    let mut config = Config::default();
    config.profile.virtual_functions = 2;
    let card = Served::start(config).unwrap();
    let device = open(&card);
    let description = &device.info().description;
    let many = description.ends_with(", up to 2 virtual functions");
    assert!(many, "{description}");
}

#[test]
fn each_function_is_a_card_with_a_user_of_its_own() {
    let _limit = Limit::start();
    let (_card, served) = functions(None);
    let devices = served.each_ref().map(open);
    for (number, device) in (1..).zip(&devices) {
        let description = &device.info().description;
        let named = format!(", virtual function {number}");
        assert!(description.ends_with(&named), "{description}");
        assert_eq!(device.capabilities().max_queues, 2);
    }
    // At once, each from a thread.
    thread::scope(|scope| {
        for device in &devices {
            scope.spawn(|| (0..20).for_each(|_| works(device)));
        }
    });
    let refused = connect(served[0].path(), &Options::default()).unwrap_err();
    assert!(matches!(refused, CannotOpen::InUse { .. }), "{refused}");
    for served in &served {
        assert_eq!(served.counters().jobs_succeeded, 20);
        assert_eq!(served.counters().findings, [""; 0]);
    }
}

#[test]
fn a_function_that_fails_is_reset_beside_one_that_works_on() {
    let _limit = Limit::start();
    for (fault, named) in LOSSES {
        let (_card, served) = functions(Some(fault));
        let [failing, other] = served.each_ref().map(open);
        lost_by(fault, named, &failing);
        works(&other);
        failing
            .reset()
            .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        works(&failing);
        works(&other);
        assert_eq!(other.health(), Health::Ready, "{fault:?}");
    }
}

#[test]
fn functions_that_are_taken_away_are_lost_and_can_be_opened_again() {
    let _limit = Limit::start();
    let (card, served) = functions(None);
    let devices = served.each_ref().map(open);
    devices.iter().for_each(|device| works(device));
    card.enable_virtual_functions(0).unwrap();
    for device in &devices {
        let Health::Lost(lost) = device.health() else {
            panic!("it is gone")
        };
        assert!(lost.reason.contains("it was removed"), "{lost}");
        device.reset().unwrap_err();
    }
    drop(devices);
    card.enable_virtual_functions(2).unwrap();
    served.iter().for_each(|served| works(&open(served)));
}

#[test]
fn a_later_minor_version_is_driven_by_what_its_bits_say() {
    let _limit = Limit::start();
    let mut config = Config::default();
    config.profile.minor_version = 2;
    config.profile.patch = 3;
    let card = Served::start(config).unwrap();
    let device = open(&card);
    let architecture = &device.info().architecture;
    assert!(architecture.starts_with("card 1.2.3, "), "{architecture}");
    works(&device);
    assert_eq!(card.counters().findings, [""; 0]);
}
