#![forbid(unsafe_code)]
//!
