//! A copy of as much as a count says that is in the GPU's memory.
//!
//! The driver's own copies take their length from the host. A grid for the longest that it may be
//! reads the count, and blocks beyond it have nothing to do.

use unlade_program::Program;

use crate::asm::{Global, Pred, R32, R64};
use crate::frame::{Frame, THREADS, version};
use crate::module::{Module, Param};

/// What [`copy_counted`] is handed, by the position that [`Param`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum CopyArg {
    /// Memory that is read; its length is the most that is copied.
    From = 0,
    /// Memory that is written, as long.
    To = 1,
    /// The count of units, a `u64` at any byte.
    Count = 2,
    /// A scalar of 4 bytes: bits of a unit.
    UnitBits = 3,
}

/// Bytes that a thread loads at once.
const VECTOR: u32 = 16;
/// Such loads of a thread that are under way together.
const VECTORS: u32 = 4;
/// Bytes of a block.
const CHUNK: u32 = THREADS * VECTOR * VECTORS;

/// The kernel that copies as many units as a count in memory says, whole bytes of them, and no more
/// than there is room for: `min(ceil(count * unit_bits / 8), length)` bytes.
///
/// Its rows, of which [`Kernel::grid`](crate::Kernel::grid) makes blocks, are bytes, as many as may
/// be copied. Both ends may begin anywhere; where both begin at a multiple of 16, they are copied 16
/// bytes at a time. There is neither status nor scratch.
///
/// ```
/// use unlade_ptx::{CopyArg, Param, copy_counted};
///
/// let module = copy_counted();
/// let kernel = &module.kernels[0];
/// assert_eq!(kernel.grid(1 << 20), 64);
/// let count = Param::Address { arg: CopyArg::Count as usize };
/// assert!(kernel.params.contains(&count));
/// ```
pub fn copy_counted() -> Module {
    let program = Program::default();
    let mut frame = Frame::new(&program);
    let len = length(&mut frame);
    let block = frame.special("%ctaid.x");
    let thread = frame.special("%tid.x");
    let done = frame.asm.label("done");
    let start = frame.asm.r64("mul.wide.u32", (block, CHUNK));
    let beyond = frame.asm.pred("setp.ge.u64", (start, len));
    frame.asm.when(beyond).jump(done);
    let end = frame.asm.r64("add.u64", (start, u64::from(CHUNK)));
    let end = frame.asm.r64("min.u64", (end, len));
    let from = frame.address(CopyArg::From as usize);
    let to = frame.address(CopyArg::To as usize);
    let both = frame.asm.r64("or.b64", (from, to));
    let low = frame.asm.r64("and.b64", (both, u64::from(VECTOR - 1)));
    let aligned = frame.asm.pred("setp.eq.u64", (low, 0u64));
    // Bytes one by one begin where vectors end.
    let rest = frame.asm.r64("mov.b64", start);
    let bytes = frame.asm.label("bytes");
    frame.asm.unless(aligned).jump(bytes);
    copy_vectors(&mut frame, thread, [from, to], start, end);
    let whole = u64::from(VECTOR - 1);
    frame.asm.set(rest, "and.b64", (end, !whole));

    frame.asm.place(bytes);
    let own = frame.extend(thread);
    let at = frame.asm.r64("add.u64", (rest, own));
    let next = frame.asm.label("byte");
    frame.asm.place(next);
    let over = frame.asm.pred("setp.ge.u64", (at, end));
    frame.asm.when(over).jump(done);
    let source = frame.asm.r64("add.s64", (from, at));
    let target = frame.asm.r64("add.s64", (to, at));
    let byte = frame.asm.r32("ld.global.u8", Global(source, 0));
    frame.asm.run("st.global.u8", (Global(target, 0), byte));
    frame.advance(at, u64::from(THREADS));
    frame.asm.jump(next);
    frame.asm.place(done);
    frame.asm.run_plain("ret");

    let mut text = version();
    let kernel = match frame.finish("unlade_copy_counted", CHUNK, &mut text) {
        Ok(kernel) => kernel,
        Err(error) => unreachable!("a handful of parameters: {error}"),
    };
    Module {
        text,
        kernels: vec![kernel],
        scratch: Default::default(),
        zeroed: Vec::new(),
    }
}

/// How many bytes are copied. A product of more than 64 bits is beyond any length.
fn length(frame: &mut Frame<'_>) -> R64 {
    let most = frame.param64(
        Param::Length {
            arg: CopyArg::From as usize,
        },
        0,
    );
    let unit = frame.param32(Param::Scalar {
        arg: CopyArg::UnitBits as usize,
        bytes: 4,
    });
    let unit = frame.extend(unit);
    let count = count(frame);
    let low = frame.asm.r64("mul.lo.u64", (count, unit));
    let high = frame.asm.r64("mul.hi.u64", (count, unit));
    let low = frame.asm.r64("add.cc.u64", (low, 7));
    let high = frame.asm.r64("addc.u64", (high, 0));
    let bytes = frame.asm.r64("shr.u64", (low, 3u32));
    let carried = frame.asm.r64("shl.b64", (high, 61u32));
    let bytes = frame.asm.r64("or.b64", (bytes, carried));
    let beyond = frame.asm.r64("shr.u64", (high, 3u32));
    let beyond = frame.asm.pred("setp.ne.u64", (beyond, 0));
    let bytes = frame.asm.r64("selp.b64", (most, bytes, beyond));
    frame.asm.r64("min.u64", (bytes, most))
}

/// The count, byte by byte where it does not begin at a multiple of its width.
fn count(frame: &mut Frame<'_>) -> R64 {
    let at = frame.address(CopyArg::Count as usize);
    let low = frame.asm.r64("and.b64", (at, 7u64));
    let aligned = frame.asm.pred("setp.eq.u64", (low, 0u64));
    let count = frame.asm.r64("mov.b64", 0u64);
    let read = frame.asm.label("count_read");
    frame
        .asm
        .when(aligned)
        .set(count, "ld.global.b64", Global(at, 0));
    frame.asm.when(aligned).jump(read);
    for byte in 0..8 {
        let value = frame.asm.r32("ld.global.u8", Global(at, byte));
        let value = frame.extend(value);
        let value = frame.asm.r64("shl.b64", (value, 8 * byte as u32));
        frame.asm.set(count, "or.b64", (count, value));
    }
    frame.asm.place(read);
    count
}

/// The whole vectors of a block, all of a thread's loads before its stores.
fn copy_vectors(frame: &mut Frame<'_>, thread: R32, ends: [R64; 2], start: R64, end: R64) {
    let own = frame.asm.r64("mul.wide.u32", (thread, VECTOR));
    let first = frame.asm.r64("add.u64", (start, own));
    let [source, target] = ends.map(|end| frame.asm.r64("add.s64", (end, first)));
    let step = u64::from(THREADS * VECTOR);
    let vectors: Vec<(Pred, [R64; 2], u64)> = (0..u64::from(VECTORS))
        .map(|vector| {
            let behind = vector * step;
            let after = behind + u64::from(VECTOR);
            let after = frame.asm.r64("add.u64", (first, after));
            let whole = frame.asm.pred("setp.le.u64", (after, end));
            let longs = [frame.asm.new64(), frame.asm.new64()];
            frame
                .asm
                .when(whole)
                .set(longs, "ld.global.v2.b64", Global(source, behind));
            (whole, longs, behind)
        })
        .collect();
    for (whole, longs, behind) in vectors {
        frame
            .asm
            .when(whole)
            .run("st.global.v2.b64", (Global(target, behind), longs));
    }
}
