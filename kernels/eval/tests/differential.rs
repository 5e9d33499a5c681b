//! The evaluator against the naive interpreter, at every level of this machine.

use unlade_eval::{
    BitsRef, ColumnRef, Executable, Failure, Inputs, Level, OutputMut, Outputs, SLACK, Scratch,
};
use unlade_naive::generate::{
    Options, OwnedBits, OwnedColumn, OwnedInputs, Rng, random_inputs, random_program,
};
use unlade_naive::{OutputColumn, RunError};
use unlade_program::{FloatOrder, Inst, MaskOp, Program, Ty, Val, cells};

/// Fewer and shorter runs where each instruction is interpreted.
const SCALE: usize = if cfg!(miri) { 1 } else { 12 };

#[test]
fn every_cell_agrees() {
    let mut rng = Rng::new(7);
    let mut scratch = Scratch::new();
    for (number, cell) in cells().enumerate() {
        if cfg!(miri) && number % 16 != 0 {
            continue;
        }
        for round in 0..SCALE / 4 + 1 {
            let options = Options {
                cells: vec![cell],
                ..Options::default()
            };
            let program = random_program(&mut rng, &options);
            let rows = rng.pick(&[0, 1, 63, 64, 65, 127, 200, 333]);
            let inputs = random_inputs(&program, rows, &mut rng);
            let context = format!("{cell}, round {round}, {rows} rows");
            assert_agrees(&program, &inputs, &mut scratch, &mut rng, &context);
        }
    }
}

#[test]
fn random_programs_agree() {
    let mut rng = Rng::new(8);
    let mut scratch = Scratch::new();
    for round in 0..SCALE * SCALE * 3 {
        let program = random_program(&mut rng, &Options::default());
        let rows = rng.pick(&[1, 64, 65, 300, 700]);
        let inputs = random_inputs(&program, rows, &mut rng);
        assert_agrees(
            &program,
            &inputs,
            &mut scratch,
            &mut rng,
            &format!("round {round}"),
        );
    }
}

/// Of random floats hardly two are zeros of different signs, or NaNs.
#[test]
fn special_floats_compare_alike() {
    let doubles = [
        0.0,
        1.0,
        f64::MAX,
        f64::INFINITY,
        f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0001),
        f64::from_bits(1),
    ];
    let floats = [
        0.0,
        1.0,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
        f32::from_bits(0x7f80_0001),
        f32::from_bits(1),
    ];
    let doubles = doubles.iter().flat_map(|&value| [value, -value]);
    let floats = floats.iter().flat_map(|&value| [value, -value]);
    compare_all_pairs("f64", &doubles.map(f64::to_le_bytes).collect::<Vec<_>>());
    compare_all_pairs("f32", &floats.map(f32::to_le_bytes).collect::<Vec<_>>());
}

/// Compares every value with every other, in each order, both as rows.
fn compare_all_pairs<const WIDTH: usize>(ty: &str, values: &[[u8; WIDTH]]) {
    let mut rng = Rng::new(11);
    let mut scratch = Scratch::new();
    let column = |of: &dyn Fn(usize) -> [u8; WIDTH]| OwnedColumn {
        values: OwnedBits {
            bytes: (0..values.len() * values.len()).flat_map(of).collect(),
            bit_offset: 0,
        },
        validity: None,
    };
    let inputs = OwnedInputs {
        rows: (values.len() * values.len()) as u64,
        columns: vec![
            column(&|row| values[row / values.len()]),
            column(&|row| values[row % values.len()]),
        ],
        params: Vec::new(),
        tables: Vec::new(),
        sets: Vec::new(),
    };
    for order in FloatOrder::ALL {
        for op in ["eq", "ne", "lt", "le", "gt", "ge"] {
            let text = format!(
                "columns c0: {ty}, c1: {ty}\n%0 = load c0\n%1 = load c1\n\
                 %2 = cmp.{op}.{} %0, %1\noutput %2\n",
                order.name()
            );
            let program: Program = text.parse().expect("the text form of a program");
            assert_agrees(&program, &inputs, &mut scratch, &mut rng, "all pairs");
        }
    }
}

/// Lowering adds the filter to the condition of every trap that only outputs need; those traps are
/// then looked for among the kept rows alone.
#[test]
fn traps_of_kept_rows_agree() {
    let mut rng = Rng::new(9);
    let mut scratch = Scratch::new();
    for round in 0..SCALE * SCALE {
        let mut program = random_program(&mut rng, &Options::default());
        let Some(keep) = program.keep else {
            continue;
        };
        let types = program.types();
        let masks: Vec<Val> = (0..program.insts.len() as u32)
            .map(Val)
            .filter(|val| types[val.index()] == Some(Ty::Mask))
            .collect();
        program.insts.retain_mut(|inst| {
            if let Inst::Trap { when, .. } = inst {
                // Kept as an instruction, so that the numbers of the others stay.
                *inst = Inst::Not { arg: *when };
            }
            true
        });
        for ordinal in 0..3 {
            let when = Val(program.insts.len() as u32);
            let (lhs, rhs) = match rng.below(2) {
                0 => (keep, rng.pick(&masks)),
                _ => (rng.pick(&masks), keep),
            };
            program.insts.push(Inst::Mask {
                op: MaskOp::And,
                lhs,
                rhs,
            });
            program.insts.push(Inst::Trap {
                when,
                code: unlade_program::TrapCode::Overflow,
                ordinal,
            });
        }
        unlade_program::verify(&program).expect("traps were added as they should be");
        let inputs = random_inputs(&program, 300, &mut rng);
        assert_agrees(
            &program,
            &inputs,
            &mut scratch,
            &mut rng,
            &format!("round {round}"),
        );
    }
}

#[test]
fn tiles_of_the_default_size_agree() {
    let mut rng = Rng::new(10);
    let mut scratch = Scratch::new();
    for round in 0..SCALE {
        let options = Options {
            random_cells: 6,
            ..Options::default()
        };
        let program = random_program(&mut rng, &options);
        let inputs = random_inputs(&program, if cfg!(miri) { 100 } else { 9_001 }, &mut rng);
        let expected = unlade_naive::run(&program, &inputs.borrow());
        for &level in Level::available() {
            let executable = Executable::with_level(&program, level);
            let found = evaluate(&executable, &inputs, Alignment::Natural, &mut scratch);
            assert_same(
                &expected,
                &found,
                &program,
                &format!("round {round}, {level}"),
            );
        }
    }
}

/// Runs at every level, with several tile sizes and alignments, and compares with the oracle.
fn assert_agrees(
    program: &Program,
    inputs: &OwnedInputs,
    scratch: &mut Scratch,
    rng: &mut Rng,
    context: &str,
) {
    let expected = unlade_naive::run(program, &inputs.borrow());
    for &level in Level::available() {
        let tile = rng.pick(&[64, 128, 192, 1024]);
        let alignment = rng.pick(&[Alignment::Natural, Alignment::Natural, Alignment::Odd]);
        let executable = Executable::with_level(program, level).with_tile_rows(tile);
        let found = evaluate(&executable, inputs, alignment, scratch);
        let context = format!("{context}, {level}, tiles of {tile}, {alignment:?}");
        assert_same(&expected, &found, program, &context);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alignment {
    Natural,
    Odd,
}

fn assert_same(
    expected: &Result<unlade_naive::Outputs, RunError>,
    found: &Result<unlade_naive::Outputs, Failure>,
    program: &Program,
    context: &str,
) {
    match (expected, found) {
        (Ok(expected), Ok(found)) => {
            assert_eq!(expected.kept, found.kept, "{context}: rows kept\n{program}");
            assert_eq!(expected.mask, found.mask, "{context}: mask\n{program}");
            for (index, (expected, found)) in
                expected.columns.iter().zip(&found.columns).enumerate()
            {
                assert_eq!(expected, found, "{context}: output {index}\n{program}");
            }
        }
        (Err(RunError::Trap(expected)), Err(Failure::Trap(found))) => {
            assert_eq!(expected, found, "{context}: trap\n{program}");
        }
        (expected, found) => {
            panic!("{context}: {expected:?} was expected, {found:?} found\n{program}")
        }
    }
}

/// Bytes at an address of choice.
struct Placed {
    bytes: Vec<u128>,
    start: usize,
    length: usize,
}

impl Placed {
    fn new(length: usize, start: usize) -> Placed {
        Placed {
            bytes: vec![0; (length + start).div_ceil(16) + 1],
            start,
            length,
        }
    }

    fn copy(bytes: &[u8], start: usize) -> Placed {
        let mut placed = Placed::new(bytes.len(), start);
        placed.as_mut().copy_from_slice(bytes);
        placed
    }

    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: numbers seen as bytes, within the vector and its borrow.
        let all = unsafe {
            std::slice::from_raw_parts_mut(self.bytes.as_mut_ptr().cast(), self.bytes.len() * 16)
        };
        &mut all[self.start..][..self.length]
    }

    fn as_ref(&self) -> &[u8] {
        // SAFETY: as above.
        let all = unsafe {
            std::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.bytes.len() * 16)
        };
        &all[self.start..][..self.length]
    }
}

fn evaluate(
    executable: &Executable,
    inputs: &OwnedInputs,
    alignment: Alignment,
    scratch: &mut Scratch,
) -> Result<unlade_naive::Outputs, Failure> {
    let program = executable.program();
    let rows = inputs.rows as usize;
    let start = if alignment == Alignment::Odd { 3 } else { 0 };
    let values: Vec<Placed> = inputs
        .columns
        .iter()
        .map(|column| Placed::copy(&column.values.bytes, start))
        .collect();
    let bits = |bits: &OwnedBits| (bits.bytes.clone(), bits.bit_offset as usize);
    let validity: Vec<_> = inputs
        .columns
        .iter()
        .map(|column| column.validity.as_ref().map(bits))
        .collect();
    let columns: Vec<ColumnRef<'_>> = inputs
        .columns
        .iter()
        .zip(&values)
        .zip(&validity)
        .map(|((column, values), validity)| ColumnRef {
            values: values.as_ref(),
            bit_offset: column.values.bit_offset as u8,
            validity: validity.as_ref().map(|(bytes, offset)| BitsRef {
                bytes,
                offset: *offset,
            }),
        })
        .collect();
    let tables: Vec<&[u8]> = inputs.tables.iter().map(Vec::as_slice).collect();
    let sets: Vec<&[u8]> = inputs.sets.iter().map(Vec::as_slice).collect();
    let arguments = Inputs {
        rows,
        columns: &columns,
        params: &inputs.params,
        tables: &tables,
        sets: &sets,
    };

    let types = program.types();
    let value_types: Vec<Ty> = program
        .outputs
        .iter()
        .map(|output| types[output.value.index()].unwrap())
        .collect();
    let mut mask = program
        .emit_mask
        .then(|| vec![0xff; rows.div_ceil(8) + SLACK]);
    let mut out_values: Vec<Placed> = value_types
        .iter()
        .map(|ty| {
            let mut placed = Placed::new(ty.bytes_for(rows as u64) as usize + SLACK, 0);
            placed.as_mut().fill(0xff);
            placed
        })
        .collect();
    let mut out_validity: Vec<Option<Vec<u8>>> = program
        .outputs
        .iter()
        .map(|output| output.valid.map(|_| vec![0xff; rows.div_ceil(8) + SLACK]))
        .collect();
    let mut out_columns: Vec<OutputMut<'_>> = out_values
        .iter_mut()
        .zip(&mut out_validity)
        .map(|(values, validity)| OutputMut {
            values: values.as_mut(),
            validity: validity.as_deref_mut(),
        })
        .collect();
    let mut outputs = Outputs {
        mask: mask.as_deref_mut(),
        columns: &mut out_columns,
    };
    let done = unlade_eval::run(executable, &arguments, &mut outputs, scratch)?;

    if let Some(mask) = &mut mask {
        mask.truncate(rows.div_ceil(8));
    }
    let columns = value_types
        .iter()
        .zip(out_values)
        .zip(out_validity)
        .map(|((ty, values), validity)| OutputColumn {
            values: values.as_ref()[..ty.bytes_for(done.kept as u64) as usize].to_vec(),
            validity: validity.map(|bits| bits[..done.kept.div_ceil(8)].to_vec()),
        })
        .collect();
    Ok(unlade_naive::Outputs {
        kept: done.kept as u64,
        mask,
        columns,
    })
}
