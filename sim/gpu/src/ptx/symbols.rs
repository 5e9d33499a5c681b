//! What names mean: registers, variables, labels; and the rows that a warp needs for them.

use std::collections::HashMap;

use super::error::{Result, invalid, unsupported};
use super::inst::{Pred, Reg, Special};
use super::syntax::{SharedText, Variable};
use super::types::{Type, Width};

/// What a row holds when a warp begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowInit {
    /// A register: its value is unspecified until it is written.
    Register(Width),
    Constant(u64),
    Special(Special),
}

/// A name's meaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Symbol {
    Register(Reg, Type),
    Predicate(Pred),
    /// Where a shared variable begins, from the start of the block's shared memory.
    Shared(u64),
}

/// Names between two braces.
#[derive(Debug, Default)]
struct Scope<'t> {
    names: HashMap<&'t str, Symbol>,
    /// `%r<4>`: what `%r0` is, and how many follow each other.
    numbered: HashMap<&'t str, (Symbol, u32)>,
}

impl Scope<'_> {
    fn get(&self, name: &str) -> Option<Symbol> {
        if let Some(symbol) = self.names.get(name) {
            return Some(*symbol);
        }
        let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = &name[prefix.len()..];
        let (first, count) = self.numbered.get(prefix)?;
        let number: u32 = digits.parse().ok().filter(|number| number < count)?;
        if digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        Some(match *first {
            Symbol::Register(Reg(row), ty) => Symbol::Register(Reg(row + number), ty),
            Symbol::Predicate(Pred(index)) => Symbol::Predicate(Pred(index + number)),
            shared @ Symbol::Shared(_) => shared,
        })
    }
}

/// Names of a kernel, by scope.
#[derive(Debug)]
pub(crate) struct Symbols<'t> {
    scopes: Vec<Scope<'t>>,
    pub(crate) labels: HashMap<&'t str, u32>,
    pub(crate) rows: Vec<RowInit>,
    /// Constants; none for predicate registers.
    pub(crate) predicates: Vec<Option<bool>>,
    pub(crate) params: HashMap<&'t str, (u32, u32)>,
    constants: HashMap<u64, Reg>,
    specials: HashMap<Special, Reg>,
    pub(crate) shared: SharedLayout,
}

/// Shared memory of a block: what is declared, then what the launch adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SharedLayout {
    /// Bytes that are declared.
    pub(crate) bytes: u64,
    /// Where what the launch adds is to begin: a multiple of this. None if nothing may be added.
    pub(crate) dynamic_align: Option<u64>,
}

/// Most registers of a kernel, predicates not counted: far above what hardware has for a thread.
const MAX_ROWS: usize = 1 << 17;

impl<'t> Symbols<'t> {
    pub(crate) fn new() -> Self {
        Symbols {
            scopes: vec![Scope::default()],
            labels: HashMap::new(),
            rows: Vec::new(),
            predicates: Vec::new(),
            params: HashMap::new(),
            constants: HashMap::new(),
            specials: HashMap::new(),
            shared: SharedLayout::default(),
        }
    }

    pub(crate) fn open(&mut self) {
        self.scopes.push(Scope::default());
    }

    pub(crate) fn close(&mut self) {
        self.scopes.pop();
    }

    pub(crate) fn get(&self, name: &str) -> Option<Symbol> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name))
    }

    /// Registers of one type: one, or so many with numbers behind the name.
    pub(crate) fn declare_registers(
        &mut self,
        ty: Type,
        name: &'t str,
        count: Option<u32>,
        line: u32,
    ) -> Result<()> {
        let first = match ty.width() {
            None => Symbol::Predicate(Pred(self.predicates.len() as u32)),
            Some(Width::W8) => return invalid(line, format!("`{name}`: no register has 8 bits")),
            Some(_) => Symbol::Register(Reg(self.rows.len() as u32), ty),
        };
        for _ in 0..count.unwrap_or(1) {
            match ty.width() {
                None => self.predicates.push(None),
                Some(width) => {
                    self.row(RowInit::Register(width), line)?;
                }
            }
        }
        let Some(count) = count else {
            return self.declare(name, first, line);
        };
        let scope = self
            .scopes
            .last_mut()
            .expect("the outermost scope is never closed");
        if name.ends_with(|c: char| c.is_ascii_digit()) {
            return unsupported(line, format!("`{name}<{count}>`: a number behind a number"));
        }
        match scope.numbered.insert(name, (first, count)) {
            None => Ok(()),
            Some(_) => invalid(line, format!("`{name}` is declared twice")),
        }
    }

    /// Gives a shared variable its place (PTX ISA 5.1.8).
    pub(crate) fn declare_shared(&mut self, text: &SharedText<'t>) -> Result<()> {
        let Variable {
            name,
            line,
            ty,
            align,
            count,
        } = text.variable;
        let start = self.shared.bytes.next_multiple_of(align);
        if text.external {
            // All of these begin together, behind everything else that is declared; as nothing is
            // declared after it, that is here.
            self.shared.dynamic_align = Some(self.shared.dynamic_align.unwrap_or(1).max(align));
            self.shared.bytes = start;
        } else if self.shared.dynamic_align.is_some() {
            return unsupported(line, format!("`{name}` after an array of open length"));
        } else {
            let size = ty.width().map_or(1, |width| u64::from(width.bytes()));
            let bytes = count
                .unwrap_or(0)
                .checked_mul(size)
                .and_then(|size| size.checked_add(start));
            let Some(bytes) = bytes.filter(|&bytes| bytes <= 1 << 20) else {
                return invalid(
                    line,
                    format!("`{name}` makes shared memory larger than 1 MiB"),
                );
            };
            self.shared.bytes = bytes;
        }
        self.declare(name, Symbol::Shared(start), line)
    }

    fn declare(&mut self, name: &'t str, symbol: Symbol, line: u32) -> Result<()> {
        let scope = self
            .scopes
            .last_mut()
            .expect("the outermost scope is never closed");
        if scope.names.insert(name, symbol).is_some() {
            return invalid(line, format!("`{name}` is declared twice"));
        }
        Ok(())
    }

    /// The row that holds a constant in all lanes.
    pub(crate) fn constant(&mut self, value: u64, line: u32) -> Result<Reg> {
        if let Some(&reg) = self.constants.get(&value) {
            return Ok(reg);
        }
        let reg = self.row(RowInit::Constant(value), line)?;
        self.constants.insert(value, reg);
        Ok(reg)
    }

    /// The row of a special register, if the name is one; and its width.
    pub(crate) fn special(&mut self, name: &str, line: u32) -> Result<Option<Reg>> {
        let Some(special) = special(name) else {
            return Ok(None);
        };
        if let Some(&reg) = self.specials.get(&special) {
            return Ok(Some(reg));
        }
        let reg = self.row(RowInit::Special(special), line)?;
        self.specials.insert(special, reg);
        Ok(Some(reg))
    }

    /// A predicate that is always the same.
    pub(crate) fn constant_predicate(&mut self, value: bool) -> Pred {
        let found = self
            .predicates
            .iter()
            .position(|&known| known == Some(value));
        let index = found.unwrap_or_else(|| {
            self.predicates.push(Some(value));
            self.predicates.len() - 1
        });
        Pred(index as u32)
    }

    fn row(&mut self, init: RowInit, line: u32) -> Result<Reg> {
        if self.rows.len() >= MAX_ROWS {
            return unsupported(
                line,
                format!("more than {MAX_ROWS} registers and constants"),
            );
        }
        self.rows.push(init);
        Ok(Reg(self.rows.len() as u32 - 1))
    }
}

/// All of 32 bits.
fn special(name: &str) -> Option<Special> {
    Some(match name {
        "%tid.x" => Special::ThreadX,
        "%tid.y" => Special::ThreadY,
        "%tid.z" => Special::ThreadZ,
        "%ntid.x" => Special::BlockSizeX,
        "%ntid.y" => Special::BlockSizeY,
        "%ntid.z" => Special::BlockSizeZ,
        "%ctaid.x" => Special::BlockX,
        "%ctaid.y" => Special::BlockY,
        "%ctaid.z" => Special::BlockZ,
        "%nctaid.x" => Special::GridX,
        "%nctaid.y" => Special::GridY,
        "%nctaid.z" => Special::GridZ,
        "%laneid" => Special::Lane,
        "%warpid" => Special::Warp,
        "%lanemask_eq" => Special::MaskEq,
        "%lanemask_lt" => Special::MaskLt,
        "%lanemask_le" => Special::MaskLe,
        "%lanemask_gt" => Special::MaskGt,
        "%lanemask_ge" => Special::MaskGe,
        _ => return None,
    })
}
