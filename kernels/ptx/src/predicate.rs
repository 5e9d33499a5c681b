//! Which rows are kept: a bit per row and thread, and the traps that only all rows can show.

use unlade_program::Val;

use crate::asm::{Global, Pred, R32, R64};
use crate::evaluate::{Needed, Values};
use crate::frame::{Frame, SLOTS, STRIP};
use crate::rows::Rows;

/// Weight of a predicate that is written out for two groups of rows, so that twice as much is
/// under way; of a heavier one, for one.
const MOST_FOR_TWO_GROUPS: u32 = 24;

/// The evaluation of a program's predicate and traps in one kernel.
#[derive(Debug)]
pub(crate) struct Predicate {
    keep: Val,
    needed: Needed,
    scalars: Values,
    rows: R64,
    /// Whether all columns read allow loads of 16 bytes; `None` where none is read.
    aligned: Option<Pred>,
    /// Strips that are computed at once.
    groups: u32,
    /// The first row of the tile whose columns are kept, if any are.
    tile: Option<R64>,
}

impl Predicate {
    /// What comes before the rows: scalars, and a look at the columns' addresses.
    pub(crate) fn begin(frame: &mut Frame<'_>, keep: Val, rows: R64) -> Self {
        let needed = Needed::by(&frame.program.insts, [keep], true);
        let scalars = frame.scalars(&needed);
        let aligned = frame.aligned(&needed);
        let weight = needed.weight(frame.program);
        Predicate {
            keep,
            needed,
            scalars,
            rows,
            aligned,
            groups: if weight <= MOST_FOR_TWO_GROUPS { 2 } else { 1 },
            tile: None,
        }
    }

    /// The same, for a tile that begins at a row and keeps columns.
    pub(crate) fn in_tile(self, frame: &Frame<'_>, start: R64) -> Self {
        let tile = (!frame.cached.is_empty()).then_some(start);
        Predicate { tile, ..self }
    }

    /// What it is made from.
    pub(crate) fn needed(&self) -> &Needed {
        &self.needed
    }

    /// Strips that are computed at once.
    pub(crate) fn groups(&self) -> u32 {
        self.groups
    }

    /// The bits of a thread's rows in [`groups`](Self::groups) strips, of which the first begins
    /// at `start`: of each strip the eight rows from `first` on, a byte for each strip. Rows that
    /// do not exist are not kept.
    pub(crate) fn bits(&self, frame: &mut Frame<'_>, start: R64, first: R64) -> R32 {
        let bits = frame.asm.new32();
        let (single, ready) = (frame.asm.label("single"), frame.asm.label("ready"));
        if self.needed.is_light(frame.program) {
            let rows = u64::from(self.groups * STRIP);
            let end = frame.asm.r64("add.s64", (start, rows));
            let full = frame.asm.pred("setp.le.u64", (end, self.rows));
            let full = frame.both(Some(full), self.aligned);
            if let Some(full) = full {
                frame.asm.unless(full).jump(single);
            }
            let fired = self.all_at_once(frame, first, bits);
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
    fn all_at_once(&self, frame: &mut Frame<'_>, first: R64, bits: R32) -> Option<Pred> {
        let rows = Rows::adjacent(first, self.groups);
        let values = frame.evaluate(&self.needed, &self.scalars, &rows);
        if let Some(tile) = self.tile {
            let row = in_tile(frame, tile, first);
            frame.cache_groups(&values, &rows, row);
        }
        frame.asm.comment(format_args!("keep {}", self.keep));
        for slot in 0..self.groups * SLOTS {
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
        if let Some(tile) = self.tile {
            let row = in_tile(frame, tile, row);
            frame.cache_row(&values, row);
        }
        frame.asm.comment(format_args!("keep {}", self.keep));
        let kept = values.get(self.keep, 0).mask();
        let kept = frame.asm.pred("and.pred", (kept, exists));
        frame.asm.when(kept).set(bits, "or.b32", (bits, bit));
        frame.report_traps(&self.needed, &values, row, exists);
        frame.advance(row, 1u64);
        frame.asm.set(bit, "shl.b32", (bit, 1u32));
        for group in 1..self.groups {
            let over = frame
                .asm
                .pred("setp.eq.u32", (bit, 1u32 << (group * SLOTS)));
            frame
                .asm
                .when(over)
                .set(row, "add.s64", (row, u64::from(STRIP - SLOTS)));
        }
        let end = 1u32 << (self.groups * SLOTS);
        let more = frame.asm.pred("setp.ne.u32", (bit, end));
        frame.asm.when(more).jump(next);
    }

    /// Stores the bytes of [`bits`](Self::bits) where the keep mask is an output.
    pub(crate) fn store_mask(&self, frame: &mut Frame<'_>, first: R64, bits: R32) {
        let Some(arg) = frame.layout.mask() else {
            return;
        };
        let base = frame.address(arg);
        let byte = frame.asm.r64("shr.u64", (first, 3u32));
        let at = frame.asm.r64("add.s64", (base, byte));
        for (group, byte) in self.bytes(frame, bits).into_iter().enumerate() {
            let behind = group as u64 * u64::from(STRIP);
            let row = match group {
                0 => first,
                _ => frame.asm.r64("add.s64", (first, behind)),
            };
            let exists = frame.asm.pred("setp.lt.u64", (row, self.rows));
            frame
                .asm
                .when(exists)
                .run("st.global.u8", (Global(at, behind / 8), byte));
        }
    }

    /// The byte of each strip, above it perhaps others.
    pub(crate) fn bytes(&self, frame: &mut Frame<'_>, bits: R32) -> Vec<R32> {
        (0..self.groups)
            .map(|group| match group {
                0 => bits,
                _ => frame.asm.r32("shr.u32", (bits, group * SLOTS)),
            })
            .collect()
    }
}

/// A row, counted from the tile's first.
fn in_tile(frame: &mut Frame<'_>, tile: R64, row: R64) -> R32 {
    let distance = frame.asm.r64("sub.s64", (row, tile));
    frame.asm.r32("cvt.u32.u64", distance)
}
