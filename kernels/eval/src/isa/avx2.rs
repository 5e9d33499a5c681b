//! AVX2: Haswell, Zen and later.

use std::arch::x86_64::*;

use unlade_program::Ty;

use super::{Chunk, Isa, compress_by_bits, relate};
use crate::element::Element;

pub(crate) struct Avx2;

impl Isa for Avx2 {
    const VECTORS: bool = true;

    #[inline(always)]
    fn pack(bytes: &[u8; 64]) -> u64 {
        // SAFETY: reads the two halves of the array; this level implies the instructions.
        unsafe {
            let low = _mm256_loadu_si256(bytes.as_ptr().cast());
            let high = _mm256_loadu_si256(bytes.as_ptr().add(32).cast());
            // The bit of each byte becomes its topmost, which is what is gathered.
            let low = _mm256_movemask_epi8(_mm256_slli_epi16::<7>(low)) as u32;
            let high = _mm256_movemask_epi8(_mm256_slli_epi16::<7>(high)) as u32;
            u64::from(low) | u64::from(high) << 32
        }
    }

    #[inline(always)]
    fn unpack(word: u64) -> [u8; 64] {
        let mut bytes = [0; 64];
        // SAFETY: writes the two halves of the array; this level implies the instructions.
        unsafe {
            // Each byte of the word eight times over, then one bit of each.
            let spread = _mm256_setr_epi8(
                0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3,
                3, 3, 3, 3,
            );
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            for half in 0..2 {
                let part = _mm256_set1_epi32((word >> (32 * half)) as i32);
                let set = _mm256_and_si256(_mm256_shuffle_epi8(part, spread), bit);
                let set = _mm256_and_si256(_mm256_cmpeq_epi8(set, bit), _mm256_set1_epi8(1));
                _mm256_storeu_si256(bytes.as_mut_ptr().add(32 * half).cast(), set);
            }
        }
        bytes
    }

    #[inline(always)]
    fn less<T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        if T::TY == Ty::I128 {
            return relate::<Self, T>(lhs, rhs, |lhs, rhs| lhs < rhs);
        }
        // SAFETY: this level implies the instructions.
        unsafe { compare::<LESS, T>(lhs, rhs) }
    }

    #[inline(always)]
    fn less_or_equal<T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        if !T::TY.is_float() {
            return relate::<Self, T>(lhs, rhs, |lhs, rhs| lhs <= rhs);
        }
        // SAFETY: this level implies the instructions.
        unsafe { compare::<LESS_OR_EQUAL, T>(lhs, rhs) }
    }

    #[inline(always)]
    fn equal<T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        if T::TY == Ty::I128 {
            return relate::<Self, T>(lhs, rhs, |lhs, rhs| lhs == rhs);
        }
        // SAFETY: this level implies the instructions.
        unsafe { compare::<EQUAL, T>(lhs, rhs) }
    }

    #[inline(always)]
    fn extract(word: u64, keep: u64) -> u64 {
        // SAFETY: this level implies the instruction.
        unsafe { _pext_u64(word, keep) }
    }

    #[inline(always)]
    fn compress<const WIDTH: usize>(
        values: &[[u8; WIDTH]; 64],
        keep: u64,
        out: &mut [[u8; WIDTH]; 64],
    ) {
        // Values that a step moves.
        let lanes = match WIDTH {
            1 | 2 | 4 => 8,
            8 => 4,
            _ => return compress_by_bits(values, keep, out),
        };
        let (mut from, mut to) = (values.as_ptr(), out.as_mut_ptr());
        let mut rest = keep;
        for _ in 0..64 / lanes {
            let selected = rest as usize & ((1 << lanes) - 1);
            // SAFETY: the loop reads `lanes` values 64 / `lanes` times, which are the 64. Before
            // those that begin with value `n` at most `n` were selected, so that they are written
            // to values `n..n + lanes` of `out` at most, which end with the 64th. This level
            // implies the instructions.
            unsafe {
                match WIDTH {
                    1 => {
                        let order = _mm_cvtsi64_si128(FRONT[selected] as i64);
                        let packed = _mm_shuffle_epi8(_mm_loadl_epi64(from.cast()), order);
                        _mm_storel_epi64(to.cast(), packed);
                    }
                    2 => {
                        // Value `n` is bytes `2 n` and `2 n + 1`.
                        let order = _mm_cvtsi64_si128((FRONT[selected] << 1) as i64);
                        let next = _mm_add_epi8(order, _mm_set1_epi8(1));
                        let order = _mm_unpacklo_epi8(order, next);
                        let packed = _mm_shuffle_epi8(_mm_loadu_si128(from.cast()), order);
                        _mm_storeu_si128(to.cast(), packed);
                    }
                    _ => {
                        let order = if WIDTH == 4 {
                            FRONT[selected]
                        } else {
                            FRONT_PAIRS[selected]
                        };
                        let order = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(order as i64));
                        let vector = _mm256_loadu_si256(from.cast());
                        let packed = _mm256_permutevar8x32_epi32(vector, order);
                        _mm256_storeu_si256(to.cast(), packed);
                    }
                }
                from = from.add(lanes);
                to = to.add(selected.count_ones() as usize);
            }
            rest >>= lanes;
        }
    }
}

const LESS: i32 = 0;
const LESS_OR_EQUAL: i32 = 1;
const EQUAL: i32 = 2;

/// For each selection of eight values their numbers, a byte each, those selected in front.
static FRONT: [u64; 256] = {
    let mut table = [0; 256];
    let mut selected = 0;
    while selected < 256 {
        let mut at = 0;
        let mut value = 0;
        while value < 8 {
            if selected >> value & 1 == 1 {
                table[selected] |= value << (8 * at);
                at += 1;
            }
            value += 1;
        }
        selected += 1;
    }
    table
};

/// For each selection of four values of two halves the numbers of the halves.
static FRONT_PAIRS: [u64; 16] = {
    let mut table = [0; 16];
    let mut selected = 0;
    while selected < 16 {
        let mut pairs = 0;
        let mut value = 0;
        while value < 4 {
            if selected >> value & 1 == 1 {
                pairs |= 0b11 << (2 * value);
            }
            value += 1;
        }
        table[selected] = FRONT[pairs];
        selected += 1;
    }
    table
};

/// # Safety
/// The CPU must have the features of the level, and `T` must be at most 64 bits wide.
#[inline(always)]
unsafe fn compare<const RELATION: i32, T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
    let mut word = 0;
    // Two vectors at a time, since lanes of 16 bits are gathered in pairs.
    for pair in 0..size_of::<T>() {
        // SAFETY: the caller's.
        let bits = unsafe {
            let low = relation::<RELATION, T>(vector(lhs, 2 * pair), vector(rhs, 2 * pair));
            let high =
                relation::<RELATION, T>(vector(lhs, 2 * pair + 1), vector(rhs, 2 * pair + 1));
            match size_of::<T>() {
                1 => {
                    let low = _mm256_movemask_epi8(low) as u32;
                    let high = _mm256_movemask_epi8(high) as u32;
                    u64::from(low) | u64::from(high) << 32
                }
                2 => {
                    // Packing interleaves the halves of the two.
                    let bytes = _mm256_packs_epi16(low, high);
                    let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(bytes);
                    u64::from(_mm256_movemask_epi8(bytes) as u32)
                }
                4 => {
                    let low = _mm256_movemask_ps(_mm256_castsi256_ps(low)) as u32;
                    let high = _mm256_movemask_ps(_mm256_castsi256_ps(high)) as u32;
                    u64::from(low | high << 8)
                }
                _ => {
                    let low = _mm256_movemask_pd(_mm256_castsi256_pd(low)) as u32;
                    let high = _mm256_movemask_pd(_mm256_castsi256_pd(high)) as u32;
                    u64::from(low | high << 4)
                }
            }
        };
        word |= bits << (pair * (64 / size_of::<T>()));
    }
    word
}

/// Lanes of all ones where the relation holds.
///
/// # Safety
/// As [`compare`].
#[inline(always)]
unsafe fn relation<const RELATION: i32, T: Element>(lhs: __m256i, rhs: __m256i) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        if T::TY == Ty::F32 {
            let (lhs, rhs) = (_mm256_castsi256_ps(lhs), _mm256_castsi256_ps(rhs));
            return _mm256_castps_si256(match RELATION {
                LESS => _mm256_cmp_ps::<_CMP_LT_OQ>(lhs, rhs),
                LESS_OR_EQUAL => _mm256_cmp_ps::<_CMP_LE_OQ>(lhs, rhs),
                _ => _mm256_cmp_ps::<_CMP_EQ_OQ>(lhs, rhs),
            });
        }
        if T::TY == Ty::F64 {
            let (lhs, rhs) = (_mm256_castsi256_pd(lhs), _mm256_castsi256_pd(rhs));
            return _mm256_castpd_si256(match RELATION {
                LESS => _mm256_cmp_pd::<_CMP_LT_OQ>(lhs, rhs),
                LESS_OR_EQUAL => _mm256_cmp_pd::<_CMP_LE_OQ>(lhs, rhs),
                _ => _mm256_cmp_pd::<_CMP_EQ_OQ>(lhs, rhs),
            });
        }
        if RELATION == EQUAL {
            return match size_of::<T>() {
                1 => _mm256_cmpeq_epi8(lhs, rhs),
                2 => _mm256_cmpeq_epi16(lhs, rhs),
                4 => _mm256_cmpeq_epi32(lhs, rhs),
                _ => _mm256_cmpeq_epi64(lhs, rhs),
            };
        }
        // There are signed comparisons only: moving both ranges down by half makes them fit.
        let (lhs, rhs) = if T::TY.is_signed() {
            (lhs, rhs)
        } else {
            let half = match size_of::<T>() {
                1 => _mm256_set1_epi8(i8::MIN),
                2 => _mm256_set1_epi16(i16::MIN),
                4 => _mm256_set1_epi32(i32::MIN),
                _ => _mm256_set1_epi64x(i64::MIN),
            };
            (_mm256_xor_si256(lhs, half), _mm256_xor_si256(rhs, half))
        };
        match size_of::<T>() {
            1 => _mm256_cmpgt_epi8(rhs, lhs),
            2 => _mm256_cmpgt_epi16(rhs, lhs),
            4 => _mm256_cmpgt_epi32(rhs, lhs),
            _ => _mm256_cmpgt_epi64(rhs, lhs),
        }
    }
}

/// Vector `part` of the `2 * size_of::<T>()` vectors that 64 rows are.
///
/// # Safety
/// The CPU must have the features of the level, and there must be such a part.
#[inline(always)]
unsafe fn vector<T: Element>(chunk: Chunk<'_, T>, part: usize) -> __m256i {
    // SAFETY: part `n` of the rows lies within them; a `T` is a plain number of its size. The
    // features are the caller's.
    unsafe {
        match chunk {
            Chunk::Rows(rows) => _mm256_loadu_si256(rows.as_ptr().cast::<__m256i>().add(part)),
            Chunk::Splat(value) => match size_of::<T>() {
                1 => _mm256_set1_epi8(std::mem::transmute_copy(&value)),
                2 => _mm256_set1_epi16(std::mem::transmute_copy(&value)),
                4 => _mm256_set1_epi32(std::mem::transmute_copy(&value)),
                _ => _mm256_set1_epi64x(std::mem::transmute_copy(&value)),
            },
        }
    }
}
