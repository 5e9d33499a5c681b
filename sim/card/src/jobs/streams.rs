//! Buffers tile by tile: every byte moves once, whatever the bit offset and the tiles.

use super::descriptor::{Placed, Stop};
use super::transfers::Transfers;
use crate::bytes::{index, length};
use crate::firmware::number;
use crate::types::Type;

/// Reads the values of a buffer in order.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    from: &'a Placed,
    ty: Type,
    /// The next byte that has not been read.
    at: u64,
    /// Bits of bytes that have been read, the next value first.
    bits: Vec<u128>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(from: &'a Placed, ty: Type) -> Self {
        Reader {
            from,
            ty,
            at: 0,
            bits: Vec::new(),
        }
    }

    /// The bits of the next values.
    pub(super) fn next(
        &mut self,
        transfers: &mut Transfers<'_>,
        rows: usize,
    ) -> Result<Vec<u128>, Stop> {
        if self.ty.is_mask() {
            return self.next_bits(transfers, rows);
        }
        let mut bytes = vec![0; rows * self.ty.bytes()];
        self.read(transfers, &mut bytes)?;
        Ok(bytes.chunks_exact(self.ty.bytes()).map(number).collect())
    }

    fn next_bits(&mut self, transfers: &mut Transfers<'_>, rows: usize) -> Result<Vec<u128>, Stop> {
        let skipped = if self.at == 0 {
            usize::from(self.from.bit_offset)
        } else {
            0
        };
        let missing = (skipped + rows).saturating_sub(self.bits.len());
        let mut bytes = vec![0; missing.div_ceil(8)];
        self.read(transfers, &mut bytes)?;
        self.bits.extend(
            bytes
                .iter()
                .flat_map(|byte| (0..8).map(move |bit| u128::from(byte >> bit & 1))),
        );
        let rest = self.bits.split_off(skipped + rows);
        let taken = std::mem::replace(&mut self.bits, rest);
        Ok(taken[skipped..].to_vec())
    }

    fn read(&mut self, transfers: &mut Transfers<'_>, bytes: &mut [u8]) -> Result<(), Stop> {
        transfers.read(self.from, self.at, bytes)?;
        self.at += length(bytes.len());
        Ok(())
    }
}

/// All bytes of a table or a set.
pub(super) fn read_whole(from: &Placed, transfers: &mut Transfers<'_>) -> Result<Vec<u8>, Stop> {
    let mut bytes = vec![0; index(from.span.length)];
    transfers.read(from, 0, &mut bytes)?;
    Ok(bytes)
}

/// Writes values of an output in order, without gaps, and knows their checksum.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    to: &'a Placed,
    ty: Type,
    at: u64,
    /// Bits that do not fill a byte yet.
    bits: Vec<u128>,
    checksum: u32,
}

impl<'a> Writer<'a> {
    pub(super) fn new(to: &'a Placed, ty: Type) -> Self {
        Writer {
            to,
            ty,
            at: 0,
            bits: Vec::new(),
            checksum: crc32c::crc32c(&[]),
        }
    }

    pub(super) fn push(
        &mut self,
        transfers: &mut Transfers<'_>,
        values: &[u128],
    ) -> Result<(), Stop> {
        if !self.ty.is_mask() {
            let width = self.ty.bytes();
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes().into_iter().take(width))
                .collect();
            return self.write(transfers, &bytes);
        }
        self.bits.extend_from_slice(values);
        let rest = self.bits.split_off(self.bits.len() / 8 * 8);
        let whole = std::mem::replace(&mut self.bits, rest);
        self.write(transfers, &packed(&whole))
    }

    /// Writes the last bits, with zeros behind them. Gives the checksum of all.
    pub(super) fn finish(mut self, transfers: &mut Transfers<'_>) -> Result<u32, Stop> {
        let last = packed(&std::mem::take(&mut self.bits));
        self.write(transfers, &last)?;
        Ok(self.checksum)
    }

    fn write(&mut self, transfers: &mut Transfers<'_>, bytes: &[u8]) -> Result<(), Stop> {
        if bytes.is_empty() {
            return Ok(());
        }
        transfers.write(self.to, self.at, bytes)?;
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        self.at += length(bytes.len());
        Ok(())
    }
}

/// A bitmap, with zeros behind the last bit.
fn packed(bits: &[u128]) -> Vec<u8> {
    let byte = |bits: &[u128]| {
        bits.iter()
            .rev()
            .fold(0u8, |byte, &bit| byte << 1 | u8::from(bit == 1))
    };
    bits.chunks(8).map(byte).collect()
}
