//! Which register holds what, and when.

use std::collections::BTreeSet;

use unlade_program::{Op, Program, Ty, Val};

use super::order::{Step, is_source};
use super::typed;
use super::uses::Uses;
use crate::bytecode::{Kind, Register};
use crate::limits::Limits;
use crate::refused::Refused;

/// Steps with registers.
pub(super) struct Allocated {
    /// The steps, and between them what they read from inputs.
    pub(super) placed: Vec<Placed>,
    /// How many V registers are used.
    pub(super) value_registers: u16,
    /// How many M registers are used.
    pub(super) mask_registers: u16,
}

/// A step and its registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) step: Step,
    pub(super) dst: Option<Register>,
    pub(super) sources: [Option<Register>; 3],
}

/// Gives each value a register from where it is computed to where it is last read.
///
/// What comes from an input is read just before its first use and stays while there is room; where
/// registers are short, the one that is not needed for longest (L. A. Belady, 1966) gives way and
/// is read again.
///
/// # Errors
/// [`Refused::TooWide`] where values that can only be computed need more registers than there are.
pub(super) fn allocate(
    program: &Program,
    types: &[Option<Ty>],
    steps: &[Step],
    limits: &Limits,
) -> Result<Allocated, Refused> {
    let mut allocator = Allocator {
        program,
        types,
        uses: Uses::of(program, steps),
        places: vec![None; program.insts.len()],
        values: Registers::new(limits.value_registers),
        masks: Registers::new(limits.mask_registers),
        placed: Vec::with_capacity(2 * steps.len()),
    };
    for &step in steps {
        allocator.step(step)?;
    }
    Ok(Allocated {
        placed: allocator.placed,
        value_registers: allocator.values.used,
        mask_registers: allocator.masks.used,
    })
}

struct Allocator<'a> {
    program: &'a Program,
    types: &'a [Option<Ty>],
    uses: Uses,
    /// The register that holds a value now.
    places: Vec<Option<Register>>,
    values: Registers,
    masks: Registers,
    placed: Vec<Placed>,
}

impl Allocator<'_> {
    fn step(&mut self, step: Step) -> Result<(), Refused> {
        let operands = step.operands(self.program);
        for operand in operands.into_iter().flatten() {
            if self.places[operand.index()].is_none() {
                self.place(operand, step, &operands)?;
            }
        }
        let sources = operands.map(|operand| self.places[operand?.index()]);
        for operand in operands.into_iter().flatten() {
            self.uses.pass(operand);
            if self.uses.next(operand).is_none() {
                self.free(operand);
            }
        }
        // A word reads before it writes: its result may lie where an operand was.
        let dst = match step {
            Step::Compute(val) if self.types[val.index()].is_some() => {
                Some(self.take(val, step, &[])?)
            }
            _ => None,
        };
        self.placed.push(Placed { step, dst, sources });
        Ok(())
    }

    /// Reads a value from an input, for a step whose operands stay where they are.
    fn place(&mut self, val: Val, step: Step, operands: &[Option<Val>]) -> Result<(), Refused> {
        debug_assert!(is_source(self.program, val), "{val} is computed before use");
        let dst = Some(self.take(val, step, operands)?);
        self.placed.push(Placed {
            step: Step::Compute(val),
            dst,
            sources: [None; 3],
        });
        Ok(())
    }

    /// A register for a value: a free one, or one from which a value gives way that can be read
    /// again and is not among `operands`.
    fn take(
        &mut self,
        val: Val,
        step: Step,
        operands: &[Option<Val>],
    ) -> Result<Register, Refused> {
        let kind = Kind::of(typed(self.types, val));
        let register = match self.registers(kind).free.pop_first() {
            Some(number) => Register { kind, number },
            None => self
                .evict(kind, operands)
                .ok_or_else(|| self.full(kind, step))?,
        };
        let registers = self.registers(kind);
        registers.used = registers.used.max(u16::from(register.number) + 1);
        registers.holds[usize::from(register.number)] = Some(val);
        self.places[val.index()] = Some(register);
        Ok(register)
    }

    fn evict(&mut self, kind: Kind, operands: &[Option<Val>]) -> Option<Register> {
        let (program, uses) = (self.program, &self.uses);
        let registers = match kind {
            Kind::Value => &self.values,
            Kind::Mask => &self.masks,
        };
        let farthest = registers
            .holds
            .iter()
            .flatten()
            .filter(|&&val| is_source(program, val) && !operands.contains(&Some(val)))
            .max_by_key(|&&val| (uses.next(val), val))?;
        self.places[farthest.index()].take()
    }

    fn free(&mut self, val: Val) {
        if let Some(register) = self.places[val.index()].take() {
            let registers = self.registers(register.kind);
            registers.holds[usize::from(register.number)] = None;
            registers.free.insert(register.number);
        }
    }

    fn full(&self, kind: Kind, step: Step) -> Refused {
        let (count, letter) = match kind {
            Kind::Value => (self.values.holds.len(), 'V'),
            Kind::Mask => (self.masks.holds.len(), 'M'),
        };
        let at = match step {
            Step::Compute(val) => format!("{val} ({})", Op::of(&self.program.insts[val.index()])),
            Step::Keep(val) => format!("the filter, {val},"),
            Step::EmitMask => "the mask written".to_owned(),
            Step::Store { index, .. } => format!("output {index}"),
        };
        Refused::TooWide {
            what: format!("{at} needs one more than its {count} {letter} registers"),
            cut: None,
        }
    }

    fn registers(&mut self, kind: Kind) -> &mut Registers {
        match kind {
            Kind::Value => &mut self.values,
            Kind::Mask => &mut self.masks,
        }
    }
}

/// The registers of one kind.
struct Registers {
    /// The least is taken first, so that as few as can be are used.
    free: BTreeSet<u8>,
    holds: Vec<Option<Val>>,
    /// How many have ever held something.
    used: u16,
}

impl Registers {
    fn new(count: u16) -> Self {
        Registers {
            free: (0..=u8::MAX).take(usize::from(count)).collect(),
            holds: vec![None; usize::from(count)],
            used: 0,
        }
    }
}
