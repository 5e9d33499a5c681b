//! The end of a dispatch: the last block to finish writes the status block.
//!
//! Each block adds, in one atomic step, the rows it kept and one to the number of blocks done.
//! Whoever finds that it was the last knows the sum, and by then all traps are in. Where nothing
//! traps and some block knows how many rows are kept in all, that block writes it at once.

use crate::asm::{Global, Pred, R32, R64, Register, Shared};
use crate::frame::{Frame, LANES, WARPS};
use crate::module::{Param, Scratch};

/// What all blocks need beside their arguments.
pub(crate) const SCRATCH: Scratch = Scratch {
    fixed: 16,
    per_block: 0,
};
/// Where in it the blocks done and the rows kept are, one above the other in 64 bits.
const DONE_AT: u64 = 0;
/// Where in it the least trap is.
pub(crate) const TRAP_AT: u64 = 8;
/// Bits of the rows kept.
const KEPT_BITS: u32 = 40;

/// Adds up what the threads of a block have counted and reports it; `thread` is the thread's
/// number. All threads take part.
pub(crate) fn report(frame: &mut Frame<'_>, thread: R32, count: R32) {
    frame.asm.comment(format_args!("rows kept by the block"));
    let sum = frame.sum_of_warp(count, None);
    let sums = frame.shared("sums", WARPS * 4);
    let lane = frame.asm.r32("and.b32", (thread, LANES - 1));
    let first_lane = frame.asm.pred("setp.eq.u32", (lane, 0u32));
    let at = frame.asm.r32("shr.u32", (thread, LANES.trailing_zeros()));
    let at = frame.asm.r32("shl.b32", (at, 2u32));
    let at = frame.asm.r32("add.s32", (sums, at));
    frame
        .asm
        .when(first_lane)
        .run("st.shared.b32", (Shared(at, 0), sum));
    frame.asm.run("bar.sync", 0u32);
    let mut total = frame.asm.r32("ld.shared.b32", Shared(sums, 0));
    for warp in 1..WARPS {
        let sum = frame.asm.r32("ld.shared.b32", Shared(sums, warp * 4));
        total = frame.asm.r32("add.s32", (total, sum));
    }
    report_total(frame, thread, total);
}

/// Reports what a block has kept. One thread does; traps that the others reported before the last
/// barrier it makes visible with its own.
pub(crate) fn report_total(frame: &mut Frame<'_>, thread: R32, total: R32) {
    let ended = frame.asm.label("ended");
    let not_first = frame.asm.pred("setp.ne.u32", (thread, 0u32));
    frame.asm.when(not_first).jump(ended);
    let scratch = frame.param64(Param::Scratch, 0);
    let own = frame.extend(total);
    let one_done = frame.asm.r64("or.b64", (own, 1u64 << KEPT_BITS));
    let can_trap = frame.program.can_trap();
    if can_trap {
        frame.asm.run_plain("fence.acq_rel.gpu");
    }
    let before = frame
        .asm
        .r64("atom.global.add.u64", (Global(scratch, DONE_AT), one_done));
    if can_trap {
        frame.asm.run_plain("fence.acq_rel.gpu");
    }
    let done = frame.asm.r64("shr.u64", (before, KEPT_BITS));
    let done = frame.asm.r32("cvt.u32.u64", done);
    let blocks = frame.special("%nctaid.x");
    let last = frame.asm.r32("sub.s32", (blocks, 1u32));
    let not_last = frame.asm.pred("setp.ne.u32", (done, last));
    frame.asm.when(not_last).jump(ended);

    frame.asm.comment(format_args!(
        "the last block: kept, then the row and ordinal of the trap"
    ));
    let kept = frame.asm.r64("and.b64", (before, (1u64 << KEPT_BITS) - 1));
    let kept = frame.asm.r64("add.s64", (kept, own));
    let (row, ordinal) = match can_trap {
        true => least_trap(frame, scratch),
        false => (
            frame.asm.r64("mov.b64", u64::MAX),
            frame.asm.r64("mov.b64", 0u64),
        ),
    };
    write(frame, [kept, row, ordinal]);
    frame.asm.place(ended);
}

/// Reports what all blocks keep where nothing can trap: the first thread of the block that
/// `knows` does.
pub(crate) fn report_known(frame: &mut Frame<'_>, thread: R32, knows: Pred, kept: R64) {
    debug_assert!(!frame.program.can_trap());
    let ended = frame.asm.label("ended");
    let first = frame.asm.pred("setp.eq.u32", (thread, 0u32));
    let reports = frame.asm.pred("and.pred", (first, knows));
    frame.asm.unless(reports).jump(ended);
    let row = frame.asm.r64("mov.b64", u64::MAX);
    let ordinal = frame.asm.r64("mov.b64", 0u64);
    write(frame, [kept, row, ordinal]);
    frame.asm.place(ended);
}

fn write(frame: &mut Frame<'_>, words: [R64; 3]) {
    let status = frame.param64(Param::Status, 0);
    for (at, word) in (0..).step_by(8).zip(words) {
        frame.asm.run("st.global.b64", (Global(status, at), word));
    }
}

/// Row and ordinal of the least trap reported, all ones and zero where there is none.
fn least_trap(frame: &mut Frame<'_>, scratch: R64) -> (R64, R64) {
    let trap = frame
        .asm
        .r64("ld.relaxed.gpu.global.b64", Global(scratch, TRAP_AT));
    let none = frame.asm.pred("setp.eq.u64", (trap, 0u64));
    let key = frame.asm.r64("not.b64", trap);
    let row = frame.asm.r64("shr.u64", (key, 32u32));
    let row = frame.asm.r64("selp.b64", (u64::MAX, row, none));
    let ordinal = frame.asm.r64("and.b64", (key, u64::from(u32::MAX)));
    let ordinal = frame.asm.r64("selp.b64", (0u64, ordinal, none));
    (row, ordinal)
}

impl Frame<'_> {
    /// The sum over all lanes of a warp, for each of them; `most` where it would be more.
    pub(crate) fn sum_of_warp<R: Register>(&mut self, count: R, most: Option<R>) -> R {
        let mut sum = count;
        let mut distance = LANES / 2;
        while distance > 0 {
            let other = sum.shuffle(&mut self.asm, "bfly", distance, LANES - 1);
            sum = self.asm.sum(sum, other, most);
            distance /= 2;
        }
        sum
    }
}
