//! Substrait as real producers write it, and as nobody should.

mod build;
mod datafusion;
mod differential;
mod document;
mod producers;
mod refused;
