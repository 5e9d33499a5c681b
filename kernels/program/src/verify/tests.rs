//! Each rule of the verifier, broken.

use super::*;
use crate::{
    BinaryOp, CastRule, Column, CompareOp, Imm, MaskOp, Output, OverflowOp, Rounding, TrapCode,
    UnaryOp,
};

/// A program of one value of each type, `%0` to `%11` in the order of [`Ty::ALL`], a trap
/// `%12`, and then `inst`.
fn with(inst: Inst) -> Program {
    let mut program = Program {
        columns: vec![Column {
            ty: Ty::I32,
            nullable: true,
        }],
        params: vec![Ty::I64],
        tables: vec![Ty::Mask, Ty::F64],
        sets: vec![Ty::I64],
        ..Program::default()
    };
    for ty in Ty::ALL {
        let value = Imm::zero(ty);
        program.insts.push(Inst::Const { value });
    }
    program.insts.push(Inst::Trap {
        when: Val(0),
        code: TrapCode::Overflow,
        ordinal: 0,
    });
    program.insts.push(inst);
    program
}

fn val(ty: Ty) -> Val {
    Val(Ty::ALL.iter().position(|each| *each == ty).unwrap() as u32)
}

fn error(program: &Program) -> String {
    verify(program).unwrap_err().to_string()
}

#[test]
fn each_rule_has_its_error() {
    let (mask, i32, i64, f64) = (val(Ty::Mask), val(Ty::I32), val(Ty::I64), val(Ty::F64));
    let compare = |order, lhs, rhs| Inst::Compare {
        op: CompareOp::Lt,
        order,
        lhs,
        rhs,
    };
    let rescale = |by| Inst::Rescale {
        arg: val(Ty::I128),
        by,
        rounding: Rounding::Floor,
    };
    for (inst, wanted) in [
        (
            Inst::Load { column: 1 },
            "refers to column 1, but there are 1",
        ),
        (Inst::Validity { column: 9 }, "refers to column 9"),
        (Inst::Param { index: 1 }, "refers to parameter 1"),
        (
            Inst::Not { arg: Val(13) },
            "uses %13, which is not made before it",
        ),
        (
            Inst::Not { arg: Val(12) },
            "uses %12, a trap, which has no value",
        ),
        (
            Inst::Not { arg: i32 },
            "%13 (not) is not defined on i32; it takes mask",
        ),
        (
            Inst::Unary {
                op: UnaryOp::Round,
                arg: i32,
            },
            "%13 (round) is not defined on i32; it takes f32, f64",
        ),
        (
            Inst::Unary {
                op: UnaryOp::Neg,
                arg: val(Ty::U8),
            },
            "is not defined on u8",
        ),
        (
            Inst::Binary {
                op: BinaryOp::Add,
                lhs: i32,
                rhs: i64,
            },
            "%13 (add) needs i32 where it has i64",
        ),
        (
            Inst::Binary {
                op: BinaryOp::FloorDiv,
                lhs: f64,
                rhs: f64,
            },
            "is not defined on f64",
        ),
        (
            Inst::Overflow {
                op: OverflowOp::Mul,
                lhs: f64,
                rhs: f64,
            },
            "is not defined on f64",
        ),
        (
            compare(FloatOrder::Total, i32, i32),
            "orders i32 as floats; only `ieee` fits integers and masks",
        ),
        (
            compare(FloatOrder::Ieee, mask, mask),
            "is not defined on mask",
        ),
        (
            compare(FloatOrder::Ieee, i32, f64),
            "needs i32 where it has f64",
        ),
        (
            Inst::Range {
                arg: i32,
                low: i32,
                high: i64,
            },
            "needs i32 where it has i64",
        ),
        (
            Inst::Cast {
                rule: CastRule::Wrap,
                arg: f64,
                to: Ty::I32,
            },
            "cannot turn f64 into i32",
        ),
        (
            Inst::Cast {
                rule: CastRule::Wrap,
                arg: i32,
                to: Ty::I32,
            },
            "cannot turn i32 into i32; leave it out",
        ),
        (
            Inst::Cast {
                rule: CastRule::Saturate,
                arg: i32,
                to: Ty::I8,
            },
            "is not defined on i32",
        ),
        (
            Inst::CastFails {
                arg: f64,
                to: Ty::F32,
            },
            "cannot turn f64 into f32",
        ),
        (rescale(0), "by 0 digits"),
        (rescale(39), "by 39 digits"),
        (rescale(-128), "by -128 digits"),
        (
            Inst::RescaleFails {
                arg: val(Ty::I128),
                by: -1,
            },
            "only adding digits",
        ),
        (
            Inst::Select {
                mask: i32,
                then: i32,
                other: i32,
            },
            "needs mask where it has i32",
        ),
        (
            Inst::Select {
                mask,
                then: i32,
                other: f64,
            },
            "needs i32 where it has f64",
        ),
        (
            Inst::Mask {
                op: MaskOp::And,
                lhs: mask,
                rhs: i32,
            },
            "needs mask where it has i32",
        ),
        (
            Inst::Lookup {
                table: 2,
                index: i32,
            },
            "refers to table 2",
        ),
        (
            Inst::Lookup {
                table: 0,
                index: val(Ty::I128),
            },
            "is not defined on i128",
        ),
        (
            Inst::InBounds {
                table: 0,
                index: f64,
            },
            "is not defined on f64",
        ),
        (
            Inst::InSet { set: 0, arg: i32 },
            "needs i64 where it has i32",
        ),
        (Inst::InSet { set: 1, arg: i64 }, "refers to set 1"),
        (
            Inst::Trap {
                when: i32,
                code: TrapCode::Overflow,
                ordinal: 0,
            },
            "is not defined on i32",
        ),
    ] {
        let found = error(&with(inst));
        assert!(found.contains(wanted), "{inst:?}: {found}");
    }
}

#[test]
fn results_are_checked() {
    let base = with(Inst::Not { arg: Val(0) });
    let with_keep = |keep| Program {
        keep,
        emit_mask: true,
        ..base.clone()
    };
    assert_eq!(verify(&with_keep(Some(Val(13)))), Ok(()));
    assert_eq!(
        error(&with_keep(None)),
        "the program emits the keep mask but has no keep"
    );
    assert_eq!(
        error(&with_keep(Some(Val(1)))),
        "keep needs mask where it has i8"
    );
    assert_eq!(
        error(&with_keep(Some(Val(14)))),
        "keep uses %14, which is not made before it"
    );
    let with_output = |value, valid| Program {
        outputs: vec![Output { value, valid }],
        ..base.clone()
    };
    assert_eq!(verify(&with_output(Val(1), Some(Val(0)))), Ok(()));
    assert_eq!(
        error(&with_output(Val(12), None)),
        "output 0 uses %12, a trap, which has no value"
    );
    assert_eq!(
        error(&with_output(Val(1), Some(Val(1)))),
        "the validity of output 0 needs mask where it has i8"
    );
}

#[test]
fn limits_hold() {
    let value = Imm::mask(true);
    let program = Program {
        insts: vec![Inst::Const { value }; limits::INSTRUCTIONS + 1],
        ..Program::default()
    };
    assert_eq!(
        error(&program),
        "the program has 65537 instructions, more than the limit of 65536; split it"
    );
    let sets = Program {
        sets: vec![Ty::I8, Ty::Mask],
        ..Program::default()
    };
    assert!(error(&sets).starts_with("set s1 is not defined on mask"));
}
