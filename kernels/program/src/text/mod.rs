//! The text form: a program as it is printed, logged, kept in tests and read back.
//!
//! ```text
//! columns c0: i32?, c1: f64        a question mark: a validity bitmap may come with it
//! params p0: i64
//! tables t0: mask
//! sets s0: i32
//! %0 = load c0                     ; a comment ends with its line
//! %1 = valid c0
//! %2 = param p0
//! %3 = cast.wrap %0 to i64
//! %4 = cmp.gt %3, %2               of floats also cmp.gt.total, cmp.gt.spark
//! %5 = and %1, %4
//! %6 = const i64 10                masks true and false; floats 1.5, -0.0, inf; NaNs by bits, 0x7fc00001
//! %7 = overflow.mul %3, %6
//! %8 = and %5, %7
//! %9 = trap.overflow %8, ordinal 2
//! %10 = mul %3, %6
//! keep %5
//! emit mask
//! output %10
//! output %0 valid %1
//! ```
//!
//! One statement a line. Names are those of the op table ([`crate::OPS`]); values are numbered
//! from 0 in the order of their lines, and so are inputs. What is printed parses back to an equal
//! program. (The notes above that follow no semicolon are not part of the form.)
//!
//! Parsing does not verify: a program that breaks a rule of [`crate::verify`] still has a text.

mod parse;
mod print;

pub use parse::ParseError;

#[cfg(test)]
mod tests;
