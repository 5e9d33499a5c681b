//! How large a program a card takes.

/// What a card has, from its IDENTIFY: registers, and the limits of one program (docs/CARD.md,
/// sections 6 and 13). The fields are those of IDENTIFY.
///
/// ```
/// use unlade_card::Limits;
///
/// let card = Limits { value_registers: 32, mask_registers: 32, ..Limits::LEAST };
/// assert_eq!(card.words, 4096);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the bytecode.
    pub program_bytes: u32,
    /// Instruction words.
    pub words: u32,
    /// V registers, each for a number per row of a tile.
    pub value_registers: u16,
    /// M registers, each for a mask.
    pub mask_registers: u16,
    /// Columns read.
    pub columns: u32,
    /// Parameters.
    pub params: u32,
    /// Tables.
    pub tables: u32,
    /// Sets.
    pub sets: u32,
    /// Columns written.
    pub outputs: u32,
    /// Constants.
    pub constants: u32,
}

impl Limits {
    /// What every card has at least.
    pub const LEAST: Limits = Limits {
        program_bytes: 262_144,
        words: 4096,
        value_registers: 16,
        mask_registers: 16,
        columns: 64,
        params: 256,
        tables: 16,
        sets: 16,
        outputs: 64,
        constants: 1024,
    };

    /// What the format can express; no card has more.
    pub const FORMAT: Limits = Limits {
        program_bytes: u32::MAX,
        words: u32::MAX,
        value_registers: 255,
        mask_registers: 255,
        columns: 4096,
        params: 16_384,
        tables: 1024,
        sets: 1024,
        outputs: 4096,
        constants: 65_536,
    };

    /// The most words that a host writes, whatever the card takes.
    pub(crate) const HOST_WORDS: u32 = 131_072;

    /// These limits, or those of the format and of hosts where they are lower.
    pub(crate) fn of_host(&self) -> Limits {
        let format = Limits::FORMAT;
        Limits {
            program_bytes: self.program_bytes.min(format.program_bytes),
            words: self.words.min(Limits::HOST_WORDS),
            value_registers: self.value_registers.min(format.value_registers),
            mask_registers: self.mask_registers.min(format.mask_registers),
            columns: self.columns.min(format.columns),
            params: self.params.min(format.params),
            tables: self.tables.min(format.tables),
            sets: self.sets.min(format.sets),
            outputs: self.outputs.min(format.outputs),
            constants: self.constants.min(format.constants),
        }
    }
}
