//! What tests on virtual time have seen, for benchmarks that hold it against targets.

/// Tells a figure: `cargo xtask bench` reads the line, and of several of one name keeps the worst.
pub(crate) fn note(name: &str, value: f64) {
    println!("figure {value} {name}");
}
