//! Projected columns, dense: a value for every row, validity as a word per warp.

use unlade_program::{Program, Ty, Val};

use crate::asm::{Global, Pred, R32, R64};
use crate::evaluate::{Needed, Values};
use crate::frame::{ALL_LANES, Frame, LANES, SLOTS, STRIP, header};
use crate::module::{LowerError, Module, Param};
use crate::rows::Rows;
use crate::status;
use crate::value::Value;

/// Strips of a block.
const STRIPS: u32 = 4;

/// Lowers a program without a predicate.
pub(crate) fn lower(program: &Program) -> Result<Module, LowerError> {
    let mut frame = Frame::new(program);
    let rows = frame.param64(Param::Rows, 0);
    let thread = frame.special("%tid.x");
    let block = frame.special("%ctaid.x");
    let block_start = frame.asm.r64("mul.wide.u32", (block, STRIPS * STRIP));
    let start = frame.asm.r64("mov.b64", block_start);
    let lane = frame.asm.r32("and.b32", (thread, LANES - 1));
    let within = frame.row_in_strip(thread, lane);
    let first = frame.asm.r64("add.s64", (start, within));
    let dense = Dense::begin(&mut frame, rows, lane);
    let strip = frame.asm.r32("mov.b32", 0u32);

    let (next, done) = (frame.asm.label("strip"), frame.asm.label("done"));
    frame.asm.place(next);
    let over = frame.asm.pred("setp.ge.u64", (start, rows));
    frame.asm.when(over).jump(done);
    dense.strip(&mut frame, start, first);
    frame.advance(start, u64::from(STRIP));
    frame.advance(first, u64::from(STRIP));
    frame.asm.set(strip, "add.s32", (strip, 1u32));
    let more = frame.asm.pred("setp.lt.u32", (strip, STRIPS));
    frame.asm.when(more).jump(next);
    frame.asm.place(done);

    report(&mut frame, thread, block, block_start, rows);
    frame.asm.run_plain("ret");
    let mut text = header(program);
    let kernel = frame.finish("unlade_columns", STRIPS * STRIP, &mut text)?;
    Ok(Module {
        text,
        kernels: vec![kernel],
        scratch: status::SCRATCH,
        zeroed: Vec::new(),
    })
}

/// All rows are kept; only the traps of all blocks are to be waited for.
fn report(frame: &mut Frame<'_>, thread: R32, block: R32, block_start: R64, rows: R64) {
    if !frame.program.can_trap() {
        let first_block = frame.asm.pred("setp.eq.u32", (block, 0u32));
        status::report_known(frame, thread, first_block, rows);
        return;
    }
    let end = frame
        .asm
        .r64("add.s64", (block_start, u64::from(STRIPS * STRIP)));
    let end = frame.asm.r64("min.u64", (end, rows));
    let total = frame.asm.r64("sub.s64", (end, block_start));
    let total = frame.asm.r32("cvt.u32.u64", total);
    frame.asm.run("bar.sync", 0u32);
    status::report_total(frame, thread, total);
}

/// All outputs of a program that keeps every row.
struct Dense {
    needed: Needed,
    scalars: Values,
    rows: R64,
    first_lane: Pred,
}

impl Dense {
    fn begin(frame: &mut Frame<'_>, rows: R64, lane: R32) -> Self {
        let needed = frame.needed_by_outputs(0..frame.program.outputs.len(), true);
        let scalars = frame.scalars(&needed);
        let first_lane = frame.asm.pred("setp.eq.u32", (lane, 0u32));
        Dense {
            needed,
            scalars,
            rows,
            first_lane,
        }
    }

    /// The strip of the block that begins at `start`; `first` is this thread's first row.
    fn strip(&self, frame: &mut Frame<'_>, start: R64, first: R64) {
        let (single, ready) = (frame.asm.label("single"), frame.asm.label("ready"));
        if self.needed.is_light(frame.program) {
            let end = frame.asm.r64("add.s64", (start, u64::from(STRIP)));
            let full = frame.asm.pred("setp.le.u64", (end, self.rows));
            frame.asm.unless(full).jump(single);
            let rows = Rows::striped(first, vec![None; SLOTS as usize]);
            let values = frame.evaluate(&self.needed, &self.scalars, &rows);
            self.store(frame, &values, &rows);
            match frame.any_trap(&self.needed, &values, &rows) {
                // The warp goes through its rows once more, one by one, to tell which it was.
                Some(fired) => {
                    let any = frame.asm.pred("vote.sync.any.pred", (fired, ALL_LANES));
                    frame.asm.unless(any).jump(ready);
                }
                None => frame.asm.jump(ready),
            }
        }
        frame.asm.place(single);
        let row = frame.asm.r64("mov.b64", first);
        let slot = frame.asm.r32("mov.b32", 0u32);
        let next = frame.asm.label("row");
        frame.asm.place(next);
        let exists = frame.asm.pred("setp.lt.u64", (row, self.rows));
        let rows = Rows::striped(row, vec![Some(exists)]);
        let values = frame.evaluate(&self.needed, &self.scalars, &rows);
        self.store(frame, &values, &rows);
        frame.report_traps(&self.needed, &values, row, exists);
        frame.advance(row, u64::from(LANES));
        frame.asm.set(slot, "add.s32", (slot, 1u32));
        let more = frame.asm.pred("setp.lt.u32", (slot, SLOTS));
        frame.asm.when(more).jump(next);
        frame.asm.place(ready);
    }

    fn store(&self, frame: &mut Frame<'_>, values: &Values, rows: &Rows) {
        for index in 0..frame.program.outputs.len() {
            let output = frame.program.outputs[index];
            let arg = frame.layout.output(index);
            frame.asm.comment(format_args!("output {}", output.value));
            let ty = frame.ty(output.value);
            if ty == Ty::Mask {
                self.store_bits(frame, arg, output.value, values, rows);
            } else {
                let base = frame.address(arg);
                let first = frame.element(base, ty, rows.first);
                let step = ty.bytes_for(u64::from(LANES));
                for (slot, guard) in (0u64..).zip(&rows.guards) {
                    let value = values.get(output.value, slot as usize);
                    frame.store_element(ty, Global(first, slot * step), value, *guard);
                }
            }
            if let Some(valid) = output.valid {
                frame.asm.comment(format_args!("valid {valid}"));
                self.store_bits(frame, arg + 1, valid, values, rows);
            }
        }
    }

    /// A word of bits for each warp and slot; its first lane stores them.
    fn store_bits(
        &self,
        frame: &mut Frame<'_>,
        arg: usize,
        value: Val,
        values: &Values,
        rows: &Rows,
    ) {
        let words: Vec<R32> = (0..rows.slots())
            .map(|slot| {
                let set = values.get(value, slot).mask();
                let set = frame.both(Some(set), rows.guards[slot]).unwrap_or(set);
                frame.asm.r32("vote.sync.ballot.b32", (set, ALL_LANES))
            })
            .collect();
        let base = frame.address(arg);
        // Of the first lane the row is a multiple of 32.
        let distance = frame.asm.r64("shr.u64", (rows.first, 3u32));
        let at = frame.asm.r64("add.s64", (base, distance));
        match words.as_slice() {
            [word] => {
                let stores = frame.both(Some(self.first_lane), rows.guards[0]);
                frame
                    .asm
                    .guarded(stores)
                    .run("st.global.b32", (Global(at, 0), *word));
            }
            words => {
                for (vector, words) in (0u64..).zip(words.chunks_exact(4)) {
                    let words = [words[0], words[1], words[2], words[3]];
                    frame
                        .asm
                        .when(self.first_lane)
                        .run("st.global.v4.b32", (Global(at, vector * 16), words));
                }
            }
        }
    }
}

impl Frame<'_> {
    /// What these outputs are made from.
    pub(crate) fn needed_by_outputs(&self, outputs: std::ops::Range<usize>, traps: bool) -> Needed {
        let roots = self.program.outputs[outputs]
            .iter()
            .flat_map(|output| [Some(output.value), output.valid])
            .flatten();
        Needed::by(&self.program.insts, roots, traps)
    }

    /// The place in a strip of a thread's first row, where a warp has rows beside each other and
    /// a lane every thirty-second of them.
    pub(crate) fn row_in_strip(&mut self, thread: R32, lane: R32) -> R64 {
        let warp = self.asm.r32("sub.s32", (thread, lane));
        let rows = self.asm.r32("shl.b32", (warp, SLOTS.trailing_zeros()));
        let row = self.asm.r32("add.s32", (rows, lane));
        self.extend(row)
    }

    /// Stores a value of a type that is no mask.
    pub(crate) fn store_element(&mut self, ty: Ty, at: Global, value: Value, guard: Option<Pred>) {
        let asm = self.asm.guarded(guard);
        match value {
            Value::Word(word) => {
                let name = match ty.bits() {
                    8 => "st.global.u8",
                    16 => "st.global.u16",
                    _ => "st.global.b32",
                };
                asm.run(name, (at, word));
            }
            Value::Long(long) => asm.run("st.global.b64", (at, long)),
            Value::Wide(wide) => asm.run("st.global.v2.b64", (at, [wide.low, wide.high])),
            Value::Mask(_) => unreachable!("bits are stored in words"),
        }
    }
}
