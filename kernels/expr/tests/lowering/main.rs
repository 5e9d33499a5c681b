//! What checked queries lower to, and what those programs yield.

mod extent;
mod golden;
mod keys;
mod oracle;
mod support;
