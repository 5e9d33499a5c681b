//! QEMU, a kernel and busybox from Debian, unpacked in a folder of the user's cache.
//!
//! `apt-get` fetches them as it fetches all else on this machine, from the archive that the
//! machine's own sources name, and checks them by the archive's signed sums, but keeps its lists and
//! files in the folder: nothing is installed. What QEMU needs, down to the C library, comes along, so
//! that any Debian will do.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::failed;
use crate::step::command;
use crate::tools::{quietly, said};

/// The release whose packages are used, and where QEMU's is new enough to have `vfio-user-pci`.
const RELEASE: &str = "trixie";
const BACKPORTS: &str = "trixie-backports";

/// What is fetched with all that it needs, from the backports.
const PROGRAMS: [&str; 2] = ["qemu-system-x86", "busybox-static"];

/// Names the release's kernel for virtual machines, which is fetched without what installs it.
const KERNEL: &str = "linux-image-cloud-amd64";

/// An archive of Debian, where none is among the machine's sources.
const ARCHIVE: &str = "UNLADE_DEBIAN";

/// Names the folder, in place of one in the user's cache.
const FOLDER: &str = "UNLADE_QEMU";

/// Debian's keys, as its releases name them.
const KEYS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// Whether this machine can run them; why not.
pub(super) fn possible() -> Result<(), String> {
    match cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        true => Ok(()),
        false => Err("the virtual machine's packages are for Linux on x86-64".to_owned()),
    }
}

/// Whether there is what fetches and unpacks them.
fn tools() -> Result<(), String> {
    for tool in ["apt-get", "dpkg-deb"] {
        quietly(command(tool, &["--version"]))
            .map_err(|why| format!("{why}; run this on Debian or its kin"))?;
    }
    Ok(())
}

/// Where the packages are kept: in the folder that is named, or else in the user's cache, so that
/// every clone finds what another has fetched.
pub(super) fn folder() -> Result<PathBuf, String> {
    folder_by(|variable| std::env::var_os(variable))
}

fn folder_by(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, String> {
    if let Some(named) = variable(FOLDER) {
        return Ok(crate::root().join(named));
    }
    // One that is not absolute does not count: freedesktop.org's Base Directory Specification.
    let absolute = |name| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    let cache = cache.ok_or_else(|| {
        format!("no HOME says where the user's cache is; name a folder for QEMU in {FOLDER}")
    })?;
    Ok(cache.join("unlade/qemu"))
}

/// The packages, unpacked.
#[derive(Debug)]
pub(super) struct Packages {
    root: PathBuf,
}

impl Packages {
    /// Those that are unpacked below a folder.
    pub(super) fn kept(folder: &Path) -> Option<Packages> {
        let root = folder.join("root");
        root.exists().then_some(Packages { root })
    }

    /// Unpacks them below a folder, where that has not been done.
    pub(super) fn fetch(folder: &Path) -> Result<Packages, String> {
        Packages::fetch_from(folder, std::env::var(ARCHIVE).ok())
    }

    /// [`fetch`](Self::fetch) from this archive, or from the one that the machine's sources name.
    fn fetch_from(folder: &Path, archive: Option<String>) -> Result<Packages, String> {
        let wanted = format!("{}, {KERNEL}", PROGRAMS.join(", "));
        let fetched = tools().and_then(|()| {
            once(folder, |apt, unpacked| {
                println!("    fetching {wanted} of Debian {RELEASE} and {BACKPORTS}, 75 MB");
                let apt = Apt::new(apt, archive)?;
                apt.update()?;
                apt.download()?;
                apt.unpack(unpacked)
            })
        });
        fetched.map_err(|why| format!("the packages {wanted} cannot be fetched: {why}"))
    }

    /// What would be `/` if they were installed.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn busybox(&self) -> PathBuf {
        self.root.join("usr/bin/busybox")
    }

    pub(super) fn kernel(&self) -> Result<PathBuf, String> {
        only(&self.root.join("boot"), "vmlinuz-")
    }

    /// A module, by its path in the kernel's tree.
    pub(super) fn module(&self, path: &str) -> Result<PathBuf, String> {
        let modules = only(&self.root.join("usr/lib/modules"), "")?;
        Ok(modules.join("kernel").join(format!("{path}.ko.xz")))
    }
}

/// Has packages fetched into a folder by whoever comes first; others wait, and find them there. What is
/// given gets a folder to work in, and the one to unpack into, which has its name only when it is whole.
fn once(
    folder: &Path,
    fetch: impl FnOnce(&Path, &Path) -> Result<(), String>,
) -> Result<Packages, String> {
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let lock = folder.join("lock");
    // Let go of when it is dropped, or its process ends.
    let file = File::create(&lock).map_err(failed(&lock))?;
    file.lock().map_err(failed(&lock))?;
    if let Some(packages) = Packages::kept(folder) {
        return Ok(packages);
    }
    // What is left of an earlier attempt may be anything.
    let [apt, unpacked] = ["apt", "unpacked"].map(|name| folder.join(name));
    for path in [&apt, &unpacked] {
        let _ = fs::remove_dir_all(path);
    }
    fetch(&apt, &unpacked)?;
    let packages = Packages {
        root: folder.join("root"),
    };
    fs::rename(&unpacked, &packages.root).map_err(failed(&packages.root))?;
    fs::remove_dir_all(&apt).map_err(failed(&apt))?;
    Ok(packages)
}

/// The one file of a folder whose name begins like this.
fn only(folder: &Path, beginning: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(failed(folder))?;
    let mut found = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with(beginning)
        });
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        (first, _) => Err(format!(
            "{} holds {} files `{beginning}*`; remove the folder {} and start again",
            folder.display(),
            if first.is_some() { "several" } else { "no" },
            folder.parent().unwrap_or(folder).display(),
        )),
    }
}

/// An apt with state of its own.
struct Apt {
    folder: PathBuf,
    settings: PathBuf,
}

impl Apt {
    fn new(folder: &Path, archive: Option<String>) -> Result<Apt, String> {
        let at = |name: &str| folder.join(name);
        for name in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(at(name)).map_err(failed(&at(name)))?;
        }
        let quoted = |path: &Path| format!("\"{}\"", path.display());
        let settings = [
            ("Dir::State", quoted(folder)),
            // With nothing installed, all that a package needs is fetched.
            ("Dir::State::status", quoted(&at("status"))),
            ("Dir::Cache", quoted(folder)),
            ("Dir::Log", quoted(folder)),
            ("Dir::Etc::sourcelist", quoted(&at("sources.list"))),
            ("Dir::Etc::sourceparts", "\"/dev/null\"".to_owned()),
            ("Dir::Etc::preferences", "\"/dev/null\"".to_owned()),
            ("Dir::Etc::preferencesparts", "\"/dev/null\"".to_owned()),
            ("Acquire::Languages", "\"none\"".to_owned()),
            ("Acquire::Retries", "\"3\"".to_owned()),
            ("APT::Architecture", "\"amd64\"".to_owned()),
            ("APT::Architectures", "\"amd64\"".to_owned()),
            ("APT::Install-Recommends", "\"false\"".to_owned()),
            // Files of who runs this, whoever that is.
            ("APT::Sandbox::User", "\"\"".to_owned()),
        ];
        // What the machine does behind an update of its own lists.
        let hooks = ["Post-Invoke", "Post-Invoke-Success"];
        let settings: String = hooks
            .iter()
            .map(|hook| format!("#clear APT::Update::{hook};\n"))
            .chain(
                settings
                    .iter()
                    .map(|(name, value)| format!("{name} {value};\n")),
            )
            .collect();
        let files = [
            ("status", String::new()),
            ("sources.list", sources(archive)?),
            ("settings", settings),
        ];
        for (name, text) in files {
            fs::write(at(name), text).map_err(failed(&at(name)))?;
        }
        Ok(Apt {
            folder: folder.to_owned(),
            settings: at("settings"),
        })
    }

    fn run(&self, program: &str, words: &[&str]) -> Result<String, String> {
        let mut command = command(program, &[]);
        // After the machine's own settings, so that these hold.
        command.arg("--config-file").arg(&self.settings).args(words);
        command.current_dir(self.folder.join("archives"));
        said(command)
    }

    fn update(&self) -> Result<(), String> {
        self.run("apt-get", &["update", "--error-on=any"]).map(drop)
    }

    fn download(&self) -> Result<(), String> {
        let programs = ["--target-release", BACKPORTS, "--download-only", "--yes"];
        let programs = [&programs[..], &["install"], &PROGRAMS].concat();
        self.run("apt-get", &programs)?;
        let depends = self.run("apt-cache", &["depends", KERNEL])?;
        let kernel = depends
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: "))
            .ok_or_else(|| format!("{KERNEL} names no kernel: {depends}"))?;
        self.run("apt-get", &["download", kernel]).map(drop)
    }

    /// Unpacks what was fetched.
    fn unpack(&self, to: &Path) -> Result<(), String> {
        let archives = self.folder.join("archives");
        let entries = fs::read_dir(&archives).map_err(failed(&archives))?;
        for entry in entries {
            let path = entry.map_err(failed(&archives))?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                let mut unpack = command("dpkg-deb", &["--extract"]);
                unpack.arg(&path).arg(to);
                quietly(unpack)?;
            }
        }
        Ok(())
    }
}

/// Both releases, in this archive, or in the one that the machine's own sources name.
fn sources(archive: Option<String>) -> Result<String, String> {
    let archive = archive.map_or_else(configured, Ok)?;
    let keys = KEYS.iter().find(|path| Path::new(path).exists());
    let signed = keys.map_or_else(String::new, |path| format!("[signed-by={path}] "));
    Ok([RELEASE, BACKPORTS]
        .map(|release| format!("deb {signed}{archive} {release} main\n"))
        .concat())
}

/// The archive of the first source that is Debian's, and not its security updates.
fn configured() -> Result<String, String> {
    let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
    let words = ["indextargets", "--format", format, "Created-By: Packages"];
    let targets = said(command("apt-get", &words))?;
    let found = targets.lines().find_map(|line| {
        let [archive, release, "main"] = line.split(' ').collect::<Vec<_>>()[..] else {
            return None;
        };
        (!release.contains("security")).then_some(archive)
    });
    found.map(str::to_owned).ok_or_else(|| {
        format!("this machine's sources name no archive of Debian; name one in {ARCHIVE}")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn packages_are_kept_in_the_users_cache_unless_a_folder_is_named() {
        let folder = |set: &[(&str, &str)]| {
            folder_by(|name| {
                let found = set.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        let (home, cache) = (("HOME", "/home/me"), ("XDG_CACHE_HOME", "/cache"));
        let at = |path: &str| Ok(PathBuf::from(path));
        assert_eq!(folder(&[home]), at("/home/me/.cache/unlade/qemu"));
        assert_eq!(folder(&[home, cache]), at("/cache/unlade/qemu"));
        let relative = ("XDG_CACHE_HOME", "cache");
        assert_eq!(folder(&[home, relative]), at("/home/me/.cache/unlade/qemu"));
        assert_eq!(folder(&[home, cache, (FOLDER, "/q")]), at("/q"));
        let below = crate::root().join("target/q");
        assert_eq!(folder(&[home, (FOLDER, "target/q")]), Ok(below));
        assert!(folder(&[]).unwrap_err().contains(FOLDER));
    }

    #[test]
    fn of_several_that_want_packages_one_fetches_them() {
        let folder = tempfile::tempdir().unwrap();
        // Of an attempt that was killed.
        for left in ["apt/archives/half", "unpacked/half"] {
            fs::create_dir_all(folder.path().join(left)).unwrap();
        }
        let (together, fetched) = (Barrier::new(3), AtomicU32::new(0));
        let fetch = || {
            together.wait();
            let packages = once(folder.path(), |apt, unpacked| {
                fetched.fetch_add(1, Ordering::SeqCst);
                fs::create_dir_all(apt).unwrap();
                fs::create_dir_all(unpacked).unwrap();
                // Time in which others could see that it is not whole.
                thread::sleep(Duration::from_millis(100));
                fs::write(unpacked.join("whole"), "").unwrap();
                Ok(())
            });
            packages.unwrap().root().join("whole").exists()
        };
        thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(fetch));
            assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        });
        assert_eq!(fetched.load(Ordering::SeqCst), 1);
        let root = folder.path().join("root");
        assert!(!root.join("half").exists() && !folder.path().join("apt").exists());
    }

    /// With a real `apt-get`, where there is one; without, that is the reason that is given.
    #[test]
    fn packages_that_cannot_be_fetched_are_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("no-archive");
        let archive = format!("file://{}", nowhere.display());
        let why = Packages::fetch_from(folder.path(), Some(archive)).unwrap_err();
        let wanted = [&PROGRAMS[..], &[KERNEL]].concat();
        assert!(wanted.iter().all(|name| why.contains(name)), "{why}");
        let reason = match tools() {
            Ok(()) => "no-archive".to_owned(),
            Err(missing) => missing,
        };
        assert!(why.contains(&reason), "{why}");
        assert!(Packages::kept(folder.path()).is_none());
    }

    #[test]
    fn what_cannot_be_fetched_leaves_nothing_that_looks_whole() {
        let folder = tempfile::tempdir().unwrap();
        let failed = once(folder.path(), |_, unpacked| {
            fs::create_dir_all(unpacked).unwrap();
            Err("no archive".to_owned())
        });
        assert_eq!(failed.unwrap_err(), "no archive");
        assert!(Packages::kept(folder.path()).is_none());
    }
}
