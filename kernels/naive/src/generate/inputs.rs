//! Random inputs for a program.

use unlade_program::{Imm, Program, Ty};

use super::programs::is_trap_guard;
use super::{Rng, random_value};
use crate::{Bits, ColumnInput, Inputs};

/// A run of bits in a buffer of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedBits {
    /// The buffer; bits outside the run are random.
    pub bytes: Vec<u8>,
    /// Where in it the first row's bit is.
    pub bit_offset: u64,
}

/// One column with buffers of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedColumn {
    /// The values; the bit offset is 0 except in masks.
    pub values: OwnedBits,
    /// Which rows are not null, or `None` where all are.
    pub validity: Option<OwnedBits>,
}

/// [`Inputs`] with buffers of their own, each just as long as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedInputs {
    /// How many rows there are.
    pub rows: u64,
    /// One per column.
    pub columns: Vec<OwnedColumn>,
    /// One per parameter.
    pub params: Vec<[u8; 16]>,
    /// One per table.
    pub tables: Vec<Vec<u8>>,
    /// One per set, ascending.
    pub sets: Vec<Vec<u8>>,
}

impl OwnedInputs {
    /// The inputs as the interpreter takes them.
    pub fn borrow(&self) -> Inputs<'_> {
        Inputs {
            rows: self.rows,
            columns: self
                .columns
                .iter()
                .map(|column| ColumnInput {
                    values: column.values.borrow(),
                    validity: column.validity.as_ref().map(OwnedBits::borrow),
                })
                .collect(),
            params: self.params.clone(),
            tables: self.tables.iter().map(Vec::as_slice).collect(),
            sets: self.sets.iter().map(Vec::as_slice).collect(),
        }
    }
}

impl OwnedBits {
    fn borrow(&self) -> Bits<'_> {
        Bits {
            bytes: &self.bytes,
            bit_offset: self.bit_offset,
        }
    }
}

/// Inputs of so many rows that fit a program: special values, nulls, bit offsets, and dictionaries
/// and sets of various sizes, empty ones too.
pub fn random_inputs(program: &Program, rows: u64, rng: &mut Rng) -> OwnedInputs {
    let columns = (0u16..)
        .zip(&program.columns)
        .map(|(index, column)| {
            let values = match column.ty {
                Ty::Mask if is_trap_guard(program, index) => trap_guard(rows, rng),
                Ty::Mask => random_bits(rows, rng),
                ty => OwnedBits {
                    bytes: random_values(ty, rows, rng),
                    bit_offset: 0,
                },
            };
            let has_validity = column.nullable && rng.chance(80);
            OwnedColumn {
                values,
                validity: has_validity.then(|| random_bits(rows, rng)),
            }
        })
        .collect();
    OwnedInputs {
        rows,
        columns,
        params: program
            .params
            .iter()
            .map(|&ty| random_value(ty, rng).to_le_bytes())
            .collect(),
        tables: program
            .tables
            .iter()
            .map(|&ty| {
                let entries: u64 = rng.pick(&[0, 1, 7, 64, 100, 300]);
                match ty {
                    Ty::Mask => (0..entries.div_ceil(8)).map(|_| rng.next() as u8).collect(),
                    _ => random_values(ty, entries, rng),
                }
            })
            .collect(),
        sets: program.sets.iter().map(|&ty| random_set(ty, rng)).collect(),
    }
}

fn random_values(ty: Ty, rows: u64, rng: &mut Rng) -> Vec<u8> {
    // Most columns hold anything; some hold small values only, so that whole tiles stay within a
    // type, a table or a range.
    let small = ty.is_integer() && rng.chance(30);
    let mut bytes = Vec::with_capacity(ty.bytes_for(rows) as usize);
    for _ in 0..rows {
        let value = if small {
            Imm::from_le_bytes(ty, (rng.below(100) as i128).to_le_bytes())
        } else {
            random_value(ty, rng)
        };
        push(&mut bytes, value);
    }
    bytes
}

/// Bits set with some density, at some offset, in a buffer that is no longer than needed.
fn random_bits(rows: u64, rng: &mut Rng) -> OwnedBits {
    let percent = rng.pick(&[0, 3, 50, 50, 90, 97, 100]);
    bits(rows, rng, |_, rng| rng.chance(percent))
}

/// Mostly empty; else one row is set, or two.
fn trap_guard(rows: u64, rng: &mut Rng) -> OwnedBits {
    if rows == 0 || rng.chance(85) {
        return bits(rows, rng, |_, _| false);
    }
    let fires = [rng.next() % rows, rng.next() % rows];
    bits(rows, rng, |row, _| fires.contains(&row))
}

fn bits(rows: u64, rng: &mut Rng, mut set: impl FnMut(u64, &mut Rng) -> bool) -> OwnedBits {
    let bit_offset = rng.pick(&[0, 0, 1, 3, 7, 8, 13, 64, 67]);
    let length = (bit_offset + rows).div_ceil(8) as usize;
    let mut bytes: Vec<u8> = (0..length).map(|_| rng.next() as u8).collect();
    for row in 0..rows {
        let bit = bit_offset + row;
        let place = &mut bytes[(bit / 8) as usize];
        let value = set(row, rng);
        *place = *place & !(1 << (bit % 8)) | u8::from(value) << (bit % 8);
    }
    OwnedBits { bytes, bit_offset }
}

fn random_set(ty: Ty, rng: &mut Rng) -> Vec<u8> {
    let entries = rng.pick(&[0, 1, 2, 5, 30, 200]);
    let mut members: Vec<Imm> = (0..entries).map(|_| random_value(ty, rng)).collect();
    members.sort_unstable_by_key(|member| member.bits());
    members.dedup();
    let mut bytes = Vec::new();
    for member in members {
        push(&mut bytes, member);
    }
    bytes
}

fn push(bytes: &mut Vec<u8>, value: Imm) {
    let width = value.ty().bytes_for(1) as usize;
    bytes.extend_from_slice(&value.to_le_bytes()[..width]);
}
