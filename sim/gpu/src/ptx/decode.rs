//! Statements become instructions.
//!
//! One file for each family of opcodes. A decoder takes the modifiers in the order in which the PTX
//! ISA writes them, then the operands; one that is left over is an error.

mod arithmetic;
mod control;
mod memory;
mod moves;

use super::error::{Result, invalid, unsupported};
use super::inst::{Guard, Inst, Int, Loaded, Op, Pred, Reg};
use super::symbols::{Symbol, Symbols};
use super::syntax::{Operand, Statement, number};
use super::types::{Type, Width};

/// Decodes one statement.
pub(super) fn decode<'t>(statement: &Statement<'t>, symbols: &mut Symbols<'t>) -> Result<Inst> {
    let mut decoder = Decoder::new(statement, symbols);
    let guard = match statement.guard {
        None => None,
        Some((name, negated)) => Some(Guard {
            pred: decoder.predicate_named(name)?,
            negated,
        }),
    };
    let op = match decoder.mnemonic {
        "add" | "sub" | "addc" | "subc" | "mul" | "mad" | "div" | "rem" | "neg" | "abs" | "min"
        | "max" | "and" | "or" | "xor" | "not" | "shl" | "shr" | "shf" | "popc" | "clz"
        | "brev" | "bfind" | "bfe" | "bfi" | "prmt" | "lop3" | "fma" | "sqrt" | "rcp"
        | "copysign" => arithmetic::decode(&mut decoder),
        "setp" | "selp" | "mov" | "cvt" | "cvta" => moves::decode(&mut decoder),
        "ld" | "st" | "atom" | "red" | "membar" | "fence" | "prefetch" => {
            memory::decode(&mut decoder)
        }
        "bra" | "ret" | "exit" | "trap" | "nanosleep" | "bar" | "barrier" | "vote" | "shfl"
        | "activemask" => control::decode(&mut decoder),
        _ => unsupported(
            statement.line,
            format!("the instruction `{}` is not simulated", statement.opcode),
        ),
    }?;
    decoder.finish()?;
    Ok(Inst {
        guard,
        op,
        line: statement.line,
    })
}

/// A statement on its way.
struct Decoder<'d, 's, 't> {
    statement: &'d Statement<'t>,
    symbols: &'s mut Symbols<'t>,
    mnemonic: &'t str,
    modifiers: Vec<&'t str>,
    /// How many modifiers are taken.
    taken: usize,
    line: u32,
}

impl<'d, 's, 't> Decoder<'d, 's, 't> {
    fn new(statement: &'d Statement<'t>, symbols: &'s mut Symbols<'t>) -> Self {
        let mut parts = statement.opcode.split('.');
        let mnemonic = parts.next().unwrap_or_default();
        let (modifiers, line) = (parts.collect(), statement.line);
        Decoder {
            statement,
            symbols,
            mnemonic,
            modifiers,
            taken: 0,
            line,
        }
    }

    // Modifiers.

    /// Takes the modifier if it comes next.
    fn accept(&mut self, name: &str) -> bool {
        let found = self.modifiers.get(self.taken) == Some(&name);
        self.taken += usize::from(found);
        found
    }

    /// Takes whichever of these comes next.
    fn choose<T: Copy>(&mut self, choices: &[(&str, T)]) -> Option<T> {
        choices
            .iter()
            .find(|(name, _)| self.accept(name))
            .map(|&(_, value)| value)
    }

    /// As `choose`, where one must come.
    fn must_choose<T: Copy>(&mut self, choices: &[(&str, T)]) -> Result<T> {
        match self.choose(choices) {
            Some(value) => Ok(value),
            None => self.bad_modifier(),
        }
    }

    fn must_accept(&mut self, name: &str) -> Result<()> {
        if self.accept(name) {
            Ok(())
        } else {
            self.bad_modifier()
        }
    }

    fn ty(&mut self) -> Result<Type> {
        match self
            .modifiers
            .get(self.taken)
            .and_then(|name| Type::parse(name))
        {
            Some(ty) => {
                self.taken += 1;
                Ok(ty)
            }
            None => self.bad_modifier(),
        }
    }

    fn bad_modifier<T>(&self) -> Result<T> {
        let opcode = self.statement.opcode;
        match self.modifiers.get(self.taken) {
            Some(name) => unsupported(
                self.line,
                format!("`.{name}` in `{opcode}` is not simulated"),
            ),
            None => invalid(self.line, format!("`{opcode}` lacks a modifier")),
        }
    }

    /// An integer type of at least 16 bits; `.b` counts as unsigned.
    fn int(&self, ty: Type) -> Result<Int> {
        match ty {
            Type::Bits(Width::W8) | Type::Unsigned(Width::W8) | Type::Signed(Width::W8) => {}
            Type::Bits(width) | Type::Unsigned(width) => {
                return Ok(Int {
                    width,
                    signed: false,
                });
            }
            Type::Signed(width) => {
                return Ok(Int {
                    width,
                    signed: true,
                });
            }
            Type::Pred | Type::F32 | Type::F64 => {}
        }
        invalid(
            self.line,
            format!("`{}` does not take {ty}", self.statement.opcode),
        )
    }

    /// As `int`, of 32 or 64 bits.
    fn int_32_or_64(&self, ty: Type) -> Result<Int> {
        let int = self.int(ty)?;
        if int.width == Width::W16 {
            return invalid(
                self.line,
                format!("`{}` does not take {ty}", self.statement.opcode),
            );
        }
        Ok(int)
    }

    fn finish(&self) -> Result<()> {
        if self.taken < self.modifiers.len() {
            self.bad_modifier()
        } else {
            Ok(())
        }
    }

    // Operands.

    fn count(&self, counts: std::ops::RangeInclusive<usize>) -> Result<()> {
        let found = self.statement.operands.len();
        if counts.contains(&found) {
            return Ok(());
        }
        let opcode = self.statement.opcode;
        invalid(self.line, format!("`{opcode}` with {found} operands"))
    }

    fn operand(&self, index: usize) -> Result<&'d Operand<'t>> {
        match self.statement.operands.get(index) {
            Some(operand) => Ok(operand),
            None => invalid(
                self.line,
                format!("`{}` lacks operand {}", self.statement.opcode, index + 1),
            ),
        }
    }

    /// A register of exactly this type that is written.
    fn dest(&mut self, index: usize, ty: Type) -> Result<Reg> {
        self.dest_of(self.operand(index)?, ty)
    }

    fn dest_of(&mut self, operand: &Operand<'t>, ty: Type) -> Result<Reg> {
        let (reg, register) = self.register(operand)?;
        self.fits(register, ty, false)?;
        Ok(reg)
    }

    /// A register at least as wide as the type (PTX ISA 9.4.1), and how wide it is.
    fn wide_dest_of(&mut self, operand: &Operand<'t>, ty: Type) -> Result<(Reg, Width)> {
        let (reg, register) = self.register(operand)?;
        self.fits(register, ty, true)?;
        Ok((reg, register.width().unwrap_or(Width::W64)))
    }

    /// A register of exactly this type, a constant or an address of a shared variable.
    fn source(&mut self, index: usize, ty: Type) -> Result<Reg> {
        self.source_of(self.operand(index)?, ty, false)
    }

    /// As `source`, but a register may be wider than the type.
    fn wide_source(&mut self, index: usize, ty: Type) -> Result<Reg> {
        self.source_of(self.operand(index)?, ty, true)
    }

    fn source_of(&mut self, operand: &Operand<'t>, ty: Type, wide: bool) -> Result<Reg> {
        let mask = ty.width().map_or(1, Width::mask);
        match operand {
            Operand::Number { text, negative } => {
                let bits = self.literal(text, *negative, ty)?;
                self.symbols.constant(bits & mask, self.line)
            }
            Operand::Name(name) => {
                if let Some(Symbol::Shared(offset)) = self.symbols.get(name) {
                    return self.symbols.constant(offset, self.line);
                }
                if let Some(reg) = self.symbols.special(name, self.line)? {
                    self.fits(Type::Unsigned(Width::W32), ty, wide)?;
                    return Ok(reg);
                }
                let (reg, register) = self.register(operand)?;
                self.fits(register, ty, wide)?;
                Ok(reg)
            }
            _ => invalid(
                self.line,
                format!("an operand of `{}` is no value", self.statement.opcode),
            ),
        }
    }

    /// The bits of a constant for this type. A `0d` constant for `.f32` is rounded (PTX ISA 4.5.2).
    fn literal(&self, text: &str, negative: bool, ty: Type) -> Result<u64> {
        let bits = number(text, negative, self.line)?;
        let double = text.starts_with("0d") || text.starts_with("0D");
        let single = text.starts_with("0f") || text.starts_with("0F");
        match ty {
            Type::F32 if single => Ok(bits),
            Type::F32 if double => Ok(u64::from((f64::from_bits(bits) as f32).to_bits())),
            Type::F64 if double => Ok(bits),
            Type::F64 if single => Ok(f64::from(f32::from_bits(bits as u32)).to_bits()),
            Type::F32 | Type::F64 => invalid(
                self.line,
                format!("`{text}` is no {ty} constant; write 0f or 0d and bits"),
            ),
            Type::Unsigned(_) | Type::Signed(_) if single || double => {
                invalid(self.line, format!("`{text}` is no {ty} constant"))
            }
            _ => Ok(bits),
        }
    }

    fn constant(&self, index: usize) -> Result<u64> {
        match self.operand(index)? {
            Operand::Number { text, negative } => number(text, *negative, self.line),
            _ => invalid(
                self.line,
                format!(
                    "operand {} of `{}` is to be a number",
                    index + 1,
                    self.statement.opcode
                ),
            ),
        }
    }

    fn register(&mut self, operand: &Operand<'t>) -> Result<(Reg, Type)> {
        let Operand::Name(name) = operand else {
            return invalid(
                self.line,
                format!(
                    "an operand of `{}` is to be a register",
                    self.statement.opcode
                ),
            );
        };
        match self.symbols.get(name) {
            Some(Symbol::Register(reg, ty)) => Ok((reg, ty)),
            Some(_) => invalid(self.line, format!("`{name}` is no such register")),
            None => invalid(self.line, format!("`{name}` is not declared")),
        }
    }

    /// Whether a register's type suits an instruction's (PTX ISA 9.4 and 9.4.1).
    fn fits(&self, register: Type, ty: Type, wide: bool) -> Result<()> {
        let (Some(has), Some(wants)) = (register.width(), ty.width()) else {
            return invalid(
                self.line,
                format!("`{}` takes no predicate here", self.statement.opcode),
            );
        };
        let size = if wide { has >= wants } else { has == wants };
        let kind = match (register, ty) {
            (Type::Bits(_), _) | (_, Type::Bits(_)) => true,
            _ => register.is_float() == ty.is_float(),
        };
        if size && kind && !(ty.is_float() && has != wants) {
            return Ok(());
        }
        invalid(
            self.line,
            format!(
                "`{}` wants {ty}, not a register of {register}",
                self.statement.opcode
            ),
        )
    }

    // Predicates.

    fn predicate_named(&mut self, name: &str) -> Result<Pred> {
        match self.symbols.get(name) {
            Some(Symbol::Predicate(pred)) => Ok(pred),
            Some(_) => invalid(self.line, format!("`{name}` is no predicate")),
            None => invalid(self.line, format!("`{name}` is not declared")),
        }
    }

    fn dest_predicate(&mut self, index: usize) -> Result<Pred> {
        match self.operand(index)? {
            Operand::Name(name) => self.predicate_named(name),
            _ => invalid(
                self.line,
                format!("operand {} is to be a predicate", index + 1),
            ),
        }
    }

    /// A predicate, its opposite or a constant.
    fn source_predicate(&mut self, index: usize) -> Result<Guard> {
        match self.operand(index)? {
            Operand::Name(name) => Ok(Guard {
                pred: self.predicate_named(name)?,
                negated: false,
            }),
            Operand::Not(name) => Ok(Guard {
                pred: self.predicate_named(name)?,
                negated: true,
            }),
            Operand::Number { text, negative } => {
                let value = number(text, *negative, self.line)? != 0;
                Ok(Guard {
                    pred: self.symbols.constant_predicate(value),
                    negated: false,
                })
            }
            _ => invalid(
                self.line,
                format!("operand {} is to be a predicate", index + 1),
            ),
        }
    }

    /// Registers of a vector, or one.
    fn elements(&self, index: usize, count: usize) -> Result<Vec<&'d Operand<'t>>> {
        let parts: Vec<_> = match self.operand(index)? {
            Operand::Vector(parts) => parts.iter().collect(),
            single => vec![single],
        };
        if parts.len() != count {
            return invalid(
                self.line,
                format!(
                    "`{}` wants {count} elements, not {}",
                    self.statement.opcode,
                    parts.len()
                ),
            );
        }
        Ok(parts)
    }

    fn loaded(&mut self, index: usize, count: usize, ty: Type) -> Result<Box<[Loaded]>> {
        let elements = self.elements(index, count)?;
        let load = |operand| {
            let (d, width) = self.wide_dest_of(operand, ty)?;
            Ok(Loaded {
                d,
                signed: ty.is_signed(),
                width,
            })
        };
        elements.into_iter().map(load).collect()
    }
}

const B32: Type = Type::Bits(Width::W32);
const U32: Type = Type::Unsigned(Width::W32);

fn three(decoder: &mut Decoder<'_, '_, '_>, ty: Type) -> Result<(Reg, Reg, Reg)> {
    decoder.count(3..=3)?;
    Ok((
        decoder.dest(0, ty)?,
        decoder.source(1, ty)?,
        decoder.source(2, ty)?,
    ))
}

fn two(decoder: &mut Decoder<'_, '_, '_>, ty: Type) -> Result<(Reg, Reg)> {
    decoder.count(2..=2)?;
    Ok((decoder.dest(0, ty)?, decoder.source(1, ty)?))
}

type Decoded = Result<Op>;
