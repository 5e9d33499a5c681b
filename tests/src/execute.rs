//! Lowered queries on Arrow batches, by whatever executes programs.

use std::fmt;

use arrow_arith::boolean::is_not_null;
use arrow_array::{Array, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_data::ArrayData;
use arrow_schema::DataType;
use unlade_eval::{Executable, Level, Scratch};
use unlade_expr::{DictionaryStage, Lowered, Table};
use unlade_naive::{Bits, ColumnInput, Inputs, OutputColumn, Outputs, RunError};
use unlade_program::{Imm, Program, Trap, Ty};

use crate::evaluator;

/// What executes programs.
#[derive(Clone, Copy, Debug)]
pub enum Backend {
    /// The interpreter of programs.
    Naive,
    /// The CPU evaluator with some CPU features and some size of tile.
    Cpu {
        /// The features.
        level: Level,
        /// Rows of a tile.
        tile_rows: usize,
    },
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Backend::Naive => f.write_str("naive"),
            Backend::Cpu { level, tile_rows } => write!(f, "{level} in tiles of {tile_rows}"),
        }
    }
}

/// Runs a lowered query over a batch, dictionary stages first.
///
/// # Errors
/// The trap, if the program traps.
///
/// # Panics
/// Where the program refuses its arguments, or a stage traps: both are faults of lowering.
pub fn execute(backend: Backend, lowered: &Lowered, batch: &RecordBatch) -> Result<Outputs, Trap> {
    let columns: Vec<ArrayData> = lowered
        .columns
        .iter()
        .enumerate()
        .map(|(position, &column)| {
            let array = batch.column(column);
            match lowered.reads_validity(position, array.data_type()) {
                true => is_not_null(array).expect("any array").to_data(),
                false => array.to_data(),
            }
        })
        .collect();
    let stages: Vec<Outputs> = lowered
        .stages
        .iter()
        .map(|stage| run_stage(backend, stage, batch))
        .collect();
    let tables: Vec<Vec<u8>> = lowered
        .tables
        .iter()
        .map(|table| entries(table, batch, &stages))
        .collect();
    let tables: Vec<&[u8]> = tables.iter().map(Vec::as_slice).collect();
    let sets: Vec<&[u8]> = lowered.sets.iter().map(Vec::as_slice).collect();
    let inputs = Inputs {
        rows: batch.num_rows() as u64,
        columns: column_inputs(&lowered.program, &columns),
        params: lowered
            .params
            .iter()
            .map(|param| param.to_le_bytes())
            .collect(),
        tables,
        sets,
    };
    run_program(backend, &lowered.program, &inputs)
}

/// Runs a program.
///
/// # Errors
/// The trap, if it traps.
///
/// # Panics
/// Where it refuses its arguments.
pub fn run_program(
    backend: Backend,
    program: &Program,
    inputs: &Inputs<'_>,
) -> Result<Outputs, Trap> {
    let result = match backend {
        Backend::Naive => unlade_naive::run(program, inputs),
        Backend::Cpu { level, tile_rows } => {
            let executable = Executable::with_level(program, level).with_tile_rows(tile_rows);
            evaluator::run(&executable, inputs, &mut Scratch::new())
        }
    };
    match result {
        Ok(outputs) => Ok(outputs),
        Err(RunError::Trap(trap)) => Err(trap),
        Err(other) => panic!("{other}\n{program}"),
    }
}

/// The value of an output in a row, `None` where it is null.
pub fn output_value(ty: Ty, column: &OutputColumn, row: usize) -> Option<Imm> {
    let bit = |bytes: &[u8]| bytes[row / 8] >> (row % 8) & 1 == 1;
    if column
        .validity
        .as_ref()
        .is_some_and(|validity| !bit(validity))
    {
        return None;
    }
    if ty == Ty::Mask {
        return Some(Imm::mask(bit(&column.values)));
    }
    Some(imm_at(ty, &column.values, row))
}

/// The value in a row of an array of fixed width, as bits of a physical type; of a dictionary,
/// the key.
pub fn raw_value(ty: Ty, data: &ArrayData, row: usize) -> Option<Imm> {
    if data.is_null(row) {
        return None;
    }
    let row = data.offset() + row;
    let bytes = data.buffers()[0].as_slice();
    match ty {
        Ty::Mask => Some(Imm::mask(bytes[row / 8] >> (row % 8) & 1 == 1)),
        _ => Some(imm_at(ty, bytes, row)),
    }
}

fn imm_at(ty: Ty, bytes: &[u8], row: usize) -> Imm {
    let width = ty.bits() as usize / 8;
    let mut wide = [0; 16];
    wide[..width].copy_from_slice(&bytes[row * width..][..width]);
    Imm::from_le_bytes(ty, wide)
}

fn run_stage(backend: Backend, stage: &DictionaryStage, batch: &RecordBatch) -> Outputs {
    let values = dictionary(batch, stage.column);
    let inputs = Inputs {
        rows: values.len() as u64,
        columns: column_inputs(&stage.program, std::slice::from_ref(&values)),
        params: stage
            .params
            .iter()
            .map(|param| param.to_le_bytes())
            .collect(),
        tables: Vec::new(),
        sets: stage.sets.iter().map(Vec::as_slice).collect(),
    };
    run_program(backend, &stage.program, &inputs)
        .unwrap_or_else(|trap| panic!("a dictionary stage traps: {trap:?}\n{}", stage.program))
}

/// The values of a dictionary-encoded column.
fn dictionary(batch: &RecordBatch, column: usize) -> ArrayData {
    let data = batch.column(column).to_data();
    assert!(matches!(data.data_type(), DataType::Dictionary(..)));
    data.child_data()[0].clone()
}

fn entries(table: &Table, batch: &RecordBatch, stages: &[Outputs]) -> Vec<u8> {
    match *table {
        Table::DictionaryValues { column } => {
            let values = dictionary(batch, column);
            if *values.data_type() == DataType::Boolean {
                let bits = values.buffers()[0].bit_slice(values.offset(), values.len());
                return bits.as_slice().to_vec();
            }
            let width = values
                .data_type()
                .primitive_width()
                .expect("values of fixed width");
            values.buffers()[0].as_slice()[values.offset() * width..][..values.len() * width]
                .to_vec()
        }
        Table::DictionaryValidity { column } => {
            let values = dictionary(batch, column);
            match values.nulls() {
                Some(nulls) => nulls.inner().sliced().as_slice().to_vec(),
                None => vec![0xff; values.len().div_ceil(8)],
            }
        }
        Table::StageValues { stage, output } => stages[stage].columns[output].values.clone(),
        Table::StageValidity { stage, output } => {
            let column = &stages[stage].columns[output];
            let all = || vec![0xff; stages[stage].kept.div_ceil(8) as usize];
            column.validity.clone().unwrap_or_else(all)
        }
    }
}

fn column_inputs<'a>(program: &Program, columns: &'a [ArrayData]) -> Vec<ColumnInput<'a>> {
    let input = |(column, data): (&unlade_program::Column, &'a ArrayData)| {
        let bytes = data.buffers()[0].as_slice();
        let values = match column.ty {
            Ty::Mask => Bits {
                bytes,
                bit_offset: data.offset() as u64,
            },
            ty => Bits {
                bytes: &bytes[data.offset() * ty.bits() as usize / 8..],
                bit_offset: 0,
            },
        };
        ColumnInput {
            values,
            validity: data.nulls().filter(|_| column.nullable).map(bits_of),
        }
    };
    program.columns.iter().zip(columns).map(input).collect()
}

fn bits_of(nulls: &NullBuffer) -> Bits<'_> {
    Bits {
        bytes: nulls.validity(),
        bit_offset: nulls.offset() as u64,
    }
}
