use super::*;
use crate::vectors::{self, Vector};

/// The CAP that goes with an example.
fn cap_of(vector: &Vector) -> Cap {
    let field = |name: &str| vector.u64(name);
    let value = field("queue_pairs") << 48
        | (field("address_bits") - 1) << 32
        | 1 << 24
        | field("queue_entries");
    Cap::decode(value).unwrap()
}

fn cap() -> Cap {
    cap_of(&vectors::named("identify"))
}

pub(crate) fn reads(vector: &Vector) {
    let field = |name: &str| vector.u32(name);
    let wanted = Identity {
        version: Version(field("version")),
        function: match field("function") {
            0 => Function::Physical {
                most_virtual: field("virtual_functions").try_into().unwrap(),
            },
            number => Function::Virtual {
                number: number.try_into().unwrap(),
            },
        },
        serial: vector.text("serial_number").to_owned(),
        model: vector.text("model").to_owned(),
        firmware: vector.text("firmware_version").to_owned(),
        features: Features(vector.u64("features")),
        program: Limits {
            program_bytes: field("program_bytes"),
            words: field("program_words"),
            value_registers: field("v_registers").try_into().unwrap(),
            mask_registers: field("m_registers").try_into().unwrap(),
            columns: field("columns"),
            params: field("parameters"),
            tables: field("tables"),
            sets: field("sets"),
            outputs: field("outputs"),
            constants: field("constants"),
        },
        programs: field("programs"),
        job: JobLimits {
            steps: field("steps"),
            descriptor: field("descriptor_bytes"),
            rows: vector.u64("rows"),
            entries: EntryLimits {
                table: vector.u64("table_bytes"),
                set: vector.u64("set_bytes"),
                together: (vector.u64("table_bytes") + vector.u64("set_bytes")).max(2 << 20),
            },
        },
        alignment: vector.u64("operand_alignment"),
        slack: vector.u64("write_slack"),
        capabilities: field("capability_entries"),
        vectors: field("vectors").try_into().unwrap(),
    };
    let found = Identity::decode(&vector.hex, &cap_of(vector)).unwrap();
    assert_eq!(found, wanted, "{}", vector.name);
    // The examples have the first four bits of FEAT.
    let features = found.features;
    assert!(features.compaction() && features.counted_copy());
    assert!(features.checksum() && features.report() && !features.simulated());
}

#[test]
fn what_no_card_may_say_is_named() {
    for (at, value, named) in [
        (0, 0, "begins with"),
        (6, 2, "version"),
        (104, 65, "queue pairs"),
        (112, 1, "programs"),
        (118, 0, "program bytes"),
        (124, 15, "V registers"),
        (132, 3, "alignment"),
        (138, 1, "slack"),
        (184, 47, "address bits"),
        (185, 2, "bytecode"),
    ] {
        let mut bytes = vectors::bytes("identify");
        bytes[at] = value;
        if at == 112 {
            bytes[113] = 0;
        }
        let error = Identity::decode(&bytes, &cap()).unwrap_err();
        assert!(error.contains(named), "byte {at}: {error}");
    }
}
