//! Who has a function, as that process itself lets it be known: it listens at an abstract socket whose
//! name follows from the function's address. Who finds the function taken connects to it, and is told
//! by the kernel whose process listens. Nothing is ever sent.
//!
//! The name is no lock, and anybody may take it first; but who does is named as itself, as the number
//! and the user are the kernel's. The socket is gone once nobody has it open. That is with the process,
//! unless it has forked a child which has executed nothing else since: such a child has the function's
//! files open, too, so that it is as much in use. Named is then still the process that made the socket.

use std::fmt;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept, bind, connect, listen,
    socket_with,
};

use crate::fields::printable;

/// Most who have asked since the holder last looked: as many as Linux allows unless told otherwise.
const MOST: i32 = 4096;

/// That this process has a function, for as long as this lives.
#[derive(Debug)]
pub(super) struct Announcement {
    socket: OwnedFd,
}

impl Announcement {
    /// Of the function at an address. Nothing where the name is taken, or no socket is to be had: the
    /// function is this process's all the same.
    pub(super) fn of(address: &str) -> Option<Self> {
        let socket = socket().ok()?;
        bind(&socket, &name_of(address)?).ok()?;
        listen(&socket, MOST).ok()?;
        Some(Announcement { socket })
    }

    /// Forgets who has asked, so that there is room for others; no more than there was room for, as
    /// others may come meanwhile.
    pub(super) fn forget(&self) {
        let asked = (0..MOST).take_while(|_| accept(&self.socket).is_ok());
        asked.for_each(drop);
    }
}

/// A process that lets it be known that it has a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    Process {
        /// 0 where it is of another container, whose numbers mean nothing here.
        id: i32,
        user: u32,
        /// Its command, where that can be seen.
        command: Option<String>,
    },
    /// There is one, and too many have asked before.
    Crowded,
}

impl Announced {
    /// Who has the function at an address; `proc` is where this machine's `/proc` is. Never waits.
    pub(super) fn at(address: &str, proc: &Path) -> Option<Self> {
        let socket = socket().ok()?;
        match connect(&socket, &name_of(address)?) {
            Ok(()) => {}
            Err(Errno::AGAIN) => return Some(Announced::Crowded),
            Err(_) => return None,
        }
        let peer = getsockopt(&socket, PeerCredentials).ok()?;
        let (id, user) = (peer.pid(), peer.uid());
        let folder = proc.join(id.to_string());
        // One that has ended may have left the socket to a child that it forked, and its number to a
        // stranger.
        let is_its = fs::metadata(&folder).is_ok_and(|found| may_be_of(found.uid(), user));
        let command = is_its.then(|| fs::read(folder.join("comm")).ok()).flatten();
        let command = command.map(|command| printable(command.trim_ascii_end()));
        Some(Announced::Process { id, user, command })
    }
}

impl fmt::Display for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Announced::Process { id: 0, user, .. } => {
                write!(f, "a process of another container, of user {user}")
            }
            Announced::Process { id, user, command } => match command {
                Some(command) => write!(f, "pid {id} {command}, of user {user}"),
                None => write!(f, "pid {id}, of user {user}"),
            },
            Announced::Crowded => f.write_str(
                "a process of this driver's, which has been asked too often to be told who it is \
                 (root is told)",
            ),
        }
    }
}

/// Whether a process whose folder in `/proc` is this user's may be of that one: of what keeps its memory
/// from others' eyes, the folder is root's.
fn may_be_of(owner: u32, user: u32) -> bool {
    [user, 0].contains(&owner)
}

/// It waits for nothing.
fn socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn name_of(address: &str) -> Option<SocketAddrUnix> {
    SocketAddrUnix::new_abstract_name(format!("unlade-dpu/{address}").as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};

    use rustix::process::geteuid;

    use super::*;
    use crate::transport::holders::Holders;

    const PROC: &str = "/proc";

    /// A name that no other test has.
    fn unique(what: &str) -> String {
        format!("test/{}/{what}", std::process::id())
    }

    fn at(address: &str) -> Option<String> {
        Announced::at(address, Path::new(PROC)).map(|found| found.to_string())
    }

    #[test]
    fn who_has_a_function_is_known_as_long_as_it_does() {
        let address = unique("own");
        assert_eq!(at(&address), None);
        let announcement = Announcement::of(&address).unwrap();
        let own = format!("pid {} ", std::process::id());
        let user = format!(", of user {}", geteuid());
        for _ in 0..3 {
            let told = at(&address).unwrap();
            assert!(told.starts_with(&own) && told.ends_with(&user), "{told}");
        }
        assert!(Announcement::of(&address).is_none(), "it has one holder");
        drop(announcement);
        assert_eq!(at(&address), None);
    }

    #[test]
    fn a_crowd_that_has_asked_keeps_nobody_waiting_and_is_forgotten() {
        let address = unique("crowd");
        let announcement = Announcement::of(&address).unwrap();
        let asked = (0..=2 * MOST)
            .take_while(|_| Announced::at(&address, Path::new(PROC)) != Some(Announced::Crowded));
        assert!(asked.count() <= MOST as usize + 1, "there is no limit");
        assert!(at(&address).unwrap().contains("asked too often"));
        announcement.forget();
        assert!(at(&address).unwrap().starts_with("pid "));
    }

    #[test]
    fn a_number_that_is_anothers_by_now_is_not_given_its_command() {
        let address = unique("stale");
        let _announcement = Announcement::of(&address).unwrap();
        let proc = tempfile::tempdir().unwrap();
        let told = || Announced::at(&address, proc.path()).unwrap().to_string();
        let bare = format!("pid {}, of user {}", std::process::id(), geteuid());
        assert_eq!(told(), bare, "it has ended");
        let folder = proc.path().join(std::process::id().to_string());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("comm"), "stranger\x1B[2J\n").unwrap();
        let named = bare.replace(',', " stranger?[2J,");
        assert_eq!(told(), named);
        // Only root can make it another user's.
        if std::os::unix::fs::chown(&folder, Some(4242), None).is_ok() {
            assert_eq!(told(), bare);
        }
    }

    #[test]
    fn whose_process_it_is_is_told_by_its_folder() {
        assert!(may_be_of(4001, 4001));
        assert!(may_be_of(0, 4001), "it has taken on another user");
        assert!(!may_be_of(4002, 4001) && !may_be_of(4001, 0));
    }

    #[test]
    fn a_number_of_another_container_is_not_said() {
        let elsewhere = Announced::Process {
            id: 0,
            user: 4001,
            command: None,
        };
        assert_eq!(
            elsewhere.to_string(),
            "a process of another container, of user 4001"
        );
    }

    /// What this program is to do instead of testing, and the name that it is about.
    const ROLE: &str = "UNLADE_TEST_ANNOUNCED";

    /// By processes that may not look into each other where this is root, and by others of the same
    /// user elsewhere.
    #[test]
    fn another_users_process_is_named() {
        if let Ok(role) = std::env::var(ROLE) {
            return play(&role);
        }
        let address = unique("other");
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = folder.path().join("test");
        // Others may not be let into where it was built.
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let ask = || {
            let child = start(&program, "ask", &address, 4002);
            let output = child.wait_with_output().unwrap();
            let output = String::from_utf8(output.stdout).unwrap();
            let told = output.lines().find_map(|line| line.split_once("told: "));
            told.unwrap_or_else(|| panic!("{output}")).1.to_owned()
        };
        assert_eq!(ask(), "nobody");
        let mut holder = start(&program, "hold", &address, 4001);
        let mut said = BufReader::new(holder.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().contains("told: held")));
        let user = if geteuid().is_root() {
            4001
        } else {
            geteuid().as_raw()
        };
        let told = ask();
        let (own, user) = (format!("pid {} ", holder.id()), format!(", of user {user}"));
        assert!(told.starts_with(&own) && told.ends_with(&user), "{told}");
        holder.kill().unwrap();
        holder.wait().unwrap();
        assert_eq!(ask(), "nobody", "it was killed");
    }

    /// This test in a process of its own, of another user where this is root.
    fn start(program: &Path, role: &str, address: &str, user: u32) -> Child {
        let mut command = Command::new(program);
        command
            .args([
                "--exact",
                "--nocapture",
                "transport::announced::tests::another_users_process_is_named",
            ])
            .env(ROLE, format!("{role} {address}"))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if geteuid().is_root() {
            command.uid(user).gid(user);
        }
        command.spawn().unwrap()
    }

    /// Holds the function until the input ends, or asks who does.
    #[allow(clippy::print_stdout)] // read by the test that has started this
    fn play(role: &str) {
        match role.split_once(' ').unwrap() {
            ("hold", address) => {
                let _announcement = Announcement::of(address).unwrap();
                println!("told: held");
                std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
            }
            (_, address) => {
                let files = [PathBuf::from("/dev/vfio/none")];
                let seen = Holders::of(&files, Path::new(PROC));
                let announced = Announced::at(address, Path::new(PROC));
                match announced {
                    Some(_) => println!("told: {}", seen.or_announced(|| announced)),
                    None => println!("told: nobody"),
                }
            }
        }
    }
}
