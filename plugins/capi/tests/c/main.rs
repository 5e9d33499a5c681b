//! Programs in C and C++ that are built here, against the header and the library as they are, and
//! run.

mod build;
mod examples;
mod programs;
mod symbols;
