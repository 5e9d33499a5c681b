//! Lease and return beside `malloc` and free of the same size, neither touching the memory: on one
//! thread, on two at once, and with the lease marked as exported in between, as results are.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use unlade_hal::PageSize;
use unlade_runtime::pool::{Pool, PoolOptions, Session, Use};

const LENGTHS: [usize; 8] = [
    64,
    1 << 10,
    8 << 10,
    32 << 10,
    256 << 10,
    1 << 20,
    16 << 20,
    64 << 20,
];

fn session() -> Session {
    let options = PoolOptions {
        reserve: 256 << 20,
        budget: 256 << 20,
        page_size: PageSize::Base,
    };
    let pool = Pool::new(&options).expect("256 MiB of address space");
    pool.session("bench", u64::MAX)
}

fn lease(session: &Session, len: usize) {
    black_box(session.lease(len as u64).expect("nothing else is out"));
}

fn export(session: &Session, len: usize) {
    let lease = session.lease(len as u64).expect("nothing else is out");
    black_box(session.mark(lease, Use::Exported));
}

fn malloc(len: usize) {
    black_box(Vec::<u8>::with_capacity(black_box(len)));
}

fn one_thread(criterion: &mut Criterion) {
    let session = session();
    let mut group = criterion.benchmark_group("pool");
    for len in LENGTHS {
        group.bench_function(BenchmarkId::new("lease", len), |bencher| {
            bencher.iter(|| lease(&session, black_box(len)));
        });
        group.bench_function(BenchmarkId::new("export", len), |bencher| {
            bencher.iter(|| export(&session, black_box(len)));
        });
        group.bench_function(BenchmarkId::new("malloc", len), |bencher| {
            bencher.iter(|| malloc(len));
        });
    }
    group.finish();
}

fn two_threads(criterion: &mut Criterion) {
    let session = session();
    let mut group = criterion.benchmark_group("pool, two threads");
    for len in LENGTHS {
        group.bench_function(BenchmarkId::new("lease", len), |bencher| {
            bencher.iter_custom(|iterations| at_once(iterations, || lease(&session, len)));
        });
        group.bench_function(BenchmarkId::new("export", len), |bencher| {
            bencher.iter_custom(|iterations| at_once(iterations, || export(&session, len)));
        });
        group.bench_function(BenchmarkId::new("malloc", len), |bencher| {
            bencher.iter_custom(|iterations| at_once(iterations, || malloc(len)));
        });
    }
    group.finish();
}

/// How long two threads take that do this so many times each, at the same time.
fn at_once(iterations: u64, act: impl Fn() + Sync) -> Duration {
    let barrier = Barrier::new(2);
    let work = || {
        act();
        barrier.wait();
        let start = Instant::now();
        for _ in 0..iterations {
            act();
        }
        start.elapsed()
    };
    thread::scope(|scope| {
        let other = scope.spawn(work);
        let own = work();
        own.max(other.join().expect("it does not panic"))
    })
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(700));
    targets = one_thread, two_threads
}
criterion_main!(benches);
