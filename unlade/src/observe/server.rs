//! Snapshots at a socket.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{INTERVAL, MOST_READERS, ObserveError, line};
use crate::socket::PrivateSocket;
use crate::{Runtime, WeakRuntime};

/// How long a reader may take to read what it was sent.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two attempts where the system has no room for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// What a reader is told that is one too many.
pub(super) const TOO_MANY: &str = "too many readers";

/// Serves snapshots of a runtime, until it is dropped. See [`serve`](super::serve).
#[derive(Debug)]
#[must_use = "nobody is served any more once it is dropped"]
pub struct Server {
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    socket: PrivateSocket,
    runtime: WeakRuntime,
    readers: Mutex<Readers>,
    /// Signalled when it ends.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Readers {
    has_ended: bool,
    /// Their threads; those that are done are among them until the next one comes.
    threads: Vec<(UnixStream, JoinHandle<()>)>,
}

impl Server {
    pub(super) fn start(runtime: &Runtime, socket: &Path) -> Result<Self, ObserveError> {
        let shared = Arc::new(Shared {
            socket: PrivateSocket::bind(socket).map_err(ObserveError::Socket)?,
            runtime: runtime.downgrade(),
            readers: Mutex::default(),
            ended: Condvar::new(),
        });
        runtime.observe();
        let accepting = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("unlade-observe".to_owned())
                .spawn(move || Shared::accept(&shared))
                .map_err(ObserveError::Thread)?
        };
        Ok(Server {
            shared,
            accepting: Some(accepting),
        })
    }
}

impl Server {
    /// What removes the socket, for a process that is about to end without dropping this.
    pub fn remove_socket(&self) -> impl FnOnce() + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.socket.remove()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.readers().has_ended = true;
        shared.ended.notify_all();
        shared.socket.close();
        if let Some(accepting) = self.accepting.take() {
            // A panic of it was told where it happened.
            let _ = accepting.join();
        }
        let threads = std::mem::take(&mut shared.readers().threads);
        for (stream, thread) in threads {
            // Whoever is in the middle of a line for a reader that does not read it.
            let _ = stream.shutdown(Shutdown::Both);
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Takes readers on until the end.
    fn accept(self: &Arc<Self>) {
        loop {
            let accepted = self.socket.accept();
            if self.readers().has_ended {
                return;
            }
            match accepted.and_then(|stream| self.take_on(stream)) {
                Ok(()) => {}
                // There may be descriptors and threads again later.
                Err(error) => {
                    tracing::warn!(%error, "a reader of snapshots cannot be served");
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn take_on(self: &Arc<Self>, stream: UnixStream) -> io::Result<()> {
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut readers = self.readers();
        readers.threads.retain(|(_, thread)| !thread.is_finished());
        if readers.threads.len() == MOST_READERS {
            drop(readers);
            // Whether it reads that is up to it.
            let _ = (&stream).write_all(format!("{{\"error\":\"{TOO_MANY}\"}}\n").as_bytes());
            return Ok(());
        }
        let to = stream.try_clone()?;
        let shared = Arc::clone(self);
        let thread = thread::Builder::new()
            .name("unlade-observe".to_owned())
            .spawn(move || shared.feed(&stream))?;
        readers.threads.push((to, thread));
        Ok(())
    }

    /// Sends snapshots to a reader, until it has enough or the runtime has ended.
    fn feed(&self, mut stream: &UnixStream) {
        // No line is made for somebody who has not read the one before, and the runtime is not kept
        // while one is read.
        let next = || Some(line(&self.runtime.upgrade()?.snapshot()));
        while let Some(line) = next() {
            if stream.write_all(&line).is_err() || self.pause() {
                break;
            }
        }
        // The other handle is kept until the next reader comes.
        let _ = stream.shutdown(Shutdown::Both);
    }

    /// Waits until it is time for the next snapshot; whether there is none.
    fn pause(&self) -> bool {
        let waits = |readers: &mut Readers| !readers.has_ended;
        let waited = self
            .ended
            .wait_timeout_while(self.readers(), INTERVAL, waits);
        let (readers, _) = waited.unwrap_or_else(PoisonError::into_inner);
        readers.has_ended
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
