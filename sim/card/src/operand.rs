//! Operands and segment lists, docs/CARD.md, section 5.

use crate::bytes::{index, length, u16_at, u32_at, u64_at, u128_at};
use crate::dma::{Bus, DmaError, Iova};

/// Bytes of an operand.
pub(crate) const OPERAND: usize = 24;

/// Bytes of an entry of a segment list.
const SEGMENT: usize = 16;

/// The address bits that the card can send, 32 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressBits(pub(crate) u8);

impl AddressBits {
    /// Whether the range ends inside of the address space.
    pub(crate) fn reach(self, iova: u64, length: u64) -> bool {
        u128::from(iova) + u128::from(length) <= 1 << self.0
    }
}

/// What kind of operand it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Absent,
    Memory,
    List,
    Scalar,
}

/// An operand, as it stands in an entry or a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    pub(crate) kind: Kind,
    pub(crate) iova: u64,
    pub(crate) length: u64,
    pub(crate) bit_offset: u8,
    pub(crate) segments: u32,
    /// Bytes 0 to 15: of a scalar, the value.
    pub(crate) value: u128,
}

/// What is wrong with an operand by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadOperand {
    Address,
    Length,
    Kind,
    BitOffset,
    Reserved,
    Segments,
    /// The format allows them, and the card's limit does not.
    TooManySegments,
}

impl BadOperand {
    /// The offset of the field at fault.
    pub(crate) fn offset(self) -> u32 {
        match self {
            BadOperand::Address => 0,
            BadOperand::Length => 8,
            BadOperand::Kind => 16,
            BadOperand::BitOffset => 17,
            BadOperand::Reserved => 18,
            BadOperand::Segments | BadOperand::TooManySegments => 20,
        }
    }
}

impl Operand {
    /// Decodes 24 bytes, and checks all that can be checked without the segment list.
    pub(crate) fn decode(
        bytes: &[u8],
        address_bits: AddressBits,
        max_segments: u32,
    ) -> Result<Operand, BadOperand> {
        let kind = match bytes[16] {
            0 => Kind::Absent,
            1 => Kind::Memory,
            2 => Kind::List,
            3 => Kind::Scalar,
            _ => return Err(BadOperand::Kind),
        };
        let operand = Operand {
            kind,
            iova: u64_at(bytes, 0),
            length: u64_at(bytes, 8),
            bit_offset: bytes[17],
            segments: u32_at(bytes, 20),
            value: u128_at(bytes, 0),
        };
        if u16_at(bytes, 18) != 0 {
            return Err(BadOperand::Reserved);
        }
        let takes_bit_offset = matches!(kind, Kind::Memory | Kind::List);
        if operand.bit_offset > if takes_bit_offset { 7 } else { 0 } {
            return Err(BadOperand::BitOffset);
        }
        if (operand.segments != 0) != (kind == Kind::List) {
            return Err(BadOperand::Segments);
        }
        match kind {
            Kind::Absent if operand.iova != 0 => Err(BadOperand::Address),
            Kind::Absent if operand.length != 0 => Err(BadOperand::Length),
            Kind::Memory if operand.length > 0 => operand.reach(operand.length, address_bits),
            Kind::List if operand.segments > max_segments => Err(BadOperand::TooManySegments),
            Kind::List if operand.length == 0 => Err(BadOperand::Length),
            Kind::List if !operand.iova.is_multiple_of(16) => Err(BadOperand::Address),
            Kind::List => operand.reach(16 * u64::from(operand.segments), address_bits),
            _ => Ok(operand),
        }
    }

    fn reach(self, length: u64, address_bits: AddressBits) -> Result<Operand, BadOperand> {
        if address_bits.reach(self.iova, length) {
            Ok(self)
        } else {
            Err(BadOperand::Address)
        }
    }
}

/// A contiguous part of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) iova: Iova,
    pub(crate) length: u64,
}

/// What is wrong with a segment list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadList {
    /// This segment, or the sum as far as it.
    Segment(u32),
    Dma(DmaError),
}

/// Where the bytes of an operand are: a segment list is read once, and never again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) segments: Vec<Segment>,
    pub(crate) length: u64,
}

impl Span {
    /// Of an operand that is MEMORY or LIST.
    pub(crate) fn resolve(
        operand: &Operand,
        address_bits: AddressBits,
        bus: Bus<'_>,
    ) -> Result<Span, BadList> {
        let mut span = Span {
            segments: Vec::new(),
            length: operand.length,
        };
        if operand.kind != Kind::List {
            if operand.length > 0 {
                span.segments.push(Segment {
                    iova: Iova(operand.iova),
                    length: operand.length,
                });
            }
            return Ok(span);
        }
        let mut list = vec![0; SEGMENT * index(operand.segments.into())];
        bus.read(Iova(operand.iova), &mut list)
            .map_err(BadList::Dma)?;
        let mut sum = 0u64;
        for (number, entry) in (0..).zip(list.chunks_exact(SEGMENT)) {
            let (iova, length) = (u64_at(entry, 0), u64_at(entry, 8));
            let bad = BadList::Segment(number);
            if length == 0 || !address_bits.reach(iova, length) {
                return Err(bad);
            }
            sum = sum
                .checked_add(length)
                .filter(|&sum| sum <= operand.length)
                .ok_or(bad)?;
            span.segments.push(Segment {
                iova: Iova(iova),
                length,
            });
        }
        if sum != operand.length {
            return Err(BadList::Segment(operand.segments - 1));
        }
        Ok(span)
    }

    /// Reads bytes that begin so far behind the first.
    pub(crate) fn read(&self, bus: Bus<'_>, at: u64, bytes: &mut [u8]) -> Result<(), DmaError> {
        let mut done = 0;
        for (iova, length) in self.pieces(at, length(bytes.len())) {
            let end = done + index(length);
            bus.read(iova, &mut bytes[done..end])?;
            done = end;
        }
        Ok(())
    }

    /// Writes bytes that begin so far behind the first.
    pub(crate) fn write(&self, bus: Bus<'_>, at: u64, bytes: &[u8]) -> Result<(), DmaError> {
        let mut done = 0;
        for (iova, length) in self.pieces(at, length(bytes.len())) {
            let end = done + index(length);
            bus.write(iova, &bytes[done..end])?;
            done = end;
        }
        Ok(())
    }

    /// The contiguous parts of a range of the operand.
    fn pieces(&self, at: u64, length: u64) -> impl Iterator<Item = (Iova, u64)> {
        let (mut skip, mut rest) = (at, length);
        self.segments.iter().filter_map(move |segment| {
            let before = skip.min(segment.length);
            skip -= before;
            let taken = rest.min(segment.length - before);
            rest -= taken;
            (taken > 0).then_some((Iova(segment.iova.0 + before), taken))
        })
    }
}
