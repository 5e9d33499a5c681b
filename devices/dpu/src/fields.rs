//! Fields of structures that the card writes.

/// A structure, whose fields are read by their offsets. An offset beyond its end is a mistake of
/// this crate, and panics: lengths are checked before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        *self.0[at..]
            .first_chunk()
            .expect("lengths are checked before")
    }

    pub(crate) fn u8(&self, at: usize) -> u8 {
        self.0[at]
    }

    pub(crate) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    pub(crate) fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.bytes(at))
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }

    /// A text that is padded with zeros.
    pub(crate) fn text<const N: usize>(&self, at: usize) -> String {
        printable(&self.bytes::<N>(at))
    }
}

/// A text up to its first zero; what a terminal could take for a command becomes `?`.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text)
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_little_endian_and_texts_are_harmless() {
        let fields = Fields(b"\x01\x02\x03\x04\x05\x06\x07\xF8ab\x1B[2J\xFF\0rest");
        assert_eq!(
            (fields.u8(1), fields.u16(0), fields.u32(4)),
            (2, 0x0201, 0xF807_0605)
        );
        assert_eq!(fields.i32(4), -0x07F8_F9FB);
        assert_eq!(fields.u64(0), 0xF807_0605_0403_0201);
        assert_eq!(fields.text::<12>(8), "ab?[2J\u{FFFD}");
        assert_eq!(printable(b""), "");
    }
}
