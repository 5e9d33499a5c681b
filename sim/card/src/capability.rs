//! What a card executes: the list of docs/CARD.md, section 11.

use std::collections::BTreeMap;

use crate::bytecode::Operation;
use crate::types::Type;

/// The operations that a card lists, by (operation, operand type, result type), each with a bit for
/// every variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities {
    entries: BTreeMap<(Operation, Type, Type), u8>,
}

impl Capabilities {
    /// Everything that section 10 admits.
    pub(crate) fn all() -> Capabilities {
        let mut entries = BTreeMap::new();
        for operation in Operation::ALL
            .into_iter()
            .filter(|operation| !operation.is_own())
        {
            for operand in Type::ALL {
                for result in Type::ALL {
                    if operation.admits(operand, result) {
                        let variants = (1 << operation.variants(operand)) - 1;
                        entries.insert((operation, operand, result), variants);
                    }
                }
            }
        }
        Capabilities { entries }
    }

    /// Takes out the entries of which the function says so; given are the numbers of operation,
    /// operand type and result type.
    pub(crate) fn without(mut self, lacks: impl Fn(u16, u8, u8) -> bool) -> Capabilities {
        self.entries.retain(|(operation, operand, result), _| {
            !lacks(operation.number(), operand.number(), result.number())
        });
        self
    }

    pub(crate) fn lists(&self, operation: Operation, types: (Type, Type), variant: u8) -> bool {
        let variants = self
            .entries
            .get(&(operation, types.0, types.1))
            .copied()
            .unwrap_or(0);
        variants >> variant & 1 == 1
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Log page 2: a header of 16 bytes and 8 bytes for each entry, ascending.
    pub(crate) fn page(&self) -> Vec<u8> {
        let count = u32::try_from(self.len()).expect("there are 577 at most");
        let mut page = Vec::with_capacity(16 + 8 * self.len());
        page.extend(count.to_le_bytes());
        page.extend(8u32.to_le_bytes());
        page.extend([0; 8]);
        for (&(operation, operand, result), &variants) in &self.entries {
            page.extend(operation.number().to_le_bytes());
            page.extend([operand.number(), result.number(), variants, 0, 0, 0]);
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The counts that section 11 states.
    #[test]
    fn a_card_with_everything_lists_577_entries_with_604_variants() {
        let all = Capabilities::all();
        assert_eq!(all.len(), 577);
        let variants: u32 = all
            .entries
            .values()
            .map(|variants| variants.count_ones())
            .sum();
        assert_eq!(variants, 604);
        assert_eq!(all.page().len(), 16 + 8 * 577);
    }
}
