//! What this card does not say, as it is of another kind, and a host has to understand.

/// Vectors that are the driver's to read: a later version of the interface, and a virtual function,
/// of which the simulated card has none.
pub(crate) const LEFT_TO_THE_HOST: [&str; 2] = ["register_version_later", "identify_virtual"];
