//! Items of a body: CBOR, read and written within the limits.
//!
//! The reader takes any head that CBOR has for a value; that it was the shortest one is seen when
//! what was read is written again.

use ciborium_io::{Read, Write};
use ciborium_ll::{Decoder, Encoder, Error, Header, simple, tag};
use unlade_expr::Signatures;
use unlade_expr::limits::{MAX_DEPTH, MAX_TEXT_BYTES};

use crate::envelope::{FIRST_VERSION, HEADER};
use crate::error::WireError;
use crate::limits::{MAX_BODY_BYTES, MAX_EXPRESSIONS, MAX_FIELDS, MAX_METADATA, MAX_TYPE_DEPTH};

/// What has an encoding.
pub(crate) trait Item: Sized {
    fn write(&self, to: &mut Writer) -> Result<(), WireError>;

    fn read(from: &mut Reader<'_>) -> Result<Self, WireError>;
}

/// What has been seen of that which is bounded, in one body.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    expressions: u32,
    fields: u32,
    metadata: u32,
    depth: u32,
    type_depth: u32,
}

impl Counts {
    pub(crate) fn expression(&mut self) -> Result<(), WireError> {
        count(&mut self.expressions, MAX_EXPRESSIONS, "expressions")?;
        count(&mut self.depth, MAX_DEPTH, "levels of expressions")
    }

    pub(crate) fn end_expression(&mut self) {
        self.depth -= 1;
    }

    pub(crate) fn data_type(&mut self) -> Result<(), WireError> {
        count(
            &mut self.type_depth,
            MAX_TYPE_DEPTH,
            "levels of an Arrow type",
        )
    }

    pub(crate) fn end_data_type(&mut self) {
        self.type_depth -= 1;
    }

    pub(crate) fn field(&mut self) -> Result<(), WireError> {
        count(&mut self.fields, MAX_FIELDS, "Arrow fields")
    }

    pub(crate) fn metadata(&mut self) -> Result<(), WireError> {
        count(&mut self.metadata, MAX_METADATA, "entries of metadata")
    }
}

fn count(counted: &mut u32, most: u32, what: &'static str) -> Result<(), WireError> {
    *counted += 1;
    limit(*counted as usize, most as usize, what)
}

fn limit(counted: usize, most: usize, what: &'static str) -> Result<(), WireError> {
    match counted <= most {
        true => Ok(()),
        false => Err(WireError::Limit { what, most }),
    }
}

/// Writes a body.
#[derive(Debug)]
pub(crate) struct Writer {
    body: Vec<u8>,
    version: u16,
    pub(crate) counts: Counts,
}

impl Default for Writer {
    fn default() -> Self {
        Writer {
            body: Vec::new(),
            version: FIRST_VERSION,
            counts: Counts::default(),
        }
    }
}

impl Writer {
    /// What is written is of this version at least.
    pub(crate) fn needs(&mut self, version: u16) {
        self.version = self.version.max(version);
    }

    pub(crate) fn array(&mut self, length: usize) -> Result<(), WireError> {
        self.head(Header::Array(Some(length)))
    }

    /// The beginning of an array of a number, which says what it is, and so many operands.
    pub(crate) fn tagged(&mut self, number: u64, operands: usize) -> Result<(), WireError> {
        self.array(operands + 1)?;
        self.number(number)
    }

    pub(crate) fn map(&mut self, length: usize) -> Result<(), WireError> {
        self.head(Header::Map(Some(length)))
    }

    pub(crate) fn number(&mut self, value: u64) -> Result<(), WireError> {
        self.head(Header::Positive(value))
    }

    pub(crate) fn boolean(&mut self, value: bool) -> Result<(), WireError> {
        let value = if value { simple::TRUE } else { simple::FALSE };
        self.head(Header::Simple(value))
    }

    pub(crate) fn null(&mut self) -> Result<(), WireError> {
        self.head(Header::Simple(simple::NULL))
    }

    /// An integer in CBOR's own form where that holds it, else as a bignum.
    pub(crate) fn integer(&mut self, value: i128) -> Result<(), WireError> {
        // Negative numbers count down from -1.
        let magnitude = (if value < 0 { !value } else { value }) as u128;
        match (u64::try_from(magnitude), value < 0) {
            (Ok(small), false) => self.head(Header::Positive(small)),
            (Ok(small), true) => self.head(Header::Negative(small)),
            (Err(_), is_negative) => {
                self.head(Header::Tag(match is_negative {
                    true => tag::BIGNEG,
                    false => tag::BIGPOS,
                }))?;
                let zeros = magnitude.leading_zeros() as usize / 8;
                self.bytes(&magnitude.to_be_bytes()[zeros..])
            }
        }
    }

    pub(crate) fn text(&mut self, text: &str) -> Result<(), WireError> {
        limit(text.len(), MAX_TEXT_BYTES, TEXT)?;
        self.head(Header::Text(Some(text.len())))?;
        self.raw(text.as_bytes())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.head(Header::Bytes(Some(bytes.len())))?;
        self.raw(bytes)
    }

    /// An item, or null where there is none.
    pub(crate) fn optional<T: Item>(&mut self, item: Option<&T>) -> Result<(), WireError> {
        match item {
            Some(item) => item.write(self),
            None => self.null(),
        }
    }

    /// Items one after the other, within an array that was begun.
    pub(crate) fn items<'a, T: Item + 'a>(
        &mut self,
        items: impl IntoIterator<Item = &'a T>,
    ) -> Result<(), WireError> {
        items.into_iter().try_for_each(|item| item.write(self))
    }

    /// The body, and its version.
    pub(crate) fn body(self) -> (Vec<u8>, u16) {
        (self.body, self.version)
    }

    fn head(&mut self, head: Header) -> Result<(), WireError> {
        Encoder::from(Sink(&mut self.body)).push(head)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        Sink(&mut self.body).write_all(bytes)
    }
}

/// What ends a text that is too long.
const TEXT: &str = "bytes in a text or name";

struct Sink<'a>(&'a mut Vec<u8>);

impl Write for Sink<'_> {
    type Error = WireError;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        limit(
            self.0.len() + bytes.len(),
            MAX_BODY_BYTES,
            "bytes in the body",
        )?;
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), WireError> {
        Ok(())
    }
}

/// Reads a body.
pub(crate) struct Reader<'a> {
    functions: &'a Signatures,
    decoder: Decoder<Source<'a>>,
    length: usize,
    pub(crate) counts: Counts,
}

impl<'a> Reader<'a> {
    /// Of a body that may call these functions of users.
    pub(crate) fn new(body: &'a [u8], functions: &'a Signatures) -> Self {
        Reader {
            functions,
            decoder: Decoder::from(Source(body)),
            length: body.len(),
            counts: Counts::default(),
        }
    }

    /// An array's length. Who takes it for a capacity takes [`Reader::capacity`] of it.
    /// The users' functions that may be called.
    pub(crate) fn functions(&self) -> &'a Signatures {
        self.functions
    }

    pub(crate) fn array(&mut self) -> Result<usize, WireError> {
        match self.head()? {
            Header::Array(Some(length)) => Ok(length),
            other => Err(self.unexpected("an array", other)),
        }
    }

    /// An array of exactly so many elements.
    pub(crate) fn array_of(&mut self, length: usize, what: &str) -> Result<(), WireError> {
        match self.array()? {
            found if found == length => Ok(()),
            found => Err(self.malformed(format!("{what} has {length} parts, not {found}"))),
        }
    }

    /// The number that an array begins with, and how many operands follow.
    pub(crate) fn tagged(&mut self) -> Result<(u64, usize), WireError> {
        match self.array()? {
            0 => Err(self.malformed("an empty array says not what it is")),
            length => Ok((self.number()?, length - 1)),
        }
    }

    pub(crate) fn map(&mut self) -> Result<usize, WireError> {
        match self.head()? {
            Header::Map(Some(length)) => Ok(length),
            other => Err(self.unexpected("a map", other)),
        }
    }

    pub(crate) fn number(&mut self) -> Result<u64, WireError> {
        match self.head()? {
            Header::Positive(value) => Ok(value),
            other => Err(self.unexpected("a number", other)),
        }
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, WireError> {
        match self.head()? {
            Header::Simple(simple::FALSE) => Ok(false),
            Header::Simple(simple::TRUE) => Ok(true),
            other => Err(self.unexpected("true or false", other)),
        }
    }

    pub(crate) fn integer(&mut self) -> Result<i128, WireError> {
        match self.head()? {
            Header::Positive(value) => Ok(i128::from(value)),
            Header::Negative(value) => Ok(!i128::from(value)),
            Header::Tag(tag::BIGPOS) => self.magnitude(),
            Header::Tag(tag::BIGNEG) => self.magnitude().map(|magnitude| !magnitude),
            other => Err(self.unexpected("an integer", other)),
        }
    }

    /// The bytes of a bignum, as far as a signed integer of 128 bits has a magnitude.
    fn magnitude(&mut self) -> Result<i128, WireError> {
        let bytes = self.bytes()?;
        let mut wide = [0; 16];
        let from = wide.len().checked_sub(bytes.len());
        if let Some(from) = from {
            wide[from..].copy_from_slice(&bytes);
        }
        let value = i128::from_be_bytes(wide);
        match from {
            Some(_) if value >= 0 => Ok(value),
            _ => Err(self.malformed("an integer is of more than 128 bits")),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, WireError> {
        match self.head()? {
            Header::Text(Some(length)) => {
                limit(length, MAX_TEXT_BYTES, TEXT)?;
                let bytes = self.raw(length)?;
                let text = String::from_utf8(bytes);
                text.map_err(|_| self.malformed("a text is not UTF-8"))
            }
            other => Err(self.unexpected("text", other)),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, WireError> {
        match self.head()? {
            Header::Bytes(Some(length)) => self.raw(length),
            other => Err(self.unexpected("bytes", other)),
        }
    }

    /// What `read` makes of what comes next, or `None` where that is null.
    pub(crate) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, WireError>,
    ) -> Result<Option<T>, WireError> {
        match self.head()? {
            Header::Simple(simple::NULL) => Ok(None),
            other => {
                self.decoder.push(other);
                read(self).map(Some)
            }
        }
    }

    /// So many items.
    pub(crate) fn items<T: Item>(&mut self, count: usize) -> Result<Vec<T>, WireError> {
        let mut items = Vec::with_capacity(self.capacity(count));
        for _ in 0..count {
            items.push(T::read(self)?);
        }
        Ok(items)
    }

    /// How much room to make for a count that the bytes claim: each item takes a byte at least, and
    /// more grows as it comes.
    pub(crate) fn capacity(&mut self, count: usize) -> usize {
        const MOST_AT_ONCE: usize = 256;
        count.min(self.left()).min(MOST_AT_ONCE)
    }

    /// Nothing may be left.
    pub(crate) fn finish(mut self) -> Result<(), WireError> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.malformed(format!("{left} bytes are left over"))),
        }
    }

    /// An error about what was read last.
    pub(crate) fn malformed(&mut self, what: impl Into<String>) -> WireError {
        WireError::Malformed {
            offset: HEADER + self.decoder.offset(),
            what: what.into(),
        }
    }

    fn head(&mut self) -> Result<Header, WireError> {
        self.decoder.pull().map_err(|error| match error {
            Error::Io(Ended) => self.ended(),
            Error::Syntax(_) => self.malformed("this is no CBOR"),
        })
    }

    fn raw(&mut self, length: usize) -> Result<Vec<u8>, WireError> {
        if length > self.left() {
            return Err(self.ended());
        }
        let mut bytes = vec![0; length];
        let read = self.decoder.read_exact(&mut bytes);
        read.map_err(|Ended| self.ended())?;
        Ok(bytes)
    }

    fn left(&mut self) -> usize {
        self.length.saturating_sub(self.decoder.offset())
    }

    fn ended(&mut self) -> WireError {
        self.malformed("the body ends within a value")
    }

    fn unexpected(&mut self, expected: &str, found: Header) -> WireError {
        let found = match found {
            Header::Positive(_) | Header::Negative(_) => "an integer",
            Header::Float(_) => "a float",
            Header::Simple(simple::NULL) => "null",
            Header::Simple(_) => "a simple value",
            Header::Tag(_) => "a tagged value",
            Header::Break => "a break",
            Header::Bytes(_) => "bytes",
            Header::Text(_) => "text",
            Header::Array(_) => "an array",
            Header::Map(_) => "a map",
        };
        self.malformed(format!(
            "{expected} is expected, of a definite length; {found} is here"
        ))
    }
}

struct Source<'a>(&'a [u8]);

/// The bytes end before what is read.
struct Ended;

impl Read for Source<'_> {
    type Error = Ended;

    fn read_exact(&mut self, data: &mut [u8]) -> Result<(), Ended> {
        let (taken, rest) = self.0.split_at_checked(data.len()).ok_or(Ended)?;
        data.copy_from_slice(taken);
        self.0 = rest;
        Ok(())
    }
}
