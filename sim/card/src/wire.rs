//! Messages of the vfio-user protocol, as a server reads and answers them.
//!
//! Every length comes from the peer and is checked before memory is asked for.

use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::bytes::{u16_at, u32_at};

/// Bytes of a message's header.
const HEADER: usize = 16;

/// Most data bytes that one region access may move; the handshake says so.
pub(crate) const MAX_DATA: usize = 1 << 20;

/// Most bytes of a message: the data, and a header of any command.
const MAX_MESSAGE: usize = MAX_DATA + 64;

/// Most file descriptors that come with one message: what Linux allows.
const MAX_FDS: usize = 253;

// Flags of a header.
const REPLY: u32 = 1;
const TYPE: u32 = 0xF;
const NO_REPLY: u32 = 1 << 4;
const ERROR: u32 = 1 << 5;

/// A command of the host.
#[derive(Debug)]
pub(crate) struct Message {
    id: u16,
    pub(crate) command: u16,
    flags: u32,
    /// What follows the header.
    pub(crate) payload: Vec<u8>,
    pub(crate) files: Vec<File>,
}

impl Message {
    /// Reads the next command; none where the host has closed the connection.
    pub(crate) fn receive(stream: &mut UnixStream) -> io::Result<Option<Message>> {
        let mut header = [0; HEADER];
        let mut files = Vec::new();
        let first = receive_with_files(stream, &mut header, &mut files)?;
        if first == 0 {
            return Ok(None);
        }
        stream.read_exact(&mut header[first..])?;
        let size = usize::try_from(u32_at(&header, 4)).unwrap_or(usize::MAX);
        if !(HEADER..=MAX_MESSAGE).contains(&size) {
            return Err(io::Error::other(format!(
                "a message of {size} bytes; messages have {HEADER} to {MAX_MESSAGE}"
            )));
        }
        let mut payload = vec![0; size - HEADER];
        stream.read_exact(&mut payload)?;
        let message = Message {
            id: u16_at(&header, 0),
            command: u16_at(&header, 2),
            flags: u32_at(&header, 8),
            payload,
            files,
        };
        if message.flags & TYPE != 0 {
            return Err(io::Error::other(
                "a reply, where the card has asked for nothing",
            ));
        }
        Ok(Some(message))
    }

    /// Answers, unless the host wants no answer; an error is answered by its errno.
    pub(crate) fn answer(
        &self,
        stream: &mut impl Write,
        answer: Result<Vec<u8>, rustix::io::Errno>,
    ) -> io::Result<()> {
        if self.flags & NO_REPLY != 0 {
            return Ok(());
        }
        let (payload, flags, error) = match answer {
            Ok(payload) => (payload, REPLY, 0),
            Err(errno) => (
                Vec::new(),
                REPLY | ERROR,
                errno.raw_os_error().cast_unsigned(),
            ),
        };
        let size = u32::try_from(HEADER + payload.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(HEADER + payload.len());
        message.extend(self.id.to_le_bytes());
        message.extend(self.command.to_le_bytes());
        message.extend(size.to_le_bytes());
        message.extend(flags.to_le_bytes());
        message.extend(error.to_le_bytes());
        message.extend(payload);
        stream.write_all(&message)
    }
}

/// Reads the first bytes of a message and the file descriptors that come with them.
fn receive_with_files(
    stream: &UnixStream,
    bytes: &mut [u8],
    files: &mut Vec<File>,
) -> io::Result<usize> {
    let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(bytes)];
    let received = loop {
        match recvmsg(stream, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            received => break received?,
        }
    };
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            files.extend(fds.map(|fd: OwnedFd| File::from(fd)));
        }
    }
    Ok(received.bytes)
}
