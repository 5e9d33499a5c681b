//! Who reads a value, and how many are still to do so.

use unlade_program::{Program, Val};

use super::order::Step;

/// Of each value of a program, what reads it. Instructions that nothing needs do not count.
pub(super) struct Readers {
    /// The steps that do.
    steps: Vec<Vec<Step>>,
    /// How many of them are yet to come.
    left: Vec<usize>,
}

impl Readers {
    /// The readers in a program that is for these steps.
    pub(super) fn of(program: &Program, roots: &[Step]) -> Readers {
        let count = program.insts.len();
        let mut readers = Readers {
            steps: vec![Vec::new(); count],
            left: vec![0; count],
        };
        let mut needed = vec![false; count];
        for &root in roots {
            match root {
                Step::Compute(trap) => needed[trap.index()] = true,
                _ => readers.note(program, root, &mut needed),
            }
        }
        let insts: Vec<Val> = (0u32..).map(Val).take(count).collect();
        for &val in insts.iter().rev() {
            if needed[val.index()] {
                readers.note(program, Step::Compute(val), &mut needed);
            }
        }
        readers
    }

    fn note(&mut self, program: &Program, step: Step, needed: &mut [bool]) {
        for operand in step.reads(program) {
            needed[operand.index()] = true;
            self.left[operand.index()] += 1;
            self.steps[operand.index()].push(step);
        }
    }

    /// The steps that read a value.
    pub(super) fn steps(&self, val: Val) -> &[Step] {
        &self.steps[val.index()]
    }

    /// Whether all but one of the steps that read a value are done.
    pub(super) fn one_left(&self, val: Val) -> bool {
        self.left[val.index()] == 1
    }

    /// One step that reads a value is done.
    pub(super) fn pass(&mut self, val: Val) {
        self.left[val.index()] -= 1;
    }
}
