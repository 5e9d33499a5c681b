//! Capability cells: what a device can do, cell by cell.
//!
//! A cell is one operation on one choice of types under one rule. A device advertises a
//! [`CellSet`]; it may list a cell only where its result equals the CPU evaluator's bit for bit.
//! Conformance suites go through [`cells`], so that nothing advertised is left untested.
//!
//! ```
//! use unlade_program::{Cell, CellSet, Op, Ty, cells};
//!
//! let wide_division = |cell: &Cell| cell.op == Op::Div && cell.operand == Ty::I128;
//! let device = CellSet::full().without(wide_division);
//! assert_eq!(cells().filter(|cell| !device.contains(*cell)).count(), 1);
//! ```

use std::fmt;
use std::sync::LazyLock;

use crate::{FloatOrder, Inst, OPS, Op, Program, Rounding, Ty, Val};

/// One operation on one choice of types under one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// The operation.
    pub op: Op,
    /// The type that [`crate::OpRow::operands`] speaks of.
    pub operand: Ty,
    /// The type of the result. Of [`Op::CastFails`], whose result is always a mask, the type asked
    /// about; of a trap, which has no result, a mask.
    pub result: Ty,
    /// The rule, 0 where there is no choice. Comparison of floats: 0 IEEE, 1 total, 2 Spark.
    /// [`Op::Rescale`]: 0 adds digits, 1 drops them rounding half away from zero, 2 truncating,
    /// 3 toward negative infinity.
    pub variant: u8,
}

impl Cell {
    /// The cell of an instruction of a verified program; `types` is what [`Program::types`]
    /// returned for it.
    ///
    /// # Panics
    /// Where the program is malformed.
    pub fn of(program: &Program, types: &[Option<Ty>], inst: &Inst) -> Cell {
        let op = Op::of(inst);
        let typed = |val: Val| types[val.index()].expect("a trap has no value to be used");
        let (operand, result) = match *inst {
            Inst::Load { column } => same(program.columns[column as usize].ty),
            Inst::Param { index } => same(program.params[index as usize]),
            Inst::Const { value } => same(value.ty()),
            Inst::Validity { .. } => same(Ty::Mask),
            Inst::Unary { arg, .. } | Inst::Rescale { arg, .. } => same(typed(arg)),
            Inst::Binary { lhs, .. } => same(typed(lhs)),
            Inst::Select { then, .. } => same(typed(then)),
            Inst::Cast { arg, to, .. } | Inst::CastFails { arg, to } => (typed(arg), to),
            Inst::Digits { arg, .. } => (typed(arg), Ty::I128),
            Inst::Lookup { table, index } => (typed(index), program.tables[table as usize]),
            Inst::Overflow { lhs, .. } | Inst::Compare { lhs, .. } | Inst::Mask { lhs, .. } => {
                (typed(lhs), Ty::Mask)
            }
            Inst::Range { arg, .. }
            | Inst::RescaleFails { arg, .. }
            | Inst::Not { arg }
            | Inst::InBounds { index: arg, .. }
            | Inst::InSet { arg, .. }
            | Inst::Trap { when: arg, .. } => (typed(arg), Ty::Mask),
        };
        let variant = match *inst {
            Inst::Compare { order, .. } => match order {
                FloatOrder::Ieee => 0,
                FloatOrder::Total => 1,
                FloatOrder::Spark => 2,
            },
            Inst::Rescale { by, rounding, .. } if by < 0 => match rounding {
                Rounding::HalfAwayFromZero => 1,
                Rounding::Truncate => 2,
                Rounding::Floor => 3,
            },
            _ => 0,
        };
        Cell {
            op,
            operand,
            result,
            variant,
        }
    }

    /// Whether such an instruction may exist.
    pub fn is_legal(self) -> bool {
        self.position().is_some()
    }

    fn position(self) -> Option<usize> {
        ALL.binary_search(&self).ok()
    }
}

const fn same(ty: Ty) -> (Ty, Ty) {
    (ty, ty)
}

impl fmt::Display for Cell {
    /// As `cast.wrap i32 -> i64` or `cmp.gt.total f64 -> mask`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = match (self.op, self.variant) {
            (Op::Rescale, 0) => ".up",
            (Op::Rescale, 1) => ".half_away",
            (Op::Rescale, 2) => ".truncate",
            (Op::Rescale, _) => ".floor",
            (_, 1) => ".total",
            (_, 2) => ".spark",
            _ => "",
        };
        write!(f, "{}{rule} {} -> {}", self.op, self.operand, self.result)
    }
}

/// Every legal cell, ascending.
pub fn cells() -> impl ExactSizeIterator<Item = Cell> {
    ALL.iter().copied()
}

/// The types that an operation on `operand` may result in, as [`Cell::result`] counts them.
pub(crate) fn results(op: Op, operand: Ty) -> impl Iterator<Item = Ty> {
    Ty::ALL.into_iter().filter(move |&result| match op {
        Op::Load
        | Op::Validity
        | Op::Param
        | Op::Const
        | Op::Neg
        | Op::Abs
        | Op::Round
        | Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Div
        | Op::Rem
        | Op::FloorDiv
        | Op::Rescale
        | Op::Select => result == operand,
        Op::CastWrap => {
            result != operand && result != Ty::Mask && !(operand.is_float() && result.is_integer())
        }
        Op::CastSaturate => result.is_integer(),
        Op::CastFails => result.is_integer() && result != operand,
        Op::Digits => result == Ty::I128,
        Op::Lookup => true,
        Op::OverflowAdd
        | Op::OverflowSub
        | Op::OverflowMul
        | Op::OverflowDiv
        | Op::CompareEq
        | Op::CompareNe
        | Op::CompareLt
        | Op::CompareLe
        | Op::CompareGt
        | Op::CompareGe
        | Op::Range
        | Op::RescaleFails
        | Op::And
        | Op::Or
        | Op::AndNot
        | Op::Xor
        | Op::Not
        | Op::InBounds
        | Op::InSet
        | Op::Trap => result == Ty::Mask,
    })
}

/// How many rules an operation on `operand` chooses from.
fn variants(op: Op, operand: Ty) -> u8 {
    match op {
        Op::CompareEq
        | Op::CompareNe
        | Op::CompareLt
        | Op::CompareLe
        | Op::CompareGt
        | Op::CompareGe
            if operand.is_float() =>
        {
            3
        }
        Op::Rescale => 4,
        _ => 1,
    }
}

static ALL: LazyLock<Vec<Cell>> = LazyLock::new(|| {
    let mut all = Vec::with_capacity(64 * WORDS);
    for row in &OPS {
        for &operand in row.operands {
            for result in results(row.op, operand) {
                for variant in 0..variants(row.op, operand) {
                    all.push(Cell {
                        op: row.op,
                        operand,
                        result,
                        variant,
                    });
                }
            }
        }
    }
    assert!(all.len() <= 64 * WORDS, "a cell set has a bit per cell");
    assert!(all.is_sorted(), "positions are found by binary search");
    all
});

/// Words of a cell set: enough for every legal cell.
const WORDS: usize = 11;

/// A set of cells, a bit each.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct CellSet {
    words: [u64; WORDS],
}

impl CellSet {
    /// No cell at all.
    pub fn empty() -> Self {
        CellSet::default()
    }

    /// Every legal cell: what the CPU evaluator advertises.
    pub fn full() -> Self {
        cells().collect()
    }

    /// Adds a cell.
    ///
    /// # Panics
    /// Where the cell is not legal: no program can need it, so to advertise it is a slip.
    pub fn insert(&mut self, cell: Cell) {
        match cell.position() {
            Some(position) => self.words[position / 64] |= 1 << (position % 64),
            None => panic!("no instruction has the cell `{cell}`"),
        }
    }

    /// Whether the cell is a member.
    pub fn contains(&self, cell: Cell) -> bool {
        cell.position()
            .is_some_and(|position| self.words[position / 64] >> (position % 64) & 1 == 1)
    }

    /// The set less the cells that `lacks` is true of.
    #[must_use]
    pub fn without(&self, lacks: impl Fn(&Cell) -> bool) -> Self {
        self.iter().filter(|cell| !lacks(cell)).collect()
    }

    /// The members, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Cell> {
        cells().filter(|&cell| self.contains(cell))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<Cell> for CellSet {
    fn from_iter<I: IntoIterator<Item = Cell>>(cells: I) -> Self {
        let mut set = CellSet::empty();
        for cell in cells {
            set.insert(cell);
        }
        set
    }
}

impl fmt::Debug for CellSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(|cell| cell.to_string()))
            .finish()
    }
}

/// The instructions of a verified program whose cells `supported` lacks.
///
/// # Panics
/// Where the program is malformed.
pub fn unsupported(program: &Program, supported: &CellSet) -> Vec<Val> {
    let types = program.types();
    (0u32..)
        .zip(&program.insts)
        .filter(|(_, inst)| !supported.contains(Cell::of(program, &types, inst)))
        .map(|(index, _)| Val(index))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CastRule, Column};

    #[test]
    fn a_set_holds_exactly_what_was_put_in() {
        let full = CellSet::full();
        assert_eq!(full.len(), cells().len());
        let integers = full.without(|cell| cell.operand.is_float() || cell.result.is_float());
        assert!(integers.len() < full.len());
        for cell in cells() {
            let touches_floats = cell.operand.is_float() || cell.result.is_float();
            assert_eq!(integers.contains(cell), !touches_floats, "{cell}");
        }
        assert!(CellSet::empty().is_empty());
    }

    #[test]
    fn cells_that_cannot_exist_are_illegal() {
        let cell = |op, operand, result, variant| Cell {
            op,
            operand,
            result,
            variant,
        };
        assert!(cell(Op::CastWrap, Ty::I32, Ty::F64, 0).is_legal());
        assert!(!cell(Op::CastWrap, Ty::F64, Ty::I32, 0).is_legal());
        assert!(!cell(Op::CastWrap, Ty::I32, Ty::I32, 0).is_legal());
        assert!(cell(Op::CompareLt, Ty::F32, Ty::Mask, 2).is_legal());
        assert!(!cell(Op::CompareLt, Ty::I32, Ty::Mask, 1).is_legal());
        assert!(!cell(Op::CompareLt, Ty::Mask, Ty::Mask, 0).is_legal());
        assert!(!cell(Op::Lookup, Ty::I128, Ty::I32, 0).is_legal());
    }

    #[test]
    fn what_a_device_lacks_is_named() {
        let program = Program {
            columns: vec![Column {
                ty: Ty::I32,
                nullable: false,
            }],
            insts: vec![
                Inst::Load { column: 0 },
                Inst::Cast {
                    rule: CastRule::Wrap,
                    arg: Val(0),
                    to: Ty::I128,
                },
            ],
            ..Program::default()
        };
        let no_wide = CellSet::full().without(|cell| cell.result == Ty::I128);
        assert_eq!(unsupported(&program, &no_wide), [Val(1)]);
        assert_eq!(unsupported(&program, &CellSet::full()), []);
    }
}
