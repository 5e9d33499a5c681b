//! Predicate to bit mask: a byte of bits per thread, stored without a word between threads.

use unlade_program::{Program, Val};

use crate::frame::{Frame, SLOTS, STRIP, header};
use crate::module::{LowerError, Module, Param};
use crate::predicate::Predicate;
use crate::status;

/// Strips of a block: enough that the counts of blocks, which meet at one address, do not queue.
const STRIPS: u32 = 4;

/// Lowers a program that keeps rows and writes no columns.
pub(crate) fn lower(program: &Program, keep: Val) -> Result<Module, LowerError> {
    let mut frame = Frame::new(program);
    let rows = frame.param64(Param::Rows, 0);
    let thread = frame.special("%tid.x");
    let block = frame.special("%ctaid.x");
    let start = frame.asm.r64("mul.wide.u32", (block, STRIPS * STRIP));
    let within = frame.asm.r32("shl.b32", (thread, SLOTS.trailing_zeros()));
    let within = frame.extend(within);
    let first = frame.asm.r64("add.s64", (start, within));
    let predicate = Predicate::begin(&mut frame, keep, rows);
    let step = predicate.groups() * STRIP;
    let count = frame.asm.r32("mov.b32", 0u32);
    let left = frame.asm.r32("mov.b32", STRIPS / predicate.groups());

    let (next, done) = (frame.asm.label("strip"), frame.asm.label("done"));
    frame.asm.place(next);
    let over = frame.asm.pred("setp.ge.u64", (start, rows));
    frame.asm.when(over).jump(done);
    let bits = predicate.bits(&mut frame, start, first);
    predicate.store_mask(&mut frame, first, bits);
    let kept = frame.asm.r32("popc.b32", bits);
    frame.asm.set(count, "add.s32", (count, kept));
    frame.advance(start, u64::from(step));
    frame.advance(first, u64::from(step));
    frame.asm.set(left, "sub.s32", (left, 1u32));
    let more = frame.asm.pred("setp.ne.u32", (left, 0u32));
    frame.asm.when(more).jump(next);
    frame.asm.place(done);

    status::report(&mut frame, thread, count);
    frame.asm.run_plain("ret");
    let mut text = header(program);
    let kernel = frame.finish("unlade_mask", STRIPS * STRIP, &mut text)?;
    Ok(Module {
        text,
        kernels: vec![kernel],
        scratch: status::SCRATCH,
        zeroed: Vec::new(),
    })
}
