//! Where a program that does not fit is cut.

use std::collections::BTreeSet;

use unlade_program::passes::drop_unused_inputs;
use unlade_program::{Output, Program, Val};

use super::order::is_source;
use super::whole;
use crate::limits::Limits;

/// The last instruction up to which a program that does not fit is one that does, `None` where
/// there is none. Found by halving: it fits, and with one more instruction it does not.
pub(super) fn last_that_fits(program: &Program, limits: &Limits) -> Option<Val> {
    let (mut fits, mut exceeds) = (0, program.insts.len());
    while exceeds - fits > 1 {
        let middle = fits.midpoint(exceeds);
        match whole(&prefix(program, middle), limits) {
            Ok(_) => fits = middle,
            Err(_) => exceeds = middle,
        }
    }
    let last = u32::try_from(fits).ok()?.checked_sub(1)?;
    Some(Val(last))
}

/// The first instructions of a program, with the values that are read behind them as outputs, but
/// for those that can be read from an input again. There is no filter: it is read behind them, too.
fn prefix(program: &Program, count: usize) -> Program {
    let mut read = BTreeSet::new();
    for inst in &program.insts[count..] {
        inst.for_each_operand(|operand| {
            read.insert(operand);
        });
    }
    read.extend(program.keep);
    for output in &program.outputs {
        read.extend([output.value].into_iter().chain(output.valid));
    }
    let outputs = read
        .into_iter()
        .filter(|&val| val.index() < count && !is_source(program, val))
        .map(|value| Output { value, valid: None })
        .collect();
    let mut prefix = Program {
        columns: program.columns.clone(),
        params: program.params.clone(),
        tables: program.tables.clone(),
        sets: program.sets.clone(),
        insts: program.insts[..count].to_vec(),
        outputs,
        ..Program::default()
    };
    drop_unused_inputs(&mut prefix);
    prefix
}
