//! Filter and compaction in one pass over the rows: which of its rows a tile keeps, where they go
//! (`look_back`), and then what goes there (`scatter`).

use unlade_program::{Program, Val};

use crate::asm::{R32, R64, Shared};
use crate::frame::{Frame, LANES, SLOTS, STRIP, THREADS, header};
use crate::look_back::{self, Counted};
use crate::module::{LowerError, Module, Param};
use crate::predicate::Predicate;
use crate::scatter::{Tile, groups};
use crate::status;

/// Strips of a tile.
const STRIPS: u32 = 2;
/// Rows of a tile, which is what a block computes.
pub(crate) const TILE: u32 = STRIPS * STRIP;
/// Bytes of a tile's keep mask. Behind it in shared memory lie the rows kept before each word.
pub(crate) const KEEP_BYTES: u32 = TILE / 8;

const _: () = assert!(TILE == look_back::WORDS * LANES);

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
    let start = frame.asm.r64("mul.wide.u32", (number, TILE));
    let keeps = frame.shared("keep", 2 * KEEP_BYTES);
    frame.find_kept(keep, rows, thread, start, keeps);
    let counted = look_back::count(&mut frame, thread, number, keeps, KEEP_BYTES);

    let tile = Tile {
        keeps,
        thread,
        lane: frame.asm.r32("and.b32", (thread, LANES - 1)),
        start,
        counted,
    };
    let mut zeroed = Vec::new();
    for outputs in groups(&frame) {
        tile.scatter(&mut frame, outputs, &mut zeroed);
    }
    if program.can_trap() {
        status::report_total(&mut frame, thread, counted.total);
    } else {
        frame.report_by_last_tile(thread, number, counted);
    }
    frame.asm.run_plain("ret");
    let mut text = header(program);
    let kernel = frame.finish("unlade_compact", TILE, &mut text)?;
    Ok(Module {
        text,
        kernels: vec![kernel],
        scratch: look_back::SCRATCH,
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
    }
}
