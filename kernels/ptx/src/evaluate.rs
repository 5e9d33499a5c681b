//! The instructions of a program, on the rows of one thread.

use unlade_program::{CompareOp, Inst, MaskOp, Ty, Val};

use crate::asm::{Operand, Pred};
use crate::frame::Frame;
use crate::module::Param;
use crate::rows::Rows;
use crate::value::{Value, Wide};

/// Instructions that are written out for each of a thread's rows; more than that are a loop.
const MOST_WRITTEN_OUT: usize = 48;

/// Which instructions a part of a kernel needs, a flag each.
#[derive(Clone, Debug)]
pub(crate) struct Needed(Vec<bool>);

impl Needed {
    /// What these values are made from, and, where they are asked for, all traps.
    pub(crate) fn by(insts: &[Inst], roots: impl IntoIterator<Item = Val>, traps: bool) -> Self {
        let mut needed = vec![false; insts.len()];
        for root in roots {
            needed[root.index()] = true;
        }
        for (index, inst) in insts.iter().enumerate().rev() {
            needed[index] |= traps && matches!(inst, Inst::Trap { .. });
            if needed[index] {
                inst.for_each_operand(|operand| needed[operand.index()] = true);
            }
        }
        Needed(needed)
    }

    /// Whether it is little enough to be written out for eight rows.
    pub(crate) fn is_light(&self, insts: &[Inst]) -> bool {
        self.of(insts, |_| true).count() <= MOST_WRITTEN_OUT
    }

    /// The instructions needed of a kind, with their values, in order.
    pub(crate) fn of<'a>(
        &'a self,
        insts: &'a [Inst],
        wanted: impl Fn(&Inst) -> bool + 'a,
    ) -> impl Iterator<Item = (Val, Inst)> + 'a {
        (0u32..)
            .zip(insts)
            .zip(&self.0)
            .filter(move |((_, inst), needed)| **needed && wanted(inst))
            .map(|((index, inst), _)| (Val(index), *inst))
    }
}

/// Values computed: of each instruction, one per row.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    slots: usize,
    values: Vec<Option<Value>>,
}

impl Values {
    /// Room for the values of so many rows.
    fn new(insts: usize, slots: usize) -> Values {
        Values {
            slots,
            values: vec![None; insts * slots],
        }
    }

    /// The value on one of the rows.
    pub(crate) fn get(&self, value: Val, slot: usize) -> Value {
        match self.values[value.index() * self.slots + slot] {
            Some(found) => found,
            None => unreachable!("{value} was not asked for"),
        }
    }

    fn put(&mut self, value: Val, slot: usize, found: Value) {
        self.values[value.index() * self.slots + slot] = Some(found);
    }
}

impl Frame<'_> {
    /// Parameters and constants, which are the same on every row: what a kernel begins with.
    pub(crate) fn scalars(&mut self, needed: &Needed) -> Values {
        let insts = &self.program.insts;
        let mut values = Values::new(insts.len(), 1);
        for (value, inst) in needed.of(insts, Inst::is_scalar_source) {
            self.asm.comment(format_args!("{value} = {inst}"));
            let found = match inst {
                Inst::Param { index } => self.param(index as usize),
                Inst::Const { value } => self.constant(value.ty(), value.bits()),
                other => unreachable!("no scalar source: {other}"),
            };
            values.put(value, 0, found);
        }
        values
    }

    fn param(&mut self, index: usize) -> Value {
        let arg = self.layout.param(index);
        let ty = self.program.params[index];
        let bytes = (ty.bits() / 8).max(4);
        let param = Param::Scalar { arg, bytes };
        match ty {
            Ty::Mask => {
                let word = self.param32(param);
                Value::Mask(self.asm.pred("setp.ne.u32", (word, 0u32)))
            }
            _ if bytes == 4 => Value::Word(self.param32(param)),
            _ if bytes == 8 => Value::Long(self.param64(param, 0)),
            _ => Value::Wide(Wide {
                low: self.param64(param, 0),
                high: self.param64(param, 8),
            }),
        }
    }

    /// A value of these bits, as an immediate holds them.
    pub(crate) fn constant(&mut self, ty: Ty, bits: i128) -> Value {
        match ty {
            Ty::Mask => {
                let word = self.asm.r32("mov.b32", bits as u32);
                Value::Mask(self.asm.pred("setp.ne.u32", (word, 0u32)))
            }
            Ty::I128 => Value::Wide(Wide {
                low: self.asm.r64("mov.b64", bits as i64),
                high: self.asm.r64("mov.b64", (bits >> 64) as i64),
            }),
            _ if ty.bits() == 64 => Value::Long(self.asm.r64("mov.b64", bits as i64)),
            _ => Value::Word(self.asm.r32("mov.b32", bits as i32)),
        }
    }

    /// Computes what is needed on the rows of a thread. All loads come first, so that they are
    /// under way together.
    pub(crate) fn evaluate(&mut self, needed: &Needed, scalars: &Values, rows: &Rows) -> Values {
        let insts = &self.program.insts;
        let mut values = Values::new(insts.len(), rows.slots());
        for (value, inst) in needed.of(insts, is_load) {
            self.asm.comment(format_args!("{value} = {inst}"));
            let found = match inst {
                Inst::Load { column } => self.load(column as usize, rows),
                Inst::Validity { column } => self.validity(column as usize, rows),
                other => unreachable!("no load: {other}"),
            };
            for (slot, found) in found.into_iter().enumerate() {
                values.put(value, slot, found);
            }
        }
        for (value, _) in needed.of(insts, Inst::is_scalar_source) {
            for slot in 0..rows.slots() {
                values.put(value, slot, scalars.get(value, 0));
            }
        }
        let computed = |inst: &Inst| {
            !is_load(inst) && !inst.is_scalar_source() && !matches!(inst, Inst::Trap { .. })
        };
        for (value, inst) in needed.of(insts, computed) {
            self.asm.comment(format_args!("{value} = {inst}"));
            for slot in 0..rows.slots() {
                let found = self.instruction(&inst, |operand| values.get(operand, slot));
                values.put(value, slot, found);
            }
        }
        values
    }

    fn instruction(&mut self, inst: &Inst, value: impl Fn(Val) -> Value) -> Value {
        match *inst {
            Inst::Compare { op, lhs, rhs, .. } => {
                let ty = self.ty(lhs);
                Value::Mask(self.compare(op, ty, value(lhs), value(rhs)))
            }
            Inst::Range { arg, low, high } => {
                let ty = self.ty(arg);
                let above = self.compare(CompareOp::Ge, ty, value(arg), value(low));
                let below = self.compare(CompareOp::Le, ty, value(arg), value(high));
                Value::Mask(self.asm.pred("and.pred", (above, below)))
            }
            Inst::Mask { op, lhs, rhs } => {
                Value::Mask(self.combine(op, value(lhs).mask(), value(rhs).mask()))
            }
            Inst::Not { arg } => Value::Mask(self.not(value(arg).mask())),
            ref other => unreachable!("not advertised: {other}"),
        }
    }

    /// The operations of two masks.
    pub(crate) fn combine(&mut self, op: MaskOp, lhs: Pred, rhs: Pred) -> Pred {
        match op {
            MaskOp::And => self.asm.pred("and.pred", (lhs, rhs)),
            MaskOp::Or => self.asm.pred("or.pred", (lhs, rhs)),
            MaskOp::Xor => self.asm.pred("xor.pred", (lhs, rhs)),
            MaskOp::AndNot => {
                let not = self.not(rhs);
                self.asm.pred("and.pred", (lhs, not))
            }
        }
    }

    /// The complement.
    pub(crate) fn not(&mut self, pred: impl Operand) -> Pred {
        self.asm.pred("not.pred", pred)
    }
}

fn is_load(inst: &Inst) -> bool {
    matches!(inst, Inst::Load { .. } | Inst::Validity { .. })
}
