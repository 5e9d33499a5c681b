//! Local sockets of this user's: made with their permissions, taken over from processes that were
//! killed, gone with who made them.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, shutdown, socket_with,
};

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
        let shown = path.display();
        // What is too long for the system would be found out by those who connect.
        SocketAddr::from_pathname(path).map_err(|error| format!("{shown}: {error}"))?;
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
        bind().map_err(|error: io::Error| match error.kind() {
            ErrorKind::AlreadyExists => {
                format!("{shown} exists; remove it, or name another socket")
            }
            _ => format!("{shown}: cannot make a socket: {error}"),
        })
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
    let mut aside = socket.as_os_str().to_owned();
    aside.push(format!(".left-{}", std::process::id()));
    match fs::rename(socket, &aside) {
        Ok(()) => {}
        // Another has, and makes its own.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(stuck(error)),
    }
    let came_meanwhile = listens(aside.as_ref()).map_err(stuck)?;
    if came_meanwhile {
        fs::hard_link(&aside, socket).map_err(stuck)?;
    }
    fs::remove_file(&aside).map_err(stuck)?;
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
    let private = private_directory(path.parent().unwrap_or(Path::new("")))?;
    let made = private.join("s");
    let bound = UnixListener::bind(&made).and_then(|listener| {
        fs::set_permissions(&made, fs::Permissions::from_mode(0o600))?;
        // Not renamed, which would replace what another has put there meanwhile.
        fs::hard_link(&made, path)?;
        Ok(listener)
    });
    let _none_where_it_failed = fs::remove_file(&made);
    let removed = fs::remove_dir(&private);
    let listener = bound?;
    removed?;
    Ok(listener)
}

/// What tells one file from another at the same path.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// A new directory that only this user can enter.
fn private_directory(parent: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Its name is part of a path that must not be long.
        let path = parent.join(format!(".u{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            // Left by another process that had this number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
