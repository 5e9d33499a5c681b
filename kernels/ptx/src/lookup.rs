//! Tables and sets: memory whose address depends on the row.

use unlade_program::{CompareOp, Ty};

use crate::asm::{Global, Pred, R64};
use crate::frame::Frame;
use crate::module::Param;
use crate::value::Value;

impl Frame<'_> {
    /// How many entries an argument has.
    fn entries(&mut self, arg: usize, ty: Ty) -> R64 {
        let bytes = self.param64(Param::Length { arg }, 0);
        match ty {
            Ty::Mask => self.asm.r64("shl.b64", (bytes, 3u32)),
            _ => {
                let shift = ty.bytes_for(1).trailing_zeros();
                self.asm.r64("shr.u64", (bytes, shift))
            }
        }
    }

    /// Whether an index is inside a table. A negative one is, unsigned, beyond any table.
    pub(crate) fn in_bounds(&mut self, table: usize, index_ty: Ty, index: Value) -> Pred {
        let arg = self.layout.table(table);
        let index = self.lengthen(index_ty, index);
        let entries = self.entries(arg, self.program.tables[table]);
        self.asm.pred("setp.lt.u64", (index, entries))
    }

    /// The entry at an index, zero where there is none.
    pub(crate) fn lookup(&mut self, table: usize, index_ty: Ty, index: Value) -> Value {
        let ty = self.program.tables[table];
        let inside = self.in_bounds(table, index_ty, index);
        let index = self.lengthen(index_ty, index);
        let base = self.address(self.layout.table(table));
        if ty != Ty::Mask {
            let at = self.element(base, ty, index);
            return self.load_element(ty, Global(at, 0), Some(inside));
        }
        let byte = self.asm.r64("shr.u64", (index, 3u32));
        let at = self.asm.r64("add.s64", (base, byte));
        let bits = self
            .load_element(Ty::U8, Global(at, 0), Some(inside))
            .word();
        let within = self.asm.r32("cvt.u32.u64", index);
        let within = self.asm.r32("and.b32", (within, 7u32));
        let bits = self.asm.r32("shr.u32", (bits, within));
        let bit = self.asm.r32("and.b32", (bits, 1u32));
        Value::Mask(self.asm.pred("setp.ne.u32", (bit, 0u32)))
    }

    /// Whether a value is a member of a set, by bisection. Floats ascend by their bits.
    pub(crate) fn in_set(&mut self, set: usize, arg: Value) -> Pred {
        let ty = self.program.sets[set];
        let order = match ty {
            Ty::F32 => Ty::U32,
            Ty::F64 => Ty::U64,
            ty => ty,
        };
        let at = self.layout.set(set);
        let base = self.address(at);
        let low = self.asm.r64("mov.b64", 0u64);
        let high = self.entries(at, ty);
        let always = self.always();
        let found = self.not(always);
        let (next, done) = (self.asm.label("bisect"), self.asm.label("sought"));
        self.asm.place(next);
        let none_left = self.asm.pred("setp.ge.u64", (low, high));
        self.asm.when(none_left).jump(done);
        let sum = self.asm.r64("add.s64", (low, high));
        let middle = self.asm.r64("shr.u64", (sum, 1u32));
        let place = self.element(base, ty, middle);
        let entry = self.load_element(ty, Global(place, 0), None);
        let equal = self.compare(CompareOp::Eq, order, entry, arg);
        self.asm.set(found, "and.pred", (equal, equal));
        self.asm.when(equal).jump(done);
        let below = self.compare(CompareOp::Lt, order, entry, arg);
        let after = self.asm.r64("add.s64", (middle, 1));
        self.asm.set(low, "selp.b64", (after, low, below));
        self.asm.set(high, "selp.b64", (high, middle, below));
        self.asm.jump(next);
        self.asm.place(done);
        found
    }
}
