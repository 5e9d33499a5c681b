//! Builds a program instruction by instruction, folding and sharing on the way.
//!
//! A value is either the result of an instruction or a *scalar*: a literal of the query, or a
//! constant that lowering itself needs. Scalars cost nothing until an instruction that cannot be
//! folded uses one: a literal then becomes a parameter, a constant a [`Inst::Const`]. So literals
//! are folded exactly as devices would compute them, and nothing that folding made useless is left.
//!
//! Instructions are shared by what they compute. Two literals of one value are two parameters, so
//! that the shape of a program does not tell which of its literals are equal; but an operation
//! over a column that is written twice with equal literals is one instruction.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use unlade_program::passes::evaluate;
use unlade_program::{
    Column, CompareOp, FloatOrder, Imm, Inst, MaskOp, Output, Program, TrapCode, Ty, Val, limits,
};

use crate::error::{ExprError, ExprErrorKind};
use crate::lowered::Table;

/// Marks a [`Val`] that names a scalar instead of an instruction.
const SCALAR: u32 = 1 << 31;

/// The mask of all rows.
pub(super) const TRUE: Val = Val(SCALAR);
/// The mask of no row.
pub(super) const FALSE: Val = Val(SCALAR | 1);

/// A program under construction.
#[derive(Debug)]
pub(super) struct Builder {
    columns: Vec<Column>,
    sources: Vec<usize>,
    params: Vec<Imm>,
    tables: Vec<(Ty, Table)>,
    sets: Vec<(Ty, Vec<u8>)>,
    insts: Vec<Inst>,
    scalars: Vec<Scalar>,
    interned: HashMap<(Imm, bool), Val, Fast>,
    made: HashMap<Inst, Val, Fast>,
}

#[derive(Clone, Copy, Debug)]
struct Scalar {
    imm: Imm,
    literal: bool,
    /// The first scalar that is equal to this one.
    like: Val,
    /// The instruction that yields it, once one is needed.
    inst: Option<Val>,
}

/// A finished program with the sources of its arguments.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) program: Program,
    pub(super) columns: Vec<usize>,
    pub(super) params: Vec<Imm>,
    pub(super) tables: Vec<Table>,
    pub(super) sets: Vec<Vec<u8>>,
}

impl Builder {
    pub(super) fn new() -> Self {
        let mut builder = Builder {
            columns: Vec::new(),
            sources: Vec::new(),
            params: Vec::new(),
            tables: Vec::new(),
            sets: Vec::new(),
            insts: Vec::with_capacity(32),
            scalars: Vec::with_capacity(16),
            interned: HashMap::with_capacity_and_hasher(16, Fast::default()),
            made: HashMap::with_capacity_and_hasher(48, Fast::default()),
        };
        assert_eq!(builder.scalar(Imm::mask(true), false), TRUE);
        assert_eq!(builder.scalar(Imm::mask(false), false), FALSE);
        builder
    }

    /// The values of a batch column, read as `ty`.
    pub(super) fn load(&mut self, source: usize, column: Column) -> Val {
        let column = self.column(source, column);
        self.push(Inst::Load { column })
    }

    /// Which rows of a batch column are not null.
    pub(super) fn validity(&mut self, source: usize, column: Column) -> Val {
        if !column.nullable {
            return TRUE;
        }
        let column = self.column(source, column);
        self.push(Inst::Validity { column })
    }

    /// A literal of the query: a parameter, if it is used. Masks are constants.
    pub(super) fn literal(&mut self, imm: Imm) -> Val {
        self.scalar(imm, imm.ty() != Ty::Mask)
    }

    /// A scalar that belongs to the program.
    pub(super) fn constant(&mut self, imm: Imm) -> Val {
        self.scalar(imm, false)
    }

    /// The constant of an integer type that it must be able to hold.
    pub(super) fn integer(&mut self, ty: Ty, value: i128) -> Val {
        let imm = Imm::integer(ty, value).expect("a constant that its type holds");
        self.constant(imm)
    }

    /// The scalar behind a value, if it is one.
    pub(super) fn known(&self, val: Val) -> Option<Imm> {
        (val.0 & SCALAR != 0).then(|| self.scalars[(val.0 & !SCALAR) as usize].imm)
    }

    /// A table, the same one where its source is the same.
    pub(super) fn table(&mut self, ty: Ty, table: Table) -> u16 {
        let index = match self.tables.iter().position(|(_, known)| *known == table) {
            Some(index) => index,
            None => {
                self.tables.push((ty, table));
                self.tables.len() - 1
            }
        };
        index as u16
    }

    /// A set of ascending entries, as little-endian bytes.
    pub(super) fn set(&mut self, ty: Ty, entries: Vec<u8>) -> u16 {
        self.sets.push((ty, entries));
        (self.sets.len() - 1) as u16
    }

    /// The value of an instruction: folded if its operands are known, an earlier one's if that
    /// computes the same.
    pub(super) fn push(&mut self, inst: Inst) -> Val {
        let mut key = inst;
        let mut literal = false;
        key.map_operands(|operand| match self.scalar_of(operand) {
            Some(scalar) => {
                literal |= scalar.literal;
                scalar.like
            }
            None => operand,
        });
        if let Some(val) = self.made.get(&key) {
            return *val;
        }
        let val = match evaluate(&inst, |operand| self.known(operand)) {
            Some(imm) => self.scalar(imm, literal && imm.ty() != Ty::Mask),
            None => self.append(inst),
        };
        self.made.insert(key, val);
        val
    }

    /// Comparison of two values of one type, masks included.
    pub(super) fn compare(
        &mut self,
        ty: Ty,
        op: CompareOp,
        order: FloatOrder,
        lhs: Val,
        rhs: Val,
    ) -> Val {
        if ty == Ty::Mask {
            return self.compare_masks(op, lhs, rhs);
        }
        let order = if ty.is_float() {
            order
        } else {
            FloatOrder::Ieee
        };
        self.push(Inst::Compare {
            op,
            order,
            lhs,
            rhs,
        })
    }

    /// `then` where the mask is set, else `other`.
    pub(super) fn select(&mut self, ty: Ty, mask: Val, then: Val, other: Val) -> Val {
        if ty == Ty::Mask {
            return self.select_mask(mask, then, other);
        }
        match mask {
            TRUE => then,
            FALSE => other,
            _ if then == other => then,
            _ => self.push(Inst::Select { mask, then, other }),
        }
    }

    /// The rows of both masks.
    pub(super) fn and(&mut self, lhs: Val, rhs: Val) -> Val {
        match (self.complement(lhs), self.complement(rhs)) {
            _ if lhs == rhs || rhs == TRUE => lhs,
            _ if lhs == TRUE => rhs,
            _ if lhs == FALSE || rhs == FALSE => FALSE,
            (Some(left), Some(right)) => {
                let either = self.or(left, right);
                self.not(either)
            }
            (_, Some(right)) => self.and_not(lhs, right),
            (Some(left), _) => self.and_not(rhs, left),
            _ => self.masks(MaskOp::And, lhs, rhs),
        }
    }

    /// The rows of either mask.
    pub(super) fn or(&mut self, lhs: Val, rhs: Val) -> Val {
        match (self.complement(lhs), self.complement(rhs)) {
            _ if lhs == rhs || rhs == FALSE => lhs,
            _ if lhs == FALSE => rhs,
            _ if lhs == TRUE || rhs == TRUE => TRUE,
            (left, right) if left == Some(rhs) || right == Some(lhs) => TRUE,
            (Some(left), Some(right)) => {
                let both = self.and(left, right);
                self.not(both)
            }
            _ => self.masks(MaskOp::Or, lhs, rhs),
        }
    }

    /// The rows of the left mask without those of the right.
    pub(super) fn and_not(&mut self, lhs: Val, rhs: Val) -> Val {
        match (self.complement(lhs), self.complement(rhs)) {
            _ if lhs == rhs || lhs == FALSE || rhs == TRUE => FALSE,
            _ if rhs == FALSE => lhs,
            _ if lhs == TRUE => self.not(rhs),
            (left, right) if left == Some(rhs) || right == Some(lhs) => lhs,
            (_, Some(right)) => self.and(lhs, right),
            (Some(left), None) => {
                let either = self.or(left, rhs);
                self.not(either)
            }
            _ => self.push(Inst::Mask {
                op: MaskOp::AndNot,
                lhs,
                rhs,
            }),
        }
    }

    /// The rows of exactly one of two masks.
    pub(super) fn xor(&mut self, lhs: Val, rhs: Val) -> Val {
        match (lhs, rhs) {
            _ if lhs == rhs => FALSE,
            (FALSE, other) | (other, FALSE) => other,
            (TRUE, other) | (other, TRUE) => self.not(other),
            _ => self.masks(MaskOp::Xor, lhs, rhs),
        }
    }

    /// The other rows.
    pub(super) fn not(&mut self, arg: Val) -> Val {
        match (arg, self.complement(arg)) {
            (TRUE, _) => FALSE,
            (FALSE, _) => TRUE,
            (_, Some(inner)) => inner,
            _ => self.push(Inst::Not { arg }),
        }
    }

    /// Ends the execution if a row is set. Of two traps on the same rows for the same reason, the
    /// earlier in the query stays.
    pub(super) fn trap(&mut self, when: Val, code: TrapCode, ordinal: u32) {
        if when == FALSE {
            return;
        }
        let when = self.instruction(when);
        let key = Inst::Trap {
            when,
            code,
            ordinal: 0,
        };
        let at = self.insts.len();
        let first = *self.made.entry(key).or_insert(Val(at as u32));
        if let Some(Inst::Trap { ordinal: known, .. }) = self.insts.get_mut(first.index()) {
            *known = ordinal.min(*known);
            return;
        }
        self.insts.push(Inst::Trap {
            when,
            code,
            ordinal,
        });
    }

    /// A value that may be named outside of the builder: the instruction that makes it.
    pub(super) fn instruction(&mut self, val: Val) -> Val {
        if val.0 & SCALAR == 0 {
            return val;
        }
        let at = (val.0 & !SCALAR) as usize;
        let scalar = self.scalars[at];
        if let Some(inst) = scalar.inst {
            return inst;
        }
        let inst = if scalar.literal {
            self.params.push(scalar.imm);
            Inst::Param {
                index: (self.params.len() - 1) as u16,
            }
        } else {
            Inst::Const { value: scalar.imm }
        };
        self.insts.push(inst);
        let made = Val((self.insts.len() - 1) as u32);
        self.scalars[at].inst = Some(made);
        made
    }

    /// The program, with what it keeps and writes.
    ///
    /// # Errors
    /// Where it exceeds the limits of a program.
    pub(super) fn finish(
        mut self,
        keep: Option<Val>,
        emit_mask: bool,
        outputs: &[Output],
    ) -> Result<Built, ExprError> {
        let keep = keep.map(|keep| self.instruction(keep));
        let outputs = outputs
            .iter()
            .map(|output| Output {
                value: self.instruction(output.value),
                valid: match output.valid {
                    None | Some(TRUE) => None,
                    Some(valid) => Some(self.instruction(valid)),
                },
            })
            .collect::<Vec<_>>();
        within("columns", self.columns.len(), limits::COLUMNS)?;
        within("literals", self.params.len(), limits::PARAMS)?;
        within("lookup tables", self.tables.len(), limits::TABLES)?;
        within("long IN lists", self.sets.len(), limits::SETS)?;
        within("outputs", outputs.len(), limits::OUTPUTS)?;
        within("instructions", self.insts.len(), limits::INSTRUCTIONS)?;
        let (table_types, tables) = self.tables.into_iter().unzip();
        let (set_types, sets) = self.sets.into_iter().unzip();
        Ok(Built {
            program: Program {
                columns: self.columns,
                params: self.params.iter().map(|imm| imm.ty()).collect(),
                tables: table_types,
                sets: set_types,
                insts: self.insts,
                keep,
                emit_mask,
                outputs,
            },
            columns: self.sources,
            params: self.params,
            tables,
            sets,
        })
    }

    fn column(&mut self, source: usize, column: Column) -> u16 {
        let known = self
            .sources
            .iter()
            .zip(&self.columns)
            .position(|(known, as_ty)| *known == source && as_ty.ty == column.ty);
        let index = known.unwrap_or_else(|| {
            self.sources.push(source);
            self.columns.push(column);
            self.columns.len() - 1
        });
        index as u16
    }

    fn scalar(&mut self, imm: Imm, literal: bool) -> Val {
        let val = Val(SCALAR | self.scalars.len() as u32);
        let like = *self.interned.entry((imm, literal)).or_insert(val);
        // Constants are one by value, literals each their own.
        if !literal && like != val {
            return like;
        }
        self.scalars.push(Scalar {
            imm,
            literal,
            like,
            inst: None,
        });
        val
    }

    fn scalar_of(&self, val: Val) -> Option<&Scalar> {
        (val.0 & SCALAR != 0).then(|| &self.scalars[(val.0 & !SCALAR) as usize])
    }

    fn append(&mut self, mut inst: Inst) -> Val {
        inst.map_operands(|operand| self.instruction(operand));
        self.insts.push(inst);
        Val((self.insts.len() - 1) as u32)
    }

    /// What `val` is the complement of, if it is one.
    fn complement(&self, val: Val) -> Option<Val> {
        match self.insts.get(val.index()) {
            Some(Inst::Not { arg }) => Some(*arg),
            _ => None,
        }
    }

    /// A symmetric mask operation, in one order of its operands.
    fn masks(&mut self, op: MaskOp, lhs: Val, rhs: Val) -> Val {
        self.push(Inst::Mask {
            op,
            lhs: lhs.min(rhs),
            rhs: lhs.max(rhs),
        })
    }

    fn compare_masks(&mut self, op: CompareOp, lhs: Val, rhs: Val) -> Val {
        match op {
            CompareOp::Ne => self.xor(lhs, rhs),
            CompareOp::Eq => {
                let differ = self.xor(lhs, rhs);
                self.not(differ)
            }
            CompareOp::Lt => self.and_not(rhs, lhs),
            CompareOp::Gt => self.and_not(lhs, rhs),
            CompareOp::Le => {
                let greater = self.and_not(lhs, rhs);
                self.not(greater)
            }
            CompareOp::Ge => {
                let less = self.and_not(rhs, lhs);
                self.not(less)
            }
        }
    }

    fn select_mask(&mut self, mask: Val, then: Val, other: Val) -> Val {
        match (then, other) {
            _ if mask == TRUE || then == other => then,
            _ if mask == FALSE => other,
            _ if then == TRUE || then == mask => self.or(mask, other),
            (FALSE, _) => self.and_not(other, mask),
            (_, TRUE) => {
                let unmet = self.not(mask);
                self.or(then, unmet)
            }
            _ if other == FALSE || other == mask => self.and(mask, then),
            _ => {
                let chosen = self.and(mask, then);
                let left = self.and_not(other, mask);
                self.or(chosen, left)
            }
        }
    }
}

fn within(what: &str, count: usize, limit: usize) -> Result<(), ExprError> {
    if count <= limit {
        return Ok(());
    }
    Err(ExprError::new(
        ExprErrorKind::Limit,
        format!("the query needs {count} {what} in one program, more than {limit}"),
    )
    .with_help("split it"))
}

type Fast = BuildHasherDefault<FastHasher>;

/// A multiplicative hash: keys are small, trusted and many, and a table lives for one query.
#[derive(Debug, Default)]
struct FastHasher(u64);

impl Hasher for FastHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        // The odd number nearest to 2^64 divided by the golden ratio.
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_i128(&mut self, value: i128) {
        self.write_u64(value as u64);
        self.write_u64((value >> 64) as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
}
