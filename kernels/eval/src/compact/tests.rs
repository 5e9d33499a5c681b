use super::*;
use crate::testing::Random;

/// Lengths around words and blocks.
const ROWS: &[usize] = if cfg!(miri) {
    &[0, 65]
} else {
    &[0, 1, 63, 64, 65, 127, 200, 1000, 4095, 4096, 4097, 9000]
};

const WIDTHS: &[usize] = if cfg!(miri) {
    &[3, 4, 16]
} else {
    &[1, 2, 3, 4, 8, 12, 16]
};

/// A mask of some density in per cent at some bit offset.
struct Mask {
    bytes: Vec<u8>,
    offset: usize,
    rows: Vec<usize>,
}

fn masks(random: &mut Random, rows: usize) -> Vec<Mask> {
    let mut masks = Vec::new();
    for percent in [0, 2, 50, 97, 100] {
        let offset = [0, 0, 1, 7, 8, 67][random.below(6)];
        let bytes = random.bits(offset + rows, percent);
        let rows = (0..rows)
            .filter(|row| bytes[(offset + row) / 8] >> ((offset + row) % 8) & 1 == 1)
            .collect();
        masks.push(Mask {
            bytes,
            offset,
            rows,
        });
    }
    masks
}

impl Mask {
    fn bits(&self) -> BitsRef<'_> {
        BitsRef {
            bytes: &self.bytes,
            offset: self.offset,
        }
    }
}

#[test]
fn values_of_every_width_are_compacted_at_every_level() {
    let mut random = Random::new(11);
    for &rows in ROWS {
        for mask in masks(&mut random, rows) {
            for &width in WIDTHS {
                let values: Vec<u8> = (0..rows * width).map(|_| random.next() as u8).collect();
                let expected: Vec<u8> = mask
                    .rows
                    .iter()
                    .flat_map(|row| &values[row * width..][..width])
                    .copied()
                    .collect();
                for &level in Level::available() {
                    for room in [0, 64 * width] {
                        let mut out = vec![0xaa; expected.len() + room];
                        let kept = fixed(level, width, &values, mask.bits(), rows, &mut out);
                        assert_eq!(kept, mask.rows.len(), "{level}, {width} bytes, {rows} rows");
                        assert!(
                            out[..expected.len()] == expected,
                            "{level}, {width} bytes, {rows} rows, {room} bytes of room"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn bits_are_compacted_at_every_level() {
    let mut random = Random::new(12);
    for &rows in ROWS {
        for mask in masks(&mut random, rows) {
            let offset = random.below(70);
            let bytes = random.bits(offset + rows, 50);
            let values = BitsRef {
                bytes: &bytes,
                offset,
            };
            let mut expected = vec![0u8; mask.rows.len().div_ceil(8)];
            for (to, row) in mask.rows.iter().enumerate() {
                let bit = offset + row;
                expected[to / 8] |= (bytes[bit / 8] >> (bit % 8) & 1) << (to % 8);
            }
            for &level in Level::available() {
                let mut out = vec![0xaa; expected.len()];
                assert_eq!(
                    bits(level, values, mask.bits(), rows, &mut out),
                    mask.rows.len()
                );
                assert_eq!(out, expected, "{level}, {rows} rows");
            }
        }
    }
}

#[test]
fn strings_are_compacted() {
    let mut random = Random::new(13);
    for &rows in ROWS {
        // What a slice of an array looks like: the offsets do not begin at zero.
        let mut offsets = vec![5i64];
        for row in 0..rows {
            let length = [0, 1, 7, 8, 12, 16, 17, 40][random.below(8)];
            offsets.push(offsets[row] + length);
        }
        let data: Vec<u8> = (0..offsets[rows]).map(|_| random.next() as u8).collect();
        let narrow: Vec<i32> = offsets.iter().map(|offset| *offset as i32).collect();
        for mask in masks(&mut random, rows) {
            let mut expected_offsets = vec![0i64];
            let mut expected = Vec::new();
            for &row in &mask.rows {
                expected.extend(&data[offsets[row] as usize..offsets[row + 1] as usize]);
                expected_offsets.push(expected.len() as i64);
            }
            let length = bytes_len(&offsets, data.len(), mask.bits(), rows).unwrap();
            assert_eq!(length, expected.len());
            let mut out = vec![0; length];
            let mut out_offsets = vec![-1i64; mask.rows.len() + 1];
            let kept = bytes(
                &offsets,
                &data,
                mask.bits(),
                rows,
                &mut out_offsets,
                &mut out,
            )
            .unwrap();
            assert_eq!(
                (kept, &out, &out_offsets),
                (mask.rows.len(), &expected, &expected_offsets)
            );

            let mut out_narrow = vec![-1i32; mask.rows.len() + 1];
            let mut out = vec![0; length];
            bytes(&narrow, &data, mask.bits(), rows, &mut out_narrow, &mut out).unwrap();
            assert_eq!(out, expected);
            assert!(
                out_narrow
                    .iter()
                    .zip(&expected_offsets)
                    .all(|(a, b)| i64::from(*a) == *b)
            );
        }
    }
}

#[test]
fn malformed_offsets_are_refused_where_they_are_used() {
    let keep = |bits: u8| [bits];
    let data = [0u8; 10];
    for (offsets, bits, row) in [
        ([0i32, 4, 2, 6], 0b111, Some(0)), // descends within a run
        ([0, 4, 2, 6], 0b010, Some(1)),    // descends in the row itself
        ([0, 4, 2, 6], 0b101, None),       // no row kept is affected
        ([-1, 4, 5, 6], 0b001, Some(0)),   // begins before the data
        ([0, 4, 5, 11], 0b100, Some(2)),   // ends behind the data
    ] {
        let mask_bytes = keep(bits);
        let mask = BitsRef {
            bytes: &mask_bytes,
            offset: 0,
        };
        let mut out = [0; 20];
        let mut out_offsets = [0; 4];
        let written = bytes(&offsets, &data, mask, 3, &mut out_offsets, &mut out);
        assert_eq!(
            written.err().map(|error| error.row),
            row,
            "{offsets:?}, {bits:03b}"
        );
    }
    let mask = BitsRef {
        bytes: &[0b101],
        offset: 0,
    };
    let overlapping = [0i64, 10, 0, 10];
    assert_eq!(bytes_len(&overlapping, 10, mask, 3), Ok(20));
}

#[test]
fn rows_are_listed_however_few_they_are() {
    let mut listed = vec![7; 3];
    for words in [1, 7, 8, 9, 64, 128] {
        // From all of them to the last alone.
        for every in [1, 3, 63, 64, 511, 1000, usize::MAX] {
            let rows: Vec<u16> = (0..words * WORD)
                .filter(|row| row % every == every.min(words * WORD) - 1)
                .map(|row| row as u16)
                .collect();
            let mut keep = vec![0u64; words];
            for row in &rows {
                keep[usize::from(*row) / WORD] |= 1 << (usize::from(*row) % WORD);
            }
            list_rows(&keep, rows.len(), &mut listed);
            assert_eq!(listed, rows, "{words} words, every {every}th row");
        }
    }
}
