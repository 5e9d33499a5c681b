//! Filter and compaction in one pass over the rows.
//!
//! A block takes the next tile of rows, finds which are kept, and learns from the tiles before it
//! where its own rows go: each tile publishes first how many it keeps, then how many all up to it
//! keep, and looks back over its predecessors until it finds one of the latter (decoupled
//! look-back, Merrill and Garland 2016). Tiles are numbered in the order in which blocks begin, so
//! that all that a block waits for is under way.
//!
//! Columns are read after that, where rows are kept, but for those that the predicate has read,
//! which may still be there (`cache`). Bits are gathered in shared memory, a byte each, and joined to words, of which a
//! tile's first and last are also its neighbours'.

use std::ops::Range;

use unlade_program::{Program, Ty, Val};

use crate::asm::{Global, Pred, R32, R64, Shared};
use crate::evaluate::Values;
use crate::frame::{ALL_LANES, Frame, LANES, SLOTS, STRIP, THREADS, WARPS, header};
use crate::module::{LowerError, Module, Param, Scratch};
use crate::predicate::Predicate;
use crate::rows::Rows;
use crate::status;

/// Strips of a tile.
const STRIPS: u32 = 2;
/// Rows of a tile, which is what a block computes.
const TILE: u32 = STRIPS * STRIP;
/// Words of a tile's keep mask: at most one per thread.
const WORDS: u32 = TILE / LANES;
/// Bytes of a line of the cache: what many blocks add to is not to share one with what they poll.
const LINE: u64 = 128;
/// Where in the scratch memory the number of the next tile is.
const TICKET_AT: u64 = LINE;
/// Where in it the tiles' states begin.
const STATES_AT: u64 = 2 * LINE;
/// Bytes of a state: a count below, a flag above.
const STATE_BYTES: u32 = 8;
/// Flag of a state that counts the rows of its tile.
const OWN: u64 = 1 << 32;
/// Flag of a state that counts the rows of all tiles up to it.
const ALL: u64 = 2 << 32;
/// Most bitmaps that are gathered at once.
const STAGES: [&str; 3] = ["stage0", "stage1", "stage2"];
/// Most bytes of a row's values that are under way at once.
const ROW_BYTES: u64 = 16;
/// Bytes of a tile's keep mask. Behind it in shared memory lie the rows kept before each word.
const KEEP_BYTES: u32 = TILE / 8;

/// Weight of the outputs and traps beyond which the assembler is told to be content with two
/// blocks at once: to have more it would spill registers.
const MOST_FOR_OCCUPANCY: u32 = 9;

/// Lowers a program that keeps rows and writes columns of them.
pub(crate) fn lower(program: &Program, keep: Val) -> Result<Module, LowerError> {
    let mut frame = Frame::new(program);
    if frame
        .needed_by_outputs(0..program.outputs.len(), true)
        .weight(program)
        > MOST_FOR_OCCUPANCY
    {
        frame.resident_blocks = 2;
    }
    let rows = frame.param64(Param::Rows, 0);
    let thread = frame.special("%tid.x");
    let lane = frame.asm.r32("and.b32", (thread, LANES - 1));
    let tile = frame.take_tile(thread);
    let start = frame.asm.r64("mul.wide.u32", (tile, TILE));

    let keeps = frame.shared("keep", 2 * KEEP_BYTES);
    frame.find_kept(keep, rows, thread, start, keeps);
    let total = frame.scan_words(thread, lane, keeps);
    let base = frame.look_back(thread, tile, total);

    let mut zeroed = Vec::new();
    for outputs in groups(&frame) {
        let pass = Pass {
            keeps,
            thread,
            lane,
            start,
            base,
            total,
        };
        pass.run(&mut frame, outputs, &mut zeroed);
    }
    if program.can_trap() {
        status::report_total(&mut frame, thread, total);
    } else {
        frame.report_by_last_tile(thread, tile, base, total);
    }
    frame.asm.run_plain("ret");
    let mut text = header(program);
    let kernel = frame.finish("unlade_compact", TILE, &mut text)?;
    Ok(Module {
        text,
        kernels: vec![kernel],
        scratch: Scratch {
            fixed: STATES_AT,
            per_block: u64::from(STATE_BYTES),
        },
        zeroed,
    })
}

/// The outputs, in groups small enough for registers and shared memory.
fn groups(frame: &Frame<'_>) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let (mut first, mut bytes, mut stages) = (0, 0, 0);
    for (index, output) in frame.program.outputs.iter().enumerate() {
        let ty = frame.ty(output.value);
        let bitmaps = usize::from(ty == Ty::Mask) + usize::from(output.valid.is_some());
        let width = ty.bytes_for(1);
        if index > first && (bytes + width > ROW_BYTES || stages + bitmaps > STAGES.len()) {
            groups.push(first..index);
            (first, bytes, stages) = (index, 0, 0);
        }
        bytes += width;
        stages += bitmaps;
    }
    groups.push(first..frame.program.outputs.len());
    groups
}

impl Frame<'_> {
    /// The last tile knows how many rows all keep.
    fn report_by_last_tile(&mut self, thread: R32, tile: R32, base: R32, total: R32) {
        let tiles = self.special("%nctaid.x");
        let last = self.asm.r32("sub.s32", (tiles, 1u32));
        let is_last = self.asm.pred("setp.eq.u32", (tile, last));
        let kept = self.asm.r32("add.s32", (base, total));
        let kept = self.extend(kept);
        status::report_known(self, thread, is_last, kept);
    }

    /// The number of the next tile, in the order in which blocks come here.
    fn take_tile(&mut self, thread: R32) -> R32 {
        let place = self.shared("tile", 4);
        let scratch = self.param64(Param::Scratch, 0);
        let ticket = self.asm.label("ticket");
        let other = self.asm.pred("setp.ne.u32", (thread, 0u32));
        self.asm.when(other).jump(ticket);
        let number = self
            .asm
            .r32("atom.global.add.u32", (Global(scratch, TICKET_AT), 1u32));
        self.asm.run("st.shared.b32", (Shared(place, 0), number));
        self.asm.place(ticket);
        self.asm.run("bar.sync", 0u32);
        self.asm.r32("ld.shared.b32", Shared(place, 0))
    }

    /// Evaluates the predicate on the tile and leaves its bits in shared memory.
    fn find_kept(&mut self, keep: Val, rows: R64, thread: R32, start: R64, keeps: R32) {
        let predicate = Predicate::begin(self, keep, rows);
        let outputs = self.needed_by_outputs(0..self.program.outputs.len(), false);
        self.choose_cached(predicate.needed(), &outputs, TILE);
        let predicate = predicate.in_tile(self, start);
        let groups = predicate.groups();
        let within = self.asm.r32("shl.b32", (thread, SLOTS.trailing_zeros()));
        let within = self.extend(within);
        let strip_start = self.asm.r64("mov.b64", start);
        let first = self.asm.r64("add.s64", (start, within));
        let place = self.asm.r32("add.s32", (keeps, thread));
        let left = self.asm.r32("mov.b32", STRIPS / groups);
        let next = self.asm.label("strip");
        self.asm.place(next);
        let bits = predicate.bits(self, strip_start, first);
        for (group, byte) in (0..).zip(predicate.bytes(self, bits)) {
            let at = Shared(place, group * THREADS);
            self.asm.run("st.shared.u8", (at, byte));
        }
        predicate.store_mask(self, first, bits);
        self.advance(strip_start, u64::from(groups * STRIP));
        self.advance(first, u64::from(groups * STRIP));
        self.asm.set(place, "add.s32", (place, groups * THREADS));
        self.asm.set(left, "sub.s32", (left, 1u32));
        let more = self.asm.pred("setp.ne.u32", (left, 0u32));
        self.asm.when(more).jump(next);
        self.asm.run("bar.sync", 0u32);
    }

    /// How many rows the tile keeps before each word of its mask, into shared memory, and in all.
    fn scan_words(&mut self, thread: R32, lane: R32, keeps: R32) -> R32 {
        self.asm.comment(format_args!(
            "rows kept before each word of the tile's mask"
        ));
        let has_word = self.asm.pred("setp.lt.u32", (thread, WORDS));
        let distance = self.asm.r32("shl.b32", (thread, 2u32));
        let at = self.asm.r32("add.s32", (keeps, distance));
        let word = self.asm.r32("mov.b32", 0u32);
        self.asm
            .when(has_word)
            .set(word, "ld.shared.b32", Shared(at, 0));
        let count = self.asm.r32("popc.b32", word);
        let sum = self.asm.r32("mov.b32", count);
        let mut step = 1;
        while step < LANES {
            let below = self
                .asm
                .r32("shfl.sync.up.b32", (sum, step, 0u32, ALL_LANES));
            let adds = self.asm.pred("setp.ge.u32", (lane, step));
            self.asm.when(adds).set(sum, "add.s32", (sum, below));
            step *= 2;
        }
        let sums = self.shared("sums", WARPS * 4);
        let warp = self.asm.r32("shr.u32", (thread, LANES.trailing_zeros()));
        let at = self.asm.r32("shl.b32", (warp, 2u32));
        let at = self.asm.r32("add.s32", (sums, at));
        let last_lane = self.asm.pred("setp.eq.u32", (lane, LANES - 1));
        self.asm
            .when(last_lane)
            .run("st.shared.b32", (Shared(at, 0), sum));
        self.asm.run("bar.sync", 0u32);
        let before = self.asm.r32("sub.s32", (sum, count));
        let total = self.asm.r32("mov.b32", 0u32);
        for other in 0..WARPS {
            let adds = self.asm.pred("setp.eq.u32", (warp, other));
            self.asm.when(adds).set(before, "add.s32", (before, total));
            let sum = self.asm.r32("ld.shared.b32", Shared(sums, other * 4));
            self.asm.set(total, "add.s32", (total, sum));
        }
        let at = self.asm.r32("add.s32", (keeps, distance));
        self.asm
            .when(has_word)
            .run("st.shared.b32", (Shared(at, KEEP_BYTES), before));
        total
    }

    /// How many rows all tiles before this one keep. Ends with a barrier.
    fn look_back(&mut self, thread: R32, tile: R32, total: R32) -> R32 {
        self.asm.comment(format_args!(
            "rows kept by all tiles before: the first warp looks back"
        ));
        let place = self.shared("base", 4);
        let (again, poll, polled, found, known) = (
            self.asm.label("look_back"),
            self.asm.label("poll"),
            self.asm.label("polled"),
            self.asm.label("found"),
            self.asm.label("known"),
        );
        let other_warp = self.asm.pred("setp.ge.u32", (thread, LANES));
        self.asm.when(other_warp).jump(known);
        let scratch = self.param64(Param::Scratch, 0);
        let states = self.asm.r64("add.s64", (scratch, STATES_AT));
        let state_of = |frame: &mut Self, tile: R32| {
            let distance = frame.asm.r64("mul.wide.u32", (tile, STATE_BYTES));
            Global(frame.asm.r64("add.s64", (states, distance)), 0)
        };
        let own_state = state_of(self, tile);
        let base = self.asm.r32("mov.b32", 0u32);
        let first_lane = self.asm.pred("setp.eq.u32", (thread, 0u32));
        let first_tile = self.asm.pred("setp.eq.u32", (tile, 0u32));
        self.asm.when(first_tile).jump(found);
        let count = self.extend(total);
        let state = self.asm.r64("or.b64", (count, OWN));
        self.asm
            .when(first_lane)
            .run("st.release.gpu.global.b64", (own_state, state));
        let before = self.asm.r32("sub.s32", (tile, 1u32));
        let looked = self.asm.r32("sub.s32", (before, thread));

        self.asm.place(again);
        let state = self.asm.r64("mov.b64", ALL);
        let outside = self.asm.pred("setp.lt.s32", (looked, 0));
        self.asm.when(outside).jump(polled);
        let its_state = state_of(self, looked);
        self.asm.place(poll);
        self.asm.set(state, "ld.acquire.gpu.global.b64", its_state);
        let missing = self.asm.pred("setp.lt.u64", (state, OWN));
        self.asm.when(missing).jump(poll);
        self.asm.place(polled);
        let of_all = self.asm.pred("setp.ge.u64", (state, ALL));
        let lanes = self.asm.r32("vote.sync.ballot.b32", (of_all, ALL_LANES));
        // The nearest tile that knows of all before it; 32 where none does.
        let reversed = self.asm.r32("brev.b32", lanes);
        let nearest = self.asm.r32("clz.b32", reversed);
        let counts = self.asm.pred("setp.le.u32", (thread, nearest));
        let count = self.asm.r32("cvt.u32.u64", state);
        let mut sum = self.asm.r32("selp.b32", (count, 0u32, counts));
        let mut distance = LANES / 2;
        while distance > 0 {
            let other = self
                .asm
                .r32("shfl.sync.bfly.b32", (sum, distance, LANES - 1, ALL_LANES));
            sum = self.asm.r32("add.s32", (sum, other));
            distance /= 2;
        }
        self.asm.set(base, "add.s32", (base, sum));
        self.asm.set(looked, "sub.s32", (looked, LANES));
        let none = self.asm.pred("setp.eq.u32", (lanes, 0u32));
        self.asm.when(none).jump(again);

        self.asm.place(found);
        let all = self.asm.r32("add.s32", (base, total));
        let all = self.extend(all);
        let state = self.asm.r64("or.b64", (all, ALL));
        self.asm
            .when(first_lane)
            .run("st.release.gpu.global.b64", (own_state, state));
        self.asm
            .when(first_lane)
            .run("st.shared.b32", (Shared(place, 0), base));
        self.asm.place(known);
        self.asm.run("bar.sync", 0u32);
        self.asm.r32("ld.shared.b32", Shared(place, 0))
    }
}

/// Some outputs of a tile, written where they go.
struct Pass {
    /// The tile's keep mask in shared memory.
    keeps: R32,
    thread: R32,
    lane: R32,
    /// The tile's first row.
    start: R64,
    /// Rows kept by the tiles before.
    base: R32,
    /// Rows kept by this one.
    total: R32,
}

/// A bitmap that is gathered in shared memory.
struct Stage {
    arg: usize,
    value: Val,
    /// Where in shared memory the tile's first bit is.
    at: R32,
}

impl Pass {
    fn run(&self, frame: &mut Frame<'_>, outputs: Range<usize>, zeroed: &mut Vec<usize>) {
        let needed = frame.needed_by_outputs(outputs.clone(), false);
        let scalars = frame.scalars(&needed);
        // Bits lie in shared memory as they will in their words.
        let shift = frame.asm.r32("and.b32", (self.base, LANES - 1));
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
                let stage = frame.shared(STAGES[stages.len()], TILE + LANES);
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
        let end = frame.asm.r32("add.s32", (self.keeps, KEEP_BYTES));
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
            let row = frame.asm.r32("add.s32", (self.base, place));
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
        let end = frame.asm.r32("add.s32", (shift, self.total));
        let bit = frame.asm.r32("mov.b32", self.thread);
        let base = frame.address(stage.arg);
        let word = frame
            .asm
            .r32("shr.u32", (self.base, LANES.trailing_zeros()));
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
    fn read(frame: &mut Frame<'_>, pass: &Pass, slots: u32, words: R32) -> Kept {
        let offsets = frame.shared_words(Shared(words, KEEP_BYTES), slots);
        let words = frame.shared_words(Shared(words, 0), slots);
        let below = frame.special("%lanemask_lt");
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
            let bit = frame.asm.r32("shr.u32", (word, pass.lane));
            let bit = frame.asm.r32("and.b32", (bit, 1u32));
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
