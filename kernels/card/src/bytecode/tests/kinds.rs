//! Which examples of docs/card/vectors.toml are the compiler's.

/// Kinds of which the compiler's crate reads every vector: what it decodes and encodes, and what it
/// refuses as a card does.
pub(crate) const READ: [&str; 2] = ["bytecode", "refused"];
