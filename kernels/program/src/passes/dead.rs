//! Dead code: instructions that no output, filter or trap needs.

use super::rewrite::replace_roots;
use crate::{Inst, Program, Val};

/// Drops instructions whose value nothing needs, and returns whether there were any. Inputs stay,
/// read or not: see [`super::drop_unused_inputs`].
///
/// # Panics
/// Where an operand is not made before its use.
pub fn dead(program: &mut Program) -> bool {
    let count = program.insts.len();
    let mut live = vec![false; count];
    for root in roots(program) {
        live[root.index()] = true;
    }
    for (index, inst) in program.insts.iter().enumerate().rev() {
        if live[index] || matches!(inst, Inst::Trap { .. }) {
            live[index] = true;
            inst.for_each_operand(|operand| live[operand.index()] = true);
        }
    }
    if live.iter().all(|&live| live) {
        return false;
    }
    let mut places = vec![Val(u32::MAX); count];
    let mut made = 0;
    for index in 0..count {
        if live[index] {
            let mut inst = program.insts[index];
            inst.map_operands(|operand| places[operand.index()]);
            program.insts[made] = inst;
            places[index] = Val(made as u32);
            made += 1;
        }
    }
    program.insts.truncate(made);
    replace_roots(program, |val| places[val.index()]);
    true
}

/// The values that the filter and the outputs refer to.
fn roots(program: &Program) -> impl Iterator<Item = Val> {
    let outputs = program
        .outputs
        .iter()
        .flat_map(|output| [Some(output.value), output.valid]);
    outputs.chain([program.keep]).flatten()
}
