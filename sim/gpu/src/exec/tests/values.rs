//! What single instructions compute, against the PTX ISA's words.

use super::{module, run, warp};
use crate::{Gpu, Grid, Profile};

/// The result, in `%d0`, of a body.
fn value(body: &str) -> u64 {
    let lanes = warp(&format!("{body}\nst.global.u64 [%d19], %d0;"));
    assert!(lanes.iter().all(|&lane| lane == lanes[0]), "{lanes:x?}");
    lanes[0]
}

/// The result of an instruction on constants, of `ty` and so many bits.
fn result(opcode: &str, register: &str, operands: &str) -> u64 {
    let to_64 = match register {
        "%h" => "cvt.u64.u16 %d0, %h0;",
        "%r" => "cvt.u64.u32 %d0, %r0;",
        "%f" => "mov.b32 %r0, %f0; cvt.u64.u32 %d0, %r0;",
        "%g" => "mov.b64 %d0, %g0;",
        _ => "",
    };
    value(&format!("{opcode} {register}0, {operands};\n{to_64}"))
}

#[test]
fn integers() {
    let cases: &[(&str, &str, &str, u64)] = &[
        ("add.s32", "%r", "0x7fffffff, 1", 0x8000_0000),
        ("sub.u16", "%h", "1, 2", 0xffff),
        ("mul.lo.s64", "%d", "-3, 5", (-15i64) as u64),
        ("mul.hi.u32", "%r", "0xffffffff, 0xffffffff", 0xffff_fffe),
        ("mul.hi.s32", "%r", "-1, 1", 0xffff_ffff),
        ("mul.hi.s64", "%d", "-1, 1", u64::MAX),
        ("mul.hi.u64", "%d", "-1, -1", u64::MAX - 1),
        ("mul.wide.s32", "%d", "-2, 3", (-6i64) as u64),
        ("mul.wide.u16", "%r", "0xffff, 0xffff", 0xfffe_0001),
        ("mad.lo.u32", "%r", "3, 4, 5", 17),
        ("mad.wide.s32", "%d", "-2, 3, 10", 4),
        ("mad.hi.u32", "%r", "0x80000000, 4, 1", 3),
        ("div.s32", "%r", "-7, 2", (-3i32) as u32 as u64),
        ("div.u64", "%d", "-1, 2", u64::MAX / 2),
        ("rem.s32", "%r", "-7, 2", u32::MAX as u64),
        ("rem.u16", "%h", "7, 4", 3),
        ("min.s32", "%r", "-1, 1", u32::MAX as u64),
        ("min.u32", "%r", "-1, 1", 1),
        ("max.s64", "%d", "-1, 1", 1),
        ("max.u16", "%h", "0xffff, 1", 0xffff),
        ("neg.s16", "%h", "1", 0xffff),
        ("abs.s32", "%r", "0x80000000", 0x8000_0000),
        ("abs.s64", "%d", "-5", 5),
        ("and.b32", "%r", "12, 10", 8),
        ("or.b64", "%d", "12, 10", 14),
        ("xor.b16", "%h", "12, 10", 6),
        ("not.b16", "%h", "1", 0xfffe),
        ("shl.b32", "%r", "1, 31", 0x8000_0000),
        ("shl.b32", "%r", "1, 32", 0),
        ("shl.b64", "%d", "1, 0x100000000", 1),
        ("shr.u32", "%r", "0x80000000, 40", 0),
        ("shr.s32", "%r", "0x80000000, 40", 0xffff_ffff),
        ("shr.s16", "%h", "0x8000, 15", 0xffff),
        ("shf.l.wrap.b32", "%r", "0x80000000, 1, 1", 3),
        ("shf.r.clamp.b32", "%r", "1, 5, 32", 5),
        ("popc.b64", "%r", "-1", 64),
        ("clz.b32", "%r", "1", 31),
        ("clz.b32", "%r", "0", 32),
        ("clz.b64", "%r", "0", 64),
        ("brev.b32", "%r", "1", 0x8000_0000),
        ("brev.b64", "%d", "1", 1 << 63),
        ("bfind.u32", "%r", "0", 0xffff_ffff),
        ("bfind.u64", "%r", "256", 8),
        ("bfind.s32", "%r", "-256", 7),
        ("bfind.shiftamt.u32", "%r", "1", 31),
        ("bfe.u32", "%r", "0xabcd, 4, 8", 0xbc),
        ("bfe.s32", "%r", "0xabcd, 4, 8", 0xffff_ffbc),
        ("bfe.s32", "%r", "0x80000000, 28, 16", 0xffff_fff8),
        ("bfe.u64", "%d", "-1, 60, 20", 15),
        ("bfe.s32", "%r", "-1, 3, 0", 0),
        ("bfe.u32", "%r", "-1, 200, 5", 0),
        ("bfi.b32", "%r", "0xff, 0, 4, 8", 0xff0),
        ("bfi.b32", "%r", "0, -1, 28, 8", 0x0fff_ffff),
        ("bfi.b64", "%d", "5, 0, 0, 64", 5),
        (
            "prmt.b32",
            "%r",
            "0x33221100, 0x77665544, 0x7041",
            0x7700_4411,
        ),
        ("prmt.b32", "%r", "0x80, 0, 0x8888", 0xffff_ffff),
        ("lop3.b32", "%r", "12, 10, 6, 0x96", 12 ^ 10 ^ 6),
        ("lop3.b32", "%r", "12, 10, 6, 0xe8", 14),
    ];
    for &(opcode, register, operands, expected) in cases {
        let found = result(opcode, register, operands);
        assert_eq!(
            found, expected,
            "{opcode} {operands}: {found:#x}, not {expected:#x}"
        );
    }
}

#[test]
fn carries_make_wide_sums() {
    let wide = "mov.b64 %d1, -1; add.cc.u64 %d2, %d1, 1; addc.u64 %d0, 5, 0;";
    assert_eq!(value(wide), 6);
    let borrow =
        "sub.cc.u32 %r0, 0, 1; subc.cc.u32 %r1, 0, 0; subc.u32 %r2, 9, 0; cvt.u64.u32 %d0, %r2;";
    assert_eq!(value(borrow), 8);
}

#[test]
fn floats() {
    let f = |value: f32| format!("0f{:08X}", value.to_bits());
    let g = |value: f64| format!("0d{:016X}", value.to_bits());
    let single = |opcode: &str, a: f32, b: f32| {
        f32::from_bits(result(opcode, "%f", &format!("{}, {}", f(a), f(b))) as u32)
    };
    let double = |opcode: &str, a: f64, b: f64| {
        f64::from_bits(result(opcode, "%g", &format!("{}, {}", g(a), g(b))))
    };
    assert_eq!(single("add.rn.f32", 0.1, 0.2), 0.1 + 0.2);
    assert_eq!(
        single("div.rn.f32", 1e-40, 2.0),
        1e-40 / 2.0,
        "subnormal numbers are kept"
    );
    assert_eq!(double("mul.rn.f64", 0.1, 3.0), 0.1 * 3.0);
    assert_eq!(single("min.f32", f32::NAN, 1.0), 1.0);
    assert!(single("min.f32", 0.0, -0.0).is_sign_negative());
    assert!(single("max.f32", -0.0, 0.0).is_sign_positive());
    assert_eq!(double("max.f64", 2.0, f64::NAN), 2.0);
    assert_eq!(single("copysign.f32", -1.0, 2.0), -2.0);
    let fma = result(
        "fma.rn.f64",
        "%g",
        &format!("{}, {}, {}", g(0.1), g(10.0), g(-1.0)),
    );
    assert_eq!(f64::from_bits(fma), 0.1f64.mul_add(10.0, -1.0));
    assert_eq!(
        result("sqrt.rn.f32", "%f", &f(2.0)),
        2f32.sqrt().to_bits().into()
    );
    assert_eq!(
        result("rcp.rn.f64", "%g", &g(3.0)),
        (1.0f64 / 3.0).to_bits()
    );
    // A NaN is the canonical one where the ISA says so, and never the expected one elsewhere.
    let nan = |opcode: &str, register: &str, operands: String| result(opcode, register, &operands);
    assert_eq!(
        nan("sub.rn.f32", "%f", format!("{0}, {0}", f(f32::INFINITY))),
        0x7fff_ffff
    );
    let open =
        run_seeds("sub.rn.f64 %g0, 0d7FF0000000000000, 0d7FF0000000000000; mov.b64 %d0, %g0;");
    assert!(f64::from_bits(open[0]).is_nan());
    assert_ne!(open[0], open[1], "open results differ by seed");
    let open = run_seeds("neg.f32 %f0, 0f7FC00000; mov.b32 %r0, %f0; cvt.u64.u32 %d0, %r0;");
    assert_ne!(open[0], open[1]);
}

fn run_seeds(body: &str) -> [u64; 2] {
    let body = format!("{body}\nst.global.u64 [%d19], %d0;");
    [1, 2].map(|seed| run(&body, Grid::linear(1, 1), seed).unwrap().0[0])
}

#[test]
fn what_the_isa_leaves_open_is_poison() {
    for body in [
        "div.u32 %r0, 5, 0; cvt.u64.u32 %d0, %r0;",
        "rem.s64 %d0, 5, 0;",
        "div.s32 %r0, 0x80000000, -1; cvt.u64.u32 %d0, %r0;",
        "cvt.rzi.s64.f32 %d0, 0f7FC00000;",
        "cvt.rzi.s32.f64 %r0, 0d7FF8000000000000; cvt.u64.u32 %d0, %r0;",
        "cvt.u64.u32 %d0, %r5;",
        "shfl.sync.idx.b32 %r0, 7, 5, 31, 1; cvt.u64.u32 %d0, %r0;",
    ] {
        let found = run_seeds(body);
        assert_ne!(found[0], found[1], "{body}");
    }
}

#[test]
fn conversions() {
    let f = |value: f32| format!("0f{:08X}", value.to_bits());
    let g = |value: f64| format!("0d{:016X}", value.to_bits());
    let cases: &[(&str, &str, String, u64)] = &[
        ("cvt.u64.u32", "%d", "-1".into(), u32::MAX.into()),
        ("cvt.s64.s32", "%d", "-1".into(), u64::MAX),
        ("cvt.s32.s8", "%r", "0x80".into(), 0xffff_ff80),
        ("cvt.u8.u32", "%r", "0x1ff".into(), 0xff),
        ("cvt.s8.s32", "%r", "0x1ff".into(), 0xffff_ffff),
        ("cvt.sat.u8.s32", "%r", "-5".into(), 0),
        ("cvt.sat.s16.u64", "%h", "-1".into(), 0x7fff),
        (
            "cvt.rn.f32.u64",
            "%f",
            "0xffffffffffffffff".into(),
            u64::from((u64::MAX as f32).to_bits()),
        ),
        ("cvt.rn.f64.s32", "%g", "-3".into(), (-3f64).to_bits()),
        ("cvt.rzi.s32.f32", "%r", f(-1.9), (-1i32) as u32 as u64),
        ("cvt.rni.s32.f32", "%r", f(2.5), 2),
        ("cvt.rmi.s32.f64", "%r", g(-1.1), (-2i32) as u32 as u64),
        ("cvt.rpi.u32.f64", "%r", g(1.1), 2),
        ("cvt.rzi.s32.f32", "%r", f(1e20), i32::MAX as u64),
        ("cvt.rzi.u32.f32", "%r", f(-1.0), 0),
        (
            "cvt.rzi.s64.f64",
            "%d",
            g(f64::NEG_INFINITY),
            i64::MIN as u64,
        ),
        ("cvt.rzi.u64.f32", "%d", f(f32::INFINITY), u64::MAX),
        ("cvt.rzi.u8.f32", "%r", f(300.0), 255),
        ("cvt.rzi.s32.f32", "%r", f(f32::NAN), 0),
        ("cvt.rn.f32.f64", "%f", g(0.1), 0.1f32.to_bits().into()),
        ("cvt.rn.f32.f64", "%f", g(f64::NAN), 0x7fff_ffff),
        ("cvt.f64.f32", "%g", f(0.1), f64::from(0.1f32).to_bits()),
        ("cvt.rzi.f32.f32", "%f", f(-1.5), (-1f32).to_bits().into()),
        ("cvt.sat.f32.f32", "%f", f(7.0), 1f32.to_bits().into()),
    ];
    for (opcode, register, operand, expected) in cases {
        let found = result(opcode, register, operand);
        assert_eq!(found, *expected, "{opcode} {operand}: {found:#x}");
    }
}

#[test]
fn comparisons() {
    let holds = |compare: &str| value(&format!("{compare}; selp.u64 %d0, 1, 0, %p0;")) == 1;
    assert!(holds("setp.lt.s32 %p0, -1, 1"));
    assert!(holds("setp.gt.u32 %p0, -1, 1"));
    assert!(holds("setp.hi.u64 %p0, -1, 1"));
    assert!(holds("setp.le.s16 %p0, 0x8000, 0"));
    assert!(!holds("setp.ne.b64 %p0, 7, 7"));
    let (one, nan) = ("0f3F800000", "0f7FC00000");
    for (ordered, unordered) in [
        ("eq", "equ"),
        ("ne", "neu"),
        ("lt", "ltu"),
        ("le", "leu"),
        ("gt", "gtu"),
        ("ge", "geu"),
    ] {
        assert!(
            !holds(&format!("setp.{ordered}.f32 %p0, {one}, {nan}")),
            "{ordered}"
        );
        assert!(
            holds(&format!("setp.{unordered}.f32 %p0, {one}, {nan}")),
            "{unordered}"
        );
        let both = [ordered, unordered]
            .map(|cmp| holds(&format!("setp.{cmp}.f32 %p0, {one}, 0f00000000")));
        assert_eq!(both[0], both[1], "{ordered}");
    }
    assert!(holds(&format!("setp.nan.f32 %p0, {one}, {nan}")));
    assert!(holds(
        "setp.eq.f64 %p0, 0d0000000000000000, 0d8000000000000000"
    ));
    assert!(!holds(
        "setp.ne.u32 %p1, 1, 1; setp.eq.and.u32 %p0, 1, 1, %p1"
    ));
    assert!(holds(
        "setp.ne.u32 %p1, 1, 1; setp.ne.or.u32 %p2|%p0, 1, 1, %p1"
    ));
    assert!(holds(
        "setp.eq.u32 %p1, 1, 1; not.pred %p2, %p1; xor.pred %p0, %p1, %p2"
    ));
}

#[test]
fn moves_and_parts() {
    let swap = "mov.b64 %d1, 0x1122334455667788; mov.b64 {%r0, %r1}, %d1; mov.b64 %d0, {%r1, %r0};";
    assert_eq!(value(swap), 0x5566_7788_1122_3344);
    let halves = "mov.b32 {%h0, _}, 0x11112222; mov.b32 %r0, {%h0, %h0}; cvt.u64.u32 %d0, %r0;";
    assert_eq!(value(halves), 0x2222_2222);
    assert_eq!(
        value("mov.f64 %g0, 0d3FF0000000000000; mov.b64 %d0, %g0;"),
        1f64.to_bits()
    );
    let nested = "mov.u32 %r0, 1; { .reg .b32 %r0; mov.u32 %r0, 2; } cvt.u64.u32 %d0, %r0;";
    assert_eq!(value(nested), 1);
}

#[test]
fn memory_keeps_widths_signs_and_vectors() {
    let body = "st.global.v2.u32 [%d19], {1, -2}; ld.global.u8 %r0, [%d19+4]; ld.global.s8 %r1, [%d19+4];\n\
                ld.global.s16 %d1, [%d19+6]; ld.global.v4.u16 {%h0, %h1, %h2, %h3}, [%d19];\n\
                st.global.u8 [%d19], %r0; st.global.u8 [%d19+1], %r1; st.global.u16 [%d19+2], %d1;\n\
                st.global.u16 [%d19+4], %h2; st.global.v2.u8 [%d19+6], {%r0, 7};";
    assert_eq!(warp(body)[3], 0x07fe_fffe_ffff_fefe);
}

#[test]
fn atomics_of_a_whole_grid_add_up() {
    let cases = [
        ("red.global.add.u64 [%d18], 3;", 3 * 128),
        ("atom.global.max.u64 %d1, [%d18], %d0;", 127),
        ("atom.global.or.b64 %d1, [%d18], %d0;", 127),
        ("atom.relaxed.gpu.global.add.u32 %r1, [%d18], 1;", 128),
        ("atom.global.inc.u32 %r1, [%d18], 99;", 28),
        ("atom.global.exch.b64 %d1, [%d18], 9;", 9),
    ];
    for (body, expected) in cases {
        let body = format!("cvt.u64.u32 %d0, %r19;\n{body}");
        for seed in 0..4 {
            let (out, report) = run(&body, Grid::linear(4, 32), seed).unwrap();
            assert_eq!(out[0], expected, "{body}");
            assert_eq!(report.counters.atomics, 128);
        }
    }
    // A lock that is taken by compare and swap: lanes of one warp wait for each other.
    let locked = "SPIN: atom.acquire.gpu.global.cas.b64 %d1, [%d18], 0, 1; setp.ne.u64 %p0, %d1, 0;\n\
                  @%p0 bra SPIN; ld.global.u64 %d2, [%d18+8]; add.u64 %d2, %d2, 1;\n\
                  st.global.u64 [%d18+8], %d2; atom.release.gpu.global.exch.b64 %d1, [%d18], 0;";
    for seed in 0..4 {
        let (out, _) = run(locked, Grid::linear(3, 64), seed).unwrap();
        assert_eq!((out[0], out[1]), (0, 192));
    }
}

#[test]
fn counters_count_what_ran() {
    let body = "setp.lt.u32 %p0, %r17, 4; @%p0 ld.global.u32 %r0, [%d19]; st.global.u64 [%d19], 1;";
    let (_, report) = run(body, Grid::linear(2, 32), 5).unwrap();
    let counters = report.counters;
    assert_eq!(
        (counters.global_loaded, counters.global_stored),
        (2 * 4 * 4, 2 * 32 * 8)
    );
    assert_eq!(counters.blocks, 2);
    // Six of the frame, three of the body and the return.
    assert_eq!(counters.thread_instructions, 2 * (32 * 9 + 4));
}

#[test]
fn parameters_are_laid_out_as_declared() {
    let module = module(
        ".param .u8 a, .param .u64 out, .param .align 16 .b8 big[16], .param .f32 x",
        "ld.param.u64 %d0, [out]; ld.param.u8 %r0, [a]; ld.param.v2.u64 {%d1, %d2}, [big];\n\
         ld.param.f32 %f0, [x]; st.global.u8 [%d0], %r0; st.global.u64 [%d0+8], %d2;\n\
         st.global.f32 [%d0+4], %f0;",
    );
    let kernel = module.kernel("k").unwrap();
    let offsets: Vec<u32> = kernel
        .parameters()
        .iter()
        .map(|parameter| parameter.offset)
        .collect();
    assert_eq!(
        (offsets, kernel.parameter_bytes()),
        (vec![0, 8, 16, 32], 36)
    );
    let mut gpu = Gpu::new(Profile::gb10());
    let out = gpu.allocate(16).unwrap();
    let mut big = [0; 16];
    big[8..].copy_from_slice(&77u64.to_le_bytes());
    let arguments = [
        9u8.into(),
        out.into(),
        crate::Argument::bytes(&big),
        1f32.into(),
    ];
    gpu.launch(kernel, Grid::linear(1, 1), &arguments).unwrap();
    let mut bytes = [0; 16];
    gpu.read(out, &mut bytes).unwrap();
    assert_eq!(
        bytes,
        [
            9, 0xa5, 0xa5, 0xa5, 0, 0, 0x80, 0x3f, 77, 0, 0, 0, 0, 0, 0, 0
        ]
    );
}
