//! What is wrong with bytes that should be bytecode or a list of capabilities.

/// Bytes that docs/CARD.md does not admit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Bytecode that every card refuses, with what the card's completion says.
    #[error("bytecode, byte {offset}{}: {fault} ({:#06x})", in_word(*.word), .fault.status())]
    Bytecode {
        /// The rule that is broken.
        fault: Fault,
        /// Index of the word at fault; `None` where it is none (DW0 is all ones).
        word: Option<u32>,
        /// Offset of the header field, declaration or word at fault, in bytes (DW1).
        offset: u32,
    },
    /// A list of capabilities that no card of any version may have; its firmware is at fault.
    #[error("capability entry {entry}: {what}; the card breaks its interface")]
    Capabilities {
        /// The entry, from 0.
        entry: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// A rule of bytecode that is broken: the statuses of load errors (docs/CARD.md, section 12), but
/// for UNSUPPORTED, which depends on the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u16)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes are fewer or more than the header says.
    #[error("the length is not what the header and its counts say; pass the whole bytecode")]
    Length = 0x0301,
    /// It does not begin with `UNLB`.
    #[error("this is no bytecode, which begins with `UNLB`")]
    Magic = 0x0302,
    /// A version other than 1.0.
    #[error("the version is not 1.0; lower the program anew")]
    Version = 0x0303,
    /// The bytes are damaged.
    #[error("the checksum differs: the bytes are damaged; lower the program anew")]
    Checksum = 0x0304,
    /// More of something than the format admits.
    #[error("a count is above what the format admits")]
    LimitExceeded = 0x0305,
    /// A declaration of no type, or of a set of masks.
    #[error("the declaration has no type that may stand there")]
    BadDeclaration = 0x0306,
    /// An operation that version 1.0 has not.
    #[error("no operation has that number")]
    UnknownOperation = 0x0308,
    /// Types that the operation is not defined on, or that are not those of its input or output.
    #[error("the operation has not these types, or what its index names has not")]
    BadType = 0x0309,
    /// A variant that the operation has not.
    #[error("the operation has no such variant on this type")]
    BadVariant = 0x030a,
    /// A register that the header does not count.
    #[error("a register is missing, or not below the header's count")]
    BadRegister = 0x030c,
    /// A register read before it is written.
    #[error("a register is read that nothing has written")]
    UndefinedRegister = 0x030d,
    /// A register read as another type.
    #[error("a register is read as another type than it was written as")]
    RegisterType = 0x030e,
    /// An index of nothing.
    #[error("nothing is declared at that index")]
    BadIndex = 0x030f,
    /// Digits out of range.
    #[error("the immediate is outside the operation's range")]
    BadImmediate = 0x0310,
    /// A reserved or unused field in use.
    #[error("a field that is reserved or unused is not empty")]
    ReservedNotZero = 0x0311,
    /// KEEP, EMIT_MASK or STORE where it may not stand.
    #[error("KEEP, EMIT_MASK or STORE is repeated, out of order or not what is declared")]
    BadOrder = 0x0312,
    /// Something is declared and no word does it.
    #[error("a flag or output is declared, and no word belongs to it")]
    Incomplete = 0x0313,
}

impl Fault {
    /// The status code of the card's completion.
    pub const fn status(self) -> u16 {
        self as u16
    }
}

fn in_word(word: Option<u32>) -> String {
    word.map_or_else(String::new, |word| format!(", word {word}"))
}
