//! What checked queries lower to, and what those programs yield.

mod golden;
mod keys;
mod oracle;
mod support;
