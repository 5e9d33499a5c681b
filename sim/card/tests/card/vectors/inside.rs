//! What no host can have a card write with the values of an example.

/// Kinds that unit tests of the card read, beside the code that writes them: `src/vectors.rs`.
pub(crate) const INSIDE: [&str; 4] = ["cqe", "errors", "health", "report"];
