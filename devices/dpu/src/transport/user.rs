//! A card behind a socket: a client of the vfio-user protocol, version 0.x.
//!
//! One request is under way at a time. Any error but a refusal leaves the stream in an unknown
//! place, so it breaks the connection for good.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, recvmsg, send, sendmsg, socket_with,
};
use unlade_hal::HostPages;

use super::message::{self, BadReply, Command, DeviceInfo, HEADER, RegionInfo};
use super::peer::Peer;
use super::{CardAccess, Transport, TransportError};
use crate::fields::printable;
use crate::iova::Iova;
use crate::registers::BarOffset;

/// How long a card at a socket may take to reply.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Replies that come within this are no sign of anything.
const PROMPT: Duration = Duration::from_millis(100);

/// How much later than that all replies of a connection may come together: opening a card takes a
/// hundred of them, and who is late with each would have it take minutes.
const PATIENCE: Duration = Duration::from_secs(20);

/// EBUSY of Linux.
const BUSY: u32 = Errno::BUSY.raw_os_error().cast_unsigned();

/// Regions and interrupts of PCI devices, as VFIO numbers them.
const BAR0: u32 = 0;
const CONFIG: u32 = 7;
const MSIX: u32 = 2;

/// BAR0 has at least the registers and a page of doorbells.
const LEAST_BAR: u64 = 8 << 10;

/// Most bytes that Linux takes as the path of a socket.
const LONGEST_PATH: usize = 107;

/// Most virtual functions whose sockets are looked for beside that of a card.
const MOST_FUNCTIONS: u32 = 64;

/// Most bytes of one access to a region.
const MAX_ACCESS: usize = 4096;

/// A connection to a card that is served over a socket.
#[derive(Debug)]
pub struct VfioUser {
    path: PathBuf,
    connection: Mutex<Connection>,
    bar_len: u64,
    vectors: u32,
    can_reset: bool,
    /// Who serves it, where that can be told, and who has before, on the ways in whose place this one came
    /// or that came in its own: those of them that may still run.
    servers: Arc<Mutex<Vec<Peer>>>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    /// How long a reply is waited for.
    timeout: Duration,
    /// What is left of [`PATIENCE`].
    patience: Duration,
    next_id: u16,
    broken: bool,
}

impl VfioUser {
    /// Connects to the socket at a path and looks at what is behind it.
    ///
    /// # Errors
    /// [`TransportError::Os`] where there is nobody, [`TransportError::OnlyFunctions`] where there are the
    /// sockets of its virtual functions beside it, as `unlade card --functions` names them; else what is
    /// wrong with what is there.
    pub fn connect(path: &Path) -> Result<Self, TransportError> {
        let connected = connect(path, TIMEOUT);
        let stream = connected.map_err(|error| match error {
            TransportError::Os { .. } => {
                let other = something_else(path).or_else(|| functions_beside(path));
                other.unwrap_or(error)
            }
            other => other,
        })?;
        VfioUser::over(stream, path)
    }

    /// Looks at what is behind a connection to a path.
    pub(crate) fn over(stream: UnixStream, path: &Path) -> Result<Self, TransportError> {
        let servers: Vec<Peer> = Peer::of(&stream).into_iter().collect();
        let mut connection = Connection::new(stream, TIMEOUT)?;
        connection.negotiate()?;
        let info = connection.device_info()?;
        if info.regions <= CONFIG || info.irqs <= MSIX {
            return Err(TransportError::Lacks(format!(
                "has {} regions and {} kinds of interrupts; a PCI function has more",
                info.regions, info.irqs
            )));
        }
        let bar = connection.region_info(BAR0)?;
        let config = connection.region_info(CONFIG)?;
        if !bar.is_usable() || bar.size < LEAST_BAR || !config.is_usable() || config.size < 256 {
            return Err(TransportError::Lacks(format!(
                "has a BAR0 of {} bytes and a configuration space of {} that can be used; a card \
                 has {LEAST_BAR} and 256 or more",
                bar.size, config.size
            )));
        }
        let vectors = connection.irq_count(MSIX)?;
        Ok(VfioUser {
            path: path.to_owned(),
            connection: Mutex::new(connection),
            bar_len: bar.size,
            vectors,
            can_reset: info.can_reset(),
            servers: Arc::new(Mutex::new(servers)),
        })
    }

    fn servers(&self) -> MutexGuard<'_, Vec<Peer>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, region: u32, at: u64, bytes: &mut [u8]) -> Result<(), TransportError> {
        for (at, part) in (at..).step_by(MAX_ACCESS).zip(bytes.chunks_mut(MAX_ACCESS)) {
            self.connection().region_read(region, at, part)?;
        }
        Ok(())
    }

    fn write(&self, region: u32, at: u64, bytes: &[u8]) -> Result<(), TransportError> {
        for (at, part) in (at..).step_by(MAX_ACCESS).zip(bytes.chunks(MAX_ACCESS)) {
            self.connection().region_write(region, at, part)?;
        }
        Ok(())
    }
}

impl Transport for VfioUser {
    fn address(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    fn bar_len(&self) -> u64 {
        self.bar_len
    }

    fn read32(&self, at: BarOffset) -> Result<u32, TransportError> {
        let mut bytes = [0; 4];
        self.read(BAR0, at.0, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn read64(&self, at: BarOffset) -> Result<u64, TransportError> {
        let mut bytes = [0; 8];
        self.read(BAR0, at.0, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write32(&self, at: BarOffset, value: u32) -> Result<(), TransportError> {
        self.write(BAR0, at.0, &value.to_le_bytes())
    }

    fn ring(&self, at: BarOffset, value: u32) -> Result<(), TransportError> {
        let body = write_body(BAR0, at.0, &value.to_le_bytes());
        self.connection()
            .post(Command::RegionWrite, "REGION_WRITE", &body)
    }

    fn write64(&self, at: BarOffset, value: u64) -> Result<(), TransportError> {
        self.write(BAR0, at.0, &value.to_le_bytes())
    }

    fn read_config(&self, at: u16, bytes: &mut [u8]) -> Result<(), TransportError> {
        self.read(CONFIG, u64::from(at), bytes)
    }

    fn write_config(&self, at: u16, bytes: &[u8]) -> Result<(), TransportError> {
        self.write(CONFIG, u64::from(at), bytes)
    }

    fn map(&self, iova: Iova, pages: &HostPages, access: CardAccess) -> Result<(), TransportError> {
        let file = pages.file().ok_or(TransportError::Unsupported(
            "the mapping of memory without a file",
        ))?;
        let flags = match access {
            CardAccess::Read => 1,
            CardAccess::Write => 2,
            CardAccess::ReadWrite => 3,
        };
        let body = message::dma_map(flags, 0, iova.0, pages.len());
        self.connection()
            .call(Command::DmaMap, "DMA_MAP", &body, Some(file), 0)?;
        Ok(())
    }

    fn unmap(&self, iova: Iova, len: u64) -> Result<(), TransportError> {
        const WHAT: &str = "DMA_UNMAP";
        let body = message::dma_unmap(iova.0, len);
        let mut connection = self.connection();
        let reply =
            connection.call(Command::DmaUnmap, WHAT, &body, None, message::DMA_UNMAP_LEN)?;
        let checked = message::check_unmapped(&reply, iova.0, len);
        checked.map_err(|reply| connection.bad(WHAT, reply))
    }

    fn vectors(&self) -> u32 {
        self.vectors
    }

    /// One message for each: a server need not take more than one descriptor at a time.
    fn set_interrupts(&self, events: &[BorrowedFd<'_>]) -> Result<(), TransportError> {
        let mut connection = self.connection();
        for (vector, event) in (0..).zip(events) {
            let body = message::set_irq_event(MSIX, vector);
            connection.call(Command::DeviceSetIrqs, "SET_IRQS", &body, Some(*event), 0)?;
        }
        Ok(())
    }

    fn reset(&self) -> Result<(), TransportError> {
        if !self.can_reset {
            return Err(TransportError::Unsupported("a function level reset"));
        }
        let mut connection = self.connection();
        connection.call(Command::DeviceReset, "DEVICE_RESET", &[], None, 0)?;
        Ok(())
    }

    /// Who serves one connection at a time has ended the one before when it takes the next, and with
    /// it what was mapped. Another process says nothing of that, as long as any before it runs: one of a
    /// way that came to nothing may have memory, too.
    fn renew(&self) -> Result<Arc<dyn Transport>, TransportError> {
        let renewed = VfioUser::connect(&self.path)?;
        let now = renewed.servers().pop();
        let mut servers = self.servers();
        servers.retain(|before| !before.has_ended());
        let is_now = |before: &Peer| now.as_ref().map(Peer::id) == Some(before.id());
        if let Some(before) = servers.iter().find(|before| !is_now(before)) {
            renewed.close();
            return Err(TransportError::OtherServer(before.id()));
        }
        if servers.is_empty() {
            servers.extend(now);
        }
        Ok(Arc::new(VfioUser {
            servers: Arc::clone(&self.servers),
            ..renewed
        }))
    }

    fn close(&self) {
        let mut connection = self.connection();
        connection.broken = true;
        // Whether the other side is still there does not matter any more.
        let _gone = connection.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// What there is where a socket was looked for, if that is none.
fn something_else(path: &Path) -> Option<TransportError> {
    let found = path.metadata().ok()?.file_type();
    let what = match found {
        _ if found.is_socket() => return None,
        _ if found.is_dir() => "a folder",
        _ => "a file",
    };
    Some(TransportError::NoSocket { what })
}

/// The error that names the sockets of virtual functions, if there are any beside a path.
fn functions_beside(path: &Path) -> Option<TransportError> {
    let is_socket = |path: &PathBuf| {
        let found = path.metadata();
        found.is_ok_and(|found| found.file_type().is_socket())
    };
    let numbered = (1..=MOST_FUNCTIONS).map(|number| {
        let mut socket = path.as_os_str().to_owned();
        socket.push(format!(".{number}"));
        PathBuf::from(socket)
    });
    let found: Vec<PathBuf> = numbered.filter(is_socket).collect();
    let shown = |path: &PathBuf| path.display().to_string();
    Some(TransportError::OnlyFunctions {
        first: found.first().map(shown)?,
        last: found.last().map(shown)?,
    })
}

/// Connects to the socket at a path, within a time: who does not take connections may have a queue of
/// them that is full.
fn connect(path: &Path, within: Duration) -> Result<UnixStream, TransportError> {
    let failed = |error: Errno| os("connect")(error.into());
    let bytes = path.as_os_str().len();
    if bytes > LONGEST_PATH {
        let most = LONGEST_PATH;
        return Err(TransportError::LongPath { bytes, most });
    }
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    );
    let socket = socket.map_err(failed)?;
    set_socket_timeout(&socket, Timeout::Send, Some(within)).map_err(failed)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => Ok(socket.into()),
        Err(Errno::AGAIN) => Err(TransportError::TimedOut {
            what: "a connection",
            after: within,
        }),
        Err(error) => Err(failed(error)),
    }
}

impl Connection {
    fn new(stream: UnixStream, timeout: Duration) -> Result<Self, TransportError> {
        stream
            .set_read_timeout(Some(timeout))
            .and_then(|()| stream.set_write_timeout(Some(timeout)))
            .map_err(os("setsockopt"))?;
        Ok(Connection {
            stream,
            timeout,
            patience: PATIENCE,
            next_id: 0,
            broken: false,
        })
    }

    fn negotiate(&mut self) -> Result<(), TransportError> {
        const WHAT: &str = "VERSION";
        let reply = self.call(Command::Version, WHAT, &message::version(), None, 4)?;
        message::check_version(&reply).map_err(|reply| self.bad(WHAT, reply))
    }

    fn device_info(&mut self) -> Result<DeviceInfo, TransportError> {
        const WHAT: &str = "DEVICE_GET_INFO";
        let body = DeviceInfo::request();
        let reply = self.call(Command::DeviceGetInfo, WHAT, &body, None, DeviceInfo::LEN)?;
        DeviceInfo::decode(&reply).map_err(|reply| self.bad(WHAT, reply))
    }

    fn region_info(&mut self, region: u32) -> Result<RegionInfo, TransportError> {
        const WHAT: &str = "DEVICE_GET_REGION_INFO";
        let body = RegionInfo::request(region);
        let command = Command::DeviceGetRegionInfo;
        let reply = self.call(command, WHAT, &body, None, RegionInfo::LEN)?;
        RegionInfo::decode(&reply, region).map_err(|reply| self.bad(WHAT, reply))
    }

    fn irq_count(&mut self, index: u32) -> Result<u32, TransportError> {
        const WHAT: &str = "DEVICE_GET_IRQ_INFO";
        let body = message::irq_info(index);
        let command = Command::DeviceGetIrqInfo;
        let reply = self.call(command, WHAT, &body, None, message::IRQ_INFO_LEN)?;
        message::irq_count(&reply, index).map_err(|reply| self.bad(WHAT, reply))
    }

    fn region_read(&mut self, region: u32, at: u64, to: &mut [u8]) -> Result<(), TransportError> {
        const WHAT: &str = "REGION_READ";
        let count = access_len(to.len());
        let body = message::region_access(region, at, count);
        let least = message::REGION_ACCESS + to.len();
        let reply = self.call(Command::RegionRead, WHAT, &body, None, least)?;
        match message::accessed(&reply, region, at, count) {
            Ok(data) if data.len() == to.len() => {
                to.copy_from_slice(data);
                Ok(())
            }
            Ok(data) => {
                let found = data.len();
                let (least, most) = (to.len(), to.len());
                Err(self.bad(WHAT, BadReply::Length { least, most, found }))
            }
            Err(reply) => Err(self.bad(WHAT, reply)),
        }
    }

    fn region_write(&mut self, region: u32, at: u64, from: &[u8]) -> Result<(), TransportError> {
        const WHAT: &str = "REGION_WRITE";
        let count = access_len(from.len());
        let body = write_body(region, at, from);
        let least = message::REGION_ACCESS;
        let reply = self.call(Command::RegionWrite, WHAT, &body, None, least)?;
        let checked = message::accessed(&reply, region, at, count).map(drop);
        checked.map_err(|reply| self.bad(WHAT, reply))
    }

    /// Sends a command that has no reply.
    fn post(
        &mut self,
        command: Command,
        what: &'static str,
        body: &[u8],
    ) -> Result<(), TransportError> {
        if self.broken {
            return Err(TransportError::Broken);
        }
        let id = self.take_id();
        let sent = self.send(&message::posted(id, command, body), None, what);
        self.broken |= sent.is_err();
        sent
    }

    /// Sends a command and waits for its reply, of which it returns the body: at least so many
    /// bytes.
    fn call(
        &mut self,
        command: Command,
        what: &'static str,
        body: &[u8],
        file: Option<BorrowedFd<'_>>,
        least: usize,
    ) -> Result<Vec<u8>, TransportError> {
        if self.broken {
            return Err(TransportError::Broken);
        }
        let called = self.call_unbroken(command, what, body, file, least);
        self.broken |= called
            .as_ref()
            .is_err_and(|error| !matches!(error, TransportError::Refused { .. }));
        called
    }

    fn call_unbroken(
        &mut self,
        command: Command,
        what: &'static str,
        body: &[u8],
        file: Option<BorrowedFd<'_>>,
        least: usize,
    ) -> Result<Vec<u8>, TransportError> {
        let id = self.take_id();
        let begun = Instant::now();
        let deadline = begun + self.timeout;
        self.send(&message::request(id, command, body), file, what)?;

        let bad = |reply| TransportError::BadReply { what, reply };
        let mut received = vec![0; HEADER + least.max(64)];
        let mut filled = self.receive(&mut received, HEADER, what, deadline)?;
        let header = received[..HEADER].try_into().expect("the header's length");
        let reply = message::reply(header, id, command, least..=message::MAX_BODY).map_err(bad)?;
        if filled > reply.len {
            return Err(bad(BadReply::Length {
                least: reply.len,
                most: reply.len,
                found: filled,
            }));
        }
        received.resize(reply.len, 0);
        if filled < reply.len {
            let missing = reply.len - filled;
            filled += self.receive(&mut received[filled..], missing, what, deadline)?;
        }
        debug_assert_eq!(filled, reply.len);
        self.wait_for(begun.elapsed())?;
        match reply.refused {
            // Who serves one at a time says so to the first command, and may say who that is.
            Some(number) if command == Command::Version && number == BUSY => {
                let holder = printable(&received[HEADER..]);
                Err(TransportError::InUse {
                    holder: match holder.is_empty() {
                        true => "somebody else".to_owned(),
                        false => holder,
                    },
                })
            }
            Some(number) => Err(TransportError::Refused { what, number }),
            None => Ok(received.split_off(HEADER)),
        }
    }

    /// Takes note of a reply that took so long.
    fn wait_for(&mut self, took: Duration) -> Result<(), TransportError> {
        let late = took.saturating_sub(PROMPT);
        self.patience = self
            .patience
            .checked_sub(late)
            .ok_or(TransportError::Slow { waited: PATIENCE })?;
        Ok(())
    }

    fn take_id(&mut self) -> u16 {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        id
    }

    /// Sends all of a message, the descriptor with its first byte.
    fn send(
        &mut self,
        bytes: &[u8],
        file: Option<BorrowedFd<'_>>,
        what: &'static str,
    ) -> Result<(), TransportError> {
        let mut sent = 0;
        while sent < bytes.len() {
            let (stream, rest) = (self.stream.as_fd(), &bytes[sent..]);
            let count = match file {
                Some(file) if sent == 0 => send_with(stream, rest, file),
                _ => send(stream, rest, SendFlags::NOSIGNAL),
            };
            match count {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.failed("send", what, error)),
            }
        }
        Ok(())
    }

    /// Fills at least the first bytes of a buffer, and says how many it has filled. Descriptors
    /// that come along are closed.
    fn receive(
        &mut self,
        buffer: &mut [u8],
        least: usize,
        what: &'static str,
        deadline: Instant,
    ) -> Result<usize, TransportError> {
        let mut filled = 0;
        while filled < least {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut part = [IoSliceMut::new(&mut buffer[filled..])];
            let stream = self.stream.as_fd();
            match recvmsg(stream, &mut part, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) if received.bytes == 0 => return Err(TransportError::Closed),
                Ok(received) => filled += received.bytes,
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.failed("recvmsg", what, error)),
            }
            if filled < least && Instant::now() >= deadline {
                let after = self.timeout;
                return Err(TransportError::TimedOut { what, after });
            }
        }
        Ok(filled)
    }

    fn failed(&self, call: &'static str, what: &'static str, error: Errno) -> TransportError {
        match error {
            Errno::AGAIN => TransportError::TimedOut {
                what,
                after: self.timeout,
            },
            Errno::PIPE | Errno::CONNRESET => TransportError::Closed,
            other => os(call)(other.into()),
        }
    }

    /// The error of a reply that is wrong, which breaks the connection.
    fn bad(&mut self, what: &'static str, reply: BadReply) -> TransportError {
        self.broken = true;
        TransportError::BadReply { what, reply }
    }
}

/// Sends the beginning of a message, and a descriptor with it. Gives how many bytes were sent.
fn send_with(
    stream: BorrowedFd<'_>,
    bytes: &[u8],
    file: BorrowedFd<'_>,
) -> rustix::io::Result<usize> {
    let files = [file];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fits = ancillary.push(SendAncillaryMessage::ScmRights(&files));
    assert!(fits, "there is space for one descriptor");
    sendmsg(
        stream,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )
}

fn write_body(region: u32, at: u64, from: &[u8]) -> Vec<u8> {
    let mut body = message::region_access(region, at, access_len(from.len()));
    body.extend_from_slice(from);
    body
}

fn access_len(len: usize) -> u32 {
    u32::try_from(len).expect("accesses have at most 4 KiB")
}

fn os(call: &'static str) -> impl Fn(io::Error) -> TransportError {
    move |error| TransportError::Os {
        call,
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
