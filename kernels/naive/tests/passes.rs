//! Passes keep what a program computes: random programs before and after, on random inputs.

use std::collections::BTreeMap;

use unlade_naive::generate::{Options, Rng, random_inputs, random_program};
use unlade_naive::{Outputs, RunError, run};
use unlade_program::passes::{cse, dead, fold, optimise};
use unlade_program::{Cell, Op, Program, Ty, cells, verify};

/// The results that a program promises: bits under a cleared validity are arbitrary.
fn promised(program: &Program, result: Result<Outputs, RunError>) -> Result<Outputs, RunError> {
    let types = program.types();
    result.map(|mut outputs| {
        for (output, column) in program.outputs.iter().zip(&mut outputs.columns) {
            let ty = types[output.value.index()].expect("an output has a type");
            let kept = outputs.kept;
            // A validity that is always true says nothing.
            let all = (0..kept).all(|row| {
                column
                    .validity
                    .as_ref()
                    .is_none_or(|bits| bits[(row / 8) as usize] >> (row % 8) & 1 == 1)
            });
            if all {
                column.validity = None;
            }
            if let Some(validity) = &column.validity {
                for row in 0..kept {
                    if validity[(row / 8) as usize] >> (row % 8) & 1 == 0 {
                        clear(&mut column.values, ty, row);
                    }
                }
            }
        }
        outputs
    })
}

fn clear(values: &mut [u8], ty: Ty, row: u64) {
    if ty == Ty::Mask {
        values[(row / 8) as usize] &= !(1 << (row % 8));
    } else {
        let width = ty.bytes_for(1) as usize;
        values[row as usize * width..][..width].fill(0);
    }
}

type Pass = fn(&mut Program);

#[test]
fn passes_keep_results() {
    let passes: [(&str, Pass); 4] = [
        ("fold", |program| {
            fold(program);
        }),
        ("cse", |program| {
            cse(program);
        }),
        ("dead", |program| {
            dead(program);
        }),
        ("optimise", optimise),
    ];
    let mut rng = Rng::new(0x0971_0515e);
    let (mut smaller, mut trapped) = (0, 0);
    for case in 0..3000 {
        let options = Options {
            constants: rng.pick(&[10, 50, 100]),
            ..Options::default()
        };
        let program = random_program(&mut rng, &options);
        let inputs = random_inputs(&program, rng.pick(&[1, 17, 64]), &mut rng);
        let wanted = promised(&program, run(&program, &inputs.borrow()));
        trapped += usize::from(wanted.is_err());
        for (name, pass) in passes {
            let mut after = program.clone();
            pass(&mut after);
            assert_eq!(
                verify(&after),
                Ok(()),
                "{name}, case {case}:\n{program}\n{after}"
            );
            let found = promised(&after, run(&after, &inputs.borrow()));
            assert_eq!(found, wanted, "{name}, case {case}:\n{program}\n{after}");
            smaller += usize::from(after.insts.len() < program.insts.len());
        }
    }
    assert!(
        smaller > 1000 && trapped > 50,
        "{smaller} smaller, {trapped} trapped"
    );
}

/// The same on programs of few types and many constants, in which identities abound.
#[test]
fn passes_keep_results_where_identities_abound() {
    let few = [Ty::Mask, Ty::I8, Ty::F32];
    let pool: Vec<Cell> = cells()
        .filter(|cell| few.contains(&cell.operand) && few.contains(&cell.result))
        .filter(|cell| !matches!(cell.op, Op::Load | Op::Param | Op::Lookup | Op::InSet))
        .collect();
    let mut rng = Rng::new(0x1de_417);
    let mut smaller = 0;
    for case in 0..4000 {
        let options = Options {
            cells: (0..12).map(|_| rng.pick(&pool)).collect(),
            constants: 40,
            ..Options::default()
        };
        let program = random_program(&mut rng, &options);
        let inputs = random_inputs(&program, 40, &mut rng);
        let mut after = program.clone();
        optimise(&mut after);
        let wanted = promised(&program, run(&program, &inputs.borrow()));
        let found = promised(&after, run(&after, &inputs.borrow()));
        assert_eq!(found, wanted, "case {case}:\n{program}\n{after}");
        smaller += usize::from(after.insts.len() < program.insts.len());
    }
    assert!(smaller > 3500, "only {smaller} became smaller");
}

/// Every operation of constants folds to what the interpreter computes.
#[test]
fn every_operation_of_constants_folds() {
    let mut rng = Rng::new(0xf01d);
    let mut folded: BTreeMap<Cell, usize> = BTreeMap::new();
    for cell in cells() {
        let source = matches!(cell.op, Op::Load | Op::Validity | Op::Param | Op::Trap);
        let looks_up = matches!(cell.op, Op::Lookup | Op::InBounds | Op::InSet);
        if source || looks_up {
            continue;
        }
        for case in 0..60 {
            let options = Options {
                cells: vec![cell],
                traps: false,
                keep: false,
                constants: 100,
                ..Options::default()
            };
            let program = random_program(&mut rng, &options);
            let inputs = random_inputs(&program, 1, &mut rng);
            let mut after = program.clone();
            optimise(&mut after);
            let wanted = promised(&program, run(&program, &inputs.borrow()));
            let found = promised(&after, run(&after, &inputs.borrow()));
            assert_eq!(found, wanted, "{cell}, case {case}:\n{program}\n{after}");
            if after.insts.iter().all(|inst| Op::of(inst) == Op::Const) {
                *folded.entry(cell).or_default() += 1;
            }
        }
    }
    for (cell, count) in folded {
        assert_eq!(count, 60, "{cell} is not folded always");
    }
}
