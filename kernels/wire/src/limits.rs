//! Bounds on what is written and read, beside those of [`unlade_expr::limits`]: depth of
//! expressions, and bytes of one text or name.

/// Most bytes of a body: 16 MiB.
pub const MAX_BODY_BYTES: usize = 16 << 20;

/// Most expressions in a body, members of lists included.
pub const MAX_EXPRESSIONS: u32 = 1 << 18;

/// Most Arrow fields in a body, children of nested types included.
pub const MAX_FIELDS: u32 = 1 << 16;

/// Most entries of metadata in a body.
pub const MAX_METADATA: u32 = 1 << 16;

/// Deepest nesting of an Arrow type.
pub const MAX_TYPE_DEPTH: u32 = 64;
