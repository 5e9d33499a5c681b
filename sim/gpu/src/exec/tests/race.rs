//! Races that are found, and orders that make none.

use super::run;
use crate::{FindingKind, Grid};

fn races(body: &str, blocks: u32, threads: u32) -> bool {
    (0..30).any(
        |seed| match run(body, Grid::linear(blocks, threads), seed) {
            Ok(_) => false,
            Err(finding) => {
                assert_eq!(finding.kind, FindingKind::Race, "{finding}");
                true
            }
        },
    )
}

#[test]
fn two_threads_that_store_to_one_place() {
    assert!(races("st.global.u64 [%d18], 1;", 1, 32), "lanes");
    assert!(races("st.global.u64 [%d18], 1;", 1, 64), "warps");
    assert!(races("st.global.u64 [%d18], 1;", 2, 1), "blocks");
    let part = "setp.eq.u32 %p0, %r17, 0; @%p0 st.global.u8 [%d19+8], 1;\n\
                @!%p0 st.global.u64 [%d19], 2;";
    assert!(races(part, 1, 2), "a byte of it");
    assert!(!races("st.global.u64 [%d19], 1;", 2, 64), "each its own");
    assert!(
        !races("st.relaxed.gpu.global.u64 [%d18], 1;", 2, 64),
        "strong ones"
    );
    assert!(
        !races("red.global.add.u64 [%d18], 1;", 2, 64),
        "atomic ones"
    );
    let weak = "mov.u32 %r0, %ctaid.x; setp.eq.u32 %p0, %r0, 0;\n\
                @%p0 red.global.add.u64 [%d18], 1; @!%p0 ld.global.u64 %d0, [%d18];";
    assert!(races(weak, 2, 1), "a weak load");
    assert!(
        !races(&weak.replace("ld.", "ld.relaxed.gpu."), 2, 1),
        "a strong one"
    );
}

const EXCHANGE: &str = ".shared .align 4 .b8 box[512]; mov.u32 %r0, box; mad.lo.u32 %r1, %r17, 4, %r0;\n\
    xor.b32 %r2, %r17, 1; mad.lo.u32 %r2, %r2, 4, %r0;\n\
    st.shared.u32 [%r1], 1; FIRST ld.shared.u32 %r3, [%r2]; SECOND st.shared.u32 [%r1], 2;";

#[test]
fn barriers_order_a_block_and_a_warp() {
    let body =
        |first: &str, second: &str| EXCHANGE.replace("FIRST", first).replace("SECOND", second);
    assert!(!races(&body("bar.sync 0;", "bar.sync 0;"), 2, 128));
    assert!(!races(
        &body("bar.warp.sync -1;", "bar.warp.sync -1;"),
        1,
        128
    ));
    assert!(
        races(&body("bar.sync 0;", ""), 1, 128),
        "a store over what another loads"
    );
    assert!(
        races(
            &body("bar.sync 0;", "vote.sync.any.pred %p0, 1, -1;"),
            1,
            32
        ),
        "a vote orders no memory"
    );
}

/// Block 0 passes a number to block 1, which waits for it.
fn pass(send: &str, receive: &str) -> String {
    format!(
        "mov.u32 %r0, %ctaid.x; setp.eq.u32 %p0, %r0, 0; @!%p0 bra RECEIVE;\n\
         st.global.u64 [%d18], 5; {send} bra.uni END;\n\
         RECEIVE: {receive} setp.ne.u64 %p1, %d1, 1; @%p1 bra RECEIVE; FENCE\n\
         ld.global.u64 %d2, [%d18]; END:"
    )
}

#[test]
fn releases_and_acquires_order_blocks() {
    let send = "st.release.gpu.global.u64 [%d18+8], 1;";
    let receive = "ld.acquire.gpu.global.u64 %d1, [%d18+8];";
    let fenced = "fence.acq_rel.gpu; st.relaxed.gpu.global.u64 [%d18+8], 1;";
    let relaxed = "ld.relaxed.gpu.global.u64 %d1, [%d18+8];";
    let body = |send, receive, fence| pass(send, receive).replace("FENCE", fence);
    assert!(!races(&body(send, receive, ""), 2, 1));
    assert!(!races(&body(fenced, relaxed, "membar.gl;"), 2, 1));
    assert!(!races(
        &body(
            "membar.gl; atom.global.exch.b64 %d3, [%d18+8], 1;",
            receive,
            ""
        ),
        2,
        1
    ));
    assert!(races(&body(send, relaxed, ""), 2, 1), "no acquire");
    assert!(
        races(
            &body("st.relaxed.gpu.global.u64 [%d18+8], 1;", receive, ""),
            2,
            1
        ),
        "no release"
    );
    assert!(
        races(&body(&send.replace("gpu", "cta"), receive, ""), 2, 1),
        "too small a scope"
    );
}

#[test]
fn both_sides_of_a_race_are_named() {
    let found = run("st.global.u64 [%d18], 1;", Grid::linear(2, 1), 1).unwrap_err();
    let other = 1 - found.block;
    assert!(
        found
            .to_string()
            .contains(&format!("which block {other}, warp 0, lane 0 stored")),
        "{found}"
    );
    assert_eq!(found.line, 11);
}

#[test]
fn launches_come_one_after_the_other() {
    let module = super::module(
        ".param .u64 out",
        "ld.param.u64 %d0, [out]; st.global.u64 [%d0], 1;",
    );
    let mut gpu = crate::Gpu::new(crate::Profile::h200());
    let out = gpu.allocate(8).unwrap();
    for _ in 0..3 {
        gpu.launch(
            module.kernel("k").unwrap(),
            Grid::linear(1, 1),
            &[out.into()],
        )
        .unwrap();
    }
}
