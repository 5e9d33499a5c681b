//! Which examples of docs/card/vectors.toml are run.

/// Kinds of which every vector is compiled, sent and compared on a card.
pub(crate) const READ: [&str; 1] = ["execution"];
