//! What of a program runs where: its parts, and the arguments of each.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::{BooleanBuffer, Buffer};
use unlade_eval::{BitsRef, ColumnRef};
use unlade_hal::{Executable, Lease};
use unlade_program::{ColumnSource, On, Part, Program, ShapeHash, Split, Ty};

use crate::arrays::FixedValues;
use crate::bind::{Binding, values_of};
use crate::error::Error;
use crate::inline::{ProgramOutput, StringsOutput};
use crate::resident::{OnDevice, ResidentColumn, ResidentStrings};
use crate::strings::StringsColumn;

/// A part of a query's program, compiled for whoever runs it.
#[derive(Debug)]
pub(crate) struct PlannedPart {
    pub(crate) on: On,
    pub(crate) program: Arc<Program>,
    pub(crate) executable: Executable,
    pub(crate) columns: Vec<ColumnSource>,
    pub(crate) params: Vec<[u8; 16]>,
    pub(crate) tables: Vec<u16>,
    pub(crate) sets: Vec<u16>,
    /// Which output of the whole each of the part's is.
    pub(crate) outputs: Vec<u16>,
    pub(crate) output_types: Vec<Ty>,
    /// What it compacts of strings by its mask, where they are in its reach.
    pub(crate) strings: Vec<PlannedStrings>,
}

/// A column of strings that a device compacts behind the program.
#[derive(Debug)]
pub(crate) struct PlannedStrings {
    pub(crate) column: usize,
    pub(crate) executable: Executable,
}

impl PlannedPart {
    /// `compile` is asked once.
    pub(crate) fn new<E>(
        part: &Part,
        binding: &Binding,
        compile: impl FnOnce(ShapeHash, &Program) -> Result<Executable, E>,
    ) -> Result<Self, E> {
        let executable = compile(ShapeHash::of(&part.program), &part.program)?;
        let types = part.program.types();
        let outputs = part.program.outputs.iter();
        Ok(PlannedPart {
            on: part.on,
            executable,
            columns: part.columns.clone(),
            params: part
                .params
                .iter()
                .map(|index| binding.params[usize::from(*index)])
                .collect(),
            tables: part.tables.clone(),
            sets: part.sets.clone(),
            outputs: part.outputs.clone(),
            output_types: outputs
                .map(|output| types[output.value.index()].expect("an output is no trap"))
                .collect(),
            program: Arc::new(part.program.clone()),
            strings: Vec::new(),
        })
    }
}

/// The arguments that a part is handed, where they lie.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    pub(crate) rows: usize,
    pub(crate) columns: Vec<ColumnArgument<'a>>,
    pub(crate) params: &'a [[u8; 16]],
    pub(crate) tables: Vec<Buffer>,
    pub(crate) sets: Vec<&'a [u8]>,
    /// The strings that are compacted behind the program, those of [`PlannedPart::strings`] that are
    /// in the device's reach.
    pub(crate) strings: Vec<StringsArgument<'a>>,
    /// The device's memory in which resident columns lie.
    pub(crate) resident: Option<&'a Arc<Lease>>,
    /// How results come to the host.
    pub(crate) brings: Brings,
}

/// How a device's results come to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brings {
    /// With the list that makes them, room for every row whether it is kept or not.
    Everything,
    /// By a list of their own, once it is known how much is kept; and the mask, if it is needed.
    Kept {
        /// Whether it is.
        mask: bool,
    },
}

/// A column of strings to be compacted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StringsArgument<'a> {
    pub(crate) planned: &'a PlannedStrings,
    pub(crate) column: StringsColumn<'a>,
    /// Where the device has it already; else it reads the host's memory in place.
    pub(crate) resident: Option<ResidentStrings>,
}

/// One column of a part's program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnArgument<'a> {
    pub(crate) values: FixedValues<'a>,
    /// The bitmap, and the position of the first row's bit.
    pub(crate) validity: Option<(&'a Buffer, usize)>,
    /// Where the device has it already.
    pub(crate) resident: Option<ResidentColumn>,
}

/// Gathers a part's arguments. `validities` are those of [`Binding::validities`], `mask` is the keep
/// mask of the part before. Strings are left to [`Arguments::reach_strings`].
pub(crate) fn arguments<'a>(
    part: &'a PlannedPart,
    binding: &'a Binding,
    batch: &'a RecordBatch,
    validities: &'a [Option<BooleanBuffer>],
    tables: &[Buffer],
    mask: Option<&'a Buffer>,
    on_device: Option<&'a OnDevice>,
) -> Result<Arguments<'a>, Error> {
    let mut columns = Vec::with_capacity(part.columns.len());
    for source in &part.columns {
        columns.push(match *source {
            ColumnSource::Column(column) => {
                let column = usize::from(column);
                let index = binding.lowered.columns[column];
                match validities.get(column) {
                    Some(Some(bits)) => {
                        let strings = on_device.and_then(|there| there.strings[index]);
                        let resident = strings.and_then(|strings| strings.validity);
                        ColumnArgument {
                            resident: resident.map(ResidentColumn::of_bits),
                            ..ColumnArgument::without_nulls(FixedValues::of_bits(bits))
                        }
                    }
                    _ => ColumnArgument {
                        resident: on_device.and_then(|there| there.columns[index]),
                        ..column_argument(batch, index)?
                    },
                }
            }
            ColumnSource::Mask => ColumnArgument::without_nulls(FixedValues {
                buffer: mask.expect("the part before emits its mask"),
                bit_offset: 0,
            }),
        });
    }
    Ok(Arguments {
        rows: batch.num_rows(),
        columns,
        params: &part.params,
        tables: part
            .tables
            .iter()
            .map(|table| tables[usize::from(*table)].clone())
            .collect(),
        sets: part
            .sets
            .iter()
            .map(|set| &binding.lowered.sets[usize::from(*set)][..])
            .collect(),
        strings: Vec::new(),
        resident: on_device.map(|there| &there.lease),
        brings: Brings::Everything,
    })
}

impl<'a> Arguments<'a> {
    /// Adds the strings that the device reaches: it reads the host's memory in place, or has them.
    /// Those that would have to cross the bus only to be compacted are left to the host.
    pub(crate) fn reach_strings(
        &mut self,
        part: &'a PlannedPart,
        batch: &'a RecordBatch,
        on_device: Option<&OnDevice>,
        in_place: bool,
    ) {
        let reached = part.strings.iter().filter_map(|planned| {
            let resident = on_device.and_then(|there| there.strings[planned.column]);
            let column = StringsColumn::of(batch.column(planned.column))?;
            (in_place || resident.is_some()).then_some(StringsArgument {
                planned,
                column,
                resident,
            })
        });
        self.strings.extend(reached);
    }
}

fn column_argument(batch: &RecordBatch, index: usize) -> Result<ColumnArgument<'_>, Error> {
    let array = batch.column(index).as_ref();
    let values = values_of(array, index)?;
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    Ok(ColumnArgument {
        values,
        validity: nulls.map(|nulls| (nulls.inner().inner(), nulls.offset())),
        resident: None,
    })
}

impl<'a> ColumnArgument<'a> {
    fn without_nulls(values: FixedValues<'a>) -> Self {
        ColumnArgument {
            values,
            validity: None,
            resident: None,
        }
    }

    /// As the evaluator takes it.
    pub(crate) fn as_ref(&self) -> ColumnRef<'a> {
        self.values
            .column(self.validity.map(|(bits, offset)| BitsRef {
                bytes: bits.as_slice(),
                offset,
            }))
    }
}

/// What parts have written so far, put in the places of the whole.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) kept: usize,
    pub(crate) mask: Option<Buffer>,
    outputs: Vec<Option<ProgramOutput>>,
    strings: Vec<StringsOutput>,
}

impl Collected {
    pub(crate) fn of(outputs: usize) -> Self {
        let mut collected = Collected::default();
        collected.outputs.resize_with(outputs, || None);
        collected
    }

    /// Takes a part's results.
    pub(crate) fn add(&mut self, part: &PlannedPart, results: crate::inline::Results) {
        self.kept = results.kept;
        if results.mask.is_some() {
            self.mask = results.mask;
        }
        self.strings.extend(results.strings);
        for (output, index) in results.outputs.into_iter().zip(&part.outputs) {
            self.outputs[usize::from(*index)] = Some(output);
        }
    }

    /// The results of the whole.
    pub(crate) fn finish(self) -> crate::inline::Results {
        let outputs = self.outputs.into_iter();
        crate::inline::Results {
            kept: self.kept,
            mask: self.mask,
            outputs: outputs
                .map(|output| output.expect("each output is some part's"))
                .collect(),
            strings: self.strings,
        }
    }
}

/// What a split says a device lacks, in a few words.
pub(crate) fn lacks(split: &Split) -> Arc<str> {
    const NAMED: usize = 3;
    let mut words: Vec<String> = Vec::new();
    for lack in &split.lacks {
        let word = match lack.reason {
            unlade_program::Reason::Cell(cell) => format!("`{cell}`"),
            unlade_program::Reason::Set(set) => format!("room for {set}"),
            _ => lack.to_string(),
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let more = words.len().saturating_sub(NAMED);
    words.truncate(NAMED);
    let mut text = words.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text.into()
}
