//! Messages of the vfio-user protocol, as bytes.
//!
//! Every message begins with a header of 16 bytes: message id (u16), command (u16), length with the
//! header (u32), flags (u32) and error number (u32), all little-endian. What comes back is checked
//! here, so that the client never acts on a reply that it did not ask for.

/// Bytes of a header.
pub(crate) const HEADER: usize = 16;

/// Longest body of a reply that is read.
pub(crate) const MAX_BODY: usize = 64 << 10;

const TYPE_MASK: u32 = 0xF;
const TYPE_REPLY: u32 = 1;
const FLAG_NO_REPLY: u32 = 1 << 4;
const FLAG_ERROR: u32 = 1 << 5;

/// The commands that a client sends here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Version = 1,
    DmaMap = 2,
    DmaUnmap = 3,
    DeviceGetInfo = 4,
    DeviceGetRegionInfo = 5,
    DeviceGetIrqInfo = 7,
    DeviceSetIrqs = 8,
    RegionRead = 9,
    RegionWrite = 10,
    DeviceReset = 13,
}

impl Command {
    fn code(self) -> u16 {
        self as u16
    }
}

/// A reply that is not one to what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadReply {
    /// It is to another message.
    #[error("it answers message {found}, not {wanted}")]
    Id {
        /// The message's number.
        wanted: u16,
        /// The reply's.
        found: u16,
    },
    /// It is to another command.
    #[error("it answers command {found}, not {wanted}")]
    Command {
        /// The message's command.
        wanted: u16,
        /// The reply's.
        found: u16,
    },
    /// It is no reply.
    #[error("it is no reply (flags {flags:#x})")]
    NotAReply {
        /// Flags of its header.
        flags: u32,
    },
    /// Its length is not what such a reply has.
    #[error("it has {found} bytes, not {least} to {most}")]
    Length {
        /// Least that is right.
        least: usize,
        /// Most that is right.
        most: usize,
        /// Its own.
        found: usize,
    },
    /// A field that has to be as in the request, or within limits.
    #[error("its field {field} is {found:#x}, not {wanted:#x}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is right.
        wanted: u64,
        /// What it is.
        found: u64,
    },
    /// The server does not speak this protocol's version.
    #[error("it speaks vfio-user {major}.{minor}; this client speaks 0.x")]
    Version {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
}

/// How long a whole reply is, and whether the command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) len: usize,
    /// The error number of a refusal.
    pub(crate) refused: Option<u32>,
}

/// A whole message that is replied to.
pub(crate) fn request(id: u16, command: Command, body: &[u8]) -> Vec<u8> {
    message(id, command, 0, body)
}

/// A whole message that asks for no reply.
pub(crate) fn posted(id: u16, command: Command, body: &[u8]) -> Vec<u8> {
    message(id, command, FLAG_NO_REPLY, body)
}

fn message(id: u16, command: Command, flags: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(HEADER + body.len()).expect("bodies of requests are short");
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&command.code().to_le_bytes());
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&flags.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(body);
    bytes
}

/// Checks the header of a reply.
pub(crate) fn reply(
    header: &[u8; HEADER],
    id: u16,
    command: Command,
    body: std::ops::RangeInclusive<usize>,
) -> Result<Reply, BadReply> {
    let flags = u32_at(header, 8);
    if flags & TYPE_MASK != TYPE_REPLY {
        return Err(BadReply::NotAReply { flags });
    }
    let (wanted, found) = (id, u16_at(header, 0));
    if wanted != found {
        return Err(BadReply::Id { wanted, found });
    }
    let (wanted, found) = (command.code(), u16_at(header, 2));
    if wanted != found {
        return Err(BadReply::Command { wanted, found });
    }
    let len = usize::try_from(u32_at(header, 4)).unwrap_or(usize::MAX);
    let refused = (flags & FLAG_ERROR != 0).then(|| u32_at(header, 12));
    // A refusal may leave the body out.
    let least = match refused {
        Some(_) => HEADER,
        None => HEADER + *body.start(),
    };
    let most = HEADER + *body.end();
    if !(least..=most).contains(&len) {
        return Err(BadReply::Length {
            least,
            most,
            found: len,
        });
    }
    Ok(Reply { len, refused })
}

/// The body of VERSION, from this client: 0.1, one file descriptor a message.
pub(crate) fn version() -> Vec<u8> {
    let mut body = vec![0, 0, 1, 0];
    body.extend_from_slice(
        b"{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":1048576}}\0",
    );
    body
}

/// Checks the body of a reply to VERSION. What the server can do beyond the least is not used.
pub(crate) fn check_version(body: &[u8]) -> Result<(), BadReply> {
    length(body, 4..=MAX_BODY)?;
    let (major, minor) = (u16_at(body, 0), u16_at(body, 2));
    match major {
        0 => Ok(()),
        _ => Err(BadReply::Version { major, minor }),
    }
}

/// What a device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceInfo {
    pub(crate) flags: u32,
    pub(crate) regions: u32,
    pub(crate) irqs: u32,
}

impl DeviceInfo {
    pub(crate) const LEN: usize = 16;
    const LEN_U32: u32 = 16;

    pub(crate) fn request() -> Vec<u8> {
        words(&[DeviceInfo::LEN_U32, 0, 0, 0])
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, BadReply> {
        length(body, DeviceInfo::LEN..=MAX_BODY)?;
        Ok(DeviceInfo {
            flags: u32_at(body, 4),
            regions: u32_at(body, 8),
            irqs: u32_at(body, 12),
        })
    }

    /// Whether DEVICE_RESET is there.
    pub(crate) fn can_reset(&self) -> bool {
        self.flags & 1 != 0
    }
}

/// One region of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RegionInfo {
    pub(crate) flags: u32,
    /// Bytes, 0 where the region is not there.
    pub(crate) size: u64,
}

impl RegionInfo {
    pub(crate) const LEN: usize = 32;
    const LEN_U32: u32 = 32;

    pub(crate) fn request(region: u32) -> Vec<u8> {
        words(&[RegionInfo::LEN_U32, 0, region, 0, 0, 0, 0, 0])
    }

    pub(crate) fn decode(body: &[u8], region: u32) -> Result<Self, BadReply> {
        length(body, RegionInfo::LEN..=MAX_BODY)?;
        same("index", u64::from(region), u64::from(u32_at(body, 8)))?;
        Ok(RegionInfo {
            flags: u32_at(body, 4),
            size: u64_at(body, 16),
        })
    }

    /// Whether it can be both read and written.
    pub(crate) fn is_usable(&self) -> bool {
        self.flags & 3 == 3
    }
}

/// The body of DEVICE_GET_IRQ_INFO.
pub(crate) fn irq_info(index: u32) -> Vec<u8> {
    words(&[IRQ_INFO_LEN_U32, 0, index, 0])
}

/// Bytes of that body.
pub(crate) const IRQ_INFO_LEN: usize = 16;
const IRQ_INFO_LEN_U32: u32 = 16;

/// How many interrupts an index has.
pub(crate) fn irq_count(body: &[u8], index: u32) -> Result<u32, BadReply> {
    length(body, IRQ_INFO_LEN..=MAX_BODY)?;
    same("index", u64::from(index), u64::from(u32_at(body, 8)))?;
    Ok(u32_at(body, 12))
}

/// The body of DEVICE_SET_IRQS that has one interrupt signal the event that is sent with it.
pub(crate) fn set_irq_event(index: u32, vector: u32) -> Vec<u8> {
    const EVENTFD: u32 = 1 << 2;
    const TRIGGER: u32 = 1 << 5;
    words(&[20, EVENTFD | TRIGGER, index, vector, 1])
}

/// The body of DMA_MAP, for a file that is sent with it.
pub(crate) fn dma_map(flags: u32, offset: u64, address: u64, size: u64) -> Vec<u8> {
    let mut body = words(&[32, flags]);
    for field in [offset, address, size] {
        body.extend_from_slice(&field.to_le_bytes());
    }
    body
}

/// Bytes of the body of DMA_UNMAP, of which the reply has as many.
pub(crate) const DMA_UNMAP_LEN: usize = 24;

/// The body of DMA_UNMAP.
pub(crate) fn dma_unmap(address: u64, size: u64) -> Vec<u8> {
    let mut body = words(&[24, 0]);
    body.extend_from_slice(&address.to_le_bytes());
    body.extend_from_slice(&size.to_le_bytes());
    body
}

/// Checks that what was unmapped is what was to be.
pub(crate) fn check_unmapped(body: &[u8], address: u64, size: u64) -> Result<(), BadReply> {
    length(body, DMA_UNMAP_LEN..=DMA_UNMAP_LEN)?;
    same("address", address, u64_at(body, 8))?;
    same("size", size, u64_at(body, 16))
}

/// Bytes before the data of REGION_READ and REGION_WRITE.
pub(crate) const REGION_ACCESS: usize = 16;

/// The body of REGION_READ, or of REGION_WRITE without its data.
pub(crate) fn region_access(region: u32, offset: u64, count: u32) -> Vec<u8> {
    let mut body = Vec::with_capacity(REGION_ACCESS + 8);
    body.extend_from_slice(&offset.to_le_bytes());
    body.extend_from_slice(&region.to_le_bytes());
    body.extend_from_slice(&count.to_le_bytes());
    body
}

/// The data of a reply to REGION_READ, or nothing of one to REGION_WRITE.
pub(crate) fn accessed(
    body: &[u8],
    region: u32,
    offset: u64,
    count: u32,
) -> Result<&[u8], BadReply> {
    length(body, REGION_ACCESS..=MAX_BODY)?;
    same("offset", offset, u64_at(body, 0))?;
    same("region", u64::from(region), u64::from(u32_at(body, 8)))?;
    same("count", u64::from(count), u64::from(u32_at(body, 12)))?;
    Ok(&body[REGION_ACCESS..])
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn length(body: &[u8], right: std::ops::RangeInclusive<usize>) -> Result<(), BadReply> {
    match body.len() {
        found if right.contains(&found) => Ok(()),
        found => Err(BadReply::Length {
            least: *right.start(),
            most: *right.end(),
            found,
        }),
    }
}

fn same(field: &'static str, wanted: u64, found: u64) -> Result<(), BadReply> {
    match found == wanted {
        true => Ok(()),
        false => Err(BadReply::Field {
            field,
            wanted,
            found,
        }),
    }
}

// The callers have checked that the bytes are there.

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}

#[cfg(test)]
mod tests;
