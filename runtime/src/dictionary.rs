//! Dictionaries as lookup tables.
//!
//! An expression over one dictionary column is evaluated over the dictionary's values once; the
//! program then looks results up by key. Batches of one file mostly share their dictionaries, so
//! the tables of the last few are kept.

use std::sync::{Arc, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::{Buffer, MutableBuffer};
use unlade_eval::{
    BitsRef, ColumnRef, Executable, Failure, Inputs, OutputMut, Outputs, SLACK, Scratch,
};
use unlade_expr::{DictionaryStage, Lowered, Table};
use unlade_program::Ty;

use crate::arrays::{fixed_values, fixed_width};
use crate::error::Error;
use crate::sync::{Mutex, MutexGuard};

/// Dictionaries whose tables are kept, per kernel.
const KEPT: usize = 16;

/// The tables that a query needs, and those made lately.
#[derive(Debug)]
pub(crate) struct Dictionaries {
    tables: Vec<Table>,
    stages: Vec<Stage>,
    /// The batch columns whose dictionaries are needed.
    columns: Vec<usize>,
    /// The latest last.
    made: Mutex<Vec<Arc<Entry>>>,
}

/// A stage, planned for the CPU.
#[derive(Debug)]
struct Stage {
    column: usize,
    executable: Executable,
    output_types: Vec<Ty>,
    params: Vec<[u8; 16]>,
    sets: Vec<Vec<u8>>,
}

/// The tables of one dictionary.
#[derive(Debug)]
struct Entry {
    column: usize,
    /// Kept so that its address names it as long as this entry lives.
    source: ArrayRef,
    values: Buffer,
    validity: Buffer,
    /// For each stage over this column, its outputs.
    stages: Vec<Option<Vec<StageOutput>>>,
}

#[derive(Debug)]
struct StageOutput {
    values: Buffer,
    validity: Buffer,
}

impl Dictionaries {
    pub(crate) fn new(lowered: &Lowered) -> Self {
        let stages: Vec<Stage> = lowered.stages.iter().map(Stage::new).collect();
        let mut columns: Vec<usize> = lowered
            .tables
            .iter()
            .map(|table| match *table {
                Table::DictionaryValues { column } | Table::DictionaryValidity { column } => column,
                Table::StageValues { stage, .. } | Table::StageValidity { stage, .. } => {
                    stages[stage].column
                }
            })
            .collect();
        columns.sort_unstable();
        columns.dedup();
        Dictionaries {
            tables: lowered.tables.clone(),
            stages,
            columns,
            made: Mutex::new(Vec::new()),
        }
    }

    /// The batch columns whose dictionaries are needed.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The tables of the program for a batch, in the program's order.
    pub(crate) fn tables(&self, batch: &RecordBatch) -> Result<Vec<Buffer>, Error> {
        if self.tables.is_empty() {
            return Ok(Vec::new());
        }
        let entries = self
            .columns
            .iter()
            .map(|column| self.entry(*column, batch))
            .collect::<Result<Vec<_>, Error>>()?;
        let entry_of = |column: usize| {
            let position = self
                .columns
                .binary_search(&column)
                .expect("collected from the tables");
            &entries[position]
        };
        let output_of = |stage: usize, output: usize| {
            let entry = entry_of(self.stages[stage].column);
            &entry.stages[stage]
                .as_ref()
                .expect("a stage over this column")[output]
        };
        Ok(self
            .tables
            .iter()
            .map(|table| match *table {
                Table::DictionaryValues { column } => entry_of(column).values.clone(),
                Table::DictionaryValidity { column } => entry_of(column).validity.clone(),
                Table::StageValues { stage, output } => output_of(stage, output).values.clone(),
                Table::StageValidity { stage, output } => output_of(stage, output).validity.clone(),
            })
            .collect())
    }

    fn entry(&self, column: usize, batch: &RecordBatch) -> Result<Arc<Entry>, Error> {
        let array = batch.column(column);
        let values = array
            .as_any_dictionary_opt()
            .ok_or_else(|| Error::Malformed(format!("column {column} is not dictionary-encoded")))?
            .values();
        let known = |made: &[Arc<Entry>]| {
            let mut newest_first = made.iter().rev();
            newest_first
                .find(|entry| entry.column == column && same(&entry.source, values))
                .cloned()
        };
        if let Some(entry) = known(&self.lock()) {
            return Ok(entry);
        }
        // Made without the lock: two threads may make one entry twice, neither waits.
        let entry = Arc::new(self.make(column, values)?);
        let mut made = self.lock();
        if made.len() == KEPT {
            made.remove(0);
        }
        made.push(Arc::clone(&entry));
        Ok(entry)
    }

    fn make(&self, column: usize, values: &ArrayRef) -> Result<Entry, Error> {
        let stages = self
            .stages
            .iter()
            .map(|stage| {
                (stage.column == column)
                    .then(|| stage.run(values))
                    .transpose()
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(Entry {
            column,
            source: Arc::clone(values),
            values: value_table(values)?,
            validity: validity_table(values),
            stages,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two arrays are one: the same allocation, or slices of the same memory.
fn same(known: &ArrayRef, given: &ArrayRef) -> bool {
    if Arc::ptr_eq(known, given) {
        return true;
    }
    let (Some(a), Some(b)) = (fixed_values(known), fixed_values(given)) else {
        return false;
    };
    let nulls = |array: &ArrayRef| {
        array
            .nulls()
            .map(|nulls| (nulls.validity().as_ptr() as usize, nulls.offset()))
    };
    known.len() == given.len()
        && a.buffer.as_ptr() == b.buffer.as_ptr()
        && a.bit_offset == b.bit_offset
        && nulls(known) == nulls(given)
        && known.data_type() == given.data_type()
}

/// The values themselves as a table; of values that programs do not know, an empty one, to which
/// no program refers.
fn value_table(values: &ArrayRef) -> Result<Buffer, Error> {
    let Some(fixed) = fixed_values(values) else {
        return Ok(Buffer::default());
    };
    if let Some(booleans) = values.as_boolean_opt() {
        return Ok(booleans.values().sliced());
    }
    let width = fixed_width(values.data_type()).unwrap_or(0);
    Ok(fixed.buffer.slice_with_length(0, values.len() * width))
}

fn validity_table(values: &ArrayRef) -> Buffer {
    match values.nulls() {
        Some(nulls) => nulls.inner().sliced(),
        None => Buffer::from_vec(vec![0xffu8; values.len().div_ceil(8)]),
    }
}

impl Stage {
    fn new(stage: &DictionaryStage) -> Self {
        let types = stage.program.types();
        let outputs = stage.program.outputs.iter();
        Stage {
            column: stage.column,
            executable: Executable::new(&stage.program),
            output_types: outputs
                .map(|output| types[output.value.index()].expect("an output is no trap"))
                .collect(),
            params: stage
                .params
                .iter()
                .map(|value| value.to_le_bytes())
                .collect(),
            sets: stage.sets.clone(),
        }
    }

    /// Evaluates the stage over a dictionary's values.
    fn run(&self, values: &ArrayRef) -> Result<Vec<StageOutput>, Error> {
        let rows = values.len();
        let program = self.executable.program();
        let fixed = fixed_values(values).ok_or_else(|| {
            Error::Malformed(format!(
                "a dictionary of {} has no flat values",
                values.data_type()
            ))
        })?;
        let columns: Vec<ColumnRef<'_>> = program
            .columns
            .iter()
            .map(|_the_values| {
                let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0);
                fixed.column(nulls.map(|nulls| BitsRef {
                    bytes: nulls.validity(),
                    offset: nulls.offset(),
                }))
            })
            .collect();
        let sets: Vec<&[u8]> = self.sets.iter().map(Vec::as_slice).collect();
        let bitmap = rows.div_ceil(8) + SLACK;
        let mut blocks: Vec<(MutableBuffer, Option<Vec<u8>>)> = program
            .outputs
            .iter()
            .zip(&self.output_types)
            .map(|(output, ty)| {
                let len = ty.bytes_for(rows as u64) as usize + SLACK;
                (
                    MutableBuffer::from_len_zeroed(len),
                    output.valid.map(|_| vec![0; bitmap]),
                )
            })
            .collect();
        let mut outputs: Vec<OutputMut<'_>> = blocks
            .iter_mut()
            .map(|(values, validity)| OutputMut {
                values: values.as_slice_mut(),
                validity: validity.as_deref_mut(),
            })
            .collect();
        let inputs = Inputs {
            rows,
            columns: &columns,
            params: &self.params,
            tables: &[],
            sets: &sets,
        };
        let mut outputs = Outputs {
            mask: None,
            columns: &mut outputs,
        };
        unlade_eval::run(&self.executable, &inputs, &mut outputs, &mut Scratch::new()).map_err(
            |failure| match failure {
                Failure::Trap(_) => unreachable!("a stage makes traps an output"),
                other => Error::Malformed(other.to_string()),
            },
        )?;
        Ok(blocks
            .into_iter()
            .zip(&self.output_types)
            .map(|((mut values, validity), ty)| {
                values.truncate(ty.bytes_for(rows as u64) as usize);
                StageOutput {
                    values: values.into(),
                    validity: match validity {
                        Some(mut bits) => {
                            bits.truncate(rows.div_ceil(8));
                            Buffer::from_vec(bits)
                        }
                        None => Buffer::from_vec(vec![0xffu8; rows.div_ceil(8)]),
                    },
                }
            })
            .collect())
    }
}
