//! Bounds on what is read, beside those of [`unlade_expr::limits`].

/// Most bytes of a message: 4 MiB.
pub const MAX_BYTES: usize = 4 << 20;

/// Most Protobuf messages within one, the smallest of which take two bytes.
pub const MAX_MESSAGES: u32 = 1 << 19;

/// Deepest nesting of messages: what the reader of Protobuf admits. A call within a call takes three
/// levels, so that some thirty calls stand within each other.
pub const MAX_DEPTH: u32 = 100;
