//! Makes a part's program from what it has to compute.

use super::plan::{Stage, cone, without};
use super::{ColumnSource, On, Part};
use crate::passes::drop_unused_inputs;
use crate::{Column, Inst, MaskOp, Output, Program, Ty, Val};

/// The parts of a program, one per stage that has something to do.
pub(super) fn build(whole: &Program, stages: &[Stage]) -> Vec<Part> {
    let mut parts = Vec::with_capacity(stages.len());
    for (index, stage) in stages.iter().enumerate() {
        let idle = stage.conjuncts.is_empty() && stage.outputs.is_empty() && stage.traps.is_empty();
        if idle && stage.on == On::Device {
            continue;
        }
        let last = index + 1 == stages.len();
        parts.push(build_one(whole, stage, last));
    }
    parts
}

fn build_one(whole: &Program, stage: &Stage, last: bool) -> Part {
    let mask_column = whole.columns.len() as u16;
    let mut program = Program {
        columns: whole.columns.clone(),
        params: whole.params.clone(),
        tables: whole.tables.clone(),
        sets: whole.sets.clone(),
        ..Program::default()
    };
    program.columns.push(Column {
        ty: Ty::Mask,
        nullable: false,
    });

    // The condition of each trap, as what the mask that enters does not stand for.
    let conditions: Vec<Condition> = stage
        .traps
        .iter()
        .map(|&trap| Condition::of(whole, trap, &stage.entering))
        .collect();
    let outputs = stage.outputs.iter().map(|&index| whole.outputs[index]);
    let roots: Vec<Val> = stage
        .conjuncts
        .iter()
        .copied()
        .chain(
            outputs
                .clone()
                .flat_map(|output| [output.value].into_iter().chain(output.valid)),
        )
        .chain(
            conditions
                .iter()
                .flat_map(|condition| condition.rest.iter().copied()),
        )
        .collect();

    let mut places = vec![Val(u32::MAX); whole.insts.len()];
    let live = cone(whole, &roots);
    for index in (0..whole.insts.len()).filter(|&index| live[index]) {
        let mut inst = whole.insts[index];
        inst.map_operands(|operand| places[operand.index()]);
        places[index] = push(&mut program, inst);
    }
    let place = |val: Val| places[val.index()];

    let masked = conditions.iter().any(|condition| condition.masked);
    let entering = (!stage.entering.is_empty() && (masked || whole.keep.is_some())).then(|| {
        push(
            &mut program,
            Inst::Load {
                column: mask_column,
            },
        )
    });
    program.keep = conjunction(
        &mut program,
        entering,
        stage.conjuncts.iter().map(|&c| place(c)),
    );
    program.emit_mask = program.keep.is_some() && (!last || whole.emit_mask);
    for condition in &conditions {
        let first = entering.filter(|_| condition.masked);
        let rest = condition.rest.iter().map(|&val| place(val));
        let when = conjunction(&mut program, first, rest);
        let Inst::Trap { code, ordinal, .. } = whole.insts[condition.trap.index()] else {
            unreachable!("the plan lists traps as traps");
        };
        push(
            &mut program,
            Inst::Trap {
                when: when.expect("a condition is the mask, or something is left of it"),
                code,
                ordinal,
            },
        );
    }
    program.outputs = outputs
        .map(|output| Output {
            value: place(output.value),
            valid: output.valid.map(place),
        })
        .collect();

    let map = drop_unused_inputs(&mut program);
    debug_assert_eq!(crate::verify(&program), Ok(()), "split into\n{program}");
    Part {
        on: stage.on,
        columns: map
            .columns
            .iter()
            .map(|&column| match column {
                column if column == mask_column => ColumnSource::Mask,
                column => ColumnSource::Column(column),
            })
            .collect(),
        params: map.params,
        tables: map.tables,
        sets: map.sets,
        outputs: stage.outputs.iter().map(|&index| index as u16).collect(),
        program,
    }
}

/// When a trap fires: where all of these masks are set.
struct Condition {
    trap: Val,
    /// Whether the mask that enters is one of them.
    masked: bool,
    rest: Vec<Val>,
}

impl Condition {
    fn of(whole: &Program, trap: Val, entering: &[Val]) -> Condition {
        let Inst::Trap { when, .. } = whole.insts[trap.index()] else {
            unreachable!("the plan lists traps as traps");
        };
        match without(whole, when, entering) {
            Some(rest) => Condition {
                trap,
                masked: true,
                rest,
            },
            None => Condition {
                trap,
                masked: false,
                rest: vec![when],
            },
        }
    }
}

/// The conjunction of some masks, `None` of none.
fn conjunction(
    program: &mut Program,
    first: Option<Val>,
    rest: impl Iterator<Item = Val>,
) -> Option<Val> {
    rest.fold(first, |all, mask| {
        Some(match all {
            None => mask,
            Some(all) => push(
                program,
                Inst::Mask {
                    op: MaskOp::And,
                    lhs: all,
                    rhs: mask,
                },
            ),
        })
    })
}

fn push(program: &mut Program, inst: Inst) -> Val {
    program.insts.push(inst);
    Val(program.insts.len() as u32 - 1)
}
