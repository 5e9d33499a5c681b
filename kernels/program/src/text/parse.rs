//! Parsing a program.

use std::str::FromStr;

use crate::{
    BinaryOp, CastRule, Column, CompareOp, FloatOrder, Imm, Inst, MaskOp, OPS, Op, Output,
    OverflowOp, Program, Rounding, TrapCode, Ty, UnaryOp, Val, limits,
};

/// Where and why a text is no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
#[non_exhaustive]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: usize,
    /// The character in the line, counted from 1.
    pub column: usize,
    /// What is wrong, or what was expected.
    pub message: String,
}

impl FromStr for Program {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut program = Program::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.split(';').next().unwrap_or(line);
            let mut cursor = Cursor { line, at: 0 };
            if cursor.rest().is_empty() {
                continue;
            }
            cursor
                .statement(&mut program)
                .and_then(|()| cursor.end())
                .map_err(|fault| ParseError {
                    line: index + 1,
                    column: line[..fault.at].chars().count() + 1,
                    message: fault.message,
                })?;
        }
        Ok(program)
    }
}

/// An error within a line; `at` is a byte position on a character's border.
struct Fault {
    at: usize,
    message: String,
}

type Parsed<T> = Result<T, Fault>;

/// A position in one line.
struct Cursor<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn statement(&mut self, program: &mut Program) -> Parsed<()> {
        if self.peek() == Some('%') {
            return self.definition(program);
        }
        let start = self.start();
        match self.word() {
            "columns" => {
                self.fresh(start, "columns", program.columns.is_empty())?;
                program.columns = self.list("column", 'c', limits::COLUMNS, |cursor| {
                    Ok(Column {
                        ty: cursor.ty()?,
                        nullable: cursor.take('?'),
                    })
                })?;
            }
            "params" => {
                self.fresh(start, "params", program.params.is_empty())?;
                program.params = self.list("parameter", 'p', limits::PARAMS, Self::ty)?;
            }
            "tables" => {
                self.fresh(start, "tables", program.tables.is_empty())?;
                program.tables = self.list("table", 't', limits::TABLES, Self::ty)?;
            }
            "sets" => {
                self.fresh(start, "sets", program.sets.is_empty())?;
                program.sets = self.list("set", 's', limits::SETS, Self::ty)?;
            }
            "keep" => {
                self.fresh(start, "keep", program.keep.is_none())?;
                program.keep = Some(self.val()?);
            }
            "emit" => {
                self.fresh(start, "emit mask", !program.emit_mask)?;
                self.keyword("mask")?;
                program.emit_mask = true;
            }
            "output" => {
                within(start, "outputs", program.outputs.len(), limits::OUTPUTS)?;
                let value = self.val()?;
                let valid = if self.rest().is_empty() {
                    None
                } else {
                    self.keyword("valid")?;
                    Some(self.val()?)
                };
                program.outputs.push(Output { value, valid });
            }
            found => {
                return fault(
                    start,
                    format!(
                        "expected a value such as `%{}`, `columns`, `params`, `tables`, `sets`, \
                         `keep`, `emit mask` or `output`, found {}",
                        program.insts.len(),
                        shown(found, self.rest())
                    ),
                );
            }
        }
        Ok(())
    }

    fn definition(&mut self, program: &mut Program) -> Parsed<()> {
        let start = self.start();
        let count = program.insts.len();
        within(start, "instructions", count, limits::INSTRUCTIONS)?;
        if self.val()?.index() != count {
            return fault(
                start,
                format!("values are numbered in order: expected `%{count}`"),
            );
        }
        self.expect('=')?;
        let inst = self.inst()?;
        program.insts.push(inst);
        Ok(())
    }

    fn inst(&mut self) -> Parsed<Inst> {
        let start = self.start();
        let name = self.word();
        let Some((op, choice)) = mnemonic(name) else {
            let found = shown(name, self.rest());
            return fault(start, format!("no such operation: {found}"));
        };
        let unary = |op, arg| Inst::Unary { op, arg };
        let binary = |op, (lhs, rhs)| Inst::Binary { op, lhs, rhs };
        let overflow = |op, (lhs, rhs)| Inst::Overflow { op, lhs, rhs };
        let mask = |op, (lhs, rhs)| Inst::Mask { op, lhs, rhs };
        let compare = |op, (lhs, rhs)| {
            let order = match choice {
                Choice::Order(order) => order,
                _ => FloatOrder::Ieee,
            };
            Inst::Compare {
                op,
                order,
                lhs,
                rhs,
            }
        };
        Ok(match op {
            Op::Load => Inst::Load {
                column: self.label('c')?,
            },
            Op::Validity => Inst::Validity {
                column: self.label('c')?,
            },
            Op::Param => Inst::Param {
                index: self.label('p')?,
            },
            Op::Const => Inst::Const {
                value: self.immediate()?,
            },
            Op::Neg => unary(UnaryOp::Neg, self.val()?),
            Op::Abs => unary(UnaryOp::Abs, self.val()?),
            Op::Round => unary(UnaryOp::Round, self.val()?),
            Op::Add => binary(BinaryOp::Add, self.pair()?),
            Op::Sub => binary(BinaryOp::Sub, self.pair()?),
            Op::Mul => binary(BinaryOp::Mul, self.pair()?),
            Op::Div => binary(BinaryOp::Div, self.pair()?),
            Op::Rem => binary(BinaryOp::Rem, self.pair()?),
            Op::FloorDiv => binary(BinaryOp::FloorDiv, self.pair()?),
            Op::OverflowAdd => overflow(OverflowOp::Add, self.pair()?),
            Op::OverflowSub => overflow(OverflowOp::Sub, self.pair()?),
            Op::OverflowMul => overflow(OverflowOp::Mul, self.pair()?),
            Op::OverflowDiv => overflow(OverflowOp::Div, self.pair()?),
            Op::CompareEq => compare(CompareOp::Eq, self.pair()?),
            Op::CompareNe => compare(CompareOp::Ne, self.pair()?),
            Op::CompareLt => compare(CompareOp::Lt, self.pair()?),
            Op::CompareLe => compare(CompareOp::Le, self.pair()?),
            Op::CompareGt => compare(CompareOp::Gt, self.pair()?),
            Op::CompareGe => compare(CompareOp::Ge, self.pair()?),
            Op::Range => {
                let (arg, low, high) = self.triple()?;
                Inst::Range { arg, low, high }
            }
            Op::CastWrap | Op::CastSaturate => {
                let rule = if op == Op::CastWrap {
                    CastRule::Wrap
                } else {
                    CastRule::Saturate
                };
                let (arg, to) = self.conversion()?;
                Inst::Cast { rule, arg, to }
            }
            Op::CastFails => {
                let (arg, to) = self.conversion()?;
                Inst::CastFails { arg, to }
            }
            Op::Rescale => {
                let (arg, by) = self.digits()?;
                let Choice::Rounding(rounding) = choice else {
                    return fault(
                        start,
                        "expected a rounding: `rescale.half_away`, `rescale.truncate` or \
                         `rescale.floor`",
                    );
                };
                Inst::Rescale { arg, by, rounding }
            }
            Op::RescaleFails => {
                let (arg, by) = self.digits()?;
                Inst::RescaleFails { arg, by }
            }
            Op::Digits => {
                let (arg, by) = self.digits()?;
                Inst::Digits { arg, by }
            }
            Op::Select => {
                let (mask, then, other) = self.triple()?;
                Inst::Select { mask, then, other }
            }
            Op::And => mask(MaskOp::And, self.pair()?),
            Op::Or => mask(MaskOp::Or, self.pair()?),
            Op::AndNot => mask(MaskOp::AndNot, self.pair()?),
            Op::Xor => mask(MaskOp::Xor, self.pair()?),
            Op::Not => Inst::Not { arg: self.val()? },
            Op::Lookup => {
                let (table, index) = self.indexed('t')?;
                Inst::Lookup { table, index }
            }
            Op::InBounds => {
                let (table, index) = self.indexed('t')?;
                Inst::InBounds { table, index }
            }
            Op::InSet => {
                let (set, arg) = self.indexed('s')?;
                Inst::InSet { set, arg }
            }
            Op::Trap => {
                let Choice::Code(code) = choice else {
                    let codes = TrapCode::ALL.map(TrapCode::name).join("`, `trap.");
                    return fault(start, format!("expected a reason: `trap.{codes}`"));
                };
                let when = self.val()?;
                self.expect(',')?;
                self.keyword("ordinal")?;
                let ordinal = self.number("an ordinal")?;
                Inst::Trap {
                    when,
                    code,
                    ordinal,
                }
            }
        })
    }

    fn pair(&mut self) -> Parsed<(Val, Val)> {
        let first = self.val()?;
        self.expect(',')?;
        Ok((first, self.val()?))
    }

    fn triple(&mut self) -> Parsed<(Val, Val, Val)> {
        let (first, second) = self.pair()?;
        self.expect(',')?;
        Ok((first, second, self.val()?))
    }

    fn conversion(&mut self) -> Parsed<(Val, Ty)> {
        let arg = self.val()?;
        self.keyword("to")?;
        Ok((arg, self.ty()?))
    }

    fn digits(&mut self) -> Parsed<(Val, i8)> {
        let arg = self.val()?;
        self.keyword("by")?;
        Ok((arg, self.number("a number of digits")?))
    }

    fn indexed(&mut self, letter: char) -> Parsed<(u16, Val)> {
        let label = self.label(letter)?;
        self.expect(',')?;
        Ok((label, self.val()?))
    }

    /// `c0: item, c1: item, ...`
    fn list<T>(
        &mut self,
        what: &str,
        letter: char,
        limit: usize,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        loop {
            let start = self.start();
            within(start, &format!("{what}s"), items.len(), limit)?;
            if usize::from(self.label(letter)?) != items.len() {
                let wanted = items.len();
                return fault(
                    start,
                    format!("{what}s are numbered in order: expected `{letter}{wanted}`"),
                );
            }
            self.expect(':')?;
            items.push(item(self)?);
            if !self.take(',') {
                return Ok(items);
            }
        }
    }

    fn immediate(&mut self) -> Parsed<Imm> {
        let ty = self.ty()?;
        let start = self.start();
        let word = self.word();
        let value = match ty {
            Ty::Mask => word.parse().ok().map(Imm::mask),
            Ty::F32 => float_bits(word)
                .and_then(|bits| u32::try_from(bits).ok())
                .map(f32::from_bits)
                .or_else(|| word.parse().ok().filter(|value: &f32| !value.is_nan()))
                .map(Imm::f32),
            Ty::F64 => float_bits(word)
                .map(f64::from_bits)
                .or_else(|| word.parse().ok().filter(|value: &f64| !value.is_nan()))
                .map(Imm::f64),
            _ => word.parse().ok().and_then(|value| Imm::integer(ty, value)),
        };
        value.map_or_else(
            || {
                let found = shown(word, self.rest());
                fault(start, format!("expected a value of {ty}, found {found}"))
            },
            Ok,
        )
    }

    fn ty(&mut self) -> Parsed<Ty> {
        let start = self.start();
        let word = self.word();
        word.parse().or_else(|_| {
            let found = shown(word, self.rest());
            fault(
                start,
                format!("expected a type such as `i32` or `mask`, found {found}"),
            )
        })
    }

    fn val(&mut self) -> Parsed<Val> {
        if !self.take('%') {
            let found = shown("", self.rest());
            return fault(
                self.start(),
                format!("expected a value such as `%0`, found {found}"),
            );
        }
        self.number("a value such as `%0`").map(Val)
    }

    /// A letter and a number, as `c3`.
    fn label(&mut self, letter: char) -> Parsed<u16> {
        let start = self.start();
        let word = self.word();
        word.strip_prefix(letter).and_then(decimal).map_or_else(
            || {
                let found = shown(word, self.rest());
                fault(
                    start,
                    format!("expected a name such as `{letter}0`, found {found}"),
                )
            },
            Ok,
        )
    }

    fn number<T: FromStr>(&mut self, what: &str) -> Parsed<T> {
        let start = self.start();
        let word = self.word();
        decimal(word).map_or_else(
            || {
                let found = shown(word, self.rest());
                fault(start, format!("expected {what}, found {found}"))
            },
            Ok,
        )
    }

    fn keyword(&mut self, wanted: &str) -> Parsed<()> {
        let start = self.start();
        let word = self.word();
        if word == wanted {
            return Ok(());
        }
        let found = shown(word, self.rest());
        fault(start, format!("expected `{wanted}`, found {found}"))
    }

    fn expect(&mut self, wanted: char) -> Parsed<()> {
        if self.take(wanted) {
            return Ok(());
        }
        let found = shown("", self.rest());
        fault(self.start(), format!("expected `{wanted}`, found {found}"))
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn fresh(&self, start: usize, what: &str, fresh: bool) -> Parsed<()> {
        if fresh {
            return Ok(());
        }
        fault(start, format!("`{what}` is given twice"))
    }

    fn end(&mut self) -> Parsed<()> {
        if self.rest().is_empty() {
            return Ok(());
        }
        let found = shown("", self.rest());
        fault(
            self.start(),
            format!("expected the end of the line, found {found}"),
        )
    }

    /// Letters, digits, signs, points and underscores, as many as there are.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-' | '+'))
            .unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn peek(&mut self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Where the next thing starts.
    fn start(&mut self) -> usize {
        self.rest();
        self.at
    }

    /// What is left of the line, spaces skipped.
    fn rest(&mut self) -> &'a str {
        let rest = &self.line[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed.trim_end()
    }
}

/// What the last part of an operation's name chooses.
#[derive(Clone, Copy)]
enum Choice {
    Nothing,
    Order(FloatOrder),
    Rounding(Rounding),
    Code(TrapCode),
}

/// The operation that a name means, and what is chosen with it.
fn mnemonic(name: &str) -> Option<(Op, Choice)> {
    let exact = |name: &str| OPS.iter().find(|row| row.name == name).map(|row| row.op);
    if let Some(op) = exact(name) {
        return Some((op, Choice::Nothing));
    }
    let (stem, last) = name.rsplit_once('.')?;
    let op = exact(stem)?;
    let choice = match op {
        Op::Rescale => Rounding::ALL
            .into_iter()
            .find(|rounding| rounding.name() == last)
            .map(Choice::Rounding),
        Op::Trap => TrapCode::ALL
            .into_iter()
            .find(|code| code.name() == last)
            .map(Choice::Code),
        _ if stem.starts_with("cmp.") => FloatOrder::ALL
            .into_iter()
            .find(|order| order.name() == last)
            .map(Choice::Order),
        _ => None,
    };
    Some((op, choice?))
}

/// A number as it is printed: no plus sign.
fn decimal<T: FromStr>(word: &str) -> Option<T> {
    if word.starts_with('+') {
        return None;
    }
    word.parse().ok()
}

fn float_bits(word: &str) -> Option<u64> {
    let digits = word.strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok()
}

fn within(at: usize, what: &str, count: usize, limit: usize) -> Parsed<()> {
    if count < limit {
        return Ok(());
    }
    fault(at, format!("more {what} than the limit of {limit}"))
}

/// What was found instead, short enough for a message.
fn shown(word: &str, rest: &str) -> String {
    let found = if word.is_empty() { rest } else { word };
    match found.chars().next() {
        None => "the end of the line".to_owned(),
        Some(_) if found.chars().count() <= 24 => format!("`{found}`"),
        Some(_) => format!("`{}...`", found.chars().take(24).collect::<String>()),
    }
}

fn fault<T>(at: usize, message: impl Into<String>) -> Parsed<T> {
    Err(Fault {
        at,
        message: message.into(),
    })
}
