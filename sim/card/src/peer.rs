//! Who is at the other end of a connection.

use std::fs;
use std::os::unix::net::UnixStream;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

/// Process id and command of who has connected, as `pid 17 unlade`.
pub(crate) fn name(stream: &UnixStream) -> String {
    match getsockopt(stream, PeerCredentials).map(|peer| peer.pid()) {
        Ok(pid @ 1..) => {
            let command = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command);
            format!("pid {pid} {}", command.trim_end())
        }
        // The kernel has no number for it here.
        _ => "a process that cannot be seen from here, of another container, say".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_pair_are_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        let wanted = format!("pid {} {}", std::process::id(), own.trim_end());
        assert_eq!(name(&one), wanted);
    }
}
