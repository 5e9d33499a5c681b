//! Branches, what lanes do together, barriers, and what is found.

use super::{finding, run, warp};
use crate::{FindingKind, Grid};

#[test]
fn lanes_part_and_come_together() {
    let body = "mov.u64 %d0, 0; setp.lt.u32 %p0, %r17, 10; @%p0 bra LOW; add.u64 %d0, %d0, 100; bra.uni JOIN;\n\
                LOW: add.u64 %d0, %d0, 1; JOIN: add.u64 %d0, %d0, 1000; st.global.u64 [%d19], %d0;";
    let out = warp(body);
    assert!(out[..10].iter().all(|&value| value == 1001));
    assert!(out[10..].iter().all(|&value| value == 1100));
    let loops = "mov.u32 %r0, 0; L: add.u32 %r0, %r0, 1; setp.lt.u32 %p0, %r0, %r17; @%p0 bra L;\n\
                 cvt.u64.u32 %d0, %r0; st.global.u64 [%d19], %d0;";
    let out = warp(loops);
    assert!(
        out.iter()
            .enumerate()
            .all(|(lane, &turns)| turns == lane.max(1) as u64)
    );
}

#[test]
fn votes_and_shuffles() {
    let one = |body: &str| {
        warp(&format!(
            "setp.lt.u32 %p0, %r17, 3;\n{body}\ncvt.u64.u32 %d0, %r0; st.global.u64 [%d19], %d0;"
        ))
    };
    assert!(
        one("vote.sync.ballot.b32 %r0, %p0, -1;")
            .iter()
            .all(|&mask| mask == 7)
    );
    assert!(
        one("vote.sync.ballot.b32 %r0, !%p0, -1;")
            .iter()
            .all(|&mask| mask == 0xffff_fff8)
    );
    assert!(
        one("vote.sync.any.pred %p1, %p0, -1; selp.u32 %r0, 1, 0, %p1;")
            .iter()
            .all(|&any| any == 1)
    );
    assert!(
        one("vote.sync.all.pred %p1, %p0, -1; selp.u32 %r0, 1, 0, %p1;")
            .iter()
            .all(|&all| all == 0)
    );
    assert!(
        one("vote.sync.uni.pred %p1, %p0, -1; selp.u32 %r0, 1, 0, %p1;")
            .iter()
            .all(|&uni| uni == 0)
    );
    // Only the lanes of the mask take part.
    let some = one("mov.u32 %r0, 99; @%p0 vote.sync.ballot.b32 %r0, %p0, 7;");
    assert_eq!((some[0], some[2], some[3]), (7, 7, 99));
    let shuffled = |mode: &str, by: u32, clamp: &str| {
        one(&format!(
            "shfl.sync.{mode}.b32 %r0|%p1, %r17, {by}, {clamp}, -1; @!%p1 add.u32 %r0, %r0, 100;"
        ))
    };
    let expect = |mode, by, clamp, f: fn(u64) -> u64| {
        let expected: Vec<u64> = (0..32).map(f).collect();
        assert_eq!(shuffled(mode, by, clamp), expected, "{mode}");
    };
    expect("up", 1, "0", |lane| if lane == 0 { 100 } else { lane - 1 });
    expect("down", 2, "31", |lane| {
        if lane > 29 { lane + 100 } else { lane + 2 }
    });
    expect("bfly", 16, "31", |lane| lane ^ 16);
    expect("idx", 5, "31", |_| 5);
    // Segments of eight lanes.
    expect("idx", 3, "0x181f", |lane| lane & !7 | 3);
    expect("up", 3, "0x1800", |lane| {
        if lane % 8 < 3 { lane + 100 } else { lane - 3 }
    });
}

#[test]
fn special_registers() {
    let of = |name: &str| {
        warp(&format!(
            "mov.u32 %r0, {name}; cvt.u64.u32 %d0, %r0; st.global.u64 [%d19], %d0;"
        ))
    };
    assert_eq!(of("%laneid")[31], 31);
    assert_eq!(of("%lanemask_lt")[5], 31);
    assert_eq!(of("%lanemask_le")[5], 63);
    assert_eq!(of("%lanemask_ge")[31], 1 << 31);
    assert_eq!(of("%lanemask_gt")[30], 1 << 31);
    assert_eq!(
        (of("%ntid.x")[0], of("%nctaid.x")[0], of("%tid.y")[7]),
        (32, 1, 0)
    );
}

#[test]
fn a_torn_warp_shows_only_itself_as_active() {
    let body = "activemask.b32 %r0; cvt.u64.u32 %d0, %r0; st.global.u64 [%d19], %d0;";
    let masks: Vec<u64> = (0..300)
        .map(|seed| run(body, Grid::linear(1, 32), seed).unwrap().0[0])
        .collect();
    assert!(masks.contains(&u64::from(u32::MAX)));
    assert!(masks.iter().any(|&mask| mask != u64::from(u32::MAX)));
}

const REVERSE: &str = ".shared .align 8 .b8 box[2048];\n\
    mov.u32 %r0, box; mad.lo.u32 %r1, %r17, 8, %r0; cvt.u64.u32 %d0, %r17; st.shared.u64 [%r1], %d0;\n\
    BARRIER\n\
    sub.u32 %r2, 255, %r17; mad.lo.u32 %r1, %r2, 8, %r0; ld.shared.u64 %d1, [%r1]; st.global.u64 [%d19], %d1;";

#[test]
fn a_barrier_makes_shared_stores_seen() {
    for seed in 0..8 {
        let body = REVERSE.replace("BARRIER", "bar.sync 0;");
        let (out, report) = run(&body, Grid::linear(3, 256), seed).unwrap();
        assert!(
            out.iter()
                .enumerate()
                .all(|(i, &value)| value == 255 - i as u64 % 256)
        );
        assert_eq!(report.counters.barriers, 3);
        assert_eq!(report.counters.shared_stored, 3 * 256 * 8);
    }
}

#[test]
fn a_missing_barrier_is_found() {
    let found = run(&REVERSE.replace("BARRIER", ""), Grid::linear(1, 256), 1).unwrap_err();
    assert_eq!(found.kind, FindingKind::Uninitialised);
}

#[test]
fn threads_that_left_are_not_waited_for() {
    let body = "setp.gt.u32 %p0, %r17, 40; @%p0 exit; bar.sync 1; vote.sync.ballot.b32 %r0, 1, -1;\n\
                cvt.u64.u32 %d0, %r0; st.global.u64 [%d19], %d0;";
    for seed in 0..8 {
        let (out, _) = run(body, Grid::linear(1, 64), seed).unwrap();
        assert_eq!((out[0], out[40], out[41]), (0xffff_ffff, 0x1ff, 0));
    }
}

#[test]
fn findings_name_line_block_and_lane() {
    // Bodies begin on line 11.
    let block_1 = "setp.ne.u32 %p0, %r19, 37; @%p0 exit;\n";
    let cases = [
        (
            "ld.global.u32 %r0, [%d19+100000];",
            FindingKind::OutOfBounds,
        ),
        ("ld.global.u32 %r0, [%d19+2];", FindingKind::Misaligned),
        ("st.global.u32 [16], 1;", FindingKind::OutOfBounds),
        (
            ".shared .b32 s[4]; ld.shared.u32 %r0, [s+4];",
            FindingKind::Uninitialised,
        ),
        (
            ".shared .b32 s[4]; ld.shared.u32 %r0, [s+16];",
            FindingKind::OutOfBounds,
        ),
        ("trap;", FindingKind::Trap),
        ("vote.sync.any.pred %p0, 1, 1;", FindingKind::Divergence),
    ];
    for (body, kind) in cases {
        let found = finding(&format!("{block_1}{body}"), Grid::linear(2, 32));
        let place = (found.line, found.block, found.warp, found.lane);
        assert_eq!((found.kind, place), (kind, (12, 1, 0, 5)), "{found}");
    }
}

#[test]
fn deadlocks_name_where_threads_stand() {
    let apart =
        "setp.lt.u32 %p0, %r17, 16; @%p0 bra A; barrier.sync 0; bra.uni B;\nA: barrier.sync 1;\nB:";
    let found = finding(apart, Grid::linear(1, 32));
    assert_eq!(found.kind, FindingKind::Deadlock);
    assert!(found.detail.contains("lines [11, 12]"), "{found}");
    let aligned = apart
        .replace("barrier.sync", "bar.sync")
        .replace("bar.sync 1", "bar.sync 0");
    assert_eq!(
        finding(&aligned, Grid::linear(1, 32)).kind,
        FindingKind::Divergence
    );
    let votes = "setp.lt.u32 %p0, %r17, 16; @%p0 bra A; vote.sync.any.pred %p1, 1, -1; bra.uni B;\n\
                 A: vote.sync.any.pred %p1, 1, -1; B:";
    assert_eq!(
        finding(votes, Grid::linear(1, 32)).kind,
        FindingKind::Deadlock
    );
    let spin = "L: ld.volatile.global.u64 %d0, [%d19]; setp.eq.u64 %p0, %d0, 0; @%p0 bra L;";
    let found = finding(spin, Grid::linear(1, 32));
    assert_eq!(found.kind, FindingKind::Deadlock);
    assert!(found.detail.contains("in circles"), "{found}");
}

/// Each block waits for the one before it. Blocks begin in no order that a kernel may rely on.
#[test]
fn a_chain_of_blocks_wants_tickets() {
    let chain = "NUMBER setp.eq.u32 %p0, %r0, 0; @%p0 bra GO;\n\
                 mad.wide.u32 %d1, %r0, 8, %d18; L: ld.acquire.gpu.global.u64 %d2, [%d1]; setp.eq.u64 %p0, %d2, 0;\n\
                 @%p0 bra L; GO: mad.wide.u32 %d1, %r0, 8, %d18; setp.lt.u32 %p1, %r0, 39;\n\
                 @%p1 st.release.gpu.global.u64 [%d1+8], 1;";
    let tickets = chain.replace("NUMBER", "atom.global.add.u32 %r0, [%d18], 1;");
    for seed in 0..4 {
        let (out, _) = run(&tickets, Grid::linear(40, 1), seed).unwrap();
        assert_eq!(out[39], 1);
    }
    let found = run(
        &chain.replace("NUMBER", "mov.u32 %r0, %ctaid.x;"),
        Grid::linear(39, 1),
        1,
    );
    assert_eq!(found.unwrap_err().kind, FindingKind::Deadlock);
}
