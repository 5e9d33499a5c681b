//! Entries, operands and descriptors, put together by hand.

use crate::host::{ENTRIES, Host};

/// An entry with this opcode.
pub(crate) fn entry(opcode: u8) -> [u8; 64] {
    let mut entry = [0; 64];
    entry[0] = opcode;
    entry
}

/// Bytes of an entry, at an offset.
pub(crate) fn with(mut entry: [u8; 64], offset: usize, bytes: &[u8]) -> [u8; 64] {
    entry[offset..offset + bytes.len()].copy_from_slice(bytes);
    entry
}

/// An entry whose operand is MEMORY.
pub(crate) fn with_memory(sqe: [u8; 64], iova: u64, length: usize) -> [u8; 64] {
    with(sqe, 8, &memory(iova, length))
}

/// CREATE_QUEUE_PAIR with interrupts on the vector of the pair's number.
pub(crate) fn create_queue_pair(number: u16, sq: u64, cq: u64) -> [u8; 64] {
    let sqe = with(
        with(entry(0x02), 8, &sq.to_le_bytes()),
        16,
        &cq.to_le_bytes(),
    );
    let sqe = with(
        with(sqe, 32, &number.to_le_bytes()),
        34,
        &number.to_le_bytes(),
    );
    let sqe = with(
        with(sqe, 36, &ENTRIES.to_le_bytes()),
        38,
        &ENTRIES.to_le_bytes(),
    );
    with(sqe, 40, &[1])
}

/// An operand that is MEMORY.
pub(crate) fn memory(iova: u64, length: usize) -> [u8; 24] {
    operand(iova, u64::try_from(length).unwrap(), 1, 0, 0)
}

/// An operand that is MEMORY and begins at a bit.
pub(crate) fn bits(iova: u64, length: usize, bit_offset: u8) -> [u8; 24] {
    operand(iova, u64::try_from(length).unwrap(), 1, bit_offset, 0)
}

/// An operand that is LIST.
pub(crate) fn list(iova: u64, length: u64, segments: u32) -> [u8; 24] {
    operand(iova, length, 2, 0, segments)
}

/// An operand that is ABSENT.
pub(crate) fn absent() -> [u8; 24] {
    [0; 24]
}

/// An operand that is SCALAR.
pub(crate) fn scalar(value: u128) -> [u8; 24] {
    let mut operand = [0; 24];
    operand[..16].copy_from_slice(&value.to_le_bytes());
    operand[16] = 3;
    operand
}

fn operand(iova: u64, length: u64, kind: u8, bit_offset: u8, segments: u32) -> [u8; 24] {
    let mut operand = [0; 24];
    operand[..8].copy_from_slice(&iova.to_le_bytes());
    operand[8..16].copy_from_slice(&length.to_le_bytes());
    operand[16] = kind;
    operand[17] = bit_offset;
    operand[20..].copy_from_slice(&segments.to_le_bytes());
    operand
}

/// A descriptor of these steps.
pub(crate) fn descriptor(steps: &[Vec<u8>], report: u64) -> Vec<u8> {
    let length = 32 + steps.iter().map(Vec::len).sum::<usize>();
    let mut bytes = b"UNLJ".to_vec();
    bytes.extend([1, 0, 0, 0]);
    bytes.extend(u32::try_from(length).unwrap().to_le_bytes());
    bytes.extend(u32::try_from(steps.len()).unwrap().to_le_bytes());
    bytes.extend(report.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(steps.iter().flatten());
    bytes
}

fn step(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
    let length = 8 + fields.iter().map(|field| field.len()).sum::<usize>();
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(u32::try_from(length).unwrap().to_le_bytes());
    bytes.extend(fields.iter().copied().flatten());
    bytes
}

pub(crate) fn copy(from: [u8; 24], to: [u8; 24]) -> Vec<u8> {
    step(1, &[&[0; 8], &from, &to])
}

pub(crate) fn fill(value: u8, to: [u8; 24]) -> Vec<u8> {
    step(2, &[&[value, 0, 0, 0, 0, 0, 0, 0], &to])
}

pub(crate) fn copy_counted(
    unit_bits: u32,
    from: [u8; 24],
    to: [u8; 24],
    count: [u8; 24],
) -> Vec<u8> {
    step(3, &[&unit_bits.to_le_bytes(), &[0; 4], &from, &to, &count])
}

pub(crate) fn run(
    rows: u64,
    program: u32,
    result: u64,
    checksums: u64,
    arguments: &[[u8; 24]],
) -> Vec<u8> {
    let count = u32::try_from(arguments.len()).unwrap();
    let arguments = arguments.concat();
    step(
        4,
        &[
            &rows.to_le_bytes(),
            &program.to_le_bytes(),
            &count.to_le_bytes(),
            &result.to_le_bytes(),
            &checksums.to_le_bytes(),
            &arguments,
        ],
    )
}

/// A segment list of these ranges, put into memory.
pub(crate) fn segments(host: &mut Host, ranges: &[(u64, u64)]) -> [u8; 24] {
    let entry = |&(iova, length): &(u64, u64)| [iova.to_le_bytes(), length.to_le_bytes()].concat();
    let bytes: Vec<u8> = ranges.iter().flat_map(entry).collect();
    let length = ranges.iter().map(|range| range.1).sum();
    list(host.place(&bytes), length, ranges.len().try_into().unwrap())
}
