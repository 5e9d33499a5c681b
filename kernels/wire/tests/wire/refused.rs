//! What is refused, and in which words.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use unlade_expr::limits::{MAX_DEPTH, MAX_TEXT_BYTES};
use unlade_expr::{Literal, OnError, Query, Semantics, Signature, Signatures, col, lit};
use unlade_program::Imm;
use unlade_wire::limits::{MAX_BODY_BYTES, MAX_EXPRESSIONS, MAX_METADATA, MAX_TYPE_DEPTH};
use unlade_wire::{
    KernelRequest, VERSION, WireError, decode_expr, decode_expr_with, decode_kernel,
    decode_kernel_with, decode_query, decode_query_with, encode_expr, encode_kernel, encode_query,
};

const EXPRESSION: u16 = 1;
const QUERY: u16 = 2;
const KERNEL: u16 = 3;

/// The version of bodies that call no user's function.
const FIRST_VERSION: u16 = 1;

/// A body with its header, by docs/WIRE.md rather than by the writer.
pub(crate) fn sealed(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"UNLW".to_vec();
    bytes.extend(FIRST_VERSION.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend((body.len() as u32).to_le_bytes());
    let checksum = crc32c(bytes.iter().chain(body));
    bytes.extend(checksum.to_le_bytes());
    bytes.extend(body);
    bytes
}

/// Castagnoli's polynomial, bit by bit.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1));
    !bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc))
    })
}

#[test]
fn headers_that_are_not_whole_or_not_known() {
    let good = encode_query(&Query::filter(col("a"))).expect("it is small");
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        decode_query(&bytes).unwrap_err()
    };
    assert_eq!(decode_query(b"").unwrap_err(), WireError::Magic);
    assert_eq!(changed(0, b'V'), WireError::Magic);
    let (found, known) = (VERSION + 1, VERSION);
    assert_eq!(changed(4, 3), WireError::Version { found, known });
    assert_eq!(changed(4, 0), WireError::Version { found: 0, known });
    // The checksum is of the version, too.
    assert_eq!(changed(4, 2), WireError::Checksum);
    assert_eq!(changed(12, !good[12]), WireError::Checksum);
    for length in 4..good.len() {
        let error = decode_query(&good[..length]).unwrap_err();
        assert!(
            matches!(error, WireError::Length { .. }),
            "{length}: {error}"
        );
    }
    let long = [&good[..], &[0]].concat();
    let (expected, found) = (good.len() as u64, long.len() as u64);
    let error = decode_query(&long).unwrap_err();
    assert_eq!(error, WireError::Length { expected, found });
    let error = decode_expr(&good).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the bytes are a query; an expression is expected"
    );
    let error = decode_expr(&sealed(9, &[])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the bytes are of kind 9; an expression is expected"
    );
    assert_eq!(
        changed(11, 0xff).to_string(),
        "there are more than 16777216 bytes in the body; split the query"
    );
}

#[test]
fn bodies_that_say_what_the_format_does_not_know() {
    for (body, message) in [
        ("", "byte 16: the body ends within a value"),
        ("80", "byte 17: an empty array says not what it is"),
        ("811818", "byte 19: no expression has number 24"),
        ("8117", "byte 18: a call lacks a part of what it calls"),
        (
            "811bffffffffffffffff",
            "byte 26: no expression has number 18446744073709551615",
        ),
        (
            "820861",
            "byte 19: an array is expected, of a definite length; text is here",
        ),
        ("82088101f6", "byte 20: 1 bytes are left over"),
        ("8108", "byte 18: expression 8 has 1 operands, not 0"),
        (
            "8300616101",
            "byte 21: true or false is expected, of a definite length; an integer is here",
        ),
        ("830061fff5", "byte 20: a text is not UTF-8"),
        (
            "8300626120f4",
            "byte 22: \"a \" is no name without quotes, and must be exact",
        ),
        (
            "8300646e756c6cf4",
            "byte 24: \"null\" is no name without quotes, and must be exact",
        ),
        (
            "82046131",
            "byte 20: \"1\" is no number with a point or an exponent",
        ),
        ("8204633165f6", "byte 22: a text is not UTF-8"),
        ("840c0e81018101", "byte 19: no operator has number 14"),
        (
            "8203c250ffffffffffffffffffffffffffffffff",
            "byte 36: an integer is of more than 128 bits",
        ),
        (
            "8203c25100ffffffffffffffffffffffffffffffff",
            "byte 37: an integer is of more than 128 bits",
        ),
        ("820d8101", "byte 18: AND and OR have two operands or more"),
        ("8212f4", "byte 18: an IN lacks its operand"),
        ("8314f6f6", "byte 20: a CASE of conditions has none"),
        ("8414f6f68101", "byte 18: a CASE lacks a part"),
        ("841381182ff48101", "byte 21: no type has number 47"),
        (
            "84138205f6f48101",
            "byte 20: type 5 has 0 parameters, not 1",
        ),
        (
            "830681024200ff",
            "byte 23: a value of type Int8 is 1 bytes wide, not 2",
        ),
        (
            "830681181941ff",
            "byte 23: literals of type Utf8 are null alone",
        ),
        (
            "841383171901 0000f48101",
            "byte 23: 256 is out of range here",
        ),
        (
            "9f08",
            "byte 17: an array is expected, of a definite length; an array is here",
        ),
        (
            "ff",
            "byte 17: an array is expected, of a definite length; a break is here",
        ),
        ("1c", "byte 17: this is no CBOR"),
        ("9affffffff0d8101", "byte 24: the body ends within a value"),
        (
            "82057affffffff",
            "there are more than 1048576 bytes in a text or name; split the query",
        ),
        ("82057a000fffff61", "byte 23: the body ends within a value"),
        (
            "9bffffffffffffffff0f",
            "byte 26: the body ends within a value",
        ),
    ] {
        let error = decode_expr(&sealed(EXPRESSION, &hex(body))).unwrap_err();
        assert_eq!(error.to_string(), message, "{body}");
    }
    for (body, message) in [
        ("82f68100", "byte 17: a query has 3 parts, not 2"),
        (
            "83f68103f4",
            "byte 20: no list of outputs has number 3 and 0 members",
        ),
        (
            "83f6820000f4",
            "byte 20: no list of outputs has number 0 and 1 members",
        ),
    ] {
        let error = decode_query(&sealed(QUERY, &hex(body))).unwrap_err();
        assert_eq!(error.to_string(), message, "{body}");
    }
    let request = |rules: &str| sealed(KERNEL, &hex(&format!("83 83f68100f4 8280a0 {rules}")));
    let arrow = decode_kernel(&request("87 00 00 00 00 00 00 01"));
    assert_eq!(
        arrow.map(|request| request.semantics),
        Ok(Semantics::arrow())
    );
    for (rules, message) in [
        (
            "87 02 00 00 00 00 00 01",
            "byte 27: no dialect has number 2",
        ),
        (
            "87 00 00 00 00 02 00 01",
            "byte 33: a division of integers by zero traps or is null; it cannot wrap",
        ),
        (
            "86 00 00 00 00 00 00",
            "byte 26: a set of rules has 7 parts, not 6",
        ),
    ] {
        let error = decode_kernel(&request(rules)).unwrap_err();
        assert_eq!(error.to_string(), message, "{rules}");
    }
}

/// Each is what another form of it says, too.
#[test]
fn every_other_form_of_a_value_is_refused() {
    for (body, form) in [
        ("980101", "a length in more bytes than it needs"),
        ("811801", "a number in more bytes than it needs"),
        ("8203c24105", "a bignum where an integer would do"),
        (
            "8203c24a00010000000000000000",
            "a bignum with zeros before it",
        ),
        ("8209820301", "a negated constant"),
        ("830d830d810181018101", "a chain whose first operand is one"),
        ("830681014102", "a boolean that is neither 0 nor 1"),
    ] {
        let bytes = sealed(EXPRESSION, &hex(body));
        let error = decode_expr(&bytes).unwrap_err();
        assert!(
            matches!(error, WireError::NotCanonical { .. }),
            "{form}: {error}"
        );
    }
    let fields = |metadata: &str| {
        format!("83 83f68100f4 8281 84 6161 8101f5 {metadata} a0 87 00 00 00 00 00 00 01")
    };
    let read = |metadata: &str| decode_kernel(&sealed(KERNEL, &hex(&fields(metadata))));
    assert_eq!(read("a2 6162 6131 626161 6132").map(|_| ()), Ok(()));
    for (metadata, form) in [
        ("a2 626161 6132 6162 6131", "keys out of order"),
        ("a2 6162 6132 6162 6131", "a key twice"),
        ("b801 6162 6131", "a length in more bytes than it needs"),
    ] {
        let error = read(metadata).unwrap_err();
        assert!(
            matches!(error, WireError::NotCanonical { .. }),
            "{form}: {error}"
        );
    }
}

#[test]
fn limits_hold_for_readers() {
    let nested = |levels: usize| {
        let mut body = [0x82, 0x08].repeat(levels - 1);
        body.extend([0x81, 0x01]);
        decode_expr(&sealed(EXPRESSION, &body))
    };
    let deepest = MAX_DEPTH as usize;
    assert_eq!(nested(deepest).map(|_| ()), Ok(()));
    for levels in [deepest + 1, 100_000] {
        let error = nested(levels).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there are more than 128 levels of expressions; split the query"
        );
    }
    let lists = |levels: usize| {
        let mut body = hex("8313");
        (1..levels).for_each(|_| body.extend(hex("82 1820 84 60")));
        body.extend([0x81, 0x00]);
        (1..levels).for_each(|_| body.extend([0xf5, 0xa0]));
        body[0] = 0x84;
        body.extend(hex("f4 8101"));
        decode_expr(&sealed(EXPRESSION, &body))
    };
    let deepest = MAX_TYPE_DEPTH as usize;
    assert_eq!(lists(deepest).map(|_| ()), Ok(()));
    let error = lists(deepest + 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there are more than 64 levels of an Arrow type; split the query"
    );
    let many = |count: u32| {
        let mut body = hex("9a");
        body.extend((count + 1).to_be_bytes());
        body.push(0x0f);
        body.extend([0x81, 0x01].repeat(count as usize));
        decode_expr(&sealed(EXPRESSION, &body))
    };
    assert_eq!(many(MAX_EXPRESSIONS - 1).map(|_| ()), Ok(()));
    let error = many(MAX_EXPRESSIONS).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there are more than 262144 expressions; split the query"
    );
}

#[test]
fn limits_hold_for_writers() {
    let most = |error: WireError| match error {
        WireError::Limit { most, .. } => most,
        other => panic!("{other}"),
    };
    let list = |members: u32| coalesce_of(members);
    assert!(encode_expr(&list(MAX_EXPRESSIONS - 1)).is_ok());
    let error = encode_expr(&list(MAX_EXPRESSIONS)).unwrap_err();
    assert_eq!(most(error), MAX_EXPRESSIONS as usize);
    let long = "x".repeat(MAX_TEXT_BYTES);
    assert!(encode_expr(&lit(long.as_str())).is_ok());
    let error = encode_expr(&lit(format!("{long}x").as_str())).unwrap_err();
    assert_eq!(most(error), MAX_TEXT_BYTES);
    let texts = (0..MAX_BODY_BYTES / MAX_TEXT_BYTES).map(|_| lit(long.as_str()));
    let error = encode_expr(&unlade_expr::coalesce(texts)).unwrap_err();
    assert_eq!(most(error), MAX_BODY_BYTES);
    let entries = (0..=MAX_METADATA).map(|index| (index.to_string(), String::new()));
    let field = Field::new("a", DataType::Int8, true).with_metadata(entries.collect());
    let error = encode_kernel(&request(Schema::new(vec![field]), Semantics::arrow())).unwrap_err();
    assert_eq!(most(error), MAX_METADATA as usize);
    let fields: Vec<Field> = (0..=1 << 16)
        .map(|index| Field::new(index.to_string(), DataType::Int8, true))
        .collect();
    let error = encode_kernel(&request(Schema::new(fields), Semantics::arrow())).unwrap_err();
    assert_eq!(most(error), 1 << 16);
}

#[test]
fn values_that_mean_nothing_are_not_written() {
    let wrong = Literal {
        data_type: DataType::Int8,
        value: Some(Imm::f64(1.0)),
    };
    let error = encode_expr(&lit(wrong)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a literal of type Int8 holds a value of another, f64"
    );
    let mut wrapping = Semantics::arrow();
    wrapping.divide_by_zero = OnError::Wrap;
    let error = encode_kernel(&request(Schema::empty(), wrapping)).unwrap_err();
    assert!(matches!(error, WireError::NotEncodable(_)), "{error}");
}

/// A call is as good as the function that the reader has under its name.
#[test]
fn calls_of_functions_that_the_reader_has_not() {
    let known = crate::forms::functions();
    let half = known.get("half").expect("it is one of them");
    let bytes = encode_expr(&half.call([col("a")])).expect("it is small");
    assert_eq!(bytes[4..6], [2, 0], "the version that has calls");
    let error = decode_expr(&bytes).unwrap_err();
    assert!(matches!(&error, WireError::Function(_)), "{error}");
    assert!(
        error.to_string().contains("half(Int64) -> Int64"),
        "{error}"
    );
    let mut others = Signatures::default();
    let other = Signature::new("half", [DataType::Int32], DataType::Int32);
    others
        .insert(other.expect("it is one"))
        .expect("none has the name");
    let error = decode_expr_with(&bytes, &others).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("registered is half(Int32) -> Int32"),
        "{error}"
    );
    let request = KernelRequest {
        query: Query::filter(half.call([col("a")]).gt(lit(1))),
        ..request(Schema::empty(), Semantics::arrow())
    };
    let bytes = encode_kernel(&request).expect("it is small");
    assert!(matches!(decode_kernel(&bytes), Err(WireError::Function(_))));
    assert_eq!(decode_kernel_with(&bytes, &known).as_ref(), Ok(&request));
    let bytes = encode_query(&request.query).expect("it is small");
    assert!(matches!(decode_query(&bytes), Err(WireError::Function(_))));
    assert_eq!(decode_query_with(&bytes, &known), Ok(request.query));
}

#[test]
fn calls_that_are_none() {
    let known = crate::forms::functions();
    let half = "8617 6468616c66 818105 8105 f5 83006161f4";
    let version = |version: u16, body: &str| {
        let mut bytes = sealed(EXPRESSION, &hex(body));
        bytes[4..6].copy_from_slice(&version.to_le_bytes());
        let checksum = crc32c(bytes[..12].iter().chain(&bytes[16..]));
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        decode_expr_with(&bytes, &known)
    };
    assert!(version(2, half).is_ok());
    // Of a version that has none; and of the one that has, without any.
    for (number, body) in [(1, half), (2, "83006161f4")] {
        let error = version(number, body).unwrap_err();
        assert_eq!(error, WireError::NotCanonical { offset: 4 });
    }
    for (body, message) in [
        (
            "8617 6461206220 818105 8105 f5 8101",
            "is no name of a function",
        ),
        (
            "8617 63616273 818105 8105 f5 8101",
            "is a word of the language",
        ),
        ("8617 6468616c66 80 8105 f5 8101", "takes no argument"),
        (
            "8617 6468616c66 9841 8105 8105",
            "a function takes 65 arguments",
        ),
        (
            "8617 6468616c66 818105 8105 f6 8101",
            "true or false is expected",
        ),
    ] {
        let error = version(2, body).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

fn coalesce_of(members: u32) -> unlade_expr::Expr {
    unlade_expr::coalesce((0..members).map(|_| unlade_expr::null()))
}

fn request(input: Schema, semantics: Semantics) -> KernelRequest {
    KernelRequest {
        query: Query::all(),
        input: Arc::new(input),
        semantics,
    }
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(pair, 16).expect("hexadecimal digits")
    };
    assert_eq!(digits.len() % 2, 0, "{text}");
    digits.chunks(2).map(byte).collect()
}
