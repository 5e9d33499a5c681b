//! Who is at the other end of a connection.

use std::fs;
use std::os::unix::net::UnixStream;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

/// Process id and command of who has connected, as `pid 17 unlade`; of one that has ended since, that.
pub(crate) fn name(stream: &UnixStream) -> String {
    match getsockopt(stream, PeerCredentials).map(|peer| peer.pid()) {
        Ok(pid @ 1..) => named(pid),
        // The kernel has no number for it here.
        _ => "a process that cannot be seen from here, of another container, say".to_owned(),
    }
}

fn named(pid: i32) -> String {
    let command = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    match String::from_utf8_lossy(&command).trim_end() {
        "" => format!("pid {pid}, which has ended"),
        command => format!("pid {pid} {command}"),
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

    #[test]
    fn one_that_has_ended_has_no_name_any_more() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().try_into().unwrap();
        child.wait().unwrap();
        assert_eq!(named(pid), format!("pid {pid}, which has ended"));
    }
}
