//! Traps: the least row, and of that row the least ordinal, found by all threads together.
//!
//! The scratch memory holds the complement of row and ordinal, so that zero means none and the
//! least is the greatest.

use unlade_program::Inst;

use crate::asm::{Global, Pred, R64};
use crate::evaluate::{Needed, Values};
use crate::frame::Frame;
use crate::module::Param;
use crate::rows::Rows;
use crate::status::TRAP_AT;

impl Frame<'_> {
    /// Whether any of a thread's rows traps; `None` where nothing can.
    pub(crate) fn any_trap(
        &mut self,
        needed: &Needed,
        values: &Values,
        rows: &Rows,
    ) -> Option<Pred> {
        let mut any = None;
        for (value, inst) in needed.of(&self.program.insts, is_trap) {
            self.asm.comment(format_args!("{value} = {inst}"));
            let Inst::Trap { when, .. } = inst else {
                continue;
            };
            for slot in 0..rows.slots() {
                let fires = values.get(when, slot).mask();
                any = Some(match any {
                    None => fires,
                    Some(any) => self.asm.pred("or.pred", (any, fires)),
                });
            }
        }
        any
    }

    /// Reports the traps of one row, where it exists.
    pub(crate) fn report_traps(
        &mut self,
        needed: &Needed,
        values: &Values,
        row: R64,
        exists: Pred,
    ) {
        let mut fired = None;
        let least = self.asm.new32();
        for (value, inst) in needed.of(&self.program.insts, is_trap) {
            self.asm.comment(format_args!("{value} = {inst}"));
            let Inst::Trap { when, ordinal, .. } = inst else {
                continue;
            };
            let fires = values.get(when, 0).mask();
            fired = Some(match fired {
                None => {
                    self.asm.set(least, "selp.b32", (ordinal, u32::MAX, fires));
                    fires
                }
                Some(fired) => {
                    self.asm.when(fires).set(least, "min.u32", (least, ordinal));
                    self.asm.pred("or.pred", (fired, fires))
                }
            });
        }
        let Some(fired) = fired else { return };
        let fired = self.asm.pred("and.pred", (fired, exists));
        let quiet = self.asm.label("quiet");
        self.asm.unless(fired).jump(quiet);
        let row = self.asm.r64("shl.b64", (row, 32u32));
        let ordinal = self.extend(least);
        let key = self.asm.r64("or.b64", (row, ordinal));
        let key = self.asm.r64("not.b64", key);
        let scratch = self.param64(Param::Scratch, 0);
        self.asm
            .run("red.global.max.u64", (Global(scratch, TRAP_AT), key));
        self.asm.place(quiet);
    }
}

fn is_trap(inst: &Inst) -> bool {
    matches!(inst, Inst::Trap { .. })
}
