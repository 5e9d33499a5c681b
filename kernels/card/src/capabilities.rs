//! A card's list of operations.

use std::collections::BTreeMap;

use unlade_program::{Cell, CellSet};

use crate::bytecode::{Operation, ty_number, ty_of};
use crate::malformed::Malformed;

/// Bytes of an entry of log page `0x02`.
const ENTRY: usize = 8;

/// A card's capabilities, from the entries of its log page `0x02` without the page's header of 16
/// bytes (docs/CARD.md, GET_LOG and section 11). Their reserved bytes are ignored, and so are
/// operations, types and variants that version 1.0 of the bytecode has not: cards of a newer minor
/// version may have them, and nothing is ever lowered to them.
///
/// # Errors
/// [`Malformed::Capabilities`] where an entry is cut off, out of order or has no variant, which are
/// faults of the card whatever its version.
pub fn cells(entries: &[u8]) -> Result<CellSet, Malformed> {
    let mut cells = CellSet::empty();
    let mut before = None;
    for (entry, bytes) in entries.chunks(ENTRY).enumerate() {
        let wrong = |what| Malformed::Capabilities { entry, what };
        let &[low, high, operand, result, variants, _, _, _] = bytes else {
            return Err(wrong("its bytes are not all there"));
        };
        let key = (u16::from_le_bytes([low, high]), operand, result);
        if before.is_some_and(|before| before >= key) {
            return Err(wrong("it is not above the one before"));
        }
        before = Some(key);
        if variants == 0 {
            return Err(wrong("it has no variant"));
        }
        let (Some(Operation::Program(op)), Some(operand), Some(result)) =
            (Operation::of_number(key.0), ty_of(operand), ty_of(result))
        else {
            continue;
        };
        let variants = (0..8).filter(|variant| variants >> variant & 1 == 1);
        let listed = variants.map(|variant| Cell {
            op,
            operand,
            result,
            variant,
        });
        for cell in listed.filter(|cell| cell.is_legal()) {
            cells.insert(cell);
        }
    }
    Ok(cells)
}

/// The entries of log page `0x02` that say a set of cells, without the page's header: what tests
/// and models of cards answer with. [`cells`] reads them back.
pub fn entries(cells: &CellSet) -> Vec<u8> {
    let mut variants: BTreeMap<(u16, u8, u8), u8> = BTreeMap::new();
    for cell in cells.iter() {
        let key = (
            cell.op.number(),
            ty_number(cell.operand),
            ty_number(cell.result),
        );
        *variants.entry(key).or_default() |= 1 << cell.variant;
    }
    let mut entries = Vec::with_capacity(ENTRY * variants.len());
    for ((operation, operand, result), variants) in variants {
        entries.extend_from_slice(&operation.to_le_bytes());
        entries.extend_from_slice(&[operand, result, variants, 0, 0, 0]);
    }
    entries
}
