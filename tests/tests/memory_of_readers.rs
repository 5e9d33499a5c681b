//! What comes from another process as bytes is read in memory that its length bounds, whatever lengths it
//! claims. The allocator of this program tells, so that all of it is one test.

use std::fs;
use std::path::{Path, PathBuf};

use peak_alloc::PeakAlloc;
use unlade_expr::limits::MAX_IN_LIST;
use unlade_expr::{Query, col, lit};
use unlade_wire::encode_query;
use unlade_wire::limits::MAX_BODY_BYTES;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes beside those for the input: a first few of each list, and the words of an error.
const BESIDE: usize = 64 << 10;

/// Bytes for each one of the input. Substrait's messages are copied once for each level of theirs.
const FOR_EACH: usize = 100;

type Reader = fn(&[u8]);

#[test]
fn readers_take_memory_by_the_length_of_what_they_read() {
    let readers: [(&str, Reader, &[&[u8]]); 2] = [
        ("wire", unlade_wire::fuzzing::read, &WIRE_CLAIMS),
        (
            "substrait",
            unlade_substrait::fuzzing::read,
            &SUBSTRAIT_CLAIMS,
        ),
    ];
    for (name, read, claims) in readers {
        let mut most = 0;
        for file in corpus(name) {
            let bytes = fs::read(&file).expect("it can be read");
            // What is made once is.
            read(&bytes);
            for at in 0..bytes.len() {
                // What comes behind the claim, and that nothing does.
                let claim = claims[at % claims.len()];
                let claiming = [&bytes[..at], claim, &bytes[at + 1..]].concat();
                let cut = &claiming[..at + claim.len()];
                most = [&claiming, cut]
                    .iter()
                    .fold(most, |most, each| most.max(taken(read, each, name)));
            }
        }
        assert!(most > 0, "{name}: the allocator tells nothing");
    }
    // As long as may be, of what takes the most for its length.
    let empty_messages = [0x42, 0].repeat(1 << 19);
    let nested = (0..30).fold(vec![0; 1 << 20], |body, _| {
        prefixed(0x5a, &prefixed(0x12, &body))
    });
    let nested = prefixed(0x1a, &prefixed(0x0a, &nested));
    for large in [empty_messages, nested, vec![0; 5 << 20]] {
        taken(unlade_substrait::fuzzing::read, &large, "substrait");
    }
    let members = vec![lit(1); MAX_IN_LIST];
    let list = col("a").in_list(members);
    let lists = list.clone().or(list.clone()).or(list);
    let lists = encode_query(&Query::filter(lists)).expect("it is within the limits");
    for large in [lists, vec![0x81; MAX_BODY_BYTES]] {
        taken(unlade_wire::fuzzing::read, &large, "wire");
    }
}

/// CBOR's heads of arrays, maps, text and bytes of four thousand millions, and of as many as there can be.
const WIRE_CLAIMS: [&[u8]; 8] = [
    &[0x9a, 0xff, 0xff, 0xff, 0xff],
    &[0xba, 0xff, 0xff, 0xff, 0xff],
    &[0x7a, 0xff, 0xff, 0xff, 0xff],
    &[0x5a, 0xff, 0xff, 0xff, 0xff],
    &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
];

/// Protobuf's lengths of two thousand millions and of as many as there can be.
const SUBSTRAIT_CLAIMS: [&[u8]; 3] = [
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0x80, 0x80, 0x80, 0x40],
];

/// The most memory that was in use at once while these were read.
fn taken(read: Reader, bytes: &[u8], name: &str) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    read(bytes);
    let taken = ALLOCATOR.peak_usage().saturating_sub(before);
    let most = BESIDE + FOR_EACH * bytes.len();
    assert!(
        taken <= most,
        "{name}: {taken} bytes for {} of input: {:02x?}",
        bytes.len(),
        &bytes[..bytes.len().min(64)]
    );
    taken
}

fn prefixed(key: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![key];
    let mut left = body.len();
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
    out.extend_from_slice(body);
    out
}

fn corpus(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let entries = fs::read_dir(folder).expect("the corpus is there");
    entries
        .map(|entry| entry.expect("it can be read").path())
        .collect()
}
