//! How long it takes to make the text of a kernel.
//!
//! `cargo bench -p unlade-ptx --bench emit`. Times are those of the calling thread's clock on a
//! machine that does nothing else; the median of many runs.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // a report is what this program is for

#[path = "../tests/common/shapes.rs"]
mod shapes;

use std::hint::black_box;
use std::time::Instant;

/// Runs of each shape.
const RUNS: usize = 2001;

fn main() {
    println!(
        "{:<22}{:>8}{:>8}{:>12}",
        "shape", "lines", "bytes", "median us"
    );
    for (name, program) in shapes::shapes() {
        let text = unlade_ptx::lower(&program)
            .expect("shapes are lowered")
            .text;
        let mut micros: Vec<f64> = (0..RUNS)
            .map(|_| {
                let start = Instant::now();
                black_box(unlade_ptx::lower(black_box(&program))).expect("shapes are lowered");
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        micros.sort_by(f64::total_cmp);
        let median = micros[RUNS / 2];
        println!(
            "{name:<22}{:>8}{:>8}{median:>12.1}",
            text.lines().count(),
            text.len()
        );
    }
}
