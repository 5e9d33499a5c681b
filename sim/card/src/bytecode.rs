//! Programs: decoding and checking of bytecode, docs/CARD.md, section 9.
//!
//! [`Program::load`] makes every check of the section in its order, and reports the first fault
//! with its status, the word at fault and the offset at fault.

mod header;
mod operation;
mod words;

use crate::capability::Capabilities;
use crate::status::{NONE, Outcome, Status};
use crate::types::Type;

use header::Header;
pub(crate) use operation::{Bank, Operation};
use words::WordChecker;

/// Bytes of the header.
pub(crate) const HEADER: usize = 64;

/// What a program may have at most, and what the card executes.
#[derive(Clone, Debug)]
pub(crate) struct LoadLimits {
    pub(crate) bytes: u32,
    pub(crate) words: u32,
    pub(crate) constants: u32,
    pub(crate) columns: u32,
    pub(crate) params: u32,
    pub(crate) tables: u32,
    pub(crate) sets: u32,
    pub(crate) outputs: u32,
    pub(crate) v_registers: u16,
    pub(crate) m_registers: u16,
    /// FEAT bit 0.
    pub(crate) compaction: bool,
    pub(crate) capabilities: Capabilities,
}

/// A program that has passed every check.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) columns: Vec<Declaration>,
    pub(crate) params: Vec<Declaration>,
    pub(crate) tables: Vec<Declaration>,
    pub(crate) sets: Vec<Declaration>,
    pub(crate) outputs: Vec<Declaration>,
    pub(crate) constants: Vec<u128>,
    pub(crate) words: Vec<Word>,
    pub(crate) v_registers: u16,
    pub(crate) m_registers: u16,
    pub(crate) keep: bool,
    pub(crate) emit_mask: bool,
}

/// A declaration of a column, parameter, table, set or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Declaration {
    pub(crate) ty: Type,
    /// Of a column: nullable. Of an output: it has a validity.
    pub(crate) validity: bool,
}

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) operation: Operation,
    pub(crate) operand: Type,
    pub(crate) result: Type,
    pub(crate) variant: u8,
    pub(crate) dst: u8,
    /// Sources A, B and C.
    pub(crate) sources: [u8; 3],
    pub(crate) index: u16,
    pub(crate) immediate: i32,
}

impl Program {
    /// Checks bytecode and decodes it. The error is what LOAD_PROGRAM completes with.
    pub(crate) fn load(bytes: &[u8], limits: &LoadLimits) -> Result<Program, Outcome> {
        let header = Header::check(bytes, limits)?;
        let mut program = header.declarations(bytes)?;
        let mut checker = WordChecker::new(&program, limits);
        let mut words = Vec::with_capacity(header.words);
        for (number, word) in bytes[header.words_at..].chunks_exact(16).enumerate() {
            let decoded = checker.check(word).map_err(|status| {
                Outcome::new(
                    status,
                    offset(number),
                    offset(header.words_at + 16 * number),
                )
            })?;
            words.push(decoded);
        }
        let missing = checker.missing();
        if let Some(missing) = missing {
            let at = match missing {
                words::Missing::Flag => 16,
                words::Missing::Output(output) => offset(header.output_at(output)),
            };
            return Err(Outcome::new(Status::Incomplete, NONE, at));
        }
        program.words = words;
        Ok(program)
    }

    /// How many arguments a RUN of it takes.
    pub(crate) fn arguments(&self) -> usize {
        2 * self.columns.len()
            + self.params.len()
            + self.tables.len()
            + self.sets.len()
            + usize::from(self.emit_mask)
            + 2 * self.outputs.len()
    }

    /// Whether some word of the operation names the column.
    pub(crate) fn reads(&self, operation: Operation, column: usize) -> bool {
        self.words
            .iter()
            .any(|word| word.operation == operation && usize::from(word.index) == column)
    }
}

/// An offset or number in bytecode, whose length has 32 bits.
fn offset(offset: usize) -> u32 {
    u32::try_from(offset).expect("the length has 32 bits")
}
