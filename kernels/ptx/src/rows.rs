//! Which rows a thread computes, and how their values come from memory.

use unlade_program::{Inst, Ty};

use crate::asm::{Global, Pred, R32, R64};
use crate::evaluate::Needed;
use crate::frame::{Frame, LANES, SLOTS, STRIP};
use crate::module::Param;
use crate::value::{Value, Wide};

/// How the rows of a thread lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    /// In groups a strip apart, each of eight rows beside each other, the first a multiple of
    /// eight: loads of 16 bytes, and a byte of every bitmap. All of them exist, and columns are
    /// aligned.
    Adjacent,
    /// A warp's width apart, so that a warp's lanes have adjacent rows.
    Striped,
}

/// The rows that a thread computes at once.
#[derive(Debug)]
pub(crate) struct Rows {
    /// How they lie.
    pub(crate) spread: Spread,
    /// The first.
    pub(crate) first: R64,
    /// Of each row, where it is to be read at all; zeros are computed with where not.
    pub(crate) guards: Vec<Option<Pred>>,
    /// The first, counted from the tile's first: where columns of the tile are kept.
    pub(crate) in_tile: Option<R32>,
}

impl Rows {
    /// How many rows.
    pub(crate) fn slots(&self) -> usize {
        self.guards.len()
    }

    /// So many groups of eight adjacent rows.
    pub(crate) fn adjacent(first: R64, groups: u32) -> Rows {
        Rows {
            spread: Spread::Adjacent,
            first,
            guards: vec![None; (groups * SLOTS) as usize],
            in_tile: None,
        }
    }

    /// How far each group of adjacent rows is behind the first, in rows.
    fn groups(&self) -> impl Iterator<Item = u64> + use<> {
        let groups = self.slots() as u64 / u64::from(SLOTS);
        (0..groups).map(|group| group * u64::from(STRIP))
    }

    /// Rows a warp's width apart, or one.
    pub(crate) fn striped(first: R64, guards: Vec<Option<Pred>>) -> Rows {
        Rows {
            spread: Spread::Striped,
            first,
            guards,
            in_tile: None,
        }
    }
}

impl Frame<'_> {
    /// The values of a column, one per row.
    pub(crate) fn load(&mut self, column: usize, rows: &Rows) -> Vec<Value> {
        if let Some(kept) = self.load_cached(column, rows) {
            return kept;
        }
        let arg = self.layout.column(column);
        match self.program.columns[column].ty {
            Ty::Mask => self.bits(arg, rows, false),
            ty if rows.spread == Spread::Adjacent => self.vectors(arg, ty, rows),
            ty => self.elements(arg, ty, rows),
        }
    }

    /// Which rows of a column are valid.
    pub(crate) fn validity(&mut self, column: usize, rows: &Rows) -> Vec<Value> {
        if !self.program.columns[column].nullable {
            let always = self.always();
            return vec![Value::Mask(always); rows.slots()];
        }
        let arg = self.layout.column(column) + 1;
        self.bits(arg, rows, true)
    }

    /// Whether all columns that are read begin where loads of 16 bytes may; `None` where there is
    /// none.
    pub(crate) fn aligned(&mut self, needed: &Needed) -> Option<Pred> {
        let mut all = None;
        for (_, inst) in needed.of(&self.program.insts, |inst| {
            matches!(inst, Inst::Load { .. })
        }) {
            let Inst::Load { column } = inst else {
                continue;
            };
            let column = usize::from(column);
            if self.program.columns[column].ty == Ty::Mask {
                continue;
            }
            let base = self.address(self.layout.column(column));
            all = Some(match all {
                None => base,
                Some(all) => self.asm.r64("or.b64", (all, base)),
            });
        }
        let low = self.asm.r64("and.b64", (all?, 15u64));
        Some(self.asm.pred("setp.eq.u64", (low, 0u64)))
    }

    /// The place of an element in an array.
    pub(crate) fn element(&mut self, base: R64, ty: Ty, index: R64) -> R64 {
        let bytes = ty.bytes_for(1);
        if bytes == 1 {
            return self.asm.r64("add.s64", (base, index));
        }
        let distance = self.asm.r64("shl.b64", (index, bytes.trailing_zeros()));
        self.asm.r64("add.s64", (base, distance))
    }

    /// One load a row.
    fn elements(&mut self, arg: usize, ty: Ty, rows: &Rows) -> Vec<Value> {
        let base = self.address(arg);
        let first = self.element(base, ty, rows.first);
        let step = ty.bytes_for(u64::from(LANES));
        (0u64..)
            .zip(&rows.guards)
            .map(|(slot, guard)| self.load_element(ty, Global(first, slot * step), *guard))
            .collect()
    }

    /// The element at a place, zero where the guard is false.
    pub(crate) fn load_element(&mut self, ty: Ty, at: Global, guard: Option<Pred>) -> Value {
        match ty.bits() {
            128 => Value::Wide(Wide {
                low: self.load64(at, guard),
                high: self.load64(Global(at.0, at.1 + 8), guard),
            }),
            64 => Value::Long(self.load64(at, guard)),
            _ => {
                let name = match ty {
                    Ty::I8 => "ld.global.s8",
                    Ty::U8 => "ld.global.u8",
                    Ty::I16 => "ld.global.s16",
                    Ty::U16 => "ld.global.u16",
                    _ => "ld.global.b32",
                };
                Value::Word(self.load32(name, at, guard))
            }
        }
    }

    fn load32(&mut self, name: &str, at: Global, guard: Option<Pred>) -> R32 {
        let word = self.asm.new32();
        if guard.is_some() {
            self.asm.set(word, "mov.b32", 0u32);
        }
        self.asm.guarded(guard).set(word, name, at);
        word
    }

    fn load64(&mut self, at: Global, guard: Option<Pred>) -> R64 {
        let long = self.asm.new64();
        if guard.is_some() {
            self.asm.set(long, "mov.b64", 0u64);
        }
        self.asm.guarded(guard).set(long, "ld.global.b64", at);
        long
    }

    /// Groups of eight rows by loads of 16 bytes.
    fn vectors(&mut self, arg: usize, ty: Ty, rows: &Rows) -> Vec<Value> {
        let base = self.address(arg);
        let first = self.element(base, ty, rows.first);
        rows.groups()
            .flat_map(|behind| self.eight_elements(ty, first, ty.bytes_for(behind)))
            .collect()
    }

    fn eight_elements(&mut self, ty: Ty, first: R64, distance: u64) -> Vec<Value> {
        let at = |vector: u64| Global(first, distance + vector * 16);
        match ty.bits() {
            8 => {
                let words = [self.asm.new32(), self.asm.new32()];
                self.asm.set(words, "ld.global.v2.b32", at(0));
                self.split(ty, &words)
            }
            16 => {
                let words = self.load_words(at(0));
                self.split(ty, &words)
            }
            32 => (0..2)
                .flat_map(|vector| self.load_words(at(vector)).map(Value::Word))
                .collect(),
            64 => (0..4)
                .flat_map(|vector| self.load_longs(at(vector)).map(Value::Long))
                .collect(),
            _ => (0..8)
                .map(|vector| {
                    let [low, high] = self.load_longs(at(vector));
                    Value::Wide(Wide { low, high })
                })
                .collect(),
        }
    }

    fn load_words(&mut self, at: Global) -> [R32; 4] {
        let words = std::array::from_fn(|_| self.asm.new32());
        self.asm.set(words, "ld.global.v4.b32", at);
        words
    }

    fn load_longs(&mut self, at: Global) -> [R64; 2] {
        let longs = std::array::from_fn(|_| self.asm.new64());
        self.asm.set(longs, "ld.global.v2.b64", at);
        longs
    }

    /// The elements of words that hold several.
    fn split(&mut self, ty: Ty, words: &[R32]) -> Vec<Value> {
        let name = if ty.is_signed() { "bfe.s32" } else { "bfe.u32" };
        let bits = ty.bits();
        let mut values = Vec::with_capacity(SLOTS as usize);
        for &word in words {
            for at in (0..32).step_by(bits as usize) {
                values.push(Value::Word(self.asm.r32(name, (word, at, bits))));
            }
        }
        values
    }

    /// The bits of a bitmap, which begins anywhere in its first byte. All are set where the
    /// bitmap may be absent and is.
    fn bits(&mut self, arg: usize, rows: &Rows, may_be_absent: bool) -> Vec<Value> {
        let base = self.address(arg);
        let offset = self.param32(Param::BitOffset { arg });
        let present = may_be_absent.then(|| self.asm.pred("setp.ne.u64", (base, 0u64)));
        match rows.spread {
            Spread::Adjacent => {
                let byte = self.asm.r64("shr.u64", (rows.first, 3u32));
                let first = self.asm.r64("add.s64", (base, byte));
                rows.groups()
                    .flat_map(|behind| {
                        let at = Global(first, behind / 8);
                        self.byte_of_bits(at, offset, present)
                    })
                    .collect()
            }
            Spread::Striped => self.striped_bits(base, offset, present, rows),
        }
    }

    /// Eight bits, which lie in two bytes unless the bitmap begins with its first byte.
    fn byte_of_bits(&mut self, at: Global, offset: R32, present: Option<Pred>) -> Vec<Value> {
        let low = self.asm.r32("mov.b32", 0xffu32);
        self.asm.guarded(present).set(low, "ld.global.u8", at);
        let high = self.asm.r32("mov.b32", 0xffu32);
        // Where nothing of the second byte is needed, it may not exist.
        let crosses = self.asm.pred("setp.ne.u32", (offset, 0u32));
        let reads = self.both(Some(crosses), present);
        self.asm
            .guarded(reads)
            .set(high, "ld.global.u8", Global(at.0, at.1 + 1));
        let high = self.asm.r32("shl.b32", (high, 8u32));
        let both = self.asm.r32("or.b32", (low, high));
        let bits = self.asm.r32("shr.u32", (both, offset));
        (0..SLOTS)
            .map(|slot| {
                let bit = self.asm.r32("and.b32", (bits, 1u32 << slot));
                Value::Mask(self.asm.pred("setp.ne.u32", (bit, 0u32)))
            })
            .collect()
    }

    fn striped_bits(
        &mut self,
        base: R64,
        offset: R32,
        present: Option<Pred>,
        rows: &Rows,
    ) -> Vec<Value> {
        let offset = self.extend(offset);
        let bit = self.asm.r64("add.s64", (rows.first, offset));
        let byte = self.asm.r64("shr.u64", (bit, 3u32));
        let at = self.asm.r64("add.s64", (base, byte));
        let within = self.asm.r32("cvt.u32.u64", bit);
        let within = self.asm.r32("and.b32", (within, 7u32));
        let step = u64::from(LANES / 8);
        (0u64..)
            .zip(&rows.guards)
            .map(|(slot, guard)| {
                let reads = self.both(present, *guard);
                let bits = self.asm.r32("mov.b32", 0xffu32);
                self.asm
                    .guarded(reads)
                    .set(bits, "ld.global.u8", Global(at, slot * step));
                let bits = self.asm.r32("shr.u32", (bits, within));
                let bit = self.asm.r32("and.b32", (bits, 1u32));
                Value::Mask(self.asm.pred("setp.ne.u32", (bit, 0u32)))
            })
            .collect()
    }
}
