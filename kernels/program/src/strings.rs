//! What the compaction of a column of strings is handed, which is beside programs: those have columns
//! of fixed width.

/// The width of the offsets of a column of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offsets {
    /// 32 bits: Arrow's `Utf8` and `Binary`.
    I32,
    /// 64 bits: Arrow's `LargeUtf8` and `LargeBinary`.
    I64,
}

impl Offsets {
    /// Both.
    pub const ALL: [Offsets; 2] = [Offsets::I32, Offsets::I64];

    /// Bytes of one offset.
    pub const fn bytes(self) -> u64 {
        match self {
            Offsets::I32 => 4,
            Offsets::I64 => 8,
        }
    }

    /// The largest offset of Arrow's, and so the most bytes of a column.
    pub const fn most(self) -> u64 {
        match self {
            Offsets::I32 => i32::MAX as u64,
            Offsets::I64 => i64::MAX as u64,
        }
    }
}

/// The arguments of a dispatch that compacts strings, by their position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum StringsArg {
    /// Which rows are kept: a bit per row, from any bit of the first byte on.
    Mask = 0,
    /// The offsets, one more than there are rows; the first may be any.
    Offsets = 1,
    /// What the first offset refers to, and all that is behind it up to the last.
    Bytes = 2,
    /// The first offset: a scalar, the first eight bytes of which are a `u64`.
    First = 3,
    /// Offsets of the strings kept: room for one more than there are rows.
    KeptOffsets = 4,
    /// Their bytes: room for as many as are handed over.
    KeptBytes = 5,
}

impl StringsArg {
    /// All of them, in order.
    pub const ALL: [StringsArg; 6] = [
        StringsArg::Mask,
        StringsArg::Offsets,
        StringsArg::Bytes,
        StringsArg::First,
        StringsArg::KeptOffsets,
        StringsArg::KeptBytes,
    ];

    /// Whether a dispatch writes it.
    pub const fn is_written(self) -> bool {
        matches!(self, StringsArg::KeptOffsets | StringsArg::KeptBytes)
    }
}
