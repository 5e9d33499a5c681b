//! Compaction of strings: the offsets and the bytes of those that a mask keeps, in one pass.
//!
//! A tile counts the rows that it keeps, and then their bytes, each by a look-back of its own. What
//! a word of the mask keeps lies together in the result: its warp goes through those bytes, four a
//! lane, and each lane looks up by bisection which string its bytes are of. So stores are always
//! beside each other, and long strings and short ones keep all lanes busy alike.

use unlade_program::{Offsets, Program, StringsArg};

use crate::asm::{Global, Pred, R32, R64, Register, Shared};
use crate::frame::{ALL_LANES, Frame, LANES, SLOTS, STRIP, THREADS, WARPS, version};
use crate::look_back::{self, Chain, Counted};
use crate::module::{Module, Param};

/// Strips of a tile.
const STRIPS: u32 = 2;
/// Rows of a tile.
const TILE: u32 = STRIPS * STRIP;
/// Bytes of its mask.
const MASK_BYTES: u32 = TILE / 8;
/// Words of it that a warp goes through.
const WARP_WORDS: u32 = TILE / LANES / WARPS;

/// Bytes beside each other that a lane copies at once.
const LANE_BYTES: u32 = 4;

/// Blocks that a multiprocessor is to hold at once, with offsets of 32 bits and of 64: to have more,
/// the assembler would spill registers.
const RESIDENT_BLOCKS: [u32; 2] = [6, 5];

/// What tiles count first.
const ROWS: Chain = Chain {
    state: 0,
    of: 2,
    what: "rows kept by",
};
/// What they count then.
const BYTES: Chain = Chain {
    state: 1,
    of: 2,
    what: "bytes kept by",
};

/// The kernel that writes offsets and bytes of the strings that a mask keeps.
///
/// It is launched as those of [`lower`](crate::lower) are, with the arguments of [`StringsArg`]. In
/// place of a status it writes 16 bytes: the rows kept and their bytes, a `u64` each.
///
/// Whatever the offsets are, nothing else is read or written: one outside the bytes handed over, of
/// which no more count than an offset of its type can say, is taken to be at their nearer end, a
/// string that ends before it begins to be empty, and of what is kept together no more is written
/// than bytes were handed over.
///
/// ```
/// use unlade_ptx::{Offsets, Param, StringsArg, compact_strings};
///
/// let module = compact_strings(Offsets::I32);
/// let kernel = &module.kernels[0];
/// assert_eq!(kernel.name, "unlade_strings");
/// let offsets = Param::Address { arg: StringsArg::Offsets as usize };
/// assert!(kernel.params.contains(&offsets));
/// ```
pub fn compact_strings(offsets: Offsets) -> Module {
    match offsets {
        Offsets::I32 => lower::<R32>(),
        Offsets::I64 => lower::<R64>(),
    }
}

/// With offsets of a register's width.
fn lower<R: Register>() -> Module {
    let program = Program::default();
    let mut frame = Frame::new(&program);
    frame.resident_blocks = RESIDENT_BLOCKS[usize::from(R::BITS == 64)];
    let rows = frame.param64(Param::Rows, 0);
    let thread = frame.special("%tid.x");
    let number = look_back::take_tile(&mut frame, thread);
    let keeps = frame.shared("keep", 2 * MASK_BYTES);
    let start = frame.asm.r64("mul.wide.u32", (number, TILE));
    for strip in 0..STRIPS {
        let bits = mask_byte(&mut frame, thread, start, strip, rows);
        let at = frame.asm.r32("add.s32", (keeps, thread));
        let at = Shared(at, strip * THREADS);
        frame.asm.run("st.shared.u8", (at, bits));
    }
    let kept = look_back::count(&mut frame, thread, number, keeps, MASK_BYTES, ROWS);

    let lane = frame.asm.r32("and.b32", (thread, LANES - 1));
    let span = Span::<R>::of(&mut frame);
    let tile = Tile {
        thread,
        lane,
        warp: frame.asm.r32("shr.u32", (thread, LANES.trailing_zeros())),
        own_bit: frame.asm.r32("shl.b32", (1u32, lane)),
        number,
        start,
        keeps,
        kept,
    };
    let own = tile.bytes_of_warp(&mut frame, span);
    let (base, before, total) = tile.look_back(&mut frame, own, span);
    let first = frame.asm.sum(base, before, Some(span.len));
    tile.write(&mut frame, first, span);
    tile.end(&mut frame, base, total, span);
    frame.asm.run_plain("ret");

    let mut text = version();
    let kernel = match frame.finish("unlade_strings", TILE, &mut text) {
        Ok(kernel) => kernel,
        Err(error) => unreachable!("a handful of parameters: {error}"),
    };
    Module {
        text,
        kernels: vec![kernel],
        scratch: look_back::scratch(ROWS.of),
        zeroed: Vec::new(),
    }
}

/// The bits of a thread's eight rows of a strip; rows that do not exist are not kept, and no byte
/// is read that none of them has a bit in.
fn mask_byte(frame: &mut Frame<'_>, thread: R32, start: R64, strip: u32, rows: R64) -> R32 {
    let arg = StringsArg::Mask as usize;
    let base = frame.address(arg);
    let offset = frame.param32(Param::BitOffset { arg });
    let within = frame.asm.r32("shl.b32", (thread, SLOTS.trailing_zeros()));
    let within = frame.asm.r32("add.s32", (within, strip * STRIP));
    let within = frame.extend(within);
    let first = frame.asm.r64("add.s64", (start, within));
    let left = frame.asm.r64("sub.s64", (rows, first));
    let left = frame.asm.r64("max.s64", (left, 0));
    let left = frame.asm.r64("min.s64", (left, u64::from(SLOTS)));
    let left = frame.asm.r32("cvt.u32.u64", left);
    let byte = frame.asm.r64("shr.u64", (first, 3u32));
    let at = frame.asm.r64("add.s64", (base, byte));
    let any = frame.asm.pred("setp.ne.u32", (left, 0u32));
    let low = frame.asm.r32("mov.b32", 0u32);
    frame.asm.when(any).set(low, "ld.global.u8", Global(at, 0));
    let end = frame.asm.r32("add.s32", (left, offset));
    let crosses = frame.asm.pred("setp.gt.u32", (end, SLOTS));
    let high = frame.asm.r32("mov.b32", 0u32);
    frame
        .asm
        .when(crosses)
        .set(high, "ld.global.u8", Global(at, 1));
    let high = frame.asm.r32("shl.b32", (high, 8u32));
    let both = frame.asm.r32("or.b32", (low, high));
    let bits = frame.asm.r32("shr.u32", (both, offset));
    let beyond = frame.asm.r32("shl.b32", (u32::MAX, left));
    let beyond = frame.asm.r32("not.b32", beyond);
    frame.asm.r32("and.b32", (bits, beyond))
}

/// The bytes handed over, in the numbers of offsets.
#[derive(Clone, Copy)]
struct Span<R> {
    /// The offset of the first.
    first: R,
    /// How many. Twice as many fit into a register: what is added up to them does not wrap.
    len: R,
}

impl<R: Register> Span<R> {
    fn of(frame: &mut Frame<'_>) -> Self {
        let arg = StringsArg::First as usize;
        let first = frame.param64(Param::Scalar { arg, bytes: 8 }, 0);
        let arg = StringsArg::Bytes as usize;
        let len = frame.param64(Param::Length { arg }, 0);
        let first = R::from_long(&mut frame.asm, first);
        let len = R::from_long(&mut frame.asm, len);
        // Memory is far from half of what 64 bits say.
        let len = match R::BITS {
            32 => frame.asm.reg(["min.", R::UNSIGNED], (len, i32::MAX)),
            _ => len,
        };
        Span { first, len }
    }

    /// How far behind the first byte an offset is that may be any.
    fn behind_first(self, frame: &mut Frame<'_>, offset: R) -> R {
        let (min, max) = (["min.", R::UNSIGNED], ["max.", R::UNSIGNED]);
        let offset: R = frame.asm.reg(max, (offset, self.first));
        let behind: R = frame.asm.reg(["sub.", R::SIGNED], (offset, self.first));
        frame.asm.reg(min, (behind, self.len))
    }
}

/// A tile whose rows have their places.
struct Tile {
    thread: R32,
    lane: R32,
    warp: R32,
    /// The lane's bit of a word.
    own_bit: R32,
    number: R32,
    /// The tile's first row.
    start: R64,
    /// The mask in shared memory, and behind it the rows kept before each word.
    keeps: R32,
    kept: Counted,
}

/// The string of a lane's row: its place in the bytes handed over, and how long it is; inside them
/// whatever its offsets are, and empty where it is not kept.
struct Of<R> {
    kept: Pred,
    from: R,
    length: R,
}

/// Where a warp is in its words.
struct Cursor {
    /// The word in shared memory.
    word: R32,
    /// The offset of the lane's row.
    offset: R64,
    /// Words that are left.
    left: R32,
}

impl Tile {
    /// The first of the warp's words.
    fn cursor<R: Register>(&self, frame: &mut Frame<'_>) -> Cursor {
        let distance = frame.asm.r32("mul.lo.u32", (self.warp, WARP_WORDS * 4));
        let row = frame.asm.r32("mul.lo.u32", (self.warp, WARP_WORDS * LANES));
        let row = frame.asm.r32("add.s32", (row, self.lane));
        let row = frame.extend(row);
        let row = frame.asm.r64("add.s64", (self.start, row));
        let behind = frame.asm.r64("mul.lo.u64", (row, u64::from(R::BITS / 8)));
        let base = frame.address(StringsArg::Offsets as usize);
        Cursor {
            word: frame.asm.r32("add.s32", (self.keeps, distance)),
            offset: frame.asm.r64("add.s64", (base, behind)),
            left: frame.asm.r32("mov.b32", WARP_WORDS),
        }
    }

    /// The string of the lane's row of a word.
    fn string<R: Register>(
        &self,
        frame: &mut Frame<'_>,
        cursor: &Cursor,
        word: R32,
        span: Span<R>,
    ) -> Of<R> {
        let bit = frame.asm.r32("and.b32", (word, self.own_bit));
        let kept = frame.asm.pred("setp.ne.u32", (bit, 0u32));
        let from: R = frame.asm.reg(["mov.", R::PLAIN], 0u32);
        let end: R = frame.asm.reg(["mov.", R::PLAIN], 0u32);
        let name = ["ld.global.", R::PLAIN];
        let at = cursor.offset;
        frame.asm.when(kept).set(from, name, Global(at, 0));
        let next = Global(at, u64::from(R::BITS / 8));
        frame.asm.when(kept).set(end, name, next);
        let [from, end] = [from, end].map(|offset| span.behind_first(frame, offset));
        let end: R = frame.asm.reg(["max.", R::UNSIGNED], (end, from));
        Of {
            kept,
            from,
            length: frame.asm.reg(["sub.", R::SIGNED], (end, from)),
        }
    }

    /// How many bytes the strings have that the warp keeps, in each of its lanes.
    fn bytes_of_warp<R: Register>(&self, frame: &mut Frame<'_>, span: Span<R>) -> R {
        frame.asm.comment(format_args!("bytes kept by the warp"));
        let cursor = self.cursor::<R>(frame);
        let sum: R = frame.asm.reg(["mov.", R::PLAIN], 0u32);
        let next = frame.asm.label("measure");
        frame.asm.place(next);
        let word = frame.asm.r32("ld.shared.b32", Shared(cursor.word, 0));
        let string = self.string(frame, &cursor, word, span);
        let most = Some(span.len);
        frame.asm.set_sum(sum, (sum, string.length), most);
        cursor.advance::<R>(frame, next);
        frame.sum_of_warp(sum, most)
    }

    /// Bytes kept by all tiles before, by the warps before in this one, and by all of this one.
    fn look_back<R: Register>(&self, frame: &mut Frame<'_>, own: R, span: Span<R>) -> (R, R, R) {
        let bytes = R::BITS / 8;
        let sums = frame.shared("byte_sums", WARPS * 8);
        let place = frame.shared("byte_base", 8);
        let first_lane = frame.asm.pred("setp.eq.u32", (self.lane, 0u32));
        let at = frame.asm.r32("mul.lo.u32", (self.warp, bytes));
        let at = frame.asm.r32("add.s32", (sums, at));
        let (load, store) = (["ld.shared.", R::PLAIN], ["st.shared.", R::PLAIN]);
        frame.asm.when(first_lane).run(store, (Shared(at, 0), own));
        frame.asm.run("bar.sync", 0u32);
        let before: R = frame.asm.reg(["mov.", R::PLAIN], 0u32);
        let total: R = frame.asm.reg(["mov.", R::PLAIN], 0u32);
        for warp in 0..WARPS {
            let sum: R = frame.asm.reg(load, Shared(sums, warp * bytes));
            let most = Some(span.len);
            frame.asm.set_sum(total, (total, sum), most);
            let is_before = frame.asm.pred("setp.gt.u32", (self.warp, warp));
            let sum: R = frame.asm.reg(["selp.", R::PLAIN], (sum, 0u32, is_before));
            frame.asm.set_sum(before, (before, sum), most);
        }
        let known = frame.asm.label("bytes_known");
        let other_warp = frame.asm.pred("setp.ge.u32", (self.thread, LANES));
        frame.asm.when(other_warp).jump(known);
        let most = Some(span.len);
        let base = look_back::look_back(frame, self.thread, self.number, total, most, BYTES);
        frame
            .asm
            .when(first_lane)
            .run(store, (Shared(place, 0), base));
        frame.asm.place(known);
        frame.asm.run("bar.sync", 0u32);
        (frame.asm.reg(load, Shared(place, 0)), before, total)
    }

    /// Writes offsets and bytes of what the warp keeps, the first byte to `first`.
    fn write<R: Register>(&self, frame: &mut Frame<'_>, first: R, span: Span<R>) {
        frame
            .asm
            .comment(format_args!("offsets and bytes kept by the warp"));
        let cursor = self.cursor::<R>(frame);
        let (next, skip) = (frame.asm.label("words"), frame.asm.label("none_kept"));
        frame.asm.place(next);
        let word = frame.asm.r32("ld.shared.b32", Shared(cursor.word, 0));
        let none = frame.asm.pred("setp.eq.u32", (word, 0u32));
        frame.asm.when(none).jump(skip);
        let string = self.string(frame, &cursor, word, span);
        // The bytes up to a lane's last, and, in the last lane, of all: no more than there is room.
        let room: R = frame.asm.reg(["sub.", R::SIGNED], (span.len, first));
        let up_to: R = frame.asm.reg(["min.", R::UNSIGNED], (string.length, room));
        let mut step = 1;
        while step < LANES {
            let below = up_to.shuffle(&mut frame.asm, "up", step, 0);
            let adds = frame.asm.pred("setp.ge.u32", (self.lane, step));
            let below: R = frame.asm.reg(["selp.", R::PLAIN], (below, 0u32, adds));
            frame.asm.set_sum(up_to, (up_to, below), Some(room));
            step *= 2;
        }
        let all = up_to.shuffle(&mut frame.asm, "idx", LANES - 1, LANES - 1);
        let before = up_to.shuffle(&mut frame.asm, "up", 1, 0);
        let is_first = frame.asm.pred("setp.eq.u32", (self.lane, 0u32));
        let before: R = frame.asm.reg(["selp.", R::PLAIN], (0u32, before, is_first));
        self.store_offset(frame, &cursor, word, string.kept, first, before);
        copy(frame, self.lane, &string, up_to, before, all, first);
        frame.asm.set(first, ["add.", R::SIGNED], (first, all));
        frame.asm.place(skip);
        cursor.advance::<R>(frame, next);
    }

    /// Where the lane's string begins in the result.
    fn store_offset<R: Register>(
        &self,
        frame: &mut Frame<'_>,
        cursor: &Cursor,
        word: R32,
        kept: Pred,
        first: R,
        before: R,
    ) {
        let within_tile = frame
            .asm
            .r32("ld.shared.b32", Shared(cursor.word, MASK_BYTES));
        let lower = frame.special("%lanemask_lt");
        let lower = frame.asm.r32("and.b32", (word, lower));
        let within = frame.asm.r32("popc.b32", lower);
        let row = frame.asm.r32("add.s32", (within_tile, within));
        let row = frame.asm.r32("add.s32", (row, self.kept.base));
        let at = kept_offset::<R>(frame, row);
        let offset: R = frame.asm.reg(["add.", R::SIGNED], (first, before));
        frame
            .asm
            .when(kept)
            .run(["st.global.", R::PLAIN], (at, offset));
    }

    /// The last tile knows how much all keep: where the last string ends.
    fn end<R: Register>(&self, frame: &mut Frame<'_>, base: R, total: R, span: Span<R>) {
        let ended = frame.asm.label("ended");
        let tiles = frame.special("%nctaid.x");
        let last = frame.asm.r32("sub.s32", (tiles, 1u32));
        let is_last = frame.asm.pred("setp.eq.u32", (self.number, last));
        let is_first = frame.asm.pred("setp.eq.u32", (self.thread, 0u32));
        let ends = frame.asm.pred("and.pred", (is_last, is_first));
        frame.asm.unless(ends).jump(ended);
        let rows = frame.asm.r32("add.s32", (self.kept.base, self.kept.total));
        let bytes = frame.asm.sum(base, total, Some(span.len));
        let at = kept_offset::<R>(frame, rows);
        frame.asm.run(["st.global.", R::PLAIN], (at, bytes));
        let status = frame.param64(Param::Status, 0);
        let rows = frame.extend(rows);
        let bytes = bytes.to_long(&mut frame.asm);
        frame.asm.run("st.global.b64", (Global(status, 0), rows));
        frame.asm.run("st.global.b64", (Global(status, 8), bytes));
        frame.asm.place(ended);
    }
}

impl Cursor {
    /// On to the next word, if there is one.
    fn advance<R: Register>(&self, frame: &mut Frame<'_>, next: crate::asm::Label) {
        frame.asm.set(self.word, "add.s32", (self.word, 4u32));
        frame.advance(self.offset, u64::from(LANES * R::BITS / 8));
        frame.asm.set(self.left, "sub.s32", (self.left, 1u32));
        let more = frame.asm.pred("setp.ne.u32", (self.left, 0u32));
        frame.asm.when(more).jump(next);
    }
}

/// Copies the bytes of a warp's strings to `first` on, `all` of them; up to a lane's last there are
/// `up_to`, `before` of them before its first.
fn copy<R: Register>(
    frame: &mut Frame<'_>,
    lane: R32,
    string: &Of<R>,
    up_to: R,
    before: R,
    all: R,
    first: R,
) {
    let target = frame.address(StringsArg::KeptBytes as usize);
    let behind = first.to_long(&mut frame.asm);
    let target = frame.asm.r64("add.s64", (target, behind));
    // What is to be added to a byte's number among the warp's, to have its address.
    let source = frame.address(StringsArg::Bytes as usize);
    let behind = string.from.to_long(&mut frame.asm);
    let source = frame.asm.r64("add.s64", (source, behind));
    let ahead = before.to_long(&mut frame.asm);
    let source = frame.asm.r64("sub.s64", (source, ahead));

    let (less, add) = (["setp.lt.", R::UNSIGNED], ["add.", R::SIGNED]);
    let group = frame.asm.r32("mul.lo.u32", (lane, LANE_BYTES));
    let group = R::from_word(&mut frame.asm, group);
    let group: R = frame.asm.reg(["mov.", R::PLAIN], group);
    let begin: R = frame.asm.reg(["mov.", R::PLAIN], 0u32);
    let (next, done) = (frame.asm.label("bytes"), frame.asm.label("copied"));
    frame.asm.place(next);
    let more = frame.asm.pred(less, (begin, all));
    frame.asm.unless(more).jump(done);
    let limit: R = frame.asm.reg(add, (group, LANE_BYTES));
    let limit: R = frame.asm.reg(["min.", R::UNSIGNED], (limit, all));
    let byte: R = frame.asm.reg(["mov.", R::PLAIN], group);
    let string = frame.asm.label("string");
    frame.asm.place(string);
    // The strings that end before the byte: as many as the number of the lane that has its own.
    let owner = frame.asm.r32("mov.b32", 0u32);
    let mut step = LANES / 2;
    while step > 0 {
        let probe = frame.asm.r32("add.s32", (owner, step - 1));
        let end = up_to.shuffle(&mut frame.asm, "idx", probe, LANES - 1);
        let over = frame.asm.pred(["setp.le.", R::UNSIGNED], (end, byte));
        frame.asm.when(over).set(owner, "add.s32", (owner, step));
        step /= 2;
    }
    let own = source.shuffle(&mut frame.asm, "idx", owner, LANES - 1);
    let end = up_to.shuffle(&mut frame.asm, "idx", owner, LANES - 1);
    let end: R = frame.asm.reg(["min.", R::UNSIGNED], (end, limit));
    let at = byte.to_long(&mut frame.asm);
    let from = frame.asm.r64("add.s64", (own, at));
    let to = frame.asm.r64("add.s64", (target, at));
    let loaded: Vec<(Pred, R32)> = (0..LANE_BYTES)
        .map(|behind| {
            let this: R = frame.asm.reg(add, (byte, behind));
            let inside = frame.asm.pred(less, (this, end));
            let value = frame.asm.new32();
            let at = Global(from, u64::from(behind));
            frame.asm.when(inside).set(value, "ld.global.u8", at);
            (inside, value)
        })
        .collect();
    for (behind, (inside, value)) in (0..).zip(loaded) {
        frame
            .asm
            .when(inside)
            .run("st.global.u8", (Global(to, behind), value));
    }
    // Where a string ends within the lane's bytes, the next goes on there.
    let end: R = frame.asm.reg(["max.", R::UNSIGNED], (end, byte));
    frame.asm.set(byte, ["mov.", R::PLAIN], end);
    let left = frame.asm.pred(less, (byte, limit));
    let any = frame.asm.pred("vote.sync.any.pred", (left, ALL_LANES));
    frame.asm.when(any).jump(string);
    frame.asm.set(group, add, (group, LANES * LANE_BYTES));
    frame.asm.set(begin, add, (begin, LANES * LANE_BYTES));
    frame.asm.jump(next);
    frame.asm.place(done);
}

/// The place of an offset of the result.
fn kept_offset<R: Register>(frame: &mut Frame<'_>, row: R32) -> Global {
    let base = frame.address(StringsArg::KeptOffsets as usize);
    let distance = frame.asm.r64("mul.wide.u32", (row, R::BITS / 8));
    Global(frame.asm.r64("add.s64", (base, distance)), 0)
}
