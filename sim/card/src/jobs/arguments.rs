//! RUN: its fields and arguments, checked against the program.

use std::sync::Arc;

use super::descriptor::{Placed, StepChecker, Stop, offset};
use crate::bytecode::{Declaration, Program};
use crate::bytes::{index, length, u32_at, u64_at};
use crate::dma::Iova;
use crate::operand::{Kind, OPERAND, Operand};
use crate::status::{Outcome, Status};
use crate::types::Type;

/// Bytes of a RUN before its arguments.
const FIELDS: usize = 40;

/// A RUN whose arguments fit its program.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) program: Arc<Program>,
    pub(crate) rows: u64,
    /// The result block, and where its IOVA stands in the descriptor.
    pub(crate) result: (Iova, u32),
    /// The checksum block, likewise.
    pub(crate) checksums: Option<(Iova, u32)>,
    pub(crate) columns: Vec<Buffers>,
    pub(crate) params: Vec<u128>,
    pub(crate) tables: Vec<Placed>,
    pub(crate) sets: Vec<Placed>,
    pub(crate) keep_mask: Option<Placed>,
    pub(crate) outputs: Vec<Buffers>,
}

/// The buffers of a column or an output.
#[derive(Debug)]
pub(crate) struct Buffers {
    pub(crate) values: Placed,
    pub(crate) validity: Option<Placed>,
}

impl StepChecker<'_> {
    pub(super) fn run(&self) -> Result<Run, Stop> {
        let bytes = self.bytes;
        let profile = self.checker.profile;
        self.require(bytes.len() >= FIELDS, Status::BadStep, 4)?;
        let argument_count = u32_at(bytes, 20);
        self.has_length(length(FIELDS) + length(OPERAND) * u64::from(argument_count))?;
        let rows = u64_at(bytes, 8);
        self.require(rows <= profile.rows, Status::JobLimit, 8)?;
        let program = self.checker.programs.get(&u32_at(bytes, 16));
        self.require(program.is_some(), Status::UnknownProgram, 16)?;
        let program = Arc::clone(program.expect("just required"));
        let right_count = index(argument_count.into()) == program.arguments();
        self.require(right_count, Status::BadArguments, 20)?;

        let reach =
            |iova: u64, bytes| iova.is_multiple_of(8) && profile.address_bits().reach(iova, bytes);
        let (result, checksums) = (u64_at(bytes, 24), u64_at(bytes, 32));
        self.require(result != 0 && reach(result, 24), Status::BadStep, 24)?;
        if checksums != 0 {
            self.require(profile.features.checksum, Status::UnsupportedFeature, 32)?;
            self.require(
                reach(checksums, checksum_bytes(&program)),
                Status::BadStep,
                32,
            )?;
        }

        let mut arguments = Arguments {
            step: self,
            rows,
            next: 0,
            entry_bytes: profile.entry_bytes(),
        };
        let columns = program
            .columns
            .iter()
            .map(|column| arguments.column(*column));
        let columns = columns.collect::<Result<_, _>>()?;
        let params = program.params.iter().map(|param| arguments.param(param.ty));
        let params = params.collect::<Result<_, _>>()?;
        let tables = program.tables.iter();
        let tables = tables.map(|table| arguments.entries(table.ty, profile.table_bytes));
        let tables = tables.collect::<Result<_, _>>()?;
        let sets = program.sets.iter();
        let sets = sets.map(|set| arguments.entries(set.ty, profile.set_bytes));
        let sets = sets.collect::<Result<_, _>>()?;
        let keep_mask = if program.emit_mask {
            Some(arguments.written(Type::Mask)?)
        } else {
            None
        };
        let outputs = program
            .outputs
            .iter()
            .map(|output| arguments.output(*output));
        let outputs = outputs.collect::<Result<_, _>>()?;
        Ok(Run {
            rows,
            result: (Iova(result), self.at + 24),
            checksums: (checksums != 0).then_some((Iova(checksums), self.at + 32)),
            columns,
            params,
            tables,
            sets,
            keep_mask,
            outputs,
            program,
        })
    }
}

/// Bytes of a program's checksum block.
fn checksum_bytes(program: &Program) -> u64 {
    4 * (u64::from(program.emit_mask) + 2 * length(program.outputs.len()))
}

/// Takes the arguments one after the other.
#[derive(Debug)]
struct Arguments<'a> {
    step: &'a StepChecker<'a>,
    rows: u64,
    next: usize,
    /// What is left for tables and sets.
    entry_bytes: u64,
}

impl Arguments<'_> {
    fn column(&mut self, column: Declaration) -> Result<Buffers, Stop> {
        let values = self.read(column.ty)?;
        let validity = self.take()?;
        let validity = match validity.kind {
            Kind::Absent => None,
            _ => {
                self.require(column.validity)?;
                self.long_enough(&validity, Type::Mask, 0)?;
                Some(self.place(&validity)?)
            }
        };
        Ok(Buffers { values, validity })
    }

    fn param(&mut self, ty: Type) -> Result<u128, Stop> {
        let operand = self.take()?;
        self.require(operand.kind == Kind::Scalar)?;
        Ok(operand.value & ty.mask())
    }

    /// A table or a set.
    fn entries(&mut self, ty: Type, limit: u64) -> Result<Placed, Stop> {
        let operand = self.take()?;
        self.require(matches!(operand.kind, Kind::Memory | Kind::List))?;
        self.require(operand.bit_offset == 0)?;
        self.require(ty.is_mask() || operand.length.is_multiple_of(length(ty.bytes())))?;
        let at = offset(self.position());
        let most = limit.min(self.entry_bytes);
        self.step
            .require(operand.length <= most, Status::JobLimit, at)?;
        self.entry_bytes -= operand.length;
        self.place(&operand)
    }

    fn output(&mut self, output: Declaration) -> Result<Buffers, Stop> {
        let values = self.written(output.ty)?;
        let validity = if output.validity {
            Some(self.written(Type::Mask)?)
        } else {
            let absent = self.take()?;
            self.require(absent.kind == Kind::Absent)?;
            None
        };
        Ok(Buffers { values, validity })
    }

    fn read(&mut self, ty: Type) -> Result<Placed, Stop> {
        let operand = self.take()?;
        self.require(operand.bit_offset == 0 || ty.is_mask())?;
        self.long_enough(&operand, ty, 0)?;
        self.place(&operand)
    }

    fn written(&mut self, ty: Type) -> Result<Placed, Stop> {
        let operand = self.take()?;
        self.require(operand.bit_offset == 0)?;
        let slack = self.step.checker.profile.write_slack;
        self.long_enough(&operand, ty, slack.into())?;
        self.place(&operand)
    }

    /// The next argument, checked by itself.
    fn take(&mut self) -> Result<Operand, Stop> {
        self.next += 1;
        self.step.operand(self.position())
    }

    /// Where the argument that was taken last stands in the step.
    fn position(&self) -> usize {
        FIELDS + OPERAND * (self.next - 1)
    }

    fn long_enough(&self, operand: &Operand, ty: Type, slack: u64) -> Result<(), Stop> {
        let bits = u128::from(self.rows) * u128::from(ty.bits());
        let needed = (bits + u128::from(operand.bit_offset)).div_ceil(8) + u128::from(slack);
        self.require(matches!(operand.kind, Kind::Memory | Kind::List))?;
        self.require(u128::from(operand.length) >= needed)
    }

    /// Where its bytes are, every segment on the card's alignment.
    fn place(&self, operand: &Operand) -> Result<Placed, Stop> {
        let placed = self.step.place(operand, self.position())?;
        let alignment = self.step.checker.profile.operand_alignment;
        let segments = &placed.span.segments;
        let aligned = segments.iter().enumerate().all(|(number, segment)| {
            let last = number + 1 == segments.len();
            segment.iova.0.is_multiple_of(alignment.into())
                && (last || segment.length.is_multiple_of(alignment.into()))
        });
        self.require_or(aligned, Status::Misaligned)?;
        Ok(placed)
    }

    fn require(&self, holds: bool) -> Result<(), Stop> {
        self.require_or(holds, Status::BadArgument)
    }

    fn require_or(&self, holds: bool, status: Status) -> Result<(), Stop> {
        if holds {
            return Ok(());
        }
        Err(Outcome::new(status, self.step.number, offset(self.next - 1)).into())
    }
}
