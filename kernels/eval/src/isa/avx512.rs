//! AVX-512 with byte compress: Ice Lake, Zen 4 and later.
//!
//! Measured on Zen 4: a comparison straight into mask registers takes a quarter of the time of the
//! compiler's loop, a register compress with a full store less than a tenth of the bit loop. A
//! compress straight to memory is avoided, being many times slower there; and so are stores of 64
//! bytes, which cross a cache line wherever they are not aligned: 32 bytes at a time, one and two
//! byte values are compacted in a third and a half of the time, and eight byte values in nine tenths.
//! Only four byte values, with twice as many steps for their rows, take nine tenths with 64 bytes.

use std::arch::x86_64::*;

use unlade_program::Ty;

use super::{Chunk, Isa, compress_by_bits, relate};
use crate::element::Element;

pub(crate) struct Avx512;

impl Isa for Avx512 {
    const VECTORS: bool = true;

    #[inline(always)]
    fn pack(bytes: &[u8; 64]) -> u64 {
        // SAFETY: reads the array; this level implies the instructions.
        unsafe {
            let bytes = _mm512_loadu_si512(bytes.as_ptr().cast());
            _mm512_test_epi8_mask(bytes, bytes)
        }
    }

    #[inline(always)]
    fn unpack(word: u64) -> [u8; 64] {
        let mut bytes = [0; 64];
        // SAFETY: writes the array; this level implies the instructions.
        unsafe {
            _mm512_storeu_si512(bytes.as_mut_ptr().cast(), _mm512_maskz_set1_epi8(word, 1));
        }
        bytes
    }

    #[inline(always)]
    fn less<T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        if T::TY == Ty::I128 {
            return relate::<Self, T>(lhs, rhs, |lhs, rhs| lhs < rhs);
        }
        // SAFETY: this level implies the instructions.
        unsafe { compare::<_MM_CMPINT_LT, _CMP_LT_OQ, T>(lhs, rhs) }
    }

    #[inline(always)]
    fn less_or_equal<T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        if T::TY == Ty::I128 {
            return relate::<Self, T>(lhs, rhs, |lhs, rhs| lhs <= rhs);
        }
        // SAFETY: this level implies the instructions.
        unsafe { compare::<_MM_CMPINT_LE, _CMP_LE_OQ, T>(lhs, rhs) }
    }

    #[inline(always)]
    fn equal<T: Element>(lhs: Chunk<'_, T>, rhs: Chunk<'_, T>) -> u64 {
        if T::TY == Ty::I128 {
            return relate::<Self, T>(lhs, rhs, |lhs, rhs| lhs == rhs);
        }
        // SAFETY: this level implies the instructions.
        unsafe { compare::<_MM_CMPINT_EQ, _CMP_EQ_OQ, T>(lhs, rhs) }
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
        if !matches!(WIDTH, 1 | 2 | 4 | 8 | 16) {
            return compress_by_bits(values, keep, out);
        }
        let lanes = if WIDTH == 4 { 16 } else { 32 / WIDTH };
        let (mut from, mut to) = (values.as_ptr(), out.as_mut_ptr());
        let mut rest = keep;
        for _ in 0..64 / lanes {
            let selected = rest & crate::mask::low_bits(lanes);
            // SAFETY: the loop reads vectors of `lanes` values, as many as make the 64. Before the
            // vector that begins with value `n` at most `n` were selected, so that it is written
            // to values `n..n + lanes` of `out` at most, which end with the 64th. This level
            // implies the instructions.
            unsafe {
                if WIDTH == 4 {
                    let vector = _mm512_loadu_si512(from.cast());
                    let packed = _mm512_maskz_compress_epi32(selected as u16, vector);
                    _mm512_storeu_si512(to.cast(), packed);
                } else {
                    let vector = _mm256_loadu_si256(from.cast());
                    let packed = match WIDTH {
                        1 => _mm256_maskz_compress_epi8(selected as u32, vector),
                        2 => _mm256_maskz_compress_epi16(selected as u16, vector),
                        8 => _mm256_maskz_compress_epi64(selected as u8, vector),
                        // Two lanes for each of two values.
                        _ => {
                            let lanes = _pdep_u64(selected, 0b101) as u8 * 3;
                            _mm256_maskz_compress_epi64(lanes, vector)
                        }
                    };
                    _mm256_storeu_si256(to.cast(), packed);
                }
                from = from.add(lanes);
                to = to.add(selected.count_ones() as usize);
            }
            rest >>= lanes;
        }
    }
}

/// # Safety
/// The CPU must have the features of the level, and `T` must be at most 64 bits wide.
#[inline(always)]
unsafe fn compare<const INTEGER: i32, const FLOAT: i32, T: Element>(
    lhs: Chunk<'_, T>,
    rhs: Chunk<'_, T>,
) -> u64 {
    let lanes = 64 / size_of::<T>();
    let mut word = 0;
    for part in 0..size_of::<T>() {
        // SAFETY: the caller's.
        let (lhs, rhs) = unsafe { (vector(lhs, part), vector(rhs, part)) };
        // SAFETY: the caller's.
        let bits = unsafe {
            match T::TY {
                Ty::I8 => _mm512_cmp_epi8_mask::<INTEGER>(lhs, rhs),
                Ty::U8 => _mm512_cmp_epu8_mask::<INTEGER>(lhs, rhs),
                Ty::I16 => u64::from(_mm512_cmp_epi16_mask::<INTEGER>(lhs, rhs)),
                Ty::U16 => u64::from(_mm512_cmp_epu16_mask::<INTEGER>(lhs, rhs)),
                Ty::I32 => u64::from(_mm512_cmp_epi32_mask::<INTEGER>(lhs, rhs)),
                Ty::U32 => u64::from(_mm512_cmp_epu32_mask::<INTEGER>(lhs, rhs)),
                Ty::I64 => u64::from(_mm512_cmp_epi64_mask::<INTEGER>(lhs, rhs)),
                Ty::U64 => u64::from(_mm512_cmp_epu64_mask::<INTEGER>(lhs, rhs)),
                Ty::F32 => u64::from(_mm512_cmp_ps_mask::<FLOAT>(
                    _mm512_castsi512_ps(lhs),
                    _mm512_castsi512_ps(rhs),
                )),
                Ty::F64 => u64::from(_mm512_cmp_pd_mask::<FLOAT>(
                    _mm512_castsi512_pd(lhs),
                    _mm512_castsi512_pd(rhs),
                )),
                Ty::Mask | Ty::I128 => unreachable!("no vector holds these"),
            }
        };
        word |= bits << (part * lanes);
    }
    word
}

/// Vector `part` of the `size_of::<T>()` vectors that 64 rows are.
///
/// # Safety
/// The CPU must have the features of the level, and there must be such a part.
#[inline(always)]
unsafe fn vector<T: Element>(chunk: Chunk<'_, T>, part: usize) -> __m512i {
    // SAFETY: part `n` of the rows lies within them; a `T` is a plain number of its size. The
    // features are the caller's.
    unsafe {
        match chunk {
            Chunk::Rows(rows) => _mm512_loadu_si512(rows.as_ptr().cast::<__m512i>().add(part)),
            Chunk::Splat(value) => match size_of::<T>() {
                1 => _mm512_set1_epi8(std::mem::transmute_copy(&value)),
                2 => _mm512_set1_epi16(std::mem::transmute_copy(&value)),
                4 => _mm512_set1_epi32(std::mem::transmute_copy(&value)),
                _ => _mm512_set1_epi64(std::mem::transmute_copy(&value)),
            },
        }
    }
}
