//! A typed emitter of PTX: registers, predicates, labels and address spaces are types of Rust.
//!
//! Registers are virtual and written once unless they are [`set`](Asm::set) again, which loops
//! do. Floats live in registers of plain bits, as PTX allows, so that a value has one register
//! whatever is done with it.

use std::fmt::{self, Write};

use crate::Param;
use crate::frame::ALL_LANES;
use crate::value::Value;

/// A predicate register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pred(u32);

/// A register of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct R32(u32);

/// A register of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct R64(u32);

/// A place to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    name: &'static str,
    number: u32,
}

/// A place in global memory: a register and a distance in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Global(pub(crate) R64, pub(crate) u64);

/// A place in the block's shared memory: a register and a distance in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared(pub(crate) R32, pub(crate) u32);

/// A parameter of the kernel and a distance in bytes, for one longer than a register.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter(pub(crate) Param, pub(crate) u32);

/// An array in shared memory, as a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Array(pub(crate) &'static str);

/// A register that the hardware fills: `%tid.x`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Special(pub(crate) &'static str);

/// What an instruction reads, or where it stores.
pub(crate) trait Operand: Copy {
    fn write(self, text: &mut String);
}

/// A register that holds an integer or the bits of a float.
pub(crate) trait Register: Operand {
    /// Its width.
    const BITS: u32;
    /// The suffix of instructions on plain bits.
    const PLAIN: &'static str;
    /// The suffix of instructions on integers with a sign.
    const SIGNED: &'static str;
    /// The suffix of instructions on integers without one.
    const UNSIGNED: &'static str;
    /// A register without a value.
    fn new(asm: &mut Asm) -> Self;
    /// As the value of an instruction.
    fn value(self) -> Value;
    /// A number of 32 bits, without a sign.
    fn from_word(asm: &mut Asm, word: R32) -> Self;
    /// A number of 64 bits, without a sign; the most that there is room for where it is more.
    fn from_long(asm: &mut Asm, long: R64) -> Self;
    /// As 64 bits, without a sign.
    fn to_long(self, asm: &mut Asm) -> R64;
    /// The value of another lane of the warp: `shfl.sync` of a kind, with its distance or lane and
    /// its clamp. All lanes take part.
    fn shuffle(self, asm: &mut Asm, kind: &str, by: impl Operand, clamp: u32) -> Self;
}

impl Register for R32 {
    const BITS: u32 = 32;
    const PLAIN: &'static str = "b32";
    const SIGNED: &'static str = "s32";
    const UNSIGNED: &'static str = "u32";

    fn new(asm: &mut Asm) -> Self {
        asm.new32()
    }

    fn value(self) -> Value {
        Value::Word(self)
    }

    fn from_word(_: &mut Asm, word: R32) -> Self {
        word
    }

    fn from_long(asm: &mut Asm, long: R64) -> Self {
        let long = asm.r64("min.u64", (long, u64::from(u32::MAX)));
        asm.r32("cvt.u32.u64", long)
    }

    fn to_long(self, asm: &mut Asm) -> R64 {
        asm.r64("cvt.u64.u32", self)
    }

    fn shuffle(self, asm: &mut Asm, kind: &str, by: impl Operand, clamp: u32) -> Self {
        let name = ["shfl.sync.", kind, ".b32"];
        asm.r32(name, (self, by, clamp, ALL_LANES))
    }
}

impl Register for R64 {
    const BITS: u32 = 64;
    const PLAIN: &'static str = "b64";
    const SIGNED: &'static str = "s64";
    const UNSIGNED: &'static str = "u64";

    fn new(asm: &mut Asm) -> Self {
        asm.new64()
    }

    fn value(self) -> Value {
        Value::Long(self)
    }

    fn from_word(asm: &mut Asm, word: R32) -> Self {
        asm.r64("cvt.u64.u32", word)
    }

    fn from_long(_: &mut Asm, long: R64) -> Self {
        long
    }

    fn to_long(self, _: &mut Asm) -> R64 {
        self
    }

    fn shuffle(self, asm: &mut Asm, kind: &str, by: impl Operand, clamp: u32) -> Self {
        let halves = [asm.new32(), asm.new32()];
        asm.set(halves, "mov.b64", self);
        let halves = halves.map(|half| half.shuffle(asm, kind, by, clamp));
        asm.r64("mov.b64", halves)
    }
}

/// The operands of one instruction, in order.
pub(crate) trait Operands {
    fn write_all(self, text: &mut String);
}

/// The name of an instruction, in pieces.
pub(crate) trait Mnemonic {
    fn write(self, text: &mut String);
}

impl Mnemonic for &str {
    fn write(self, text: &mut String) {
        text.push_str(self);
    }
}

impl<const N: usize> Mnemonic for [&str; N] {
    fn write(self, text: &mut String) {
        self.iter().for_each(|piece| text.push_str(piece));
    }
}

/// The body of one kernel as it grows.
#[derive(Debug, Default)]
pub(crate) struct Asm {
    text: String,
    preds: u32,
    words: u32,
    longs: u32,
    labels: u32,
    guard: Option<(Pred, bool)>,
}

impl Asm {
    /// Makes a register of the width that is wanted.
    pub(crate) fn reg<R: Register>(&mut self, name: impl Mnemonic, operands: impl Operands) -> R {
        let register = R::new(self);
        self.set(register, name, operands);
        register
    }

    /// Makes a register of 32 bits.
    pub(crate) fn r32(&mut self, name: impl Mnemonic, operands: impl Operands) -> R32 {
        let register = self.new32();
        self.set(register, name, operands);
        register
    }

    /// Makes a register of 64 bits.
    pub(crate) fn r64(&mut self, name: impl Mnemonic, operands: impl Operands) -> R64 {
        let register = self.new64();
        self.set(register, name, operands);
        register
    }

    /// Makes a predicate.
    pub(crate) fn pred(&mut self, name: impl Mnemonic, operands: impl Operands) -> Pred {
        let register = self.new_pred();
        self.set(register, name, operands);
        register
    }

    /// Writes a register that is there already: a loop's, or one that a guard leaves as it is.
    pub(crate) fn set(&mut self, into: impl Operand, name: impl Mnemonic, operands: impl Operands) {
        self.begin(name);
        into.write(&mut self.text);
        self.text.push_str(", ");
        operands.write_all(&mut self.text);
        self.text.push_str(";\n");
    }

    /// An instruction without a result: a store, a barrier.
    pub(crate) fn run(&mut self, name: impl Mnemonic, operands: impl Operands) {
        self.begin(name);
        operands.write_all(&mut self.text);
        self.text.push_str(";\n");
    }

    /// An instruction without operands: `ret`, a fence.
    pub(crate) fn run_plain(&mut self, name: &str) {
        self.text.push('\t');
        self.text.push_str(name);
        self.text.push_str(";\n");
    }

    /// The sum of two numbers without a sign; `most` where it would be more. Neither is more, and
    /// twice as much fits into a register.
    pub(crate) fn sum<R: Register>(&mut self, a: R, b: R, most: Option<R>) -> R {
        let sum = R::new(self);
        self.set_sum(sum, (a, b), most);
        sum
    }

    /// Writes such a sum to a register that is there already.
    pub(crate) fn set_sum<R: Register>(&mut self, into: R, of: (R, R), most: Option<R>) {
        self.set(into, ["add.", R::SIGNED], of);
        if let Some(most) = most {
            self.set(into, ["min.", R::UNSIGNED], (into, most));
        }
    }

    /// Guards the next instruction: it runs where the predicate is true.
    pub(crate) fn when(&mut self, pred: Pred) -> &mut Self {
        self.guard = Some((pred, true));
        self
    }

    /// Guards the next instruction: it runs where the predicate is false.
    pub(crate) fn unless(&mut self, pred: Pred) -> &mut Self {
        self.guard = Some((pred, false));
        self
    }

    /// Guards the next instruction, if there is anything to guard it with.
    pub(crate) fn guarded(&mut self, pred: Option<Pred>) -> &mut Self {
        self.guard = pred.map(|pred| (pred, true));
        self
    }

    /// A register without a value.
    pub(crate) fn new32(&mut self) -> R32 {
        self.words += 1;
        R32(self.words)
    }

    /// A register without a value.
    pub(crate) fn new64(&mut self) -> R64 {
        self.longs += 1;
        R64(self.longs)
    }

    /// A predicate without a value.
    pub(crate) fn new_pred(&mut self) -> Pred {
        self.preds += 1;
        Pred(self.preds)
    }

    /// A label, not placed yet.
    pub(crate) fn label(&mut self, name: &'static str) -> Label {
        self.labels += 1;
        Label {
            name,
            number: self.labels,
        }
    }

    /// The next instruction is where the label is.
    pub(crate) fn place(&mut self, label: Label) {
        label.write(&mut self.text);
        self.text.push_str(":\n");
    }

    /// Goes on at a label; of a warp's lanes under a guard, those that it is true of.
    pub(crate) fn jump(&mut self, label: Label) {
        self.run("bra", label);
    }

    /// Words for whoever reads the text.
    pub(crate) fn comment(&mut self, words: fmt::Arguments<'_>) {
        self.text.push_str("\t// ");
        // A string takes whatever is written to it.
        let _ = self.text.write_fmt(words);
        self.text.push('\n');
    }

    /// The declarations of all registers, then the instructions.
    pub(crate) fn finish(self, into: &mut String) {
        for (class, prefix, count) in [
            ("pred", 'p', self.preds),
            ("b32", 'r', self.words),
            ("b64", 'd', self.longs),
        ] {
            if count > 0 {
                let _ = writeln!(into, "\t.reg .{class} %{prefix}<{}>;", count + 1);
            }
        }
        into.push_str(&self.text);
    }

    fn begin(&mut self, name: impl Mnemonic) {
        self.text.push('\t');
        if let Some((pred, wanted)) = self.guard.take() {
            self.text.push_str(if wanted { "@" } else { "@!" });
            pred.write(&mut self.text);
            self.text.push(' ');
        }
        name.write(&mut self.text);
        self.text.push(' ');
    }
}

fn number(text: &mut String, prefix: &str, number: u64) {
    text.push_str(prefix);
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    text.extend(digits[at..].iter().map(|&digit| char::from(digit)));
}

impl Operand for Pred {
    fn write(self, text: &mut String) {
        number(text, "%p", u64::from(self.0));
    }
}

impl Operand for R32 {
    fn write(self, text: &mut String) {
        number(text, "%r", u64::from(self.0));
    }
}

impl Operand for R64 {
    fn write(self, text: &mut String) {
        number(text, "%d", u64::from(self.0));
    }
}

impl Operand for Label {
    fn write(self, text: &mut String) {
        text.push_str(self.name);
        number(text, "_", u64::from(self.number));
    }
}

impl Operand for i32 {
    fn write(self, text: &mut String) {
        let sign = if self < 0 { "-" } else { "" };
        number(text, sign, u64::from(self.unsigned_abs()));
    }
}

impl Operand for i64 {
    fn write(self, text: &mut String) {
        match i32::try_from(self) {
            Ok(small) => small.write(text),
            // The least has no decimal constant; its bits have a name.
            Err(_) => (self as u64).write(text),
        }
    }
}

impl Operand for u32 {
    fn write(self, text: &mut String) {
        u64::from(self).write(text);
    }
}

impl Operand for u64 {
    fn write(self, text: &mut String) {
        // Where it is that large, it is a pattern of bits.
        if self < 1 << 31 {
            number(text, "", self);
        } else {
            let _ = write!(text, "{self:#x}");
        }
    }
}

impl Operand for Array {
    fn write(self, text: &mut String) {
        text.push_str(self.0);
    }
}

impl Operand for Special {
    fn write(self, text: &mut String) {
        text.push_str(self.0);
    }
}

impl Operand for Global {
    fn write(self, text: &mut String) {
        text.push('[');
        self.0.write(text);
        if self.1 != 0 {
            number(text, "+", self.1);
        }
        text.push(']');
    }
}

impl Operand for Shared {
    fn write(self, text: &mut String) {
        text.push('[');
        self.0.write(text);
        if self.1 != 0 {
            number(text, "+", u64::from(self.1));
        }
        text.push(']');
    }
}

impl Operand for Parameter {
    fn write(self, text: &mut String) {
        text.push('[');
        let _ = write!(text, "{}", self.0);
        if self.1 != 0 {
            number(text, "+", u64::from(self.1));
        }
        text.push(']');
    }
}

/// A vector of registers: `{%r1, %r2}`.
impl<T: Operand, const N: usize> Operand for [T; N] {
    fn write(self, text: &mut String) {
        let mut separator = "{";
        for element in self {
            text.push_str(separator);
            element.write(text);
            separator = ", ";
        }
        text.push('}');
    }
}

impl<T: Operand> Operands for T {
    fn write_all(self, text: &mut String) {
        self.write(text);
    }
}

macro_rules! operands {
    ($($name:ident)+) => {
        impl<First: Operand, $($name: Operand),+> Operands for (First, $($name),+) {
            #[allow(non_snake_case)] // the types' names serve for the values
            fn write_all(self, text: &mut String) {
                let (First, $($name),+) = self;
                First.write(text);
                $(
                    text.push_str(", ");
                    $name.write(text);
                )+
            }
        }
    };
}

operands!(Second);
operands!(Second Third);
operands!(Second Third Fourth);
