//! Bytes that nobody should write.

use prost::Message;
use substrait::proto::expression::cast::FailureBehavior;
use substrait::proto::expression::literal::{Decimal, LiteralType};
use substrait::proto::expression::{Literal, MultiOrList, RexType, SingularOrList};
use substrait::proto::{Expression, ExtendedExpression, Version};
use unlade_substrait::limits::{MAX_BYTES, MAX_MESSAGES};
use unlade_substrait::{SubstraitError, import};

use crate::build::{
    NOWHERE, bool_type, bytes, call, cast, column, field, given, i32_type, literal, message, rex,
};
use crate::producers::file;

fn refused(functions: &[(u32, &str)], expression: Expression) -> String {
    import(&bytes(functions, expression))
        .expect_err("it is refused")
        .to_string()
}

#[test]
fn what_is_not_set_or_not_known_is_refused_by_name() {
    let unset = Literal {
        nullable: false,
        type_variation_reference: 0,
        literal_type: None,
    };
    assert_eq!(
        refused(&[], rex(RexType::Literal(unset))),
        "the value of a literal is not set; it may be of another version of Substrait"
    );
    let no_behaviour = cast(column("b"), i32_type(0), FailureBehavior::Unspecified);
    assert_eq!(
        refused(&[], no_behaviour),
        "the failure behaviour of a cast is not set; it may be of another version of Substrait"
    );
    assert_eq!(
        refused(&[], Expression { rex_type: None }),
        "an expression is not set; it may be of another version of Substrait"
    );
    assert_eq!(
        refused(&[], field(6)),
        "the ExtendedExpression is malformed: field 6 is referred to, and the schema has 6"
    );
    assert_eq!(
        refused(&[], literal(LiteralType::I8(128))),
        "the ExtendedExpression is malformed: 128 is no value of type i8"
    );
    let decimal = LiteralType::Decimal(Decimal {
        value: 1000i128.to_le_bytes().to_vec(),
        precision: 3,
        scale: 0,
    });
    assert_eq!(
        refused(&[], literal(decimal)),
        "the ExtendedExpression is malformed: a decimal literal of 3 digits has more"
    );
    let mut varied = given(LiteralType::Fp64(1.0));
    varied.type_variation_reference = 1;
    assert_eq!(
        refused(&[], rex(RexType::Literal(varied))),
        "variation 1 of a literal is not known"
    );
}

#[test]
fn functions_that_are_not_known_are_named_with_what_is_near() {
    let called = |functions: &[(u32, &str)], anchor| {
        refused(
            functions,
            call(anchor, bool_type(), vec![column("a"), column("a")]),
        )
    };
    assert_eq!(
        called(&[(1, "gte"), (1, "gtee")], 1),
        "there is no function `gtee` (anchor 1, of Substrait's functions_comparison); did you mean \
         `gte`?"
    );
    assert_eq!(
        called(&[(3, "gt")], 0),
        "there is no function `gt` (anchor 0, of Substrait's functions_arithmetic); there is one of \
         that name in functions_comparison and functions_datetime"
    );
    assert_eq!(
        called(&[(1, "gt")], 9),
        "the ExtendedExpression is malformed: no function is declared at anchor 9"
    );
    assert_eq!(
        called(&[(5, "gt")], 0),
        "the ExtendedExpression is malformed: `gt` is said to be of the extension at anchor 5, where none \
         is declared"
    );
    assert_eq!(
        refused(&[(NOWHERE, "not")], call(0, bool_type(), vec![])),
        "function `not` (anchor 0): it takes one argument, not 0"
    );
}

#[test]
fn fields_that_no_version_has_are_refused_wherever_they_are() {
    let whole = file("gt");
    // Field 99, a number.
    let unknown = [0x98, 0x06, 0x01];
    let error = import(&[&whole[..], &unknown].concat()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "substrait.ExtendedExpression has field 99, which Substrait 0.102 does not know; it may mean \
         anything, so write the expression by a version between 0.44 and that"
    );
    // Within an expression within a reference to it.
    let inner = [&[0x1a, 5, 0x0a, 3][..], &unknown].concat();
    let error = import(&[&whole[..], &inner].concat()).unwrap_err();
    assert!(
        matches!(&error, SubstraitError::UnknownField { message, number: 99 } if message == "substrait.Expression"),
        "{error}"
    );
}

#[test]
fn versions_and_enhancements_are_looked_at() {
    let changed = |change: fn(&mut ExtendedExpression)| {
        let mut message = message(&[], column("a"));
        change(&mut message);
        import(&message.encode_to_vec())
            .expect_err("it is refused")
            .to_string()
    };
    assert_eq!(
        changed(|message| message.version = None),
        "the version of Substrait is not set; it may be of another version of Substrait"
    );
    assert_eq!(
        changed(|message| message.version = Some(Version {
            major_number: 1,
            ..Version::default()
        })),
        "Substrait 1.x is not known"
    );
    assert_eq!(
        changed(|message| message.base_schema = None),
        "the schema is not set; it may be of another version of Substrait"
    );
    assert_eq!(
        changed(|message| message.referred_expr[0].output_names.clear()),
        "an expression has 0 names; one is read, of a column that is not nested"
    );
    assert_eq!(
        changed(|message| message
            .base_schema
            .iter_mut()
            .for_each(|base| base.names.truncate(5))),
        "the ExtendedExpression is malformed: the schema has fewer names than fields"
    );
}

/// Messages cut off anywhere, and with any bit changed, of which none is a panic. Many are still
/// messages, but of another number or name.
#[test]
fn damaged_messages_are_no_panic() {
    let mut refused = 0;
    let mut tried = 0;
    for name in [
        "and_or",
        "unsigned",
        "timestamp_tz",
        "isin",
        "cast",
        "every_type",
    ] {
        let whole = file(name);
        for length in 0..whole.len() {
            tried += 1;
            refused += u32::from(import(&whole[..length]).is_err());
        }
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            tried += 1;
            refused += u32::from(import(&changed).is_err());
        }
    }
    assert!(refused > tried / 3, "{refused} of {tried} were refused");
}

#[test]
fn limits_hold() {
    let error = import(&vec![0; MAX_BYTES + 1]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there are more than 4194304 bytes; split the expression"
    );
    // Expressions within expressions: a cast of a cast of a cast.
    let nested = |levels: usize| {
        let mut body = Vec::new();
        for _ in 0..levels {
            let cast = prefixed(0x12, &body);
            body = prefixed(0x5a, &cast);
        }
        import(&prefixed(0x1a, &prefixed(0x0a, &body)))
    };
    let error = nested(20).unwrap_err();
    assert!(matches!(error, SubstraitError::Unset(_)), "{error}");
    for levels in [60, 10_000] {
        let error = nested(levels).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there are more than 100 levels of messages, three to a call; split the expression"
        );
    }
    // Empty messages, of two bytes each.
    let many = [0x42, 0].repeat(MAX_MESSAGES as usize + 1);
    let error = import(&many).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there are more than 524288 messages within the message; split the expression"
    );
    let computed = RexType::MultiOrList(MultiOrList {
        value: vec![cast(column("b"), i32_type(0), FailureBehavior::ReturnNull)],
        options: vec![],
    });
    assert_eq!(
        refused(&[], rex(computed)),
        "records are compared with columns and constants alone"
    );
    let list = rex(RexType::SingularOrList(Box::new(SingularOrList {
        value: Some(Box::new(column("a"))),
        options: vec![literal(LiteralType::I32(1)); 65_537],
    })));
    assert_eq!(
        refused(&[], list),
        "there are more than 65536 members of a list; split the expression"
    );
}

fn prefixed(key: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![key];
    prost::encoding::encode_varint(body.len() as u64, &mut out);
    out.extend_from_slice(body);
    out
}
