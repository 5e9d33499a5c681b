//! Columns of a tile that the predicate has read and an output needs again: they stay in shared
//! memory, so that each crosses the bus of the GPU's memory once.
//!
//! The first-level cache promises nothing: as many tiles as a multiprocessor holds fill it.

use unlade_program::{Inst, Val};

use crate::asm::{Pred, R32, R64, Shared};
use crate::evaluate::{Needed, Values};
use crate::frame::{Frame, LANES, SLOTS, STRIP};
use crate::rows::Rows;
use crate::value::Value;

/// Names of the columns' arrays.
const ARRAYS: [&str; 2] = ["column0", "column1"];
/// Most bytes of a row that are kept.
const ROW_BYTES: u64 = 8;

/// A column that is worth keeping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    column: u16,
    /// The column's load, as the predicate has it.
    load: Val,
    /// Bytes of a value: 4 or 8.
    pub(crate) width: u32,
}

/// A column that is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cached {
    of: Candidate,
    array: R32,
}

impl Frame<'_> {
    /// The columns to keep, not more than [`ROW_BYTES`] wide together.
    pub(crate) fn worth_keeping(&self, predicate: &Needed, outputs: &Needed) -> Vec<Candidate> {
        let loads = |needed: &Needed| -> Vec<(Val, u16)> {
            needed
                .of(&self.program.insts, |_| true)
                .filter_map(|(value, inst)| match inst {
                    Inst::Load { column } => Some((value, column)),
                    _ => None,
                })
                .collect()
        };
        let again = loads(outputs);
        let mut room = ROW_BYTES;
        let mut candidates: Vec<Candidate> = Vec::new();
        for (load, column) in loads(predicate) {
            let width = self.program.columns[usize::from(column)].ty.bytes_for(1);
            let needed_again = again.iter().any(|(_, other)| *other == column);
            let is_new = candidates.iter().all(|known| known.column != column);
            if !needed_again || !is_new || !matches!(width, 4 | 8) || width > room {
                continue;
            }
            room -= width;
            candidates.push(Candidate {
                column,
                load,
                width: width as u32,
            });
        }
        candidates
    }

    /// Makes room for columns of a tile of so many rows.
    pub(crate) fn keep_columns(&mut self, candidates: &[Candidate], rows: u32) {
        for (&of, name) in candidates.iter().zip(ARRAYS) {
            let array = self.shared(name, rows * of.width);
            self.cached.push(Cached { of, array });
        }
    }

    /// Keeps the values of groups of adjacent rows; `row` is the first, counted from the tile's.
    pub(crate) fn cache_groups(&mut self, values: &Values, rows: &Rows, row: R32) {
        for cached in self.cached.clone() {
            let at = self.cached_place(cached, row);
            let found: Vec<Value> = (0..rows.slots())
                .map(|slot| values.get(cached.of.load, slot))
                .collect();
            // 16 bytes at a time.
            let per_store = (16 / cached.of.width) as usize;
            for (store, found) in found.chunks_exact(per_store).enumerate() {
                let slot = (store * per_store) as u32;
                let (group, within) = (slot / SLOTS, slot % SLOTS);
                let place = Shared(at, (group * STRIP + within) * cached.of.width);
                match *found {
                    [
                        Value::Word(a),
                        Value::Word(b),
                        Value::Word(c),
                        Value::Word(d),
                    ] => {
                        self.asm.run("st.shared.v4.b32", (place, [a, b, c, d]));
                    }
                    [Value::Long(a), Value::Long(b)] => {
                        self.asm.run("st.shared.v2.b64", (place, [a, b]));
                    }
                    _ => unreachable!("only values of 4 and 8 bytes are kept"),
                }
            }
        }
    }

    /// Keeps the values of one row, counted from the tile's first.
    pub(crate) fn cache_row(&mut self, values: &Values, row: R32) {
        for cached in self.cached.clone() {
            let at = Shared(self.cached_place(cached, row), 0);
            match values.get(cached.of.load, 0) {
                Value::Word(word) => self.asm.run("st.shared.b32", (at, word)),
                Value::Long(long) => self.asm.run("st.shared.b64", (at, long)),
                other => unreachable!("only values of 4 and 8 bytes are kept, not {other:?}"),
            }
        }
    }

    /// The values of a column on rows a warp's width apart, if it is kept.
    pub(crate) fn load_cached(&mut self, column: usize, rows: &Rows) -> Option<Vec<Value>> {
        let row = rows.in_tile?;
        let cached = *self
            .cached
            .iter()
            .find(|cached| usize::from(cached.of.column) == column)?;
        let at = self.cached_place(cached, row);
        let loaded = (0u32..).zip(&rows.guards).map(|(slot, guard)| {
            let place = Shared(at, slot * LANES * cached.of.width);
            match cached.of.width {
                4 => Value::Word(self.load_shared(place, *guard)),
                _ => Value::Long(self.load_shared_long(place, *guard)),
            }
        });
        Some(loaded.collect())
    }

    fn cached_place(&mut self, cached: Cached, row: R32) -> R32 {
        let shift = cached.of.width.trailing_zeros();
        let distance = self.asm.r32("shl.b32", (row, shift));
        self.asm.r32("add.s32", (cached.array, distance))
    }

    fn load_shared(&mut self, place: Shared, guard: Option<Pred>) -> R32 {
        let word = self.asm.new32();
        if guard.is_some() {
            self.asm.set(word, "mov.b32", 0u32);
        }
        self.asm.guarded(guard).set(word, "ld.shared.b32", place);
        word
    }

    fn load_shared_long(&mut self, place: Shared, guard: Option<Pred>) -> R64 {
        let long = self.asm.new64();
        if guard.is_some() {
            self.asm.set(long, "mov.b64", 0u64);
        }
        self.asm.guarded(guard).set(long, "ld.shared.b64", place);
        long
    }
}
