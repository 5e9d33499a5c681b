//! A kernel as it is built: its parameters, its shared memory, and the text around its body.

use std::fmt::Write;

use unlade_program::args::Layout;
use unlade_program::{Program, Ty, Val};

use crate::asm::{Array, Asm, Operands, Parameter, Pred, R32, R64, Special};
use crate::cache::Cached;
use crate::module::{Kernel, LowerError, MAX_PARAM_BYTES, Param};

/// Threads of a block.
pub(crate) const THREADS: u32 = 256;
/// Lanes of a warp.
pub(crate) const LANES: u32 = 32;
/// Warps of a block.
pub(crate) const WARPS: u32 = THREADS / LANES;
/// Rows that a thread computes at once: as many as a byte of a bitmap holds.
pub(crate) const SLOTS: u32 = 8;
/// Rows that a block computes at once.
pub(crate) const STRIP: u32 = THREADS * SLOTS;
/// All lanes of a warp, for what they do together.
pub(crate) const ALL_LANES: u32 = u32::MAX;

/// One kernel being built for a program.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) program: &'a Program,
    pub(crate) layout: Layout,
    pub(crate) asm: Asm,
    /// Blocks that a multiprocessor is to hold at once; as many as the assembler sees fit if 0.
    pub(crate) resident_blocks: u32,
    /// Columns that stay in shared memory.
    pub(crate) cached: Vec<Cached>,
    types: Vec<Option<Ty>>,
    params: Vec<Param>,
    arrays: Vec<(Array, u32)>,
}

impl<'a> Frame<'a> {
    pub(crate) fn new(program: &'a Program) -> Self {
        Frame {
            program,
            layout: Layout::of(program),
            asm: Asm::default(),
            resident_blocks: 0,
            cached: Vec::new(),
            types: program.types(),
            params: Vec::new(),
            arrays: Vec::new(),
        }
    }

    /// The type of a value.
    pub(crate) fn ty(&self, value: Val) -> Ty {
        match self.types[value.index()] {
            Some(ty) => ty,
            None => unreachable!("verified: {value} is no trap"),
        }
    }

    /// A parameter of at most 32 bits.
    pub(crate) fn param32(&mut self, param: Param) -> R32 {
        self.declare(param);
        self.asm.r32("ld.param.b32", Parameter(param, 0))
    }

    /// A parameter of 64 bits, or the part of one that begins at a byte.
    pub(crate) fn param64(&mut self, param: Param, at: u32) -> R64 {
        self.declare(param);
        self.asm.r64("ld.param.b64", Parameter(param, at))
    }

    /// The address of an argument, 0 where it is absent.
    pub(crate) fn address(&mut self, arg: usize) -> R64 {
        self.param64(Param::Address { arg }, 0)
    }

    fn declare(&mut self, param: Param) {
        if !self.params.contains(&param) {
            self.params.push(param);
        }
    }

    /// An array in shared memory: its address.
    pub(crate) fn shared(&mut self, name: &'static str, bytes: u32) -> R32 {
        if self.arrays.iter().all(|(array, _)| array.0 != name) {
            self.arrays.push((Array(name), bytes));
        }
        self.asm.r32("mov.b32", Array(name))
    }

    /// A register that the hardware fills.
    pub(crate) fn special(&mut self, name: &'static str) -> R32 {
        self.asm.r32("mov.u32", Special(name))
    }

    /// An unsigned word as 64 bits.
    pub(crate) fn extend(&mut self, word: R32) -> R64 {
        self.asm.r64("cvt.u64.u32", word)
    }

    /// A predicate that is always true.
    pub(crate) fn always(&mut self) -> Pred {
        let any = self.special("%tid.x");
        self.asm.pred("setp.eq.u32", (any, any))
    }

    /// Both, where there are two.
    pub(crate) fn both(&mut self, one: Option<Pred>, other: Option<Pred>) -> Option<Pred> {
        match (one, other) {
            (Some(one), Some(other)) => Some(self.asm.pred("and.pred", (one, other))),
            (one, other) => one.or(other),
        }
    }

    /// A loop's step: adds to a register that is there already.
    pub(crate) fn advance(&mut self, register: R64, by: impl Operands + crate::asm::Operand) {
        self.asm.set(register, "add.s64", (register, by));
    }

    /// Writes the kernel's text and says how to launch it.
    pub(crate) fn finish(
        self,
        name: &str,
        rows_per_block: u32,
        into: &mut String,
    ) -> Result<Kernel, LowerError> {
        let bytes = self.params.iter().map(|param| param.bytes()).sum();
        if bytes > MAX_PARAM_BYTES {
            return Err(LowerError::TooManyParams { bytes });
        }
        // A string takes whatever is written to it.
        let _ = writeln!(into, "\n.visible .entry {name}(");
        for (position, param) in self.params.iter().enumerate() {
            let separator = if position + 1 < self.params.len() {
                ","
            } else {
                ""
            };
            let _ = match param.bytes() {
                4 => writeln!(into, "\t.param .b32 {param}{separator}"),
                8 => writeln!(into, "\t.param .b64 {param}{separator}"),
                bytes => writeln!(into, "\t.param .align 16 .b8 {param}[{bytes}]{separator}"),
            };
        }
        let _ = writeln!(into, ")\n.maxntid {THREADS}, 1, 1");
        if self.resident_blocks > 0 {
            let _ = writeln!(into, ".minnctapersm {}", self.resident_blocks);
        }
        into.push_str("{\n");
        for (array, bytes) in &self.arrays {
            let _ = writeln!(into, "\t.shared .align 16 .b8 {}[{bytes}];", array.0);
        }
        self.asm.finish(into);
        into.push_str("}\n");
        Ok(Kernel {
            name: name.to_owned(),
            params: self.params,
            block: THREADS,
            rows_per_block,
        })
    }
}

/// The oldest architecture that has all the instructions used, which is every GPU since Turing.
const VERSION: &str = "\n.version 7.0\n.target sm_75\n.address_size 64\n";

/// What a module's text begins with: the program itself, for whoever reads it, and the version.
pub(crate) fn header(program: &Program) -> String {
    let mut text = String::with_capacity(16 << 10);
    for line in program.to_string().lines() {
        text.push_str("// ");
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(VERSION);
    text
}

/// What the text of a module begins with that is made from no program.
pub(crate) fn version() -> String {
    VERSION.trim_start().to_owned()
}
