//! What the memory model allows, and what it forbids.

use super::{run, run_so};
use crate::{Grid, Interleaving};

/// Kernels that race on purpose, to see what comes of it. Whether any of many seeds leaves, at the first thread's place, what `odd` looks for.
fn ever(body: &str, blocks: u32, threads: u32, odd: impl Fn(&[u64]) -> bool) -> bool {
    (0..200).any(|seed| {
        let so = Interleaving {
            seed,
            find_races: false,
            ..Interleaving::default()
        };
        let (out, _) = run_so(body, Grid::linear(blocks, threads), so).unwrap();
        odd(&out)
    })
}

/// One block passes a message to the other: data at `[%d18+0]`, a flag at `[%d18+8]`. The second
/// leaves what it saw of the data at `[%d18+16]`, if it saw the flag.
fn message(send: &str, receive: &str) -> String {
    format!(
        "mov.u32 %r0, %ctaid.x; setp.eq.u32 %p0, %r0, 0; setp.ne.u32 %p1, %r17, 0; @%p1 exit;\n\
         @!%p0 bra RECEIVE;\n{send}\nbra.uni END;\n\
         RECEIVE: mov.u64 %d1, 0; {receive}\n\
         setp.eq.u64 %p2, %d1, 1; @!%p2 bra END; add.u64 %d2, %d2, 100; st.global.u64 [%d18+16], %d2;\nEND:"
    )
}

const STALE: fn(&[u64]) -> bool = |out| out[2] == 100;

#[test]
fn a_released_message_is_whole() {
    let sends = [
        "st.global.u64 [%d18], 5; st.release.gpu.global.u64 [%d18+8], 1;",
        "st.global.u64 [%d18], 5; membar.gl; st.volatile.global.u64 [%d18+8], 1;",
        "st.global.u64 [%d18], 5; fence.acq_rel.gpu; st.relaxed.gpu.global.u64 [%d18+8], 1;",
        "st.global.u64 [%d18], 5; atom.release.gpu.global.exch.b64 %d5, [%d18+8], 1;",
    ];
    let receives = [
        "ld.acquire.gpu.global.u64 %d1, [%d18+8]; ld.global.u64 %d2, [%d18];",
        "ld.relaxed.gpu.global.u64 %d1, [%d18+8]; fence.acq_rel.gpu; ld.global.u64 %d2, [%d18];",
        "atom.acquire.gpu.global.or.b64 %d1, [%d18+8], 0; ld.global.u64 %d2, [%d18];",
    ];
    for send in sends {
        for receive in receives {
            let body = message(send, receive);
            assert!(!ever(&body, 2, 32, STALE), "{send} {receive}");
            assert!(ever(&body, 2, 32, |out| out[2] == 105), "{send} {receive}");
        }
    }
}

#[test]
fn a_message_without_release_or_acquire_may_be_torn() {
    let release = "st.global.u64 [%d18], 5; st.release.gpu.global.u64 [%d18+8], 1;";
    let acquire = "ld.acquire.gpu.global.u64 %d1, [%d18+8]; ld.global.u64 %d2, [%d18];";
    let relaxed_send = release.replace("release", "relaxed");
    assert!(
        ever(&message(&relaxed_send, acquire), 2, 32, STALE),
        "no release"
    );
    let block_only = release.replace("release.gpu", "release.cta");
    assert!(
        ever(&message(&block_only, acquire), 2, 32, STALE),
        "release of too small a scope"
    );
    // An earlier look leaves something that a weak load may see again.
    let relaxed_receive = acquire.replace("acquire", "relaxed");
    assert!(
        ever(&message(release, &relaxed_receive), 2, 32, STALE),
        "no acquire"
    );
}

#[test]
fn a_fence_hands_on_what_a_barrier_collected() {
    // All threads of block 0 store, meet, and one of them raises the flag.
    let send = |fence: &str| {
        format!(
            "setp.eq.u32 %p0, %r19, 0; mov.u32 %r0, %ctaid.x; setp.eq.u32 %p1, %r0, 0; @!%p1 bra RECEIVE;\n\
             st.global.u64 [%d19], 7; bar.sync 0; @!%p0 bra END; {fence}\n\
             st.relaxed.gpu.global.u64 [%d18+512], 1; bra.uni END;\n\
             RECEIVE: setp.ne.u32 %p2, %r17, 0; @%p2 bra END; L: ld.acquire.gpu.global.u64 %d1, [%d18+512];\n\
             setp.ne.u64 %p2, %d1, 1; @%p2 bra L; ld.global.u64 %d2, [%d18+504]; add.u64 %d2, %d2, 100;\n\
             st.global.u64 [%d18+520], %d2; END:"
        )
    };
    let torn = |out: &[u64]| out[65] == 100;
    assert!(!ever(&send("membar.gl;"), 2, 64, torn));
    assert!(ever(&send("membar.gl;"), 2, 64, |out| out[65] == 107));
    assert!(ever(&send(""), 2, 64, torn));
}

#[test]
fn a_lane_sees_its_own_stores_in_order() {
    let body = "st.global.u64 [%d19], 1; st.global.u32 [%d19+4], 2; ld.global.u64 %d0, [%d19];\n\
                st.global.u8 [%d19], 9; atom.global.add.u64 %d1, [%d19], 1; ld.global.u64 %d0, [%d19];\n\
                membar.gl; st.global.u64 [%d19], %d0;";
    for seed in 0..50 {
        let (out, _) = run(body, Grid::linear(2, 64), seed).unwrap();
        assert!(out.iter().all(|&value| value == 0x2_0000_000a), "{out:x?}");
    }
}

#[test]
fn a_place_is_never_seen_to_go_back() {
    let body = "mov.u32 %r0, %ctaid.x; setp.eq.u32 %p0, %r0, 0; setp.ne.u32 %p1, %r17, 0; @%p1 exit;\n\
                @!%p0 bra READ; st.global.u64 [%d18], 1; st.global.u64 [%d18], 2; st.global.u64 [%d18], 3;\n\
                membar.gl; bra.uni END;\n\
                READ: ld.global.u64 %d1, [%d18]; ld.global.u64 %d2, [%d18]; ld.global.u64 %d3, [%d18];\n\
                setp.gt.u64 %p2, %d1, %d2; setp.gt.or.u64 %p2, %d2, %d3, %p2; selp.u64 %d4, 1, 0, %p2;\n\
                st.global.u64 [%d18+16], %d4; END:";
    assert!(!ever(body, 2, 32, |out| out[2] == 1));
}

#[test]
fn shared_stores_of_a_warp_want_a_barrier_too() {
    let exchange = |barrier: &str| {
        format!(
            ".shared .align 8 .b8 box[256]; mov.u32 %r0, box; mad.lo.u32 %r1, %r17, 8, %r0;\n\
             st.shared.u64 [%r1], 1; bar.warp.sync -1; cvt.u64.u32 %d0, %r17; add.u64 %d0, %d0, 100;\n\
             st.shared.u64 [%r1], %d0; {barrier} xor.b32 %r2, %r17, 1; mad.lo.u32 %r1, %r2, 8, %r0;\n\
             ld.shared.u64 %d1, [%r1]; st.global.u64 [%d19], %d1;"
        )
    };
    let wrong = |out: &[u64]| {
        out.iter()
            .enumerate()
            .any(|(lane, &value)| value != 100 + (lane as u64 ^ 1))
    };
    assert!(!ever(&exchange("bar.warp.sync -1;"), 1, 32, wrong));
    assert!(ever(&exchange(""), 1, 32, wrong));
}
