//! Bounds on what is accepted, so that no query exhausts the stack or the memory.

use crate::error::{ExprError, ExprErrorKind};

/// Most bytes of a query's text: 1 MiB.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// Deepest nesting of an expression, parentheses in text included.
///
/// Everything that walks a tree recurses at most a small multiple of this, which a thread of
/// 2 MiB of stack bears without optimisation. `AND` and `OR` chains are flat and cost one level.
pub const MAX_DEPTH: u32 = 128;

/// Most nodes of a whole query after the check has taken `BETWEEN`, simple `CASE` and the like
/// apart. Members of an `IN` list are counted by [`MAX_IN_LIST`] instead.
pub const MAX_NODES: u32 = 10_000;

/// Most members of one `IN` list.
pub const MAX_IN_LIST: usize = 65_536;

/// Most columns that a query puts out by name. `*` is bounded by the schema alone.
pub const MAX_OUTPUTS: usize = 4_096;

/// Most bytes of the name of a user's function.
pub const MAX_FUNCTION_NAME: usize = 128;

/// Most arguments of a user's function.
pub const MAX_ARGUMENTS: usize = 64;

/// Most users' functions that are known at once.
pub const MAX_FUNCTIONS: usize = 1_024;

/// Most calls of users' functions in a query, equal ones counted once.
pub const MAX_CALLS: usize = 64;

pub(crate) fn too_many_calls() -> ExprError {
    ExprError::new(
        ExprErrorKind::Limit,
        format!("the query has more than {MAX_CALLS} different calls of users' functions"),
    )
    .with_help("split it into several queries")
}

pub(crate) fn too_deep() -> ExprError {
    ExprError::new(
        ExprErrorKind::Limit,
        format!("the expression nests deeper than {MAX_DEPTH} levels"),
    )
    .with_help("split it into several outputs or queries")
}

pub(crate) fn too_many_nodes() -> ExprError {
    ExprError::new(
        ExprErrorKind::Limit,
        format!("the query has more than {MAX_NODES} operations"),
    )
    .with_help("an IN list of literals counts as one; split the rest into several queries")
}

pub(crate) fn list_too_long(members: usize) -> ExprError {
    ExprError::new(
        ExprErrorKind::Limit,
        format!("an IN list has {members} members; at most {MAX_IN_LIST} are accepted"),
    )
    .with_help("split the list and join the parts by OR")
}
