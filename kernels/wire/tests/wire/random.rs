//! Random values, written and read: equal, and with one encoding.

use std::env;
use std::sync::Arc;

use arrow_schema::DataType;
use unlade_expr::limits::MAX_DEPTH;
use unlade_expr::tree::Kind;
use unlade_expr::{
    Expr, Literal, Query, all, case, coalesce, col, exact_col, lit, nullif, parse_expr,
    physical_type, when,
};
use unlade_naive::generate::Rng;
use unlade_program::Imm;
use unlade_wire::{
    KernelRequest, WireError, decode_expr, decode_expr_with, decode_kernel, decode_query,
    encode_expr, encode_kernel, encode_query,
};

use crate::forms::{self, OPERATORS};

#[test]
fn everything_that_has_an_encoding_is_read_as_it_was_written() {
    let input = Arc::new(forms::schema());
    for expr in forms::expressions().into_iter().flatten() {
        let bytes = encode_expr(&expr).unwrap_or_else(|error| panic!("{expr}: {error}"));
        assert_eq!(decode_expr_with(&bytes, &forms::functions()), Ok(expr));
    }
    let query = Query::filter(col("c1")).select([all(), col("c4").alias("d")]);
    for query in [
        Query::all(),
        Query::mask(col("a")),
        query.clone(),
        query.with_mask(),
    ] {
        assert_eq!(
            decode_query(&encode_query(&query).expect("it is small")),
            Ok(query.clone())
        );
        for semantics in forms::rules() {
            let input = Arc::clone(&input);
            let request = KernelRequest {
                query: query.clone(),
                input,
                semantics,
            };
            let bytes = encode_kernel(&request).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(decode_kernel(&bytes), Ok(request));
        }
    }
}

/// `UNLADE_FUZZ_SEED` is the first seed, `UNLADE_FUZZ_CASES` how many there are.
#[test]
fn random_expressions_are_read_as_they_were_written() {
    let first = number("UNLADE_FUZZ_SEED").unwrap_or(1);
    let cases = number("UNLADE_FUZZ_CASES").unwrap_or(1_000);
    let (mut nodes, mut damaged) = (0, 0);
    for seed in first..first + cases {
        let mut rng = Rng::new(seed);
        let expr = expression(&mut rng, 6);
        let bytes = encode_expr(&expr).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(decode_expr(&bytes).as_ref(), Ok(&expr), "seed {seed}");
        nodes += bytes.len();
        let query = Query::filter(expr.clone()).select([expr.alias("x"), col("y")]);
        let written = encode_query(&query).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(decode_query(&written), Ok(query), "seed {seed}");
        damaged += u64::from(is_found_damaged(bytes, &mut rng, seed));
    }
    println!("seeds from {first}: {cases} expressions of {nodes} bytes, {damaged} found damaged");
    assert_eq!(damaged, cases);
}

/// One bit of an encoding is changed: whatever bit, that is found.
fn is_found_damaged(mut bytes: Vec<u8>, rng: &mut Rng, seed: u64) -> bool {
    let at = rng.below(bytes.len());
    bytes[at] ^= 1 << rng.below(8);
    let read = decode_expr(&bytes);
    assert!(
        read.is_err(),
        "seed {seed}: bit of byte {at} changed unseen"
    );
    true
}

#[test]
fn the_deepest_expression_is_written_and_one_deeper_is_not() {
    let deep = |levels: u32| (1..levels).fold(col("a"), |arg, _| arg.not());
    let bytes = encode_expr(&deep(MAX_DEPTH)).expect("it is as deep as it may be");
    assert_eq!(decode_expr(&bytes), Ok(deep(MAX_DEPTH)));
    assert!(matches!(deep(MAX_DEPTH + 1).kind(), Kind::TooDeep));
    let error = encode_expr(&deep(MAX_DEPTH + 1)).unwrap_err();
    assert!(matches!(error, WireError::NotEncodable(_)), "{error}");
}

fn expression(rng: &mut Rng, depth: u32) -> Expr {
    let below = |rng: &mut Rng| expression(rng, depth - 1);
    if depth == 0 || rng.chance(15) {
        return operand(rng);
    }
    let list = |rng: &mut Rng| -> Vec<Expr> {
        let count = rng.below(5);
        (0..count).map(|_| expression(rng, depth - 1)).collect()
    };
    match rng.below(16) {
        0 => below(rng).not(),
        1 => below(rng).neg(),
        2 => below(rng).abs(),
        3 => below(rng).try_(),
        4 | 5 => {
            let op = rng.pick(&OPERATORS);
            below(rng).binary(op, below(rng))
        }
        6 => list(rng).into_iter().fold(below(rng), Expr::and),
        7 => list(rng).into_iter().fold(below(rng), Expr::or),
        8 => coalesce(list(rng)),
        9 => {
            use unlade_expr::IsTest::{False, Null, True};
            let (test, negated) = (rng.pick(&[Null, True, False]), rng.chance(50));
            below(rng).is(test, negated)
        }
        10 => below(rng).between(below(rng), below(rng)),
        11 => below(rng).not_between(below(rng), below(rng)),
        12 => {
            let members = list(rng);
            match rng.chance(50) {
                true => below(rng).in_list(members),
                false => below(rng).not_in_list(members),
            }
        }
        13 => {
            let to = data_type(rng);
            match rng.chance(50) {
                true => below(rng).cast(to),
                false => below(rng).try_cast(to),
            }
        }
        14 => nullif(below(rng), below(rng)),
        _ => {
            let first = below(rng);
            let mut built = match rng.chance(50) {
                true => when(first).then(below(rng)),
                false => case(first),
            };
            for condition in list(rng) {
                built = built.when(condition).then(below(rng));
            }
            match rng.chance(50) {
                true => built.otherwise(below(rng)),
                false => built.end(),
            }
        }
    }
}

fn operand(rng: &mut Rng) -> Expr {
    match rng.below(8) {
        0 | 1 => col(rng.pick(&["a", "b_2", "Größe", "unit price", "select", ""])),
        2 => exact_col(rng.pick(&["a", "A \"quoted\" name", "\u{0}"])),
        3 => lit(rng.next_wide() >> rng.below(128)),
        4 => lit(f64::from_bits(rng.next())),
        5 => {
            let digits = format!("{}.{}e{}", rng.below(99), rng.below(99), rng.below(300));
            parse_expr(&digits).expect("a number")
        }
        6 => lit(literal(rng)),
        _ => lit(rng.pick(&["2020-12-31", "", "it's", "\u{1f600}"])),
    }
}

fn literal(rng: &mut Rng) -> Literal {
    let data_type = data_type(rng);
    let ty = physical_type(&data_type).filter(|_| rng.chance(80));
    let bytes = rng.next_wide().to_le_bytes();
    Literal {
        data_type,
        value: ty.map(|ty| Imm::from_le_bytes(ty, bytes)),
    }
}

fn data_type(rng: &mut Rng) -> DataType {
    let of_number = forms::types();
    let types = &of_number[rng.below(of_number.len())];
    types[rng.below(types.len())].clone()
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}
