//! Fields of structures: little-endian numbers at offsets that the caller has checked.

/// The `u16` at an offset.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(array(bytes, offset))
}

/// The `u32` at an offset.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(array(bytes, offset))
}

/// The `u64` at an offset.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(array(bytes, offset))
}

/// The `u128` at an offset.
pub(crate) fn u128_at(bytes: &[u8], offset: usize) -> u128 {
    u128::from_le_bytes(array(bytes, offset))
}

/// Writes bytes at an offset.
pub(crate) fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}

/// Whether all bytes are zero, as reserved ones must be.
pub(crate) fn zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// The number of something that lies in memory, as the `u64` of the interface.
pub(crate) fn length(count: usize) -> u64 {
    u64::try_from(count).expect("memory is addressed by at most 64 bits")
}

/// A length that a limit has bounded already, as an index.
pub(crate) fn index(length: u64) -> usize {
    usize::try_from(length).expect("limits are far below the size of memory")
}

fn array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[offset..offset + N]);
    array
}
