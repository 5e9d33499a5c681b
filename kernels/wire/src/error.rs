//! Why bytes are refused, or cannot be made.

use unlade_expr::ExprError;

/// Why something cannot be written, or bytes cannot be read.
///
/// Offsets are in bytes from the beginning of the encoding, its header included.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes do not begin as every encoding does.
    #[error("this is no expression on the wire, which begins with `UNLW`")]
    Magic,
    /// Another version of the format.
    #[error(
        "the encoding is of version {found}; versions up to {known} are read here: let the writer's release be no newer than the reader's"
    )]
    Version {
        /// The version of the bytes.
        found: u16,
        /// The newest version that is read.
        known: u16,
    },
    /// Something else than what was asked for.
    #[error("the bytes are {found}; {expected} is expected")]
    Kind {
        /// What it is, by name, or by number where that has none.
        found: String,
        /// What was to be read.
        expected: &'static str,
    },
    /// Bytes are missing, or left over.
    #[error(
        "the encoding is {expected} bytes long, and {found} bytes are here; pass all of them, and nothing else"
    )]
    Length {
        /// What header and its length say.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// The bytes are damaged.
    #[error("the checksum differs: the bytes are damaged")]
    Checksum,
    /// More of something than is written or read.
    #[error("there are more than {most} {what}; split the query")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        most: usize,
    },
    /// The body is not what the format says.
    #[error("byte {offset}: {what}")]
    Malformed {
        /// Where.
        offset: usize,
        /// What is wrong.
        what: String,
    },
    /// The bytes say something in another form than the one it has.
    #[error(
        "byte {offset}: the value is encoded in another form than its only one; encode it anew"
    )]
    NotCanonical {
        /// The first byte that is not as it should be.
        offset: usize,
    },
    /// A user's function is called that the reader does not know, or knows with other types.
    #[error(transparent)]
    Function(ExprError),
    /// The value is none that can be written.
    #[error("{0}")]
    NotEncodable(String),
}
