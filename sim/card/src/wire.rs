//! Messages of the vfio-user protocol, as a server reads and answers them.
//!
//! Every length comes from the peer and is checked before memory is asked for.

use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

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
    /// Answers, unless the host wants no answer; an error is answered by its errno.
    pub(crate) fn answer(
        &self,
        stream: &mut impl Write,
        answer: Result<Vec<u8>, rustix::io::Errno>,
    ) -> io::Result<()> {
        if self.flags & NO_REPLY != 0 {
            return Ok(());
        }
        match answer {
            Ok(payload) => self.reply(stream, REPLY, 0, &payload),
            Err(errno) => self.reply(stream, REPLY | ERROR, number(errno), &[]),
        }
    }

    /// Answers by an errno and why, in as many bytes as the command had: a host that knows errors
    /// without a payload has room for that.
    pub(crate) fn refuse(
        &self,
        stream: &mut impl Write,
        errno: rustix::io::Errno,
        why: &str,
    ) -> io::Result<()> {
        let room = why.floor_char_boundary(self.payload.len());
        let why = &why.as_bytes()[..room];
        self.reply(stream, REPLY | ERROR, number(errno), why)
    }

    fn reply(
        &self,
        stream: &mut impl Write,
        flags: u32,
        error: u32,
        payload: &[u8],
    ) -> io::Result<()> {
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

fn number(errno: rustix::io::Errno) -> u32 {
    errno.raw_os_error().cast_unsigned()
}

/// Bytes that are received at once: many small messages, or the beginning of a large one.
const ROOM: usize = 4096;

/// What has come from a host and was not looked at yet. A doorbell is one small message, so that
/// what is received at once is as much as has come.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Room for bytes, zeroed once.
    room: Vec<u8>,
    /// Where in it bytes of messages are, from the beginning of one on.
    waiting: Range<usize>,
    /// Each file with where in the room ended what came with it. The kernel gives no bytes behind
    /// those that files came with, so a file belongs to the message that the last of these is in.
    files: Vec<(usize, File)>,
    /// Room for files as the kernel gives them.
    space: Vec<MaybeUninit<u8>>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Inbox {
            room: Vec::new(),
            waiting: 0..0,
            files: Vec::new(),
            space: vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))],
        }
    }

    /// The next command; none where the host has closed the connection.
    pub(crate) fn receive(&mut self, stream: &UnixStream) -> io::Result<Option<Message>> {
        loop {
            let size = self.size()?;
            if let Some(size) = size.filter(|size| self.waiting.len() >= *size) {
                return self.take(size).map(Some);
            }
            if self.fill(stream, size.unwrap_or(HEADER))? == 0 {
                return match self.waiting.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    /// The next command, if it comes as a whole: who sends it in pieces is not waited for.
    pub(crate) fn receive_at_once(&mut self, stream: &UnixStream) -> io::Result<Option<Message>> {
        self.fill(stream, HEADER)?;
        match self.size()? {
            Some(size) if self.waiting.len() >= size => self.take(size).map(Some),
            _ => Ok(None),
        }
    }

    /// Bytes of the next message, if its header is there.
    fn size(&self) -> io::Result<Option<usize>> {
        let Some(header) = self.room[self.waiting.clone()].get(..HEADER) else {
            return Ok(None);
        };
        let size = usize::try_from(u32_at(header, 4)).unwrap_or(usize::MAX);
        if !(HEADER..=MAX_MESSAGE).contains(&size) {
            return Err(io::Error::other(format!(
                "a message of {size} bytes; messages have {HEADER} to {MAX_MESSAGE}"
            )));
        }
        Ok(Some(size))
    }

    /// Takes out the next message, of so many bytes, which are there.
    fn take(&mut self, size: usize) -> io::Result<Message> {
        let end = self.waiting.start + size;
        let bytes = &self.room[self.waiting.start..end];
        let (id, command, flags) = (u16_at(bytes, 0), u16_at(bytes, 2), u32_at(bytes, 8));
        let payload = bytes[HEADER..].to_vec();
        self.waiting.start = end;
        let own = self.files.extract_if(.., |(of, _)| *of <= end);
        let files = own.map(|(_, file)| file).collect();
        if flags & TYPE != 0 {
            return Err(io::Error::other(
                "a reply, where the card has asked for nothing",
            ));
        }
        Ok(Message {
            id,
            command,
            flags,
            payload,
            files,
        })
    }

    /// Waits for more, which has room until there are so many bytes at least. Gives how many came.
    fn fill(&mut self, stream: &UnixStream, wanted: usize) -> io::Result<usize> {
        self.move_to_front();
        let room = wanted.max(self.waiting.end + ROOM);
        if self.room.len() < room {
            self.room.resize(room, 0);
        }
        let free = &mut self.room[self.waiting.end..];
        let (count, files) = receive(stream, free, &mut self.space)?;
        self.waiting.end += count;
        let end = self.waiting.end;
        self.files.extend(files.into_iter().map(|file| (end, file)));
        Ok(count)
    }

    /// Moves what waits to the beginning of the room.
    fn move_to_front(&mut self) {
        let Range { start, end } = self.waiting;
        self.room.copy_within(start..end, 0);
        self.waiting = 0..end - start;
        for (end, _) in &mut self.files {
            *end -= start;
        }
    }
}

/// Receives bytes, and the files that come with them.
fn receive(
    stream: &UnixStream,
    bytes: &mut [u8],
    space: &mut [MaybeUninit<u8>],
) -> io::Result<(usize, Vec<File>)> {
    let mut ancillary = RecvAncillaryBuffer::new(space);
    let mut parts = [IoSliceMut::new(bytes)];
    let received = loop {
        match recvmsg(stream, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            received => break received?,
        }
    };
    // The kernel keeps back what there is no descriptor for, and a mapping without its file would
    // look like one that the host has made so.
    if received.flags.contains(ReturnFlags::CTRUNC) {
        let why =
            "files that this process has no descriptors left for; raise its limit (ulimit -n)";
        return Err(io::Error::other(why));
    }
    let mut files = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            files.extend(fds.map(|fd: OwnedFd| File::from(fd)));
        }
    }
    Ok((received.bytes, files))
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    /// A message of a host, with so many bytes behind its header.
    fn message(id: u16, len: usize) -> Vec<u8> {
        let mut bytes = vec![0xEE; HEADER + len];
        bytes[..2].copy_from_slice(&id.to_le_bytes());
        bytes[2..4].copy_from_slice(&10u16.to_le_bytes());
        let size = u32::try_from(bytes.len()).unwrap();
        bytes[4..8].copy_from_slice(&size.to_le_bytes());
        bytes[8..HEADER].fill(0);
        bytes
    }

    fn send(stream: &UnixStream, bytes: &[u8], files: usize) {
        let file = File::open("/dev/null").unwrap();
        let files: Vec<_> = (0..files)
            .map(|_| std::os::fd::AsFd::as_fd(&file))
            .collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&files)));
        }
        let parts = [io::IoSlice::new(bytes)];
        let sent = sendmsg(stream, &parts, &mut ancillary, SendFlags::empty());
        assert_eq!(sent, Ok(bytes.len()));
    }

    /// Id, length and number of files of every message that comes.
    fn received(stream: &UnixStream) -> Vec<(u16, usize, usize)> {
        let mut inbox = Inbox::new();
        let mut all = Vec::new();
        while let Some(message) = inbox.receive(stream).unwrap() {
            assert!(message.payload.iter().all(|byte| *byte == 0xEE));
            all.push((message.id, message.payload.len(), message.files.len()));
        }
        all
    }

    #[test]
    fn files_are_those_of_the_message_that_they_came_with() {
        let (host, card) = UnixStream::pair().unwrap();
        send(&host, &message(1, 24), 0);
        send(&host, &message(2, 24), 2);
        send(&host, &message(3, 0), 0);
        send(&host, &message(4, 8), 1);
        // In two pieces, the files with either.
        send(&host, &message(5, 100)[..HEADER], 1);
        send(&host, &message(5, 100)[HEADER..], 0);
        send(&host, &message(6, 9000)[..50], 0);
        send(&host, &message(6, 9000)[50..], 3);
        send(&host, &message(7, 1), 0);
        host.shutdown(Shutdown::Write).unwrap();
        let wanted = [
            (1, 24, 0),
            (2, 24, 2),
            (3, 0, 0),
            (4, 8, 1),
            (5, 100, 1),
            (6, 9000, 3),
            (7, 1, 0),
        ];
        assert_eq!(received(&card), wanted);
    }

    /// As where the process has no descriptors left: the kernel keeps some back.
    #[test]
    fn files_that_were_kept_back_are_an_error() {
        let (host, card) = UnixStream::pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        let files = [std::os::fd::AsFd::as_fd(&file); 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&files)));
        let parts = [io::IoSlice::new(b"bytes")];
        sendmsg(&host, &parts, &mut ancillary, SendFlags::empty()).unwrap();
        let error = receive(&card, &mut [0; 8], &mut []).unwrap_err();
        assert!(error.to_string().contains("ulimit -n"), "{error}");
    }

    #[test]
    fn messages_come_in_any_pieces() {
        let (host, card) = UnixStream::pair().unwrap();
        let sent = std::thread::spawn(move || {
            let lens = [0, 24, 5000, 1, 70_000, 0];
            let all: Vec<u8> = (0..)
                .zip(lens)
                .flat_map(|(id, len)| message(id, len))
                .collect();
            for piece in all.chunks(777) {
                send(&host, piece, 0);
            }
        });
        let wanted = [0, 24, 5000, 1, 70_000, 0];
        let wanted: Vec<_> = (0..).zip(wanted).map(|(id, len)| (id, len, 0)).collect();
        assert_eq!(received(&card), wanted);
        sent.join().unwrap();
    }

    #[test]
    fn a_message_that_is_cut_off_or_none_is_an_error() {
        for (bytes, kind) in [
            (&message(1, 10)[..20], io::ErrorKind::UnexpectedEof),
            (&message(1, 0)[..3], io::ErrorKind::UnexpectedEof),
            (&[0; HEADER][..], io::ErrorKind::Other), // a size of 0
            (&[0xFF; HEADER][..], io::ErrorKind::Other),
        ] {
            let (host, card) = UnixStream::pair().unwrap();
            send(&host, bytes, 0);
            drop(host);
            let error = Inbox::new().receive(&card).unwrap_err();
            assert_eq!(error.kind(), kind, "{bytes:?}");
        }
    }
}
