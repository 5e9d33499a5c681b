//! Compaction of strings, against strings that are picked one by one.

use unlade_naive::generate::Rng;
use unlade_ptx::{Offsets, Param, StringsArg, compact_strings};
use unlade_sim_gpu::{Argument, Counters, DevicePointer, Gpu, Grid, Interleaving, Profile};

use crate::number;

/// Interleavings of each width.
const SEEDS: u64 = 64;
/// Rows of a tile.
const TILE: usize = 4096;
/// The status: rows and bytes.
const COUNTS: u64 = 16;

const WIDTHS: [Offsets; 2] = [Offsets::I32, Offsets::I64];

/// Strings and which of them are kept.
struct Column {
    strings: Vec<Vec<u8>>,
    keep: Vec<bool>,
    /// Where the mask begins in its first byte.
    mask_bit: usize,
    /// The first offset, which is above 0 in a slice of a longer column.
    before: u64,
}

impl Column {
    fn random(rows: usize, kept_of_100: usize, rng: &mut Rng) -> Column {
        let strings = (0..rows).map(|_| {
            let length = match rng.below(20) {
                0..5 => 0,
                5..16 => 1 + rng.below(12),
                16..19 => rng.below(70),
                _ => rng.below(400),
            };
            (0..length).map(|_| rng.next() as u8).collect()
        });
        Column {
            strings: strings.collect(),
            keep: (0..rows).map(|_| rng.chance(kept_of_100)).collect(),
            mask_bit: rng.below(8),
            before: rng.below(40) as u64,
        }
    }

    /// What is to come of it.
    fn kept(&self) -> Vec<&[u8]> {
        let both = self.strings.iter().zip(&self.keep);
        both.filter(|(_, keep)| **keep)
            .map(|(string, _)| string.as_slice())
            .collect()
    }

    fn mask(&self) -> Vec<u8> {
        let bits = self.mask_bit + self.keep.len();
        // What is around the rows is as good as any.
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        for (row, keep) in self.keep.iter().enumerate() {
            if !keep {
                let bit = self.mask_bit + row;
                bytes[bit / 8] &= !(1 << (bit % 8));
            }
        }
        bytes
    }

    fn offsets(&self) -> Vec<u64> {
        let mut offsets = vec![self.before];
        for string in &self.strings {
            offsets.push(offsets[offsets.len() - 1] + string.len() as u64);
        }
        offsets
    }
}

fn packed(width: Offsets, offsets: &[u64]) -> Vec<u8> {
    let step = width_bytes(width);
    let each = |offset: &u64| offset.to_le_bytes()[..step].to_vec();
    offsets.iter().flat_map(each).collect()
}

fn width_bytes(width: Offsets) -> usize {
    match width {
        Offsets::I32 => 4,
        Offsets::I64 => 8,
    }
}

/// Runs the kernel and fails where it writes anything else than the strings kept. What it did comes
/// back.
fn check(width: Offsets, column: &Column, seed: u64, resident_blocks: u32) -> Counters {
    let kept = column.kept();
    let mut kept_offsets = vec![0];
    for string in &kept {
        kept_offsets.push(kept_offsets[kept_offsets.len() - 1] + string.len() as u64);
    }
    let input = Input {
        column,
        first: column.before,
        offsets: &column.offsets(),
        bytes: &column.strings.concat(),
        wanted: (&kept_offsets, &kept.concat()),
    };
    input.check(width, seed, resident_blocks)
}

/// What the kernel is handed, and what is to come of it.
struct Input<'a> {
    /// Which rows are kept.
    column: &'a Column,
    first: u64,
    offsets: &'a [u64],
    bytes: &'a [u8],
    /// Offsets and bytes.
    wanted: (&'a [u64], &'a [u8]),
}

impl Input<'_> {
    fn check(&self, width: Offsets, seed: u64, resident_blocks: u32) -> Counters {
        let column = self.column;
        let mut interleaving = Interleaving::default();
        interleaving.seed = seed;
        interleaving.resident_blocks = resident_blocks;
        let mut gpu = Gpu::new(Profile::h200()).with_interleaving(interleaving);
        let rng = &mut Rng::new(seed);
        let rows = column.keep.len();
        let (wanted_offsets, wanted_bytes) = self.wanted;
        let kept = wanted_offsets.len() - 1;

        let step = width_bytes(width);
        let mask = put(&mut gpu, &column.mask(), rng.below(5));
        let offsets = put(&mut gpu, &packed(width, self.offsets), rng.below(3) * step);
        let bytes = put(&mut gpu, self.bytes, rng.below(17));
        // Neither has room for a byte more than what is kept.
        let kept_offsets_len = (kept + 1) * step;
        let kept_offsets = room(&mut gpu, kept_offsets_len);
        let kept_at = room(&mut gpu, wanted_bytes.len());
        let counts = room(&mut gpu, COUNTS as usize);

        let module = compact_strings(width);
        assert!(module.zeroed.is_empty() && module.kernels.len() == 1);
        let kernel = &module.kernels[0];
        let blocks = kernel.grid(rows as u64);
        let scratch_bytes = module.scratch.bytes(blocks);
        let scratch = room(&mut gpu, scratch_bytes as usize);
        gpu.fill(scratch, scratch_bytes, 0).expect("its own");
        let address = |arg: usize| match arg {
            _ if arg == StringsArg::Mask as usize => mask,
            _ if arg == StringsArg::Offsets as usize => offsets,
            _ if arg == StringsArg::Bytes as usize => bytes,
            _ if arg == StringsArg::KeptOffsets as usize => kept_offsets,
            _ if arg == StringsArg::KeptBytes as usize => kept_at,
            _ => panic!("an address that is not documented: {arg}"),
        };
        let given: Vec<Argument> = kernel
            .params
            .iter()
            .map(|param| match *param {
                Param::Rows => (rows as u64).into(),
                Param::Status => counts.into(),
                Param::Scratch => scratch.into(),
                Param::Address { arg } => address(arg).into(),
                Param::Length { arg } => {
                    assert_eq!(arg, StringsArg::Bytes as usize);
                    (self.bytes.len() as u64).into()
                }
                Param::Scalar { arg, bytes: 8 } => {
                    assert_eq!(arg, StringsArg::First as usize);
                    self.first.into()
                }
                Param::BitOffset { arg } => {
                    assert_eq!(arg, StringsArg::Mask as usize);
                    (column.mask_bit as u32).into()
                }
                other => panic!("a parameter that is not documented: {other}"),
            })
            .collect();
        let parsed = unlade_sim_gpu::Module::parse(&module.text).expect("a text that is PTX");
        let code = parsed.kernel(&kernel.name).expect("the kernel");
        let report = gpu
            .launch(code, Grid::linear(blocks, kernel.block), &given)
            .unwrap_or_else(|finding| panic!("{width:?}, seed {seed}: {finding}\n{}", module.text));

        let what = format!("{width:?}, seed {seed}, {rows} rows");
        let counted = get(&mut gpu, counts, COUNTS as usize);
        assert_eq!(counted[..8], (kept as u64).to_le_bytes(), "{what}");
        assert_eq!(
            counted[8..],
            (wanted_bytes.len() as u64).to_le_bytes(),
            "{what}"
        );
        assert!(
            get(&mut gpu, kept_offsets, kept_offsets_len) == packed(width, wanted_offsets),
            "{what}: offsets differ"
        );
        assert!(
            get(&mut gpu, kept_at, wanted_bytes.len()) == wanted_bytes,
            "{what}: bytes differ"
        );
        report.counters
    }
}

/// Memory that ends where the bytes do, so that a read beyond is found.
fn put(gpu: &mut Gpu, bytes: &[u8], before: usize) -> DevicePointer {
    let at = room(gpu, before + bytes.len());
    let at = DevicePointer(at.0 + before as u64);
    if !bytes.is_empty() {
        gpu.write(at, bytes).expect("memory of its own");
    }
    at
}

fn room(gpu: &mut Gpu, bytes: usize) -> DevicePointer {
    gpu.allocate(bytes.max(1) as u64).expect("little is used")
}

fn get(gpu: &mut Gpu, at: DevicePointer, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    if len > 0 {
        gpu.read(at, &mut bytes).expect("memory of its own");
    }
    bytes
}

#[test]
fn strings_are_compacted_whatever_the_number_of_rows() {
    for width in WIDTHS {
        let mut seed = 0;
        for rows in [
            0,
            1,
            7,
            8,
            9,
            31,
            32,
            33,
            511,
            513,
            2047,
            2049,
            TILE - 1,
            TILE,
            TILE + 1,
            2 * TILE + 77,
        ] {
            for kept_of_100 in [0, 3, 50, 100] {
                seed += 1;
                let column = Column::random(rows, kept_of_100, &mut Rng::new(seed));
                check(width, &column, seed, 4);
            }
        }
    }
}

#[test]
fn a_mask_may_begin_at_any_bit() {
    for width in WIDTHS {
        for mask_bit in 0..8 {
            for rows in [5, 8, 64, 300] {
                let mut column = Column::random(rows, 60, &mut Rng::new(3));
                column.mask_bit = mask_bit;
                check(width, &column, 3, 4);
            }
        }
    }
}

#[test]
fn empty_strings_and_long_ones_keep_their_bytes() {
    for width in WIDTHS {
        let mut column = Column::random(700, 70, &mut Rng::new(9));
        column.strings.iter_mut().for_each(Vec::clear);
        check(width, &column, 9, 4);
        column.strings[650] = (0..100_000u32).map(|at| at as u8).collect();
        column.keep[650] = true;
        column.strings[699] = b"last".to_vec();
        column.keep[699] = true;
        check(width, &column, 10, 4);
    }
}

/// Offsets that no column has: before the bytes and behind them, descending, and so that strings
/// overlap and together are longer than what there is.
#[test]
fn no_offset_leads_outside_the_bytes() {
    for width in WIDTHS {
        let largest = match width {
            Offsets::I32 => u64::from(u32::MAX),
            Offsets::I64 => u64::MAX,
        };
        for seed in 0..24 {
            let rng = &mut Rng::new(seed);
            let rows = rng.pick(&[1, 40, 3000, 2 * TILE + 77]);
            let column = Column {
                strings: Vec::new(),
                keep: (0..rows).map(|_| rng.chance(80)).collect(),
                mask_bit: rng.below(8),
                before: 0,
            };
            let len = rng.pick(&[0, 1, 500, 40_000]) as u64;
            let bytes: Vec<u8> = (0..len).map(|_| rng.next() as u8).collect();
            let first = rng.pick(&[0, 1000, largest / 2, largest - 7, u64::MAX]);
            // Whole columns of the worst, and mixtures.
            let kind = rng.below(5);
            let offsets: Vec<u64> = (0..=rows as u64)
                .map(|row| match if kind == 4 { rng.below(4) } else { kind } {
                    0 => rng.next(),
                    1 => row % 2 * largest,
                    2 => first.wrapping_add(rng.below(len as usize + 20) as u64),
                    _ => first.wrapping_add(len).wrapping_sub(row),
                })
                .map(|offset| offset & largest)
                .collect();
            let (wanted_offsets, wanted_bytes) = cut_short(&column.keep, first, &offsets, &bytes);
            let input = Input {
                column: &column,
                first,
                offsets: &offsets,
                bytes: &bytes,
                wanted: (&wanted_offsets, &wanted_bytes),
            };
            input.check(width, seed, 1 + (seed % 4) as u32);
        }
    }
}

/// Every second string is all there is, so that lengths added up would not fit into 32 bits.
#[test]
fn lengths_that_add_up_to_more_than_an_offset_says_are_cut_short() {
    let (rows, len) = (30 * TILE, 100_000);
    let column = Column {
        strings: Vec::new(),
        keep: vec![true; rows],
        mask_bit: 0,
        before: 0,
    };
    let bytes: Vec<u8> = (0..len).map(|at| (at * 7 / 3) as u8).collect();
    for width in WIDTHS {
        let offsets: Vec<u64> = (0..=rows as u64).map(|row| row % 2 * len).collect();
        let (wanted_offsets, wanted_bytes) = cut_short(&column.keep, 0, &offsets, &bytes);
        assert_eq!(wanted_bytes.len() as u64, len);
        let input = Input {
            column: &column,
            first: 0,
            offsets: &offsets,
            bytes: &bytes,
            wanted: (&wanted_offsets, &wanted_bytes),
        };
        input.check(width, 5, 4);
    }
}

/// What `compact_strings` says becomes of offsets that may be any.
fn cut_short(keep: &[bool], first: u64, offsets: &[u64], bytes: &[u8]) -> (Vec<u64>, Vec<u8>) {
    let at = |row: usize| {
        let behind = offsets[row].saturating_sub(first);
        behind.min(bytes.len() as u64) as usize
    };
    let (mut kept_offsets, mut kept) = (vec![0], Vec::new());
    for row in (0..keep.len()).filter(|row| keep[*row]) {
        let (start, end) = (at(row), at(row + 1));
        kept.extend_from_slice(&bytes[start..end.max(start)]);
        kept.truncate(bytes.len());
        kept_offsets.push(kept.len() as u64);
    }
    (kept_offsets, kept)
}

#[test]
fn every_interleaving_keeps_the_same_strings() {
    let seeds = number("UNLADE_SEEDS").unwrap_or(SEEDS);
    for width in WIDTHS {
        let column = Column::random(2 * TILE + 301, 50, &mut Rng::new(1));
        for seed in 0..seeds {
            check(width, &column, seed, 1 + (seed % 4) as u32);
        }
    }
}

/// More tiles than the look-back sees at once.
#[test]
fn tiles_of_strings_look_back_further_than_a_warp() {
    let tiles = 70;
    let mut column = Column::random(tiles * TILE - 5, 20, &mut Rng::new(2));
    column
        .strings
        .iter_mut()
        .for_each(|string| string.truncate(2));
    for width in WIDTHS {
        check(width, &column, 1, tiles as u32);
    }
}

/// Every second string kept. Its offset and the next one are read to measure it, and read again to
/// place it; its bytes once. What tiles read of each other's states depends on who comes first.
#[test]
fn strings_are_read_and_written_once() {
    let (tiles, length) = (3, 11);
    let rows = tiles * TILE;
    let column = Column {
        strings: (0..rows).map(|row| vec![row as u8; length]).collect(),
        keep: (0..rows).map(|row| row % 2 == 0).collect(),
        mask_bit: 0,
        before: 0,
    };
    let kept = rows / 2;
    for width in WIDTHS {
        let counted = check(width, &column, 1, 4);
        let offset = width_bytes(width);
        let loaded = rows / 8 + kept * (4 * offset + length);
        let states = counted.global_loaded - loaded as u64;
        // Each tile but the first sees a state before it of either kind, and 32 at a look at most.
        let least = 2 * 8 * (tiles - 1) as u64;
        assert!(states >= least, "{width:?}: {states} bytes of states");
        let published = 2 * 8 * (2 * tiles - 1);
        let stored = kept * (offset + length) + offset + published;
        assert_eq!(counted.global_stored, stored as u64 + COUNTS, "{width:?}");
        let taken = counted.thread_instructions as f64 / (kept * length) as f64;
        assert!(
            taken < 75.0,
            "{width:?}: {taken:.1} instructions for each byte kept"
        );
    }
}
