//! Common subexpressions: one of several equal instructions is kept.

use std::hash::{Hash, Hasher};

use super::rewrite::{Becomes, Made, rewrite};
use crate::{BinaryOp, CompareOp, Inst, MaskOp, Program, Rounding, Val};

/// Merges equal instructions by value numbering, and returns whether anything changed.
///
/// Operands of commutative operations are put in one order first, scalars to the right, so that
/// `5 < a` becomes `a > 5`. Of traps with one condition and code, the first is kept, with the least
/// ordinal of them all: the others could never be the one reported.
///
/// # Panics
/// Where the program is not one that [`crate::verify`] accepts.
pub fn cse(program: &mut Program) -> bool {
    let mut numbers = Numbering::for_instructions(program.insts.len());
    rewrite(program, |inst, made| {
        let inst = normalise(inst, made);
        match numbers.find_or_add(&inst, made) {
            None => Becomes::Inst(inst),
            Some(first) => {
                if let Inst::Trap { ordinal: other, .. } = inst
                    && let Inst::Trap { ordinal, .. } = &mut made.insts[first.index()]
                {
                    *ordinal = other.min(*ordinal);
                    return Becomes::Nothing;
                }
                Becomes::Val(first)
            }
        }
    })
}

/// Equal computations in one form.
fn normalise(inst: Inst, made: &Made<'_>) -> Inst {
    let wrong_way = |lhs: Val, rhs: Val| {
        let rank = |val: Val| (made.inst(val).is_scalar_source(), val);
        rank(lhs) > rank(rhs)
    };
    match inst {
        Inst::Binary { op, lhs, rhs } if commutes(op) && wrong_way(lhs, rhs) => Inst::Binary {
            op,
            lhs: rhs,
            rhs: lhs,
        },
        Inst::Mask { op, lhs, rhs } if op != MaskOp::AndNot && wrong_way(lhs, rhs) => Inst::Mask {
            op,
            lhs: rhs,
            rhs: lhs,
        },
        Inst::Overflow { op, lhs, rhs }
            if matches!(op, crate::OverflowOp::Add | crate::OverflowOp::Mul)
                && wrong_way(lhs, rhs) =>
        {
            Inst::Overflow {
                op,
                lhs: rhs,
                rhs: lhs,
            }
        }
        Inst::Compare {
            op,
            order,
            lhs,
            rhs,
        } if wrong_way(lhs, rhs) => Inst::Compare {
            op: mirrored(op),
            order,
            lhs: rhs,
            rhs: lhs,
        },
        // Nothing is rounded where digits are added.
        Inst::Rescale { arg, by, .. } if by > 0 => Inst::Rescale {
            arg,
            by,
            rounding: Rounding::Truncate,
        },
        inst => inst,
    }
}

const fn commutes(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Add | BinaryOp::Mul)
}

/// The comparison that is true of `y, x` where `op` is of `x, y`.
const fn mirrored(op: CompareOp) -> CompareOp {
    match op {
        CompareOp::Eq => CompareOp::Eq,
        CompareOp::Ne => CompareOp::Ne,
        CompareOp::Lt => CompareOp::Gt,
        CompareOp::Le => CompareOp::Ge,
        CompareOp::Gt => CompareOp::Lt,
        CompareOp::Ge => CompareOp::Le,
    }
}

/// A hash table of the instructions made so far: open addressing, never more than half full.
struct Numbering {
    slots: Vec<u32>,
}

const FREE: u32 = u32::MAX;

impl Numbering {
    fn for_instructions(count: usize) -> Self {
        Numbering {
            slots: vec![FREE; (2 * count).next_power_of_two()],
        }
    }

    /// The equal instruction that was made first; if there is none, this one is noted as the next
    /// to be made.
    fn find_or_add(&mut self, inst: &Inst, made: &Made<'_>) -> Option<Val> {
        let key = identity(inst);
        let mut hasher = Multiply::default();
        key.hash(&mut hasher);
        let last = self.slots.len() - 1;
        let mut slot = hasher.finish() as usize & last;
        while self.slots[slot] != FREE {
            let found = Val(self.slots[slot]);
            if identity(made.inst(found)) == key {
                return Some(found);
            }
            slot = (slot + 1) & last;
        }
        self.slots[slot] = made.insts.len() as u32;
        None
    }
}

/// What makes two instructions the same: of a trap, not the ordinal.
fn identity(inst: &Inst) -> Inst {
    match *inst {
        Inst::Trap { when, code, .. } => Inst::Trap {
            when,
            code,
            ordinal: 0,
        },
        inst => inst,
    }
}

/// A multiplicative hasher: a few cycles for an instruction, where the standard library's, which
/// resists an adversary, would take longer than the pass. Colliding programs cost time only, and
/// [`crate::limits`] bound how much.
#[derive(Default)]
struct Multiply(u64);

impl Multiply {
    fn mix(&mut self, word: u64) {
        // The constant is 2^64 over the golden ratio, as in Knuth's multiplicative hashing.
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Multiply {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.mix(u64::from(byte)));
    }

    fn write_u8(&mut self, word: u8) {
        self.mix(u64::from(word));
    }

    fn write_u16(&mut self, word: u16) {
        self.mix(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.mix(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_u128(&mut self, word: u128) {
        self.mix(word as u64);
        self.mix((word >> 64) as u64);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    fn finish(&self) -> u64 {
        // The high bits are the mixed ones; slots are chosen by the low.
        self.0 ^ (self.0 >> 32)
    }
}
