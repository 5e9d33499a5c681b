//! Where values are read.

use unlade_program::{Program, Val};

use super::order::Step;

/// Of each value, the steps that are yet to read it.
pub(super) struct Uses {
    /// Their positions, the next one last.
    left: Vec<Vec<usize>>,
}

impl Uses {
    /// The uses in these steps of a program.
    pub(super) fn of(program: &Program, steps: &[Step]) -> Self {
        let mut left = vec![Vec::new(); program.insts.len()];
        for (position, step) in steps.iter().enumerate().rev() {
            for operand in step.operands(program).into_iter().flatten() {
                left[operand.index()].push(position);
            }
        }
        Uses { left }
    }

    /// The next step that reads a value; `None` where none does any more.
    pub(super) fn next(&self, val: Val) -> Option<usize> {
        self.left[val.index()].last().copied()
    }

    /// One read of a value is done.
    pub(super) fn pass(&mut self, val: Val) {
        self.left[val.index()].pop();
    }
}
