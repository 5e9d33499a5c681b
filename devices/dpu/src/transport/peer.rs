//! The process at the other end of a socket.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// A process, which is not taken for another that has its number later.
#[derive(Debug)]
pub(super) struct Peer {
    id: i32,
    process: OwnedFd,
}

impl Peer {
    /// Who listens, or has made the pair. Nothing where that cannot be told: the kernel has no number
    /// for a process of another container, say, and one that has ended is gone.
    pub(super) fn of(stream: &UnixStream) -> Option<Peer> {
        Peer::with_id(getsockopt(stream, PeerCredentials).ok()?.pid())
    }

    fn with_id(id: i32) -> Option<Peer> {
        let process = pidfd_open(Pid::from_raw(id)?, PidfdFlags::empty()).ok()?;
        Some(Peer { id, process })
    }

    pub(super) fn id(&self) -> i32 {
        self.id
    }

    /// Whether it has: what it had mapped it has no more.
    pub(super) fn has_ended(&self) -> bool {
        let mut process = [PollFd::new(&self.process, PollFlags::IN)];
        poll(&mut process, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Another process, which does nothing until it is ended, or this is dropped.
    pub(in super::super) struct Other(Child);

    impl Other {
        pub(in super::super) fn start() -> Other {
            let mut sleep = Command::new("sleep");
            sleep
                .arg("1000")
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            Other(sleep.spawn().unwrap())
        }

        pub(in super::super) fn peer(&self) -> Peer {
            Peer::with_id(i32::try_from(self.0.id()).unwrap()).unwrap()
        }

        pub(in super::super) fn end(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    impl Drop for Other {
        fn drop(&mut self) {
            let _ended_before = self.0.kill();
            let _collected_before = self.0.wait();
        }
    }

    #[test]
    fn a_process_is_told_from_others_and_its_end_is_seen() {
        let (one, _other) = UnixStream::pair().unwrap();
        let own = Peer::of(&one).unwrap();
        assert_eq!(u32::try_from(own.id()), Ok(std::process::id()));
        assert!(!own.has_ended());
        let mut other = Other::start();
        let peer = other.peer();
        assert!(!peer.has_ended());
        other.end();
        assert!(peer.has_ended());
    }
}
