//! A card on a Unix socket, by the vfio-user protocol.
//!
//! One host at a time has the function, and the end of its connection is a function level reset. A
//! second one that comes meanwhile waits a little, in case the first is about to go, and is then told
//! who that is. The protocol is that of libvfio-user's `docs/vfio-user.rst`, as far as a card needs it.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use crate::card::{Card, Config, Counters};
use crate::peer;
use crate::session::Session;
use crate::wire::Inbox;

/// How long a host waits for the one before it to be gone. A connection that was just closed takes a
/// reset to end.
const GRACE: Duration = Duration::from_secs(1);

/// How long what a host begins with may take to arrive, once it has waited.
const FIRST_MESSAGE: Duration = Duration::from_millis(100);

/// A card that waits for hosts on a socket.
///
/// The socket has permissions 0600, from its first moment on. It is removed with the server.
#[derive(Debug)]
pub struct Server {
    listener: Arc<UnixListener>,
    card: Arc<Card>,
    stopper: Stopper,
}

impl Server {
    /// Starts a card and makes its socket.
    ///
    /// Fails where something is at the path already, or where the socket cannot be made there.
    pub fn bind(path: &Path, config: Config) -> io::Result<Server> {
        Server::bind_card(path, Card::start(config))
    }

    /// As [`bind`](Self::bind), of a card that was started, or a function of one.
    pub fn bind_card(path: &Path, card: Card) -> io::Result<Server> {
        let listener = Arc::new(bind_private(path)?);
        let stopper = Stopper(Arc::new(Control {
            path: path.to_owned(),
            socket: inode(path)?,
            listener: Arc::downgrade(&listener),
            stopped: AtomicBool::new(false),
            connection: Mutex::new(None),
            ended: Condvar::new(),
        }));
        Ok(Server {
            listener,
            card: Arc::new(card),
            stopper,
        })
    }

    /// What ends [`Server::run`] from another thread.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// The card, for its counters.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Serves one connection after the other, until it is stopped. A host that breaks the protocol
    /// loses its connection, and the next one is served; one that comes while another has the card is
    /// refused with EBUSY and the name of that.
    pub fn run(&self) -> io::Result<()> {
        self.run_and_tell(&|_| {})
    }

    /// [`run`](Self::run), which tells of its connections.
    pub fn run_and_tell(&self, tell: &(dyn Fn(Event<'_>) + Sync)) -> io::Result<()> {
        let control = &self.stopper.0;
        thread::scope(|scope| {
            while !control.is_stopped() {
                let stream = match self.listener.accept() {
                    Ok((stream, _)) => stream,
                    Err(_) if control.is_stopped() => break,
                    // Whoever has the card keeps it; there may be descriptors again later.
                    Err(_) if control.is_held() => {
                        thread::sleep(FIRST_MESSAGE);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                match control.await_turn() {
                    Turn::Stopped => break,
                    // What becomes of it is of no matter to the one that has the card.
                    Turn::HeldBy(holder) => {
                        let host = peer::name(&stream);
                        tell(Event::Refused {
                            host: &host,
                            holder: &holder,
                        });
                        drop(refuse(stream, &holder));
                    }
                    Turn::Free => {
                        let host = control.begin(&stream)?;
                        let serve = move || {
                            let _turn = OnesTurn(&self.stopper);
                            tell(Event::Connected { host: &host });
                            // The next one is served all the same.
                            if let Err(error) = serve_connection(&self.card, stream) {
                                tell(Event::Broken(error));
                            }
                            self.card.disconnect();
                            tell(Event::Disconnected { host: &host });
                        };
                        thread::Builder::new().spawn_scoped(scope, serve)?;
                    }
                }
            }
            Ok(())
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopper.remove_socket();
    }
}

/// What happens to the connections of a server. Hosts are named by process id and command, as
/// `pid 17 unlade`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A host has the card.
    Connected {
        /// Who.
        host: &'a str,
    },
    /// A host is told that another has the card.
    Refused {
        /// Who.
        host: &'a str,
        /// Who has it.
        holder: &'a str,
    },
    /// A connection is ended here, for this reason.
    Broken(io::Error),
    /// A host has the card no longer, which has been reset.
    Disconnected {
        /// Who.
        host: &'a str,
    },
}

/// Ends a server, whatever it does.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Control>);

impl Stopper {
    /// Removes the socket, as the end of the server does: for a process that is about to end without
    /// it.
    pub fn remove_socket(&self) {
        let Control { path, socket, .. } = &*self.0;
        // Somebody may have removed it, and put another there.
        if inode(path).is_ok_and(|found| found == *socket) {
            let _ = fs::remove_file(path);
        }
    }

    /// Closes the connection that is served, if there is one, and lets [`Server::run`] return.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        if let Some(connection) = self.0.connection().as_ref() {
            // It may have ended by itself.
            let _ = connection.stream.shutdown(std::net::Shutdown::Both);
        }
        self.0.ended.notify_all();
        if let Some(listener) = self.0.listener.upgrade() {
            // Wakes a server that waits for a connection, whatever has become of its path.
            let _ = shutdown(&listener, Shutdown::Both);
        }
    }
}

#[derive(Debug)]
struct Control {
    path: PathBuf,
    /// Device and inode of the socket.
    socket: (u64, u64),
    /// Gone with the server, so that a stopper that is left does not keep the socket open.
    listener: Weak<UnixListener>,
    stopped: AtomicBool,
    connection: Mutex<Option<Connection>>,
    /// Signalled when the connection has ended, or the server is stopped.
    ended: Condvar,
}

/// The connection that is served.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    /// Who is at its other end.
    host: String,
}

/// Ends the turn of the connection that is served, when this is dropped; and the server, where that
/// is because of a panic: whoever runs it is to see that.
#[derive(Debug)]
struct OnesTurn<'a>(&'a Stopper);

impl Drop for OnesTurn<'_> {
    fn drop(&mut self) {
        self.0.0.end();
        if thread::panicking() {
            self.0.stop();
        }
    }
}

/// What a host finds that has connected.
#[derive(Debug)]
enum Turn {
    /// Nobody has the card.
    Free,
    /// Somebody else has it.
    HeldBy(String),
    /// Nobody is served any more.
    Stopped,
}

impl Control {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn is_held(&self) -> bool {
        self.connection().is_some()
    }

    fn await_turn(&self) -> Turn {
        let is_held = |connection: &mut Option<_>| connection.is_some() && !self.is_stopped();
        let waited = self
            .ended
            .wait_timeout_while(self.connection(), GRACE, is_held);
        let (connection, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match &*connection {
            _ if self.is_stopped() => Turn::Stopped,
            Some(connection) => Turn::HeldBy(connection.host.clone()),
            None => Turn::Free,
        }
    }

    /// Notes who is served from now on; the name of that.
    fn begin(&self, stream: &UnixStream) -> io::Result<String> {
        let host = peer::name(stream);
        *self.connection() = Some(Connection {
            stream: stream.try_clone()?,
            host: host.clone(),
        });
        // After it is stored: whoever stops now either sees it or is seen here.
        if self.is_stopped() {
            stream.shutdown(std::net::Shutdown::Both)?;
        }
        Ok(host)
    }

    fn end(&self) {
        *self.connection() = None;
        self.ended.notify_all();
    }

    fn connection(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers the first message of a host, which has arrived by now, by saying who has the card.
fn refuse(mut stream: UnixStream, holder: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(FIRST_MESSAGE))?;
    stream.set_write_timeout(Some(FIRST_MESSAGE))?;
    match Inbox::new().receive_at_once(&stream)? {
        Some(message) => message.refuse(&mut stream, Errno::BUSY, holder),
        None => Ok(()),
    }
}

fn serve_connection(card: &Card, mut stream: UnixStream) -> io::Result<()> {
    let mut session = Session::new(card);
    let mut inbox = Inbox::new();
    while let Some(mut message) = inbox.receive(&stream)? {
        let answer = session.handle(&mut message);
        message.answer(&mut stream, answer)?;
        card.attend();
    }
    Ok(())
}

/// A socket that nobody else can open: it is made in a directory of its own and moved out when its
/// permissions are right.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let exists = || {
        let advice = "remove it, or name another socket";
        let text = format!("{} exists; {advice}", path.display());
        io::Error::new(io::ErrorKind::AlreadyExists, text)
    };
    if path.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let beside = path.parent().unwrap_or(Path::new("")).to_owned();
    // What is too long for the system would be found out by those who connect.
    SocketAddr::from_pathname(path)?;
    let private = private_directory(&beside)?;
    let made = private.join("s");
    let bound = bind_in(&private).and_then(|listener| {
        fs::set_permissions(&made, fs::Permissions::from_mode(0o600))?;
        // Not renamed, which would replace what another has put there meanwhile.
        fs::hard_link(&made, path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(),
            _ => error,
        })?;
        Ok(listener)
    });
    // Neither needs a descriptor, of which there may be none left.
    let _none_where_it_failed = fs::remove_file(&made);
    let removed = fs::remove_dir(&private);
    let listener = bound?;
    removed?;
    Ok(listener)
}

/// Makes the socket `s` in a directory, whose path may be longer than that of a socket.
fn bind_in(directory: &Path) -> io::Result<UnixListener> {
    let directory = fs::File::open(directory)?;
    UnixListener::bind(format!("/proc/self/fd/{}/s", directory.as_raw_fd()))
}

/// What tells one file from another at the same path.
fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// A new directory that only this user can enter.
fn private_directory(parent: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!(".unlade-card-{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            // Left by another process that had this number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// A card that is served by a thread of this process, on a socket in a directory of its own. When
/// it is dropped, the connection is closed, and thread, card, socket and directory are gone.
///
/// ```
/// use unlade_sim_card::{Config, Served};
///
/// let card = Served::start(Config::default())?;
/// let host = std::os::unix::net::UnixStream::connect(card.path())?;
/// assert_eq!(card.counters().jobs_succeeded, 0);
/// # drop(host);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Served {
    directory: PathBuf,
    path: PathBuf,
    card: Arc<Card>,
    stopper: Stopper,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Served {
    /// Starts a card and serves it. Fails where the socket cannot be made in the directory for
    /// temporary files.
    pub fn start(config: Config) -> io::Result<Served> {
        Served::of(Card::start(config))
    }

    /// As [`start`](Self::start), of a card that was started, or a function of one.
    pub fn of(card: Card) -> io::Result<Served> {
        let directory = private_directory(&std::env::temp_dir())?;
        let path = directory.join("card.sock");
        let server = Server::bind_card(&path, card).inspect_err(|_| {
            // The first error is the one to tell of.
            let _ = fs::remove_dir(&directory);
        })?;
        let (card, stopper) = (Arc::clone(&server.card), server.stopper());
        let thread = Some(thread::spawn(move || server.run()));
        Ok(Served {
            directory,
            path,
            card,
            stopper,
            thread,
        })
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the socket and its directory away. Who is connected stays so, and nobody else comes:
    /// for a card that is used by its own process, and ends with it.
    pub fn hide(&self) {
        // What cannot be removed stays until this is dropped.
        self.stopper.remove_socket();
        let _ = fs::remove_dir(&self.directory);
    }

    /// The card, to look at it or to remove it.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// What the card has done so far.
    pub fn counters(&self) -> Counters {
        self.card.counters()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // What it ended with is of no matter any more.
            let _ = thread.join();
        }
        let _ = fs::remove_dir(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_socket_has_any_path_that_hosts_can_name() {
        const LONGEST: usize = 107;
        let directory = private_directory(&std::env::temp_dir()).unwrap();
        let fill = LONGEST - directory.as_os_str().len() - "//s".len();
        let inner = directory.join("x".repeat(fill));
        fs::create_dir(&inner).unwrap();
        let path = inner.join("s");
        assert_eq!(path.as_os_str().len(), LONGEST);
        let server = Server::bind(&path, Config::default()).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        let longer = Server::bind(&inner.join("ss"), Config::default()).unwrap_err();
        assert_eq!(longer.kind(), io::ErrorKind::InvalidInput, "{longer}");
        drop(server);
        // Nothing is left in it.
        fs::remove_dir(inner).unwrap();
        fs::remove_dir(directory).unwrap();
    }

    #[test]
    fn it_is_told_who_comes_and_goes() {
        let directory = private_directory(&std::env::temp_dir()).unwrap();
        let path = directory.join("card.sock");
        let server = Server::bind(&path, Config::default()).unwrap();
        let stopper = server.stopper();
        let (sender, told) = std::sync::mpsc::channel();
        let sender = Mutex::new(sender);
        let served = thread::spawn(move || {
            server.run_and_tell(&|event| {
                let kind = match event {
                    Event::Connected { host } => format!("{host} comes"),
                    Event::Refused { host, holder } => format!("{host} finds {holder}"),
                    Event::Broken(_) => "it is broken".to_owned(),
                    Event::Disconnected { host } => format!("{host} goes"),
                };
                sender.lock().unwrap().send(kind).unwrap();
            })
        });
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        let own = format!("pid {} {}", std::process::id(), own.trim_end());
        let next = || told.recv_timeout(Duration::from_secs(30)).unwrap();
        let first = UnixStream::connect(&path).unwrap();
        assert_eq!(next(), format!("{own} comes"));
        let _second = UnixStream::connect(&path).unwrap();
        assert_eq!(next(), format!("{own} finds {own}"));
        drop(first);
        assert_eq!(next(), format!("{own} goes"));
        let mut third = UnixStream::connect(&path).unwrap();
        assert_eq!(next(), format!("{own} comes"));
        third.write_all(&[0; 16]).unwrap(); // a message of no bytes
        assert_eq!(next(), "it is broken");
        assert_eq!(next(), format!("{own} goes"));
        stopper.stop();
        served.join().unwrap().unwrap();
        fs::remove_dir(directory).unwrap();
    }

    /// A card that panics is not one that others wait for in vain.
    #[test]
    fn a_panic_ends_the_server_and_is_seen() {
        let directory = private_directory(&std::env::temp_dir()).unwrap();
        let path = directory.join("card.sock");
        let server = Server::bind(&path, Config::default()).unwrap();
        let served = thread::spawn(move || {
            // What tells of an error runs where one is served.
            server.run_and_tell(&|event| {
                if let Event::Broken(error) = event {
                    panic!("{error}");
                }
            })
        });
        let mut host = UnixStream::connect(&path).unwrap();
        host.write_all(&[0; 16]).unwrap(); // a message of no bytes
        assert!(served.join().is_err());
        assert!(!path.exists());
        fs::remove_dir(directory).unwrap();
    }
}
