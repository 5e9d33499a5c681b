//! Filter and compaction in one pass over the rows: which of its rows a tile keeps, where they go
//! (`look_back`), and then what goes there (`scatter`).

use unlade_program::{Program, Val};

use crate::asm::{R32, R64, Shared};
use crate::cache::Candidate;
use crate::frame::{Frame, LANES, SLOTS, STRIP, THREADS, header};
use crate::look_back::{self, Chain, Counted};
use crate::module::{LowerError, Module, Param};
use crate::predicate::Predicate;
use crate::scatter::{Group, Tile, groups};
use crate::status;

/// Strips of a tile: of the most rows that shared memory has room for, since what a tile waits for
/// is the same however many it has.
const STRIPS: [u32; 2] = [4, 2];
/// Shared memory that a block may declare, less a little for single words.
const SHARED_BYTES: u32 = (48 << 10) - 64;

/// What tiles count: one thing.
const KEPT: Chain = Chain {
    state: 0,
    of: 1,
    what: "rows kept by",
};

/// How large a tile is, which is what a block computes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    strips: u32,
}

impl Extent {
    /// For columns that are kept and bitmaps that are gathered.
    fn of(kept: &[Candidate], bitmaps: u32) -> Extent {
        let row_bytes: u32 = kept.iter().map(|column| column.width).sum();
        let fits = |extent: &Extent| {
            let bitmaps = bitmaps * (extent.rows() + LANES);
            2 * extent.mask_bytes() + extent.rows() * row_bytes + bitmaps <= SHARED_BYTES
        };
        let mut extents = STRIPS.map(|strips| Extent { strips }).into_iter();
        match extents.find(fits) {
            Some(extent) => extent,
            None => unreachable!("8 bytes a row and three bitmaps fit a small tile"),
        }
    }

    /// Rows of a tile.
    pub(crate) fn rows(self) -> u32 {
        self.strips * STRIP
    }

    /// Bytes of its keep mask. Behind it in shared memory lie the rows kept before each word, which
    /// take as many.
    pub(crate) fn mask_bytes(self) -> u32 {
        self.rows() / 8
    }
}

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
    let number = look_back::take_tile(&mut frame, thread);
    let predicate = Predicate::begin(&mut frame, keep, rows);
    let groups = groups(&frame);
    let extent = frame.make_room(&predicate, &groups);
    let start = frame.asm.r64("mul.wide.u32", (number, extent.rows()));
    let keeps = frame.shared("keep", 2 * extent.mask_bytes());
    let predicate = predicate.in_tile(&frame, start);
    frame.prefetch(predicate.needed(), thread, start, extent.rows(), rows);
    find_kept(&mut frame, &predicate, thread, start, keeps, extent);
    let counted = look_back::count(&mut frame, thread, number, keeps, extent.mask_bytes(), KEPT);

    let tile = Tile {
        keeps,
        thread,
        lane: frame.asm.r32("and.b32", (thread, LANES - 1)),
        start,
        extent,
        counted,
    };
    let mut zeroed = Vec::new();
    for group in groups {
        tile.scatter(&mut frame, group.outputs, &mut zeroed);
    }
    if program.can_trap() {
        status::report_total(&mut frame, thread, counted.total);
    } else {
        frame.report_by_last_tile(thread, number, counted);
    }
    frame.asm.run_plain("ret");
    let mut text = header(program);
    let kernel = frame.finish("unlade_compact", extent.rows(), &mut text)?;
    Ok(Module {
        text,
        kernels: vec![kernel],
        scratch: look_back::scratch(KEPT.of),
        zeroed,
    })
}

impl Frame<'_> {
    /// The last tile knows how many rows all keep.
    fn report_by_last_tile(&mut self, thread: R32, tile: R32, counted: Counted) {
        let tiles = self.special("%nctaid.x");
        let last = self.asm.r32("sub.s32", (tiles, 1u32));
        let is_last = self.asm.pred("setp.eq.u32", (tile, last));
        let kept = self.asm.r32("add.s32", (counted.base, counted.total));
        let kept = self.extend(kept);
        status::report_known(self, thread, is_last, kept);
    }

    /// Chooses how large tiles are and what stays of them in shared memory.
    fn make_room(&mut self, predicate: &Predicate, groups: &[Group]) -> Extent {
        let outputs = self.needed_by_outputs(0..self.program.outputs.len(), false);
        let kept = self.worth_keeping(predicate.needed(), &outputs);
        let bitmaps = groups.iter().map(|group| group.bitmaps).max();
        let extent = Extent::of(&kept, bitmaps.unwrap_or(0));
        self.keep_columns(&kept, extent.rows());
        extent
    }
}

/// Evaluates the predicate on the tile and leaves its bits in shared memory.
fn find_kept(
    frame: &mut Frame<'_>,
    predicate: &Predicate,
    thread: R32,
    start: R64,
    keeps: R32,
    extent: Extent,
) {
    let groups = predicate.groups();
    let within = frame.asm.r32("shl.b32", (thread, SLOTS.trailing_zeros()));
    let within = frame.extend(within);
    let strip_start = frame.asm.r64("mov.b64", start);
    let first = frame.asm.r64("add.s64", (start, within));
    let place = frame.asm.r32("add.s32", (keeps, thread));
    let left = frame.asm.r32("mov.b32", extent.strips / groups);
    let next = frame.asm.label("strip");
    frame.asm.place(next);
    let bits = predicate.bits(frame, strip_start, first);
    for (group, byte) in (0..).zip(predicate.bytes(frame, bits)) {
        let at = Shared(place, group * THREADS);
        frame.asm.run("st.shared.u8", (at, byte));
    }
    predicate.store_mask(frame, first, bits);
    frame.advance(strip_start, u64::from(groups * STRIP));
    frame.advance(first, u64::from(groups * STRIP));
    frame.asm.set(place, "add.s32", (place, groups * THREADS));
    frame.asm.set(left, "sub.s32", (left, 1u32));
    let more = frame.asm.pred("setp.ne.u32", (left, 0u32));
    frame.asm.when(more).jump(next);
}
