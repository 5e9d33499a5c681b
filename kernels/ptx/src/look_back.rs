//! Where a tile's rows go: decoupled look-back (Merrill and Garland, "Single-pass Parallel Prefix
//! Scan with Decoupled Look-back", NVIDIA 2016).
//!
//! Each tile publishes first how many rows it keeps, then how many all tiles up to it keep, and
//! looks back over its predecessors until it finds one of the latter. Tiles are numbered in the
//! order in which blocks begin, so that all that a block waits for is under way.
//!
//! A state is one word of 64 bits, count and flag, read and written whole by relaxed operations of
//! the GPU's scope. A count of 32 bits has the word's lower half; of one of 64, which is one of
//! bytes in memory, the highest two bits are the flag's. That is enough (PTX ISA 8.7, 8.10.3 and
//! 8.10.5): whoever sees the flag has the count, and no other memory passes from tile to tile.
//! Acquires and releases would order memory that nobody reads, at the price of emptying the
//! first-level cache at every look (`CCTL.IVALL`) and of waiting for all earlier stores before every
//! word (`MEMBAR`), which is what `ptxas` makes of them for `sm_90`. docs/decisions/0004 has the
//! argument.

use crate::asm::{Global, Pred, R32, R64, Register, Shared};
use crate::frame::{ALL_LANES, Frame, LANES};
use crate::module::{Param, Scratch};

/// Bytes of a line of the cache: what many blocks add to is not to share one with what they poll.
const LINE: u64 = 128;
/// Where in the scratch memory the number of the next tile is.
const TICKET_AT: u64 = LINE;
/// Where in it the tiles' states begin.
const STATES_AT: u64 = 2 * LINE;
/// Bytes of a state: a count below, a flag above.
const STATE_BYTES: u32 = 8;

/// What all blocks need beside their arguments, for each tile to have so many states.
pub(crate) const fn scratch(states: u32) -> Scratch {
    Scratch {
        fixed: STATES_AT,
        per_block: (states * STATE_BYTES) as u64,
    }
}

/// One of the things that tiles count: each has a state for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    /// Which of a tile's states.
    pub(crate) state: u32,
    /// How many states a tile has.
    pub(crate) of: u32,
    /// What is counted, for whoever reads the text.
    pub(crate) what: &'static str,
}

/// The flags of states whose counts have a register's width.
struct Flags<R>(std::marker::PhantomData<R>);

impl<R: Register> Flags<R> {
    /// Where they begin.
    const BIT: u32 = if R::BITS == 32 { 32 } else { 62 };
    /// Of a state that counts what its tile has.
    const OWN: u64 = 1 << Self::BIT;
    /// Of a state that counts what all tiles up to it have.
    const ALL: u64 = 2 << Self::BIT;
}

/// How many rows are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// By all tiles before this one.
    pub(crate) base: R32,
    /// By this one.
    pub(crate) total: R32,
}

/// The number of the block's tile, in the order in which blocks come here.
pub(crate) fn take_tile(frame: &mut Frame<'_>, thread: R32) -> R32 {
    let place = frame.shared("tile", 4);
    let scratch = frame.param64(Param::Scratch, 0);
    let ticket = frame.asm.label("ticket");
    let other = frame.asm.pred("setp.ne.u32", (thread, 0u32));
    frame.asm.when(other).jump(ticket);
    let number = frame
        .asm
        .r32("atom.global.add.u32", (Global(scratch, TICKET_AT), 1u32));
    frame.asm.run("st.shared.b32", (Shared(place, 0), number));
    frame.asm.place(ticket);
    frame.asm.run("bar.sync", 0u32);
    frame.asm.r32("ld.shared.b32", Shared(place, 0))
}

/// Counts what the tile keeps and what all before it do. Its keep mask is at `words` in shared
/// memory, of so many bytes; how many rows are kept before each word of it goes behind the mask.
/// Begins and ends with a barrier; between them the first warp works.
pub(crate) fn count(
    frame: &mut Frame<'_>,
    thread: R32,
    tile: R32,
    words: R32,
    bytes: u32,
    chain: Chain,
) -> Counted {
    let place = frame.shared("counted", 8);
    let known = frame.asm.label("known");
    frame.asm.run("bar.sync", 0u32);
    let other_warp = frame.asm.pred("setp.ge.u32", (thread, LANES));
    frame.asm.when(other_warp).jump(known);
    let total = scan(frame, thread, words, bytes);
    let base = look_back(frame, thread, tile, total, None, chain);
    let first_lane = frame.asm.pred("setp.eq.u32", (thread, 0u32));
    frame
        .asm
        .when(first_lane)
        .run("st.shared.v2.b32", (Shared(place, 0), [base, total]));
    frame.asm.place(known);
    frame.asm.run("bar.sync", 0u32);
    let (base, total) = (frame.asm.new32(), frame.asm.new32());
    frame
        .asm
        .set([base, total], "ld.shared.v2.b32", Shared(place, 0));
    Counted { base, total }
}

/// Rows kept before each word, each lane having as many words beside each other, a multiple of
/// four; returns how many in all.
fn scan(frame: &mut Frame<'_>, lane: R32, words: R32, bytes: u32) -> R32 {
    let asm = &mut frame.asm;
    asm.comment(format_args!(
        "rows kept before each word of the tile's mask"
    ));
    let own_bytes = bytes / LANES;
    debug_assert!(own_bytes.is_multiple_of(16));
    let distance = asm.r32("mul.lo.u32", (lane, own_bytes));
    let at = asm.r32("add.s32", (words, distance));
    // Before each of the lane's words, counted from its first.
    let mut before_words = Vec::new();
    let mut own = asm.r32("mov.b32", 0u32);
    for vector in 0..own_bytes / 16 {
        let four: [R32; 4] = std::array::from_fn(|_| asm.new32());
        asm.set(four, "ld.shared.v4.b32", Shared(at, vector * 16));
        for word in four {
            before_words.push(own);
            let count = asm.r32("popc.b32", word);
            own = asm.r32("add.s32", (own, count));
        }
    }
    let sum = asm.r32("mov.b32", own);
    let mut step = 1;
    while step < LANES {
        let below = asm.r32("shfl.sync.up.b32", (sum, step, 0u32, ALL_LANES));
        let adds = asm.pred("setp.ge.u32", (lane, step));
        asm.when(adds).set(sum, "add.s32", (sum, below));
        step *= 2;
    }
    let before = asm.r32("sub.s32", (sum, own));
    for (vector, four) in (0..).zip(before_words.chunks_exact(4)) {
        let four = [four[0], four[1], four[2], four[3]];
        let four = four.map(|within| asm.r32("add.s32", (before, within)));
        asm.run("st.shared.v4.b32", (Shared(at, bytes + vector * 16), four));
    }
    asm.r32("shfl.sync.idx.b32", (sum, LANES - 1, LANES - 1, ALL_LANES))
}

/// How much all tiles before this one have, or `most` where that would be more, told to all that
/// look back later. One warp does, all of it.
pub(crate) fn look_back<R: Register>(
    frame: &mut Frame<'_>,
    lane: R32,
    tile: R32,
    total: R,
    most: Option<R>,
    chain: Chain,
) -> R {
    frame
        .asm
        .comment(format_args!("{} all tiles before", chain.what));
    let states = States::of(frame, chain);
    let own = states.at(frame, tile);
    let first_lane = frame.asm.pred("setp.eq.u32", (lane, 0u32));
    let base: R = frame.asm.reg(["mov.", R::PLAIN], 0u32);
    let (again, found) = (frame.asm.label("look_back"), frame.asm.label("found"));
    let first_tile = frame.asm.pred("setp.eq.u32", (tile, 0u32));
    frame.asm.when(first_tile).jump(found);
    publish(frame, own, total, Flags::<R>::OWN, first_lane);
    let before = frame.asm.r32("sub.s32", (tile, 1u32));
    let looked = frame.asm.r32("sub.s32", (before, lane));

    frame.asm.place(again);
    let state = states.poll::<R>(frame, looked);
    let of_all = frame.asm.pred("setp.ge.u64", (state, Flags::<R>::ALL));
    let lanes = frame.asm.r32("vote.sync.ballot.b32", (of_all, ALL_LANES));
    // The nearest tile that knows of all before it; 32 where none does.
    let reversed = frame.asm.r32("brev.b32", lanes);
    let nearest = frame.asm.r32("clz.b32", reversed);
    let counts = frame.asm.pred("setp.le.u32", (lane, nearest));
    let count: R = match R::BITS {
        32 => frame.asm.reg("cvt.u32.u64", state),
        _ => frame.asm.reg("and.b64", (state, Flags::<R>::OWN - 1)),
    };
    let count: R = frame.asm.reg(["selp.", R::PLAIN], (count, 0u32, counts));
    let sum = frame.sum_of_warp(count, most);
    frame.asm.set_sum(base, (base, sum), most);
    frame.asm.set(looked, "sub.s32", (looked, LANES));
    let none = frame.asm.pred("setp.eq.u32", (lanes, 0u32));
    frame.asm.when(none).jump(again);

    frame.asm.place(found);
    let all = frame.asm.sum(base, total, most);
    publish(frame, own, all, Flags::<R>::ALL, first_lane);
    base
}

fn publish<R: Register>(
    frame: &mut Frame<'_>,
    state: Global,
    count: R,
    flag: u64,
    first_lane: Pred,
) {
    let count = count.to_long(&mut frame.asm);
    let flagged = frame.asm.r64("or.b64", (count, flag));
    frame
        .asm
        .when(first_lane)
        .run("st.relaxed.gpu.global.b64", (state, flagged));
}

/// The states of all tiles, of one chain.
struct States {
    first: R64,
    /// Bytes between those of two tiles.
    step: u32,
}

impl States {
    fn of(frame: &mut Frame<'_>, chain: Chain) -> Self {
        let scratch = frame.param64(Param::Scratch, 0);
        let at = STATES_AT + u64::from(chain.state * STATE_BYTES);
        States {
            first: frame.asm.r64("add.s64", (scratch, at)),
            step: chain.of * STATE_BYTES,
        }
    }

    fn at(&self, frame: &mut Frame<'_>, tile: R32) -> Global {
        let distance = frame.asm.r64("mul.wide.u32", (tile, self.step));
        Global(frame.asm.r64("add.s64", (self.first, distance)), 0)
    }

    /// The state of a tile once it has one; before the first tile, that of nothing at all.
    fn poll<R: Register>(&self, frame: &mut Frame<'_>, tile: R32) -> R64 {
        let (poll, polled) = (frame.asm.label("poll"), frame.asm.label("polled"));
        let state = frame.asm.r64("mov.b64", Flags::<R>::ALL);
        let outside = frame.asm.pred("setp.lt.s32", (tile, 0));
        frame.asm.when(outside).jump(polled);
        let at = self.at(frame, tile);
        frame.asm.place(poll);
        frame.asm.set(state, "ld.relaxed.gpu.global.b64", at);
        let missing = frame.asm.pred("setp.lt.u64", (state, Flags::<R>::OWN));
        frame.asm.when(missing).jump(poll);
        frame.asm.place(polled);
        state
    }
}
