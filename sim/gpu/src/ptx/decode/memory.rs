//! Loads, stores, atomics and fences (PTX ISA 9.7.9 and 9.7.13).

use super::super::error::{invalid, unsupported};
use super::super::inst::{Address, Atomic, AtomicOp, Load, Op, Order, Scope, Space, Store};
use super::super::symbols::Symbol;
use super::super::syntax::Operand;
use super::super::types::{Type, Width};
use super::{Decoded, Decoder, Result};

pub(super) fn decode(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    match decoder.mnemonic {
        "ld" => load(decoder),
        "st" => store(decoder),
        "atom" | "red" => atomic(decoder),
        "prefetch" => {
            // Brings memory closer and changes no result (PTX ISA 9.7.9.15).
            let space = space(decoder)?;
            decoder.must_choose(&[("L1", ()), ("L2", ())])?;
            decoder.count(1..=1)?;
            address(decoder, 0, space)?;
            Ok(Op::Prefetch)
        }
        "membar" => {
            let scope = decoder.must_choose(&[
                ("cta", Scope::Block),
                ("gl", Scope::Device),
                ("sys", Scope::Device),
            ])?;
            decoder.count(0..=0)?;
            Ok(Op::Fence { scope })
        }
        _ => {
            // `.sc` is at least `.acq_rel`, and is the default.
            decoder.choose(&[("sc", ()), ("acq_rel", ())]);
            let scope = decoder.must_choose(&SCOPES)?;
            decoder.count(0..=0)?;
            Ok(Op::Fence { scope })
        }
    }
}

const SCOPES: [(&str, Scope); 3] = [
    ("cta", Scope::Block),
    ("gpu", Scope::Device),
    ("sys", Scope::Device),
];

/// Hints to the caches change no result (PTX ISA 9.7.9.1 and 9.7.9.2).
const HINTS: [&str; 11] = [
    "ca",
    "cg",
    "cs",
    "lu",
    "cv",
    "wb",
    "wt",
    "L1::evict_normal",
    "L1::evict_first",
    "L1::evict_last",
    "L1::no_allocate",
];

fn skip_hints(decoder: &mut Decoder<'_, '_, '_>) {
    while HINTS.iter().any(|hint| decoder.accept(hint)) {}
}

fn scope(decoder: &mut Decoder<'_, '_, '_>, order: Order) -> Result<Scope> {
    match decoder.choose(&SCOPES) {
        Some(scope) => Ok(scope),
        None if matches!(order, Order::Weak) => Ok(Scope::Device),
        None => decoder.bad_modifier(),
    }
}

/// `.volatile` is `.relaxed.sys` (PTX ISA 8.4); it takes no scope.
fn order_and_scope(
    decoder: &mut Decoder<'_, '_, '_>,
    last: (&str, Order),
) -> Result<(Order, Scope)> {
    if decoder.accept("volatile") {
        return Ok((Order::Relaxed, Scope::Device));
    }
    let order = decoder.choose(&[("weak", Order::Weak), ("relaxed", Order::Relaxed), last]);
    match order {
        None | Some(Order::Weak) => Ok((Order::Weak, Scope::Device)),
        Some(order) => Ok((order, scope(decoder, order)?)),
    }
}

fn vector(decoder: &mut Decoder<'_, '_, '_>, ty: Type, count: usize) -> Result<Width> {
    let Some(element) = ty.width() else {
        return invalid(decoder.line, "predicates are not in memory");
    };
    if element.bytes() as usize * count > 16 {
        return invalid(
            decoder.line,
            format!("`{}` moves more than 16 bytes", decoder.statement.opcode),
        );
    }
    Ok(element)
}

fn load(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    let (order, scope) = order_and_scope(decoder, ("acquire", Order::Acquire))?;
    if order == Order::Weak && decoder.accept("param") {
        return load_param(decoder);
    }
    let space = space(decoder)?;
    skip_hints(decoder);
    decoder.accept("nc");
    skip_hints(decoder);
    let count = decoder.choose(&[("v2", 2), ("v4", 4)]).unwrap_or(1);
    let ty = decoder.ty()?;
    let element = vector(decoder, ty, count)?;
    decoder.count(2..=2)?;
    let to = decoder.loaded(0, count, ty)?;
    let address = address(decoder, 1, space)?;
    Ok(Op::Load(Box::new(Load {
        address,
        order,
        scope,
        element,
        to,
    })))
}

fn load_param(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    let count = decoder.choose(&[("v2", 2), ("v4", 4)]).unwrap_or(1);
    let ty = decoder.ty()?;
    let element = vector(decoder, ty, count)?;
    decoder.count(2..=2)?;
    let to = decoder.loaded(0, count, ty)?;
    let Operand::Address {
        base: Some(name),
        offset,
    } = decoder.operand(1)?
    else {
        return invalid(decoder.line, "a parameter is addressed by its name");
    };
    let Some(&(start, bytes)) = decoder.symbols.params.get(name) else {
        return invalid(decoder.line, format!("`{name}` is no parameter"));
    };
    let whole = i64::from(element.bytes()) * count as i64;
    if *offset < 0 || offset + whole > i64::from(bytes) || offset % whole != 0 {
        return invalid(
            decoder.line,
            format!("{whole} bytes at {offset} of `{name}`, which has {bytes}"),
        );
    }
    Ok(Op::LoadParam {
        to,
        element,
        offset: start + *offset as u32,
    })
}

fn store(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    let (order, scope) = order_and_scope(decoder, ("release", Order::Release))?;
    let space = space(decoder)?;
    skip_hints(decoder);
    let count = decoder.choose(&[("v2", 2), ("v4", 4)]).unwrap_or(1);
    let ty = decoder.ty()?;
    let element = vector(decoder, ty, count)?;
    decoder.count(2..=2)?;
    let address = address(decoder, 0, space)?;
    let parts = decoder.elements(1, count)?;
    let from = parts
        .into_iter()
        .map(|operand| decoder.source_of(operand, ty, true));
    let from = from.collect::<Result<_>>()?;
    Ok(Op::Store(Box::new(Store {
        address,
        order,
        scope,
        element,
        from,
    })))
}

fn space(decoder: &mut Decoder<'_, '_, '_>) -> Result<Space> {
    match decoder.choose(&[("global", Space::Global), ("shared", Space::Shared)]) {
        Some(space) => Ok(space),
        None => {
            let opcode = decoder.statement.opcode;
            unsupported(
                decoder.line,
                format!("`{opcode}`: only `.global`, `.shared` and `ld.param` are simulated"),
            )
        }
    }
}

fn address(decoder: &mut Decoder<'_, '_, '_>, index: usize, space: Space) -> Result<Address> {
    let Operand::Address { base, offset } = *decoder.operand(index)? else {
        return invalid(
            decoder.line,
            format!("operand {} is to be an address", index + 1),
        );
    };
    let Some(name) = base else {
        let base = decoder.symbols.constant(0, decoder.line)?;
        return Ok(Address {
            space,
            base,
            offset,
        });
    };
    let base = match decoder.symbols.get(name) {
        Some(Symbol::Shared(start)) if space == Space::Shared => {
            decoder.symbols.constant(start, decoder.line)?
        }
        // A shared address may be of 32 or 64 bits (PTX ISA 6.4.1).
        Some(Symbol::Register(reg, ty))
            if !ty.is_float()
                && (ty.width() == Some(Width::W64)
                    || (space == Space::Shared && ty.width() == Some(Width::W32))) =>
        {
            reg
        }
        Some(_) => return invalid(decoder.line, format!("`{name}` is no address here")),
        None => return invalid(decoder.line, format!("`{name}` is not declared")),
    };
    Ok(Address {
        space,
        base,
        offset,
    })
}

fn atomic(decoder: &mut Decoder<'_, '_, '_>) -> Decoded {
    let returns = decoder.mnemonic == "atom";
    let order = decoder.choose(&[
        ("relaxed", Order::Relaxed),
        ("acquire", Order::Acquire),
        ("release", Order::Release),
        ("acq_rel", Order::AcquireRelease),
    ]);
    let order = order.unwrap_or(Order::Relaxed);
    // Without a scope it is `.gpu` (PTX ISA 9.7.13.5).
    let scope = decoder.choose(&SCOPES).unwrap_or(Scope::Device);
    if !returns && order.acquires() {
        return invalid(decoder.line, "`red` acquires nothing");
    }
    let space = space(decoder)?;
    let op = decoder.must_choose(&[
        ("add", AtomicOp::Add),
        ("min", AtomicOp::Min),
        ("max", AtomicOp::Max),
        ("and", AtomicOp::And),
        ("or", AtomicOp::Or),
        ("xor", AtomicOp::Xor),
        ("exch", AtomicOp::Exchange),
        ("cas", AtomicOp::CompareAndSwap),
        ("inc", AtomicOp::Increment),
        ("dec", AtomicOp::Decrement),
    ])?;
    let ty = decoder.ty()?;
    // The types of each operation: PTX ISA 9.7.13.5 and 9.7.13.7.
    use Type::{Bits, F32, F64, Signed, Unsigned};
    use Width::{W16, W32, W64};
    let fits = match op {
        AtomicOp::Add => matches!(ty, Unsigned(W32 | W64) | Signed(W32) | F32 | F64),
        AtomicOp::Min | AtomicOp::Max => matches!(ty, Unsigned(W32 | W64) | Signed(W32 | W64)),
        AtomicOp::And | AtomicOp::Or | AtomicOp::Xor => matches!(ty, Bits(W32 | W64)),
        AtomicOp::Exchange => returns && matches!(ty, Bits(W32 | W64)),
        AtomicOp::CompareAndSwap => returns && matches!(ty, Bits(W16 | W32 | W64)),
        AtomicOp::Increment | AtomicOp::Decrement => ty == Unsigned(W32),
    };
    if !fits {
        return invalid(
            decoder.line,
            format!("`{}` does not take {ty}", decoder.statement.opcode),
        );
    }
    let first = usize::from(returns);
    let swaps = op == AtomicOp::CompareAndSwap;
    let operands = first + 2 + usize::from(swaps);
    decoder.count(operands..=operands)?;
    let sink = returns && *decoder.operand(0)? == Operand::Name("_");
    let d = if returns && !sink {
        Some(decoder.dest(0, ty)?)
    } else {
        None
    };
    let address = address(decoder, first, space)?;
    let a = decoder.source(first + 1, ty)?;
    let b = if swaps {
        Some(decoder.source(first + 2, ty)?)
    } else {
        None
    };
    Ok(Op::Atomic(Box::new(Atomic {
        address,
        order,
        scope,
        op,
        ty,
        d,
        a,
        b,
    })))
}
