//! What older versions of Substrait wrote, in the form of the version that is read, and nothing that
//! no version wrote.
//!
//! A reader of Protobuf skips fields that it does not know: a literal whose field was given up since
//! would be one without a value. So every field is looked up in the specification's own descriptors
//! before anything is decoded. The same walk bounds depth and count of messages.

use std::sync::LazyLock;

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};
use substrait::proto::FILE_DESCRIPTOR_SET;

use crate::error::SubstraitError;
use crate::limits::{MAX_BYTES, MAX_DEPTH, MAX_MESSAGES};

/// The bytes of an `ExtendedExpression` of any version between 0.44 and the one that is read, as that
/// writes them.
pub(crate) fn upgrade(bytes: &[u8]) -> Result<Vec<u8>, SubstraitError> {
    if bytes.len() > MAX_BYTES {
        return Err(SubstraitError::Limit {
            what: "bytes",
            most: MAX_BYTES,
        });
    }
    let mut walk = Walk { messages: 0 };
    walk.message(bytes, &EXTENDED_EXPRESSION, 1)
}

static EXTENDED_EXPRESSION: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the specification is read");
    let message = pool.get_message_by_name("substrait.ExtendedExpression");
    message.expect("the specification has it")
});

/// What becomes of a field that a version since 0.44 has given up.
#[derive(Clone, Copy)]
enum Old {
    /// It is read by itself, see [`crate::extensions`].
    ReadApart,
    /// Microseconds, since given in this field with their precision.
    Micros(u32),
    /// A type in microseconds, since given in this field with its precision.
    MicrosType(u32),
}

/// Fields that a version since 0.44 has given up, and whose numbers none has used again.
fn old(message: &str, number: u32) -> Option<Old> {
    Some(match (message, number) {
        ("substrait.ExtendedExpression", 1)
        | ("substrait.extensions.SimpleExtensionDeclaration.ExtensionType", 1)
        | ("substrait.extensions.SimpleExtensionDeclaration.ExtensionTypeVariation", 1)
        | ("substrait.extensions.SimpleExtensionDeclaration.ExtensionFunction", 1) => {
            Old::ReadApart
        }
        // `timestamp`, `time`, `timestamp_tz`
        ("substrait.Expression.Literal", 14) => Old::Micros(34),
        ("substrait.Expression.Literal", 17) => Old::Micros(37),
        ("substrait.Expression.Literal", 27) => Old::Micros(35),
        ("substrait.Type", 14) => Old::MicrosType(33),
        ("substrait.Type", 17) => Old::MicrosType(36),
        ("substrait.Type", 29) => Old::MicrosType(34),
        _ => return None,
    })
}

/// The precision of microseconds.
const MICROS: u64 = 6;

struct Walk {
    messages: u32,
}

impl Walk {
    fn message(
        &mut self,
        mut bytes: &[u8],
        message: &MessageDescriptor,
        depth: u32,
    ) -> Result<Vec<u8>, SubstraitError> {
        self.count(depth)?;
        let mut out = Vec::with_capacity(bytes.len());
        while bytes.has_remaining() {
            let (number, wire_type) = decode_key(&mut bytes).map_err(malformed)?;
            let value = value(&mut bytes, wire_type)?;
            if let Some(field) = message.get_field(number) {
                match (field.kind(), wire_type) {
                    (Kind::Message(inner), WireType::LengthDelimited) if is_ours(&inner) => {
                        put(&mut out, number, &self.message(value, &inner, depth + 1)?);
                    }
                    _ => copy(&mut out, number, wire_type, value),
                }
                continue;
            }
            match (old(message.full_name(), number), wire_type) {
                (Some(Old::ReadApart), _) => {}
                (Some(Old::Micros(to)), WireType::Varint) => put(&mut out, to, &micros(value)?),
                (Some(Old::MicrosType(to)), WireType::LengthDelimited) => {
                    self.count(depth + 1)?;
                    put(&mut out, to, &micros_type(value)?);
                }
                _ => {
                    let message = message.full_name().to_owned();
                    return Err(SubstraitError::UnknownField { message, number });
                }
            }
        }
        Ok(out)
    }

    fn count(&mut self, depth: u32) -> Result<(), SubstraitError> {
        self.messages += 1;
        if depth > MAX_DEPTH {
            return Err(SubstraitError::Limit {
                what: "levels of messages, three to a call",
                most: MAX_DEPTH as usize,
            });
        }
        if self.messages > MAX_MESSAGES {
            return Err(SubstraitError::Limit {
                what: "messages within the message",
                most: MAX_MESSAGES as usize,
            });
        }
        Ok(())
    }
}

/// Whether a message is one of Substrait's: what an `Any` holds is for who knows its type.
fn is_ours(message: &MessageDescriptor) -> bool {
    message.package_name().starts_with("substrait")
}

/// The bytes of a field's value; of one with a length, what is after that.
fn value<'a>(bytes: &mut &'a [u8], wire_type: WireType) -> Result<&'a [u8], SubstraitError> {
    let whole = *bytes;
    let length = match wire_type {
        WireType::Varint => {
            decode_varint(bytes).map_err(malformed)?;
            return Ok(&whole[..whole.len() - bytes.len()]);
        }
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => {
            let length = decode_varint(bytes).map_err(malformed)?;
            usize::try_from(length).unwrap_or(usize::MAX)
        }
        WireType::StartGroup | WireType::EndGroup => {
            return Err(SubstraitError::Malformed("it has a group".to_owned()));
        }
    };
    let ends = || SubstraitError::Malformed("it ends within a field".to_owned());
    let (value, rest) = bytes.split_at_checked(length).ok_or_else(ends)?;
    *bytes = rest;
    Ok(value)
}

fn copy(out: &mut Vec<u8>, number: u32, wire_type: WireType, value: &[u8]) {
    match wire_type {
        WireType::LengthDelimited => put(out, number, value),
        _ => {
            encode_key(number, wire_type, out);
            out.extend_from_slice(value);
        }
    }
}

fn put(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// `precision` and `value` of a literal.
fn micros(value: &[u8]) -> Result<Vec<u8>, SubstraitError> {
    let value = decode_varint(&mut &*value).map_err(malformed)?;
    let mut out = varint_field(1, MICROS);
    out.extend(varint_field(2, value));
    Ok(out)
}

/// `precision`, `type_variation_reference` and `nullability` of a type, of which the old one has the
/// last two, as fields 1 and 2.
fn micros_type(mut old: &[u8]) -> Result<Vec<u8>, SubstraitError> {
    let mut out = varint_field(1, MICROS);
    while old.has_remaining() {
        match decode_key(&mut old).map_err(malformed)? {
            (number @ 1..=2, WireType::Varint) => {
                let value = decode_varint(&mut old).map_err(malformed)?;
                out.extend(varint_field(number + 1, value));
            }
            (number, _) => {
                let message = "substrait.Type.Timestamp".to_owned();
                return Err(SubstraitError::UnknownField { message, number });
            }
        }
    }
    Ok(out)
}

fn varint_field(number: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(number, WireType::Varint, &mut out);
    encode_varint(value, &mut out);
    out
}

/// What a message decodes to, within the limits that the walk has seen it keep.
pub(crate) fn decode<T: Message + Default>(bytes: &[u8]) -> Result<T, SubstraitError> {
    T::decode(bytes).map_err(malformed)
}

fn malformed(error: prost::DecodeError) -> SubstraitError {
    SubstraitError::Malformed(error.to_string())
}
