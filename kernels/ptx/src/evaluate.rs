//! The instructions of a program, on the rows of one thread.

use unlade_program::{BinaryOp, CompareOp, Inst, MaskOp, OverflowOp, Program, Ty, UnaryOp, Val};

use crate::asm::{Operand, Pred};
use crate::frame::Frame;
use crate::module::Param;
use crate::rows::Rows;
use crate::value::{Value, Wide};

/// Weight of the instructions that are written out for each of a thread's rows; more than that are
/// a loop.
const MOST_WRITTEN_OUT: u32 = 64;
/// Weight of an instruction that is itself a loop over bits or digits.
const LOOP: u32 = 1000;

/// What an instruction adds to a kernel's text and its use of registers, roughly; `operand` is
/// the type of what it works on.
fn weight(inst: &Inst, operand: Option<Ty>) -> u32 {
    let wide = operand == Some(Ty::I128);
    let float = operand.is_some_and(Ty::is_float);
    match inst {
        Inst::Binary {
            op: BinaryOp::Div | BinaryOp::Rem | BinaryOp::FloorDiv,
            ..
        } if wide => LOOP,
        Inst::Binary {
            op: BinaryOp::Rem, ..
        } if float => LOOP,
        Inst::Rescale { by, .. } if *by < 0 => LOOP,
        Inst::Digits { .. } => LOOP,
        Inst::Binary {
            op: BinaryOp::Div | BinaryOp::Rem | BinaryOp::FloorDiv,
            ..
        } => 10,
        Inst::InSet { .. } => 24,
        Inst::Overflow {
            op: OverflowOp::Mul,
            ..
        }
        | Inst::RescaleFails { .. }
            if wide =>
        {
            20
        }
        Inst::Cast { to, .. } if wide || *to == Ty::I128 => 10,
        _ if wide => 3,
        _ => 1,
    }
}

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
    pub(crate) fn is_light(&self, program: &Program) -> bool {
        self.weight(program) <= MOST_WRITTEN_OUT
    }

    /// What it adds to a kernel's text and its use of registers, roughly.
    pub(crate) fn weight(&self, program: &Program) -> u32 {
        let types = program.types();
        let operand = |inst: &Inst| {
            let mut first = None;
            inst.for_each_operand(|operand| first = first.or(types[operand.index()]));
            first
        };
        self.of(&program.insts, |_| true)
            .map(|(_, inst)| weight(&inst, operand(&inst)))
            .sum()
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
            Inst::Unary { op, arg } => {
                let ty = self.ty(arg);
                match op {
                    _ if ty.is_float() => self.float_unary(op, ty, value(arg)),
                    UnaryOp::Neg => self.negate(ty, value(arg)),
                    _ => self.absolute(ty, value(arg)),
                }
            }
            Inst::Binary { op, lhs, rhs } => match self.ty(lhs) {
                ty if ty.is_float() => self.floats(op, ty, value(lhs), value(rhs)),
                ty => self.integers(op, ty, value(lhs), value(rhs)),
            },
            Inst::Overflow { op, lhs, rhs } => {
                let ty = self.ty(lhs);
                Value::Mask(self.overflows(op, ty, value(lhs), value(rhs)))
            }
            Inst::Compare {
                op,
                order,
                lhs,
                rhs,
            } => Value::Mask(match self.ty(lhs) {
                ty if ty.is_float() => self.compare_floats(op, order, ty, value(lhs), value(rhs)),
                ty => self.compare(op, ty, value(lhs), value(rhs)),
            }),
            Inst::Range { arg, low, high } => {
                let ty = self.ty(arg);
                let above = self.compare(CompareOp::Ge, ty, value(arg), value(low));
                let below = self.compare(CompareOp::Le, ty, value(arg), value(high));
                Value::Mask(self.asm.pred("and.pred", (above, below)))
            }
            Inst::Cast { rule, arg, to } => {
                let from = self.ty(arg);
                self.cast(rule, from, to, value(arg))
            }
            Inst::CastFails { arg, to } => {
                let from = self.ty(arg);
                Value::Mask(self.cast_fails(from, to, value(arg)))
            }
            Inst::Rescale { arg, by, rounding } => {
                Value::Wide(self.rescale(value(arg).wide(), by, rounding))
            }
            Inst::RescaleFails { arg, by } => {
                Value::Mask(self.rescale_fails(value(arg).wide(), by))
            }
            Inst::Digits { arg, by } => Value::Wide(self.digits(value(arg).long(), by)),
            Inst::Select { mask, then, other } => {
                self.select(value(mask).mask(), value(then), value(other))
            }
            Inst::Mask { op, lhs, rhs } => {
                Value::Mask(self.combine(op, value(lhs).mask(), value(rhs).mask()))
            }
            Inst::Not { arg } => Value::Mask(self.not(value(arg).mask())),
            Inst::Lookup { table, index } => {
                let ty = self.ty(index);
                self.lookup(usize::from(table), ty, value(index))
            }
            Inst::InBounds { table, index } => {
                let ty = self.ty(index);
                Value::Mask(self.in_bounds(usize::from(table), ty, value(index)))
            }
            Inst::InSet { set, arg } => Value::Mask(self.in_set(usize::from(set), value(arg))),
            Inst::Load { .. }
            | Inst::Validity { .. }
            | Inst::Param { .. }
            | Inst::Const { .. }
            | Inst::Trap { .. } => unreachable!("dealt with before: {inst}"),
        }
    }

    /// The first where the mask is set, else the second, bits as they are.
    pub(crate) fn select(&mut self, mask: Pred, then: Value, other: Value) -> Value {
        match (then, other) {
            (Value::Word(then), Value::Word(other)) => {
                Value::Word(self.asm.r32("selp.b32", (then, other, mask)))
            }
            (Value::Long(then), Value::Long(other)) => {
                Value::Long(self.asm.r64("selp.b64", (then, other, mask)))
            }
            (Value::Wide(then), Value::Wide(other)) => {
                Value::Wide(self.select_wide(mask, then, other))
            }
            (then, other) => {
                let then = self.combine(MaskOp::And, then.mask(), mask);
                let other = self.combine(MaskOp::AndNot, other.mask(), mask);
                Value::Mask(self.combine(MaskOp::Or, then, other))
            }
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
