//! Inputs that no instruction reads.

use crate::{Inst, Program};

/// Where the inputs that are left were before: entry `i` of a list is the old index of input `i`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputMap {
    /// Old indices of the columns.
    pub columns: Vec<u16>,
    /// Old indices of the parameters.
    pub params: Vec<u16>,
    /// Old indices of the tables.
    pub tables: Vec<u16>,
    /// Old indices of the sets.
    pub sets: Vec<u16>,
}

/// Drops columns, parameters, tables and sets that no instruction refers to, and says where those
/// that are left came from. The arguments of an execution change with it, which is why
/// [`super::optimise`] leaves it to the one who binds them.
///
/// ```
/// use unlade_program::{Program, passes::drop_unused_inputs};
///
/// let mut program: Program = "
///     columns c0: i32, c1: f64
///     %0 = load c1
///     output %0
/// "
/// .parse()?;
/// let map = drop_unused_inputs(&mut program);
/// assert_eq!(map.columns, [1]);
/// assert_eq!(program.to_string(), "columns c0: f64\n%0 = load c0\noutput %0\n");
/// # Ok::<(), unlade_program::ParseError>(())
/// ```
///
/// # Panics
/// Where an instruction refers to an input that is not there.
pub fn drop_unused_inputs(program: &mut Program) -> InputMap {
    let mut columns = Uses::of(program.columns.len());
    let mut params = Uses::of(program.params.len());
    let mut tables = Uses::of(program.tables.len());
    let mut sets = Uses::of(program.sets.len());
    for inst in &program.insts {
        match *inst {
            Inst::Load { column } | Inst::Validity { column } => columns.note(column),
            Inst::Param { index } => params.note(index),
            Inst::Lookup { table, .. } | Inst::InBounds { table, .. } => tables.note(table),
            Inst::InSet { set, .. } => sets.note(set),
            _ => {}
        }
    }
    let map = InputMap {
        columns: columns.drop_unused(&mut program.columns),
        params: params.drop_unused(&mut program.params),
        tables: tables.drop_unused(&mut program.tables),
        sets: sets.drop_unused(&mut program.sets),
    };
    for inst in &mut program.insts {
        match inst {
            Inst::Load { column } | Inst::Validity { column } => *column = columns.place(*column),
            Inst::Param { index } => *index = params.place(*index),
            Inst::Lookup { table, .. } | Inst::InBounds { table, .. } => {
                *table = tables.place(*table);
            }
            Inst::InSet { set, .. } => *set = sets.place(*set),
            _ => {}
        }
    }
    map
}

/// Of each input of one kind, its new index if it is used.
struct Uses(Vec<Option<u16>>);

impl Uses {
    fn of(count: usize) -> Self {
        Uses(vec![None; count])
    }

    fn note(&mut self, index: u16) {
        self.0[index as usize] = Some(0);
    }

    /// Assigns new indices, and returns the old ones.
    fn drop_unused<T>(&mut self, list: &mut Vec<T>) -> Vec<u16> {
        let mut old = Vec::new();
        for (index, place) in (0u16..).zip(&mut self.0) {
            if let Some(place) = place {
                *place = old.len() as u16;
                old.push(index);
            }
        }
        let mut index = 0;
        list.retain(|_| {
            index += 1;
            self.0[index - 1].is_some()
        });
        old
    }

    fn place(&self, index: u16) -> u16 {
        self.0[index as usize].expect("an input that is read is not dropped")
    }
}
