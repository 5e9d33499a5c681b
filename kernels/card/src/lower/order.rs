//! What is computed when.

use unlade_program::{Inst, Output, Program, Ty, Val};

use super::readers::Readers;
use super::typed;
use crate::bytecode::Kind;

/// One thing that a card is told to do. Columns, validities, parameters and constants are no steps:
/// they are read where a step needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// An instruction, a trap included.
    Compute(Val),
    /// The choice of rows.
    Keep(Val),
    /// The mask of the rows chosen is written.
    EmitMask,
    /// An output is written.
    Store { index: u16, output: Output },
}

impl Step {
    /// The values that it reads, in the order of a word's sources.
    pub(super) fn operands(self, program: &Program) -> [Option<Val>; 3] {
        let mut operands = [None; 3];
        match self {
            Step::Compute(val) => {
                let mut next = operands.iter_mut();
                program.insts[val.index()].for_each_operand(|operand| {
                    *next.next().expect("no instruction has more than three") = Some(operand);
                });
            }
            Step::Keep(val) => operands[0] = Some(val),
            Step::EmitMask => {}
            Step::Store { output, .. } => operands = [Some(output.value), output.valid, None],
        }
        operands
    }

    /// The same, each once.
    pub(super) fn reads(self, program: &Program) -> Vec<Val> {
        let mut reads: Vec<Val> = self.operands(program).into_iter().flatten().collect();
        reads.sort_unstable();
        reads.dedup();
        reads
    }
}

/// The steps of a verified program, whose types these are.
///
/// Traps, the filter and the outputs come in the order in which the program has what they read, but
/// outputs wait for the filter. What each of them needs is computed just before it, of several
/// operands first the one that needs the most registers (R. Sethi and J. D. Ullman, "The generation
/// of optimal code for arithmetic expressions", 1970, with what is shared computed once).
///
/// Two things come at once, whoever needs them: the filter and outputs when what they read is there,
/// and an instruction that can take the register of an operand.
pub(super) fn order(program: &Program, types: &[Option<Ty>]) -> Vec<Step> {
    let roots = roots(program);
    let mut order = Order {
        program,
        types,
        widths: widths(program),
        readers: Readers::of(program, &roots),
        computed: vec![false; program.insts.len()],
        kept: program.keep.is_none(),
        stored: vec![false; program.outputs.len()],
        steps: Vec::with_capacity(program.insts.len()),
    };
    for root in roots {
        order.reach(root);
    }
    order.steps
}

/// Whether a value is read from an input and so can be read again.
pub(super) fn is_source(program: &Program, val: Val) -> bool {
    matches!(
        program.insts[val.index()],
        Inst::Load { .. } | Inst::Validity { .. } | Inst::Param { .. } | Inst::Const { .. }
    )
}

/// What a program is for, in order: traps, filter and outputs.
fn roots(program: &Program) -> Vec<Step> {
    let mut roots: Vec<(Val, Step)> = Vec::new();
    if let Some(keep) = program.keep {
        roots.push((keep, Step::Keep(keep)));
        if program.emit_mask {
            roots.push((keep, Step::EmitMask));
        }
    }
    for (index, inst) in (0u32..).zip(&program.insts) {
        if matches!(inst, Inst::Trap { .. }) {
            roots.push((Val(index), Step::Compute(Val(index))));
        }
    }
    for (index, &output) in (0u16..).zip(&program.outputs) {
        let ready = [Some(output.value), output.valid, program.keep]
            .into_iter()
            .flatten()
            .max();
        let ready = ready.unwrap_or(output.value);
        roots.push((ready, Step::Store { index, output }));
    }
    // Equal ones stay as they are: the filter is before the outputs that waited for it.
    roots.sort_by_key(|&(ready, _)| ready);
    roots.into_iter().map(|(_, root)| root).collect()
}

/// Of each value, how many registers its computation takes, were nothing shared.
fn widths(program: &Program) -> Vec<u32> {
    let mut widths: Vec<u32> = Vec::with_capacity(program.insts.len());
    for inst in &program.insts {
        let mut operands = Vec::with_capacity(3);
        inst.for_each_operand(|operand| operands.push(widths[operand.index()]));
        operands.sort_unstable_by(|left, right| right.cmp(left));
        // While one operand is computed, those before it are held.
        let held = (0..).zip(operands).map(|(held, width)| held + width);
        widths.push(held.max().unwrap_or(1));
    }
    widths
}

/// The operands, the widest first, equally wide ones in the program's order.
fn by_width(widths: &[u32], operands: [Option<Val>; 3]) -> Vec<Val> {
    let mut operands: Vec<Val> = operands.into_iter().flatten().collect();
    operands.sort_by_key(|&operand| (std::cmp::Reverse(widths[operand.index()]), operand));
    operands
}

struct Order<'a> {
    program: &'a Program,
    types: &'a [Option<Ty>],
    widths: Vec<u32>,
    readers: Readers,
    /// Of each instruction, whether it is among the steps.
    computed: Vec<bool>,
    /// Whether rows are chosen, so that outputs may be written.
    kept: bool,
    /// Of each output, whether it is written.
    stored: Vec<bool>,
    steps: Vec<Step>,
}

impl Order<'_> {
    /// Adds a step, and before it what it needs and is not there. Programs may be as deep as they
    /// are long, so this does not recurse.
    fn reach(&mut self, step: Step) {
        let mut pending = vec![step];
        while let Some(&step) = pending.last() {
            let next = by_width(&self.widths, step.operands(self.program))
                .into_iter()
                .find(|&operand| !self.is_there(operand));
            if let Some(operand) = next {
                pending.push(Step::Compute(operand));
                continue;
            }
            pending.pop();
            if !self.is_done(step) {
                self.add(step);
            }
        }
    }

    /// Adds a step whose operands are there, and what comes at once now that it is done.
    fn add(&mut self, step: Step) {
        let mut touched = self.put(step);
        while let Some(val) = touched.pop() {
            for index in 0..self.readers.steps(val).len() {
                let reader = self.readers.steps(val)[index];
                if self.comes_at_once(reader) {
                    touched.extend(self.put(reader));
                }
            }
        }
    }

    /// Adds a step; the values whose readers may now come at once.
    fn put(&mut self, step: Step) -> Vec<Val> {
        self.steps.push(step);
        let mut touched = Vec::new();
        match step {
            Step::Compute(val) => {
                self.computed[val.index()] = true;
                touched.push(val);
            }
            Step::Keep(_) => {
                self.kept = true;
                touched.extend(self.program.outputs.iter().map(|output| output.value));
                touched.sort_unstable();
                touched.dedup();
            }
            Step::EmitMask => {}
            Step::Store { index, .. } => self.stored[usize::from(index)] = true,
        }
        for operand in step.reads(self.program) {
            self.readers.pass(operand);
            if self.readers.one_left(operand) {
                touched.push(operand);
            }
        }
        touched
    }

    fn comes_at_once(&self, step: Step) -> bool {
        let operands = step.reads(self.program);
        let may = match step {
            Step::Compute(val) => self.replaces_one(val, &operands),
            Step::Keep(_) => true,
            Step::EmitMask => false,
            Step::Store { .. } => self.kept,
        };
        may && !self.is_done(step) && operands.iter().all(|&operand| self.is_there(operand))
    }

    /// Whether an instruction can be computed in place of an operand that nothing else will read,
    /// so that it takes no register more.
    fn replaces_one(&self, val: Val, operands: &[Val]) -> bool {
        let kind = self.types[val.index()].map(Kind::of);
        operands.iter().any(|&operand| {
            !is_source(self.program, operand)
                && self.readers.one_left(operand)
                && kind.is_none_or(|kind| kind == Kind::of(typed(self.types, operand)))
        })
    }

    /// Whether a value is computed, or need not be.
    fn is_there(&self, val: Val) -> bool {
        self.computed[val.index()] || is_source(self.program, val)
    }

    fn is_done(&self, step: Step) -> bool {
        match step {
            Step::Compute(val) => self.is_there(val),
            Step::Keep(_) => self.kept,
            Step::EmitMask => false,
            Step::Store { index, .. } => self.stored[usize::from(index)],
        }
    }
}
