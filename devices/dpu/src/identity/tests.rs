use super::*;
use crate::vectors;

/// The CAP that goes with the example: 64 pairs of 1,024 entries, 48 address bits.
fn cap() -> Cap {
    Cap::decode(64 << 48 | 47 << 32 | 1 << 24 | 1024).unwrap()
}

#[test]
fn the_documents_example() {
    let identity = Identity::decode(&vectors::bytes("identify"), &cap()).unwrap();
    assert_eq!(
        (
            identity.model.as_str(),
            identity.serial.as_str(),
            identity.firmware.as_str()
        ),
        ("Example card", "0001", "1.0.3")
    );
    let features = identity.features;
    assert!(features.compaction() && features.counted_copy());
    assert!(features.checksum() && features.report() && !features.simulated());
    assert_eq!(
        identity.program,
        Limits {
            program_bytes: 1_048_576,
            words: 65_536,
            value_registers: 32,
            mask_registers: 32,
            columns: 4096,
            params: 16_384,
            tables: 1024,
            sets: 1024,
            outputs: 4096,
            constants: 65_536,
        }
    );
    let job = JobLimits {
        steps: 4096,
        descriptor: 1_048_576,
        rows: 1 << 31,
        table: 1 << 30,
        set: 1 << 20,
    };
    assert_eq!(identity.job, job);
    assert_eq!((identity.alignment, identity.slack), (64, 192));
    assert_eq!(
        (identity.programs, identity.capabilities, identity.vectors),
        (256, 577, 65)
    );
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
