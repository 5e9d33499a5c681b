//! Kernels that show the interpreter's rules.

mod control;
mod order;
mod race;
mod values;

use crate::{Argument, Finding, Gpu, Grid, Interleaving, LaunchError, Module, Profile, Report};

/// A module of one kernel `k` with registers of every kind, `%p0` to `%p9` and so on.
fn module(params: &str, body: &str) -> Module {
    let text = format!(
        ".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry k({params})\n{{\n\
         .reg .pred %p<10>; .reg .b16 %h<10>; .reg .b32 %r<20>; .reg .b64 %d<20>;\n\
         .reg .f32 %f<10>; .reg .f64 %g<10>;\n{body}\nret;\n}}\n"
    );
    Module::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Runs a body whose `out` holds a `.u64` for each thread, at `%d19` for the thread's own.
fn run(body: &str, grid: Grid, seed: u64) -> Result<(Vec<u64>, Report), Box<Finding>> {
    run_so(
        body,
        grid,
        Interleaving {
            seed,
            ..Interleaving::default()
        },
    )
}

fn run_so(
    body: &str,
    grid: Grid,
    interleaving: Interleaving,
) -> Result<(Vec<u64>, Report), Box<Finding>> {
    let body = format!(
        "mov.u32 %r19, %ctaid.x; mov.u32 %r18, %ntid.x; mov.u32 %r17, %tid.x;\n\
         mad.lo.u32 %r19, %r19, %r18, %r17; ld.param.u64 %d18, [out];\n\
         mad.wide.u32 %d19, %r19, 8, %d18;\n{body}"
    );
    let module = module(".param .u64 out", &body);
    let mut gpu = Gpu::new(Profile::l4()).with_interleaving(interleaving);
    let threads = (grid.blocks[0] * grid.threads[0]) as usize;
    let out = gpu.allocate(8 * threads as u64).unwrap();
    gpu.write(out, &vec![0; 8 * threads]).unwrap();
    match gpu.launch(module.kernel("k").unwrap(), grid, &[out.into()]) {
        Err(LaunchError::Finding(finding)) => Err(finding),
        Err(refused) => panic!("{refused}"),
        Ok(report) => {
            let mut bytes = vec![0; 8 * threads];
            gpu.read(out, &mut bytes).unwrap();
            let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
            Ok((bytes.chunks(8).map(word).collect(), report))
        }
    }
}

/// What one warp leaves, whatever the seed: the same for a few of them.
fn warp(body: &str) -> Vec<u64> {
    let results = [1, 2, 3].map(|seed| run(body, Grid::linear(1, 32), seed).unwrap().0);
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
    results[0].clone()
}

fn finding(body: &str, grid: Grid) -> Finding {
    *run(body, grid, 1).expect_err("a finding")
}

#[test]
fn a_launch_that_does_not_fit_is_refused() {
    let module = module(".param .u32 x, .param .u64 y", "");
    let kernel = module.kernel("k").unwrap();
    let mut gpu = Gpu::new(Profile::l4()).with_interleaving(Interleaving::default());
    let mut refused = |grid, arguments: &[Argument]| match gpu.launch(kernel, grid, arguments) {
        Err(LaunchError::Refused(message)) => message,
        other => panic!("{other:?}"),
    };
    let fine = [1u32.into(), 2u64.into()];
    assert!(refused(Grid::linear(1, 1025), &fine).contains("1025 threads"));
    assert!(refused(Grid::linear(0, 32), &fine).contains("0 blocks"));
    assert!(refused(Grid::linear(1, 32), &fine[..1]).contains("2 parameters"));
    assert!(refused(Grid::linear(1, 32), &[1u64.into(), 2u64.into()]).contains("`x` has 4 bytes"));
    let shared = Grid {
        dynamic_shared: 1 << 20,
        ..Grid::linear(1, 1)
    };
    assert!(refused(shared, &fine).contains("shared memory"));
}
