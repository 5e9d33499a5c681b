//! The wire format: round trips by the thousand, what is refused, and its document.

mod document;
mod forms;
mod random;
mod refused;
