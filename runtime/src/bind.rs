//! A lowered query's arguments: where a batch's columns, the literals, sets and dictionaries go.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, Fields, Schema, SchemaRef};
use unlade_eval::{BitsRef, ColumnRef};
use unlade_expr::{Destination, Lowered};
use unlade_hal::{PinnedBuffer, Slab};
use unlade_program::Ty;

use crate::arrays::{self, FixedValues, fixed_values};
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
    /// For each column of the result, whether no later one is made of the same program output.
    pub(crate) last_uses: Vec<bool>,
    /// What dictionaries have been turned into.
    pub(crate) dictionaries: Dictionaries,
    /// Those of the program's columns that are the validity of a batch column, not its values.
    validity_columns: Vec<usize>,
    /// The batch columns that the query reads, by the program or as payload, each once, ascending;
    /// with the type of the values that the program reads.
    inputs: Vec<(usize, Option<Ty>)>,
}

impl Binding {
    pub(crate) fn new(lowered: Lowered, schema: &Schema) -> Self {
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
        let read = lowered.columns.iter().enumerate();
        let validity_columns = read
            .filter(|(column, index)| {
                lowered.reads_validity(*column, schema.field(**index).data_type())
            })
            .map(|(column, _)| column)
            .collect();
        Binding {
            last_uses: last_uses(&lowered.outputs),
            lowered,
            params,
            output_types,
            dictionaries,
            validity_columns,
            inputs,
        }
    }

    /// The batch columns that the query reads, by the program or as payload, ascending.
    pub(crate) fn input_columns(&self) -> Vec<usize> {
        self.inputs.iter().map(|(column, _)| *column).collect()
    }

    /// The program's output that says which of a payload column's strings are not null, where
    /// strings are compacted with the program and some may be null.
    pub(crate) fn validity_of_strings(&self, column: usize) -> Option<usize> {
        let strings = self.lowered.strings.iter();
        let of_column = strings.filter(|strings| strings.column == column);
        of_column.filter_map(|strings| strings.validity).next()
    }

    /// Bytes of the columns that the query reads. A column that the program reads and that is
    /// payload, too, counts once.
    pub(crate) fn bytes_in(&self, batch: &RecordBatch) -> u64 {
        let rows = batch.num_rows() as u64;
        let columns = self.inputs.iter().map(|(column, ty)| {
            let array = batch.column(*column);
            match ty {
                Some(ty) => column_size(*ty, rows, array),
                None => arrays::byte_size(array),
            }
        });
        columns.sum()
    }

    /// Bytes of what the program reads of its columns.
    pub(crate) fn bytes_read(&self, batch: &RecordBatch) -> u64 {
        let rows = batch.num_rows() as u64;
        let columns = self
            .lowered
            .columns
            .iter()
            .zip(&self.lowered.program.columns);
        columns
            .map(|(index, column)| column_size(column.ty, rows, batch.column(*index)))
            .sum()
    }

    /// Whether all columns that the program reads lie in this slab, so that devices that were told of
    /// it read them where they are.
    pub(crate) fn reads_only(&self, slab: &Slab, batch: &RecordBatch) -> bool {
        self.lowered.columns.iter().all(|index| {
            let array = batch.column(*index).as_ref();
            let lies_there = |buffer| PinnedBuffer::of(slab, buffer).is_some();
            fixed_values(array).is_some_and(|values| lies_there(values.buffer))
                && array.nulls().is_none_or(|nulls| lies_there(nulls.buffer()))
        })
    }

    /// The validity of those batch columns of which the program reads nothing else, each in its
    /// place among the program's columns; empty where there is none.
    pub(crate) fn validities(&self, batch: &RecordBatch) -> Vec<Option<BooleanBuffer>> {
        if self.validity_columns.is_empty() {
            return Vec::new();
        }
        let mut validities = vec![None; self.lowered.columns.len()];
        for column in &self.validity_columns {
            let array = batch.column(self.lowered.columns[*column]);
            validities[*column] = Some(arrays::validity(array));
        }
        validities
    }

    /// One of the program's columns, where it lies in the batch. `validities` are those of
    /// [`Binding::validities`].
    pub(crate) fn column<'a>(
        &self,
        position: usize,
        batch: &'a RecordBatch,
        validities: &'a [Option<BooleanBuffer>],
    ) -> Result<ColumnRef<'a>, Error> {
        if let Some(Some(bits)) = validities.get(position) {
            return Ok(FixedValues::of_bits(bits).column(None));
        }
        let index = self.lowered.columns[position];
        let array = batch.column(index).as_ref();
        let values = values_of(array, index)?;
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        if let Some(nulls) = nulls
            && !self.lowered.program.columns[position].nullable
        {
            return Err(SchemaError::Nulls {
                index,
                name: batch.schema_ref().field(index).name().clone(),
                nulls: nulls.null_count(),
            }
            .into());
        }
        Ok(values.column(nulls.map(|nulls| BitsRef {
            bytes: nulls.validity(),
            offset: nulls.offset(),
        })))
    }
}

/// Bytes of a column as a program reads it: of one that it reads the validity of, a bit per row.
fn column_size(ty: Ty, rows: u64, array: &dyn Array) -> u64 {
    let validity = match ty == Ty::Mask && *array.data_type() != DataType::Boolean {
        true => 0,
        false => arrays::validity_size(array.nulls()),
    };
    ty.bytes_for(rows) + validity
}

/// The values of a column that a program computes with.
pub(crate) fn values_of(array: &dyn Array, index: usize) -> Result<FixedValues<'_>, Error> {
    fixed_values(array).ok_or_else(|| {
        Error::Malformed(format!(
            "column {index} ({}) has no flat values",
            array.data_type()
        ))
    })
}

fn last_uses(outputs: &[Destination]) -> Vec<bool> {
    let mut used_later = HashSet::new();
    let mut last_uses: Vec<bool> = outputs
        .iter()
        .rev()
        .map(|destination| match *destination {
            Destination::Program { output } | Destination::Keys { output, .. } => {
                used_later.insert(output)
            }
            Destination::Payload { .. } => false,
        })
        .collect();
    last_uses.reverse();
    last_uses
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
    // Of one column's entries the first stays: the program's, unless that is of its validity alone.
    inputs.sort_by_key(|(column, ty)| (*column, *ty == Some(Ty::Mask)));
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
            differs: differing(expected.fields(), given.fields()),
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

/// Which columns the one schema has and the other has not, by their names.
fn differing(expected: &Fields, given: &Fields) -> String {
    /// Columns that are named.
    const MOST: usize = 8;
    let only = |what: &str, these: &Fields, those: &Fields| {
        let names = these.iter().map(|field| field.name());
        let missing: Vec<String> = names
            .filter(|name| those.find(name).is_none())
            .take(MOST)
            .map(|name| format!("`{name}`"))
            .collect();
        match missing.is_empty() {
            true => String::new(),
            false => format!("; {what} {}", missing.join(", ")),
        }
    };
    only("it lacks", expected, given) + &only("it has besides", given, expected)
}
