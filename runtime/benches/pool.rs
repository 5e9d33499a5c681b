//! Lease and return beside `malloc` and free of the same size, neither touching the memory.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use unlade_hal::PageSize;
use unlade_runtime::pool::{Pool, PoolOptions};

fn lease_and_return(criterion: &mut Criterion) {
    let options = PoolOptions {
        reserve: 256 << 20,
        budget: 256 << 20,
        page_size: PageSize::Base,
    };
    let pool = Pool::new(&options).expect("256 MiB of address space");
    let session = pool.session("bench", u64::MAX);
    let mut group = criterion.benchmark_group("pool");
    for len in [
        64usize,
        1 << 10,
        8 << 10,
        32 << 10,
        256 << 10,
        1 << 20,
        16 << 20,
        64 << 20,
    ] {
        group.bench_with_input(BenchmarkId::new("lease", len), &len, |bencher, len| {
            bencher.iter(|| black_box(session.lease(*len as u64).expect("nothing else is out")));
        });
        group.bench_with_input(BenchmarkId::new("malloc", len), &len, |bencher, len| {
            bencher.iter(|| black_box(Vec::<u8>::with_capacity(black_box(*len))));
        });
    }
    group.finish();
}

criterion_group!(benches, lease_and_return);
criterion_main!(benches);
