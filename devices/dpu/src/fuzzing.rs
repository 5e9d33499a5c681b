//! What is fuzzed: bodies of the targets of `tests/fuzz`, which say what must hold for any bytes.

mod completions;
mod hostile;
mod replies;

pub use completions::completions;
pub use replies::replies;
