//! QEMU, a kernel and busybox from Debian, unpacked in a folder.
//!
//! `apt-get` fetches them as it fetches all else on this machine, from the archive that the
//! machine's own sources name, but keeps its lists and files in the folder: nothing is installed.
//! What QEMU needs, down to the C library, comes along, so that any Debian will do.

use std::fs;
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

/// The packages, unpacked.
#[derive(Debug)]
pub(super) struct Packages {
    root: PathBuf,
}

impl Packages {
    /// Unpacks them below a folder, where that has not been done.
    pub(super) fn fetch(folder: &Path) -> Result<Packages, String> {
        let packages = Packages {
            root: folder.join("root"),
        };
        if packages.root.exists() {
            return Ok(packages);
        }
        let wanted = format!("{}, {KERNEL}", PROGRAMS.join(", "));
        println!("    fetching {wanted} of Debian {RELEASE} and {BACKPORTS}, 75 MB");
        let fetched = tools().and_then(|()| Apt::new(&folder.join("apt")));
        let fetched = fetched.and_then(|apt| {
            apt.update()?;
            apt.download()?;
            apt.unpack(&packages.root)
        });
        fetched.map_err(|why| format!("the packages {wanted} cannot be fetched: {why}"))?;
        Ok(packages)
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
    fn new(folder: &Path) -> Result<Apt, String> {
        let at = |name: &str| folder.join(name);
        // What is left of an earlier attempt may be anything.
        let _ = fs::remove_dir_all(folder);
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
            ("sources.list", sources()?),
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

    /// Unpacks what was fetched. The folder is there only when all of it is.
    fn unpack(&self, to: &Path) -> Result<(), String> {
        let archives = self.folder.join("archives");
        let beside = self.folder.join("unpacked");
        let entries = fs::read_dir(&archives).map_err(failed(&archives))?;
        for entry in entries {
            let path = entry.map_err(failed(&archives))?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                let mut unpack = command("dpkg-deb", &["--extract"]);
                unpack.arg(&path).arg(&beside);
                quietly(unpack)?;
            }
        }
        fs::rename(&beside, to).map_err(failed(to))?;
        fs::remove_dir_all(&self.folder).map_err(failed(&self.folder))
    }
}

/// Both releases, in the archive that the machine's own sources name.
fn sources() -> Result<String, String> {
    let archive = match std::env::var(ARCHIVE) {
        Ok(named) => named,
        Err(_unset) => configured()?,
    };
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
