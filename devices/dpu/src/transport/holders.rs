//! Who has a device: who has its file open, as `/proc` tells, and else who lets it be known.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::announced::Announced;
use crate::fields::printable;

/// Most processes that are named.
const MOST: usize = 8;

/// The processes that have one of several files open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holders {
    /// Process id and command of each.
    named: Vec<(u32, String)>,
    /// Whether there are processes that this user may not look into.
    some_hidden: bool,
    /// The files, for who may.
    files: Vec<PathBuf>,
    /// Who lets it be known, where none is seen.
    announced: Option<Announced>,
}

impl Holders {
    /// Those of this machine; `proc` is where its `/proc` is.
    pub(super) fn of(files: &[PathBuf], proc: &Path) -> Self {
        let mut holders = Holders {
            files: files.to_vec(),
            ..Holders::default()
        };
        let processes = fs::read_dir(proc).into_iter().flatten().flatten();
        for process in processes {
            let name = process.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            match fs::read_dir(process.path().join("fd")) {
                Ok(open) => {
                    let mut open = open
                        .flatten()
                        .filter_map(|open| fs::read_link(open.path()).ok());
                    if open.any(|open| files.contains(&open)) {
                        let command = fs::read(process.path().join("comm")).unwrap_or_default();
                        let command = printable(command.trim_ascii_end());
                        holders.named.push((pid, command));
                    }
                }
                Err(error) => holders.some_hidden |= error.kind() == ErrorKind::PermissionDenied,
            }
        }
        holders.named.sort();
        holders
    }

    /// The same, with who lets it be known that it has the device where nobody is seen who has.
    pub(super) fn or_announced(mut self, announced: impl FnOnce() -> Option<Announced>) -> Self {
        if self.named.is_empty() {
            self.announced = announced();
        }
        self
    }

    /// The command that names them to root.
    fn command(&self) -> String {
        let files = self.files.iter().map(|file| format!(" {}", file.display()));
        format!("sudo fuser -v{}", files.collect::<String>())
    }

    /// Whether there are any that this user is told of.
    pub(super) fn are_seen(&self) -> bool {
        !self.named.is_empty() || self.announced.is_some()
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(announced) = &self.announced {
            return announced.fmt(f);
        }
        if self.named.is_empty() {
            let command = self.command();
            return match self.some_hidden {
                true => write!(
                    f,
                    "a process that this user may not look into (`{command}` names it)"
                ),
                false => write!(
                    f,
                    "a process that cannot be seen from here, of another container, say (`{command}` \
                     outside of it names it)"
                ),
            };
        }
        for (at, (pid, command)) in self.named.iter().take(MOST).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let own = match *pid == std::process::id() {
                true => " (this process)",
                false => "",
            };
            write!(f, "{comma}pid {pid} {command}{own}")?;
        }
        match self.named.len().saturating_sub(MOST) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const GROUP: &str = "/dev/vfio/13";

    /// Adds a process to a `/proc` made of files.
    pub(in super::super) fn process(proc: &Path, pid: u32, command: &str, open: &[&str]) {
        let folder = proc.join(pid.to_string());
        fs::create_dir_all(folder.join("fd")).unwrap();
        fs::write(folder.join("comm"), format!("{command}\n")).unwrap();
        for (number, file) in open.iter().enumerate() {
            symlink(file, folder.join("fd").join(number.to_string())).unwrap();
        }
    }

    fn holders(proc: &Path) -> String {
        let files = [PathBuf::from(GROUP), "/dev/vfio/devices/vfio0".into()];
        Holders::of(&files, proc).to_string()
    }

    #[test]
    fn those_who_have_one_of_the_files_are_named_and_nobody_else() {
        let proc = tempfile::tempdir().unwrap();
        process(
            proc.path(),
            5,
            "other",
            &["/dev/vfio/1", "/dev/vfio/130", "/dev/null"],
        );
        process(proc.path(), 0, "kernel", &[]);
        fs::create_dir(proc.path().join("sys")).unwrap();
        fs::write(proc.path().join("uptime"), "1").unwrap();
        let nobody = "a process that cannot be seen from here, of another container, say (`sudo fuser \
                      -v /dev/vfio/13 /dev/vfio/devices/vfio0` outside of it names it)";
        assert_eq!(holders(proc.path()), nobody);
        process(proc.path(), 71, "qemu\x1B[2J", &["/dev/null", GROUP, GROUP]);
        process(proc.path(), 8, "engine", &["/dev/vfio/devices/vfio0"]);
        assert_eq!(holders(proc.path()), "pid 8 engine, pid 71 qemu?[2J");
        process(proc.path(), std::process::id(), "test", &[GROUP]);
        assert!(holders(proc.path()).contains("test (this process)"));
        for pid in 100_000_000..100_000_010 {
            process(proc.path(), pid, "many", &[GROUP]);
        }
        assert!(
            holders(proc.path()).ends_with("many and 5 more"),
            "{}",
            holders(proc.path())
        );
    }

    #[test]
    fn this_process_is_found_by_a_file_that_it_has_open() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let holders = Holders::of(&[file.path().to_owned()], Path::new("/proc"));
        let [(pid, _)] = &holders.named[..] else {
            panic!("{holders:?}")
        };
        assert_eq!(*pid, std::process::id());
    }

    #[test]
    fn what_may_not_be_looked_into_is_said() {
        let proc = tempfile::tempdir().unwrap();
        process(proc.path(), 5, "other", &[]);
        let fd = proc.path().join("5/fd");
        fs::set_permissions(&fd, fs::Permissions::from_mode(0o000)).unwrap();
        // Root may look into everything.
        let hidden = fs::read_dir(&fd).is_err();
        let said = holders(proc.path());
        assert_eq!(said.contains("may not look into"), hidden, "{said}");
        let command = "(`sudo fuser -v /dev/vfio/13 /dev/vfio/devices/vfio0`";
        assert!(said.contains(command), "{said}");
        fs::set_permissions(&fd, fs::Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn who_is_seen_is_named_and_not_who_lets_it_be_known() {
        let proc = tempfile::tempdir().unwrap();
        let files = [PathBuf::from(GROUP)];
        let seen = || Holders::of(&files, proc.path());
        let announced = seen().or_announced(|| Some(Announced::Crowded));
        assert!(announced.are_seen() && announced.to_string().contains("asked too often"));
        process(proc.path(), 71, "engine", &[GROUP]);
        let named = seen().or_announced(|| Some(Announced::Crowded));
        assert_eq!(named.to_string(), "pid 71 engine");
    }

    /// As an ordinary user is told it, whoever runs the tests.
    #[test]
    fn who_may_not_look_is_told_how_to_find_out() {
        let holders = Holders {
            some_hidden: true,
            files: vec![PathBuf::from(GROUP)],
            ..Holders::default()
        };
        assert_eq!(
            holders.to_string(),
            "a process that this user may not look into (`sudo fuser -v /dev/vfio/13` names it)"
        );
        assert!(!holders.are_seen());
    }
}
