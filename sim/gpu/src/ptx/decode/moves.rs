//! Comparisons, choices, moves and conversions (PTX ISA 9.7.6, 9.7.8 and 9.7.9).

use super::super::error::invalid;
use super::super::inst::{Cmp, Convert, Guard, IntegerOp, Logic, Op, Rounding, UnaryOp};
use super::super::syntax::Operand;
use super::super::types::{Type, Width};
use super::{Decoded, Decoder, Result, three, two};

pub(super) fn decode(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    match decoder.mnemonic {
        "setp" => compare(decoder),
        "selp" => {
            let ty = decoder.ty()?;
            decoder.count(4..=4)?;
            let (d, a, b) = (
                decoder.dest(0, ty)?,
                decoder.source(1, ty)?,
                decoder.source(2, ty)?,
            );
            Ok(Op::Select {
                d,
                a,
                b,
                p: decoder.dest_predicate(3)?,
            })
        }
        "mov" => mov(decoder),
        "cvt" => convert(decoder),
        _ => {
            // Global addresses are generic ones here, so nothing is to be done.
            decoder.must_accept("to")?;
            decoder.must_accept("global")?;
            decoder.must_accept("u64")?;
            let (d, a) = two(decoder, Type::Unsigned(Width::W64))?;
            Ok(Op::Move { d, a })
        }
    }
}

fn compare(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    // `lo` to `hs` are the comparisons of unsigned values under names of their own.
    let (cmp, unsigned_name) = decoder.must_choose(&[
        ("eq", (Cmp::Eq, false)),
        ("ne", (Cmp::Ne, false)),
        ("lt", (Cmp::Lt, false)),
        ("le", (Cmp::Le, false)),
        ("gt", (Cmp::Gt, false)),
        ("ge", (Cmp::Ge, false)),
        ("lo", (Cmp::Lt, true)),
        ("ls", (Cmp::Le, true)),
        ("hi", (Cmp::Gt, true)),
        ("hs", (Cmp::Ge, true)),
        ("equ", (Cmp::Equ, false)),
        ("neu", (Cmp::Neu, false)),
        ("ltu", (Cmp::Ltu, false)),
        ("leu", (Cmp::Leu, false)),
        ("gtu", (Cmp::Gtu, false)),
        ("geu", (Cmp::Geu, false)),
        ("num", (Cmp::Num, false)),
        ("nan", (Cmp::Nan, false)),
    ])?;
    let logic = decoder.choose(&LOGIC);
    let ty = decoder.ty()?;
    let floats_only = !matches!(
        cmp,
        Cmp::Eq | Cmp::Ne | Cmp::Lt | Cmp::Le | Cmp::Gt | Cmp::Ge
    );
    let fits = match ty {
        Type::Pred => false,
        Type::F32 | Type::F64 => !unsigned_name,
        Type::Bits(_) => matches!(cmp, Cmp::Eq | Cmp::Ne),
        Type::Unsigned(_) => !floats_only,
        Type::Signed(_) => !floats_only && !unsigned_name,
    };
    if !fits || ty.width() == Some(Width::W8) {
        return invalid(
            decoder.line,
            format!("`{}` does not compare {ty} so", decoder.statement.opcode),
        );
    }
    decoder.count(if logic.is_some() { 4..=4 } else { 3..=3 })?;
    let (p, q) = match decoder.operand(0)? {
        Operand::Pair(p, q) => (*p, Some(*q)),
        Operand::Name(p) => (*p, None),
        _ => return invalid(decoder.line, "the result of `setp` is to be a predicate"),
    };
    let mut target = |name: &str| match name {
        "_" => Ok(None),
        _ => decoder.predicate_named(name).map(Some),
    };
    let (p, q) = (target(p)?, q.map_or(Ok(None), &mut target)?);
    let (a, b) = (decoder.source(1, ty)?, decoder.source(2, ty)?);
    let combine = match logic {
        None => None,
        Some(logic) => Some((logic, decoder.source_predicate(3)?)),
    };
    Ok(Op::Compare {
        cmp,
        ty,
        combine,
        p,
        q,
        a,
        b,
    })
}

const LOGIC: [(&str, Logic); 3] = [("and", Logic::And), ("or", Logic::Or), ("xor", Logic::Xor)];

/// `and`, `or`, `xor` and `not`, of bits and of predicates.
pub(super) fn logic(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    let ty = decoder.ty()?;
    let op = LOGIC
        .iter()
        .find(|(name, _)| *name == decoder.mnemonic)
        .map(|&(_, logic)| logic);
    if ty == Type::Pred {
        decoder.count(if op.is_some() { 3..=3 } else { 2..=2 })?;
        let (d, a) = (decoder.dest_predicate(0)?, decoder.source_predicate(1)?);
        let always = Guard {
            pred: decoder.symbols.constant_predicate(true),
            negated: false,
        };
        return Ok(match op {
            Some(logic) => Op::Predicate {
                logic,
                d,
                a,
                b: decoder.source_predicate(2)?,
            },
            None => Op::Predicate {
                logic: Logic::Xor,
                d,
                a,
                b: always,
            },
        });
    }
    if !matches!(ty, Type::Bits(_)) {
        return invalid(
            decoder.line,
            format!("`{}` does not take {ty}", decoder.mnemonic),
        );
    }
    let int = decoder.int(ty)?;
    let Some(logic) = op else {
        let (d, a) = two(decoder, ty)?;
        return Ok(Op::Unary {
            op: UnaryOp::Not,
            ty: int,
            d,
            a,
        });
    };
    let op = match logic {
        Logic::And => IntegerOp::And,
        Logic::Or => IntegerOp::Or,
        Logic::Xor => IntegerOp::Xor,
    };
    let (d, a, b) = three(decoder, ty)?;
    Ok(Op::Integer {
        op,
        ty: int,
        d,
        a,
        b,
    })
}

fn mov(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    let ty = decoder.ty()?;
    decoder.count(2..=2)?;
    let Some(width) = ty.width() else {
        let (d, a) = (decoder.dest_predicate(0)?, decoder.source_predicate(1)?);
        return Ok(Op::Predicate {
            logic: Logic::And,
            d,
            a,
            b: a,
        });
    };
    match (decoder.operand(0)?, decoder.operand(1)?) {
        (Operand::Vector(parts), _) => {
            let part = part_width(decoder, width, parts.len())?;
            let target = |operand: &Operand<'_>| *operand == Operand::Name("_");
            let parts = parts.iter().map(|operand| match target(operand) {
                true => Ok(None),
                false => decoder.dest_of(operand, Type::Bits(part)).map(Some),
            });
            let parts = parts.collect::<Result<_>>()?;
            Ok(Op::Unpack {
                parts,
                part,
                a: decoder.source(1, ty)?,
            })
        }
        (_, Operand::Vector(parts)) => {
            let part = part_width(decoder, width, parts.len())?;
            let parts = parts
                .iter()
                .map(|operand| decoder.source_of(operand, Type::Bits(part), false));
            let parts = parts.collect::<Result<_>>()?;
            Ok(Op::Pack {
                d: decoder.dest(0, ty)?,
                parts,
                part,
            })
        }
        _ => Ok(Op::Move {
            d: decoder.dest(0, ty)?,
            a: decoder.source(1, ty)?,
        }),
    }
}

fn part_width(decoder: &Decoder<'_, '_, '_>, whole: Width, parts: usize) -> Result<Width> {
    match (whole, parts) {
        (Width::W32, 2) | (Width::W64, 4) => Ok(Width::W16),
        (Width::W64, 2) => Ok(Width::W32),
        _ => invalid(
            decoder.line,
            format!("`{}` of {parts} parts", decoder.statement.opcode),
        ),
    }
}

fn convert(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    let rounding = decoder.choose(&[
        ("rn", Rounding::Nearest),
        ("rni", Rounding::NearestInteger),
        ("rzi", Rounding::TowardsZero),
        ("rmi", Rounding::Down),
        ("rpi", Rounding::Up),
    ]);
    let saturate = decoder.accept("sat");
    let (to, from) = (decoder.ty()?, decoder.ty()?);
    let rounding = rounding.unwrap_or(Rounding::None);
    let whole = !matches!(rounding, Rounding::None | Rounding::Nearest);
    // Where a rounding modifier must and where it must not stand: PTX ISA 9.7.9.21.
    let fits = match (from.is_float(), to.is_float()) {
        (false, false) => rounding == Rounding::None,
        (false, true) => rounding == Rounding::Nearest,
        (true, false) => whole,
        (true, true) if from == to => whole || rounding == Rounding::None,
        (true, true) if to == Type::F32 => rounding == Rounding::Nearest,
        (true, true) => rounding == Rounding::None,
    };
    if !fits || from == Type::Pred || to == Type::Pred {
        return invalid(
            decoder.line,
            format!("`{}` with such a rounding", decoder.statement.opcode),
        );
    }
    decoder.count(2..=2)?;
    let (d, d_width) = decoder.wide_dest_of(decoder.operand(0)?, to)?;
    let a = decoder.wide_source(1, from)?;
    Ok(Op::Convert(Convert {
        to,
        from,
        rounding,
        saturate,
        d,
        d_width,
        a,
    }))
}
