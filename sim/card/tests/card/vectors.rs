//! docs/card/vectors.toml: what the card runs, refuses and says of itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use unlade_sim_card::{Card, Config, FaultPlan, Iova, Permissions, Profile, Region};

use crate::encode::{absent, bits, descriptor, entry, memory, run, scalar};
use crate::host::Host;
use crate::limit::Limit;
use crate::program::{MASK, width};

const VECTORS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/card/vectors.toml"
));

struct Vector {
    name: String,
    kind: String,
    hex: Vec<u8>,
    fields: BTreeMap<String, String>,
}

impl Vector {
    fn number(&self, field: &str) -> u128 {
        parse_number(&self.fields[field])
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    /// Status, DW0 and DW1.
    fn outcome(&self) -> (u16, u32, u32) {
        let long = |field: &str| u32::try_from(self.number(field)).unwrap();
        (
            u16::try_from(self.number("status")).unwrap(),
            long("dw0"),
            long("dw1"),
        )
    }

    /// How many things of a kind the fields describe, like `column.0.type`.
    fn count(&self, kind: &str, part: &str) -> usize {
        (0..)
            .take_while(|n| self.fields.contains_key(&format!("{kind}.{n}{part}")))
            .count()
    }
}

fn parse_number(text: &str) -> u128 {
    match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

fn parse_hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn vectors() -> Vec<Vector> {
    let text: toml::Table = VECTORS.parse().unwrap();
    let string = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let vector = |vector: &toml::Value| Vector {
        name: string(&vector["name"]),
        kind: string(&vector["kind"]),
        hex: parse_hex(vector["hex"].as_str().unwrap()),
        fields: vector["fields"]
            .as_table()
            .unwrap()
            .iter()
            .map(|(key, value)| (key.clone(), string(value)))
            .collect(),
    };
    text["vector"]
        .as_array()
        .unwrap()
        .iter()
        .map(vector)
        .collect()
}

fn of_kind<'a>(vectors: &'a [Vector], kind: &str) -> Vec<&'a Vector> {
    let found: Vec<&Vector> = vectors
        .iter()
        .filter(|vector| vector.kind == kind)
        .collect();
    assert!(!found.is_empty(), "no vectors of kind {kind}");
    found
}

fn named<'a>(vectors: &'a [Vector], name: &str) -> &'a Vector {
    vectors
        .iter()
        .find(|vector| vector.name == name)
        .expect(name)
}

#[test]
fn programs_run_as_the_document_says() {
    let vectors = vectors();
    let mut host = Host::new(Config::default());
    for vector in of_kind(&vectors, "execution") {
        let program = named(&vectors, vector.text("program").unwrap());
        execute(&mut host, vector, program);
    }
}

fn execute(host: &mut Host, vector: &Vector, program: &Vector) {
    let handle = host.load_well(&program.hex);
    let rows = usize::try_from(vector.number("rows")).unwrap();
    let mut arguments = Vec::new();
    for column in 0..program.count("column", ".type") {
        for part in ["values", "validity"] {
            let field = format!("column.{column}.{part}");
            arguments.push(match vector.text(&field).unwrap() {
                "absent" => absent(),
                hex => {
                    let bytes = parse_hex(hex);
                    let offset = vector.number(&format!("{field}_bit_offset"));
                    bits(host.place(&bytes), bytes.len(), offset.try_into().unwrap())
                }
            });
        }
    }
    for param in 0..program.count("parameter", ".type") {
        arguments.push(scalar(vector.number(&format!("parameter.{param}"))));
    }
    for kind in ["table", "set"] {
        for number in 0..program.count(kind, ".type") {
            let bytes = parse_hex(vector.text(&format!("{kind}.{number}")).unwrap());
            arguments.push(memory(host.place(&bytes), bytes.len()));
        }
    }
    // Each output with the bytes that are to be in it.
    let mut written = Vec::new();
    let mut write = |host: &mut Host, room: usize, wanted: Option<&str>| {
        let iova = host.allocate(room.try_into().unwrap(), 4096);
        written.push((iova, wanted.map(parse_hex)));
        memory(iova, room)
    };
    if program.number("flags") & 2 != 0 {
        arguments.push(write(host, rows.div_ceil(8), vector.text("mask")));
    }
    for output in 0..program.count("output", ".type") {
        let ty: u8 = program
            .number(&format!("output.{output}.type"))
            .try_into()
            .unwrap();
        let room = if ty == MASK {
            rows.div_ceil(8)
        } else {
            rows * width(ty)
        };
        let field = format!("output.{output}");
        arguments.push(write(host, room, vector.text(&format!("{field}.values"))));
        arguments.push(match program.number(&format!("{field}.flags")) {
            1 => write(
                host,
                rows.div_ceil(8),
                vector.text(&format!("{field}.validity")),
            ),
            _ => absent(),
        });
    }
    let result = host.allocate(24, 8);
    let checksums = host.allocate(64, 8);
    let step = run(
        rows.try_into().unwrap(),
        handle,
        result,
        checksums,
        &arguments,
    );
    let done = host.job(&descriptor(&[step], 0));

    let trapped = vector.number("trapped") == 1;
    let wanted = if trapped { (0x0209, 0, 0) } else { (0, 1, 0) };
    assert_eq!(done.outcome(), wanted, "{}", vector.name);
    assert_eq!(host.read(result, 24), vector.hex, "{}", vector.name);
    for (iova, wanted) in written.into_iter().filter(|_| !trapped) {
        let wanted = wanted.expect("the vector has every output");
        assert_eq!(host.read(iova, wanted.len()), wanted, "{}", vector.name);
    }
    match vector.text("checksums") {
        Some(wanted) => {
            let wanted = parse_hex(wanted);
            assert_eq!(
                host.read(checksums, wanted.len()),
                wanted,
                "{}",
                vector.name
            );
        }
        None => assert_eq!(host.read(checksums, 64), [0; 64], "{}", vector.name),
    }
}

#[test]
fn bytecode_is_refused_as_the_document_says() {
    let vectors = vectors();
    for vector in of_kind(&vectors, "refused") {
        let mut host = host_of(vector);
        assert_eq!(host.load(&vector.hex), vector.outcome(), "{}", vector.name);
    }
}

#[test]
fn jobs_are_refused_as_the_document_says() {
    let vectors = vectors();
    for vector in of_kind(&vectors, "refused_job") {
        let mut host = host_of(vector);
        let program = named(&vectors, vector.text("program").unwrap());
        // Handles count up from 1.
        while u128::from(host.load_well(&program.hex)) < vector.number("handle") {}
        let done = host.job(&vector.hex);
        assert_eq!(done.outcome(), vector.outcome(), "{}", vector.name);
        assert_nothing_was_used(&host, vector);
    }
}

#[test]
fn entries_are_refused_as_the_document_says() {
    let vectors = vectors();
    for vector in of_kind(&vectors, "refused_sqe") {
        let mut host = host_of(vector);
        let entry = vector.hex.as_slice().try_into().unwrap();
        let done = match vector.number("queue") {
            0 => host.admin(entry),
            _ => host.io(entry),
        };
        assert_eq!(done.outcome(), vector.outcome(), "{}", vector.name);
        assert_nothing_was_used(&host, vector);
    }
}

/// A host whose card lacks what the vector says, and whose memory has the vector's segment list.
fn host_of(vector: &Vector) -> Host {
    let mut profile = Profile::full();
    for lacking in vector.text("lacks").unwrap_or_default().split(' ') {
        let features = &mut profile.features;
        match lacking {
            // The simulated card never has the second.
            "" | "COALESCING" => {}
            "ABORT" => features.abort = false,
            "CHECKSUM" => features.checksum = false,
            "COMPACTION" => features.compaction = false,
            "COUNTED_COPY" => features.counted_copy = false,
            "REPORT" => features.report = false,
            "ADD" => profile = profile.without(|operation, _, _| operation == 20),
            other => panic!("{}: {other} is not known here", vector.name),
        }
    }
    let host = Host::new(Config {
        profile,
        seed: 1,
        faults: FaultPlan::none(),
    });
    if let Some(list) = vector.text("list") {
        const PAGE: u64 = 4096;
        let memory = rustix::fs::memfd_create("list", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let memory = File::from(memory);
        memory.set_len(PAGE).unwrap();
        memory.write_all_at(&parse_hex(list), 0).unwrap();
        let iova = Iova(vector.number("list_iova").try_into().unwrap());
        let read_only = Permissions {
            read: true,
            write: false,
        };
        host.card
            .map(iova, PAGE, Some(memory), 0, read_only)
            .unwrap();
    }
    host
}

/// No operand of the vector is mapped, so that a card that tried to use one is found out.
fn assert_nothing_was_used(host: &Host, vector: &Vector) {
    assert_eq!(host.card.counters().dma_refused, 0, "{}", vector.name);
}

/// The vector's card, but for what every simulated card says of itself.
#[test]
fn identify_has_the_fields_where_the_document_has_them() {
    let vectors = vectors();
    let vector = named(&vectors, "identify");
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
    let mut host = Host::new(Config {
        profile,
        seed: 1,
        faults: FaultPlan::none(),
    });
    let page = host.read_page(entry(0x01), 4096);
    // Serial number, firmware and features are the model's own; it has no virtual functions.
    for (start, end) in [(0, 16), (36, 76), (104, 214)] {
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

#[test]
fn registers_have_their_fields_where_the_document_has_them() {
    let vectors = vectors();
    let cap = named(&vectors, "register_cap");
    let mut profile = Profile::full();
    profile.queue_entries = cap.number("mqes").try_into().unwrap();
    profile.doorbell_stride = cap.number("dstrd").try_into().unwrap();
    profile.timeout = cap.number("to").try_into().unwrap();
    profile.address_bits = u8::try_from(cap.number("dab")).unwrap() + 1;
    profile.queue_pairs = cap.number("mqp").try_into().unwrap();
    let mut host = Host::off(Config {
        profile,
        seed: 1,
        faults: FaultPlan::none(),
    });
    assert_eq!(host.register64(0x08).to_le_bytes(), *cap.hex);
    let version = named(&vectors, "register_version");
    assert_eq!(host.register(0x04).to_le_bytes(), *version.hex);
    host.enable();
    let enabled = named(&vectors, "register_cc");
    assert_eq!(host.register(0x20).to_le_bytes(), *enabled.hex);
    host.ring(0, 0xFFFF);
    let fatal = named(&vectors, "register_csts_fatal");
    assert_eq!(host.register(0x24).to_le_bytes(), *fatal.hex);
}

#[test]
fn the_signature_is_the_last_capability() {
    let vectors = vectors();
    let _limit = Limit::start();
    let card = Card::start(Config::default());
    let mut space = [0; 256];
    card.read(Region::Config, 0, &mut space).unwrap();
    let (mut at, mut ids) = (usize::from(space[0x34]), Vec::new());
    while at != 0 {
        ids.push(space[at]);
        if space[at] == 0x09 {
            assert_eq!(
                space[at..at + 16],
                *named(&vectors, "signature_capability").hex
            );
        }
        at = usize::from(space[at + 1]);
    }
    assert_eq!(ids, [0x10, 0x05, 0x11, 0x09]);
}
