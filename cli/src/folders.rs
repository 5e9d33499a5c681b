//! Folders that a command makes: what of them nobody asked for is gone when it ends, also when it is
//! ended by a signal.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The folders made, each after those that it is in, and how each is removed.
static MADE: Mutex<Vec<(PathBuf, Removal)>> = Mutex::new(Vec::new());

type Removal = fn(&Path) -> io::Result<()>;

/// A folder for a command's files.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A new one that only this user can enter, removed with all that is in it.
    pub(crate) fn temporary() -> io::Result<Self> {
        let mut made = made();
        let folder = tempfile::Builder::new()
            .prefix("unlade-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        let path = folder.keep();
        made.push((path.clone(), |path| {
            // Where it is empty that needs no descriptor, of which there may be none left.
            std::fs::remove_dir(path).or_else(|_| std::fs::remove_dir_all(path))
        }));
        Ok(Folder { path })
    }

    /// The one of this name. If it has to be made, then it, and what had to be made for it, are
    /// removed where nothing is put into them.
    pub(crate) fn named(path: &Path) -> io::Result<Self> {
        let mut made = made();
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
            .collect();
        for folder in missing.into_iter().rev() {
            made.push((folder.to_owned(), |path| std::fs::remove_dir(path)));
        }
        // All at once: it knows what to make of `..` and of others that make the same.
        std::fs::create_dir_all(path)?;
        Ok(Folder {
            path: path.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove();
    }
}

/// Removes what nobody asked for. For a process that is about to end without unwinding, too.
pub(crate) fn remove() {
    for (path, removal) in made().drain(..).rev() {
        // A folder that holds something stays, and what is gone already needs no removing.
        let _ = removal(&path);
    }
}

fn made() -> MutexGuard<'static, Vec<(PathBuf, Removal)>> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}
