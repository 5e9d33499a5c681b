//! Which rows are kept: eight bits per thread, and the traps that only all rows can show.

use unlade_program::{Program, Val};

use crate::asm::{Pred, R32, R64};
use crate::evaluate::{Needed, Values};
use crate::frame::{Frame, SLOTS, STRIP};
use crate::rows::Rows;

/// The evaluation of a program's predicate and traps in one kernel.
#[derive(Debug)]
pub(crate) struct Predicate {
    keep: Val,
    needed: Needed,
    scalars: Values,
    rows: R64,
    /// Whether all columns read allow loads of 16 bytes; `None` where none is read.
    aligned: Option<Pred>,
}

impl Predicate {
    /// What comes before the rows: scalars, and a look at the columns' addresses.
    pub(crate) fn begin(frame: &mut Frame<'_>, program: &Program, keep: Val, rows: R64) -> Self {
        let needed = Needed::by(&program.insts, [keep], true);
        let scalars = frame.scalars(&needed);
        let aligned = frame.aligned(&needed);
        Predicate {
            keep,
            needed,
            scalars,
            rows,
            aligned,
        }
    }

    /// The bits of eight rows, the first of them this thread's, in a strip of the block that
    /// begins at `start`. Rows that do not exist are not kept.
    pub(crate) fn bits(&self, frame: &mut Frame<'_>, start: R64, first: R64) -> R32 {
        let bits = frame.asm.new32();
        let (single, ready) = (frame.asm.label("single"), frame.asm.label("ready"));
        if self.needed.is_light(frame.program) {
            let end = frame.asm.r64("add.s64", (start, u64::from(STRIP)));
            let full = frame.asm.pred("setp.le.u64", (end, self.rows));
            let full = frame.both(Some(full), self.aligned);
            if let Some(full) = full {
                frame.asm.unless(full).jump(single);
            }
            let fired = self.eight(frame, first, bits);
            match fired {
                // The rows are gone through once more, one by one, to tell which it was.
                Some(fired) => frame.asm.unless(fired).jump(ready),
                None => frame.asm.jump(ready),
            }
        }
        frame.asm.place(single);
        self.one_by_one(frame, first, bits);
        frame.asm.place(ready);
        bits
    }

    /// All rows at once. Whether any trap fires, where there are traps.
    fn eight(&self, frame: &mut Frame<'_>, first: R64, bits: R32) -> Option<Pred> {
        let rows = Rows::adjacent(first);
        let values = frame.evaluate(&self.needed, &self.scalars, &rows);
        frame.asm.comment(format_args!("keep {}", self.keep));
        for slot in 0..SLOTS {
            let kept = values.get(self.keep, slot as usize).mask();
            if slot == 0 {
                frame.asm.set(bits, "selp.b32", (1u32, 0u32, kept));
                continue;
            }
            let bit = frame.asm.r32("selp.b32", (1u32 << slot, 0u32, kept));
            frame.asm.set(bits, "or.b32", (bits, bit));
        }
        frame.any_trap(&self.needed, &values, &rows)
    }

    fn one_by_one(&self, frame: &mut Frame<'_>, first: R64, bits: R32) {
        frame.asm.set(bits, "mov.b32", 0u32);
        let bit = frame.asm.r32("mov.b32", 1u32);
        let row = frame.asm.r64("mov.b64", first);
        let next = frame.asm.label("row");
        frame.asm.place(next);
        let exists = frame.asm.pred("setp.lt.u64", (row, self.rows));
        let rows = Rows::striped(row, vec![Some(exists)]);
        let values = frame.evaluate(&self.needed, &self.scalars, &rows);
        frame.asm.comment(format_args!("keep {}", self.keep));
        let kept = values.get(self.keep, 0).mask();
        let kept = frame.asm.pred("and.pred", (kept, exists));
        frame.asm.when(kept).set(bits, "or.b32", (bits, bit));
        frame.report_traps(&self.needed, &values, row, exists);
        frame.advance(row, 1u64);
        frame.asm.set(bit, "shl.b32", (bit, 1u32));
        let more = frame.asm.pred("setp.ne.u32", (bit, 1u32 << SLOTS));
        frame.asm.when(more).jump(next);
    }
}
