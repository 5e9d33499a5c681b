//! What is wrong with a struct that came from outside.

/// Why a struct of Arrow's C interfaces is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CDataError {
    /// There is none: the pointer to it is null.
    #[error("the {0} is a null pointer")]
    Null(&'static str),
    /// It breaks a rule of its interface, or was released before.
    #[error("{0}")]
    Malformed(String),
    /// It is not of the schema that it was handed over with.
    #[error("{0}")]
    Schema(String),
    /// The stream says that it failed.
    #[error("{0}")]
    Stream(String),
}

impl CDataError {
    pub(crate) fn malformed(what: impl Into<String>) -> Self {
        CDataError::Malformed(what.into())
    }
}
