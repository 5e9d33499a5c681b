//! Bytes and, for each, whether it was written.

use super::{POISON, show};
use crate::finding::{Fault, FindingKind};

/// Bytes and, for each, whether it was written.
#[derive(Debug)]
pub(crate) struct Bytes {
    data: Vec<u8>,
    /// A bit for each byte.
    written: Vec<u64>,
    trace: Trace,
}

/// Who stored and loaded each byte last, by numbers of whoever keeps track; 0 is nobody. Empty
/// until it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) writers: Vec<u32>,
    pub(crate) readers: Vec<u32>,
}

/// Bytes on their way from one place to another.
#[derive(Debug)]
pub(crate) struct Part {
    data: Vec<u8>,
    written: Vec<bool>,
}

impl Bytes {
    /// None of them written. Large ones cost nothing until they are touched.
    pub(crate) fn new(len: usize) -> Self {
        Bytes {
            data: vec![0; len],
            written: vec![0; len.div_ceil(64)],
            trace: Trace::default(),
        }
    }

    /// Who accessed each byte last: those who stored, and if wanted those who loaded.
    pub(crate) fn trace(&mut self, readers: bool) -> &mut Trace {
        if self.trace.writers.is_empty() {
            self.trace.writers = vec![0; self.data.len()];
        }
        if readers && self.trace.readers.is_empty() {
            self.trace.readers = vec![0; self.data.len()];
        }
        &mut self.trace
    }

    /// Whether anyone was kept as having accessed something.
    pub(crate) fn is_traced(&self) -> bool {
        !self.trace.writers.is_empty()
    }

    /// Forgets who accessed what.
    pub(crate) fn clear_trace(&mut self) {
        self.trace = Trace::default();
    }

    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    /// A value of 1, 2, 4 or 8 bytes at a multiple of its size.
    #[inline]
    pub(crate) fn load(&self, at: usize, len: usize) -> Result<u64, Fault> {
        self.peek(at, len).ok_or_else(|| self.unwritten(at, len))
    }

    /// As `load`; none where a byte was never written.
    #[inline]
    pub(crate) fn peek(&self, at: usize, len: usize) -> Option<u64> {
        let bits = ones(len) << (at % 64);
        if self.written[at / 64] & bits != bits {
            return None;
        }
        let data = &self.data[at..at + len];
        Some(match len {
            1 => u64::from(data[0]),
            2 => u64::from(u16::from_le_bytes(data.try_into().expect("two bytes"))),
            4 => u64::from(u32::from_le_bytes(data.try_into().expect("four bytes"))),
            _ => u64::from_le_bytes(data.try_into().expect("eight bytes")),
        })
    }

    /// Stores the lower bytes of a value: 1, 2, 4 or 8 at a multiple of their number.
    #[inline]
    pub(crate) fn store(&mut self, at: usize, len: usize, value: u64) {
        self.written[at / 64] |= ones(len) << (at % 64);
        let bytes = value.to_le_bytes();
        let data = &mut self.data[at..at + len];
        match len {
            1 => data[0] = bytes[0],
            2 => data.copy_from_slice(&bytes[..2]),
            4 => data.copy_from_slice(&bytes[..4]),
            _ => data.copy_from_slice(&bytes),
        }
    }

    pub(crate) fn copy_in(&mut self, at: usize, from: &[u8]) {
        self.data[at..at + from.len()].copy_from_slice(from);
        self.mark(at, from.len(), true);
    }

    pub(crate) fn copy_out(&self, at: usize, to: &mut [u8]) {
        to.copy_from_slice(&self.data[at..at + to.len()]);
        for (word, bits) in words(at, to.len()) {
            let mut missing = bits & !self.written[word];
            while missing != 0 {
                to[word * 64 + missing.trailing_zeros() as usize - at] = POISON;
                missing &= missing - 1;
            }
        }
    }

    /// Repeats a pattern.
    pub(crate) fn fill(&mut self, at: usize, len: usize, pattern: &[u8]) {
        if let [byte] = pattern {
            self.data[at..at + len].fill(*byte);
        } else {
            for (to, &byte) in self.data[at..at + len]
                .iter_mut()
                .zip(pattern.iter().cycle())
            {
                *to = byte;
            }
        }
        self.mark(at, len, true);
    }

    pub(crate) fn part(&self, at: usize, len: usize) -> Part {
        let written = (at..at + len).map(|byte| self.is_written(byte)).collect();
        Part {
            data: self.data[at..at + len].to_vec(),
            written,
        }
    }

    pub(crate) fn put(&mut self, at: usize, part: &Part) {
        self.data[at..at + part.data.len()].copy_from_slice(&part.data);
        for (offset, &written) in part.written.iter().enumerate() {
            self.mark(at + offset, 1, written);
        }
    }

    fn is_written(&self, byte: usize) -> bool {
        self.written[byte / 64] >> (byte % 64) & 1 == 1
    }

    fn mark(&mut self, at: usize, len: usize, written: bool) {
        for (word, bits) in words(at, len) {
            if written {
                self.written[word] |= bits;
            } else {
                self.written[word] &= !bits;
            }
        }
    }

    #[cold]
    fn unwritten(&self, at: usize, len: usize) -> Fault {
        let first = (at..at + len)
            .find(|&byte| !self.is_written(byte))
            .unwrap_or(at);
        let detail = format!(
            "{} of {}, of which byte {first} was never written",
            show(at..at + len),
            self.len()
        );
        Fault::new(FindingKind::Uninitialised, detail)
    }
}

/// So many ones, up to 64.
#[inline]
fn ones(len: usize) -> u64 {
    u64::MAX >> (64 - len)
}

/// Words of a bitmap and the bits of them that a range covers.
fn words(at: usize, len: usize) -> impl Iterator<Item = (usize, u64)> {
    let end = at + len;
    (at / 64..end.div_ceil(64)).filter_map(move |word| {
        let (from, to) = (at.max(word * 64), end.min(word * 64 + 64));
        (from < to).then(|| (word, ones(to - from) << (from % 64)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_sees_what_was_stored_and_refuses_what_was_not() {
        let mut bytes = Bytes::new(130);
        for (at, len) in [(0, 1), (2, 2), (4, 4), (56, 8), (64, 8), (128, 2)] {
            assert_eq!(
                bytes.load(at, len).unwrap_err().kind,
                FindingKind::Uninitialised
            );
            bytes.store(at, len, 0x8877_6655_4433_2211);
            let expected = 0x8877_6655_4433_2211 & ones(8 * len);
            assert_eq!(bytes.load(at, len), Ok(expected), "{len} at {at}");
        }
        let fault = bytes.load(0, 4).unwrap_err();
        assert!(
            fault.detail.contains("byte 1 was never"),
            "{}",
            fault.detail
        );
    }

    #[test]
    fn ranges_cross_words_of_the_bitmap() {
        let mut bytes = Bytes::new(300);
        bytes.copy_in(60, &[9; 200]);
        let mut out = [0; 300];
        bytes.copy_out(0, &mut out);
        assert!(
            out[..60]
                .iter()
                .chain(&out[260..])
                .all(|&byte| byte == POISON)
        );
        assert!(out[60..260].iter().all(|&byte| byte == 9));
        bytes.fill(63, 0, &[1]);
        assert_eq!(bytes.load(63, 1), Ok(9));
    }
}
