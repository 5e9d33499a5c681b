//! What the tests of lowering share: arrays from immediates, and a host that runs a lowered query
//! on the naive interpreter of programs.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, make_array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::DataType;
use unlade_expr::{Destination, Lowered, Table, physical_type};
use unlade_naive::{Bits, ColumnInput, Inputs, Outputs, RunError, run};
use unlade_program::{Imm, Program, Ty};

/// The physical type of a logical type that expressions compute with.
pub(crate) fn ty_of(data_type: &DataType) -> Ty {
    physical_type(data_type).unwrap_or_else(|| panic!("no physical type for {data_type}"))
}

/// An array of a fixed-width type. Null rows hold the bits of `garbage`.
pub(crate) fn array(data_type: &DataType, values: &[Option<Imm>], garbage: Imm) -> ArrayRef {
    let ty = ty_of(data_type);
    let rows = values.iter().map(|value| value.unwrap_or(garbage));
    let buffer = match ty {
        Ty::Mask => BooleanBuffer::from_iter(rows.map(Imm::as_mask)).into_inner(),
        _ => {
            let width = (ty.bits() / 8) as usize;
            let bytes: Vec<u8> = rows
                .flat_map(|value| value.to_le_bytes()[..width].to_vec())
                .collect();
            aligned(bytes)
        }
    };
    let nulls = NullBuffer::from_iter(values.iter().map(Option::is_some));
    let data = ArrayData::builder(data_type.clone())
        .len(values.len())
        .add_buffer(buffer)
        .nulls((nulls.null_count() > 0).then_some(nulls))
        .build()
        .expect("a well-formed array");
    make_array(data)
}

/// Arrow wants 16-byte alignment for decimals.
fn aligned(bytes: Vec<u8>) -> Buffer {
    let mut buffer = arrow_buffer::MutableBuffer::with_capacity(bytes.len());
    buffer.extend_from_slice(&bytes);
    buffer.into()
}

/// A dictionary-encoded array.
pub(crate) fn dictionary(
    keys: &DataType,
    key_values: &[Option<Imm>],
    values: ArrayRef,
) -> ArrayRef {
    let garbage = Imm::zero(ty_of(keys));
    let keys_data = array(keys, key_values, garbage).to_data();
    let data_type =
        DataType::Dictionary(Box::new(keys.clone()), Box::new(values.data_type().clone()));
    let builder = keys_data
        .into_builder()
        .data_type(data_type)
        .add_child_data(values.to_data());
    make_array(builder.build().expect("keys within the dictionary"))
}

/// One batch column or dictionary, as an execution reads it.
struct Plain {
    values: Vec<u8>,
    validity: Option<Vec<u8>>,
    rows: usize,
}

fn plain(array: &ArrayData) -> Plain {
    assert_eq!(array.offset(), 0, "the tests do not slice");
    Plain {
        values: array.buffers()[0].to_vec(),
        validity: array.nulls().map(|nulls| nulls.validity().to_vec()),
        rows: array.len(),
    }
}

fn execute(
    program: &Program,
    rows: usize,
    columns: &[Plain],
    params: &[Imm],
    tables: &[Vec<u8>],
    sets: &[Vec<u8>],
) -> Result<Outputs, RunError> {
    for (ty, entries) in program.sets.iter().zip(sets) {
        let count = entries.len() / ty.bytes_for(1) as usize;
        let entries: Vec<Imm> = (0..count).map(|at| imm(*ty, entries, at)).collect();
        assert!(entries.is_sorted_by(|a, b| a.bits() < b.bits()));
    }
    let bits = |bytes| Bits {
        bytes,
        bit_offset: 0,
    };
    let columns = columns.iter().map(|column| ColumnInput {
        values: bits(&column.values),
        validity: column.validity.as_deref().map(bits),
    });
    let inputs = Inputs {
        rows: rows as u64,
        columns: columns.collect(),
        params: params.iter().map(|imm| imm.to_le_bytes()).collect(),
        tables: tables.iter().map(Vec::as_slice).collect(),
        sets: sets.iter().map(Vec::as_slice).collect(),
    };
    run(program, &inputs)
}

/// What a lowered query yields: which rows it keeps, and the values of its outputs by field.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) kept: usize,
    pub(crate) mask: Option<Vec<bool>>,
    /// `None` for payload that the host compacts.
    pub(crate) fields: Vec<Option<Vec<Option<Imm>>>>,
}

/// Runs a lowered query as a host would: stages over the dictionaries first.
pub(crate) fn answer(lowered: &Lowered, batch: &RecordBatch) -> Result<Answer, RunError> {
    answer_with_keys(lowered, batch, None)
}

/// The same, with other bytes in place of one column's keys: Arrow's constructors refuse keys that
/// point outside of the dictionary.
pub(crate) fn answer_with_keys(
    lowered: &Lowered,
    batch: &RecordBatch,
    keys: Option<(usize, &[u8])>,
) -> Result<Answer, RunError> {
    let column = |index: usize| batch.column(index).to_data();
    let mut stages = Vec::new();
    for stage in &lowered.stages {
        let values = plain(&column(stage.column).child_data()[0]);
        let rows = values.rows;
        let reads = stage.program.columns.len();
        let columns: Vec<Plain> = std::iter::once(values).take(reads).collect();
        let outputs = execute(
            &stage.program,
            rows,
            &columns,
            &stage.params,
            &[],
            &stage.sets,
        );
        stages.push((rows, outputs.expect("a stage never traps")));
    }
    let ones = |rows: usize| vec![0xff; rows.div_ceil(8)];
    let tables: Vec<Vec<u8>> = lowered
        .tables
        .iter()
        .map(|table| match *table {
            Table::DictionaryValues { column: index } => {
                let values = plain(&column(index).child_data()[0]);
                let exact = ty_of(column(index).child_data()[0].data_type());
                values.values[..exact.bytes_for(values.rows as u64) as usize].to_vec()
            }
            Table::DictionaryValidity { column: index } => {
                let values = plain(&column(index).child_data()[0]);
                values.validity.unwrap_or_else(|| ones(values.rows))
            }
            Table::StageValues { stage, output } => stages[stage].1.columns[output].values.clone(),
            Table::StageValidity { stage, output } => {
                let (rows, outputs) = &stages[stage];
                let validity = outputs.columns[output].validity.clone();
                validity.unwrap_or_else(|| ones(*rows))
            }
        })
        .collect();
    let columns: Vec<Plain> = lowered
        .columns
        .iter()
        .map(|index| match keys {
            Some((replaced, keys)) if replaced == *index => Plain {
                values: keys.to_vec(),
                ..plain(&column(*index))
            },
            _ => plain(&column(*index)),
        })
        .collect();
    let outputs = execute(
        &lowered.program,
        batch.num_rows(),
        &columns,
        &lowered.params,
        &tables,
        &lowered.sets,
    )?;
    let kept = outputs.kept as usize;
    let types = lowered.program.types();
    let fields = lowered.outputs.iter().map(|destination| {
        let output = match *destination {
            Destination::Program { output } | Destination::Keys { output, .. } => output,
            Destination::Payload { .. } => return None,
        };
        let ty = types[lowered.program.outputs[output].value.index()].expect("a value");
        let column = &outputs.columns[output];
        let rows = (0..kept).map(|row| {
            let valid = column.validity.as_ref().is_none_or(|bits| bit(bits, row));
            valid.then(|| imm(ty, &column.values, row))
        });
        Some(rows.collect())
    });
    Ok(Answer {
        kept,
        fields: fields.collect(),
        mask: outputs
            .mask
            .map(|mask| (0..batch.num_rows()).map(|row| bit(&mask, row)).collect()),
    })
}

fn bit(bits: &[u8], row: usize) -> bool {
    bits[row / 8] >> (row % 8) & 1 == 1
}

fn imm(ty: Ty, values: &[u8], row: usize) -> Imm {
    if ty == Ty::Mask {
        return Imm::mask(bit(values, row));
    }
    let width = (ty.bits() / 8) as usize;
    let mut bytes = [0; 16];
    bytes[..width].copy_from_slice(&values[row * width..][..width]);
    Imm::from_le_bytes(ty, bytes)
}

/// The values of an array as they are stored: of a dictionary, its keys.
pub(crate) fn stored(array: &ArrayRef) -> Vec<Option<Imm>> {
    let ty = match array.data_type() {
        DataType::Dictionary(keys, _) => ty_of(keys),
        other => ty_of(other),
    };
    let data = array.to_data();
    let values = plain(&data).values;
    (0..data.len())
        .map(|row| data.is_valid(row).then(|| imm(ty, &values, row)))
        .collect()
}

/// A batch of named columns, each with whether it may hold nulls.
pub(crate) fn batch(columns: Vec<(String, ArrayRef, bool)>) -> RecordBatch {
    let fields: Vec<arrow_schema::Field> = columns
        .iter()
        .map(|(name, array, nullable)| {
            arrow_schema::Field::new(name, array.data_type().clone(), *nullable)
        })
        .collect();
    let schema = Arc::new(arrow_schema::Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, array, _)| array).collect();
    RecordBatch::try_new(schema, arrays).expect("columns of one length")
}
