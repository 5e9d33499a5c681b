//! Programs to bytecode.

mod allocate;
mod order;
mod prefix;
mod readers;
mod uses;
mod word;

use unlade_program::{Program, Ty, Val};

use crate::bytecode::{Bytecode, OutputType, encode};
use crate::limits::Limits;
use crate::refused::Refused;

/// Bytecode of `program` for a card with these limits.
///
/// The card is one that lists every operation of the program ([`crate::cells`]), and has the
/// feature COMPACTION where the program has both a filter and outputs. What nothing needs is left
/// out; inputs stay as they are, so that the arguments of an execution do too. The header's label
/// is 0. The same program and limits give the same bytes.
///
/// # Errors
/// [`Refused`], with the place to cut.
///
/// # Panics
/// Where the program is not one that [`unlade_program::verify`] accepts.
pub fn lower(program: &Program, limits: &Limits) -> Result<Vec<u8>, Refused> {
    let limits = limits.of_host();
    whole(program, &limits).map_err(|refused| refused.at(prefix::last_that_fits(program, &limits)))
}

/// The same without looking for the place to cut.
fn whole(program: &Program, limits: &Limits) -> Result<Vec<u8>, Refused> {
    within("columns", program.columns.len(), limits.columns)?;
    within("parameters", program.params.len(), limits.params)?;
    within("tables", program.tables.len(), limits.tables)?;
    within("sets", program.sets.len(), limits.sets)?;
    within("outputs", program.outputs.len(), limits.outputs)?;

    let types = program.types();
    let steps = order::order(program, &types);
    let allocated = allocate::allocate(program, &types, &steps, limits)?;
    within("words", allocated.placed.len(), limits.words)?;
    let (words, constants) = word::words(program, &types, &allocated.placed);
    within("constants", constants.len(), limits.constants)?;

    let bytes = encode(&Bytecode {
        label: 0,
        value_registers: allocated.value_registers,
        mask_registers: allocated.mask_registers,
        columns: program.columns.clone(),
        params: program.params.clone(),
        tables: program.tables.clone(),
        sets: program.sets.clone(),
        outputs: program
            .outputs
            .iter()
            .map(|output| OutputType {
                ty: typed(&types, output.value),
                valid: output.valid.is_some(),
            })
            .collect(),
        constants,
        words,
    });
    within("bytes", bytes.len(), limits.program_bytes)?;
    Ok(bytes)
}

fn within(what: &str, count: usize, most: u32) -> Result<(), Refused> {
    if count as u64 <= u64::from(most) {
        return Ok(());
    }
    Err(Refused::TooLarge {
        what: format!("{count} {what} are more than its {most}"),
        cut: None,
    })
}

/// The type of a value that something uses.
fn typed(types: &[Option<Ty>], val: Val) -> Ty {
    types[val.index()].expect("a trap has no value to be used")
}
