//! Files that appear under their name when they are whole, and not before.
//!
//! Until then a file has no name at all, so that nothing is left of it however the process ends. Not
//! every file system can do that (`O_TMPFILE`: ext4, xfs, btrfs and tmpfs can, NFS cannot), and it
//! takes `/proc` to name the file afterwards; elsewhere the file is named `.unlade-` and six more
//! characters for as long as it is written, and a process that is killed leaves it behind. So does
//! one that is killed in the instant between the two steps that replace a file: naming the new one,
//! and renaming it to the old one's name.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use rustix::io::Errno;
use tempfile::NamedTempFile;

const PREFIX: &str = ".unlade-";
/// What anybody may do to a new file, less what the process's umask takes away.
const NEW_FILE: u32 = 0o666;

/// A file that is being written. Dropped before [`WholeFile::keep`], it leaves nothing, and what had
/// its name before stays as it was.
#[derive(Debug)]
pub struct WholeFile {
    /// Taken when it gets its name.
    draft: Option<Draft>,
    path: PathBuf,
}

#[derive(Debug)]
enum Draft {
    Unnamed(File),
    Named(NamedTempFile),
}

impl WholeFile {
    /// Begins a file. One that replaces another takes over its permissions.
    ///
    /// # Errors
    /// As the system says: there is no such folder, or it cannot be written.
    pub fn create(path: &Path) -> std::io::Result<Self> {
        // A symbolic link keeps pointing where it points: the file it names is replaced.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mode =
            std::fs::metadata(&path).map_or(NEW_FILE, |metadata| metadata.permissions().mode());
        let draft = match unnamed(folder(&path), mode)? {
            Some(file) => Draft::Unnamed(file),
            None => Draft::Named(named(folder(&path), mode)?),
        };
        Ok(WholeFile {
            draft: Some(draft),
            path,
        })
    }

    /// Another handle of the file, to write it with.
    ///
    /// # Errors
    /// As the system says.
    pub fn handle(&self) -> std::io::Result<File> {
        self.file().try_clone()
    }

    /// Whether a process that is killed leaves the file behind, under a name of its own.
    pub fn may_be_left(&self) -> bool {
        matches!(self.draft, Some(Draft::Named(_)))
    }

    /// Gives the file its name, once its content is on the disk.
    ///
    /// # Errors
    /// As the system says; the file is then gone.
    pub fn keep(mut self) -> std::io::Result<()> {
        self.file().sync_all()?;
        match self.draft.take().expect("it is kept once") {
            Draft::Unnamed(file) => name(&file, &self.path),
            Draft::Named(file) => {
                let temporary = file.path().to_owned();
                let kept = file.persist(&self.path);
                forget(&temporary);
                kept.map(drop).map_err(|failed| failed.error)
            }
        }
    }

    fn file(&self) -> &File {
        match self.draft.as_ref().expect("it does not have its name yet") {
            Draft::Unnamed(file) => file,
            Draft::Named(file) => file.as_file(),
        }
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file().flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(Draft::Named(file)) = self.draft.take() {
            forget(file.path());
        }
    }
}

/// Removes the files of this process that have a name for as long as they are written. For a process
/// that is about to end without unwinding, as one does that is told to by a signal.
pub fn abandon_unfinished() {
    for path in unfinished().drain(..) {
        // What is gone already needs no removing.
        let _ = std::fs::remove_file(path);
    }
}

/// A file without a name, which the folder's file system may not know.
fn unnamed(folder: &Path, mode: u32) -> std::io::Result<Option<File>> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match open(folder, flags, Mode::from_raw_mode(mode)) {
        Ok(file) => {
            let file = File::from(file);
            Ok(link_path(&file).exists().then_some(file))
        }
        // What kernels and file systems say that do not know of it.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn named(folder: &Path, mode: u32) -> std::io::Result<NamedTempFile> {
    let file = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(std::fs::Permissions::from_mode(mode))
        .tempfile_in(folder)?;
    unfinished().push(file.path().to_owned());
    Ok(file)
}

/// Names a file that has no name. A name that is taken is first given to it beside, since only
/// renaming replaces a file.
fn name(file: &File, path: &Path) -> std::io::Result<()> {
    match link(file, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let beside = tempfile::Builder::new()
                .prefix(PREFIX)
                .make_in(folder(path), |beside| link(file, beside))?;
            beside
                .persist(path)
                .map(drop)
                .map_err(|failed| failed.error)
        }
        linked => linked,
    }
}

fn link(file: &File, path: &Path) -> std::io::Result<()> {
    Ok(linkat(
        CWD,
        link_path(file),
        CWD,
        path,
        AtFlags::SYMLINK_FOLLOW,
    )?)
}

/// The name under which the process itself has the file.
fn link_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn forget(path: &Path) {
    unfinished().retain(|other| other != path);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_has_no_name_until_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        for content in [&b"new"[..], b"replaced"] {
            let before = entries(folder.path());
            let mut file = WholeFile::create(&path).unwrap();
            file.write_all(content).unwrap();
            assert!(!file.may_be_left(), "the file system of {folder:?} cannot");
            assert_eq!(entries(folder.path()), before);
            file.keep().unwrap();
            assert_eq!(entries(folder.path()), ["out"]);
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
        drop(WholeFile::create(&path).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"replaced");
    }

    #[test]
    fn a_new_file_has_the_rights_of_any_and_a_replaced_one_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let rights = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let any = folder.path().join("any");
        std::fs::write(&any, b"").unwrap();
        WholeFile::create(&path).unwrap().keep().unwrap();
        assert_eq!(rights(&path), rights(&any));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        WholeFile::create(&path).unwrap().keep().unwrap();
        assert_eq!(rights(&path), 0o600);
    }

    #[test]
    fn where_a_file_needs_a_name_it_has_one_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let begun = || WholeFile {
            draft: Some(Draft::Named(named(folder.path(), NEW_FILE).unwrap())),
            path: path.clone(),
        };
        let file = begun();
        assert!(file.may_be_left());
        let names = entries(folder.path());
        assert!(
            names.len() == 1 && names[0].starts_with(PREFIX),
            "{names:?}"
        );
        file.keep().unwrap();
        assert_eq!(entries(folder.path()), ["out"]);
        drop(begun());
        let left = begun();
        abandon_unfinished();
        assert_eq!(entries(folder.path()), ["out"]);
        drop(left);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = WholeFile::create(&folder.path().join("no/out")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
