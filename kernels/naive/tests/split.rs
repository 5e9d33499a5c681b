//! The parts of a split program compute what the whole does: random programs, inputs and devices.

use unlade_naive::generate::{Options, Rng, random_inputs, random_program};
use unlade_naive::{Bits, ColumnInput, Inputs, OutputColumn, Outputs, RunError, run};
use unlade_program::{
    Cell, CellSet, ColumnSource, On, Op, Program, Split, cells, split, unsupported, verify,
};

#[test]
fn parts_compute_what_the_whole_does() {
    let mut rng = Rng::new(0x5b117);
    let (mut two, mut three, mut trapped, mut limited, mut whole_on_cpu) = (0, 0, 0, 0, 0);
    for case in 0..4000 {
        let options = Options {
            random_cells: rng.pick(&[3, 8, 16]),
            ..Options::default()
        };
        let program = random_program(&mut rng, &options);
        let device = random_device(&program, &mut rng);
        let limit = rng.pick(&[1000, 1000, 1000, 20, 10]);
        let split = split(&program, &device, limit, &[]);
        let context = format!("case {case}, limit {limit}:\n{program}\n{split:#?}");
        for part in &split.parts {
            assert_eq!(verify(&part.program), Ok(()), "{context}");
            if part.on == On::Device {
                assert_eq!(unsupported(&part.program, &device), [], "{context}");
                assert!(part.program.insts.len() <= limit, "{context}");
            }
        }
        let on_device = split.parts.iter().filter(|part| part.on == On::Device);
        assert!(on_device.count() <= 1, "{context}");
        let everything = split.lacks.is_empty();
        assert_eq!(
            everything,
            unsupported(&program, &device).is_empty() && program.insts.len() <= limit,
            "{context}"
        );

        let inputs = random_inputs(&program, 70, &mut rng);
        let inputs = inputs.borrow();
        let found = run_parts(&split, &inputs, program.outputs.len());
        match run(&program, &inputs) {
            Ok(wanted) => assert_eq!(found, Ok(wanted), "{context}"),
            // Which trap it is, only the whole can tell.
            Err(_) => {
                assert!(matches!(found, Err(RunError::Trap(_))), "{context}");
                trapped += 1;
            }
        }
        two += usize::from(split.parts.len() == 2);
        three += usize::from(split.parts.len() == 3);
        limited += usize::from(program.insts.len() > limit && split.parts.len() > 1);
        whole_on_cpu += usize::from(split.parts.len() == 1 && split.parts[0].on == On::Cpu);
    }
    let seen = [two, three, trapped, limited, whole_on_cpu];
    assert!(seen.iter().all(|&count| count > 100), "too rare: {seen:?}");
}

/// A device that lacks some cells of the program, or none, or kinds of them.
fn random_device(program: &Program, rng: &mut Rng) -> CellSet {
    let types = program.types();
    let mut used: Vec<Cell> = program
        .insts
        .iter()
        .map(|inst| Cell::of(program, &types, inst))
        .collect();
    used.sort_unstable();
    used.dedup();
    let lacking = match rng.below(8) {
        0 => 0,
        1 => used.len(),
        2..=5 => 1 + rng.below(2),
        _ => 1 + rng.below(used.len().max(1)),
    };
    let basic = rng.chance(80);
    let mut lacks: Vec<Cell> = (0..lacking)
        .filter(|_| !used.is_empty())
        .map(|_| rng.pick(&used))
        .collect();
    if basic {
        lacks.retain(|cell| !matches!(cell.op, Op::Load | Op::And | Op::Trap));
    }
    cells().filter(|cell| !lacks.contains(cell)).collect()
}

/// Runs one part after the other, handing on the mask.
fn run_parts(split: &Split, inputs: &Inputs<'_>, outputs: usize) -> Result<Outputs, RunError> {
    let mut columns = vec![OutputColumn::default(); outputs];
    let mut filled = vec![false; outputs];
    let mut mask: Option<Vec<u8>> = None;
    let mut kept = inputs.rows;
    for part in &split.parts {
        let entering = mask.take();
        let inputs = Inputs {
            rows: inputs.rows,
            columns: part
                .columns
                .iter()
                .map(|source| match source {
                    ColumnSource::Column(index) => inputs.columns[usize::from(*index)],
                    ColumnSource::Mask => ColumnInput {
                        values: Bits {
                            bytes: entering.as_deref().expect("the part before left a mask"),
                            bit_offset: 0,
                        },
                        validity: None,
                    },
                })
                .collect(),
            params: pick(&inputs.params, &part.params),
            tables: pick(&inputs.tables, &part.tables),
            sets: pick(&inputs.sets, &part.sets),
        };
        let result = run(&part.program, &inputs)?;
        for (&index, column) in part.outputs.iter().zip(result.columns) {
            columns[usize::from(index)] = column;
            filled[usize::from(index)] = true;
        }
        mask = result.mask;
        kept = result.kept;
    }
    assert!(filled.iter().all(|&filled| filled), "an output is missing");
    Ok(Outputs {
        kept,
        mask,
        columns,
    })
}

fn pick<T: Copy>(whole: &[T], indices: &[u16]) -> Vec<T> {
    indices
        .iter()
        .map(|&index| whole[usize::from(index)])
        .collect()
}
