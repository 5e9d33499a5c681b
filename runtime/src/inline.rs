//! The CPU on the calling thread: a batch evaluated where it lies, without a queue.

use std::cell::RefCell;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use smallvec::SmallVec;
use unlade_eval::{ColumnRef, Executable, Failure, Inputs, OutputMut, Outputs, SLACK, Scratch};
use unlade_expr::{Checked, Destination, OutputColumn};
use unlade_program::{Trap, Ty};

use crate::arrays;
use crate::bind::Binding;
use crate::block::Memory;
use crate::error::Error;
use crate::gather::{Selection, gather};
use crate::parts::{Arguments, ColumnArgument, PlannedPart};

/// What a batch became, before it is a record batch with a receipt.
#[derive(Debug)]
pub(crate) struct Evaluated {
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) rows_out: usize,
    pub(crate) mask: Option<BooleanArray>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bytes_copied: u64,
}

/// Why there is no result.
#[derive(Debug)]
pub(crate) enum InlineFailure {
    /// A row has none; its words are still to be found.
    Trap(Trap),
    /// Anything else.
    Error(Error),
}

impl InlineFailure {
    /// The same of a batch in which this one begins at a row.
    pub(crate) fn moved_by(self, first_row: usize) -> Self {
        match self {
            InlineFailure::Trap(trap) => InlineFailure::Trap(Trap {
                row: trap.row + first_row as u64,
                ..trap
            }),
            other => other,
        }
    }
}

impl From<Error> for InlineFailure {
    fn from(error: Error) -> Self {
        InlineFailure::Error(error)
    }
}

/// Up to this many columns are listed without asking the allocator.
const FEW: usize = 8;

thread_local! {
    /// The evaluator's registers: reused by every kernel that runs on the thread.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// Evaluates a batch of the right schema.
pub(crate) fn evaluate(
    executable: &Executable,
    binding: &Binding,
    checked: &Checked,
    batch: &RecordBatch,
    memory: &Memory,
) -> Result<Evaluated, InlineFailure> {
    let validities = binding.validities(batch);
    let mut columns = SmallVec::<[ColumnRef<'_>; FEW]>::new();
    for position in 0..binding.lowered.columns.len() {
        columns.push(binding.column(position, batch, &validities)?);
    }
    let tables = binding.dictionaries.tables(batch)?;
    let tables: Vec<&[u8]> = tables.iter().map(Buffer::as_slice).collect();
    let sets: Vec<&[u8]> = binding.lowered.sets.iter().map(Vec::as_slice).collect();
    let inputs = Inputs {
        rows: batch.num_rows(),
        columns: &columns,
        params: &binding.params,
        tables: &tables,
        sets: &sets,
    };
    let results = execute(executable, &binding.output_types, &inputs, memory)?;
    assemble(binding, checked, batch, results, memory).map_err(Into::into)
}

/// Evaluates a part of a query whose other parts run elsewhere.
pub(crate) fn execute_part(
    part: &PlannedPart,
    arguments: &Arguments<'_>,
    memory: &Memory,
) -> Result<Results, InlineFailure> {
    let executable = part.executable.code().ok_or_else(|| {
        Error::Config("the CPU among the devices is none that can run inline".to_owned())
    })?;
    let columns: Vec<ColumnRef<'_>> = arguments
        .columns
        .iter()
        .map(ColumnArgument::as_ref)
        .collect();
    let tables: Vec<&[u8]> = arguments.tables.iter().map(Buffer::as_slice).collect();
    let inputs = Inputs {
        rows: arguments.rows,
        columns: &columns,
        params: arguments.params,
        tables: &tables,
        sets: &arguments.sets,
    };
    execute(executable, &part.output_types, &inputs, memory)
}

/// Runs a program, its outputs going into blocks of the worst size that are then cut to what was
/// written.
fn execute(
    executable: &Executable,
    output_types: &[Ty],
    inputs: &Inputs<'_>,
    memory: &Memory,
) -> Result<Results, InlineFailure> {
    let rows = inputs.rows;
    let program = executable.program();
    let planned = || program.outputs.iter().zip(output_types);
    let bitmap = rows.div_ceil(8) + SLACK;
    // In the order in which pieces and results are taken below.
    let mut sizes = SmallVec::<[usize; 2 * FEW]>::new();
    if program.emit_mask {
        sizes.push(bitmap);
    }
    for (output, ty) in planned() {
        sizes.push(ty.bytes_for(rows as u64) as usize + SLACK);
        if output.valid.is_some() {
            sizes.push(bitmap);
        }
    }
    let mut blocks = memory.blocks(&sizes)?;
    let kept = {
        let mut pieces = blocks.pieces();
        let mask = program.emit_mask.then(|| pieces.next());
        let mut columns = Vec::with_capacity(program.outputs.len());
        for output in &program.outputs {
            columns.push(OutputMut {
                values: pieces.next(),
                validity: output.valid.map(|_| pieces.next()),
            });
        }
        let mut outputs = Outputs {
            mask,
            columns: &mut columns,
        };
        with_scratch(|scratch| unlade_eval::run(executable, inputs, &mut outputs, scratch))
            .map_err(|failure| match failure {
                Failure::Trap(trap) => InlineFailure::Trap(trap),
                other => InlineFailure::Error(Error::Malformed(other.to_string())),
            })?
            .kept
    };
    let mut filled = blocks.freeze();
    let mask = program.emit_mask.then(|| filled.next(rows.div_ceil(8)));
    let mut outputs = Vec::with_capacity(program.outputs.len());
    for (output, ty) in planned() {
        outputs.push(ProgramOutput {
            values: filled.next(ty.bytes_for(kept as u64) as usize),
            nulls: output
                .valid
                .map(|_| filled.next(kept.div_ceil(8)))
                .and_then(|bits| arrays::nulls(bits, kept)),
        });
    }
    Ok(Results {
        kept,
        mask,
        outputs,
        strings: Vec::new(),
    })
}

/// What a program wrote.
#[derive(Debug)]
pub(crate) struct Results {
    /// Rows kept.
    pub(crate) kept: usize,
    /// The keep mask, if the program emits it.
    pub(crate) mask: Option<Buffer>,
    /// The outputs.
    pub(crate) outputs: Vec<ProgramOutput>,
    /// Strings that were compacted behind it.
    pub(crate) strings: Vec<StringsOutput>,
}

/// What is kept of a column of strings, less its validity.
#[derive(Clone, Debug)]
pub(crate) struct StringsOutput {
    /// The batch column.
    pub(crate) column: usize,
    pub(crate) offsets: Buffer,
    pub(crate) bytes: Buffer,
}

/// One output of a program, cut to the rows kept.
#[derive(Clone, Debug)]
pub(crate) struct ProgramOutput {
    pub(crate) values: Buffer,
    pub(crate) nulls: Option<NullBuffer>,
}

/// Makes Arrow columns of what a program wrote, and compacts the payload that it left alone.
pub(crate) fn assemble(
    binding: &Binding,
    checked: &Checked,
    batch: &RecordBatch,
    results: Results,
    memory: &Memory,
) -> Result<Evaluated, Error> {
    let rows = batch.num_rows();
    let Results {
        kept,
        mask,
        outputs,
        strings,
    } = results;
    let mut outputs: Vec<Option<ProgramOutput>> = outputs.into_iter().map(Some).collect();
    let mut selection = None;
    let mut bytes_out = 0;
    let mut bytes_copied = 0;
    let mut columns = Vec::with_capacity(binding.lowered.outputs.len());
    for (position, destination) in binding.lowered.outputs.iter().enumerate() {
        let array = match *destination {
            Destination::Program { output } | Destination::Keys { output, .. } => {
                let place = &mut outputs[output];
                let written = match binding.last_uses[position] {
                    true => place.take(),
                    false => place.clone(),
                };
                let ProgramOutput { values, nulls } = written.expect("taken at its last use");
                let size = binding.output_types[output].bytes_for(kept as u64)
                    + arrays::validity_size(nulls.as_ref());
                bytes_out += size;
                if matches!(checked.columns[position], OutputColumn::Payload(_)) {
                    bytes_copied += size;
                }
                match *destination {
                    Destination::Keys { column, .. } => {
                        arrays::from_keys(batch.column(column), kept, values, nulls)?
                    }
                    _ => {
                        let data_type = checked.output.field(position).data_type();
                        arrays::from_fixed(data_type, kept, values, nulls)?
                    }
                }
            }
            Destination::Payload { column } => {
                let source = batch.column(column);
                let compacted = strings.iter().find(|strings| strings.column == column);
                let array = match (compacted, &mask, kept == rows) {
                    (_, _, true) => Arc::clone(source),
                    (Some(compacted), _, false) => {
                        let nulls = binding.validity_of_strings(column).and_then(|output| {
                            let bits = outputs[output].as_ref().expect("no column of its own");
                            arrays::nulls(bits.values.clone(), kept)
                        });
                        bytes_copied += compacted.size() + arrays::validity_size(nulls.as_ref());
                        let StringsOutput { offsets, bytes, .. } = compacted.clone();
                        arrays::from_strings(source.data_type(), kept, offsets, bytes, nulls)?
                    }
                    (None, Some(mask), false) => {
                        let selection =
                            selection.get_or_insert_with(|| Selection::new(mask.as_slice(), rows));
                        gather(source, selection, memory, &mut bytes_copied)?
                    }
                    (None, None, false) => {
                        unreachable!("lowering emits the mask that payload needs")
                    }
                };
                bytes_out += arrays::byte_size(&array);
                array
            }
        };
        columns.push(array);
    }
    let mask = checked.emit_mask.then(|| {
        let bits = match mask {
            Some(mask) => BooleanBuffer::new(mask, 0, rows),
            None => BooleanBuffer::new_set(rows),
        };
        BooleanArray::new(bits, None)
    });
    Ok(Evaluated {
        columns,
        rows_out: kept,
        mask,
        bytes_in: binding.bytes_in(batch),
        bytes_out,
        bytes_copied,
    })
}

impl StringsOutput {
    /// Bytes of offsets and strings.
    pub(crate) fn size(&self) -> u64 {
        (self.offsets.len() + self.bytes.len()) as u64
    }
}

fn with_scratch<R>(run: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => run(&mut scratch),
        // Only where a run is entered from within another, which none does today.
        Err(_) => run(&mut Scratch::new()),
    })
}
