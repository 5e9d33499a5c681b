//! Tables and sets.

use std::hint::select_unpredictable;
use std::marker::PhantomData;

use unlade_program::{Inst, Ty};

use super::compare::Inside;
use super::{Test1, map1, test1};
use crate::Level;
use crate::element::{Element, Integer, with_bits_of, with_integer};
use crate::frame::{Entry, Extent, Frame, Kernel, Step};
use crate::isa::{Chunk, Isa};
use crate::mask::WORD;

pub(super) fn lookup(index: Ty, entry: Ty) -> Entry {
    // Gathers are no faster than loads one by one.
    let level = Level::PORTABLE;
    if entry == Ty::Mask {
        return with_integer!(index, T => level.entry::<LookupBit<T>>());
    }
    with_integer!(index, T => with_bits_of!(entry, E => level.entry::<Lookup<T, E>>()))
}

pub(super) fn in_bounds(level: Level, index: Ty) -> Entry {
    with_integer!(index, T => level.entry::<InBounds<T>>())
}

pub(super) fn in_set(level: Level, arg: Ty) -> Entry {
    // Floats are members by their bits.
    let arg = match arg {
        Ty::F32 => Ty::U32,
        Ty::F64 => Ty::U64,
        integer => integer,
    };
    with_integer!(arg, T => level.entry::<InSet<T>>())
}

fn table<'f>(step: &Step, frame: &Frame<'f, '_>) -> &'f [u8] {
    match step.inst {
        Inst::Lookup { table, .. } | Inst::InBounds { table, .. } => {
            frame.inputs.tables[table as usize]
        }
        other => unreachable!("the kernels of tables are given no {other:?}"),
    }
}

struct Lookup<T, E>(PhantomData<(T, E)>);

impl<T: Integer, E: Element> Kernel for Lookup<T, E> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let table = table(step, frame);
        map1(step, frame, |index: T| {
            entry::<E>(table, index.index()).unwrap_or_default()
        });
    }
}

/// An entry of a table or set, which may begin at any address.
#[inline(always)]
fn entry<E: Element>(table: &[u8], index: usize) -> Option<E> {
    let width = size_of::<E>();
    (index < table.len() / width).then(|| E::from_bytes(&table[index * width..][..width]))
}

struct LookupBit<T>(PhantomData<T>);

impl<T: Integer> Kernel for LookupBit<T> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        test1::<I, T>(step, frame, &BitTable(table(step, frame)));
    }
}

struct BitTable<'a>(&'a [u8]);

impl<T: Integer> Test1<T> for BitTable<'_> {
    #[inline(always)]
    fn test<I: Isa>(&self, indices: Chunk<'_, T>) -> u64 {
        let mut word = 0;
        for row in 0..WORD {
            let index = indices.get(row).index();
            let bit = self
                .0
                .get(index / 8)
                .map_or(0, |byte| byte >> (index % 8) & 1);
            word |= u64::from(bit) << row;
        }
        word
    }
}

struct InBounds<T>(PhantomData<T>);

impl<T: Integer> Kernel for InBounds<T> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let Inst::InBounds { table: number, .. } = step.inst else {
            unreachable!("this kernel is given bounds checks only");
        };
        let entries =
            table(step, frame).len() * 8 / frame.table_types[number as usize].bits() as usize;
        match entries.checked_sub(1) {
            Some(last) => {
                let inside = Inside {
                    low: T::clamped(0),
                    high: T::clamped(last as i128),
                };
                test1::<I, T>(step, frame, &inside);
            }
            None => {
                let mut taken = frame.take_mask(step.to);
                taken.extent = Extent::None;
                frame.put_mask(step.to, taken);
            }
        }
    }
}

/// Sets up to this size are compared with entry by entry.
const SMALL_SET: usize = 32;

struct InSet<T>(PhantomData<T>);

impl<T: Integer> Kernel for InSet<T> {
    #[inline(always)]
    fn run<I: Isa>(step: &Step, frame: &mut Frame<'_, '_>) {
        let Inst::InSet { set, .. } = step.inst else {
            unreachable!("this kernel is given sets only");
        };
        let set = frame.inputs.sets[set as usize];
        let entries = set.len() / size_of::<T>();
        if entries <= SMALL_SET {
            let mut members = [T::default(); SMALL_SET];
            for (index, value) in members[..entries].iter_mut().enumerate() {
                *value = T::from_bytes(&set[index * size_of::<T>()..]);
            }
            test1::<I, T>(step, frame, &SmallSet(&members[..entries]));
        } else {
            test1::<I, T>(step, frame, &LargeSet { set, entries });
        }
    }
}

struct SmallSet<'a, T>(&'a [T]);

impl<T: Integer> Test1<T> for SmallSet<'_, T> {
    #[inline(always)]
    fn test<I: Isa>(&self, args: Chunk<'_, T>) -> u64 {
        let mut word = 0;
        for member in self.0 {
            word |= I::equal(args, Chunk::Splat(*member));
        }
        word
    }
}

struct LargeSet<'a> {
    set: &'a [u8],
    entries: usize,
}

impl<T: Integer> Test1<T> for LargeSet<'_> {
    #[inline(always)]
    fn test<I: Isa>(&self, args: Chunk<'_, T>) -> u64 {
        let mut word = 0;
        for row in 0..WORD {
            word |= u64::from(contains(self.set, self.entries, args.get(row))) << row;
        }
        word
    }
}

/// Binary search whose only branch is the loop's, which depends on the size of the set alone. Left
/// to itself the compiler makes a branch of the choice, which is mispredicted at every other step.
#[inline(always)]
fn contains<T: Integer>(set: &[u8], entries: usize, value: T) -> bool {
    let at = |index: usize| T::from_bytes(&set[index * size_of::<T>()..][..size_of::<T>()]);
    let mut first = 0;
    let mut left = entries;
    while left > 1 {
        let half = left / 2;
        first = select_unpredictable(at(first + half) <= value, first + half, first);
        left -= half;
    }
    at(first) == value
}
