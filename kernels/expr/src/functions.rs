//! The language as a table.

/// Names of what is written like a function.
pub(crate) fn function_names() -> impl Iterator<Item = &'static str> {
    ["abs", "cast", "coalesce", "if", "nullif", "try", "try_cast"].into_iter()
}
