//! What a descriptor says, and every reason for which a card refuses one before its first step.

use std::collections::HashMap;
use std::sync::Arc;

use super::arguments::Run;
use crate::bytecode::Program;
use crate::bytes::{index, u16_at, u32_at, u64_at, zero};
use crate::dma::{Bus, DmaError, Iova};
use crate::operand::{BadList, BadOperand, Kind, OPERAND, Operand, Span};
use crate::profile::Profile;
use crate::status::{NONE, Outcome, Status};

/// "UNLJ".
const MAGIC: u32 = 0x4A4C_4E55;

/// Bytes of the header.
const HEADER: usize = 32;

/// A job that has passed every check.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) report: Option<Iova>,
    pub(crate) steps: Vec<Step>,
}

/// A step of it.
#[derive(Debug)]
pub(crate) enum Step {
    Copy {
        from: Placed,
        to: Placed,
    },
    Fill {
        value: u8,
        to: Placed,
    },
    CopyCounted {
        unit_bits: u32,
        from: Placed,
        to: Placed,
        count: Placed,
    },
    Run(Box<Run>),
}

/// Where the bytes of an operand are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) span: Span,
    pub(crate) bit_offset: u8,
    /// Where the operand stands in the descriptor; errors name it.
    pub(crate) at: u32,
}

/// Why a job does not begin, or does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The card completes it so.
    Outcome(Outcome),
    /// A reset has begun: nothing is completed.
    Abandoned,
}

impl Stop {
    /// Memory of the job could not be reached; of the header, or of a step.
    pub(crate) fn dma(error: DmaError, step: u32, at: u32) -> Stop {
        match error {
            DmaError::Refused => Outcome::new(Status::JobDmaError, step, at).into(),
            DmaError::Abandoned => Stop::Abandoned,
        }
    }
}

impl From<Outcome> for Stop {
    fn from(outcome: Outcome) -> Stop {
        Stop::Outcome(outcome)
    }
}

impl Job {
    /// Reads and checks a descriptor of so many bytes.
    pub(crate) fn check(iova: Iova, length: u64, checker: &Checker<'_>) -> Result<Job, Stop> {
        let profile = checker.profile;
        if length > profile.descriptor_bytes.into() {
            return Err(Outcome::new(Status::JobLimit, NONE, 8).into());
        }
        let mut bytes = vec![0; index(length)];
        checker
            .bus
            .read(iova, &mut bytes)
            .map_err(|error| Stop::dma(error, NONE, 0))?;
        let report = check_header(&bytes, profile)?;
        let mut steps = Vec::new();
        let mut at = HEADER;
        for number in 0..u32_at(&bytes, 12) {
            let rest = &bytes[at..];
            if rest.len() < 8 {
                return Err(header_fault(Status::BadDescriptor, 8));
            }
            let step = StepChecker {
                checker,
                bytes: rest,
                number,
                at: offset(at),
            };
            steps.push(step.check()?);
            at += index(u32_at(rest, 4).into());
        }
        if at != bytes.len() {
            return Err(header_fault(Status::BadDescriptor, 8));
        }
        Ok(Job { report, steps })
    }
}

fn check_header(bytes: &[u8], profile: &Profile) -> Result<Option<Iova>, Stop> {
    let report = u64_at(bytes, 16);
    let reachable = report.is_multiple_of(8) && profile.address_bits().reach(report, 64);
    let faults = [
        (u32_at(bytes, 0) != MAGIC, Status::BadDescriptor, 0),
        (u16_at(bytes, 4) != 1, Status::BadDescriptor, 4),
        (u16_at(bytes, 6) != 0, Status::BadDescriptor, 6),
        (
            index(u32_at(bytes, 8).into()) != bytes.len(),
            Status::BadDescriptor,
            8,
        ),
        (u32_at(bytes, 12) == 0, Status::BadDescriptor, 12),
        (u32_at(bytes, 12) > profile.steps, Status::JobLimit, 12),
        (
            report != 0 && !profile.features.report,
            Status::UnsupportedFeature,
            16,
        ),
        (report != 0 && !reachable, Status::BadDescriptor, 16),
        (u64_at(bytes, 24) != 0, Status::BadDescriptor, 24),
    ];
    match faults.into_iter().find(|fault| fault.0) {
        Some((_, status, at)) => Err(header_fault(status, at)),
        None => Ok((report != 0).then_some(Iova(report))),
    }
}

fn header_fault(status: Status, at: u32) -> Stop {
    Outcome::new(status, NONE, at).into()
}

/// An offset in a descriptor, whose length has 32 bits.
pub(super) fn offset(offset: usize) -> u32 {
    u32::try_from(offset).expect("the length has 32 bits")
}

/// What checks need to know of the card.
#[derive(Debug)]
pub(crate) struct Checker<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) programs: &'a HashMap<u32, Arc<Program>>,
    pub(crate) bus: Bus<'a>,
}

/// Checks one step.
#[derive(Debug)]
pub(super) struct StepChecker<'a> {
    pub(super) checker: &'a Checker<'a>,
    /// From the step's first byte to the descriptor's end, 8 at least.
    pub(super) bytes: &'a [u8],
    pub(super) number: u32,
    /// Where the step begins in the descriptor.
    pub(super) at: u32,
}

impl StepChecker<'_> {
    fn check(&self) -> Result<Step, Stop> {
        let known = (1..=4).contains(&self.bytes[0]);
        self.require(known, Status::BadStep, 0)?;
        self.require(zero(&self.bytes[1..4]), Status::BadStep, 1)?;
        match self.bytes[0] {
            1 => self.copy(),
            2 => self.fill(),
            3 => self.copy_counted(),
            _ => Ok(Step::Run(Box::new(self.run()?))),
        }
    }

    fn copy(&self) -> Result<Step, Stop> {
        self.has_length(64)?;
        self.require(zero(&self.bytes[8..16]), Status::BadStep, 8)?;
        let (from, to) = (self.bytes_operand(16)?, self.bytes_operand(40)?);
        self.require(from.span.length == to.span.length, Status::BadOperand, 40)?;
        Ok(Step::Copy { from, to })
    }

    fn fill(&self) -> Result<Step, Stop> {
        self.has_length(40)?;
        self.require(zero(&self.bytes[9..16]), Status::BadStep, 9)?;
        Ok(Step::Fill {
            value: self.bytes[8],
            to: self.bytes_operand(16)?,
        })
    }

    fn copy_counted(&self) -> Result<Step, Stop> {
        let supported = self.checker.profile.features.counted_copy;
        self.require(supported, Status::UnsupportedFeature, 0)?;
        self.has_length(88)?;
        let unit_bits = u32_at(self.bytes, 8);
        self.require(unit_bits != 0, Status::BadStep, 8)?;
        self.require(zero(&self.bytes[12..16]), Status::BadStep, 12)?;
        let (from, to) = (self.bytes_operand(16)?, self.bytes_operand(40)?);
        self.require(from.span.length == to.span.length, Status::BadOperand, 40)?;
        let count = self.operand(64)?;
        let is_count = count.kind == Kind::Memory && count.length == 8 && count.bit_offset == 0;
        self.require(is_count, Status::BadOperand, 64)?;
        let count = self.place(&count, 64)?;
        Ok(Step::CopyCounted {
            unit_bits,
            from,
            to,
            count,
        })
    }

    /// A length of exactly so many bytes, all of which are there.
    pub(super) fn has_length(&self, length: u64) -> Result<(), Stop> {
        let said = u64::from(u32_at(self.bytes, 4));
        let there = crate::bytes::length(self.bytes.len());
        self.require(said == length && length <= there, Status::BadStep, 4)
    }

    /// An operand of COPY, FILL or COPY_COUNTED that names bytes.
    fn bytes_operand(&self, at: usize) -> Result<Placed, Stop> {
        let operand = self.operand(at)?;
        let names_bytes = matches!(operand.kind, Kind::Memory | Kind::List);
        self.require(
            names_bytes && operand.bit_offset == 0,
            Status::BadOperand,
            offset(at),
        )?;
        self.place(&operand, at)
    }

    /// The operand at an offset of the step, checked by itself.
    pub(super) fn operand(&self, at: usize) -> Result<Operand, Stop> {
        let profile = self.checker.profile;
        let bytes = &self.bytes[at..at + OPERAND];
        Operand::decode(bytes, profile.address_bits(), profile.segments).map_err(|bad| {
            let status = match bad {
                BadOperand::TooManySegments => Status::JobLimit,
                _ => Status::BadOperand,
            };
            self.fault(status, offset(at))
        })
    }

    /// Reads the segment list of an operand, if it has one.
    pub(super) fn place(&self, operand: &Operand, at: usize) -> Result<Placed, Stop> {
        let place = self.at + offset(at);
        let address_bits = self.checker.profile.address_bits();
        match Span::resolve(operand, address_bits, self.checker.bus) {
            Ok(span) => Ok(Placed {
                span,
                bit_offset: operand.bit_offset,
                at: place,
            }),
            Err(BadList::Segment(_)) => Err(self.fault(Status::BadSegments, offset(at))),
            Err(BadList::Dma(error)) => Err(Stop::dma(error, self.number, place)),
        }
    }

    /// Refuses the job unless it holds; DW1 is the place of a field of the step.
    pub(super) fn require(&self, holds: bool, status: Status, at: u32) -> Result<(), Stop> {
        if holds {
            Ok(())
        } else {
            Err(self.fault(status, at))
        }
    }

    fn fault(&self, status: Status, at: u32) -> Stop {
        Outcome::new(status, self.number, self.at + at).into()
    }
}
