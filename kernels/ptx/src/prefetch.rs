//! Columns of a later tile, asked for before its block begins.
//!
//! A tile waits for its columns, and all tiles behind it wait for the tile. Tiles begin in order, so
//! that one of them can have the columns of a later one brought into the second-level cache in time.

use unlade_program::{Inst, Ty};

use crate::asm::{Global, R32, R64};
use crate::evaluate::Needed;
use crate::frame::{Frame, THREADS};

/// How far ahead, in bytes of all columns: about what an H200 reads within the latency of its
/// memory, and less than the second-level cache of the smallest GPUs.
const AHEAD_BYTES: u64 = 3 << 20;
/// Bytes of a line of the cache.
const LINE: u64 = 128;

/// The values or the validity of a column.
struct Array {
    arg: usize,
    ty: Ty,
    may_be_absent: bool,
}

impl Frame<'_> {
    /// Asks for what the predicate will read of a later tile. The thread's own tile begins at
    /// `start` and has as many rows as any; there are `rows` in all.
    pub(crate) fn prefetch(
        &mut self,
        predicate: &Needed,
        thread: R32,
        start: R64,
        tile: u32,
        rows: R64,
    ) {
        let arrays: Vec<Array> = predicate
            .of(&self.program.insts, |_| true)
            .filter_map(|(_, inst)| self.array(inst))
            .collect();
        let tile_bytes: u64 = arrays
            .iter()
            .map(|array| array.ty.bytes_for(u64::from(tile)))
            .sum();
        if tile_bytes == 0 {
            return;
        }
        let tiles = (AHEAD_BYTES / tile_bytes).max(1);
        self.asm
            .comment(format_args!("columns of the {tiles}th tile from here"));
        let later = self.asm.r64("add.s64", (start, tiles * u64::from(tile)));
        for array in arrays {
            self.prefetch_array(&array, thread, later, tile, rows);
        }
    }

    /// What an instruction reads of memory, row by row.
    fn array(&self, inst: Inst) -> Option<Array> {
        let (column, is_validity) = match inst {
            Inst::Load { column } => (usize::from(column), false),
            Inst::Validity { column } => (usize::from(column), true),
            _ => return None,
        };
        let of = self.program.columns[column];
        let values = self.layout.column(column);
        match is_validity {
            false => Some(Array {
                arg: values,
                ty: of.ty,
                may_be_absent: false,
            }),
            true => of.nullable.then_some(Array {
                arg: values + 1,
                ty: Ty::Mask,
                may_be_absent: true,
            }),
        }
    }

    /// A line for each thread, or several, or for some of them.
    fn prefetch_array(&mut self, array: &Array, thread: R32, later: R64, tile: u32, rows: R64) {
        let line_rows = (LINE * 8 / u64::from(array.ty.bits())) as u32;
        let lines = tile / line_rows;
        let base = self.address(array.arg);
        let present = array
            .may_be_absent
            .then(|| self.asm.pred("setp.ne.u64", (base, 0u64)));
        for first in (0..lines).step_by(THREADS as usize) {
            let line = match first {
                0 => thread,
                _ => self.asm.r32("add.s32", (thread, first)),
            };
            let row = self.asm.r64("mul.wide.u32", (line, line_rows));
            let row = self.asm.r64("add.s64", (row, later));
            let exists = self.asm.pred("setp.lt.u64", (row, rows));
            let inside =
                (lines - first < THREADS).then(|| self.asm.pred("setp.lt.u32", (line, lines)));
            let there = self.both(Some(exists), inside);
            let there = self.both(there, present);
            let at = match array.ty {
                Ty::Mask => {
                    let byte = self.asm.r64("shr.u64", (row, 3u32));
                    self.asm.r64("add.s64", (base, byte))
                }
                ty => self.element(base, ty, row),
            };
            self.asm
                .guarded(there)
                .run("prefetch.global.L2", Global(at, 0));
        }
    }
}
