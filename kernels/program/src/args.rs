//! The order in which an execution is handed its arguments.
//!
//! Every device takes the arguments of a dispatch as one flat list:
//!
//! | position | what | form |
//! |---|---|---|
//! | two per column | values, then validity | span; validity may be absent |
//! | one per parameter | value | scalar |
//! | one per table | entries | span; the number of entries follows from its length and type |
//! | one per set | ascending entries | span, likewise |
//! | one, if `emit_mask` | keep mask | span written, `ceil(rows / 8)` bytes |
//! | two per output | values, then validity | spans written; validity absent where the output has none |
//!
//! A table of type mask is an exception to "follows from its length": its bits are padded to whole
//! bytes, and an index into the padding is outside the table only if it is so by the length in
//! bytes times eight. Lowering therefore pairs mask tables with an [`InBounds`] on a table that is
//! not a mask.
//!
//! [`InBounds`]: crate::Inst::InBounds

use crate::Program;

/// Positions of a program's arguments.
///
/// ```
/// use unlade_program::{Program, args::Layout};
///
/// let program: Program = "
///     columns c0: i32?, c1: f64
///     params p0: i32
///     %0 = load c0
///     %1 = param p0
///     %2 = cmp.gt %0, %1
///     keep %2
///     emit mask
///     output %0
/// "
/// .parse()?;
/// let layout = Layout::of(&program);
/// assert_eq!((layout.column(0), layout.column(1)), (0, 2));
/// assert_eq!(layout.param(0), 4);
/// assert_eq!(layout.mask(), Some(5));
/// assert_eq!(layout.output(0), 6);
/// assert_eq!(layout.count(), 8);
/// # Ok::<(), unlade_program::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    columns: usize,
    params: usize,
    tables: usize,
    sets: usize,
    mask: usize,
    outputs: usize,
}

impl Layout {
    /// The layout of a program's arguments.
    pub fn of(program: &Program) -> Self {
        Layout {
            columns: program.columns.len(),
            params: program.params.len(),
            tables: program.tables.len(),
            sets: program.sets.len(),
            mask: usize::from(program.emit_mask),
            outputs: program.outputs.len(),
        }
    }

    /// Where the values of a column are; its validity is next to it.
    pub fn column(&self, column: usize) -> usize {
        debug_assert!(column < self.columns);
        2 * column
    }

    /// Where a parameter is.
    pub fn param(&self, index: usize) -> usize {
        2 * self.columns + index
    }

    /// Where a table is.
    pub fn table(&self, table: usize) -> usize {
        self.param(self.params) + table
    }

    /// Where a set is.
    pub fn set(&self, set: usize) -> usize {
        self.table(self.tables) + set
    }

    /// Where the keep mask is, if the program emits one.
    pub fn mask(&self) -> Option<usize> {
        (self.mask == 1).then_some(self.set(self.sets))
    }

    /// Where the values of an output are; its validity is next to it.
    pub fn output(&self, output: usize) -> usize {
        self.set(self.sets) + self.mask + 2 * output
    }

    /// How many arguments there are.
    pub fn count(&self) -> usize {
        self.output(self.outputs)
    }
}
