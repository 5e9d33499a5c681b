//! What a card says of itself.

use std::cell::Cell;

use unlade_sim_card::{Card, Config, FaultPlan, Profile, Region};

use super::Vector;
use crate::encode::{entry, with};
use crate::host::{BASE, Host};
use crate::limit::Limit;

/// The vector's card, but for what every simulated card says of itself.
pub(super) fn identify(vector: &Vector) {
    let short = |field: &str| u16::try_from(vector.number(field)).unwrap();
    let long = |field: &str| u32::try_from(vector.number(field)).unwrap();
    let wide = |field: &str| u64::try_from(vector.number(field)).unwrap();
    let mut profile = Profile::full();
    profile.model = vector.text("model").unwrap().to_owned();
    profile.queue_pairs = short("queue_pairs");
    profile.queue_entries = short("queue_entries");
    profile.programs = long("programs");
    profile.program_bytes = long("program_bytes");
    profile.program_words = long("program_words");
    profile.v_registers = short("v_registers");
    profile.m_registers = short("m_registers");
    profile.tile_rows = long("tile_rows");
    profile.operand_alignment = long("operand_alignment");
    profile.write_slack = long("write_slack");
    profile.segments = long("segments");
    profile.steps = long("steps");
    profile.descriptor_bytes = long("descriptor_bytes");
    profile.rows = wide("rows");
    profile.columns = long("columns");
    profile.params = long("parameters");
    profile.tables = long("tables");
    profile.sets = long("sets");
    profile.outputs = long("outputs");
    profile.constants = long("constants");
    profile.address_bits = u8::try_from(vector.number("address_bits")).unwrap();
    profile.table_bytes = wide("table_bytes");
    profile.set_bytes = wide("set_bytes");
    profile.jobs_in_flight = long("jobs_in_flight");
    profile.vectors = short("vectors");
    // Of its list of operations it lacks the first ones, as many as the vector does.
    let whole = (profile.capability_page().len() - 16) / 8;
    let lacking = Cell::new(whole - usize::try_from(vector.number("capability_entries")).unwrap());
    profile = profile.without(|_, _, _| {
        let left = lacking.get();
        lacking.set(left.saturating_sub(1));
        left > 0
    });
    // A virtual function is there as long as its physical one.
    let (_physical, mut host) = match short("function") {
        0 => {
            profile.virtual_functions = short("virtual_functions");
            let config = Config {
                profile,
                seed: 1,
                faults: FaultPlan::none(),
            };
            (None, Host::new(config))
        }
        number => {
            let (card, host) = virtual_function(number, profile);
            (Some(card), host)
        }
    };
    let page = host.read_page(entry(0x01), 4096);
    // Serial number, firmware and features are the model's own.
    for (start, end) in [(0, 16), (36, 76), (104, 216)] {
        assert_eq!(
            page[start..end],
            vector.hex[start..end],
            "bytes {start} to {end}"
        );
    }
    assert!(page[216..].iter().all(|&byte| byte == 0));
    let features = u64::from_le_bytes(page[96..104].try_into().unwrap());
    assert_eq!(features, host.register64(0x10));
}

/// A card, and a host that has enabled the virtual function of this number.
fn virtual_function(number: u16, profile: Profile) -> (Card, Host) {
    let mut config = Config::default();
    config.profile.virtual_functions = number;
    let card = Card::start(config);
    card.enable_virtual_functions(number).unwrap();
    let function = card.virtual_function(number, profile, FaultPlan::none());
    let mut host = Host::of(function.unwrap(), 4);
    host.set_command(0x0006);
    host.enable();
    (card, host)
}

pub(super) fn register(vector: &Vector) {
    let mut profile = Profile::full();
    if vector.name == "register_cap" {
        profile.queue_entries = vector.number("mqes").try_into().unwrap();
        profile.doorbell_stride = vector.number("dstrd").try_into().unwrap();
        profile.timeout = vector.number("to").try_into().unwrap();
        profile.address_bits = u8::try_from(vector.number("dab")).unwrap() + 1;
        profile.queue_pairs = vector.number("mqp").try_into().unwrap();
    }
    if vector.text("register") == Some("VERSION") {
        assert_eq!(vector.number("major"), 1);
        profile.minor_version = vector.number("minor").try_into().unwrap();
        profile.patch = vector.number("patch").try_into().unwrap();
    }
    let mut host = Host::off(Config {
        profile,
        seed: 1,
        faults: FaultPlan::none(),
    });
    let found = match vector.name.as_str() {
        "register_cap" => host.register64(0x08).to_le_bytes().to_vec(),
        "register_version" | "register_version_later" => host.register(0x04).to_le_bytes().to_vec(),
        "register_aqa" => {
            let value = vector.hex.as_slice().try_into().unwrap();
            host.set_register(0x28, u32::from_le_bytes(value));
            queue_lengths(&host, vector);
            host.register(0x28).to_le_bytes().to_vec()
        }
        "register_cc" => {
            host.enable();
            host.register(0x20).to_le_bytes().to_vec()
        }
        "register_csts_fatal" => {
            host.enable();
            host.ring(0, 0xFFFF);
            host.register(0x24).to_le_bytes().to_vec()
        }
        other => panic!("{other} is new: say here what has its value"),
    };
    assert_eq!(found, vector.hex, "{}", vector.name);
}

/// A doorbell takes the index of the last entry of a queue, and none beyond.
fn queue_lengths(host: &Host, vector: &Vector) {
    for (doorbell, field) in [(0, "submission_entries"), (1, "completion_entries")] {
        let entries = u32::try_from(vector.number(field)).unwrap();
        host.set_register64(0x30, BASE);
        host.set_register64(0x38, BASE + 4096);
        host.set_register(0x20, 1);
        host.wait_status(1);
        // No entries are there to pass: the completion queue's doorbell stays.
        let last = if doorbell == 0 { entries - 1 } else { 0 };
        host.ring(doorbell, last);
        assert_eq!(host.register(0x24), 1, "{field}");
        host.ring(doorbell, entries);
        assert_eq!(host.register(0x24) & 2, 2, "{field}");
        host.set_register(0x20, 0);
        host.wait_status(0);
    }
}

/// It is the last capability of the list.
pub(super) fn signature(vector: &Vector) {
    let _limit = Limit::start();
    let card = Card::start(Config::default());
    let mut space = [0; 256];
    card.read(Region::Config, 0, &mut space).unwrap();
    let (mut at, mut ids) = (usize::from(space[0x34]), Vec::new());
    while at != 0 {
        ids.push(space[at]);
        if space[at] == 0x09 {
            assert_eq!(space[at..at + 16], *vector.hex);
        }
        at = usize::from(space[at + 1]);
    }
    assert_eq!(ids, [0x10, 0x05, 0x11, 0x09]);
}

/// Of a card that has no more than the vector lists.
pub(super) fn capabilities(vector: &Vector) {
    let field = |entry: usize, field: &str| vector.number(&format!("entry.{entry}.{field}"));
    let listed: Vec<[u128; 3]> = (0..vector.count("entry", ".operation"))
        .map(|entry| ["operation", "operand_type", "result_type"].map(|name| field(entry, name)))
        .collect();
    let profile = Profile::full().without(|operation, operand, result| {
        !listed.contains(&[operation.into(), operand.into(), result.into()])
    });
    let mut host = Host::new(Config {
        profile,
        seed: 1,
        faults: FaultPlan::none(),
    });
    let log = with(entry(0x08), 32, &[2, 0]);
    let page = host.read_page(log, vector.hex.len());
    assert_eq!(page, vector.hex, "{}", vector.name);
}
