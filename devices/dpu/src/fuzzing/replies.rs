//! A server that answers anything: what is asked of it ends, and what is wrong with the answers
//! breaks the connection.

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use unlade_hal::{HostPages, PageSize};

use crate::iova::Iova;
use crate::registers::{BarOffset, CSTS};
use crate::transport::{CardAccess, Transport, TransportError, VfioUser};

/// Most bytes of replies, so that a socket takes them all at once.
const MOST: usize = 64 << 10;

/// Most replies: more than are asked for.
const MOST_REPLIES: usize = 32;

/// Makes every call of the transport, with these bytes for replies: each arrives by itself, with its
/// length in two bytes before it.
///
/// # Panics
/// Where an error other than a refusal leaves the connection in use.
pub fn replies(bytes: &[u8]) {
    // Keeps one reply from the next, which a server sends only when it is asked for it.
    let records = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let pair = socketpair(records.0, records.1, SocketFlags::CLOEXEC, None);
    let (ours, server) = pair.expect("a socket can be made");
    let (ours, mut server) = (UnixStream::from(ours), UnixStream::from(server));
    let mut rest = &bytes[..bytes.len().min(MOST)];
    for _ in 0..MOST_REPLIES {
        let Some((len, behind)) = rest.split_first_chunk() else {
            break;
        };
        let len = usize::from(u16::from_le_bytes(*len)).min(behind.len());
        let (reply, behind) = behind.split_at(len);
        if !reply.is_empty() {
            server.write_all(reply).expect("the socket has room");
        }
        rest = behind;
    }
    server.shutdown(Shutdown::Write).expect("it is connected");
    let Ok(card) = VfioUser::over(ours, Path::new("fuzzing")) else {
        return;
    };
    assert!(card.bar_len() >= 8192);
    let pages = HostPages::map(4096, PageSize::Base).expect("there is memory");
    let mut config = [0; 2];
    let results = [
        card.read32(CSTS).map(drop),
        card.read64(BarOffset(8)).map(drop),
        card.write32(BarOffset(0x1000), 1),
        card.write64(BarOffset(0x30), 1 << 20),
        card.read_config(4, &mut config),
        card.write_config(4, &config),
        card.map(Iova(1 << 20), &pages, CardAccess::Read),
        // Any descriptor will do: nobody looks at it.
        card.set_interrupts(&[server.as_fd()]),
        card.unmap(Iova(1 << 20), pages.len()),
        card.reset(),
    ];
    let mut broken = false;
    for result in results {
        match result {
            // Known without asking.
            Err(TransportError::Unsupported(_)) => {}
            Err(TransportError::Broken) => assert!(broken, "broken without an error"),
            Ok(()) | Err(TransportError::Refused { .. }) => {
                assert!(!broken, "answered after an error");
            }
            Err(_) => assert!(!std::mem::replace(&mut broken, true), "broken twice"),
        }
    }
}
