//! The interpreter: runs the words of a program on one row after the other.
//!
//! Written for being right at a glance, not for speed: every register holds the bits of its value in
//! 128, and an operation is a function of such bits ([`evaluate`]). No word looks at another row, so
//! the rows of a tile may be any rows.

mod decimal;
mod evaluate;
mod float;
mod integer;

use crate::bytecode::{Bank, Operation, Program, Word};
use crate::bytes::length;
use crate::types::Type;

use evaluate::evaluate;

/// What is the same for all rows of a RUN, but for its columns.
#[derive(Debug, Default)]
pub(crate) struct Constants {
    pub(crate) params: Vec<u128>,
    pub(crate) tables: Vec<Table>,
    /// Of each set its members, ascending, each once.
    pub(crate) sets: Vec<Vec<u128>>,
}

/// A table, as it lies in memory.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) ty: Type,
    pub(crate) bytes: Vec<u8>,
}

impl Table {
    fn entries(&self) -> u64 {
        match self.ty {
            Type::Mask => 8 * length(self.bytes.len()),
            ty => length(self.bytes.len() / ty.bytes()),
        }
    }

    /// The position of the entry that an integer names, if there is one.
    fn position(&self, index: i128) -> Option<usize> {
        let index = u64::try_from(index).ok()?;
        if index < self.entries() {
            usize::try_from(index).ok()
        } else {
            None
        }
    }

    fn entry(&self, position: usize) -> u128 {
        match self.ty {
            Type::Mask => u128::from(self.bytes[position / 8] >> (position % 8) & 1),
            ty => number(&self.bytes[position * ty.bytes()..][..ty.bytes()]),
        }
    }
}

/// The rows of one column: bits of values, and of the validity. Empty where the program does not
/// look at them.
#[derive(Debug, Default)]
pub(crate) struct ColumnTile {
    pub(crate) values: Vec<u128>,
    /// None where every row is valid.
    pub(crate) validity: Option<Vec<u128>>,
}

/// What the words did on the rows of a tile.
#[derive(Debug, Default)]
pub(crate) struct TileResult {
    /// The first row that trapped, and the least ordinal there. Nothing behind it has run.
    pub(crate) trap: Option<(usize, u32)>,
    /// One for each row.
    pub(crate) keep: Vec<u128>,
    /// Of the rows kept: bits of the values and of the validity, for each output.
    pub(crate) outputs: Vec<OutputTile>,
}

/// What one output gets.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutputTile {
    pub(crate) values: Vec<u128>,
    pub(crate) validity: Vec<u128>,
}

/// The little-endian number in at most 16 bytes.
pub(crate) fn number(bytes: &[u8]) -> u128 {
    let mut wide = [0; 16];
    wide[..bytes.len()].copy_from_slice(bytes);
    u128::from_le_bytes(wide)
}

/// Runs the program on so many rows of the columns.
pub(crate) fn run_tile(
    program: &Program,
    constants: &Constants,
    columns: &[ColumnTile],
    rows: usize,
) -> TileResult {
    let mut result = TileResult {
        outputs: vec![OutputTile::default(); program.outputs.len()],
        ..TileResult::default()
    };
    let mut registers = Registers::new(program);
    for row in 0..rows {
        let mut machine = Machine {
            program,
            constants,
            columns,
            row,
            registers,
            kept: 1,
            trap: None,
        };
        for word in &program.words {
            machine.step(word, &mut result.outputs);
        }
        result.keep.push(machine.kept);
        if let Some(ordinal) = machine.trap {
            result.trap = Some((row, ordinal));
            return result;
        }
        registers = machine.registers;
    }
    result
}

/// What the registers hold on one row.
#[derive(Debug)]
struct Registers {
    values: Vec<u128>,
    masks: Vec<u128>,
}

impl Registers {
    fn new(program: &Program) -> Registers {
        Registers {
            values: vec![0; usize::from(program.v_registers)],
            masks: vec![0; usize::from(program.m_registers)],
        }
    }

    fn get(&self, bank: Bank, register: u8) -> u128 {
        match bank {
            Bank::Value(_) => self.values[usize::from(register)],
            Bank::Mask => self.masks[usize::from(register)],
        }
    }

    fn set(&mut self, bank: Bank, register: u8, bits: u128) {
        match bank {
            Bank::Value(_) => self.values[usize::from(register)] = bits,
            Bank::Mask => self.masks[usize::from(register)] = bits,
        }
    }
}

/// One row.
#[derive(Debug)]
struct Machine<'a> {
    program: &'a Program,
    constants: &'a Constants,
    columns: &'a [ColumnTile],
    row: usize,
    registers: Registers,
    kept: u128,
    trap: Option<u32>,
}

impl Machine<'_> {
    fn step(&mut self, word: &Word, outputs: &mut [OutputTile]) {
        let mut sources = [0; 3];
        for (source, bits) in sources
            .iter_mut()
            .enumerate()
            .take(word.operation.sources())
        {
            let bank = word.operation.source(source, word.operand);
            *bits = self.registers.get(bank, word.sources[source]);
        }
        let index = usize::from(word.index);
        match word.operation {
            Operation::Trap if sources[0] == 1 => {
                let ordinal = word.immediate.cast_unsigned();
                self.trap = Some(self.trap.map_or(ordinal, |least| least.min(ordinal)));
            }
            Operation::Trap | Operation::EmitMask => {}
            Operation::Keep => self.kept = sources[0],
            Operation::Store if self.kept == 1 => {
                outputs[index].values.push(sources[0]);
                if self.program.outputs[index].validity {
                    outputs[index]
                        .validity
                        .push(self.registers.get(Bank::Mask, word.sources[1]));
                }
            }
            Operation::Store => {}
            _ => {
                let bits = self.value(word, sources);
                let bank = word
                    .operation
                    .dst(word.result)
                    .expect("all others write a register");
                self.registers.set(bank, word.dst, bits);
            }
        }
    }

    /// What a word that writes a register computes.
    fn value(&self, word: &Word, sources: [u128; 3]) -> u128 {
        let index = usize::from(word.index);
        match word.operation {
            Operation::Load => self.columns[index].values[self.row],
            Operation::Validity => match &self.columns[index].validity {
                Some(validity) => validity[self.row],
                None => 1,
            },
            Operation::Param => self.constants.params[index],
            Operation::Const => self.program.constants[index] & word.result.mask(),
            Operation::Lookup => {
                let table = &self.constants.tables[index];
                let position = table.position(integer::value(sources[0], word.operand));
                position.map_or(0, |position| table.entry(position))
            }
            Operation::InBounds => {
                let table = &self.constants.tables[index];
                let position = table.position(integer::value(sources[0], word.operand));
                u128::from(position.is_some())
            }
            Operation::InSet => {
                let found = self.constants.sets[index].binary_search(&sources[0]);
                u128::from(found.is_ok())
            }
            _ => evaluate(word, sources),
        }
    }
}
