//! Machine code kept on disk, so that a program is assembled once per machine.
//!
//! What is loaded from here runs on the GPU, with access to everything that is mapped to it: the
//! folder is its owner's alone, and so is every file that is taken from it. An entry that is not
//! what it says it is is made again.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

/// Where the folder is, or `off`.
const VARIABLE: &str = "UNLADE_CUDA_CACHE";

/// Most entries. When there are more, the oldest go, and some beyond, ...
const MOST_ENTRIES: usize = 4096;

/// ... so that the next look is only due when as many more were kept: a look takes milliseconds, as
/// long as assembling does.
const BETWEEN_LOOKS: usize = MOST_ENTRIES / 8;

/// Largest entry that is read.
const MOST_BYTES: u64 = 64 << 20;

const MAGIC: [u8; 8] = *b"unladec1";

/// The header: magic, what the entry is for, what it holds.
const HEADER: usize = 8 + 32 + 32;

/// The folder of machine code.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    /// How many entries this process has kept there.
    kept: AtomicUsize,
}

impl Disk {
    /// The folder that the environment names: `UNLADE_CUDA_CACHE`, else `unlade/cuda` in
    /// `XDG_CACHE_HOME` or `~/.cache`. `None` where it is off, or cannot be had as the user's own.
    pub(crate) fn open() -> Option<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let folder = match variable(VARIABLE) {
            Some(off) if off.eq_ignore_ascii_case("off") => return None,
            Some(folder) => PathBuf::from(folder),
            None => variable("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache")))?
                .join("unlade/cuda"),
        };
        Disk::at(folder)
    }

    /// A folder, made if it is not there; only if nobody else can write to it.
    pub(crate) fn at(folder: PathBuf) -> Option<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .ok()?;
        let found = fs::symlink_metadata(&folder).ok()?;
        let ours = found.is_dir() && found.uid() == user() && found.mode() & 0o077 == 0;
        ours.then(|| Disk {
            folder,
            kept: AtomicUsize::new(0),
        })
    }

    /// The machine code of this text for this architecture, if it is there and whole.
    pub(crate) fn find(&self, name: &str, architecture: &str, text: &str) -> Option<Vec<u8>> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(self.path(name, architecture))
            .ok()?;
        let found = file.metadata().ok()?;
        let ours = found.is_file() && found.uid() == user() && found.mode() & 0o022 == 0;
        if !ours || found.len() > MOST_BYTES {
            return None;
        }
        let mut entry = Vec::new();
        file.read_to_end(&mut entry).ok()?;
        let code = entry.get(HEADER..)?;
        let whole = entry[..HEADER] == header(architecture, text, code);
        whole.then(|| code.to_vec())
    }

    /// Keeps machine code. What cannot be kept is assembled again next time.
    pub(crate) fn keep(&self, name: &str, architecture: &str, text: &str, code: &[u8]) {
        let path = self.path(name, architecture);
        // Written aside and moved into place, so that nobody reads half an entry.
        let aside = path.with_extension(format!("{}.part", std::process::id()));
        let written = self.write(&aside, &header(architecture, text, code), code);
        if written.and_then(|()| fs::rename(&aside, &path)).is_err() {
            let _ = fs::remove_file(&aside);
        }
        let kept = self.kept.fetch_add(1, Ordering::Relaxed);
        if kept.is_multiple_of(BETWEEN_LOOKS) {
            self.prune();
        }
    }

    fn write(&self, path: &Path, header: &[u8], code: &[u8]) -> std::io::Result<()> {
        let _ = fs::remove_file(path);
        let mut file: File = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path)?;
        file.write_all(header)?;
        file.write_all(code)
    }

    fn path(&self, name: &str, architecture: &str) -> PathBuf {
        let architecture = hex(&Sha256::digest(architecture)[..8]);
        self.folder.join(format!("{name}-{architecture}.cubin"))
    }

    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let mut entries: Vec<(SystemTime, PathBuf)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
            })
            .collect();
        if entries.len() > MOST_ENTRIES {
            entries.sort_unstable();
            let too_many = entries.len() + BETWEEN_LOOKS - MOST_ENTRIES;
            for (_, path) in &entries[..too_many] {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn header(architecture: &str, text: &str, code: &[u8]) -> [u8; HEADER] {
    let purpose = Sha256::new()
        .chain_update((architecture.len() as u64).to_le_bytes())
        .chain_update(architecture)
        .chain_update(text)
        .finalize();
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..40].copy_from_slice(&purpose);
    header[40..].copy_from_slice(&Sha256::digest(code));
    header
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn user() -> u32 {
    // SAFETY: It has no precondition and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::Duration;

    use super::*;

    fn disk() -> (tempfile::TempDir, Disk) {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::at(folder.path().join("a/b")).unwrap();
        (folder, disk)
    }

    #[test]
    fn what_is_kept_is_found_for_the_same_text_and_architecture_only() {
        let (_folder, disk) = disk();
        disk.keep("p", "sm_90", "text", b"code");
        assert_eq!(disk.find("p", "sm_90", "text").unwrap(), b"code");
        assert_eq!(disk.find("p", "sm_90", "other"), None);
        assert_eq!(disk.find("p", "sm_75", "text"), None);
        assert_eq!(disk.find("q", "sm_90", "text"), None);
        disk.keep("p", "sm_90", "other", b"more");
        assert_eq!(disk.find("p", "sm_90", "other").unwrap(), b"more");
    }

    #[test]
    fn a_corrupt_entry_is_not_taken() {
        let (_folder, disk) = disk();
        disk.keep("p", "sm_90", "text", b"code");
        let path = disk.path("p", "sm_90");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut entry = whole.clone();
            entry[at] ^= 1;
            fs::write(&path, &entry).unwrap();
            assert_eq!(disk.find("p", "sm_90", "text"), None, "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(disk.find("p", "sm_90", "text"), None, "cut at {at}");
        }
        disk.keep("p", "sm_90", "text", b"code");
        assert_eq!(disk.find("p", "sm_90", "text").unwrap(), b"code");
    }

    #[test]
    fn what_others_could_have_written_is_not_taken() {
        let (folder, disk) = disk();
        disk.keep("p", "sm_90", "text", b"code");
        let path = disk.path("p", "sm_90");
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        set(&path, 0o622);
        assert_eq!(disk.find("p", "sm_90", "text"), None);
        set(&path, 0o600);
        assert!(disk.find("p", "sm_90", "text").is_some());
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert_eq!(disk.find("p", "sm_90", "text"), None);
        set(&disk.folder, 0o770);
        assert!(Disk::at(disk.folder.clone()).is_none());
        set(&disk.folder, 0o700);
        assert!(Disk::at(disk.folder.clone()).is_some());
        let link = folder.path().join("link");
        symlink(&disk.folder, &link).unwrap();
        assert!(Disk::at(link).is_none());
    }

    #[test]
    fn the_oldest_entries_go_when_there_are_too_many() {
        let (_folder, disk) = disk();
        let kept = || fs::read_dir(&disk.folder).unwrap().count();
        let old = SystemTime::UNIX_EPOCH;
        for number in 0..=MOST_ENTRIES {
            let entry = File::create(disk.folder.join(format!("{number}.cubin"))).unwrap();
            let age = Duration::from_secs(number as u64);
            entry.set_modified(old + age).unwrap();
        }
        disk.keep("p", "sm_90", "text", b"code");
        assert_eq!(kept(), MOST_ENTRIES - BETWEEN_LOOKS);
        assert!(disk.find("p", "sm_90", "text").is_some());
        assert!(!disk.folder.join("0.cubin").exists());
        assert!(disk.folder.join(format!("{MOST_ENTRIES}.cubin")).exists());
        // What comes until the next look is not more than there was room made for.
        for number in 1..BETWEEN_LOOKS {
            disk.keep(&number.to_string(), "sm_90", "text", b"code");
        }
        assert!(kept() < MOST_ENTRIES);
    }
}
