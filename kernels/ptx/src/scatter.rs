//! The columns of a tile's rows, written where the rows go.
//!
//! They are read where rows are kept, but for those that the predicate has read, which may still be
//! there (`cache`). Bits are gathered in shared memory, a byte each, and joined to words, of which
//! a tile's first and last are also its neighbours'.

use std::ops::Range;

use unlade_program::{Ty, Val};

use crate::asm::{Global, Pred, R32, R64, Shared};
use crate::compact::Extent;
use crate::evaluate::Values;
use crate::frame::{ALL_LANES, Frame, LANES, SLOTS, STRIP, THREADS, WARPS};
use crate::look_back::Counted;
use crate::rows::Rows;

/// Most bitmaps that are gathered at once.
const STAGES: [&str; 3] = ["stage0", "stage1", "stage2"];
/// Most bytes of a row's values that are under way at once.
const ROW_BYTES: u64 = 16;

/// Outputs that are written together.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) outputs: Range<usize>,
    /// Bitmaps among them, which are gathered in shared memory.
    pub(crate) bitmaps: u32,
}

/// The outputs, in groups small enough for registers and shared memory.
pub(crate) fn groups(frame: &Frame<'_>) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut group = Group {
        outputs: 0..0,
        bitmaps: 0,
    };
    let mut bytes = 0;
    for (index, output) in frame.program.outputs.iter().enumerate() {
        let ty = frame.ty(output.value);
        let bitmaps = u32::from(ty == Ty::Mask) + u32::from(output.valid.is_some());
        let width = ty.bytes_for(1);
        let too_many = (group.bitmaps + bitmaps) as usize > STAGES.len();
        if index > group.outputs.start && (bytes + width > ROW_BYTES || too_many) {
            groups.push(group);
            group = Group {
                outputs: index..index,
                bitmaps: 0,
            };
            bytes = 0;
        }
        group.outputs.end = index + 1;
        group.bitmaps += bitmaps;
        bytes += width;
    }
    groups.push(group);
    groups
}

/// A tile whose rows have their places.
#[derive(Debug)]
pub(crate) struct Tile {
    /// Its keep mask in shared memory, and behind it the rows kept before each word.
    pub(crate) keeps: R32,
    /// The thread's number in its block.
    pub(crate) thread: R32,
    /// The thread's number in its warp.
    pub(crate) lane: R32,
    /// The tile's first row.
    pub(crate) start: R64,
    /// How large it is.
    pub(crate) extent: Extent,
    /// Rows kept.
    pub(crate) counted: Counted,
}

/// A bitmap that is gathered in shared memory.
struct Stage {
    arg: usize,
    value: Val,
    /// Where in shared memory the tile's first bit is.
    at: R32,
}

impl Tile {
    /// Writes some outputs; `zeroed` is told of arguments that must be zero before. Ends with a
    /// barrier where it leaves anything in shared memory.
    pub(crate) fn scatter(
        &self,
        frame: &mut Frame<'_>,
        outputs: Range<usize>,
        zeroed: &mut Vec<usize>,
    ) {
        let needed = frame.needed_by_outputs(outputs.clone(), false);
        let scalars = frame.scalars(&needed);
        // Bits lie in shared memory as they will in their words.
        let shift = frame.asm.r32("and.b32", (self.counted.base, LANES - 1));
        let mut stages = Vec::new();
        let mut columns = Vec::new();
        for index in outputs {
            let output = frame.program.outputs[index];
            let arg = frame.layout.output(index);
            let is_mask = frame.ty(output.value) == Ty::Mask;
            if !is_mask {
                columns.push((arg, output.value));
            }
            let bitmaps = [
                is_mask.then_some((arg, output.value)),
                output.valid.map(|valid| (arg + 1, valid)),
            ];
            for (arg, value) in bitmaps.into_iter().flatten() {
                let stage = frame.shared(STAGES[stages.len()], self.extent.rows() + LANES);
                let at = frame.asm.r32("add.s32", (stage, shift));
                stages.push(Stage { arg, value, at });
                zeroed.push(arg);
            }
        }

        let within = frame.row_in_strip(self.thread, self.lane);
        let first = frame.asm.r64("add.s64", (self.start, within));
        let warp = frame.asm.r32("sub.s32", (self.thread, self.lane));
        // A warp has as many words of a strip as it has slots, of four bytes each.
        let words = frame.asm.r32("add.s32", (self.keeps, warp));
        let slots = match needed.is_light(frame.program) {
            true => SLOTS,
            false => 1,
        };
        let (next, skip) = (frame.asm.label("rows"), frame.asm.label("none_kept"));
        frame.asm.place(next);
        let kept = Kept::read(frame, self, slots, words);
        let none = frame.asm.pred("setp.eq.u32", (kept.any, 0u32));
        frame.asm.when(none).jump(skip);
        let rows = Rows {
            in_tile: Some(self.row_in_tile(frame, words)),
            ..Rows::striped(first, kept.guards.clone())
        };
        let values = frame.evaluate(&needed, &scalars, &rows);
        for (arg, value) in columns {
            self.store(frame, arg, value, &values, &kept);
        }
        for stage in &stages {
            stage.gather(frame, &values, &kept);
        }
        frame.asm.place(skip);
        self.advance(frame, slots, first, words);
        let end = frame
            .asm
            .r32("add.s32", (self.keeps, self.extent.mask_bytes()));
        let more = frame.asm.pred("setp.lt.u32", (words, end));
        frame.asm.when(more).jump(next);

        if stages.is_empty() {
            return;
        }
        frame.asm.run("bar.sync", 0u32);
        for stage in &stages {
            self.join(frame, stage, shift);
        }
        // The next pass writes over them.
        frame.asm.run("bar.sync", 0u32);
    }

    /// A thread's row of the word that is at a place in shared memory, counted from the tile's
    /// first: 32 rows are a word of four bytes.
    fn row_in_tile(&self, frame: &mut Frame<'_>, words: R32) -> R32 {
        let bytes = frame.asm.r32("sub.s32", (words, self.keeps));
        let row = frame.asm.r32("shl.b32", (bytes, 3u32));
        frame.asm.r32("add.s32", (row, self.lane))
    }

    /// On to the next words. Where a warp's slots are gone through one by one, it has done with
    /// a strip after the last, and goes on to its words of the next.
    fn advance(&self, frame: &mut Frame<'_>, slots: u32, first: R64, words: R32) {
        if slots == SLOTS {
            frame.advance(first, u64::from(STRIP));
            frame.asm.set(words, "add.s32", (words, THREADS));
            return;
        }
        frame.advance(first, u64::from(LANES));
        frame.asm.set(words, "add.s32", (words, 4u32));
        let rest = frame.asm.r32("sub.s32", (words, self.keeps));
        let rest = frame.asm.r32("and.b32", (rest, SLOTS * 4 - 1));
        let strip_done = frame.asm.pred("setp.eq.u32", (rest, 0u32));
        let other_warps = STRIP - STRIP / WARPS;
        frame
            .asm
            .when(strip_done)
            .set(first, "add.s64", (first, u64::from(other_warps)));
        frame
            .asm
            .when(strip_done)
            .set(words, "add.s32", (words, other_warps / 8));
    }

    fn store(&self, frame: &mut Frame<'_>, arg: usize, value: Val, values: &Values, kept: &Kept) {
        frame.asm.comment(format_args!("output {value}"));
        let ty = frame.ty(value);
        let base = frame.address(arg);
        for (slot, &place) in kept.places.iter().enumerate() {
            let row = frame.asm.r32("add.s32", (self.counted.base, place));
            let width = ty.bytes_for(1) as u32;
            let distance = frame.asm.r64("mul.wide.u32", (row, width));
            let at = frame.asm.r64("add.s64", (base, distance));
            frame.store_element(
                ty,
                Global(at, 0),
                values.get(value, slot),
                kept.guards[slot],
            );
        }
    }

    /// Joins the bits that the tile has gathered to words. The words are zero before, and several
    /// tiles have a part in those between them.
    fn join(&self, frame: &mut Frame<'_>, stage: &Stage, shift: R32) {
        frame.asm.comment(format_args!("bits of {}", stage.value));
        let begin = frame.asm.r32("sub.s32", (stage.at, shift));
        let end = frame.asm.r32("add.s32", (shift, self.counted.total));
        let bit = frame.asm.r32("mov.b32", self.thread);
        let base = frame.address(stage.arg);
        let word = frame
            .asm
            .r32("shr.u32", (self.counted.base, LANES.trailing_zeros()));
        let distance = frame.asm.r64("mul.wide.u32", (word, 4u32));
        let words = frame.asm.r64("add.s64", (base, distance));
        let first_lane = frame.asm.pred("setp.eq.u32", (self.lane, 0u32));
        let (next, done) = (frame.asm.label("word"), frame.asm.label("joined"));
        frame.asm.place(next);
        let word_start = frame.asm.r32("sub.s32", (bit, self.lane));
        let over = frame.asm.pred("setp.ge.u32", (word_start, end));
        frame.asm.when(over).jump(done);
        let from = frame.asm.pred("setp.ge.u32", (bit, shift));
        let to = frame.asm.pred("setp.lt.u32", (bit, end));
        let inside = frame.asm.pred("and.pred", (from, to));
        let at = frame.asm.r32("add.s32", (begin, bit));
        let byte = frame.asm.r32("mov.b32", 0u32);
        frame
            .asm
            .when(inside)
            .set(byte, "ld.shared.u8", Shared(at, 0));
        let set = frame.asm.pred("setp.ne.u32", (byte, 0u32));
        let joined = frame.asm.r32("vote.sync.ballot.b32", (set, ALL_LANES));
        let distance = frame.asm.r32("shr.u32", (word_start, 3u32));
        let distance = frame.extend(distance);
        let at = frame.asm.r64("add.s64", (words, distance));
        frame
            .asm
            .when(first_lane)
            .run("red.global.or.b32", (Global(at, 0), joined));
        frame.asm.set(bit, "add.s32", (bit, THREADS));
        frame.asm.jump(next);
        frame.asm.place(done);
    }
}

impl Stage {
    /// Puts the bits of the rows kept beside each other.
    fn gather(&self, frame: &mut Frame<'_>, values: &Values, kept: &Kept) {
        frame.asm.comment(format_args!("bits of {}", self.value));
        for (slot, &place) in kept.places.iter().enumerate() {
            let set = values.get(self.value, slot).mask();
            let byte = frame.asm.r32("selp.b32", (1u32, 0u32, set));
            let at = frame.asm.r32("add.s32", (self.at, place));
            frame
                .asm
                .guarded(kept.guards[slot])
                .run("st.shared.u8", (Shared(at, 0), byte));
        }
    }
}

/// Which of a thread's rows are kept, and where they go.
struct Kept {
    /// Not zero where any of the warp is.
    any: R32,
    guards: Vec<Option<Pred>>,
    /// Counted from the tile's first row kept.
    places: Vec<R32>,
}

impl Kept {
    fn read(frame: &mut Frame<'_>, tile: &Tile, slots: u32, words: R32) -> Kept {
        let offsets = frame.shared_words(Shared(words, tile.extent.mask_bytes()), slots);
        let words = frame.shared_words(Shared(words, 0), slots);
        let below = frame.special("%lanemask_lt");
        let own = frame.asm.r32("shl.b32", (1u32, tile.lane));
        let mut any = words[0];
        let mut kept = Kept {
            any,
            guards: Vec::new(),
            places: Vec::new(),
        };
        for (&word, &offset) in words.iter().zip(&offsets) {
            if !kept.guards.is_empty() {
                any = frame.asm.r32("or.b32", (any, word));
            }
            let bit = frame.asm.r32("and.b32", (word, own));
            kept.guards
                .push(Some(frame.asm.pred("setp.ne.u32", (bit, 0u32))));
            let before = frame.asm.r32("and.b32", (word, below));
            let before = frame.asm.r32("popc.b32", before);
            kept.places.push(frame.asm.r32("add.s32", (offset, before)));
        }
        kept.any = any;
        kept
    }
}

impl Frame<'_> {
    /// Words beside each other in shared memory: one, or a multiple of four.
    fn shared_words(&mut self, at: Shared, count: u32) -> Vec<R32> {
        if count == 1 {
            return vec![self.asm.r32("ld.shared.b32", at)];
        }
        let mut words = Vec::new();
        for vector in 0..count / 4 {
            let four: [R32; 4] = std::array::from_fn(|_| self.asm.new32());
            let at = Shared(at.0, at.1 + vector * 16);
            self.asm.set(four, "ld.shared.v4.b32", at);
            words.extend(four);
        }
        words
    }
}
