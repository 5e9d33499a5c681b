//! What the levels do differently: the few steps for which the compiler's own vectorisation does
//! not suffice.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::element::Element;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;

/// One operand of 64 rows: an array, or one value for all of them.
#[derive(Clone, Copy)]
pub(crate) enum Chunk<'a, T> {
    Rows(&'a [T; 64]),
    Splat(T),
}

impl<T: Copy> Chunk<'_, T> {
    #[inline(always)]
    pub(crate) fn get(&self, row: usize) -> T {
        match self {
            Chunk::Rows(rows) => rows[row],
            Chunk::Splat(value) => *value,
        }
    }
}

/// Asks the CPU for 64 rows that are about to be read. Where there is no instruction for it that is
/// stable, the CPU goes by its own guesses.
#[inline(always)]
pub(crate) fn prefetch<T>(rows: &[T; 64]) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..size_of::<T>() {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = rows.as_ptr().cast::<i8>().wrapping_add(line * CACHE_LINE);
        // SAFETY: a hint reads nothing, whatever the address, and every x86-64 has the instruction.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = rows;
}

/// Bytes that the CPU fetches at a time; as many as one-byte values of 64 rows are.
#[cfg(target_arch = "x86_64")]
const CACHE_LINE: usize = 64;

/// A level as a type. The methods must be `#[inline(always)]`: they are compiled with the
/// features of the function they end up in.
pub(crate) trait Isa: Sized {
    /// Whether comparisons are written as vector instructions, and so as fast as memory is read.
    const VECTORS: bool = false;

    /// Bit `n` of the result is byte `n`, each of which is 0 or 1.
    #[inline(always)]
    fn pack(bytes: &[u8; 64]) -> u64 {
        let mut word = 0;
        for (index, eight) in bytes.as_chunks::<8>().0.iter().enumerate() {
            // The product gathers bit 0 of all eight bytes in the topmost byte.
            let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            word |= bits << (8 * index);
        }
        word
    }

    /// Byte `n` of the result is bit `n`: 0 or 1.
    #[inline(always)]
    fn unpack(word: u64) -> [u8; 64] {
        let mut bytes = [0; 64];
        for (index, eight) in bytes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            // Each byte keeps one of the eight bits, which then becomes its lowest.
            let bits = (word >> (8 * index) & 0xff).wrapping_mul(0x0101_0101_0101_0101);
            let bits = bits & 0x8040_2010_0804_0201;
            let set = (bits + 0x7f7f_7f7f_7f7f_7f7f) >> 7;
            *eight = (set & 0x0101_0101_0101_0101).to_le_bytes();
        }
        bytes
    }

    /// Which rows of the left are less than those of the right.
    #[inline(always)]
    fn less<T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        relate::<Self, T>(lhs, rhs, |lhs, rhs| lhs < rhs)
    }

    /// Which rows of the left are at most those of the right.
    #[inline(always)]
    fn less_or_equal<T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        relate::<Self, T>(lhs, rhs, |lhs, rhs| lhs <= rhs)
    }

    /// Which rows of the left equal those of the right.
    #[inline(always)]
    fn equal<T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        relate::<Self, T>(lhs, rhs, |lhs, rhs| lhs == rhs)
    }

    /// The bits of `word` that `keep` selects, moved together at the low end.
    #[inline(always)]
    fn extract(word: u64, keep: u64) -> u64 {
        let mut rest = keep;
        let mut result = 0;
        let mut at = 0;
        while rest != 0 {
            result |= (word >> rest.trailing_zeros() & 1) << at;
            at += 1;
            rest &= rest - 1;
        }
        result
    }

    /// Moves the values of 64 rows that `keep` selects together at the start of `out`; what lies
    /// behind those selected is arbitrary.
    #[inline(always)]
    fn compress<const WIDTH: usize>(
        values: &[[u8; WIDTH]; 64],
        keep: u64,
        out: &mut [[u8; WIDTH]; 64],
    ) {
        compress_by_bits(values, keep, out);
    }
}

/// A comparison one row after the other, for the compiler to make something of.
#[inline(always)]
fn relate<I: Isa, T: Element>(
    lhs: Chunk<'_, T>,
    rhs: Chunk<'_, T>,
    relation: impl Fn(&T, &T) -> bool,
) -> u64 {
    let mut bytes = [0; 64];
    match (lhs, rhs) {
        (Chunk::Rows(lhs), Chunk::Rows(rhs)) => {
            for ((byte, lhs), rhs) in bytes.iter_mut().zip(lhs).zip(rhs) {
                *byte = u8::from(relation(lhs, rhs));
            }
        }
        (Chunk::Rows(lhs), Chunk::Splat(rhs)) => {
            for (byte, lhs) in bytes.iter_mut().zip(lhs) {
                *byte = u8::from(relation(lhs, &rhs));
            }
        }
        (Chunk::Splat(lhs), Chunk::Rows(rhs)) => {
            for (byte, rhs) in bytes.iter_mut().zip(rhs) {
                *byte = u8::from(relation(&lhs, rhs));
            }
        }
        (Chunk::Splat(lhs), Chunk::Splat(rhs)) => bytes.fill(u8::from(relation(&lhs, &rhs))),
    }
    I::pack(&bytes)
}

#[inline(always)]
fn compress_by_bits<const WIDTH: usize>(
    values: &[[u8; WIDTH]; 64],
    keep: u64,
    out: &mut [[u8; WIDTH]; 64],
) {
    if keep == u64::MAX {
        *out = *values;
        return;
    }
    let mut rest = keep;
    let mut at = 0;
    while rest != 0 {
        // Remainders tell the compiler what is so anyway: a word has 64 bits.
        out[at % 64] = values[rest.trailing_zeros() as usize % 64];
        at += 1;
        rest &= rest - 1;
    }
}

/// What every machine can do.
pub(crate) struct Portable;

impl Isa for Portable {}
