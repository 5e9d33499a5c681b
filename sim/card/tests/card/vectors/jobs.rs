//! Jobs as the document has them, on memory at the addresses that they name.

use std::fs::File;
use std::os::unix::fs::FileExt;

use unlade_sim_card::Config;

use super::{Vector, named, parse_hex};
use crate::encode::{absent, bits, descriptor, memory, run, scalar};
use crate::host::{Cqe, Host};
use crate::program::{MASK, width};

/// Where descriptors of the document have their data, and how much may be there.
const PLACES: [(u64, u64); 7] = [
    (0x2000_0000, 0x0100_0000),
    (0x3000_0000, 0x0100_0000),
    (0x4000_0000, 0x1000),
    (0x5000_0000, 0x1_0000),
    (0x6000_0000, 0x1000),
    (0x1_001F_F000, 0x1000),
    (0x1_8000_0000, 0x1_0000),
];

/// A host with memory there.
struct Ground {
    host: Host,
    places: Vec<(u64, u64, File)>,
}

impl Ground {
    fn new() -> Ground {
        let host = Host::new(Config::default());
        let map = |(start, len)| (start, len, host.map_more(start, len));
        let places = PLACES.map(map).into();
        Ground { host, places }
    }

    fn write(&self, iova: u64, bytes: &[u8]) {
        let (file, at) = self.at(iova);
        file.write_all_at(bytes, at).unwrap();
    }

    fn read(&self, iova: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let (file, at) = self.at(iova);
        file.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }

    fn at(&self, iova: u64) -> (&File, u64) {
        let inside = |place: &&(u64, u64, File)| (place.0..place.0 + place.1).contains(&iova);
        let (start, _, file) = self.places.iter().find(inside).expect("it is mapped");
        (file, iova - start)
    }

    /// Loads the descriptor's program, so that it has the handle that its RUN names.
    fn load(&mut self, job: &Vector, vectors: &[Vector], step: usize) {
        let wanted = job.number(&format!("step.{step}.program"));
        let program = named(vectors, job.program.as_deref().unwrap());
        while u128::from(self.host.load_well(&program.hex)) < wanted {}
    }

    /// Runs the job, which does all of its steps.
    fn run(&mut self, job: &Vector) {
        let done = self.host.job(&job.hex);
        self.succeeds(&done, job);
    }

    fn succeeds(&self, done: &Cqe, job: &Vector) {
        let steps = u32::try_from(job.number("steps")).unwrap();
        assert_eq!(done.outcome(), (0, steps, 0), "{}", job.name);
        let refused = self.host.card.counters().first_refused;
        assert!(refused.is_empty(), "{}: {refused:?}", job.name);
    }
}

/// Each descriptor runs, and has done what its fields say. A segment list is that of the descriptor
/// that names it.
pub(super) fn runs(vector: &Vector, vectors: &[Vector]) {
    let mut ground = Ground::new();
    match vector.name.as_str() {
        "descriptor_copy" => {
            let bytes: Vec<u8> = (0..1000u16).map(|at| at.to_le_bytes()[0] | 1).collect();
            ground.write(0x2000_0003, &bytes);
            ground.run(vector);
            assert_eq!(ground.read(0x2010_0000, 1000), bytes);
        }
        "descriptor_fill" => {
            ground.run(vector);
            let filled = ground.read(0x2010_0000, 65_537);
            assert!(filled[..65_536].iter().all(|byte| *byte == 0xA5) && filled[65_536] == 0);
        }
        "descriptor_copy_counted" => {
            ground.write(0x2020_0000, &[0xFF; 125]);
            ground.write(0x2040_0000, &80u64.to_le_bytes());
            ground.run(vector);
            let copied = ground.read(0x2030_0000, 125);
            assert!(copied[..10].iter().all(|byte| *byte == 0xFF));
            assert!(copied[10..].iter().all(|byte| *byte == 0));
        }
        "descriptor_run_mask" => {
            let (kept, _) = mask(&mut ground, vector, vectors);
            assert_eq!(ground.read(0x3000_3000, 24), done(kept));
            // What the report of that job says of its bytes: its times are those of another card.
            let report = ground.read(0x3000_3040, 64);
            assert_eq!(report[24..], named(vectors, "report").hex[24..]);
        }
        "descriptor_run_absent_validity" => {
            let values = |from: i32| (0..100).flat_map(move |row: i32| (from * row).to_le_bytes());
            ground.write(0x3000_0000, &values(3).collect::<Vec<u8>>());
            ground.write(0x3000_0400, &values(4).collect::<Vec<u8>>());
            // From bit 7 of the first byte on, every third row.
            let valid = (0..100).filter(|row| row % 3 == 0);
            let validity = valid.clone().fold([0; 14], |bits, row| set(bits, row + 7));
            ground.write(0x3000_0800, &validity);
            ground.load(vector, vectors, 0);
            ground.run(vector);
            let sums: Vec<u8> = values(7).collect();
            assert_eq!(ground.read(0x3000_0C00, 400), sums);
            let wanted = valid.fold([0; 13], set);
            assert_eq!(ground.read(0x3000_1000, 13), wanted);
            assert_eq!(ground.read(0x3000_3000, 24), done(100));
            let checksums = [crc32c::crc32c(&sums), crc32c::crc32c(&wanted)];
            let checksums: Vec<u8> = checksums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
            assert_eq!(ground.read(0x3000_3020, 8), checksums);
        }
        "descriptor_run_segments" | "segment_list" => {
            let job = named(vectors, "descriptor_run_segments");
            decimals(&mut ground, job, vectors, Ground::run);
        }
        other => panic!("{other} is new: say here what it does"),
    }
}

/// The job of an entry, which lies where that says.
pub(super) fn of_entry(sent: &[u8; 64], id: u16, vectors: &[Vector]) {
    let job = named(vectors, "descriptor_run_segments");
    let mut ground = Ground::new();
    decimals(&mut ground, job, vectors, |ground, job| {
        ground.write(0x6000_0000, &job.hex);
        ground.host.next_id = id;
        let done = ground.host.io(*sent);
        ground.succeeds(&done, job);
    });
}

/// The result block of a job that keeps as many rows, or traps in that row.
pub(super) fn results(vector: &Vector, vectors: &[Vector]) {
    let mut ground = Ground::new();
    let block = match vector.name.as_str() {
        "result_done" => {
            let job = named(vectors, "descriptor_run_mask");
            let (kept, _) = mask(&mut ground, job, vectors);
            assert_eq!(u128::from(kept), vector.number("rows_kept"));
            ground.read(0x3000_3000, 24)
        }
        "result_trapped" => {
            let rows = 5000;
            let row = usize::try_from(vector.number("row_of_the_trap")).unwrap();
            let mut column = vec![0; 4 * rows];
            column[4 * row..][..4].copy_from_slice(&i32::MAX.to_le_bytes());
            let host = &mut ground.host;
            let handle = host.load_well(&named(vectors, "program_add").hex);
            let column = memory(host.place(&column), 4 * rows);
            let out = memory(host.allocate(20_000, 64), 4 * rows);
            let validity = memory(host.allocate(625, 64), rows.div_ceil(8));
            let result = host.allocate(24, 8);
            let arguments = [column, absent(), column, absent(), out, validity];
            let step = run(5000, handle, result, 0, &arguments);
            assert_eq!(host.job(&descriptor(&[step], 0)).outcome().0, 0x0209);
            host.read(result, 24)
        }
        other => panic!("{other} is new: say here what has it as its result"),
    };
    assert_eq!(block, vector.hex, "{}", vector.name);
}

/// They are those of an execution, which is checked with it.
pub(super) fn checksums(vector: &Vector, vectors: &[Vector]) {
    let execution = named(vectors, &vector.name.replace("checksums", "execution"));
    assert_eq!(parse_hex(execution.text("checksums").unwrap()), vector.hex);
}

/// `a > -7` over 1,000 rows, of which 417 are valid and above.
fn mask(ground: &mut Ground, job: &Vector, vectors: &[Vector]) -> (u64, Vec<u8>) {
    // 834 rows are above, and every second is valid.
    let value = |row: i32| if row < 834 { row - 6 } else { -7 - row };
    let values: Vec<u8> = (0..1000).flat_map(|row| value(row).to_le_bytes()).collect();
    ground.write(0x3000_0000, &values);
    let valid = (0..1000).filter(|row| row % 2 == 0);
    let validity = valid.clone().fold([0; 126], |bits, row| set(bits, row + 3));
    ground.write(0x3000_1000, &validity);
    ground.load(job, vectors, 0);
    ground.run(job);
    let kept = valid.filter(|row| *row < 834);
    let wanted = kept.clone().fold([0; 125], set).to_vec();
    assert_eq!(ground.read(0x3000_2000, 125), wanted, "{}", job.name);
    (kept.count().try_into().unwrap(), wanted)
}

/// `b between 1 and 1000` over 1,025 rows of which `b` is the number and `a` a hundred times that,
/// the latter in three segments.
fn decimals(
    ground: &mut Ground,
    job: &Vector,
    vectors: &[Vector],
    run: impl FnOnce(&mut Ground, &Vector),
) {
    let segments = named(vectors, "segment_list");
    ground.write(0x4000_0000, &segments.hex);
    let a: Vec<u8> = (0..1025i128)
        .flat_map(|row| (100 * row).to_le_bytes())
        .collect();
    let mut rest = a.as_slice();
    for segment in 0..segments.count("segment", ".iova") {
        let field = |name: &str| segments.number(&format!("segment.{segment}.{name}"));
        let (part, behind) = rest.split_at(field("length").try_into().unwrap());
        ground.write(field("iova").try_into().unwrap(), part);
        rest = behind;
    }
    assert!(rest.is_empty());
    let b: Vec<u8> = (0..1025i64).flat_map(i64::to_le_bytes).collect();
    ground.write(0x3001_0000, &b);
    ground.load(job, vectors, 1);
    run(ground, job);
    assert_eq!(ground.read(0x3000_3000, 24), done(1000));
    let quotients: Vec<u8> = (1..=1000i128).flat_map(i128::to_le_bytes).collect();
    for place in [0x3002_0000, 0x5000_0000] {
        assert_eq!(ground.read(place, 16_000), quotients, "at {place:#x}");
    }
    assert_eq!(ground.read(0x5000_0000 + 16_000, 400), [0; 400]);
    assert_eq!(ground.read(0x3003_0000, 125), [0xFF; 125]);
    assert_eq!(ground.read(0x3004_0000, 8000), b[8..8008]);
}

/// The result block of a RUN that has kept so many rows.
fn done(kept: u64) -> Vec<u8> {
    [kept, u64::MAX, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

/// With this bit set.
fn set<const N: usize>(mut bits: [u8; N], bit: usize) -> [u8; N] {
    bits[bit / 8] |= 1 << (bit % 8);
    bits
}

pub(super) fn executes(vector: &Vector, vectors: &[Vector]) {
    let mut host = Host::new(Config::default());
    let host = &mut host;
    let program = named(vectors, vector.text("program").unwrap());
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
