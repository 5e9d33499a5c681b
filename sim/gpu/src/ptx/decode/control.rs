//! Branches, barriers and what the lanes of a warp do together (PTX ISA 9.7.9.5, 9.7.12, 9.7.13).

use super::super::error::invalid;
use super::super::inst::{Op, Shuffle, Vote, VoteTarget};
use super::super::syntax::Operand;
use super::{B32, Decoded, Decoder, U32};

pub(super) fn decode(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    match decoder.mnemonic {
        "bra" => {
            let uniform = decoder.accept("uni");
            decoder.count(1..=1)?;
            let Operand::Name(name) = decoder.operand(0)? else {
                return invalid(decoder.line, "`bra` wants a label");
            };
            match decoder.symbols.labels.get(name) {
                Some(&target) => Ok(Op::Branch { target, uniform }),
                None => invalid(decoder.line, format!("the label `{name}` is nowhere")),
            }
        }
        "ret" | "exit" => {
            decoder.accept("uni");
            decoder.count(0..=0)?;
            Ok(Op::Exit)
        }
        "trap" => {
            decoder.count(0..=0)?;
            Ok(Op::Trap)
        }
        "nanosleep" => {
            decoder.must_accept("u32")?;
            decoder.count(1..=1)?;
            decoder.source(0, U32)?;
            Ok(Op::Yield)
        }
        "bar" | "barrier" => barrier(decoder),
        "vote" => vote(decoder),
        "shfl" => shuffle(decoder),
        _ => {
            decoder.must_accept("b32")?;
            decoder.count(1..=1)?;
            Ok(Op::ActiveMask {
                d: decoder.dest(0, B32)?,
            })
        }
    }
}

fn barrier(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    let short = decoder.mnemonic == "bar";
    if short && decoder.accept("warp") {
        decoder.must_accept("sync")?;
        decoder.count(1..=1)?;
        return Ok(Op::WarpBarrier {
            mask: decoder.source(0, B32)?,
        });
    }
    decoder.accept("cta");
    decoder.must_accept("sync")?;
    let aligned = short || decoder.accept("aligned");
    decoder.count(1..=2)?;
    let id = decoder.source(0, U32)?;
    let counted = decoder.statement.operands.len() == 2;
    let threads = if counted {
        Some(decoder.source(1, U32)?)
    } else {
        None
    };
    Ok(Op::Barrier {
        id,
        threads,
        aligned,
    })
}

fn vote(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    decoder.must_accept("sync")?;
    let vote = decoder.must_choose(&[
        ("ballot", Vote::Ballot),
        ("any", Vote::Any),
        ("all", Vote::All),
        ("uni", Vote::Uniform),
    ])?;
    decoder.must_accept(if vote == Vote::Ballot { "b32" } else { "pred" })?;
    decoder.count(3..=3)?;
    let d = match vote {
        Vote::Ballot => VoteTarget::Mask(decoder.dest(0, B32)?),
        _ => VoteTarget::Predicate(decoder.dest_predicate(0)?),
    };
    Ok(Op::Vote {
        vote,
        d,
        a: decoder.source_predicate(1)?,
        mask: decoder.source(2, B32)?,
    })
}

fn shuffle(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    decoder.must_accept("sync")?;
    let mode = decoder.must_choose(&[
        ("up", Shuffle::Up),
        ("down", Shuffle::Down),
        ("bfly", Shuffle::Butterfly),
        ("idx", Shuffle::Index),
    ])?;
    decoder.must_accept("b32")?;
    decoder.count(5..=5)?;
    let (d, p) = match decoder.operand(0)? {
        Operand::Pair(d, p) => {
            let d = decoder.dest_of(&Operand::Name(d), B32)?;
            (d, Some(decoder.predicate_named(p)?))
        }
        operand => (decoder.dest_of(operand, B32)?, None),
    };
    let (a, b) = (decoder.source(1, B32)?, decoder.source(2, U32)?);
    let (c, mask) = (decoder.source(3, U32)?, decoder.source(4, B32)?);
    Ok(Op::Shuffle {
        mode,
        d,
        p,
        a,
        b,
        c,
        mask,
    })
}
