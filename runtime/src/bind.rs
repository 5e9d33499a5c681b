//! A lowered query's arguments: where a batch's columns, the literals, sets and dictionaries go.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use unlade_eval::{BitsRef, ColumnRef};
use unlade_expr::{Destination, Lowered};
use unlade_program::Ty;

use crate::arrays::{self, fixed_values};
use crate::dictionary::Dictionaries;
use crate::error::{Error, SchemaError};

/// A lowered query with everything prepared that does not depend on the batch.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) lowered: Lowered,
    /// The parameters as devices are handed them.
    pub(crate) params: Vec<[u8; 16]>,
    /// For each program output, the type of its values.
    pub(crate) output_types: Vec<Ty>,
    /// What dictionaries have been turned into.
    pub(crate) dictionaries: Dictionaries,
    /// The batch columns that the query reads, by the program or as payload, each once, ascending;
    /// with the type of the values that the program reads.
    inputs: Vec<(usize, Option<Ty>)>,
}

impl Binding {
    pub(crate) fn new(lowered: Lowered) -> Self {
        let params = lowered
            .params
            .iter()
            .map(|value| value.to_le_bytes())
            .collect();
        let types = lowered.program.types();
        let output_types = lowered
            .program
            .outputs
            .iter()
            .map(|output| types[output.value.index()].expect("an output is no trap"))
            .collect();
        let dictionaries = Dictionaries::new(&lowered);
        let inputs = inputs(&lowered, &dictionaries);
        Binding {
            lowered,
            params,
            output_types,
            dictionaries,
            inputs,
        }
    }

    /// The batch columns that the query reads, by the program or as payload, ascending.
    pub(crate) fn input_columns(&self) -> Vec<usize> {
        self.inputs.iter().map(|(column, _)| *column).collect()
    }

    /// Bytes of the columns that the query reads. A column that the program reads and that is
    /// payload, too, counts once.
    pub(crate) fn bytes_in(&self, batch: &RecordBatch) -> u64 {
        let rows = batch.num_rows() as u64;
        let columns = self.inputs.iter().map(|(column, ty)| {
            let array = batch.column(*column);
            match ty {
                Some(ty) => ty.bytes_for(rows) + arrays::validity_size(array.nulls()),
                None => arrays::byte_size(array),
            }
        });
        columns.sum()
    }

    /// The batch columns that the program reads, where they lie.
    pub(crate) fn columns<'a>(&self, batch: &'a RecordBatch) -> Result<Vec<ColumnRef<'a>>, Error> {
        let program = &self.lowered.program;
        let mut columns = Vec::with_capacity(program.columns.len());
        for (column, index) in program.columns.iter().zip(&self.lowered.columns) {
            let array = batch.column(*index).as_ref();
            let values = fixed_values(array).ok_or_else(|| {
                Error::Malformed(format!(
                    "column {index} ({}) has no flat values",
                    array.data_type()
                ))
            })?;
            let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
            if let Some(nulls) = nulls
                && !column.nullable
            {
                return Err(SchemaError::Nulls {
                    index: *index,
                    name: batch.schema_ref().field(*index).name().clone(),
                    nulls: nulls.null_count(),
                }
                .into());
            }
            columns.push(ColumnRef {
                values: &values.buffer[values.bit_offset / 8..],
                bit_offset: (values.bit_offset % 8) as u8,
                validity: nulls.map(|nulls| BitsRef {
                    bytes: nulls.validity(),
                    offset: nulls.offset(),
                }),
            });
        }
        Ok(columns)
    }
}

fn inputs(lowered: &Lowered, dictionaries: &Dictionaries) -> Vec<(usize, Option<Ty>)> {
    let payload = lowered.outputs.iter().filter_map(|output| match *output {
        Destination::Payload { column } | Destination::Keys { column, .. } => Some(column),
        Destination::Program { .. } => None,
    });
    let unread = payload.chain(dictionaries.columns().iter().copied());
    let read = lowered.columns.iter().zip(&lowered.program.columns);
    let mut inputs: Vec<(usize, Option<Ty>)> = read
        .map(|(column, read)| (*column, Some(read.ty)))
        .chain(unread.map(|column| (column, None)))
        .collect();
    // Stable: of one column's entries the program's is the first and stays.
    inputs.sort_by_key(|(column, _)| *column);
    inputs.dedup_by_key(|(column, _)| *column);
    inputs
}

/// Whether a batch is of the schema that a kernel was compiled for. Names and metadata may differ.
pub(crate) fn check_schema(expected: &SchemaRef, batch: &RecordBatch) -> Result<(), Error> {
    let given = batch.schema_ref();
    if Arc::ptr_eq(expected, given) {
        return Ok(());
    }
    if expected.fields().len() != given.fields().len() {
        return Err(SchemaError::Columns {
            expected: expected.fields().len(),
            given: given.fields().len(),
        }
        .into());
    }
    for (index, (expected, given)) in expected.fields().iter().zip(given.fields()).enumerate() {
        if expected.data_type() != given.data_type() {
            return Err(SchemaError::Type {
                index,
                name: expected.name().clone(),
                expected: expected.data_type().clone(),
                given: given.data_type().clone(),
            }
            .into());
        }
        let nulls = batch.column(index).null_count();
        if nulls > 0 && !expected.is_nullable() {
            return Err(SchemaError::Nulls {
                index,
                name: expected.name().clone(),
                nulls,
            }
            .into());
        }
    }
    Ok(())
}
