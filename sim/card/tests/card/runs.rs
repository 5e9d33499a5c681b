//! RUN: filters, traps, tables and sets.

use unlade_sim_card::{Config, FaultPlan, Profile};

use crate::encode::{absent, bits, descriptor, fill, memory, run};
use crate::host::{Cqe, Host};
use crate::program::{
    Bytecode, I32, MASK, U8, buffer, filter, immediate, indexed, load, store, word,
};

// Statuses.
const BAD_ARGUMENT: u16 = 0x0208;
const TRAPPED: u16 = 0x0209;

fn host() -> Host {
    Host::new(Config::default())
}

/// Some tiles and a bit: what is kept goes on without gaps across their borders, wherever they are.
#[test]
fn a_filter_compacts_over_tiles_from_any_bit_offset() {
    for tile_rows in [64, 192, 1024, 8192] {
        let mut profile = Profile::full();
        profile.tile_rows = tile_rows;
        let faults = FaultPlan::none();
        filter_from_any_bit_offset(Host::new(Config {
            profile,
            seed: 1,
            faults,
        }));
    }
}

fn filter_from_any_bit_offset(mut host: Host) {
    let program = host.load_well(&filter());
    let rows = 3 * 1024 + 5;
    let value = |row: usize| i32::try_from(row % 7).unwrap() - 3;
    let values: Vec<i32> = (0..rows)
        .map(|row| if value(row) == -1 { -9 } else { value(row) })
        .collect();
    let valid: Vec<bool> = (0..rows).map(|row| row % 5 != 0).collect();
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let data = host.place(&data);
    for offset in 0..8u8 {
        let skipped = usize::from(offset);
        let ones = std::iter::repeat_n(1, skipped);
        let padded: Vec<u128> = ones
            .chain(valid.iter().map(|&valid| u128::from(valid)))
            .collect();
        let bitmap = buffer(MASK, &padded);
        let bitmap_at = host.place(&bitmap);
        let (mask, kept) = (host.allocate(1024, 64), host.allocate(16384, 64));
        let (flag, flag_validity) = (host.allocate(1024, 64), host.allocate(1024, 64));
        let (result, checksums) = (host.allocate(24, 8), host.allocate(20, 8));
        let arguments = [
            memory(data, rows * 4),
            bits(bitmap_at, bitmap.len(), offset),
            memory(mask, 1024),
            memory(kept, 16384),
            absent(),
            memory(flag, 1024),
            memory(flag_validity, 1024),
        ];
        let before = host.card.counters().bytes_read;
        let step = run(
            rows.try_into().unwrap(),
            program,
            result,
            checksums,
            &arguments,
        );
        assert_eq!(host.job(&descriptor(&[step], 0)).outcome(), (0, 1, 0));

        let keeps: Vec<bool> = values
            .iter()
            .zip(&valid)
            .map(|(&value, &valid)| value >= 0 && valid)
            .collect();
        let wanted_mask = buffer(
            MASK,
            &keeps
                .iter()
                .map(|&keep| u128::from(keep))
                .collect::<Vec<_>>(),
        );
        assert_eq!(host.read(mask, wanted_mask.len()), wanted_mask);
        let wanted: Vec<u8> = values
            .iter()
            .zip(&keeps)
            .filter(|(_, keep)| **keep)
            .flat_map(|(value, _)| value.to_le_bytes())
            .collect();
        assert_eq!(host.read(kept, wanted.len()), wanted);
        let count = wanted.len() / 4;
        assert_eq!(host.read_u64(result), u64::try_from(count).unwrap());
        // All rows kept have the mask set that kept them; all of it is valid where the column is.
        let ones = buffer(MASK, &vec![1; count]);
        assert_eq!(host.read(flag, ones.len()), ones);
        let sums = [crc(&wanted_mask), crc(&wanted), 0, crc(&ones), crc(&ones)];
        let sums: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        assert_eq!(host.read(checksums, 20), sums);
        // Every byte has moved once.
        let moved = u64::try_from(rows * 4 + bitmap.len()).unwrap();
        assert_eq!(host.card.counters().bytes_read - before, moved);
    }
}

fn crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// Runs the filter over these values, all valid.
fn run_filter(host: &mut Host, values: &[i32]) -> (Cqe, Vec<u8>) {
    let program = host.load_well(&filter());
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let length = data.len();
    let data = host.place(&data);
    let result = host.allocate(24, 8);
    let out = host.allocate(65_536, 64);
    let outputs = [0, 1, 2, 3].map(|part| memory(out + 16_384 * part, 16_384));
    let [mask, kept, flag, flag_validity] = outputs;
    let arguments = [
        memory(data, length),
        absent(),
        mask,
        kept,
        absent(),
        flag,
        flag_validity,
    ];
    let rows = values.len().try_into().unwrap();
    let step = run(rows, program, result, 0, &arguments);
    let after = fill(1, memory(result + 4096, 0));
    (
        host.job(&descriptor(&[step, after], 0)),
        host.read(result, 24),
    )
}

#[test]
fn the_first_row_traps_with_its_least_ordinal_kept_or_not() {
    let mut host = host();
    let mut values = vec![4; 3000];
    values[2100] = -1;
    values[2999] = -1;
    let (done, block) = run_filter(&mut host, &values);
    assert_eq!(
        done.outcome(),
        (TRAPPED, 0, 0),
        "the step after it does not run"
    );
    let wanted = [
        &0u64.to_le_bytes()[..],
        &2100u64.to_le_bytes(),
        &5u32.to_le_bytes(),
        &[0; 4],
    ];
    assert_eq!(block, wanted.concat());
    let (done, _) = run_filter(&mut host, &[4; 10]);
    assert_eq!(done.outcome(), (0, 2, 0));
    assert_eq!(host.card.counters().jobs_trapped, 1);
}

#[test]
fn tables_and_sets() {
    let mut host = host();
    let program = Bytecode {
        columns: vec![(2, 0)],
        tables: vec![I32, MASK],
        sets: vec![2],
        outputs: vec![(I32, 0), (MASK, 0), (MASK, 0), (MASK, 0), (MASK, 0)],
        words: vec![
            load(2, 0, 0),
            indexed(word(100, 2, I32, &[1, 0]), 0),
            indexed(word(101, 2, MASK, &[0, 0]), 0),
            indexed(word(100, 2, MASK, &[1, 0]), 1),
            indexed(word(101, 2, MASK, &[2, 0]), 1),
            indexed(word(102, 2, MASK, &[3, 0]), 0),
            store(I32, 1, 0),
            store(MASK, 0, 1),
            store(MASK, 1, 2),
            store(MASK, 2, 3),
            store(MASK, 3, 4),
        ],
        ..Bytecode::default()
    };
    let program = host.load_well(&program.bytes());
    let column = host.place(&[0u8, 1, 2, 3, 9, 15, 16, 0xFF]);
    let table: Vec<u8> = [10i32, -20, 30]
        .iter()
        .flat_map(|entry| entry.to_le_bytes())
        .collect();
    let table = host.place(&table);
    let flags = host.place(&[0b0000_0101, 0b1000_0010]);
    let set = host.place(&[0xFF, 1, 3]);
    let out = host.allocate(4096, 4096);
    let result = host.allocate(24, 8);
    let at = |part: u64| memory(out + 64 * part, 64);
    let mut arguments = vec![
        memory(column, 8),
        absent(),
        memory(table, 12),
        memory(flags, 2),
        memory(set, 3),
    ];
    for output in 0..5 {
        arguments.extend([at(output), absent()]);
    }
    let step = run(8, program, result, 0, &arguments);
    assert_eq!(host.job(&descriptor(&[step], 0)).outcome(), (0, 1, 0));
    let looked_up: Vec<u8> = [10i32, -20, 30, 0, 0, 0, 0, 0]
        .iter()
        .flat_map(|entry| entry.to_le_bytes())
        .collect();
    assert_eq!(host.read(out, 32), looked_up);
    assert_eq!(host.read(out + 64, 1), [0b0000_0111]);
    assert_eq!(host.read(out + 128, 1), [0b0011_0101]);
    assert_eq!(host.read(out + 192, 1), [0b0011_1111]);
    assert_eq!(host.read(out + 256, 1), [0b1000_1010]);

    // Part of an entry.
    arguments[2] = memory(table, 11);
    let step = run(8, program, result, 0, &arguments);
    assert_eq!(
        host.job(&descriptor(&[step], 0)).outcome(),
        (BAD_ARGUMENT, 0, 2)
    );
}

#[test]
fn a_run_without_rows_or_outputs_counts() {
    let mut host = host();
    let program = Bytecode {
        columns: vec![(U8, 0)],
        words: vec![
            load(U8, 0, 0),
            immediate(word(110, MASK, MASK, &[0xFF, 0]), 1),
        ],
        ..Bytecode::default()
    };
    // The TRAP reads m0, which nothing has written.
    assert_eq!(host.load(&program.bytes()), (0x030D, 1, 96));
    let counts = Bytecode {
        words: vec![load(U8, 0, 0)],
        ..program
    };
    let counts = host.load_well(&counts.bytes());
    let result = host.allocate(24, 8);
    for rows in [0u64, 70] {
        let data = host.allocate(rows, 64);
        let arguments = [memory(data, rows.try_into().unwrap()), absent()];
        let done = host.job(&descriptor(&[run(rows, counts, result, 0, &arguments)], 0));
        assert_eq!(done.outcome(), (0, 1, 0));
        assert_eq!(host.read_u64(result), rows);
        assert_eq!(host.read_u64(result + 8), u64::MAX);
    }
}
