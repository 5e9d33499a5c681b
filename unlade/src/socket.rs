//! Local sockets of this user's: made with their permissions, taken over from processes that were
//! killed, gone with who made them.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, shutdown, socket_with,
};

/// Most bytes that Linux takes as the path of a socket.
const LONGEST: usize = 107;

/// A socket that only this user can open. Its path is removed with it.
#[derive(Debug)]
pub(crate) struct PrivateSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl PrivateSocket {
    /// Makes it, in the place of one that a killed process left; it has permissions 0600 from its
    /// first moment on.
    ///
    /// # Errors
    /// In words that name the path: it is too long, something is there, or it cannot be made.
    pub(crate) fn bind(path: &Path) -> Result<Self, String> {
        check_path(path)?;
        remove_left_behind(path)?;
        let bind = || {
            let listener = bind_private(path)?;
            let identity = identity(path)?;
            Ok(PrivateSocket {
                listener,
                path: path.to_owned(),
                identity,
            })
        };
        bind().map_err(|error: io::Error| not_made(path, &error))
    }

    /// Waits for somebody to connect.
    ///
    /// # Errors
    /// Once it was [closed](Self::close), and where the system has no room.
    pub(crate) fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().map(|(stream, _)| stream)
    }

    /// Wakes who waits in [`accept`](Self::accept). Nobody can connect any more.
    pub(crate) fn close(&self) {
        // Where it is closed already there is nothing to do.
        let _ = shutdown(&self.listener, Shutdown::Both);
        self.remove();
    }

    /// Removes its path, if it is still there.
    pub(crate) fn remove(&self) {
        // Somebody may have removed it, and put another there.
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for PrivateSocket {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Whether a socket can have a path: what is too long for the system would be found out by those who
/// connect.
///
/// ```
/// let long = format!("/run/{}", "x".repeat(120));
/// let error = unlade::socket::check_path(long.as_ref()).unwrap_err();
/// assert!(error.contains("107 bytes at most"), "{error}");
/// assert_eq!(unlade::socket::check_path("card.sock".as_ref()), Ok(()));
/// ```
///
/// # Errors
/// In words that name the path and how long one may be.
pub fn check_path(socket: &Path) -> Result<(), String> {
    let shown = socket.display();
    match (SocketAddr::from_pathname(socket), socket.as_os_str().len()) {
        (_, 0) => Err("the path of the socket is empty; name a file".to_owned()),
        (Ok(_), _) => Ok(()),
        (Err(_), bytes) if bytes > LONGEST => Err(format!(
            "{shown}: this path has {bytes} bytes, and that of a socket has {LONGEST} bytes at most; \
             name a shorter one, such as one from the working directory"
        )),
        (Err(error), _) => Err(format!("{shown}: {error}")),
    }
}

/// Why a socket was not made, in words that name its path and say what to do.
///
/// ```
/// use std::io::ErrorKind;
///
/// let why = unlade::socket::not_made("/nowhere/s".as_ref(), &ErrorKind::NotFound.into());
/// assert!(why.contains("no folder /nowhere"), "{why}");
/// ```
pub fn not_made(socket: &Path, error: &io::Error) -> String {
    let shown = socket.display();
    match (error.kind(), socket.parent()) {
        (ErrorKind::AlreadyExists, _) => {
            format!("{shown} exists; remove it, or name another socket")
        }
        (ErrorKind::NotFound, Some(folder)) if folder != "" && !folder.exists() => format!(
            "{shown}: cannot make a socket: there is no folder {}; make that, or name another socket",
            folder.display()
        ),
        (ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem, _) => {
            format!("{shown}: cannot make a socket: {error}; name one in a folder of your own")
        }
        _ => format!("{shown}: cannot make a socket: {error}"),
    }
}

/// Removes a socket that a process left which was killed: nobody listens at it any more. Of several
/// who do so at once none removes what another has made meanwhile: it is taken aside first. Anything
/// else that is there stays.
///
/// # Errors
/// In words that name the path: somebody listens there, or it cannot be removed.
pub fn remove_left_behind(socket: &Path) -> Result<(), String> {
    let is_socket = fs::symlink_metadata(socket).is_ok_and(|it| it.file_type().is_socket());
    if !is_socket {
        return Ok(()); // whether there may be anything else is decided where it is made
    }
    let shown = socket.display();
    let in_use = || format!("{shown} is in use: a process listens there; name another socket");
    match listens(socket) {
        Ok(true) => return Err(in_use()),
        Ok(false) => {}
        Err(error) => {
            return Err(format!(
                "{shown} exists and cannot be looked into: {error}; name another socket"
            ));
        }
    }
    let stuck = |error: io::Error| {
        format!("{shown}: a process that was killed left it, and it cannot be removed: {error}")
    };
    let aside = Aside::of(socket).map_err(stuck)?;
    match fs::rename(socket, aside.path()) {
        Ok(()) => {}
        // Another has, and makes its own.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(stuck(error)),
    }
    let came_meanwhile = listens(&aside.way()).map_err(stuck)?;
    if came_meanwhile {
        fs::hard_link(aside.path(), socket).map_err(stuck)?;
    }
    aside.remove().map_err(stuck)?;
    match came_meanwhile {
        true => Err(in_use()),
        false => Ok(()),
    }
}

/// Whether a process listens at a socket.
fn listens(socket: &Path) -> io::Result<bool> {
    match connect(socket) {
        Ok(_) => Ok(true),
        // More wait than it takes.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

/// Connects to a socket, and waits for nobody: where more wait already than its process takes, the error
/// is [`ErrorKind::WouldBlock`].
pub(crate) fn connect(socket: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&stream, &SocketAddrUnix::new(socket)?)?;
    let stream = UnixStream::from(stream);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A socket that nobody else can open: it is made in a directory of its own and moved out when its
/// permissions are right.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let aside = Aside::of(path)?;
    let bound = UnixListener::bind(aside.way()).and_then(|listener| {
        fs::set_permissions(aside.path(), fs::Permissions::from_mode(0o600))?;
        // Not renamed, which would replace what another has put there meanwhile.
        fs::hard_link(aside.path(), path)?;
        Ok(listener)
    });
    let removed = aside.remove();
    let listener = bound?;
    removed?;
    Ok(listener)
}

/// What tells one file from another at the same path.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// A place for a socket in a new directory beside it, which only this user can enter; it is gone when
/// this is dropped.
#[derive(Debug)]
struct Aside {
    directory: PathBuf,
    opened: fs::File,
}

/// What the socket is called there.
const NAME: &str = "s";

impl Aside {
    fn of(socket: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let parent = socket.parent().unwrap_or(Path::new(""));
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let directory = parent.join(format!(".unlade-socket-{}-{number}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => {}
                // Left by another process that had this number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            let opened = fs::File::open(&directory).inspect_err(|_| {
                // Nothing is in it.
                let _ = fs::remove_dir(&directory);
            })?;
            return Ok(Aside { directory, opened });
        }
    }

    /// Where it is, for calls that take any path.
    fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// The way there for calls that take the path of a socket, for which the other may be too long.
    fn way(&self) -> PathBuf {
        format!("/proc/self/fd/{}/{NAME}", self.opened.as_raw_fd()).into()
    }

    /// Removes it with what is there.
    fn remove(self) -> io::Result<()> {
        match fs::remove_file(self.path()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => fs::remove_dir(&self.directory),
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // It may have been removed; what is still in it stays, to be found.
        let _ = fs::remove_dir(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder in which the path of a file of one letter is as long as that of a socket may be.
    fn deep() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let fill = LONGEST - folder.path().as_os_str().len() - "//s".len();
        let inner = folder.path().join("x".repeat(fill));
        fs::create_dir(&inner).unwrap();
        let path = inner.join("s");
        assert_eq!(path.as_os_str().len(), LONGEST);
        (folder, path)
    }

    #[test]
    fn a_socket_has_the_longest_path_that_there_is_and_none_that_is_longer() {
        let (_folder, path) = deep();
        let beside = || fs::read_dir(path.parent().unwrap()).unwrap().count();
        let socket = PrivateSocket::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, beside()), (0o600, 1));
        connect(&path).unwrap();
        assert!(PrivateSocket::bind(&path).unwrap_err().contains("in use"));
        drop(socket);
        assert_eq!(beside(), 0);
        let error = PrivateSocket::bind(&path.with_file_name("ss")).unwrap_err();
        assert!(
            error.contains("108 bytes") && error.contains("107"),
            "{error}"
        );
    }

    #[test]
    fn one_of_the_longest_path_that_was_left_is_taken_over() {
        let (_folder, path) = deep();
        drop(UnixListener::bind(&path).unwrap());
        let _socket = PrivateSocket::bind(&path).unwrap();
        connect(&path).unwrap();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn where_no_socket_can_be_made_is_said_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let said = |path: &Path| PrivateSocket::bind(path).unwrap_err();
        let absent = said(&folder.path().join("absent/s"));
        assert!(
            absent.contains("there is no folder") && absent.contains("make that"),
            "{absent}"
        );
        fs::write(folder.path().join("file"), "").unwrap();
        let no_folder = said(&folder.path().join("file/s"));
        assert!(
            no_folder.contains("cannot make a socket: Not a directory"),
            "{no_folder}"
        );
        let exists = said(&folder.path().join("file"));
        assert!(exists.contains("exists; remove it"), "{exists}");
        assert!(said(Path::new("")).contains("is empty"));
    }

    #[test]
    fn who_takes_no_connection_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("full.sock");
        let server = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        );
        let server = server.unwrap();
        rustix::net::bind(&server, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&server, 0).unwrap();
        let mut waiting = Vec::new();
        let full = loop {
            match connect(&path) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
            assert!(waiting.len() < 10, "its queue has no end");
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        assert!(listens(&path).unwrap());
        assert!(remove_left_behind(&path).unwrap_err().contains("in use"));
    }
}
