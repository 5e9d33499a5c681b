//! Drops instructions that nothing needs, and the arguments that only they used.
//!
//! The dead-code pass of programs leaves their arguments alone, since a caller has bound them
//! already. Here nothing is bound yet, so an unused column or literal goes away altogether.

use unlade_program::{Inst, Program, Val};

use super::builder::Built;

/// The same program without dead instructions and arguments.
pub(super) fn sweep(built: Built) -> Built {
    let Built {
        mut program,
        mut columns,
        mut params,
        mut tables,
        mut sets,
    } = built;
    let live = live(&program);
    if live.iter().all(|live| *live) {
        return Built {
            program,
            columns,
            params,
            tables,
            sets,
        };
    }
    let mut used = Used {
        columns: vec![false; program.columns.len()],
        params: vec![false; program.params.len()],
        tables: vec![false; program.tables.len()],
        sets: vec![false; program.sets.len()],
    };
    for (inst, _) in program.insts.iter().zip(&live).filter(|(_, live)| **live) {
        used.mark(inst);
    }
    let renumbered = Renumbered {
        columns: positions(&used.columns),
        params: positions(&used.params),
        tables: positions(&used.tables),
        sets: positions(&used.sets),
    };
    let values = positions(&live);
    let moved = |val: Val| Val(values[val.index()].into());
    retain(&mut program.columns, &used.columns);
    retain(&mut columns, &used.columns);
    retain(&mut program.params, &used.params);
    retain(&mut params, &used.params);
    retain(&mut program.tables, &used.tables);
    retain(&mut tables, &used.tables);
    retain(&mut program.sets, &used.sets);
    retain(&mut sets, &used.sets);
    retain(&mut program.insts, &live);
    for inst in &mut program.insts {
        inst.map_operands(moved);
        renumbered.apply(inst);
    }
    program.keep = program.keep.map(moved);
    for output in &mut program.outputs {
        output.value = moved(output.value);
        output.valid = output.valid.map(moved);
    }
    Built {
        program,
        columns,
        params,
        tables,
        sets,
    }
}

/// Which instructions a result or a trap depends on.
fn live(program: &Program) -> Vec<bool> {
    let mut live = vec![false; program.insts.len()];
    if let Some(keep) = program.keep {
        live[keep.index()] = true;
    }
    for output in &program.outputs {
        live[output.value.index()] = true;
        if let Some(valid) = output.valid {
            live[valid.index()] = true;
        }
    }
    for (at, inst) in program.insts.iter().enumerate().rev() {
        live[at] |= matches!(inst, Inst::Trap { .. });
        if live[at] {
            inst.for_each_operand(|operand| live[operand.index()] = true);
        }
    }
    live
}

struct Used {
    columns: Vec<bool>,
    params: Vec<bool>,
    tables: Vec<bool>,
    sets: Vec<bool>,
}

impl Used {
    fn mark(&mut self, inst: &Inst) {
        match *inst {
            Inst::Load { column } | Inst::Validity { column } => {
                self.columns[usize::from(column)] = true;
            }
            Inst::Param { index } => self.params[usize::from(index)] = true,
            Inst::Lookup { table, .. } | Inst::InBounds { table, .. } => {
                self.tables[usize::from(table)] = true;
            }
            Inst::InSet { set, .. } => self.sets[usize::from(set)] = true,
            _ => {}
        }
    }
}

struct Renumbered {
    columns: Vec<u16>,
    params: Vec<u16>,
    tables: Vec<u16>,
    sets: Vec<u16>,
}

impl Renumbered {
    fn apply(&self, inst: &mut Inst) {
        match inst {
            Inst::Load { column } | Inst::Validity { column } => {
                *column = self.columns[usize::from(*column)];
            }
            Inst::Param { index } => *index = self.params[usize::from(*index)],
            Inst::Lookup { table, .. } | Inst::InBounds { table, .. } => {
                *table = self.tables[usize::from(*table)];
            }
            Inst::InSet { set, .. } => *set = self.sets[usize::from(*set)],
            _ => {}
        }
    }
}

/// Where each kept entry comes to lie. Limits were checked before, so positions fit.
fn positions(kept: &[bool]) -> Vec<u16> {
    let mut next = 0;
    kept.iter()
        .map(|kept| {
            let position = next;
            next += u16::from(*kept);
            position
        })
        .collect()
}

fn retain<T>(list: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    list.retain(|_| kept.next().copied().unwrap_or(false));
}
