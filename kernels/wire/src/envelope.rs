//! The header around a body: what it is, how long, and whether it is whole.

use crate::error::WireError;
use crate::limits::MAX_BODY_BYTES;

/// The newest version of the format that is read. Written is the oldest that has what is in a body: 1, and
/// 2 where users' functions are called.
pub const VERSION: u16 = VERSION_OF_CALLS;

/// The version that every body has at least.
pub(crate) const FIRST_VERSION: u16 = 1;

/// The version that brought calls of users' functions.
pub(crate) const VERSION_OF_CALLS: u16 = 2;

const MAGIC: [u8; 4] = *b"UNLW";

/// Bytes before the body: magic, version, kind, length and checksum.
pub(crate) const HEADER: usize = 16;

/// Where the checksum stands. It is of what is before it and of the body.
const CHECKSUM: usize = 12;

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Expression = 1,
    Query = 2,
    Kernel = 3,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Expression, Kind::Query, Kind::Kernel];

    fn name(self) -> &'static str {
        match self {
            Kind::Expression => "an expression",
            Kind::Query => "a query",
            Kind::Kernel => "a kernel request",
        }
    }
}

/// A body with its header before it, which says that it is of this version.
pub(crate) fn seal(kind: Kind, version: u16, body: &[u8]) -> Result<Vec<u8>, WireError> {
    let length = body_length(body.len())?;
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&(kind as u16).to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&checksum(&bytes, body).to_le_bytes());
    bytes.extend_from_slice(body);
    Ok(bytes)
}

/// The body of bytes that are whole and of a kind.
pub(crate) fn open(kind: Kind, bytes: &[u8]) -> Result<&[u8], WireError> {
    if !bytes.starts_with(&MAGIC) {
        return Err(WireError::Magic);
    }
    let short = WireError::Length {
        expected: HEADER as u64,
        found: bytes.len() as u64,
    };
    let (header, body) = bytes.split_first_chunk::<HEADER>().ok_or(short)?;
    let [_, _, _, _, v0, v1, k0, k1, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let version = u16::from_le_bytes([v0, v1]);
    if !(FIRST_VERSION..=VERSION).contains(&version) {
        return Err(WireError::Version {
            found: version,
            known: VERSION,
        });
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    body_length(length as usize)?;
    if body.len() != length as usize {
        return Err(WireError::Length {
            expected: HEADER as u64 + u64::from(length),
            found: bytes.len() as u64,
        });
    }
    if checksum(&header[..CHECKSUM], body) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(WireError::Checksum);
    }
    let found = u16::from_le_bytes([k0, k1]);
    if found != kind as u16 {
        let known = Kind::ALL.into_iter().find(|kind| *kind as u16 == found);
        return Err(WireError::Kind {
            found: known.map_or_else(|| format!("of kind {found}"), |kind| kind.name().to_owned()),
            expected: kind.name(),
        });
    }
    Ok(body)
}

fn body_length(length: usize) -> Result<u32, WireError> {
    let fits = u32::try_from(length).ok();
    let admitted = fits.filter(|_| length <= MAX_BODY_BYTES);
    admitted.ok_or(WireError::Limit {
        what: "bytes in the body",
        most: MAX_BODY_BYTES,
    })
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), body)
}
