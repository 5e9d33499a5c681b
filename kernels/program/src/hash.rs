//! The shape hash: the key under which compiled programs are cached.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{Inst, Op, Program, Ty, Val};

/// 128 bits that stand for the shape of a program: everything but the values of its parameters.
///
/// `a > 5` and `a > 6` lower to one program, in which the literal is a parameter, and so have one
/// shape. Constants are part of the program and so of its shape. The hash is stable from release
/// to release as long as [`ShapeHash::VERSION`] is; caches on disk may rely on it.
///
/// ```
/// use unlade_program::{Program, ShapeHash};
///
/// let program: Program = "%0 = const mask true\nkeep %0".parse()?;
/// assert_eq!(ShapeHash::of(&program).to_string(), "117ce3d8dfa1e1e29b5eee4d41a74516");
/// # Ok::<(), unlade_program::ParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShapeHash([u8; 16]);

impl ShapeHash {
    /// The version of the encoding that is hashed; it is the first byte of it.
    pub const VERSION: u8 = 1;

    /// The hash of a program: the first half of the SHA-256 of its encoding.
    pub fn of(program: &Program) -> Self {
        let mut encoding = Encoding(Vec::with_capacity(64 + 16 * program.insts.len()));
        encoding.program(program);
        let digest = Sha256::digest(&encoding.0);
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        ShapeHash(half)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ShapeHash {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ShapeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShapeHash({self})")
    }
}

/// An encoding that tells any two programs apart: lists are preceded by their length, and the
/// number of an operation decides which fields follow. Numbers are little-endian.
struct Encoding(Vec<u8>);

impl Encoding {
    fn program(&mut self, program: &Program) {
        self.byte(ShapeHash::VERSION);
        self.word(program.columns.len() as u32);
        for column in &program.columns {
            self.ty(column.ty);
            self.byte(u8::from(column.nullable));
        }
        for types in [&program.params, &program.tables, &program.sets] {
            self.word(types.len() as u32);
            types.iter().for_each(|&ty| self.ty(ty));
        }
        self.word(program.insts.len() as u32);
        program.insts.iter().for_each(|inst| self.inst(inst));
        self.optional(program.keep);
        self.byte(u8::from(program.emit_mask));
        self.word(program.outputs.len() as u32);
        for output in &program.outputs {
            self.val(output.value);
            self.optional(output.valid);
        }
    }

    fn inst(&mut self, inst: &Inst) {
        self.half(Op::of(inst).number());
        match *inst {
            Inst::Load { column } | Inst::Validity { column } => self.half(column),
            Inst::Param { index } => self.half(index),
            Inst::Const { value } => {
                self.ty(value.ty());
                self.0.extend_from_slice(&value.to_le_bytes());
            }
            Inst::Compare { order, .. } => self.byte(order as u8),
            Inst::Cast { to, .. } | Inst::CastFails { to, .. } => self.ty(to),
            Inst::Rescale { by, rounding, .. } => {
                self.byte(by as u8);
                self.byte(rounding as u8);
            }
            Inst::RescaleFails { by, .. } | Inst::Digits { by, .. } => self.byte(by as u8),
            Inst::Lookup { table, .. } | Inst::InBounds { table, .. } => self.half(table),
            Inst::InSet { set, .. } => self.half(set),
            Inst::Trap { code, ordinal, .. } => {
                self.half(code as u16);
                self.word(ordinal);
            }
            Inst::Unary { .. }
            | Inst::Binary { .. }
            | Inst::Overflow { .. }
            | Inst::Range { .. }
            | Inst::Select { .. }
            | Inst::Mask { .. }
            | Inst::Not { .. } => {}
        }
        inst.for_each_operand(|operand| self.val(operand));
    }

    fn optional(&mut self, val: Option<Val>) {
        self.byte(u8::from(val.is_some()));
        if let Some(val) = val {
            self.val(val);
        }
    }

    fn val(&mut self, val: Val) {
        self.word(val.0);
    }

    fn ty(&mut self, ty: Ty) {
        self.byte(match ty {
            Ty::Mask => 0,
            Ty::I8 => 1,
            Ty::I16 => 2,
            Ty::I32 => 3,
            Ty::I64 => 4,
            Ty::I128 => 5,
            Ty::U8 => 6,
            Ty::U16 => 7,
            Ty::U32 => 8,
            Ty::U64 => 9,
            Ty::F32 => 10,
            Ty::F64 => 11,
        });
    }

    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn half(&mut self, half: u16) {
        self.0.extend_from_slice(&half.to_le_bytes());
    }

    fn word(&mut self, word: u32) {
        self.0.extend_from_slice(&word.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn hash(text: &str) -> ShapeHash {
        ShapeHash::of(&text.parse().unwrap())
    }

    /// Caches on disk outlive a release: if this fails, raise the version.
    #[test]
    fn the_hash_is_what_it_was() {
        let text = "columns c0: i32?, c1: f64\nparams p0: i64\ntables t0: mask\nsets s0: i32\n\
                    %0 = load c0\n%1 = valid c0\n%2 = param p0\n%3 = cast.wrap %0 to i64\n\
                    %4 = cmp.gt %3, %2\n%5 = load c1\n%6 = cmp.le.total %5, %5\n%7 = and %4, %6\n\
                    %8 = lookup t0, %0\n%9 = in_set s0, %0\n%10 = select %8, %9, %7\n\
                    %11 = const i128 -7\n%12 = rescale.floor %11 by -2\n\
                    %13 = trap.overflow %10, ordinal 4\nkeep %10\nemit mask\n\
                    output %0 valid %1\noutput %12\n";
        assert_eq!(hash(text).to_string(), "3e7357a99e56f389e275972878388ca9");
    }

    #[test]
    fn every_detail_counts() {
        let texts = [
            "",
            "columns c0: i32",
            "columns c0: i32?",
            "params p0: i32",
            "tables t0: i32",
            "sets s0: i32",
            "%0 = const i8 1",
            "%0 = const u8 1",
            "%0 = const u8 2",
            "%0 = const u8 2\noutput %0",
            "%0 = const u8 2\noutput %0 valid %0",
            "%0 = const u8 2\nkeep %0",
            "%0 = const u8 2\nkeep %0\nemit mask",
            "%0 = cast.wrap %0 to i8",
            "%0 = cast.wrap %0 to i16",
            "%0 = cast.wrap %1 to i16",
            "%0 = cast.saturate %1 to i16",
            "%0 = cast.fails %1 to i16",
            "%0 = cmp.lt %0, %0",
            "%0 = cmp.lt.total %0, %0",
            "%0 = cmp.lt.spark %0, %0",
            "%0 = cmp.le.spark %0, %0",
            "%0 = rescale.floor %0 by 1",
            "%0 = rescale.floor %0 by -1",
            "%0 = rescale.truncate %0 by -1",
            "%0 = trap.overflow %0, ordinal 1",
            "%0 = trap.overflow %0, ordinal 2",
            "%0 = trap.invalid_key %0, ordinal 2",
            "%0 = lookup t0, %0",
            "%0 = lookup t1, %0",
            "%0 = in_bounds t1, %0",
        ];
        let hashes: BTreeSet<_> = texts.iter().map(|text| hash(text)).collect();
        assert_eq!(hashes.len(), texts.len());
    }
}
