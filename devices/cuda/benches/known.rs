//! What it takes to find a program that the device knows: `cargo bench -p unlade-cuda`.
//!
//! On the simulated GPU, whose driver is not called on this way. The target is 1 µs.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use unlade_hal::Device;
use unlade_program::Program;

/// A predicate over so many columns: three instructions and three more for each further one.
fn predicate(columns: u32) -> Arc<Program> {
    let declared: Vec<String> = (0..columns).map(|at| format!("c{at}: i32")).collect();
    let params: Vec<String> = (0..columns).map(|at| format!("p{at}: i32")).collect();
    let mut text = format!(
        "columns {}\nparams {}\n",
        declared.join(", "),
        params.join(", ")
    );
    let mut next = 0;
    let mut keep = None;
    for at in 0..columns {
        let (load, param, above) = (next, next + 1, next + 2);
        text += &format!(
            "%{load} = load c{at}\n%{param} = param p{at}\n%{above} = cmp.gt %{load}, %{param}\n"
        );
        next += 3;
        keep = match keep {
            None => Some(above),
            Some(before) => {
                text += &format!("%{next} = and %{before}, %{above}\n");
                next += 1;
                Some(next - 1)
            }
        };
    }
    text += &format!("keep %{}\nemit mask\n", keep.expect("a column"));
    Arc::new(text.parse().expect("a program"))
}

fn known(criterion: &mut Criterion) {
    unlade_cuda::simulate().expect("the simulated driver is found");
    let device = unlade_cuda::open(0).expect("a simulated GPU");
    let mut group = criterion.benchmark_group("known");
    for columns in [1, 4, 16] {
        let program = predicate(columns);
        device.compile(&program).expect("it compiles");
        // Planning a query again makes an equal program, not the same one.
        let equal = Arc::new(Program::clone(&program));
        for (what, asked) in [("the same", &program), ("an equal", &equal)] {
            let name = format!("{what} program of {} instructions", program.insts.len());
            group.bench_function(name, |bench| {
                bench.iter(|| device.compile(black_box(asked)).expect("it is known"));
            });
        }
    }
    group.finish();

    // As it is found after something else: a compile, say, which leaves nothing of it in caches.
    let mut group = criterion.benchmark_group("known, caches cold");
    let program = predicate(1);
    let mut elsewhere = vec![0u8; 64 << 20];
    group.bench_function("3 instructions", |bench| {
        bench.iter_custom(|times| {
            (0..times)
                .map(|time| {
                    elsewhere.fill(black_box(time as u8));
                    let began = Instant::now();
                    let found = device.compile(black_box(&program));
                    let taken = began.elapsed();
                    drop(found);
                    taken
                })
                .sum()
        });
    });
    group.finish();
}

criterion_group!(benches, known);
criterion_main!(benches);
