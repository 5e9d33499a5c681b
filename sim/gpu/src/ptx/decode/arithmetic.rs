//! Integer, logic and float instructions (PTX ISA 9.7.1, 9.7.2, 9.7.3 and 9.7.8).

use super::super::error::{invalid, unsupported};
use super::super::inst::{FloatOp, FloatUnaryOp, IntegerOp, Op, UnaryOp};
use super::super::types::{Type, Width};
use super::{B32, Decoded, Decoder, U32, three, two};

pub(super) fn decode(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    match decoder.mnemonic {
        "add" | "sub" | "addc" | "subc" => add_or_sub(decoder),
        "mul" | "mad" => multiply(decoder),
        "div" | "min" | "max" => divide_or_limit(decoder),
        "rem" => {
            let ty = decoder.ty()?;
            integer(decoder, IntegerOp::Rem, ty)
        }
        "neg" | "abs" => negate(decoder),
        "and" | "or" | "xor" | "not" => super::moves::logic(decoder),
        "shl" | "shr" => shift(decoder),
        "shf" => funnel(decoder),
        "popc" | "clz" | "brev" | "bfind" => count_bits(decoder),
        "bfe" | "bfi" => field(decoder),
        "prmt" => {
            decoder.must_accept("b32")?;
            decoder.count(4..=4)?;
            let (d, a) = (decoder.dest(0, B32)?, decoder.source(1, B32)?);
            let (b, selector) = (decoder.source(2, B32)?, decoder.source(3, B32)?);
            Ok(Op::Permute { d, a, b, selector })
        }
        "lop3" => {
            decoder.must_accept("b32")?;
            decoder.count(5..=5)?;
            let (d, a) = (decoder.dest(0, B32)?, decoder.source(1, B32)?);
            let (b, c) = (decoder.source(2, B32)?, decoder.source(3, B32)?);
            match u8::try_from(decoder.constant(4)?) {
                Ok(table) => Ok(Op::Logic3 { d, a, b, c, table }),
                Err(_) => invalid(decoder.line, "the table of `lop3` is 0 to 255"),
            }
        }
        "fma" => {
            decoder.must_accept("rn")?;
            let (ty, double) = float_type(decoder)?;
            decoder.count(4..=4)?;
            let (d, a) = (decoder.dest(0, ty)?, decoder.source(1, ty)?);
            let (b, c) = (decoder.source(2, ty)?, decoder.source(3, ty)?);
            Ok(Op::FusedMultiplyAdd { double, d, a, b, c })
        }
        "sqrt" | "rcp" => {
            let op = if decoder.mnemonic == "sqrt" {
                FloatUnaryOp::Sqrt
            } else {
                FloatUnaryOp::Reciprocal
            };
            decoder.must_accept("rn")?;
            let (ty, double) = float_type(decoder)?;
            let (d, a) = two(decoder, ty)?;
            Ok(Op::FloatUnary { op, double, d, a })
        }
        _ => {
            let (ty, double) = float_type(decoder)?;
            // `copysign d, a, b`: the sign of a, the rest of b.
            let (d, a, b) = three(decoder, ty)?;
            Ok(Op::Float {
                op: FloatOp::CopySign,
                double,
                d,
                a,
                b,
            })
        }
    }
}

fn float_type(decoder: &mut Decoder<'_, '_, '_>) -> super::Result<(Type, bool)> {
    let ty = decoder.ty()?;
    if ty.is_float() {
        return Ok((ty, ty == Type::F64));
    }
    invalid(
        decoder.line,
        format!("`{}` does not take {ty}", decoder.statement.opcode),
    )
}

fn add_or_sub(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    let subtract = decoder.mnemonic.starts_with("sub");
    let reads = decoder.mnemonic.ends_with('c');
    let writes = decoder.accept("cc");
    if reads || writes {
        let ty = decoder.ty()?;
        let width = decoder.int_32_or_64(ty)?.width;
        let (d, a, b) = three(decoder, ty)?;
        return Ok(Op::Carry {
            subtract,
            reads,
            writes,
            width,
            d,
            a,
            b,
        });
    }
    if decoder.accept("rn") {
        return float(decoder, if subtract { FloatOp::Sub } else { FloatOp::Add });
    }
    let ty = decoder.ty()?;
    refuse_contraction(decoder, ty)?;
    integer(
        decoder,
        if subtract {
            IntegerOp::Sub
        } else {
            IntegerOp::Add
        },
        ty,
    )
}

/// Without a rounding modifier, an addition and a multiplication may be made into one operation
/// with one rounding (PTX ISA 9.7.3.3 to 9.7.3.5): results would be open.
fn refuse_contraction(decoder: &Decoder<'_, '_, '_>, ty: Type) -> super::Result<()> {
    if !ty.is_float() {
        return Ok(());
    }
    let opcode = decoder.statement.opcode;
    unsupported(
        decoder.line,
        format!("`{opcode}` may be contracted, so its result is open; write `.rn`"),
    )
}

fn multiply(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    #[derive(Clone, Copy)]
    enum Part {
        Low,
        High,
        Wide,
    }
    let add = decoder.mnemonic == "mad";
    let part = decoder.choose(&[("lo", Part::Low), ("hi", Part::High), ("wide", Part::Wide)]);
    let Some(part) = part else {
        if !add && decoder.accept("rn") {
            return float(decoder, FloatOp::Mul);
        }
        let opcode = decoder.statement.opcode;
        return unsupported(
            decoder.line,
            format!("`{opcode}`: write `.lo`, `.hi`, `.wide` or `.rn`"),
        );
    };
    let ty = decoder.ty()?;
    let int = decoder.int(ty)?;
    decoder.count(if add { 4..=4 } else { 3..=3 })?;
    let (a, b) = (decoder.source(1, ty)?, decoder.source(2, ty)?);
    match part {
        Part::Wide => {
            let width = match int.width {
                Width::W16 => Width::W32,
                Width::W32 => Width::W64,
                _ => return invalid(decoder.line, format!("`.wide` of {ty}")),
            };
            let wide = if int.signed {
                Type::Signed(width)
            } else {
                Type::Unsigned(width)
            };
            let c = if add {
                Some(decoder.source(3, wide)?)
            } else {
                None
            };
            Ok(Op::MultiplyWide {
                ty: int,
                d: decoder.dest(0, wide)?,
                a,
                b,
                c,
            })
        }
        Part::Low | Part::High => {
            let (d, high) = (decoder.dest(0, ty)?, matches!(part, Part::High));
            if add {
                return Ok(Op::MultiplyAdd {
                    ty: int,
                    high,
                    d,
                    a,
                    b,
                    c: decoder.source(3, ty)?,
                });
            }
            let op = if high {
                IntegerOp::MulHi
            } else {
                IntegerOp::MulLo
            };
            Ok(Op::Integer {
                op,
                ty: int,
                d,
                a,
                b,
            })
        }
    }
}

fn divide_or_limit(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    let (int_op, float_op) = match decoder.mnemonic {
        "div" => (IntegerOp::Div, FloatOp::Div),
        "min" => (IntegerOp::Min, FloatOp::Min),
        _ => (IntegerOp::Max, FloatOp::Max),
    };
    if float_op == FloatOp::Div && decoder.accept("rn") {
        return float(decoder, float_op);
    }
    let ty = decoder.ty()?;
    if !ty.is_float() {
        return integer(decoder, int_op, ty);
    }
    if float_op == FloatOp::Div {
        return unsupported(
            decoder.line,
            format!("`{}`: write `.rn`", decoder.statement.opcode),
        );
    }
    let (d, a, b) = three(decoder, ty)?;
    Ok(Op::Float {
        op: float_op,
        double: ty == Type::F64,
        d,
        a,
        b,
    })
}

fn integer(decoder: &mut Decoder<'_, '_, '_>, op: IntegerOp, ty: Type) -> Decoded {
    if matches!(ty, Type::Bits(_)) {
        return invalid(
            decoder.line,
            format!("`{}` does not take {ty}", decoder.statement.opcode),
        );
    }
    let int = decoder.int(ty)?;
    let (d, a, b) = three(decoder, ty)?;
    Ok(Op::Integer {
        op,
        ty: int,
        d,
        a,
        b,
    })
}

fn float(decoder: &mut Decoder<'_, '_, '_>, op: FloatOp) -> Decoded {
    let (ty, double) = float_type(decoder)?;
    let (d, a, b) = three(decoder, ty)?;
    Ok(Op::Float {
        op,
        double,
        d,
        a,
        b,
    })
}

fn negate(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    let negates = decoder.mnemonic == "neg";
    let ty = decoder.ty()?;
    let (d, a) = two(decoder, ty)?;
    if ty.is_float() {
        let op = if negates {
            FloatUnaryOp::Neg
        } else {
            FloatUnaryOp::Abs
        };
        return Ok(Op::FloatUnary {
            op,
            double: ty == Type::F64,
            d,
            a,
        });
    }
    if !ty.is_signed() {
        return invalid(
            decoder.line,
            format!("`{}` does not take {ty}", decoder.statement.opcode),
        );
    }
    let op = if negates { UnaryOp::Neg } else { UnaryOp::Abs };
    Ok(Op::Unary {
        op,
        ty: decoder.int(ty)?,
        d,
        a,
    })
}

fn shift(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    let left = decoder.mnemonic == "shl";
    let ty = decoder.ty()?;
    let int = decoder.int(ty)?;
    if left && !matches!(ty, Type::Bits(_)) {
        return invalid(decoder.line, "`shl` takes `.b` types only");
    }
    decoder.count(3..=3)?;
    let (d, a, b) = (
        decoder.dest(0, ty)?,
        decoder.source(1, ty)?,
        decoder.source(2, U32)?,
    );
    let op = if left { IntegerOp::Shl } else { IntegerOp::Shr };
    Ok(Op::Integer {
        op,
        ty: int,
        d,
        a,
        b,
    })
}

fn funnel(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    let left = decoder.must_choose(&[("l", true), ("r", false)])?;
    let wrap = decoder.must_choose(&[("wrap", true), ("clamp", false)])?;
    decoder.must_accept("b32")?;
    decoder.count(4..=4)?;
    let (d, a) = (decoder.dest(0, B32)?, decoder.source(1, B32)?);
    let (b, by) = (decoder.source(2, B32)?, decoder.source(3, U32)?);
    Ok(Op::Funnel {
        left,
        wrap,
        d,
        a,
        b,
        by,
    })
}

fn count_bits(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    let op = match decoder.mnemonic {
        "popc" => UnaryOp::Popc,
        "clz" => UnaryOp::Clz,
        "brev" => UnaryOp::Brev,
        _ => match decoder.accept("shiftamt") {
            true => UnaryOp::BfindShift,
            false => UnaryOp::Bfind,
        },
    };
    let ty = decoder.ty()?;
    let int = decoder.int_32_or_64(ty)?;
    let find = matches!(op, UnaryOp::Bfind | UnaryOp::BfindShift);
    if find == matches!(ty, Type::Bits(_)) {
        return invalid(
            decoder.line,
            format!("`{}` does not take {ty}", decoder.mnemonic),
        );
    }
    decoder.count(2..=2)?;
    let d = decoder.dest(0, if op == UnaryOp::Brev { ty } else { U32 })?;
    Ok(Op::Unary {
        op,
        ty: int,
        d,
        a: decoder.source(1, ty)?,
    })
}

fn field(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    let ty = decoder.ty()?;
    let int = decoder.int_32_or_64(ty)?;
    let inserts = decoder.mnemonic == "bfi";
    if inserts != matches!(ty, Type::Bits(_)) {
        return invalid(
            decoder.line,
            format!("`{}` does not take {ty}", decoder.mnemonic),
        );
    }
    if inserts {
        decoder.count(5..=5)?;
        let (d, a, b) = (
            decoder.dest(0, ty)?,
            decoder.source(1, ty)?,
            decoder.source(2, ty)?,
        );
        let (at, length) = (decoder.source(3, U32)?, decoder.source(4, U32)?);
        return Ok(Op::FieldInsert {
            width: int.width,
            d,
            a,
            b,
            at,
            length,
        });
    }
    decoder.count(4..=4)?;
    let (d, a) = (decoder.dest(0, ty)?, decoder.source(1, ty)?);
    let (b, c) = (decoder.source(2, U32)?, decoder.source(3, U32)?);
    Ok(Op::FieldExtract {
        ty: int,
        d,
        a,
        b,
        c,
    })
}
