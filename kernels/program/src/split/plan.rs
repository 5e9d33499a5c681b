//! Who computes what, and in which order.

use std::collections::BTreeSet;

use super::{Lack, On, Reason};
use crate::{Inst, MaskOp, Program, Val};

/// Parts to be, and where the device's part was cut for its size.
pub(super) struct Plan {
    pub(super) stages: Vec<Stage>,
    pub(super) cut: Option<Lack>,
}

/// What one part computes, in terms of the whole.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) on: On,
    /// Conjuncts that earlier stages have computed: what the mask that enters stands for.
    pub(super) entering: Vec<Val>,
    /// Conjuncts that this stage computes.
    pub(super) conjuncts: Vec<Val>,
    /// Indices of outputs.
    pub(super) outputs: Vec<usize>,
    /// The traps, by the index of their instruction.
    pub(super) traps: Vec<Val>,
}

/// Assigns every conjunct, output and trap to a stage.
pub(super) fn plan(program: &Program, missing: &[Val], limit: usize) -> Plan {
    let mut device = Reach::new(program, missing, limit);
    let all = program
        .keep
        .map_or_else(Vec::new, |keep| conjuncts(program, keep));
    let (mut ours, mut theirs): (Vec<Val>, Vec<Val>) =
        all.iter().partition(|&&conjunct| device.takes(&[conjunct]));
    let (outputs, other_outputs): (Vec<usize>, Vec<usize>) =
        (0..program.outputs.len()).partition(|&index| {
            let output = program.outputs[index];
            let roots: Vec<Val> = [output.value].into_iter().chain(output.valid).collect();
            device.takes(&roots)
        });
    keep_validity_with_its_column(program, &mut ours, &mut theirs, &outputs);

    let stage = |on| Stage {
        on,
        entering: Vec::new(),
        conjuncts: Vec::new(),
        outputs: Vec::new(),
        traps: Vec::new(),
    };
    // Outputs are compacted by the whole filter, so they come after every conjunct.
    let mut stages = Vec::new();
    if theirs.is_empty() || outputs.is_empty() {
        stages.push(Stage {
            conjuncts: ours,
            outputs,
            ..stage(On::Device)
        });
        if !theirs.is_empty() || !other_outputs.is_empty() {
            stages.push(Stage {
                conjuncts: theirs,
                outputs: other_outputs,
                ..stage(On::Cpu)
            });
        }
    } else if ours.is_empty() {
        stages.push(Stage {
            conjuncts: theirs,
            outputs: other_outputs,
            ..stage(On::Cpu)
        });
        stages.push(Stage {
            outputs,
            ..stage(On::Device)
        });
    } else {
        stages.push(Stage {
            conjuncts: theirs,
            ..stage(On::Cpu)
        });
        stages.push(Stage {
            conjuncts: ours,
            outputs,
            ..stage(On::Device)
        });
        if !other_outputs.is_empty() {
            stages.push(Stage {
                outputs: other_outputs,
                ..stage(On::Cpu)
            });
        }
    }
    let mut entering: Vec<Val> = Vec::new();
    for stage in &mut stages {
        stage.entering = entering.clone();
        entering.extend(&stage.conjuncts);
    }
    place_traps(program, &mut device, &mut stages, &all);
    Plan {
        stages,
        cut: device.cut,
    }
}

/// The operands of the conjunctions at the top of a mask, in source order, each once.
pub(super) fn conjuncts(program: &Program, mask: Val) -> Vec<Val> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut pending = vec![mask];
    while let Some(val) = pending.pop() {
        if !seen.insert(val) {
            continue;
        }
        match program.insts[val.index()] {
            Inst::Mask {
                op: MaskOp::And,
                lhs,
                rhs,
            } => pending.extend([rhs, lhs]),
            _ => found.push(val),
        }
    }
    found
}

/// What is left of a conjunction once the conjuncts that a mask stands for are taken out, or
/// `None` where it does not hold them all.
pub(super) fn without(program: &Program, mask: Val, entering: &[Val]) -> Option<Vec<Val>> {
    if entering.is_empty() {
        return None;
    }
    let mut rest = conjuncts(program, mask);
    let before = rest.len();
    let covered: BTreeSet<&Val> = entering.iter().collect();
    rest.retain(|conjunct| !covered.contains(conjunct));
    (before - rest.len() == entering.len()).then_some(rest)
}

/// The null check of a column belongs with the conjunct that reads the column: by itself it would
/// only carry the column's validity to the device.
fn keep_validity_with_its_column(
    program: &Program,
    ours: &mut Vec<Val>,
    theirs: &mut Vec<Val>,
    outputs: &[usize],
) {
    let reads = |roots: &[Val]| {
        let mut columns = vec![false; program.columns.len()];
        for (inst, live) in program.insts.iter().zip(cone(program, roots)) {
            if let Inst::Load { column } = inst
                && live
            {
                columns[*column as usize] = true;
            }
        }
        columns
    };
    let output_values = outputs.iter().map(|&index| program.outputs[index].value);
    let by_device = reads(
        &ours
            .iter()
            .copied()
            .chain(output_values)
            .collect::<Vec<_>>(),
    );
    let by_cpu = reads(theirs);
    ours.retain(|&conjunct| {
        let Inst::Validity { column } = program.insts[conjunct.index()] else {
            return true;
        };
        let theirs_only = by_cpu[column as usize] && !by_device[column as usize];
        if theirs_only {
            theirs.push(conjunct);
        }
        !theirs_only
    });
}

/// A trap goes to the device if that can compute its condition, perhaps with the mask that enters;
/// else to the CPU: with the outputs if only rows that the filter keeps can trap, else as early as
/// may be.
fn place_traps(program: &Program, device: &mut Reach<'_>, stages: &mut Vec<Stage>, all: &[Val]) {
    for (index, inst) in (0u32..).zip(&program.insts) {
        let Inst::Trap { when, .. } = *inst else {
            continue;
        };
        let trap = Val(index);
        let on_device = stages.iter_mut().find(|stage| stage.on == On::Device);
        if let Some(stage) = on_device {
            let rest = without(program, when, &stage.entering);
            if device.advertises(trap) && device.takes(&rest.unwrap_or_else(|| vec![when])) {
                stage.traps.push(trap);
                continue;
            }
        }
        let of_kept_rows = without(program, when, all).is_some();
        let mut on_cpu = stages.iter_mut().filter(|stage| stage.on == On::Cpu);
        let stage = if of_kept_rows {
            on_cpu.next_back()
        } else {
            on_cpu.next()
        };
        match stage {
            Some(stage) => stage.traps.push(trap),
            None => stages.push(Stage {
                on: On::Cpu,
                entering: all.to_vec(),
                conjuncts: Vec::new(),
                outputs: Vec::new(),
                traps: vec![trap],
            }),
        }
    }
}

/// What the device can compute, and how much of that it has been given.
struct Reach<'a> {
    program: &'a Program,
    /// Of each instruction, whether the device has its cell.
    advertised: Vec<bool>,
    /// Of each value, whether the device has the cells of everything it is computed from.
    within: Vec<bool>,
    /// Of each instruction, whether it was given to the device.
    given: Vec<bool>,
    instructions: usize,
    limit: usize,
    cut: Option<Lack>,
}

impl<'a> Reach<'a> {
    fn new(program: &'a Program, missing: &[Val], limit: usize) -> Self {
        let count = program.insts.len();
        let mut advertised = vec![true; count];
        missing
            .iter()
            .for_each(|val| advertised[val.index()] = false);
        let mut within = advertised.clone();
        for (index, inst) in program.insts.iter().enumerate() {
            inst.for_each_operand(|operand| within[index] &= within[operand.index()]);
        }
        Reach {
            program,
            advertised,
            within,
            given: vec![false; count],
            // To read the mask that enters.
            instructions: 1,
            limit,
            cut: None,
        }
    }

    fn advertises(&self, val: Val) -> bool {
        self.advertised[val.index()]
    }

    /// Gives the device some values, all or none of them.
    fn takes(&mut self, roots: &[Val]) -> bool {
        if !roots.iter().all(|root| self.within[root.index()]) {
            return false;
        }
        let mut added = Vec::new();
        let mut pending = roots.to_vec();
        while let Some(val) = pending.pop() {
            if !std::mem::replace(&mut self.given[val.index()], true) {
                added.push(val);
                self.program.insts[val.index()].for_each_operand(|operand| pending.push(operand));
            }
        }
        // Each root is combined with what is there by one instruction at most, or made a trap.
        let instructions = self.instructions + added.len() + roots.len() + 1;
        if instructions <= self.limit {
            self.instructions = instructions;
            return true;
        }
        for val in added {
            self.given[val.index()] = false;
        }
        if let (None, Some(&val)) = (&self.cut, roots.first()) {
            let limit = self.limit;
            self.cut = Some(Lack {
                val,
                reason: Reason::TooLarge {
                    instructions,
                    limit,
                },
            });
        }
        false
    }
}

/// Of each instruction, whether some of the values are computed from it, or are it.
pub(super) fn cone(program: &Program, roots: &[Val]) -> Vec<bool> {
    let mut live = vec![false; program.insts.len()];
    roots.iter().for_each(|root| live[root.index()] = true);
    for index in (0..live.len()).rev() {
        if live[index] {
            program.insts[index].for_each_operand(|operand| live[operand.index()] = true);
        }
    }
    live
}
