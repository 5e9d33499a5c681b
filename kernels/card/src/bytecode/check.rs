//! Words, checked one after the other as every card checks them.

use unlade_program::{Cell, Op, Ty, limits};

use super::{
    Bytecode, Field, Immediate, Kind, NO_REGISTER, Operation, Register, Thing, WORD, Word, ty_of,
};
use crate::malformed::Fault;

/// What the words before have done.
pub(super) struct Checker<'a> {
    /// The declarations; the words come one by one.
    declared: &'a Bytecode,
    /// Whether the header announces KEEP.
    keep: bool,
    /// Whether the header announces EMIT_MASK.
    emit_mask: bool,
    kept: bool,
    emitted: bool,
    stored: Vec<bool>,
    /// The type of what each V register holds.
    values: Vec<Option<Ty>>,
    /// The same of the M registers.
    masks: Vec<Option<Ty>>,
}

/// What is declared and never done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// A word that one of the header's flags announces.
    Flagged,
    /// The STORE of an output.
    Output(usize),
}

impl<'a> Checker<'a> {
    pub(super) fn new(declared: &'a Bytecode, keep: bool, emit_mask: bool) -> Self {
        Checker {
            declared,
            keep,
            emit_mask,
            kept: false,
            emitted: false,
            stored: vec![false; declared.outputs.len()],
            values: vec![None; usize::from(declared.value_registers)],
            masks: vec![None; usize::from(declared.mask_registers)],
        }
    }

    /// The next word, by the checks (a) to (m) of docs/CARD.md, section 9; (h) concerns single
    /// cards.
    pub(super) fn word(&mut self, raw: &[u8; WORD]) -> Result<Word, Fault> {
        let raw = Raw(raw);
        let operation = Operation::of_number(raw.operation()).ok_or(Fault::UnknownOperation)?;
        raw.unused_is_empty(operation)?;
        let types = ty_of(raw.0[2]).zip(ty_of(raw.0[3]));
        let (operand, result) = types.ok_or(Fault::BadType)?;
        let variant = raw.0[4];
        admitted(operation, operand, result, variant)?;
        let form = operation.form();
        let named = |field: Option<Field>, number: u8| {
            let ty = field?.ty(operand, result);
            (number != NO_REGISTER).then_some(Register {
                kind: Kind::of(ty),
                number,
            })
        };
        let word = Word {
            operation,
            operand,
            result,
            variant,
            dst: named(form.dst, raw.dst()),
            sources: std::array::from_fn(|source| {
                named(form.sources[source], raw.sources()[source])
            }),
            index: raw.index(),
            immediate: raw.immediate(),
        };
        self.index(&word)?;
        immediate(&word)?;
        self.sources(&word)?;
        self.order(&word)?;
        self.dst(&word)?;
        Ok(word)
    }

    /// What is announced and has not come.
    pub(super) fn missing(&self) -> Option<Missing> {
        if self.keep != self.kept || self.emit_mask != self.emitted {
            return Some(Missing::Flagged);
        }
        self.stored
            .iter()
            .position(|stored| !stored)
            .map(Missing::Output)
    }

    /// The index is of something, and of the word's type where the word says one.
    fn index(&self, word: &Word) -> Result<(), Fault> {
        let declared = self.declared;
        let index = usize::from(word.index);
        let (found, wanted) = match word.operation.form().index {
            None | Some(Thing::Code) => return Ok(()),
            Some(Thing::Constant) => {
                let constant = declared.constants.get(index);
                return constant.map(|_| ()).ok_or(Fault::BadIndex);
            }
            Some(Thing::Column) => (declared.columns.get(index).map(|it| it.ty), word.operand),
            Some(Thing::Param) => (declared.params.get(index).copied(), word.operand),
            Some(Thing::Table) => (declared.tables.get(index).copied(), word.result),
            Some(Thing::Set) => (declared.sets.get(index).copied(), word.operand),
            Some(Thing::Output) => (declared.outputs.get(index).map(|it| it.ty), word.operand),
        };
        let found = found.ok_or(Fault::BadIndex)?;
        // Validity and bounds are masks, of columns and tables of any type.
        let of_any = matches!(
            word.operation,
            Operation::Program(Op::Validity | Op::InBounds)
        );
        match of_any || found == wanted {
            true => Ok(()),
            false => Err(Fault::BadType),
        }
    }

    /// Every source is counted by the header, written, and of the type that is read.
    fn sources(&self, word: &Word) -> Result<(), Fault> {
        let form = word.operation.form();
        for (position, (field, source)) in form.sources.iter().zip(word.sources).enumerate() {
            let Some(field) = field else { continue };
            let Some(register) = source else {
                // A store without validity.
                if word.operation == Operation::Store && position == 1 {
                    continue;
                }
                return Err(Fault::BadRegister);
            };
            let held = self
                .registers(register.kind)
                .get(usize::from(register.number))
                .ok_or(Fault::BadRegister)?
                .ok_or(Fault::UndefinedRegister)?;
            if held != field.ty(word.operand, word.result) {
                return Err(Fault::RegisterType);
            }
        }
        Ok(())
    }

    /// KEEP, then EMIT_MASK and STORE, each as often as it is declared.
    fn order(&mut self, word: &Word) -> Result<(), Fault> {
        let in_order = match word.operation {
            Operation::Program(_) => true,
            Operation::Keep => self.keep && !std::mem::replace(&mut self.kept, true),
            Operation::EmitMask => {
                let first = !std::mem::replace(&mut self.emitted, true);
                self.emit_mask && self.kept && first
            }
            Operation::Store => {
                let index = usize::from(word.index);
                let first = !std::mem::replace(&mut self.stored[index], true);
                let valid = self.declared.outputs[index].valid;
                self.keep == self.kept && first && valid == word.sources[1].is_some()
            }
        };
        match in_order {
            true => Ok(()),
            false => Err(Fault::BadOrder),
        }
    }

    fn dst(&mut self, word: &Word) -> Result<(), Fault> {
        let Some(field) = word.operation.form().dst else {
            return Ok(());
        };
        let register = word.dst.ok_or(Fault::BadRegister)?;
        let registers = match register.kind {
            Kind::Value => &mut self.values,
            Kind::Mask => &mut self.masks,
        };
        let held = registers
            .get_mut(usize::from(register.number))
            .ok_or(Fault::BadRegister)?;
        *held = Some(field.ty(word.operand, word.result));
        Ok(())
    }

    fn registers(&self, kind: Kind) -> &[Option<Ty>] {
        match kind {
            Kind::Value => &self.values,
            Kind::Mask => &self.masks,
        }
    }
}

/// Whether section 10 has the operation on these types, in this variant.
fn admitted(operation: Operation, operand: Ty, result: Ty, variant: u8) -> Result<(), Fault> {
    let (types, choice) = match operation {
        Operation::Program(op) => {
            let cell = |variant| Cell {
                op,
                operand,
                result,
                variant,
            };
            (cell(0).is_legal(), cell(variant).is_legal())
        }
        Operation::Keep | Operation::EmitMask => {
            ((operand, result) == (Ty::Mask, Ty::Mask), variant == 0)
        }
        Operation::Store => (operand == result, variant == 0),
    };
    match (types, choice) {
        (false, _) => Err(Fault::BadType),
        (true, false) => Err(Fault::BadVariant),
        (true, true) => Ok(()),
    }
}

/// Digits are within what the operation, and of RESCALE the variant, takes.
fn immediate(word: &Word) -> Result<(), Fault> {
    let most = i32::from(limits::RESCALE_DIGITS);
    let range = match word.operation {
        Operation::Program(Op::Rescale) if word.variant > 0 => -most..=-1,
        Operation::Program(Op::Rescale | Op::RescaleFails) => 1..=most,
        Operation::Program(Op::Digits) => 0..=most,
        _ => return Ok(()),
    };
    match range.contains(&word.immediate) {
        true => Ok(()),
        false => Err(Fault::BadImmediate),
    }
}

/// A word's bytes.
struct Raw<'a>(&'a [u8; WORD]);

impl Raw<'_> {
    fn operation(&self) -> u16 {
        u16::from_le_bytes([self.0[0], self.0[1]])
    }

    fn dst(&self) -> u8 {
        self.0[5]
    }

    fn sources(&self) -> [u8; 3] {
        [self.0[6], self.0[7], self.0[8]]
    }

    fn index(&self) -> u16 {
        u16::from_le_bytes([self.0[10], self.0[11]])
    }

    fn immediate(&self) -> i32 {
        i32::from_le_bytes([self.0[12], self.0[13], self.0[14], self.0[15]])
    }

    /// Byte 9 and whatever the operation does not use.
    fn unused_is_empty(&self, operation: Operation) -> Result<(), Fault> {
        let form = operation.form();
        let registers = [form.dst.is_some()]
            .into_iter()
            .chain(form.sources.map(|source| source.is_some()))
            .zip([self.dst()].into_iter().chain(self.sources()))
            .all(|(used, number)| used || number == NO_REGISTER);
        let index = form.index.is_some() || self.index() == 0;
        let immediate = form.immediate != Immediate::None || self.immediate() == 0;
        match self.0[9] == 0 && registers && index && immediate {
            true => Ok(()),
            false => Err(Fault::ReservedNotZero),
        }
    }
}
