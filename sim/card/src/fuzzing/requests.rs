//! A host that sends anything: it is answered, or loses its connection, and the card lives on.

use std::fs::File;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::bytes::index;
use crate::card::{Card, Config, Region};
use crate::session::Session;
use crate::wire::Inbox;

/// Bytes of the host's memory.
const MEMORY: u64 = 64 << 10;

/// Most bytes of messages, so that a socket takes them all at once.
const MOST: usize = 64 << 10;

const DMA_MAP: u16 = 2;
const SET_IRQS: u16 = 8;

/// Serves one connection. The bytes are what the host has in memory, as a number of pieces, each
/// with its place in two bytes and its length in one; and behind that its messages. DMA_MAP comes
/// with that memory, and SET_IRQS with an event.
///
/// # Panics
/// Where the card does not live on.
pub fn requests(bytes: &[u8]) {
    let memory = memfd_create("fuzzing", MemfdFlags::CLOEXEC).expect("memory is free");
    let memory = File::from(memory);
    memory.set_len(MEMORY).expect("memory is free");
    let messages = fill(&memory, bytes).unwrap_or_default();

    let card = Card::start(Config::default());
    let (mut host, stream) = UnixStream::pair().expect("a socket can be made");
    let messages = &messages[..messages.len().min(MOST)];
    host.write_all(messages).expect("the socket has room");
    host.shutdown(Shutdown::Write).expect("it is connected");
    let mut session = Session::new(&card);
    let mut inbox = Inbox::new();
    // What ends a connection is of no matter to the next one.
    while let Ok(Some(mut message)) = inbox.receive(&stream) {
        match message.command {
            DMA_MAP => message.files.push(clone(&memory)),
            SET_IRQS => message.files.push(event()),
            _ => {}
        }
        let answer = session.handle(&mut message);
        let answered = message.answer(&mut io::sink(), answer);
        answered.expect("a sink takes everything");
        card.attend();
    }
    card.disconnect();
    // The next host finds a card that was reset.
    card.write(Region::Config, 4, &[2, 0])
        .expect("every function has a command register");
    let mut status = [0xFF; 4];
    card.read(Region::Bar0, 0x24, &mut status)
        .expect("every card has a status");
    assert_eq!(status, [0; 4], "CSTS of a card that was reset");
}

/// Puts the pieces into memory; what is behind them.
fn fill<'a>(memory: &File, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (count, mut rest) = bytes.split_first()?;
    for _ in 0..*count {
        let (head, behind) = rest.split_first_chunk::<3>()?;
        let (at, len) = (u16::from_le_bytes([head[0], head[1]]), head[2].into());
        let (piece, behind) = behind.split_at_checked(len)?;
        let inside = index(MEMORY - u64::from(at)).min(len);
        let written = memory.write_all_at(&piece[..inside], at.into());
        written.expect("it is memory");
        rest = behind;
    }
    Some(rest)
}

fn clone(file: &File) -> File {
    file.try_clone().expect("a descriptor is free")
}

fn event() -> File {
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    File::from(event.expect("a descriptor is free"))
}
